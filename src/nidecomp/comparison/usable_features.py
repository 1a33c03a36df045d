"""Find the features where all participants have data, which are those that are compared."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.data import DecompositionData
from nidecomp.comparison.records import Design
from nidecomp.core.errors import NothingToDoError
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)
# Where more is lost, participants are named: as many, who lack most.
_MUCH = 0.1
_MOST_NAMED = 3


def usable_features(
    data: DecompositionData, design: Design, space: FeatureSpace
) -> NDArray[np.bool_]:
    """Return which features are compared: those where all participants have data.

    Parameters
    ----------
    data : DecompositionData
    design : Design
    space : FeatureSpace

    Returns
    -------
    ndarray of bool, shape (n_features,)
        None where maps are not compared.

    Raises
    ------
    NothingToDoError
        There are maps, but no such feature.
    """
    if not data.paths:
        return np.zeros(space.n_features, dtype=np.bool_)
    used = np.ones(space.n_features, dtype=np.bool_)
    n_lacking = []
    for row in data.paths:
        has_data = row.has_data()
        n_lacking.append(int(np.count_nonzero(~has_data)))
        used &= has_data
    n_lost = space.n_features - int(np.count_nonzero(used))
    lacking = _in_words(n_lacking, design, space)
    if not used.any():
        raise NothingToDoError(
            f"There is no {space.measure.feature} where all {len(design.people)} participants have "
            f"data, so that their maps cannot be compared. {lacking} Leave out participants "
            "who lack many, or compare amplitudes and connectomes only (--compare)."
        )
    if n_lost:
        is_much = n_lost > _MUCH * space.n_features
        _LOG.log(
            logging.WARNING if is_much else logging.INFO,
            "Maps of %s: %d of %d %s are not compared, because not all participants have data "
            "there.%s",
            data.name or "components",
            n_lost,
            space.n_features,
            space.measure.features,
            f" {lacking}" if is_much else "",
        )
    return used


def _in_words(n_lacking: list[int], design: Design, space: FeatureSpace) -> str:
    """Return in a sentence who lacks most."""
    most = sorted(range(len(n_lacking)), key=lambda row: -n_lacking[row])[:_MOST_NAMED]
    said = ", ".join(
        f"sub-{design.people[row].participant} ({n_lacking[row]})" for row in most if n_lacking[row]
    )
    return f"Most {space.measure.features} are missing for {said}."
