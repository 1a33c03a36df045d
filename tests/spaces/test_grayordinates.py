"""Grayordinates in CIFTI and GIFTI: what holds for every space, and what is their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from grayordinate_examples import (
    axis_of,
    cifti_space,
    gifti_space,
    write_dense_series,
    write_pair_of_series,
)
from numpy.typing import NDArray
from space_laws import FeatureSpaceLaws, SpaceCase, named

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import of_hemisphere
from nidecomp.core.packed import PackedSeries
from nidecomp.spaces import grayordinate_chance, kept_kernels
from nidecomp.spaces.brain_models import BrainModels, Grayordinates, Structure
from nidecomp.spaces.cifti import cifti_head, open_cifti, read_cifti_header
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.gifti import data_arrays, read_head
from nidecomp.spaces.grayordinate_series import usable_features
from nidecomp.spaces.grayordinates import GrayordinateSpace
from nidecomp.spaces.records import PackedRun, RunSeries

ALL = np.arange(7)


def sampling_of(space: GrayordinateSpace) -> Grayordinates:
    return Grayordinates(space.kind, space.models.digest, space.models.n_numbers)


def whole(space: GrayordinateSpace, values: NDArray, elsewhere: float) -> NDArray[np.float32]:
    """Values of features as those of a file."""
    found = np.full((len(values), space.models.n_numbers), elsewhere, dtype=np.float32)
    found[:, space.inside] = values
    return found


class GrayordinateLaws(FeatureSpaceLaws):
    @staticmethod
    def without_bad(values: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is not finite in one volume has no signal, for the mask and here."""
        return np.where(np.isfinite(values).all(axis=0), values, np.float32(0))

    def test_what_has_no_signal_for_the_mask_gives_nothing_to_its_neighbours(
        self, case: SpaceCase, values: NDArray[np.float32], tmp_path: Path
    ) -> None:
        path = named(tmp_path, "run", case.space, "run")
        lacking = np.array([4, 30, 50, 200])
        without = 100 + values
        without[:, lacking] = 0
        without[2] = np.nan
        case.write_run(path, without, 0.0)
        expected = [read(path, ALL, (0.0, 9.0)) for read in readers(case.space)]
        bad = without.copy()
        bad[:, 4] = 10 + 2e-5 * values[:, 4]
        bad[3, 30], bad[0, 50] = np.nan, np.inf
        bad[:, 200] = 7.5
        bad[2] = np.nan
        case.write_run(path, bad, 0.0)
        usable = usable_features(path)[case.space.inside]
        np.testing.assert_array_equal(np.flatnonzero(~usable), lacking)
        for read, others in zip(readers(case.space), expected, strict=True):
            found = read(path, ALL, (0.0, 9.0))
            assert (found.n_nonfinite, others.n_nonfinite) == (2, 0)
            assert found.empty == others.empty == (2,)
            for one, other in zip(found.series, others.series, strict=True):
                np.testing.assert_array_equal(filled_of(one), filled_of(other))
                assert not filled_of(one)[:, lacking].any()


def readers(space: FeatureSpace) -> tuple[Callable[..., RunSeries | PackedRun], ...]:
    return space.read_series, space.read_packed


def filled_of(series: NDArray[np.float32] | PackedSeries) -> NDArray[np.float32]:
    """The values of all volumes but the third."""
    if isinstance(series, PackedSeries):
        return series.without((2,)).values()
    return np.delete(series, 2, axis=0)


class TestCifti(GrayordinateLaws):
    @pytest.fixture
    def case(self) -> SpaceCase:
        space = cifti_space()

        def write_run(path: Path, values: NDArray[np.float32], elsewhere: float) -> None:
            write_dense_series(path, whole(space, values, elsewhere), space.models)

        return SpaceCase(space, sampling_of(space), write_run)


