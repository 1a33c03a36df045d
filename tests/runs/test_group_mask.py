"""The group mask gives all participants the same weight and does not depend on their order."""

import logging
import weakref
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from run_examples import run_of

from nidecomp.config.science import Masking
from nidecomp.core.errors import UsageError
from nidecomp.core.inventory import Inventory
from nidecomp.core.records import RunKey
from nidecomp.runs.enough_participants import MINIMUM_COVERAGE, group_mask
from nidecomp.runs.group_mask import common_grid, share_space
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


@few
@given(order=st.permutations([2.0, 2.0, 2.00001, 2.00002, 3.0, 3.0, 3.0]))
def test_grids_that_differ_by_rounding_count_together(order):
    """Of the largest set, the one that most runs have exactly."""
    assert common_grid([grid(size) for size in order]) == grid(2.0)


@few
@given(order=st.permutations([2.0, 2.00001, 2.00002, 3.0]))
def test_of_grids_that_differ_by_rounding_the_first_is_taken(order):
    assert common_grid([grid(size) for size in order]) == grid(2.0)


@few
@given(order=st.permutations([0.0, 0.04, 0.04, 0.08, 0.12, 0.12]))
def test_grids_in_a_chain_give_the_one_that_is_the_same_as_most(order):
    """The ends of a chain are not the same, although each is the same as the next."""

    def shifted(shift):
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        affine[0, 3] = shift
        return Grid(SHAPE, tuple(tuple(row) for row in affine.tolist()))

    assert common_grid([shifted(one) for one in order]) == shifted(0.08)


# ---------------------------------------------------------------- masks of runs
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def run_with(folder, number, mask, affine=AFFINE, grid_of_run=None):
    """A run with a mask file of its own."""
    run = run_of(RunKey((("sub", f"{number:02}"), ("task", "rest"))))
    path = folder / f"{run.label}_mask.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(mask, dtype=np.float32), affine), path)
    return replace(run, grid=grid_of_run or grid(2.0), files=replace(run.files, mask=path))


def shared(runs, masking=None, cache_dir=None):
    space, inventory = share_space(Inventory(tuple(runs)), masking or Masking(), cache_dir)
    return space, inventory


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"structures": "cortex"}, "--structures cortex is for grayordinates"),
        ({"surfaces_dir": "x"}, "--surfaces-dir x is for surfaces and grayordinates"),
    ],
)
def test_options_of_surfaces_are_refused_for_volumes(tmp_path, option, said):
    with pytest.raises(UsageError, match=said):
        shared([run_with(tmp_path, 1, CORE)], Masking(**option))
    # Without runs, nothing says that they would be volumes.
    assert shared([], Masking(**option))[0] is None


def test_a_usual_mask_gives_its_size_and_no_note(tmp_path):
    run = replace(run_with(tmp_path, 1, CORE), notes=("known before",))
    space, inventory = shared([run])
    (used,) = inventory.used
    assert (used.mask_voxels, used.notes, used.coverage) == (32, ("known before",), 1.0)
    assert_array_equal(space.mask, CORE)


def test_a_soft_mask_is_cut_at_half_and_the_run_says_so(tmp_path):
    soft = np.where(CORE, 0.9, 0.01)
    soft[3] = 0
    run = run_with(tmp_path, 1, soft)
    for _ in range(2):
        # The second time, the group mask is found where it was stored.
        space, inventory = shared([run], cache_dir=tmp_path / "cache")
        (used,) = inventory.used
        assert used.mask_voxels == 32
        assert used.notes == (
            "its brain mask is not binary: voxels of at least half of its maximum are used, "
            "about 70 % of those above 0",
        )
        assert_array_equal(space.mask, CORE)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_mask_with_negative_values_costs_its_run(tmp_path):
    good, bad = run_with(tmp_path, 1, CORE), run_with(tmp_path, 2, CORE - 0.5)
    _, inventory = shared([good, bad])
    assert [run.label for run in inventory.used] == [good.label]
    (refused,) = inventory.refused
    assert refused.reason == (
        "sub-02_task-rest_mask.nii.gz has negative values, so that it is no mask"
    )


def test_an_empty_mask_costs_its_run(tmp_path):
    _, inventory = shared([run_with(tmp_path, 1, CORE), run_with(tmp_path, 2, 0 * CORE)])
    assert [run.reason for run in inventory.refused] == [
        "its brain mask sub-02_task-rest_mask.nii.gz is empty"
    ]


