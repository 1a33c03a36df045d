"""The inputs and settings of the reduce step of one run, and the path of its result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nidecomp.config.science import Denoising
from nidecomp.core.content import identity_of
from nidecomp.core.records import REDUCED_EXTENSION, REDUCED_FOLDER, UsableRun
from nidecomp.runs.known_images import image_identity
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.images import unreadable_file_fails
from nidecomp.version import numerical_versions

# Part of each key: increase it whenever the results of the reduce step change.
FORMAT = 10


@dataclass(frozen=True, eq=False)
class ReduceTask:
    """Everything that the reduce step of one run depends on.

    `smoothing_fwhm` lists the smoothing kernels (FWHM in mm). Each gives a separate reduced run,
    and the image is read once for all of them. A run is reduced to `n_rows` principal components,
    or to all that it has: at least `n_required`. `answers` are those of nilearn (`runs.answers`).
    """

    run: UsableRun
    space: FeatureSpace
    denoising: Denoising
    smoothing_fwhm: tuple[float, ...]
    n_rows: int
    n_required: int
    work_dir: Path
    answers: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The run's name."""
        return self.run.label

    def path(self, smoothing_fwhm: float) -> Path:
        """Return the path of a reduced run, which includes a hash of its inputs.

        The beginning and the end of the run's files are read on each call.
        """
        files = self.run.files
        for one in files.stored:
            if (one.smoothing_fwhm, one.space) == (smoothing_fwhm, self.space.digest):
                return one.path
        identity = {
            **self.settings(smoothing_fwhm),
            "bold": image_identity(files, self.work_dir),
            "confounds": _identity(files.confounds),
            "confounds_sidecars": [_identity(path) for path in files.confounds_sidecars],
            "repetition_time_s": self.run.repetition_time_s,
        }
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        name = f"{self.run.label}_{digest[:20]}{REDUCED_EXTENSION}"
        return self.work_dir / REDUCED_FOLDER / name

    def settings(self, smoothing_fwhm: float) -> dict[str, object]:
        """Return all that a reduced run depends on apart from the run's files."""
        return {
            "format": FORMAT,
            "libraries": numerical_versions(),
            # The key keeps its original name, so that existing work folders stay valid.
            "geometry": self.space.digest,
            "denoising": cleaning_options(self.denoising),
            "smoothing_fwhm": smoothing_fwhm,
            "n_rows": self.n_rows,
        }


def cleaning_options(denoising: Denoising) -> dict[str, object]:
    """Return the options that affect the cleaned series.

    Options that only select runs are left out, and so is smoothing, which is a separate part of
    the key.
    """
    elsewhere = {"min_volumes", "mean_fd_cutoff", "smoothing_fwhm", "dictlearning_smoothing_fwhm"}
    settings = asdict(denoising).items()
    return {name: value for name, value in settings if name not in elsewhere}


def _identity(path: Path | None) -> str | None:
    # Path.exists raises an error if a folder cannot be accessed. That matters only if the file is
    # needed, and is reported then.
    if path is None or not os.path.exists(path):  # noqa: PTH110
        return None
    with unreadable_file_fails(path):
        return identity_of(path)