class TestGifti(GrayordinateLaws):
    @pytest.fixture
    def case(self) -> SpaceCase:
        space = gifti_space()

        def write_run(path: Path, values: NDArray[np.float32], elsewhere: float) -> None:
            write_pair_of_series(path, whole(space, values, elsewhere))

        return SpaceCase(space, sampling_of(space), write_run)


# ---------------------------------------------------------------- reading
def test_voxels_in_another_order_and_a_part_of_the_vertices_are_found_by_their_places(
    tmp_path: Path,
) -> None:
    space = cifti_space()
    rng = np.random.default_rng(0)
    values = rng.standard_normal((7, space.models.n_numbers)).astype("f4")
    one, other = tmp_path / "a.dtseries.nii", tmp_path / "b.dtseries.nii"
    write_dense_series(one, values, space.models)
    shuffled = rng.permutation(space.models.n_numbers)
    kept = np.sort(shuffled[: space.models.n_numbers - 40])
    write_dense_series(other, values, space.models, order="row", left_out=np.sort(shuffled[-40:]))
    first = space.read_series(one, ALL, (0.0, 6.0)).series
    second = space.read_series(other, ALL, (0.0, 6.0)).series
    there = np.isin(np.flatnonzero(space.inside), kept)
    np.testing.assert_array_equal(second[0][:, there], first[0][:, there])
    assert not second[0][:, ~there].any()
    assert not second[1][:, ~there].any()


def test_a_volume_of_one_value_is_empty_where_a_run_lacks_features(tmp_path: Path) -> None:
    space = cifti_space()
    values = np.random.default_rng(0).standard_normal((7, space.models.n_numbers))
    values[4] = 7.5
    path = tmp_path / "a.dtseries.nii"
    write_dense_series(path, values, space.models, left_out=np.arange(30))
    assert space.read_series(path, ALL, (0.0,)).empty == (4,)


def test_whole_numbers_with_a_scale_are_read_as_values(tmp_path: Path) -> None:
    space = cifti_space()
    values = np.random.default_rng(0).standard_normal((7, space.models.n_numbers))
    path = tmp_path / "a.dtseries.nii"
    write_dense_series(path, values, space.models, dtype=np.int16)
    expected = np.asarray(nib.load(path).dataobj)[:, space.inside]
    found = space.read_series(path, ALL, (0.0,)).series[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.abs(found - values[:, space.inside]).max() < 1e-3


@pytest.mark.parametrize("make", [cifti_space, gifti_space])
def test_smoothing_is_that_of_the_kernel_and_kept_for_other_processes(make, tmp_path: Path) -> None:
    space = make(tmp_path)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, space.n_features)).astype("f4")
    path = tmp_path / f"run_hemi-L_x{space.extensions.run}"
    write = write_dense_series if space.kind == "cifti" else write_pair_of_series
    write(path, whole(space, values, 0), *((space.models,) if space.kind == "cifti" else ()))
    kept = np.delete(np.arange(50), [3, 48])
    found = space.read_series(path, kept, (6.0,)).series[0]
    expected = space.kernel(6.0).astype(np.float64) @ values[kept].astype(np.float64).T
    np.testing.assert_allclose(found, expected.T, atol=1e-6)
    (weights,) = (tmp_path / "kernels").glob("*_fwhm-6_*_weights.npy")
    before = weights.stat().st_mtime_ns
    again = make(tmp_path).read_series(path, kept, (6.0,)).series[0]
    assert again.tobytes() == found.tobytes()
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize("make", [cifti_space, gifti_space])
def test_features_without_a_signal_are_known(make, tmp_path: Path) -> None:
    space = make()
    rng = np.random.default_rng(0)
    values = 100 + rng.standard_normal((7, space.models.n_numbers)).astype("f4")
    values[:, 5] = 0
    values[:, 9] = 3
    values[2, 11] = np.nan
    values[:, 14] = 1e-7 * rng.standard_normal(7)
    # Volumes that are dropped when the run is read.
    values[3], values[6] = np.nan, 8.5
    path = tmp_path / f"run_hemi-L_x{space.extensions.run}"
    write = write_dense_series if space.kind == "cifti" else write_pair_of_series
    write(path, values, *((space.models,) if space.kind == "cifti" else ()))
    assert np.flatnonzero(~usable_features(path)).tolist() == [5, 9, 11, 14]


