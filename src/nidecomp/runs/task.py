"""What the reduction of one run depends on, and the name of its result."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from nidecomp.config.science import Denoising
from nidecomp.core.records import UsableRun
from nidecomp.spaces.images import unreadable_file_fails
from nidecomp.spaces.voxels import VoxelGeometry
from nidecomp.version import library_versions

# Part of every key: raise it whenever the numbers that this module writes change.
_FORMAT = 4
# The end of a gzip file holds the checksum of its content: reading this much of both ends tells
# apart files of one size and one time without reading them whole.
_END_BYTES = 65536


@dataclass(frozen=True, eq=False)
class ReduceTask:
    """Everything that one run's reduce step depends on.

    `smoothing_fwhm` are the smoothings wanted, in mm: each gives a reduced run of its own, all of
    them from one read of the file.
    """

    run: UsableRun
    geometry: VoxelGeometry
    denoising: Denoising
    smoothing_fwhm: tuple[float, ...]
    n_rows: int
    work_dir: Path

    @property
    def label(self) -> str:
        """The run's name."""
        return self.run.label

    def stem(self, smoothing_fwhm: float) -> Path:
        """Name a reduced run, without extension; the name is its identity.

        The ends of its files are read each time that it is asked for.
        """
        confounds = self.run.files.confounds
        identity = {
            "format": _FORMAT,
            "libraries": library_versions(),
            "bold": _identity(self.run.files.bold),
            "confounds": _identity(confounds),
            "confounds_sidecar": _identity(confounds and confounds.with_suffix(".json")),
            "repetition_time_s": self.run.repetition_time_s,
            "geometry": self.geometry.digest,
            "denoising": _cleaning(self.denoising),
            "smoothing_fwhm": smoothing_fwhm,
            "n_rows": self.n_rows,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.work_dir / "reduced" / f"{self.run.label}_{digest[:20]}"


def _cleaning(denoising: Denoising) -> dict[str, object]:
    """Take the settings that decide a run's numbers: which runs are used is no property of one.

    How they are smoothed is named apart, for each of the smoothings.
    """
    elsewhere = {"min_volumes", "mean_fd_cutoff", "smoothing_fwhm", "dictlearning_smoothing_fwhm"}
    settings = asdict(denoising).items()
    return {name: value for name, value in settings if name not in elsewhere}


def _identity(path: Path | None) -> list[object] | None:
    # Path.exists raises where we may not look; a table's JSON there matters only where it is read.
    if path is None or not os.path.exists(path):  # noqa: PTH110
        return None
    with unreadable_file_fails(path), path.open("rb") as file:
        status = path.stat()
        ends = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(0, status.st_size - _END_BYTES))
        ends.update(file.read())
    return [status.st_size, status.st_mtime_ns, ends.hexdigest()]
