"""Canonical correlations that unrelated participants have by chance."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.decomposition.canonical_null import effective_voxels, null_quantile

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=6, derandomize=True, database=None)
many = settings(few, max_examples=200)


@pytest.mark.parametrize(
    ("n_participants", "n_rows", "n_dims"), [(2, 10, 400), (4, 30, 600), (8, 20, 500), (3, 5, 100)]
)
def test_quantile_is_that_of_random_subspaces(n_participants, n_rows, n_dims):
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(60):
        bases = [
            np.linalg.qr(rng.standard_normal((n_dims, n_rows)))[0] for _ in range(n_participants)
        ]
        stacked = np.concatenate(bases, axis=1)
        largest.append(np.linalg.svd(stacked, compute_uv=False)[0] / math.sqrt(n_participants))
    quantile = null_quantile(n_participants, n_rows, n_dims)
    assert quantile == pytest.approx(np.quantile(largest, 0.95), rel=0.05)
    assert np.mean(np.array(largest) > quantile) <= 0.1


@many
@given(
    n_participants=st.integers(2, 200),
    n_rows=st.integers(1, 100),
    n_dims=st.floats(200, 1e5),
    more=st.floats(1.01, 10),
)
def test_the_quantile_increases_with_rows_and_decreases_with_dimensions(
    n_participants, n_rows, n_dims, more
):
    quantile = null_quantile(n_participants, n_rows, n_dims)
    assert n_participants**-0.5 <= quantile <= 1
    assert null_quantile(n_participants, n_rows * more, n_dims) >= quantile
    assert null_quantile(n_participants, n_rows, n_dims * more) <= quantile
    assert null_quantile(n_participants + 1, n_rows, n_dims) <= quantile


def test_subspaces_that_must_intersect_correlate_perfectly():
    assert null_quantile(3, 70, 100) == 1.0
    assert null_quantile(1, 10, 1000) == 1.0


@few
@given(seed=SEEDS, repeats=st.integers(1, 4), n_independent=st.integers(300, 900))
def test_effective_voxels_are_the_number_of_independent_values(seed, repeats, n_independent):
    """Each value is repeated in several voxels."""
    rng = np.random.default_rng(seed)
    noise = np.repeat(rng.standard_normal((6, 12, n_independent)), repeats, axis=2)
    noise /= np.linalg.norm(noise, axis=2, keepdims=True)
    assert effective_voxels(list(noise)) == pytest.approx(n_independent, rel=0.25)