# ---------------------------------------------------------------- bad files
def test_files_that_are_cut_off_or_no_cifti_have_a_sentence(tmp_path: Path) -> None:
    space = cifti_space()
    path = tmp_path / "a.dtseries.nii"
    values = np.random.default_rng(0).standard_normal((7, space.models.n_numbers))
    write_dense_series(path, values, space.models)
    content = path.read_bytes()
    for size in (0, 300, 600, 4000, len(content) - 8):
        path.write_bytes(content[:size])
        with pytest.raises(FailedRunError, match=r"a\.dtseries\.nii"):
            space.read_series(path, ALL, (0.0,))
    volume = tmp_path / "b.dtseries.nii"
    nib.Nifti2Image(np.zeros((3, 3, 3, 7), "f4"), np.eye(4)).to_filename(volume)
    with pytest.raises(FailedRunError, match="not CIFTI-2"):
        space.read_series(volume, ALL, (0.0,))


def test_gifti_files_that_are_cut_off_or_mixed_up_have_a_sentence(tmp_path: Path) -> None:
    space = gifti_space()
    left = tmp_path / "a_hemi-L_x.func.gii"
    values = np.random.default_rng(0).standard_normal((7, space.models.n_numbers)).astype("f4")
    write_pair_of_series(left, values)
    right = of_hemisphere(left, "R")
    content = left.read_bytes()
    for size in (0, 300, len(content) // 2, len(content) * 9 // 10):
        left.write_bytes(content[:size])
        with pytest.raises(FailedRunError, match=r"a_hemi-L_x\.func\.gii"):
            space.read_series(left, ALL, (0.0,))
    left.write_bytes(right.read_bytes())
    with pytest.raises(FailedRunError, match="mixed up"):
        space.read_series(left, ALL, (0.0,))
    left.write_bytes(content)
    right.unlink()
    with pytest.raises(FailedRunError, match="a_hemi-R"):
        space.read_series(left, ALL, (0.0,))


@pytest.mark.parametrize(
    "name", ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FLOAT64"]
)
def test_numbers_of_every_type_are_read_and_columns_are_vectors(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.func.gii"
    values = (np.arange(30) % 7).astype(name.lower())
    arrays = [
        nib.gifti.GiftiDataArray(one, "NIFTI_INTENT_NONE", f"NIFTI_TYPE_{name}")
        for one in (values, values[:, None])
    ]
    # GIFTI allows three of them, and programs write others.
    path.write_bytes(nib.GiftiImage(darrays=arrays).to_bytes(mode="force"))
    head = read_head(path)
    assert (head.n_arrays, head.n_vertices) == (2, 30)
    assert head.stored_bytes == values.itemsize
    for one in data_arrays(path):
        np.testing.assert_array_equal(one.values, values)
        assert one.values.shape == (30,)
    path.write_text(path.read_text().replace(f"NIFTI_TYPE_{name}", "NIFTI_TYPE_COMPLEX64"))
    for read in (read_head, lambda file: list(data_arrays(file))):
        with pytest.raises(FailedRunError, match="read: numbers of the type NIFTI_TYPE_COMPLEX64"):
            read(path)


# ---------------------------------------------------------------- files of others
def test_maps_and_labels_are_read_by_nibabel_with_their_names(tmp_path: Path) -> None:
    space = cifti_space()
    maps = np.random.default_rng(0).standard_normal((2, space.n_features)).astype("f4")
    path = tmp_path / "a.dscalar.nii"
    path.write_bytes(space.encode(maps, names=("one", "two & <three>")))
    image = nib.load(path)
    assert image.header.get_axis(0).name.tolist() == ["one", "two & <three>"]
    assert image.header.get_axis(1) == axis_of(space.models)
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, space.inside], maps)
    labels = tmp_path / "a.dlabel.nii"
    labels.write_bytes(
        space.encode_labels(np.arange(space.n_features, dtype="i4") % 3, names=("x", "y"))
    )
    table = nib.load(labels).header.get_axis(0).label[0]
    assert {key: name for key, (name, _) in table.items()} == {0: "???", 1: "x", 2: "y"}
    assert len({colour for _, colour in table.values()}) == 3


