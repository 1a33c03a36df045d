"""Runs on surfaces are inspected, remembered, and masked by where they have a signal."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from surface_examples import (
    AFFINE,
    N_VERTICES,
    N_VOLUMES,
    brain_models,
    dense_of,
    left_of,
    series,
    write_cifti,
    write_dense,
    write_gifti,
    write_json,
    write_pair,
)

from nidecomp.annex import fetched
from nidecomp.bids.datasets import locate_datasets
from nidecomp.bids.index import find_runs
from nidecomp.config.parse import settings_from_options
from nidecomp.config.science import Denoising, Masking, Selection
from nidecomp.core.content import annex_key_of_all
from nidecomp.core.errors import FailedRunError, NothingToDoError, UsageError
from nidecomp.core.inventory import Inventory, RefusedRun
from nidecomp.core.records import RunFiles, UsableRun
from nidecomp.execution.local import LocalProcesses
from nidecomp.runs import known_images, signal
from nidecomp.runs.fetching import header_before_it_is_read
from nidecomp.runs.find import find_usable_runs
from nidecomp.runs.find_all import find_runs_of_datasets
from nidecomp.runs.group_mask import share_space
from nidecomp.runs.inspect import inspect_run
from nidecomp.runs.inspected import run_as_json, run_from_json
from nidecomp.runs.known_images import KnownImages, image_identity, known_header, remember_image
from nidecomp.runs.reduce import reduce_run
from nidecomp.runs.signal import MASK_FOLDER
from nidecomp.runs.sites import find_runs_of_site, refuse_other_spaces
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.brain_models import Grayordinates
from nidecomp.spaces.cifti import open_cifti, series_head
from nidecomp.spaces.grayordinate_series import usable_features
from nidecomp.spaces.grayordinates import GrayordinateSpace
from nidecomp.spaces.meshes import template_mesh

NONE = Denoising(denoise_strategy="none")
SPACES = {"gifti": "fsaverage3", "cifti": "fsLR"}
WRITE: dict[str, Callable[[Path, str], Path]] = {"gifti": write_pair, "cifti": write_dense}


def found(root: Path, space: str = "fsaverage3") -> list[RunFiles]:
    return list(find_runs(root, Selection(space=space)).runs)


def inspected(root: Path, space: str = "fsaverage3") -> list[UsableRun | RefusedRun]:
    return [inspect_run(files, NONE, 2) for files in found(root, space)]


def usable(root: Path, space: str = "fsaverage3") -> list[UsableRun]:
    runs = inspected(root, space)
    assert all(isinstance(run, UsableRun) for run in runs), runs
    return [run for run in runs if isinstance(run, UsableRun)]


def reason(root: Path, space: str = "fsaverage3") -> str:
    (run,) = inspected(root, space)
    assert isinstance(run, RefusedRun)
    return run.reason


def sidecars(run: Path) -> list[Path]:
    return sorted(run.parent.glob("*_bold.json"))


# ---------------------------------------------------------------- inspection
@pytest.mark.parametrize("kind", SPACES)
def test_a_run_is_usable_with_the_time_of_its_sidecar(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path, "01")
    (run,) = usable(tmp_path, SPACES[kind])
    assert (run.repetition_time_s, run.repetition_time_source, run.notes) == (2.0, "sidecar", ())
    assert (run.n_volumes, run.stored_bytes, run.mask_voxels) == (N_VOLUMES, 4, None)
    assert isinstance(run.grid, Grayordinates)
    assert run.grid.n_numbers == (2 * N_VERTICES if kind == "gifti" else 2 * N_VERTICES + 54)


def test_grayordinates_have_the_time_of_their_file_where_no_sidecar_has_it(tmp_path: Path) -> None:
    """As of fMRIPrep 20.0 to 20.2.0, whose only sidecar does not say it."""
    path = write_dense(tmp_path, "01")
    (own,) = sidecars(path)
    own.unlink()
    write_json(path.with_name(path.name.replace(".nii", ".json")), {"space": "HCP grayordinates"})
    (run,) = usable(tmp_path, "fsLR")
    assert (run.repetition_time_s, run.repetition_time_source) == (2.0, "header")
    assert "read from the header, because no sidecar has RepetitionTime" in run.notes[0]


@pytest.mark.parametrize("seconds", [1.0, 3.0, 0.002, 2000.0])
def test_grayordinates_and_their_sidecar_must_agree(tmp_path: Path, seconds: float) -> None:
    path = write_dense(tmp_path, "01")
    write_cifti(path, series(N_VOLUMES, len(brain_models())), brain_models(), step=seconds)
    assert reason(tmp_path, "fsLR") == (
        f"RepetitionTime is 2 s in its sidecar, but volumes are {seconds:g} s apart in the file "
        "itself (SeriesStep): correct the wrong one"
    )


def test_surfaces_without_a_sidecar_are_refused_until_one_is_written(tmp_path: Path) -> None:
    path = write_pair(tmp_path, "01")
    for one in sidecars(path):
        one.unlink()
    assert "surfaces in GIFTI do not say it themselves" in reason(tmp_path)
    write_json(tmp_path / "task-rest_bold.json", {"RepetitionTime": 2.5})
    (run,) = usable(tmp_path)
    assert (run.repetition_time_s, run.repetition_time_source) == (
        2.5, "sidecar task-rest_bold.json"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("right", "is_same"),
    [({"RepetitionTime": 2.0}, True), ({}, True), ({"RepetitionTime": 3}, False)],
)
def test_hemispheres_must_agree_in_their_times(
    tmp_path: Path, right: dict[str, object], is_same: bool
) -> None:
    write_json(sidecars(write_pair(tmp_path, "01"))[1], right)
    if is_same:
        assert usable(tmp_path)[0].repetition_time_s == 2.0
    else:
        assert "RepetitionTime is 2.0 in the sidecar of the left one, and 3" in reason(tmp_path)


def test_hemispheres_must_have_the_same_length(tmp_path: Path) -> None:
    left, right = series(N_VOLUMES, N_VERTICES), series(N_VOLUMES - 5, N_VERTICES)
    write_pair(tmp_path, "01", {"L": left, "R": right})
    assert "the left one has 24 volumes, the right one 19" in reason(tmp_path)


def test_hemispheres_must_not_be_mixed_up(tmp_path: Path) -> None:
    write_gifti(write_pair(tmp_path, "01"), series(N_VOLUMES, N_VERTICES), "CortexRight")
    assert "says that it is CortexRight (AnatomicalStructurePrimary)" in reason(tmp_path)


# ---------------------------------------------------------------- what is remembered
@pytest.mark.parametrize("kind", SPACES)
def test_a_run_survives_being_kept(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path, "01")
    (run,) = usable(tmp_path, SPACES[kind])
    assert run_from_json(run.files, json.loads(json.dumps(run_as_json(run)))) == run


@pytest.mark.parametrize("kind", SPACES)
def test_images_are_remembered_with_all_of_their_files(tmp_path: Path, kind: str) -> None:
    WRITE[kind](tmp_path / "in", "01")
    (run,) = usable(tmp_path / "in", SPACES[kind])
    remember_image(run.files, run.grid, tmp_path / "work")
    before = image_identity(run.files, tmp_path / "work")
    for path in run.files.images:
        path.unlink()
    assert run.files.bold in KnownImages(tmp_path / "in", tmp_path / "work")
    gone = replace(run.files, image_is_gone=True)
    assert image_identity(gone, tmp_path / "work") == before
    header = known_header(gone, tmp_path / "work")
    assert header is not None
    assert (header.grid, header.n_volumes) == (run.grid, N_VOLUMES)


def test_a_change_of_the_right_hemisphere_changes_what_the_run_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the time of the file was set back."""
    monkeypatch.setattr(known_images, "SETTLED_NS", -(10**9))
    left = write_pair(tmp_path / "in", "01")
    (run,) = usable(tmp_path / "in")
    remember_image(run.files, run.grid, tmp_path / "work")
    before = image_identity(run.files, tmp_path / "work")
    right = left.with_name(left.name.replace("hemi-L", "hemi-R"))
    content, status = bytearray(right.read_bytes()), right.stat()
    content[-1] ^= 1
    right.write_bytes(content)
    os.utime(right, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert image_identity(run.files, tmp_path / "work") != before


@pytest.mark.parametrize("kind", SPACES)
def test_a_second_start_reads_no_image(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where the images are nor where they were removed, of which one is enough."""
    for sub in ("01", "02"):
        run = WRITE[kind](tmp_path / "in", sub)
        # Without it, an image that was removed would not be missed.
        table = run.with_name(f"sub-{sub}_task-rest_desc-confounds_timeseries.tsv")
        table.write_text("csf\n" + "1\n" * N_VOLUMES, encoding="utf-8")
    options = {"space": SPACES[kind], "denoise_strategy": "none", "n_components": 2}
    settings = settings_from_options(tmp_path / "in", tmp_path / "out", "group", options)
    cache = settings.work_dir / "mask"

    def start() -> tuple[Inventory, object]:
        runs = find_usable_runs(tmp_path / "in", settings, LocalProcesses(1))
        space, inventory = share_space(runs, Masking(), cache, settings.work_dir)
        for run in inventory.used:
            remember_image(run.files, run.grid, settings.work_dir)
        assert space is not None
        return inventory, space.digest

    monkeypatch.setattr(known_images, "SETTLED_NS", -(10**9))
    first, digest = start()
    monkeypatch.setattr(known_images, "identity_of_all", None)
    monkeypatch.setattr(signal, "usable_features", None)
    monkeypatch.setattr(signal, "read_brain_models", None)
    assert start() == (first, digest)
    gone = first.used[0].files.images[-1]
    gone.unlink()
    again, same = start()
    assert same == digest
    assert [run.files.image_is_gone for run in again.used] == [True, False]
    assert again.used[0].grid == first.used[0].grid


# ---------------------------------------------------------------- the group mask
def shared(
    runs: list[UsableRun], folder: Path | None = None, **masking: object
) -> tuple[GrayordinateSpace, Inventory]:
    options = Masking(**masking)  # type: ignore[arg-type]
    space, inventory = share_space(Inventory(tuple(runs)), options, folder, folder)
    assert isinstance(space, GrayordinateSpace)
    return space, inventory


def walls() -> dict[str, np.ndarray]:
    return {side: template_mesh("fsaverage3", N_VERTICES, side).wall for side in ("L", "R")}


def test_the_medial_wall_is_left_out_whatever_is_written_there(tmp_path: Path) -> None:
    """Signal, zeros or NaN: fMRIPrep has left all of them."""
    wall = walls()
    for sub, there in (("01", None), ("02", 0.0), ("03", np.nan)):
        own = {side: series(N_VOLUMES, N_VERTICES, seed=index) for index, side in enumerate("LR")}
        if there is not None:
            own = {side: np.where(wall[side], there, own[side]) for side in "LR"}
        write_pair(tmp_path, sub, own)
    space, inventory = shared(usable(tmp_path), mask_threshold=1.0)
    np.testing.assert_array_equal(space.inside, ~np.concatenate([wall["L"], wall["R"]]))
    assert [run.coverage for run in inventory.used] == [1.0, 1.0, 1.0]
    assert [run.notes for run in inventory.used] == [(), (), ()]


def test_a_vertex_needs_a_signal_in_enough_participants(tmp_path: Path) -> None:
    wall = walls()
    lost = {"01": [], "02": np.flatnonzero(~wall["L"])[:6], "03": np.flatnonzero(~wall["L"])[:3]}
    for sub, vertices in lost.items():
        own = {side: series(N_VOLUMES, N_VERTICES, seed=index) for index, side in enumerate("LR")}
        own["L"][:, list(vertices)] = 0
        own["L"][3:5, list(vertices)[:1]] = np.nan
        write_pair(tmp_path, sub, own)
    runs = usable(tmp_path)
    most, _ = shared(runs)
    everybody, inventory = shared(runs, mask_threshold=1.0)
    assert np.flatnonzero(~most.inside[:N_VERTICES] & ~wall["L"]).tolist() == lost["03"].tolist()
    assert (
        np.flatnonzero(~everybody.inside[:N_VERTICES] & ~wall["L"]).tolist() == lost["02"].tolist()
    )
    assert [run.coverage for run in inventory.used] == [
        1.0,
        pytest.approx(1 - 3 / most.n_features),
        1.0,
    ]


def test_grayordinates_are_aligned_by_their_places(tmp_path: Path) -> None:
    """The order of voxels changed with fMRIPrep 23.1.4."""
    new, old = brain_models(), brain_models(is_old_order=True)
    values = series(N_VOLUMES, len(new))
    values[:, -1] = 0
    write_dense(tmp_path, "01", new, values)
    write_dense(tmp_path, "02", new, values)
    # The last voxel in both orders: by place, and not by position.
    other = values.copy()
    other[:, -27:] = values[:, -27:].reshape(-1, 3, 3, 3).transpose(0, 3, 2, 1).reshape(-1, 27)
    other[:, -1], other[:, -2] = series(N_VOLUMES), 0
    write_dense(tmp_path, "03", old, other)
    space, inventory = shared(usable(tmp_path, "fsLR"), mask_threshold=1.0)
    lost = np.flatnonzero(~space.inside[2 * N_VERTICES :])
    assert (lost + 2 * N_VERTICES).tolist() == [len(new) - 10, len(new) - 1]
    assert ["not listed as in most runs" in " ".join(run.notes) for run in inventory.used] == [
        False, False, True
    ]  # fmt: skip


@pytest.mark.parametrize("structures", ["all", "cortex", "subcortex"])
def test_structures_are_chosen_without_the_medial_wall(tmp_path: Path, structures: str) -> None:
    """A file of grayordinates that has all vertices has a signal on the wall, too."""
    write_dense(tmp_path, "01")
    space, _ = shared(usable(tmp_path, "fsLR"), structures=structures)
    cortex = ~np.concatenate([*walls().values()])
    expected = np.concatenate([cortex & (structures != "subcortex"), [structures != "cortex"] * 54])
    np.testing.assert_array_equal(space.inside, expected)


def test_what_cannot_be_done_on_surfaces_is_told(tmp_path: Path) -> None:
    write_pair(tmp_path, "01")
    (run,) = usable(tmp_path)
    with pytest.raises(UsageError, match="--structures subcortex: the runs in space-fsaverage3"):
        shared([run], structures="subcortex")
    elsewhere = replace(run, files=replace(run.files, space="onavg"))
    with pytest.raises(
        UsageError, match=r"--space onavg: no mesh .* --surfaces-dir takes a folder"
    ):
        shared([elsewhere])


# ---------------------------------------------------------------- given masks
def mask_file(folder: Path, kind: str, space: GrayordinateSpace) -> Path:
    """Write the features of a space as the mask of results, and return the left or only file."""
    name = "tpl-x_{}desc-brain_dseg{}"
    for hemi in space.hemispheres:
        part = f"hemi-{hemi}_" if hemi else ""
        path = folder / name.format(part, space.extensions.mask)
        path.write_bytes(space.encode_mask(hemi=hemi))
    return folder / name.format("hemi-L_" if kind == "gifti" else "", space.extensions.mask)


@pytest.mark.parametrize(
    ("kind", "mask", "sentence"),
    [
        ("gifti", "brain.nii.gz", "is a volume, and the runs in space-fsaverage3 are of surfaces "
         "(GIFTI): give the left one of a pair of .label.gii"),
        ("gifti", "x.dlabel.nii", "is of grayordinates (CIFTI), and the runs in space-fsaverage3"),
        ("cifti", "x_hemi-L_dseg.label.gii", "is of surfaces (GIFTI), and the runs in space-fsLR "
         "are of grayordinates (CIFTI): give a .dlabel.nii"),
    ],
)  # fmt: skip
def test_a_mask_of_another_kind_is_told_before_runs_are_read(
    tmp_path: Path, kind: str, mask: str, sentence: str
) -> None:
    WRITE[kind](tmp_path / "in", "01")
    runs = usable(tmp_path / "in", SPACES[kind])
    shutil.rmtree(tmp_path / "in")
    with pytest.raises(UsageError, match=re.escape(f"--mask {mask} {sentence}")):
        shared(runs, mask=mask)


@pytest.mark.parametrize("kind", SPACES)
def test_the_mask_of_results_can_be_given(tmp_path: Path, kind: str) -> None:
    for sub in ("01", "02"):
        WRITE[kind](tmp_path / "in", sub)
    runs = usable(tmp_path / "in", SPACES[kind])
    space, _ = shared(runs, structures="cortex")
    path = mask_file(tmp_path, kind, space)
    again, inventory = shared(runs[:1], mask=str(path))
    assert again.digest == space.digest
    assert [run.coverage for run in inventory.used] == [1.0]


def test_a_mask_says_what_is_in_it_whatever_has_a_signal(tmp_path: Path) -> None:
    own = {side: series(N_VOLUMES, N_VERTICES) for side in "LR"}
    inside = np.zeros(N_VERTICES)
    inside[np.flatnonzero(~walls()["L"])[:100]] = 3.5
    inside[np.flatnonzero(walls()["L"])] = 1
    inside[-1] = np.nan
    own["L"][:, np.flatnonzero(inside == 3.5)[:25]] = 0
    write_pair(tmp_path, "01", own)
    write_gifti(tmp_path / "lh.mine.shape.gii", inside[None], "CortexLeft")
    write_gifti(tmp_path / "rh.mine.shape.gii", np.zeros((1, N_VERTICES)), "CortexRight")
    space, inventory = shared(usable(tmp_path), mask=str(tmp_path / "lh.mine.shape.gii"))
    assert np.flatnonzero(space.inside).tolist() == np.flatnonzero(inside == 3.5).tolist()
    assert [run.coverage for run in inventory.used] == [0.75]
    assert inventory.used[0].notes == ("25.0 % of the group mask has no signal in it",)


def test_a_mask_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    write_pair(tmp_path, "01")
    runs = usable(tmp_path)
    left = tmp_path / "lh.mine.shape.gii"
    for values, said in (
        (np.ones((1, N_VERTICES)), "right hemisphere is missing"),
        (np.ones((2, N_VERTICES)), "has 2 maps; a mask has one"),
        (np.zeros((1, N_VERTICES)), "has nothing but 0"),
    ):
        write_gifti(left, values, "CortexLeft")
        if "missing" not in said:
            write_gifti(tmp_path / "rh.mine.shape.gii", values, "CortexRight")
        with pytest.raises(UsageError, match=said):
            shared(runs, mask=str(left))


def test_nothing_with_a_signal_is_told(tmp_path: Path) -> None:
    flat = np.full((N_VOLUMES, N_VERTICES), 7.0)
    write_pair(tmp_path, "01", {"L": flat, "R": flat})
    with pytest.raises(NothingToDoError, match="nothing has a signal in enough participants"):
        shared(usable(tmp_path))


# ---------------------------------------------------------------- runs that do not fit
def test_a_run_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "01")
    write_pair(tmp_path, "02")
    flat = np.zeros((N_VOLUMES, N_VERTICES))
    half = series(N_VOLUMES, N_VERTICES)
    half[:, : N_VERTICES // 2] = 0
    write_pair(tmp_path, "03", {"L": flat, "R": half})
    _, inventory = shared(usable(tmp_path))
    (refused,) = inventory.refused
    assert refused.key.label == "sub-03_task-rest"
    assert "% of the group mask: it may be cut off" in refused.reason


def test_a_run_with_other_vertices_is_refused(tmp_path: Path) -> None:
    for sub in ("01", "02"):
        write_pair(tmp_path, sub)
    more = {side: series(N_VOLUMES, 2562) for side in "LR"}
    write_pair(tmp_path, "03", more)
    _, inventory = shared(usable(tmp_path))
    assert [run.label for run in inventory.used] == ["sub-01_task-rest", "sub-02_task-rest"]
    assert "has 2562 vertices, that of the other runs has 642" in inventory.refused[0].reason


def test_a_run_with_voxels_between_those_of_others_is_refused(tmp_path: Path) -> None:
    for sub in ("01", "02"):
        write_dense(tmp_path, sub)
    moved = AFFINE.copy()
    moved[0, 3] += 3
    write_dense(tmp_path, "03", brain_models(affine=moved))
    _, inventory = shared(usable(tmp_path, "fsLR"))
    assert len(inventory.used) == 2
    assert "lie between those of the other runs" in inventory.refused[0].reason


def test_a_run_that_cannot_be_read_has_failed(tmp_path: Path) -> None:
    write_pair(tmp_path, "01")
    right = Path(str(write_pair(tmp_path, "02")).replace("hemi-L", "hemi-R"))
    right.write_bytes(right.read_bytes()[: right.stat().st_size // 2])
    _, inventory = shared(usable(tmp_path))
    assert [run.key.label for run in inventory.failed] == ["sub-02_task-rest"]
    assert inventory.failed[0].reason.endswith("it was cut off, copy it again")
    assert len(inventory.used) == 1


def test_runs_of_two_kinds_are_not_pooled(tmp_path: Path) -> None:
    write_pair(tmp_path, "01")
    write_pair(tmp_path, "02")
    write_dense(tmp_path, "03")
    (other,) = usable(tmp_path, "fsLR")
    _, inventory = shared([*usable(tmp_path), other])
    assert inventory.refused[0].reason == (
        "it is of grayordinates (CIFTI), and most runs are of surfaces (GIFTI)"
    )


def test_the_order_of_runs_and_what_was_kept_change_nothing(tmp_path: Path) -> None:
    write_dense(tmp_path, "01", brain_models(is_old_order=True))
    for sub in ("02", "03"):
        write_dense(tmp_path, sub)
    runs = usable(tmp_path, "fsLR")
    space, inventory = shared(runs)
    executor = LocalProcesses(2)
    work = tmp_path / "work"
    found = share_space(Inventory(tuple(runs[::-1])), Masking(), work, work, executor)
    # Two of them have the same content.
    assert len(list(work.glob("signal-*"))) == 2
    other, turned = shared(runs[::-1], work)
    assert found[1] == turned
    third, kept = shared(runs, tmp_path / "work")
    assert space.digest == other.digest == third.digest
    assert sorted(turned.used, key=lambda run: run.label) == list(inventory.used) == list(kept.used)


@pytest.mark.parametrize("damage", ["", "{}", '"!!"'])
def test_what_is_kept_and_damaged_is_read_again(tmp_path: Path, damage: str) -> None:
    write_dense(tmp_path, "01")
    runs = usable(tmp_path, "fsLR")
    space, _ = shared(runs, tmp_path / "work")
    files = sorted((tmp_path / "work").glob("*.json"))
    assert [file.name.partition("-")[0] for file in files] == ["models", "signal"]
    for file in files:
        file.write_text(damage, encoding="utf-8")
    assert shared(runs, tmp_path / "work")[0].digest == space.digest


@pytest.mark.parametrize("kind", SPACES)
def test_what_was_replaced_while_it_was_read_is_not_kept(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = WRITE[kind](tmp_path, "01")
    (run,) = usable(tmp_path, SPACES[kind])
    folder = tmp_path / "work"

    def replaced_after(path: Path) -> np.ndarray:
        found = usable_features(path)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return found

    monkeypatch.setattr(signal, "usable_features", replaced_after)
    with pytest.raises(FailedRunError, match=f"{path.name} was replaced while it was read"):
        signal.Signals(folder, folder).of(run)
    assert not list(folder.glob("signal-*"))


def test_structures_without_places_are_kept_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dense(tmp_path, "01")
    there = open_cifti(path)
    empty = (
        f'<BrainModel IndexOffset="{there.models.n_numbers}" IndexCount="0" '
        'ModelType="CIFTI_MODEL_TYPE_VOXELS" BrainStructure="CIFTI_STRUCTURE_BRAIN_STEM">'
        "<VoxelIndicesIJK></VoxelIndicesIJK></BrainModel>"
    )
    before, end, after = there.xml.rpartition(b"</MatrixIndicesMap>")
    head = series_head(replace(there, xml=before + empty.encode() + end + after))
    path.write_bytes(head + there.stored().tobytes())
    assert len(open_cifti(path).models.structures) == len(there.models.structures) + 1
    runs = usable(tmp_path, "fsLR")
    space, _ = shared(runs, tmp_path / "work")
    monkeypatch.setattr(signal, "usable_features", None)
    assert shared(runs, tmp_path / "work")[0].digest == space.digest


def test_a_stand_in_for_fs_lr_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_dense(tmp_path, "01")
    with caplog.at_level(logging.WARNING):
        shared(usable(tmp_path, "fsLR"))
    assert caplog.text.count("No mesh of fsLR has 642 vertices") == 1
    assert dense_of(tmp_path, "01").exists()
    assert not left_of(tmp_path, "01").exists()
    assert nib.load(dense_of(tmp_path, "01")).shape[0] == N_VOLUMES


# ---------------------------------------------------------------- images that are fetched
@pytest.mark.parametrize("kind", SPACES)
def test_images_are_fetched_once_for_their_headers_and_their_signal(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITE[kind](tmp_path / "in", "01")
    (there,) = usable(tmp_path / "in", SPACES[kind])
    before = shared([there])[0].digest
    away: dict[Path, Path] = {}
    for index, path in enumerate(there.files.images):
        away[path] = path.rename(tmp_path / f"content{index}")
        path.symlink_to(tmp_path / ".git" / "annex" / "objects" / f"MD5E-s{index}--0.gii")
    n_fetched: Counter[Path] = Counter()

    @contextmanager
    def at_hand(path: Path) -> Iterator[None]:
        n_fetched[path] += 1
        link = path.readlink()
        path.unlink()
        shutil.copyfile(away[path], path)
        try:
            yield
        finally:
            path.unlink()
            path.symlink_to(link)

    monkeypatch.setattr(fetched, "at_hand", at_hand)
    key = annex_key_of_all(there.files.images)
    files = replace(there.files, is_fetched_when_read=True, annex_key=key)
    work = tmp_path / "work"
    found = header_before_it_is_read(files, work)
    assert found is not None
    assert (found.header.grid, found.is_expected) == (there.grid, True)
    run = replace(there, files=files, header_is_expected=True)
    space, inventory = share_space(Inventory((run,)), Masking(), work / MASK_FOLDER, work)
    assert space is not None
    assert (space.digest, inventory.used[0].coverage) == (before, 1.0)
    assert set(n_fetched.values()) == {1}
    assert n_fetched.keys() == away.keys()


# ---------------------------------------------------------------- several datasets
def test_datasets_of_two_densities_are_not_pooled(tmp_path: Path) -> None:
    write_dense(tmp_path / "a", "01")
    path = write_dense(tmp_path / "b", "02")
    for one in (path, *sidecars(path)):
        one.rename(one.with_name(one.name.replace("den-91k", "den-170k")))
    options = {
        "space": "fsLR", "denoise_strategy": "none", "n_components": 2,
        "skip_bids_validation": True, "datasets": {"B": {"path": str(tmp_path / "b")}},
    }  # fmt: skip
    settings = settings_from_options(tmp_path / "a", tmp_path / "out", "group", options)
    datasets, lost = locate_datasets(settings)
    found = find_runs_of_datasets(datasets, lost, settings, LocalProcesses(1))
    assert [run.label for run in found.used] == ["sub-01_task-rest"]
    assert [one.reason for one in found.lost] == [
        "its images are in space-fsLR_den-170k, those of the datasets before it in "
        "space-fsLR_den-91k: all datasets must have the same space and density"
    ]


@pytest.mark.parametrize("kind", SPACES)
def test_runs_of_sites_need_no_image_but_the_mask(tmp_path: Path, kind: str) -> None:
    for sub in ("01", "02"):
        WRITE[kind](tmp_path / "in", sub)
    runs = usable(tmp_path / "in", SPACES[kind])
    path = mask_file(tmp_path, kind, shared(runs)[0])
    space, inventory = shared(runs, mask=str(path))
    options = {
        "space": SPACES[kind], "denoise_strategy": "none", "n_components": 2, "mask": str(path)
    }  # fmt: skip
    settings = settings_from_options(tmp_path / "site", tmp_path / "out", "group", options)
    for run in inventory.used:
        task = ReduceTask(run, space, settings.science.denoising, (6.0,), 4, 2, tmp_path / "site")
        assert isinstance(reduce_run(task), tuple)
    shutil.rmtree(tmp_path / "in")
    found = find_runs_of_site(tmp_path / "site", settings)
    assert [run.grid for run in found.used] == [run.grid for run in runs]
    assert [run.files.den for run in found.used] == [run.files.den for run in runs]
    there, _ = share_space(
        found, settings.science.masking, tmp_path / "cache", tmp_path, LocalProcesses(0)
    )
    assert there is not None
    assert len(refuse_other_spaces(found, there).used) == 2
