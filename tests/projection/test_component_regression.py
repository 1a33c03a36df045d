"""Component regression: the removed part is that of least squares, and all else is unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nidecomp.projection.component_regression import (
    ComponentRegression,
    fit_component_regression,
    regressed_volumes,
)

N_VOLUMES, N_VOXELS, K = 37, 60, 5
few = settings(deadline=None, max_examples=20, derandomize=True, database=None)


def courses_and_image(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return correlated, centred time courses, and an image that has them above a baseline."""
    rng = np.random.default_rng(seed)
    courses = rng.normal(size=(N_VOLUMES, K)) @ (np.eye(K) + 0.5)
    courses -= courses.mean(axis=0)
    image = 1000 + courses @ rng.normal(size=(K, N_VOXELS)) + rng.normal(size=(N_VOLUMES, N_VOXELS))
    return courses, image.astype(np.float32)


def cleaned(removal: ComponentRegression, image: NDArray[np.float32]) -> NDArray[np.float64]:
    volumes = regressed_volumes(iter(image), np.arange(len(image)), removal)
    return np.stack(list(volumes)).astype(float)


@few
@given(seed=st.integers(0, 2**32 - 1), aggressive=st.booleans())
def test_the_regressed_image_is_the_residual_of_least_squares(seed: int, aggressive: bool) -> None:
    courses, image = courses_and_image(seed)
    removed = (1, 3)
    model = courses[:, list(removed)] if aggressive else courses
    data = image.astype(float)
    effects = np.linalg.lstsq(np.column_stack([model, np.ones(N_VOLUMES)]), data)[0][:-1]
    mine = effects if aggressive else effects[list(removed)]
    expected = data - courses[:, list(removed)] @ mine
    found = cleaned(
        fit_component_regression(iter(image), courses, removed, aggressive=aggressive), image
    )
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_only_aggressive_regression_leaves_nothing_of_the_time_course() -> None:
    """Otherwise, variance shared with other components stays. These are unchanged in any case."""
    courses, image = courses_and_image(1)
    whole = np.linalg.lstsq(courses, image.astype(float) - image.mean(axis=0))[0]
    for aggressive in (True, False):
        removal = fit_component_regression(iter(image), courses, (0,), aggressive=aggressive)
        found = cleaned(removal, image)
        found -= found.mean(axis=0)
        r = np.corrcoef(courses[:, 0], found.T)[0, 1:]
        assert (np.abs(r).max() < 1e-3) == aggressive
        left = np.linalg.lstsq(courses, found)[0]
        assert (np.abs(left[0]).max() < 1e-3) != aggressive
        np.testing.assert_allclose(left[1:], whole[1:], atol=1e-3)


def test_dropped_volumes_are_unchanged() -> None:
    courses, image = courses_and_image(2)
    kept = np.array([index for index in range(N_VOLUMES) if index not in {0, 7}])
    removal = fit_component_regression(iter(image[kept]), courses[kept], (2,), aggressive=False)
    found = np.stack(list(regressed_volumes(iter(image), kept, removal)))
    np.testing.assert_array_equal(found[[0, 7]], image[[0, 7]])
    assert (np.abs(found - image).max(axis=1)[kept] > 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_stay_and_do_not_affect_others(bad: float) -> None:
    courses, image = courses_and_image(3)
    spoilt = image.copy()
    spoilt[5, 10] = bad
    removal = fit_component_regression(iter(spoilt), courses, (1,), aggressive=False)
    assert np.isfinite(removal.effects).all()
    found, expected = (
        cleaned(removal, spoilt),
        cleaned(fit_component_regression(iter(image), courses, (1,), aggressive=False), image),
    )
    others = np.delete(np.arange(N_VOXELS), 10)
    np.testing.assert_array_equal(found[:, others], expected[:, others])
    assert not np.isfinite(found[5, 10])


def test_a_reused_buffer_of_volumes_does_not_change_the_fit() -> None:
    """All volumes are read into the same buffer, so that they must be copied."""
    courses, image = courses_and_image(4)
    buffer = np.empty(N_VOXELS, dtype=np.float32)

    def through_buffer():
        for volume in image:
            buffer[:] = volume
            yield buffer

    first = fit_component_regression(through_buffer(), courses, (0,), aggressive=False)
    second = fit_component_regression(iter(image), courses, (0,), aggressive=False)
    np.testing.assert_array_equal(first.effects, second.effects)