def test_pairs_of_maps_and_labels_are_read_by_nibabel_with_their_names(tmp_path: Path) -> None:
    space = gifti_space()
    maps = np.random.default_rng(0).standard_normal((2, space.n_features)).astype("f4")
    expected = whole(space, maps, 0)
    for hemi, half in (("L", 0), ("R", 1)):
        path = tmp_path / f"{hemi}.func.gii"
        path.write_bytes(space.encode(maps, names=("one", "two & <three>"), hemi=hemi))
        image = nib.load(path)
        assert [one.meta["Name"] for one in image.darrays] == ["one", "two & <three>"]
        found = np.stack([one.data for one in image.darrays])
        np.testing.assert_array_equal(found, np.split(expected, 2, axis=1)[half])
        labels = tmp_path / f"{hemi}.label.gii"
        numbers = np.arange(space.n_features, dtype="i4") % 3
        labels.write_bytes(space.encode_labels(numbers, names=("x", "y"), hemi=hemi))
        table = nib.load(labels).labeltable.get_labels_as_dict()
        assert table == {0: "???", 1: "x", 2: "y"}


# ---------------------------------------------------------------- chance
@pytest.mark.parametrize("make", [cifti_space, gifti_space])
def test_surrogates_are_unrelated_and_as_correlated_with_each_other(make) -> None:
    space = make()
    rng = np.random.default_rng(0)
    kernel = space.kernel(40.0)
    maps = (kernel @ rng.standard_normal((space.n_features, 4))).T
    maps[1] += maps[0]
    first, second = space.surrogates(maps, 1), space.surrogates(maps, 2)
    assert first.tobytes() == space.surrogates(maps, 1).tobytes()
    np.testing.assert_allclose(np.corrcoef(first), np.corrcoef(maps), atol=0.25)
    between = np.corrcoef(first, second)[:4, 4:]
    assert np.abs(between).max() < 0.5
    n_smooth = space.independent_values(maps)
    rough = rng.standard_normal((4, space.n_features))
    assert 5 < n_smooth < 0.3 * space.independent_values(rough)
    assert np.isnan(space.independent_values(maps[:1]))


@pytest.mark.parametrize("is_last", [False, True])
def test_a_structure_without_places_may_begin_where_another_one_does(
    tmp_path: Path, *, is_last: bool
) -> None:
    left, right, *others = cifti_space().models.structures
    empty = Structure("CIFTI_STRUCTURE_BRAIN_STEM", np.zeros((0, 3), dtype=np.intp), None)
    models = BrainModels((left, empty, right, *others), cifti_space().models.grid)
    content = cifti_head(models, "dscalar", [f"map {number}" for number in range(7)])
    if is_last:
        together = content.rpartition(b"</MatrixIndicesMap>")[0]
        elements = re.split(rb"(?=<BrainModel )", together)[1:]
        assert b"BRAIN_STEM" in elements[1]
        moved = [elements[0], *elements[2:], elements[1]]
        content = content.replace(b"".join(elements), b"".join(moved))
    path = tmp_path / "a.dtseries.nii"
    path.write_bytes(content + bytes(4 * 7 * models.n_numbers))
    found = open_cifti(path).models
    assert [one.name for one in found.structures] == [one.name for one in models.structures]
    assert found.slices == models.slices


def test_structures_that_share_a_voxel_are_refused(tmp_path: Path) -> None:
    models = cifti_space().models
    *others, first, second = models.structures
    shared = Structure(second.name, first.places[:5], None)
    path = tmp_path / "a.dtseries.nii"
    double = BrainModels((*others, first, shared), models.grid)
    write_dense_series(path, np.zeros((7, double.n_numbers)), double)
    with pytest.raises(FailedRunError, match="have a voxel in common"):
        read_cifti_header(path)


