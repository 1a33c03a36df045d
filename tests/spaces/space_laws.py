"""What holds for every space of features: a class of tests, for each space to be run with.

A test module gives the fixture `case` and a class that inherits from `FeatureSpaceLaws`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from run_examples import run_of

from nidecomp.annotation.regions import extract_regions
from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import of_hemisphere
from nidecomp.core.records import RunKey, Sampling
from nidecomp.spaces.contract import FeatureSpace

N_VOLUMES = 7
ALL = np.arange(N_VOLUMES)


@dataclass(frozen=True, eq=False)
class SpaceCase:
    """A space, where its runs' numbers lie, and how a run is stored.

    `write_run` takes where to, what each volume has at the features, (n_volumes, n_features), and
    what it has elsewhere.
    """

    space: FeatureSpace
    sampling: Sampling
    write_run: Callable[[Path, NDArray[np.float32], float], None]


def named(folder: Path, stem: str, space: FeatureSpace, what: str) -> Path:
    """Return the path of a file of a space: of two, it is the left one."""
    side = "" if space.hemispheres == (None,) else "_hemi-L_x"
    return folder / f"{stem}{side}{getattr(space.extensions, what)}"


class FeatureSpaceLaws:
    @pytest.fixture
    def space(self, case: SpaceCase) -> FeatureSpace:
        return case.space

    @pytest.fixture
    def values(self, space: FeatureSpace) -> NDArray[np.float32]:
        rng = np.random.default_rng(0)
        return rng.standard_normal((N_VOLUMES, space.n_features)).astype(np.float32)

    @pytest.fixture
    def run(self, case: SpaceCase, values: NDArray[np.float32], tmp_path: Path) -> Path:
        path = named(tmp_path, "run", case.space, "run")
        case.write_run(path, values, 0.0)
        return path

    def maps_path(self, space: FeatureSpace, folder: Path) -> Path:
        return named(folder, "maps", space, "maps")

    # ------------------------------------------------------------ what there is
    def test_features_have_a_size_each_and_together_that_of_all(self, space: FeatureSpace) -> None:
        everything = np.arange(space.n_features)
        assert space.sizes.shape == (space.n_features,)
        assert (space.sizes > 0).all()
        assert space.size_of(everything) == pytest.approx(space.sizes.sum())
        parts = (
            space.size_of(everything[::3]),
            space.size_of(np.delete(everything, everything[::3])),
        )
        assert sum(parts) == pytest.approx(space.size_of(everything))
        assert space.size_of(everything[:0]) == 0
        assert space.n_stored >= space.n_features

    def test_each_feature_is_somewhere_else(self, space: FeatureSpace) -> None:
        everything = np.arange(space.n_features)
        places = space.coordinates(everything)
        assert places.shape == (space.n_features, 3)
        assert np.isfinite(places).all()
        assert len(np.unique(places.round(6), axis=0)) == space.n_features
        some = np.array([5, 2, 9])
        np.testing.assert_array_equal(space.coordinates(some), places[some])

    def test_what_has_an_area_is_on_a_surface(self, space: FeatureSpace) -> None:
        expected = [space.unit_of(np.array([one])).size for one in range(space.n_features)]
        np.testing.assert_array_equal(space.on_surface, np.array(expected) == "area")

    def test_touching_goes_both_ways_and_not_far(self, space: FeatureSpace) -> None:
        touch = space.adjacency
        assert touch.format == "csr"
        assert touch.dtype == np.bool_
        assert touch.shape == (space.n_features, space.n_features)
        assert (touch != touch.T).nnz == 0
        assert not touch.diagonal().any()
        places = space.coordinates(np.arange(space.n_features))
        first, second = touch.nonzero()
        assert len(first)
        apart = np.linalg.norm(places[first] - places[second], axis=1)
        nearest = [np.sort(np.linalg.norm(places - places[one], axis=1))[1] for one in first[:50]]
        assert apart.max() < 3 * np.max(nearest)

    def test_clusters_are_what_can_be_reached(self, space: FeatureSpace) -> None:
        rng = np.random.default_rng(1)
        features = rng.permutation(space.n_features)[: space.n_features // 3]
        labels = space.clusters(features)
        touch = space.adjacency.toarray()
        left, n_clusters = set(features.tolist()), 0
        while left:
            reached, todo = set(), [min(left)]
            while todo:
                one = todo.pop()
                reached.add(one)
                todo += [two for two in left if touch[one, two] and two not in reached]
            left -= reached
            n_clusters += 1
            (label,) = set(labels[np.isin(features, list(reached))].tolist())
            assert set(features[labels == label].tolist()) == reached
        assert len(np.unique(labels)) == n_clusters

    def test_a_pickle_is_the_same_space_and_holds_nothing_computed(
        self, space: FeatureSpace
    ) -> None:
        before = (space.digest, space.n_features) and len(pickle.dumps(space))
        assert space.adjacency.nnz
        assert len(pickle.dumps(space)) == before
        again = pickle.loads(pickle.dumps(space))  # noqa: S301  our own
        assert again.digest == space.digest
        assert again.label == space.label
        np.testing.assert_array_equal(again.sizes, space.sizes)

    def test_sidecars_say_where_it_is(self, space: FeatureSpace) -> None:
        said = space.spatial_metadata("bids:preprocessed:sub-01/func/x", "2")
        assert said["SpatialReference"] == "bids:preprocessed:sub-01/func/x"
        assert {one.column for one in space.measure.units} <= {"volume_mm3", "area_mm2"}

    # ------------------------------------------------------------ runs
    def test_an_unsmoothed_series_is_the_file_s_values(
        self, space: FeatureSpace, run: Path, values: NDArray[np.float32]
    ) -> None:
        (series,), n_nonfinite, empty = space.read_series(run, ALL, (0.0,))
        assert series.dtype == np.float32
        np.testing.assert_array_equal(series, values)
        assert n_nonfinite == 0
        assert empty == ()

    def test_the_volumes_kept_are_taken(
        self, space: FeatureSpace, run: Path, values: NDArray[np.float32]
    ) -> None:
        kept = np.array([0, 2, 5])
        (series,), _, _ = space.read_series(run, kept, (0.0,))
        np.testing.assert_array_equal(series, values[kept])

    def test_several_smoothings_are_each_what_it_is_alone(
        self, space: FeatureSpace, run: Path
    ) -> None:
        together, _, _ = space.read_series(run, ALL, (8.0, 0.0, 14.0))
        for fwhm, series in zip((8.0, 0.0, 14.0), together, strict=True):
            (alone,), _, _ = space.read_series(run, ALL, (fwhm,))
            assert series.tobytes() == alone.tobytes()
        spread = [float(series.std()) for series in together]
        assert spread[2] < spread[0] < spread[1]

    def test_smoothing_leaves_a_constant_as_it_is(self, case: SpaceCase, tmp_path: Path) -> None:
        path = named(tmp_path, "constant", case.space, "run")
        constant = np.full((N_VOLUMES, case.space.n_features), 3, dtype=np.float32)
        case.write_run(path, constant, 3.0)
        (series,), _, _ = case.space.read_series(path, ALL, (10.0,))
        np.testing.assert_allclose(series, 3, rtol=1e-5)

    def test_a_feature_without_data_gets_nothing_of_its_neighbours(
        self, case: SpaceCase, values: NDArray[np.float32], tmp_path: Path
    ) -> None:
        cut = values.copy()
        cut[:, 4:9] = 0
        path = named(tmp_path, "cut", case.space, "run")
        case.write_run(path, cut, 0.0)
        for series in case.space.read_series(path, ALL, (0.0, 10.0))[0]:
            without = np.flatnonzero(~series.any(axis=0))
            np.testing.assert_array_equal(without, np.arange(4, 9))

    def test_what_is_not_finite_is_0_and_counted(
        self, case: SpaceCase, values: NDArray[np.float32], tmp_path: Path
    ) -> None:
        bad = values.copy()
        bad[2, 4] = np.nan
        bad[3, [4, 11]] = np.inf
        path = named(tmp_path, "bad", case.space, "run")
        case.write_run(path, bad, 0.0)
        (series,), n_nonfinite, _ = case.space.read_series(path, ALL, (0.0,))
        assert n_nonfinite == 2
        np.testing.assert_array_equal(series, self.without_bad(bad))

    @staticmethod
    def without_bad(values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values as they are read, where some are not finite."""
        return np.where(np.isfinite(values), values, np.float32(0))

    def test_volumes_of_one_value_are_empty(
        self, case: SpaceCase, values: NDArray[np.float32], tmp_path: Path
    ) -> None:
        """They are told by their place among the volumes read, at every smoothing."""
        padded = values.copy()
        padded[1], padded[3], padded[6] = 0, 7.5, np.nan
        # Nothing but 0 and what counts as 0.
        padded[4] = 0
        padded[4, ::3] = np.inf
        # One value that differs is signal.
        padded[5] = 0
        padded[5, 17] = 1e-3
        path = named(tmp_path, "padded", case.space, "run")
        case.write_run(path, padded, 0.0)
        for fwhm in (0.0, 10.0):
            found = case.space.read_series(path, ALL, (fwhm,))
            assert found.empty == (1, 3, 4, 6)
            # Values of volumes that will be dropped do not count.
            assert found.n_nonfinite == 0
            (series,) = found.series
            assert np.isfinite(series).all()
            assert series.shape == padded.shape
        kept = np.array([0, 3, 5, 6])
        assert case.space.read_series(path, kept, (0.0, 10.0)).empty == (1, 3)

    def test_packed_values_are_those_that_are_read(
        self, case: SpaceCase, values: NDArray[np.float32], tmp_path: Path
    ) -> None:
        """Without volumes that are empty, and with features that have no data."""
        padded = values.copy()
        padded[[0, 3]] = 0
        padded[:, 4:9] = 0
        padded[1, 11] = np.nan
        path = named(tmp_path, "padded", case.space, "run")
        case.write_run(path, padded, 0.0)
        read = case.space.read_series(path, ALL, (0.0, 10.0))
        packed = case.space.read_packed(path, ALL, (0.0, 10.0))
        assert (packed.n_nonfinite, packed.empty) == (read.n_nonfinite, read.empty) == (1, (0, 3))
        for one, other in zip(packed.series, read.series, strict=True):
            expected = np.delete(other, read.empty, axis=0)
            found = one.without(packed.empty).values()
            np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())
            np.testing.assert_array_equal(found.any(axis=0), expected.any(axis=0))

    def test_a_file_that_is_not_there_is_told(self, space: FeatureSpace, tmp_path: Path) -> None:
        missing = named(tmp_path, "missing", space, "run")
        with pytest.raises(FailedRunError, match="missing"):
            space.read_series(missing, ALL, (0.0,))
        with pytest.raises(FailedRunError, match="missing"):
            space.open_run(missing)

    def test_a_run_is_written_again_as_it_was(
        self, space: FeatureSpace, run: Path, values: NDArray[np.float32], tmp_path: Path
    ) -> None:
        image = space.open_run(run)
        assert image.n_volumes == N_VOLUMES
        again = named(tmp_path, "again", space, "run")
        for hemi in space.hemispheres:
            doubled = (2 * volume for volume in image.volumes(ALL))
            of_hemisphere(again, hemi).write_bytes(b"".join(image.encode(doubled, hemi)))
        (series,), _, _ = space.read_series(again, ALL, (0.0,))
        np.testing.assert_array_equal(series, 2 * values)

    def test_what_reading_takes_is_known(self, case: SpaceCase) -> None:
        run = run_of(RunKey((("sub", "01"), ("task", "rest"))))
        run = replace(run, grid=case.sampling)
        larger = replace(run, stored_bytes=2 * run.stored_bytes)
        assert 0 < case.space.reading_bytes(run) < case.space.reading_bytes(larger)

    # ------------------------------------------------------------ maps
    def test_maps_are_read_back_as_they_were(
        self, space: FeatureSpace, values: NDArray[np.float32], tmp_path: Path
    ) -> None:
        path = self.maps_path(space, tmp_path)
        for hemi in space.hemispheres:
            of_hemisphere(path, hemi).write_bytes(space.encode(values, hemi=hemi))
        assert space.describe_maps(path) == ("maps", N_VOLUMES)
        np.testing.assert_array_equal(space.read_maps(path, N_VOLUMES), values)
        hemi = space.hemispheres[0]
        same = space.encode(values.astype(np.float64), hemi=hemi)
        assert space.encode(values, hemi=hemi) == same
        with pytest.raises(FailedRunError, match=str(N_VOLUMES + 1)):
            space.read_maps(path, N_VOLUMES + 1)

    def test_maps_one_by_one_are_the_same_maps(
        self, space: FeatureSpace, values: NDArray[np.float32], tmp_path: Path
    ) -> None:
        path = self.maps_path(space, tmp_path)
        for hemi in space.hemispheres:
            parts = space.encode_each(iter(values), N_VOLUMES, hemi=hemi)
            of_hemisphere(path, hemi).write_bytes(b"".join(parts))
        np.testing.assert_array_equal(space.read_maps(path, N_VOLUMES), values)

    def test_labels_are_read_back_as_they_were(self, space: FeatureSpace, tmp_path: Path) -> None:
        labels = (np.arange(space.n_features) % 5).astype(np.int32)
        path = named(tmp_path, "labels", space, "labels")
        for hemi in space.hemispheres:
            of_hemisphere(path, hemi).write_bytes(space.encode_labels(labels, hemi=hemi))
        assert space.describe_maps(path)[0] == "labels"
        found = space.read_labels(path)
        np.testing.assert_array_equal(found.labels, [1, 2, 3, 4])
        np.testing.assert_array_equal(found.here, labels)

    def test_the_mask_has_every_feature(self, space: FeatureSpace, tmp_path: Path) -> None:
        path = named(tmp_path, "mask", space, "mask")
        for hemi in space.hemispheres:
            of_hemisphere(path, hemi).write_bytes(space.encode_mask(hemi=hemi))
        assert (space.read_labels(path).here == 1).all()

    # ------------------------------------------------------------ regions
    def test_pieces_of_a_map_hang_together_and_are_large_enough(self, space: FeatureSpace) -> None:
        places = space.coordinates(np.arange(space.n_features))
        ends = places[:, 1].argmin(), places[:, 1].argmax()
        far = [np.linalg.norm(places - places[one], axis=1) for one in ends]
        reach = 0.3 * np.ptp(places[:, 1])
        values = np.max([1 - one / reach for one in far], axis=0).clip(0).astype(np.float32)
        for kind in ("connected_components", "local_regions"):
            pieces = extract_regions(values, space, kind)
            assert len(pieces) >= 2
            for piece in pieces:
                np.testing.assert_array_equal(piece.weights, values[piece.features])
                assert len(set(space.clusters(piece.features).tolist())) == 1
                assert space.relative_size(piece.features) > 1
            assert len({one for piece in pieces for one in piece.features.tolist()}) == sum(
                len(piece.features) for piece in pieces
            )
            assert space.region_rule(kind)
        tiny = np.zeros_like(values)
        tiny[ends[0]] = 1
        assert extract_regions(tiny, space, "local_regions") == ()
