"""Remember what inspections found, so that runs whose files did not change are not read again.

Each job of a cluster array needs to know all runs, and an analysis is started more than once.
Therefore the work folder has one file for a dataset and the options that matter here. Runs that
are refused are not remembered: what was wrong may have been mended without a change of their files,
such as the permissions of a folder or the connection to a file server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from nidecomp.config.science import Denoising
from nidecomp.core.content import annex_key_of_all
from nidecomp.core.kept import digest, keep, read_kept
from nidecomp.core.records import RunFiles, UsableRun
from nidecomp.runs.known_images import SETTLED_NS
from nidecomp.spaces.headers import sampling_as_json, sampling_from_json
from nidecomp.version import code_digest, numerical_versions

FOLDER = "inspected"


class _State(NamedTuple):
    """The state of a run's files: a hash, and whether they are old enough to be remembered."""

    digest: str
    is_settled: bool


class Inspections:
    """The inspections of a dataset's runs with certain options that the work folder has.

    Parameters
    ----------
    root : Path
        The dataset.
    work_dir : Path
    denoising : Denoising
    n_rows : int
        Minimum degrees of freedom after cleaning.
    """

    def __init__(self, root: Path, work_dir: Path, denoising: Denoising, n_rows: int) -> None:
        # Another program may check something else, or say something else of a run.
        versions = [code_digest(), numerical_versions()]
        name = digest([str(root), versions, asdict(denoising), n_rows])
        self._file = work_dir / FOLDER / f"{name}.json"
        self._kept = _read(self._file)
        self._states: dict[Path, _State | None] = {}
        self._found: dict[Path, UsableRun] = {}

    def find(self, files: RunFiles) -> UsableRun | None:
        """Return the run that an earlier inspection found, if its files are in the same state.

        Parameters
        ----------
        files : RunFiles

        Returns
        -------
        UsableRun or None
        """
        # The state before the files are read: a change while they are read is noticed later.
        if files.bold not in self._states:
            state = self._states[files.bold] = _state_of(files)
            found = _decoded(files, self._kept.get(str(files.bold)), state)
            if found is not None:
                self._found[files.bold] = found
        return self._found.get(files.bold)

    def has(self, files: RunFiles) -> bool:
        """Return whether the files of a run are those of an earlier inspection."""
        return self.find(files) is not None

    def add(self, runs: Iterable[UsableRun]) -> None:
        """Add inspections to the file.

        Parameters
        ----------
        runs : iterable of UsableRun
            Those whose files were changed shortly before are left out.

        Notes
        -----
        Of two jobs that write at the same time, the later one may lose what the other added. These
        runs are inspected again.
        """
        states = ((run, self._states.get(run.files.bold)) for run in runs)
        new = {
            str(run.files.bold): {"state": state.digest, **run_as_json(run)}
            for run, state in states
            if state is not None and state.is_settled and not run.header_is_expected
        }
        if new:
            # A folder that cannot be written to is reported when results are written.
            with suppress(OSError):
                keep(dict(sorted((_read(self._file) | new).items())), self._file)


def _read(file: Path) -> dict[str, Any]:
    content = read_kept(file)
    return content if isinstance(content, dict) else {}


def _state_of(files: RunFiles) -> _State | None:
    """Return the state of a run's files, or None if one of them cannot be found."""
    # The key of an annexed image tells its content, which need not be there.
    key = annex_key_of_all(files.images) if files.is_fetched_when_read else None
    paths = (
        *(files.images if key is None else ()),
        *(path for path in (files.mask, files.confounds) if path is not None),
        *files.sidecars,
        *files.confounds_sidecars,
    )
    now = time.time_ns()
    try:
        found = [(str(path), os.stat(path)) for path in paths]  # noqa: PTH116  it is faster
    except OSError:
        return None
    # The time of a change of the inode tells a file that was replaced by one of the same age.
    states = [(path, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in found]
    newest = max((max(modified, changed) for _, _, modified, changed in states), default=0)
    labels = (files.space, files.res, files.den, files.cohort, files.desc)
    names = (files.key.entities, *labels, files.notes)
    kinds = (files.mask is None, files.confounds is None, len(files.sidecars))
    image = [str(files.bold), key]
    return _State(digest([names, kinds, image, states]), now - newest > SETTLED_NS)


# Fields that JSON keeps as they are.
_PLAIN = (
    *("repetition_time_s", "start_time_s", "n_volumes", "stored_bytes", "n_regressors"),
    *("mean_fd_mm", "repetition_time_source", "mask_voxels"),
)


def run_as_json(run: UsableRun) -> dict[str, object]:
    """Return what was found of a run, without its files, as JSON has it."""
    kept = set(run.kept)
    return {
        **sampling_as_json(run.grid),
        "left_out": [volume for volume in range(run.n_volumes) if volume not in kept],
        "notes": run.notes,
        "regressors": run.regressors,
        "dropped": run.dropped,
        **{name: getattr(run, name) for name in _PLAIN},
    }


def _decoded(files: RunFiles, content: Any, state: _State | None) -> UsableRun | None:
    """Return a run from its JSON, or None if that is missing, damaged or of another state."""
    try:
        is_same = state is not None and content["state"] == state.digest
    except (KeyError, TypeError):
        return None
    return run_from_json(files, content) if is_same else None


def run_from_json(files: RunFiles, content: Any) -> UsableRun | None:
    """Return a run from what `run_as_json` made of it, or None if that is damaged."""
    try:
        left_out = set(content["left_out"])
        return UsableRun(
            files=files,
            grid=sampling_from_json(content),
            kept=tuple(sorted(set(range(content["n_volumes"])) - left_out)),
            notes=tuple(content["notes"]),
            regressors=tuple((part, number) for part, number in content["regressors"]),
            dropped=tuple((reason, number) for reason, number in content["dropped"]),
            **{name: content[name] for name in _PLAIN},
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None
