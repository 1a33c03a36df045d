"""Grayordinates in CIFTI and GIFTI: what holds for every space, and what is their own."""

from __future__ import annotations

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
from space_laws import FeatureSpaceLaws, SpaceCase

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import of_hemisphere
from nidecomp.spaces.brain_models import BrainModels, Grayordinates, Structure
from nidecomp.spaces.cifti import read_cifti_header
from nidecomp.spaces.gifti import data_arrays, read_head
from nidecomp.spaces.grayordinate_series import usable_features
from nidecomp.spaces.grayordinates import GrayordinateSpace

ALL = np.arange(7)


def sampling_of(space: GrayordinateSpace) -> Grayordinates:
    return Grayordinates(space.kind, space.models.digest, space.models.n_numbers)


def whole(space: GrayordinateSpace, values: NDArray, elsewhere: float) -> NDArray[np.float32]:
    """Values of features as those of a file."""
    found = np.full((len(values), space.models.n_numbers), elsewhere, dtype=np.float32)
    found[:, space.inside] = values
    return found


class TestCifti(FeatureSpaceLaws):
    @pytest.fixture
    def case(self) -> SpaceCase:
        space = cifti_space()

        def write_run(path: Path, values: NDArray[np.float32], elsewhere: float) -> None:
            write_dense_series(path, whole(space, values, elsewhere), space.models)

        return SpaceCase(space, sampling_of(space), write_run)


class TestGifti(FeatureSpaceLaws):
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
    (weights,) = (tmp_path / "kernels").glob("*_fwhm-6_weights.npy")
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


def test_structures_that_share_a_voxel_are_refused(tmp_path: Path) -> None:
    models = cifti_space().models
    *others, first, second = models.structures
    shared = Structure(second.name, first.places[:5], None)
    path = tmp_path / "a.dtseries.nii"
    double = BrainModels((*others, first, shared), models.grid)
    write_dense_series(path, np.zeros((7, double.n_numbers)), double)
    with pytest.raises(FailedRunError, match="have a voxel in common"):
        read_cifti_header(path)