def test_vertices_that_are_left_out_do_not_change_the_number_of_independent_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Voxels are not left out: their weight against the cortex stays what it is."""
    rng = np.random.default_rng(0)
    space = cifti_space()
    maps = (space.kernel(40.0) @ rng.standard_normal((space.n_features, 8))).T
    whole = space.independent_values(maps)
    monkeypatch.setattr(grayordinate_chance, "_DENSE", 100)
    assert cifti_space().independent_values(maps) == pytest.approx(whole, rel=0.15)


def test_another_way_to_make_kernels_makes_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gifti_space(tmp_path).prepare((6.0,))
    before = set((tmp_path / "kernels").iterdir())
    gifti_space(tmp_path).prepare((6.0, 0.0))
    assert set((tmp_path / "kernels").iterdir()) == before
    monkeypatch.setattr(kept_kernels, "_FORMAT", kept_kernels._FORMAT + 1)
    gifti_space(tmp_path).prepare((6.0,))
    assert len(set((tmp_path / "kernels").iterdir()) - before) == 3


def test_kernels_of_other_features_smoothing_or_versions_are_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"

    def made(space: GrayordinateSpace, fwhm: float) -> set[Path]:
        before = set(folder.glob("*"))
        space.prepare((fwhm,))
        return set(folder.iterdir()) - before

    space = gifti_space(tmp_path)
    kept_too = made(space, 6.0)
    (part, *_) = sorted(kept_too)
    strange = [folder / "notes.npy", folder / f".12-0123abcd-{part.name}"]
    for path in strange:
        path.touch()
    others = made(space, 5.0) | made(cifti_space(tmp_path), 6.0)
    with monkeypatch.context() as earlier:
        earlier.setattr(kept_kernels, "_FORMAT", 0)
        others |= made(gifti_space(tmp_path), 6.0)
    kept = made(space, 7.0) | kept_too
    assert len(others) == 9
    assert kept_kernels.remove_other_kernels(tmp_path, space.digest, (6.0, 7.0, 0.0)) == 9
    assert set(folder.iterdir()) == {*kept, *strange}
    assert kept_kernels.remove_other_kernels(tmp_path / "none", space.digest, (6.0,)) == 0


def test_a_damaged_kernel_is_made_again(tmp_path: Path) -> None:
    gifti_space(tmp_path).prepare((6.0,))
    (weights,) = (tmp_path / "kernels").glob("*_weights.npy")
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    gifti_space(tmp_path).prepare((6.0,))
    assert weights.read_bytes() == content


def test_a_series_with_a_time_of_another_unit_can_be_written_again(tmp_path: Path) -> None:
    space = cifti_space()
    path = tmp_path / "a.dtseries.nii"
    values = np.random.default_rng(0).standard_normal((7, space.models.n_numbers)).astype("f4")
    write_dense_series(path, values, space.models)
    path.write_bytes(path.read_bytes().replace(b'"SECOND"', b'"HERTZ" '))
    assert read_cifti_header(path).repetition_time_s is None
    (volume,) = space.open_run(path).volumes(np.array([3]))
    np.testing.assert_array_equal(volume, values[3])


@pytest.mark.parametrize("make", [cifti_space, gifti_space])
@pytest.mark.parametrize("fwhm", [6.0, 40.0])
def test_the_memory_of_kernels_is_about_what_was_forecast(
    make: Callable[[], GrayordinateSpace], fwhm: float
) -> None:
    space = make()
    kernel = space.kernel(fwhm)
    taken = kernel.data.nbytes + kernel.indices.nbytes
    assert kernel.indices.dtype == np.int32
    assert 0.7 * taken < space.smoothing_bytes(fwhm) < 1.6 * taken
    assert space.smoothing_bytes(0.0) == 0
