"""Records of runs, for tests of what is done with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nidecomp.core.records import RunFiles, RunKey, UsableRun
from nidecomp.spaces.grid import Grid

GRID = Grid((2, 2, 2), tuple(tuple(row) for row in np.eye(4).tolist()))


def run_of(key: RunKey) -> UsableRun:
    """A run of which only its name matters."""
    files = RunFiles(key, "MNI152NLin2009cAsym", None, Path(f"{key.label}_bold.nii.gz"), None, None)
    return UsableRun(
        files=files,
        grid=GRID,
        repetition_time_s=2.0,
        start_time_s=None,
        n_volumes=100,
        stored_bytes=2,
        kept=tuple(range(100)),
        n_regressors=7,
        mean_fd_mm=0.1,
    )
