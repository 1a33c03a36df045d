"""Participants are compared in the components without a noise flag, whose maps are not empty."""

from __future__ import annotations

import numpy as np
import pytest

from nidecomp.annotation.describe import ReferenceMaps, Tissues, raised_flags
from nidecomp.annotation.family import components_to_compare
from nidecomp.decomposition.components import Components

N_VOXELS = 40


def components(*where: slice) -> Components:
    maps = np.zeros((len(where), N_VOXELS), dtype=np.float32)
    for row, one in zip(maps, where, strict=True):
        row[one] = 1.0
    names = tuple(f"canica{number:02d}" for number in range(1, len(where) + 1))
    return Components("canica", maps, names, np.zeros(len(where)), 0.0)


@pytest.fixture
def references() -> ReferenceMaps:
    """The first ten voxels are ventricles."""
    csf = np.zeros(N_VOXELS, dtype=np.float32)
    csf[:10] = 1.0
    return ReferenceMaps(tissues=Tissues(csf))


def test_flagged_and_empty_components_are_not_compared(references: ReferenceMaps) -> None:
    some = components(slice(0, 8), slice(10, 20), slice(0, 0), slice(30, 40))
    assert raised_flags(some, references)[0] == ("csf",)
    assert components_to_compare(some, references) == (1, 3)


def test_without_references_nothing_is_flagged() -> None:
    some = components(slice(0, 8), slice(10, 20))
    assert components_to_compare(some, ReferenceMaps()) == (0, 1)
