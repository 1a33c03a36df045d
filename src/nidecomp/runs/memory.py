"""Estimate the memory needed to reduce or project a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nidecomp.core.records import UsableRun
from nidecomp.execution.memory import BLOCKS_MB, IMAGE_COPIES, INTERPRETER_MB, MB, row_mb
from nidecomp.spaces.contract import FeatureSpace

# While the weights of smoothing are computed, they are in memory more than once.
_COPIES_OF_WEIGHTS = 3.0


def memory_of_run_mb(
    run: UsableRun,
    space: FeatureSpace,
    n_rows: int,
    smoothings_fwhm: Sequence[float],
    *,
    is_written: bool = False,
) -> float:
    """Return the memory in MB for one run: its series in the mask, and what reading needs.

    Parameters
    ----------
    run : UsableRun
    space : FeatureSpace
    n_rows : int
        Maps that are held besides.
    smoothings_fwhm : sequence of float
    is_written : bool
        Whether its image is written again, without some components.

    Returns
    -------
    float

    Notes
    -----
    It is that of the projection, which holds the series in float32. The reduce step holds them in
    20 bits per value (`core.packed`), five eighths of that, and needs less than is forecast.
    """
    # The series of all smoothings are held at once, but the rows of one smoothing at a time.
    series = (run.n_kept * len(smoothings_fwhm) + n_rows) * row_mb(space.n_features)
    weights = [space.smoothing_bytes(fwhm) / MB for fwhm in smoothings_fwhm]
    image = max(space.reading_bytes(run), space.writing_bytes(run) if is_written else 0.0) / MB
    one_run = series + image + BLOCKS_MB + sum(weights)
    return INTERPRETER_MB + max(one_run, _COPIES_OF_WEIGHTS * max(weights))


def projecting_rows(space: FeatureSpace, n_components: int, with_images: bool) -> int:
    """Return the memory to project a run in addition to its series, as a number of maps.

    It holds the group maps and the run's maps; if images are written, also their variance and z
    maps, and copies of one image of all components.
    """
    if not with_images:
        return 2 * n_components
    per_map = space.n_stored / space.n_features
    return math.ceil(n_components * (4 + IMAGE_COPIES * per_map))
