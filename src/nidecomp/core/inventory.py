"""What became of the runs that were found: used, refused, failed, and folders without runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from nidecomp.core.records import RunKey, UsableRun
from nidecomp.core.text import count


@dataclass(frozen=True)
class RefusedRun:
    """A run that cannot be used, and the reason."""

    key: RunKey
    bold: Path
    reason: str


@dataclass(frozen=True)
class UnmatchedFolder:
    """A participant's (or session's) folder without a run that matches the selection, and why.

    `is_deselected` is True for a participant that was excluded or not named.
    """

    name: str
    folder: Path
    reason: str
    is_deselected: bool = False


@dataclass(frozen=True)
class LostDataset:
    """A dataset of several that cannot be used, and the reason.

    `name` is empty for BIDS_DIR; `path` is the folder as given by the user.
    """

    name: str
    path: Path
    reason: str


@dataclass(frozen=True)
class FailedRun:
    """A run whose processing failed, and the reason.

    `traceback` is set for unexpected errors only.
    """

    key: RunKey
    bold: Path
    reason: str
    traceback: str | None = None


@dataclass(frozen=True)
class Inventory:
    """All runs that were found (used, refused by a check, or failed), and folders without runs.

    Parameters
    ----------
    used : tuple of UsableRun
    refused : tuple of RefusedRun
        Each with its `reason`.
    failed : tuple of FailedRun
        Each with its `reason`.
    unmatched : tuple of UnmatchedFolder
        Participants' folders without a run that matches the selection.
    lost : tuple of LostDataset
        Datasets of several that cannot be used.
    """

    used: tuple[UsableRun, ...] = ()
    refused: tuple[RefusedRun, ...] = ()
    failed: tuple[FailedRun, ...] = ()
    unmatched: tuple[UnmatchedFolder, ...] = ()
    lost: tuple[LostDataset, ...] = ()

    def with_failed(self, failed: Iterable[FailedRun]) -> Inventory:
        """Return a copy with more failed runs."""
        return replace(self, failed=(*self.failed, *failed))

    def with_used(self, used: Iterable[UsableRun]) -> Inventory:
        """Return a copy with what became known of used runs when they were read.

        Parameters
        ----------
        used : iterable of UsableRun
            They replace those of the same name.

        Returns
        -------
        Inventory
        """
        known = {run.key: run for run in used}
        return replace(self, used=tuple(known.get(run.key, run) for run in self.used))

    def failures(self) -> str:
        """Return the reasons why runs failed, one per line."""
        return Inventory(failed=self.failed).reasons()

    def reasons(self) -> str:
        """Return the reasons why runs were not used, one per line, the most frequent first.

        Each line lists up to three of the runs.
        """
        unused: list[RefusedRun | FailedRun] = [*self.refused, *self.failed]
        return _as_lines(group_by_text((run.key.label, run.reason) for run in unused))

    def notes(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the notes on runs, each with the names of its runs, the most frequent first."""
        return group_by_text((run.label, note) for run in self.used for note in run.notes)

    def notes_as_lines(self) -> str:
        """Return the notes on runs, one per line, as in `reasons`."""
        return _as_lines(self.notes())

    def unmatched_as_lines(self) -> str:
        """Return why folders have no run that matches, one per line, as in `reasons`.

        Participants that were not selected are left out.
        """
        folders = (
            (folder.name, folder.reason) for folder in self.unmatched if not folder.is_deselected
        )
        return _as_lines(group_by_text(folders), "folder")


def group_by_text(named: Iterable[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return each text with the names that have it, the most frequent text first.

    Parameters
    ----------
    named : iterable of (str, str)
        Names and texts.

    Returns
    -------
    tuple of (str, tuple of str)
        Equally frequent texts are in order of first appearance. Texts that differ only in the name
        of their run, for example in a path, count as one: in it, the name is replaced by ``*``.
    """
    names: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, text in named:
        participant = name.partition("_")[0]
        names[text.replace(name, "*").replace(participant, "sub-*")].append((name, text))
    by_number = sorted(names.items(), key=lambda entry: -len(entry[1]))
    return tuple(
        (pattern if len(those) > 1 else those[0][1], tuple(name for name, _ in those))
        for pattern, those in by_number
    )


def _as_lines(grouped: Iterable[tuple[str, tuple[str, ...]]], noun: str = "run") -> str:
    return "\n".join(
        f"  {count(len(names), noun)} ({', '.join(names[:3])}{', …' * (len(names) > 3)}): {text}"
        for text, names in grouped
    )
