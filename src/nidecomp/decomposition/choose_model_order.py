"""Choose the number of components from the reduced runs (``--n-components auto``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nidecomp.config.science import Science
from nidecomp.core.errors import NothingToDoError
from nidecomp.core.records import ReducedRun, UsableRun
from nidecomp.core.text import count
from nidecomp.decomposition.model_order import estimate_model_order
from nidecomp.decomposition.model_order_choice import FEWEST_PARTICIPANTS, ModelOrderChoice
from nidecomp.decomposition.model_order_data import ModelOrderSettings

_LOG = logging.getLogger(__name__)


def lowered_to_runs(science: Science, runs: Sequence[UsableRun]) -> Science:
    """Return the settings with ``--max-components`` lowered to what the shortest run can hold.

    The choice uses the same number of rows of each run.

    Parameters
    ----------
    science : Science
    runs : sequence of UsableRun
        All runs of the group that are used, also where this process reduces only some of them.

    Returns
    -------
    Science
        Unchanged where the number of components was given.
    """
    asked = science.decomposition
    shortest = min(runs, key=lambda run: (run.degrees_of_freedom, run.label))
    if not asked.is_auto or shortest.degrees_of_freedom >= asked.max_components:
        return science
    _LOG.warning(
        "--n-components auto considers at most %s: %s has no more dimensions after "
        "cleaning (%s minus %s). Without this run, more might be found",
        count(shortest.degrees_of_freedom, "component"),
        shortest.label,
        count(shortest.n_kept, "volume"),
        count(shortest.n_regressors, "regressor"),
    )
    return science.with_largest_model_order(shortest.degrees_of_freedom)


def check_participants(participants: Sequence[str]) -> None:
    """Check that there are enough participants to choose the number of components.

    Parameters
    ----------
    participants : sequence of str
        The participant of each run that is to be fitted.

    Raises
    ------
    NothingToDoError
        There are fewer than `FEWEST_PARTICIPANTS` participants.
    """
    n_participants = len(set(participants))
    if n_participants < FEWEST_PARTICIPANTS:
        raise NothingToDoError(
            "--n-components auto compares halves of the group, which needs at least "
            f"{FEWEST_PARTICIPANTS} participants; the runs to be fitted come from "
            f"{count(n_participants, 'participant')}. Set --n-components to a number."
        )


def choose_model_order(
    reduced: Sequence[ReducedRun], science: Science, n_threads: int = 1
) -> ModelOrderChoice:
    """Choose the number of components from the runs at CanICA's smoothing.

    Parameters
    ----------
    reduced : sequence of ReducedRun
        The runs to be fitted, in any order.
    science : Science
    n_threads : int
        The number of threads. The result does not depend on it.

    Returns
    -------
    ModelOrderChoice
    """
    smoothing = science.denoising.smoothing_of("canica")
    runs = sorted(
        (run for run in reduced if run.smoothing_fwhm == smoothing), key=lambda run: run.key.label
    )
    settings = ModelOrderSettings(
        max_components=science.decomposition.max_components,
        seed=science.decomposition.random_seed,
    )

    def read(index: int) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = np.load(runs[index].path, mmap_mode="r")
        return rows[: settings.max_components]

    participants = [run.participant for run in runs]
    # BLAS gets one thread: sums that it splits between threads depend on how many there are.
    with threadpool_limits(limits=1):
        choice = estimate_model_order(read, participants, runs[0].n_voxels, settings, n_threads)
    level = logging.WARNING if choice.too_smooth else logging.INFO
    _LOG.log(level, "Chose %s. %s", count(choice.n_components, "component"), choice.reason)
    return choice
