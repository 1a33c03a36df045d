"""Finishing an ICA of nearly Gaussian components, which FastICA's iteration never settles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import fastica as sklearn_fastica

from nidecomp.decomposition import fastica
from nidecomp.decomposition.canica import whiten
from nidecomp.decomposition.fastica import cubic_step, fastica_cube
from nidecomp.decomposition.orthogonal_ascent import ascend

SEEDS = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def nearly_gaussian(seed: int, n: int = 6, n_values: int = 400) -> NDArray[np.float64]:
    """One component that is not Gaussian, among others that are."""
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((n, n_values))
    sources[0] = rng.laplace(size=n_values) ** 3
    return whiten(rng.standard_normal((n, n)) @ sources)


def random_rotation(seed: int, n: int = 6) -> NDArray[np.float64]:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def contrast(white: NDArray[np.float64], matrix: NDArray[np.float64]) -> float:
    return float(np.abs(((matrix @ white) ** 4).mean(axis=1) - 3).sum())


@few
@given(seed=SEEDS)
def test_it_ends_at_a_rotation_that_fastica_leaves_as_it_is(seed: int) -> None:
    white, start = nearly_gaussian(seed), random_rotation(seed)
    matrix, n_steps, has_converged = ascend(cubic_step(white), start, fastica._is_fixed)
    assert has_converged
    assert n_steps < 100
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(6), atol=1e-9)
    assert contrast(white, matrix) >= contrast(white, start)
    _, again, _ = sklearn_fastica(
        white.T, fun="cube", whiten=False, w_init=matrix, max_iter=1, tol=1
    )
    np.testing.assert_allclose(np.abs(np.diag(again @ matrix.T)), 1, atol=1e-3)


def test_restarts_that_would_go_on_without_end_converge() -> None:
    white = nearly_gaussian(3)
    step = cubic_step(white)
    ends = [fastica_cube(step, random_rotation(seed)) for seed in range(8)]
    assert all(one.converged for one in ends)
    beyond = [one for one in ends if one.n_iter > fastica.MAX_ITERATIONS]
    assert beyond, "these data are to need it"
    # What is not Gaussian is the same in all.
    found = [np.abs(one.matrix @ ends[0].matrix[_sparsest(white, ends[0])]).max() for one in ends]
    assert min(found) > 0.99


def _sparsest(white: NDArray[np.float64], end: fastica.Unmixing) -> int:
    return int(((end.matrix @ white) ** 4).mean(axis=1).argmax())


def test_it_gives_up_where_nothing_is_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    white = nearly_gaussian(1)
    _, n_steps, has_converged = ascend(cubic_step(white), random_rotation(1), lambda *_: False)
    assert not has_converged
    assert n_steps <= 200