def test_a_mask_on_another_grid_than_its_image_is_resampled_and_noted(tmp_path):
    fine = np.repeat(np.repeat(np.repeat(CORE, 2, axis=0), 2, axis=1), 2, axis=2)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -0.5
    space, inventory = shared([run_with(tmp_path, 1, fine, affine)])
    (used,) = inventory.used
    # On the mask's own grid.
    assert used.mask_voxels == 8 * 32
    assert used.notes == ("its brain mask is on another grid than its image and was resampled",)
    assert_array_equal(space.mask, CORE)


@pytest.mark.parametrize(("shift_mm", "percent"), [(4.1, None), (6.1, 25), (200.0, 0)])
def test_a_mask_beside_its_image_costs_the_run(tmp_path, shift_mm, percent):
    affine = AFFINE.copy()
    affine[0, 3] = -shift_mm
    wide = np.zeros((4, 4, 4))
    wide[:, :2] = 1
    runs = [run_with(tmp_path, 1, CORE), run_with(tmp_path, 2, wide, affine)]
    _, inventory = shared(runs, Masking(mask_threshold=0.01))
    reasons = [run.reason for run in inventory.refused]
    if percent is None:
        assert not any("overlap" in reason for reason in reasons)
    else:
        assert reasons == [
            f"its brain mask does not overlap with its image: {percent} % of "
            "sub-02_task-rest_mask.nii.gz is within the field of view: correct the affine of one "
            "of the two"
        ]


def test_a_mask_of_the_entire_field_of_view_is_noted(tmp_path):
    _, inventory = shared([run_with(tmp_path, 1, np.ones(SHAPE))])
    (used,) = inventory.used
    assert used.mask_voxels == 64
    assert used.notes == ("its brain mask covers the entire field of view of its image",)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_runs_whose_grids_differ_by_rounding_are_not_resampled(tmp_path, order, caplog):
    grids = [grid(2.0), grid(2.00001), grid(2.0)]
    runs = [run_with(tmp_path, index, CORE, one.matrix, one) for index, one in enumerate(grids)]
    space, inventory = shared([runs[index] for index in order])
    assert space.grid == grid(2.0)
    assert not any(run.resampled or run.notes for run in inventory.used)
    assert not caplog.records
    _, inventory = shared([*runs, run_with(tmp_path, 3, CORE, grid(2.1).matrix, grid(2.1))])
    assert [run.resampled for run in inventory.used] == [False, False, False, True]


def test_a_given_mask_that_is_none_is_cut_at_half_with_a_warning(tmp_path, caplog):
    soft = np.where(CORE, 0.9, 0.3)
    run = run_with(tmp_path, 1, CORE)
    path = tmp_path / "given.nii.gz"
    nib.save(nib.Nifti1Image(soft.astype(np.float32), AFFINE), path)
    with caplog.at_level(logging.WARNING):
        shared([run], Masking(mask=str(path)))
    assert not caplog.messages
    soft[0] = 0.8
    nib.save(nib.Nifti1Image(soft.astype(np.float32), AFFINE), path)
    space, _ = shared([run], Masking(mask=str(path)))
    assert caplog.messages == [
        f"--mask {path} is not binary: voxels of at least half of its maximum are used, "
        "about 50 % of those above 0"
    ]
    assert_array_equal(space.mask, CORE)
    caplog.clear()
    nib.save(nib.Nifti1Image(np.ones(SHAPE, dtype=np.float32), AFFINE), path)
    shared([run], Masking(mask=str(path), mask_threshold=0.1))
    assert caplog.messages == [f"--mask {path} covers the entire field of view of the runs"]
    nib.save(nib.Nifti1Image(-soft.astype(np.float32), AFFINE), path)
    with pytest.raises(UsageError, match=r"--mask .*: given\.nii\.gz has negative values"):
        shared([run], Masking(mask=str(path)))


@pytest.mark.parametrize("name", ["given.dlabel.nii", "given_hemi-L_dseg.label.gii"])
def test_a_mask_of_surfaces_is_told_where_runs_are_volumes(tmp_path, name):
    run = run_with(tmp_path, 1, CORE)
    with pytest.raises(UsageError, match=r"\), and the runs are volumes: give a NIfTI image"):
        shared([run], Masking(mask=str(tmp_path / name)))
