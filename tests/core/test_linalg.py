"""Sums over voxels in a fixed order, and evenly spaced voxels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.core.linalg import evenly_spaced, products

many = settings(deadline=None, max_examples=200, derandomize=True, database=None)


@given(n_voxels=st.integers(1, 5000), most=st.integers(1, 5000))
@many
def test_evenly_spaced_voxels_are_distinct_and_ascend(n_voxels, most):
    voxels = evenly_spaced(n_voxels, most)
    assert len(voxels) == min(n_voxels, most)
    assert voxels[0] == 0
    assert (np.diff(voxels) > 0).all()
    assert voxels[-1] < n_voxels


@pytest.mark.parametrize("n_voxels", [3, 16384, 40_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inner_products_are_numpy_s(n_voxels, dtype):
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((n, n_voxels)).astype(dtype) for n in (3, 5))
    found = products(first, second)
    assert found.dtype == np.float64
    np.testing.assert_allclose(
        found, first.astype(float) @ second.T.astype(float), rtol=1e-9, atol=1e-8
    )
    np.testing.assert_allclose(products(first, first), products(first, first.copy()), atol=1e-8)
