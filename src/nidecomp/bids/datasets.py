"""The datasets of an analysis: BIDS_DIR, and those that `--datasets` adds to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nidecomp.bids.dataset import locate_derivatives
from nidecomp.config.datasets import OF_BIDS_DIR, DatasetRequest
from nidecomp.config.settings import Settings
from nidecomp.core.errors import NidecompError, NothingToDoError, UsageError
from nidecomp.core.inventory import LostDataset
from nidecomp.core.records import REDUCED_EXTENSION, REDUCED_FOLDER

# Reduced runs in the work folder of a site.
_ROWS = f"{REDUCED_FOLDER}/sub-*{REDUCED_EXTENSION}"


@dataclass(frozen=True)
class Dataset:
    """A dataset: the name that its participants' labels begin with, and its folder.

    The name of BIDS_DIR is empty. `path` is the folder as given by the user, `root` that of the
    derivative dataset in it. With `is_reduced`, it is the work folder of a site that has no images.
    """

    name: str
    path: Path
    root: Path
    is_reduced: bool = False

    @property
    def link(self) -> str:
        """The dataset's name in links and in tables."""
        return self.name or OF_BIDS_DIR

    def participants(self) -> frozenset[str]:
        """Return the labels that participants have in the dataset, by the names of folders."""
        if self.is_reduced:
            files = self.root.glob(_ROWS)
            return frozenset(path.name.partition("_")[0].removeprefix("sub-") for path in files)
        try:
            names = os.listdir(self.root)  # noqa: PTH208  names alone are needed
        except OSError:
            return frozenset()
        return frozenset(
            name.removeprefix("sub-")
            for name in names
            if name.startswith("sub-") and (self.root / name).is_dir()
        )


@dataclass(frozen=True)
class Datasets:
    """All datasets that were found.

    `are_several` tells whether several were asked for: then labels and tables name the dataset.
    """

    found: tuple[Dataset, ...]
    are_several: bool = False

    @classmethod
    def alone(cls, root: Path) -> Datasets:
        """Return a single dataset."""
        return cls((Dataset("", root, root),))

    def of(self, path: Path) -> Dataset:
        """Return the dataset that a file or folder of the input belongs to."""
        holding = [one for one in self.found if path.is_relative_to(one.root)]
        # Of a dataset inside another one's folder.
        return max(holding, key=lambda one: len(one.root.parts))

    def relative(self, path: Path) -> str:
        """Return the path of a file or folder of the input, relative to its dataset."""
        return path.relative_to(self.of(path).root).as_posix()

    def uri(self, path: Path) -> str:
        """Return the BIDS URI of a file of the input."""
        return f"bids:{self.of(path).link}:{self.relative(path)}"

    def links(self, output_dir: Path) -> dict[str, str]:
        """Return the name of each dataset with its path relative to the output.

        An absolute path would reveal user names, and break if all folders are moved together.
        """
        target = output_dir.resolve()
        return {
            one.link: Path(os.path.relpath(one.root.resolve(), target)).as_posix()
            for one in self.found
        }


# The datasets of a request, and those that are not there, with the reason.
Located = tuple[Datasets, tuple[LostDataset, ...]]


def locate_datasets(
    settings: Settings, prepare: Callable[[Path], None] = lambda _: None
) -> Located:
    """Return the datasets of a request, and those that are not there, with the reason.

    Parameters
    ----------
    settings : Settings
    prepare : callable
        Called with the folder of each, before it is looked at; raises UsageError where it cannot
        be used.

    Returns
    -------
    Datasets
    tuple of LostDataset

    Raises
    ------
    UsageError, NothingToDoError
        BIDS_DIR does not exist, none can be used, two of them are the same, or two of their
        participants would have the same label.
    """
    skip = settings.execution.skip_bids_validation
    if not settings.further:
        prepare(settings.bids_dir)
        return Datasets((_located("", settings.bids_dir, skip_validation=skip),)), ()
    found: list[Dataset] = []
    lost: list[LostDataset] = []
    for asked in all_requests(settings):
        folder = Path(asked.path)
        try:
            prepare(folder)
            one = _located(asked.name, folder, skip_validation=skip)
        except NothingToDoError as error:
            lost.append(LostDataset(asked.name, folder, reason_of(error, asked.name)))
        except UsageError as error:
            # Without BIDS_DIR, the command is mistyped.
            if not asked.name:
                raise
            lost.append(LostDataset(asked.name, folder, reason_of(error, asked.name)))
        else:
            found.append(one)
    if not found:
        raise NothingToDoError(none_left(lost))
    _check_apart(found)
    return Datasets(tuple(found), are_several=True), tuple(lost)


def _located(name: str, folder: Path, *, skip_validation: bool) -> Dataset:
    """Return the dataset in a folder, which may be the work folder of a site."""
    if next(folder.glob(_ROWS), None) is not None:
        return Dataset(name, folder, folder.absolute(), is_reduced=True)
    root = locate_derivatives(folder, skip_validation=skip_validation)
    return Dataset(name, folder, root)


def all_requests(settings: Settings) -> tuple[DatasetRequest, ...]:
    """Return all datasets as asked for: BIDS_DIR, which has an empty name, and the further ones."""
    return (DatasetRequest("", str(settings.bids_dir)), *settings.further)


def reason_of(error: NidecompError, name: str) -> str:
    """Return why a dataset cannot be used: what is said of BIDS_DIR, in words for any dataset."""
    reason = str(error)
    if not name:
        return reason
    return reason.removeprefix("BIDS_DIR ").replace(" as BIDS_DIR", " as its path")


def none_left(lost: Iterable[LostDataset]) -> str:
    """Return an error message where no dataset can be used."""
    lines = (f"  {one.name or OF_BIDS_DIR} ({one.path}): {one.reason}" for one in lost)
    return "None of the datasets can be used:\n" + "\n".join(lines)


def _check_apart(found: list[Dataset]) -> None:
    """Check that no people take part twice, and that no two have the same label."""
    of_folder: dict[Path, Dataset] = {}
    of_label: dict[str, tuple[Dataset, str]] = {}
    for one in found:
        other = of_folder.setdefault(one.root.resolve(), one)
        if other is not one:
            raise UsageError(
                f"--datasets: {_called(other)} and {_called(one)} are the same folder "
                f"({one.root}). Name each dataset once."
            )
        for label in sorted(one.participants()):
            # Files of outputs may be written where case does not count in their names.
            named = (one.name + label).casefold()
            before, own = of_label.setdefault(named, (one, label))
            if before is not one:
                both = dict.fromkeys((before.name + own, one.name + label))
                raise UsageError(
                    f"--datasets: sub-{own} of {_called(before)} and sub-{label} of {_called(one)} "
                    f"would both be called {' or '.join(f'sub-{name}' for name in both)}. Give one "
                    "of the datasets another name."
                )


def _called(one: Dataset) -> str:
    return f"dataset {one.name}" if one.name else "BIDS_DIR"
