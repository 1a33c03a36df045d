"""Memory that one run takes while it is reduced or projected."""

from __future__ import annotations

import math

from nidecomp.core.records import UsableRun
from nidecomp.execution.memory import BLOCKS_MB, IMAGE_COPIES, INTERPRETER_MB, MB, row_mb
from nidecomp.spaces.voxels import VoxelGeometry


def memory_of_run_mb(
    run: UsableRun, geometry: VoxelGeometry, n_rows: int, n_smoothings: int
) -> float:
    """Memory of one run's reduce step: its series over the brain, and a few volumes."""
    numbers = math.prod(run.grid.shape)
    volumes = numbers * (run.stored_bytes + 5) / MB
    # Moving a volume to another grid is done by libraries that work in float64.
    resampling = numbers * 40 / MB if run.resampled else 0.0
    # A smoothing's rows are written before the next one is reduced; a series stays.
    series = (run.n_kept * n_smoothings + n_rows) * row_mb(geometry.n_features)
    return INTERPRETER_MB + series + volumes + resampling + BLOCKS_MB


def projecting_rows(geometry: VoxelGeometry, n_components: int, with_images: bool) -> int:
    """Count what projecting a run holds beside its series, in rows over the mask.

    The group's maps and the run's own; where images are written, too, variance and z of these and
    copies of one image of all of them.
    """
    if not with_images:
        return 2 * n_components
    per_map = math.prod(geometry.grid.shape) / geometry.n_features
    return math.ceil(n_components * (4 + IMAGE_COPIES * per_map))
