"""The group mask gives all participants the same weight and does not depend on their order."""

import weakref

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nidecomp.runs.group_mask import MINIMUM_COVERAGE, common_grid, group_mask
from nidecomp.spaces.grid import Grid

SHAPE = (4, 4, 4)
CORE = np.zeros(SHAPE, dtype=bool)
CORE[:2] = True
few = settings(deadline=None, max_examples=40, derandomize=True, database=None)
thresholds = st.floats(1e-3, 1.0)


@st.composite
def groups(draw, max_participants=5, max_runs=3):
    """Draw masks that all include the same half of the grid, so that none is excluded."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    runs = draw(st.lists(st.integers(1, max_runs), min_size=1, max_size=max_participants))
    participants = {f"sub-{who}_run-{i}": str(who) for who, n in enumerate(runs) for i in range(n)}
    masks = {run: CORE | (rng.random(SHAPE) < rng.random()) for run in participants}
    return participants, masks


def votes(participants, masks):
    """Return the share of participants for each voxel, computed participant by participant."""
    shares = []
    for who in set(participants.values()):
        own = [masks[run] for run in participants if participants[run] == who]
        shares.append(np.mean(own, axis=0))
    return np.mean(shares, axis=0)


@few
@given(group=groups(), threshold=thresholds)
def test_mask_holds_what_enough_participants_hold(group, threshold):
    participants, masks = group
    mask, _ = group_mask(participants, masks.__getitem__, threshold)
    share = votes(participants, masks)
    clear = np.abs(share - threshold) > 1e-6
    assert_array_equal(mask[clear], (share > threshold)[clear])


@few
@given(group=groups(), pair=st.tuples(thresholds, thresholds))
def test_higher_threshold_gives_a_subset(group, pair):
    participants, masks = group
    wide, _ = group_mask(participants, masks.__getitem__, min(pair))
    narrow, _ = group_mask(participants, masks.__getitem__, max(pair))
    assert not (narrow & ~wide).any()


@few
@given(group=groups())
def test_threshold_of_one_gives_the_intersection_and_a_tiny_one_the_union(group):
    participants, masks = group
    everyone, _ = group_mask(participants, masks.__getitem__, 1.0)
    anyone, _ = group_mask(participants, masks.__getitem__, 1e-6)
    assert_array_equal(everyone, np.all(list(masks.values()), axis=0))
    assert_array_equal(anyone, np.any(list(masks.values()), axis=0))


@few
@given(group=groups(max_runs=1), copies=st.lists(st.integers(1, 4), min_size=5, max_size=5))
def test_participants_weigh_the_same_whatever_their_number_of_runs(group, copies):
    participants, masks = group
    once, _ = group_mask(participants, masks.__getitem__, 0.5)
    again = {
        f"{run}-{copy}": who
        for (run, who), n in zip(participants.items(), copies, strict=False)
        for copy in range(n)
    }
    more, _ = group_mask(again, lambda run: masks[run.rpartition("-")[0]], 0.5)
    assert_array_equal(more, once)


@few
@given(group=groups(), threshold=thresholds, seed=st.randoms(use_true_random=False))
def test_order_of_runs_does_not_matter(group, threshold, seed):
    participants, masks = group
    shuffled = list(participants.items())
    seed.shuffle(shuffled)
    mask, coverage = group_mask(participants, masks.__getitem__, threshold)
    other_mask, other_coverage = group_mask(dict(shuffled), masks.__getitem__, threshold)
    assert_array_equal(other_mask, mask)
    assert other_coverage == coverage


@few
@given(group=groups())
def test_coverage_is_the_share_of_the_mask_that_a_run_holds(group):
    participants, masks = group
    mask, coverage = group_mask(participants, masks.__getitem__, 0.5)
    assert set(coverage) == set(participants)
    for run, share in coverage.items():
        assert share == np.mean(masks[run][mask])


@few
@given(group=groups(), threshold=st.floats(1e-3, 0.1))
def test_runs_that_miss_most_of_the_mask_have_no_say(group, threshold):
    """A misaligned run would add voxels to the mask at a low threshold."""
    participants, masks = group
    masks = {run: mask & ~_corner() for run, mask in masks.items()}
    with_displaced = {**participants, "sub-x_run-0": "x"}
    alone, _ = group_mask(participants, masks.__getitem__, threshold)
    mask, coverage = group_mask(
        with_displaced, {**masks, "sub-x_run-0": _corner()}.__getitem__, threshold
    )
    assert coverage["sub-x_run-0"] < MINIMUM_COVERAGE
    assert_array_equal(mask, alone)


def _corner():
    corner = np.zeros(SHAPE, dtype=bool)
    corner[3, 3, :] = True
    return corner


def test_participant_whose_other_run_is_displaced_keeps_a_whole_vote():
    """If a participant has a good and a misaligned run, the good one gets the full weight."""
    good = CORE.copy()
    wide = CORE.copy()
    wide[2] = True
    masks = {"a1": good, "b1": wide, "b2": _corner()}
    mask, coverage = group_mask({"a1": "a", "b1": "b", "b2": "b"}, masks.__getitem__, 0.5)
    assert coverage["b2"] < MINIMUM_COVERAGE
    assert_array_equal(mask, wide)


def test_masks_are_loaded_one_at_a_time():
    """At most two masks are in memory at once, so that memory does not grow with the group."""
    alive: list[weakref.ref[np.ndarray]] = []
    counts = []

    def load(run):
        mask = CORE.copy()
        alive.append(weakref.ref(mask))
        counts.append(sum(reference() is not None for reference in alive))
        return mask

    group_mask({f"run-{index}": str(index) for index in range(8)}, load, 0.5)
    assert max(counts) <= 2


def grid(size_mm, shape=SHAPE):
    affine = np.diag([size_mm, size_mm, size_mm, 1.0])
    return Grid(shape, tuple(tuple(row) for row in affine.tolist()))


@few
@given(order=st.permutations([2.0, 2.0, 2.0, 3.0, 3.0, 4.0]))
def test_common_grid_is_the_one_that_most_runs_have(order):
    assert common_grid([grid(size) for size in order]) == grid(2.0)


@few
@given(order=st.permutations([(2.0, SHAPE), (3.0, SHAPE), (2.0, (4, 4, 5)), (3.0, (5, 4, 4))]))
def test_common_grid_of_equals_does_not_depend_on_their_order(order):
    grids = [grid(size, shape) for size, shape in order]
    assert common_grid(grids) == min(grids, key=lambda one: (one.shape, one.affine))
