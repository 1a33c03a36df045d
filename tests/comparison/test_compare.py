"""Comparisons say the same whatever cannot matter, are kept, and go on where they were stopped."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from design_examples import Here, cube, data_of, design_of, one_sample, request_of, two_groups
from grayordinate_examples import cifti_space
from numpy.typing import NDArray
from ring_space import ring_space
from threadpoolctl import threadpool_limits

from nidecomp.comparison import maps as maps_module
from nidecomp.comparison.compare import compare
from nidecomp.comparison.data import DecompositionData
from nidecomp.comparison.glm import linear_test
from nidecomp.comparison.records import Comparison, Design, MapsOfContrast
from nidecomp.core.errors import NidecompError, NothingToDoError
from nidecomp.execution.executor import WorkerDied

SPACE = cube(5)
N, K = 16, 3


@pytest.fixture(scope="module")
def values() -> NDArray[np.float32]:
    """A difference of groups in the second component."""
    rng = np.random.default_rng(0)
    found = rng.standard_normal((N, K, SPACE.n_features)) + 1
    found[1::2, 1, 40:52] += 4
    return found.astype(np.float32)


def two_contrasts() -> Design:
    base = two_groups(N, n_covariates=2)
    return design_of(base.matrix, [0, 1, 0, 0], [[0, 0, 1, 0], [0, 0, 0, 1]])


def compared(
    folder: Path, values: NDArray[np.float32], design: Design | None = None, **options: Any
) -> Comparison:
    data = data_of(folder / "data", values)
    given = {"cluster_threshold": 0.01, **options}
    design = two_groups(N) if design is None else design
    return compare(design, [data], SPACE, request_of(folder, **given), Here())


def maps_of(comparison: Comparison, contrast: int = 0) -> MapsOfContrast:
    return comparison.decompositions[0].maps[contrast]


def arrays_of(found: MapsOfContrast) -> dict[str, NDArray[np.float32]]:
    named = {one.name: getattr(found, one.name) for one in fields(found)}
    for name in ("p", "counted_p"):
        named |= {f"{name}_{key}": value for key, value in named.pop(name).items()}
    return {name: one for name, one in named.items() if isinstance(one, np.ndarray)}


def test_the_planted_difference_is_found_in_its_component_and_no_other(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    found = compared(tmp_path, values, n_permutations=300, n_tfce_permutations=200)
    maps = maps_of(found)
    planted = np.zeros((K, SPACE.n_features), dtype=bool)
    planted[1, 40:52] = True
    for name in ("voxelall", "tfceall", "clusterall"):
        assert (maps.p[name][planted].min()) < 0.05
        assert (maps.p[name][[0, 2]] > 0.05).all()
    assert maps.statistic[planted].mean() > 4
    assert maps.effect[planted].mean() == pytest.approx(4, abs=0.8)
    assert maps.dof == N - 3
    assert found.decompositions[0].n_features == SPACE.n_features


def test_statistics_are_those_of_the_data(tmp_path: Path, values: NDArray[np.float32]) -> None:
    design = two_contrasts()
    found = compared(tmp_path, values, design)
    for number, contrast in enumerate(design.contrasts):
        test = linear_test(design, contrast, "permutations")
        for component in range(K):
            expected = test.statistic(test.residuals(values[:, component]))
            np.testing.assert_allclose(
                maps_of(found, number).statistic[component], expected, rtol=1e-6
            )
    assert maps_of(found, 1).effect is None
    # Clusters are of both contrasts, TFCE of F is above 0.
    assert (maps_of(found, 1).tfce >= 0).all()
    assert (np.sign(maps_of(found).tfce) == np.sign(maps_of(found).statistic)).all()


def test_p_values_are_shares_of_permutations_and_fall_as_values_rise(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    maps = maps_of(compared(tmp_path, values, two_contrasts()))
    assert set(maps.p) == {
        "voxel", "tfce", "cluster", "voxelall", "tfceall", "clusterall",
    }  # fmt: skip
    assert set(maps.counted_p) == {"tfce", "cluster", "tfceall", "clusterall"}
    for name in ("voxel", "tfce", "cluster"):
        alone, of_all = maps.p[name], maps.p[f"{name}all"]
        assert (of_all >= alone).all()
        assert (alone <= 1).all()
        counted, least = (alone, 1 / 100) if name == "voxel" else (maps.counted_p[name], 1 / 50)
        assert counted.min() >= np.float32(least)
        if name != "cluster":
            observed = np.abs(maps.statistic if name == "voxel" else maps.tfce)
            for component in range(K):
                order = np.argsort(observed[component])
                assert (np.diff(alone[component][order]) <= 0).all()
                assert (np.diff(of_all[component][order]) <= 0).all()


def test_the_largest_value_has_the_p_of_its_own_permutation(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    """Counted by hand, from the regressions of permuted residuals."""
    design = two_groups(N)
    found = compared(tmp_path, values, n_tfce_permutations=0, cluster_threshold=None)
    assert found.n_tfce_permutations == 0
    maps = maps_of(found)
    assert maps.tfce is None
    assert set(maps.p) == {"voxel", "voxelall"}
    drawn = maps_module.draw_transformations(design, 100, 0)
    test = linear_test(design, design.contrasts[0], drawn.kind)
    for component in range(K):
        residuals = test.residuals(values[:, component]).astype(np.float32)
        every = np.abs(maps_module.statistic_maps(test, residuals, drawn, slice(None)))
        largest = every.max(axis=1)
        p = np.mean(largest >= largest[0] * (1 - 1e-5))
        assert maps.p["voxel"][component].min() == np.float32(p)


def test_of_one_map_and_contrast_p_over_all_is_that_of_the_map(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    maps = maps_of(compared(tmp_path, values[:, :1]))
    for name in ("voxel", "tfce", "cluster"):
        np.testing.assert_array_equal(maps.p[f"{name}all"], maps.p[name])


# ---------------------------------------------------------------- what cannot matter
@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, values: NDArray[np.float32]) -> Comparison:
    return compared(tmp_path_factory.mktemp("first"), values, two_contrasts())


def test_scaling_a_component_changes_no_p_value(
    tmp_path: Path, values: NDArray[np.float32], first: Comparison
) -> None:
    scaled = values * np.float32([1, 64, 1])[:, None]
    found = compared(tmp_path, scaled, two_contrasts())
    for contrast in range(2):
        for name, p in maps_of(first, contrast).p.items():
            np.testing.assert_array_equal(maps_of(found, contrast).p[name], p)


def test_the_order_of_components_changes_nothing(
    tmp_path: Path, values: NDArray[np.float32], first: Comparison
) -> None:
    found = compared(tmp_path, values[:, ::-1], two_contrasts())
    for contrast in range(2):
        expected = arrays_of(maps_of(first, contrast))
        for name, one in arrays_of(maps_of(found, contrast)).items():
            np.testing.assert_array_equal(one[::-1], expected[name], err_msg=name)


def test_the_sign_of_a_contrast_changes_signs_only(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    design = two_groups(N)
    expected = maps_of(compared(tmp_path / "one", values, design))
    found = maps_of(compared(tmp_path / "other", values, design_of(design.matrix, [0, -2, 0])))
    np.testing.assert_allclose(found.statistic, -expected.statistic, rtol=1e-6)
    np.testing.assert_allclose(found.effect, -2 * expected.effect, rtol=1e-5)
    for name, p in expected.p.items():
        np.testing.assert_allclose(found.p[name], p, rtol=1e-4, err_msg=name)


def test_the_order_of_people_changes_no_p_value(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    """With all possible transformations, which are the same in any order."""
    design, values = two_groups(6), values[:6]
    order = np.random.default_rng(0).permutation(6)
    moved = design_of(design.matrix[order], [0, 1, 0])
    options = {"n_permutations": 720, "n_tfce_permutations": 720}
    first = compared(tmp_path / "one", values, design, **options)
    other = compared(tmp_path / "other", values[order], moved, **options)
    assert first.n_possible == 720
    assert maps_of(first).counted_p == {}, "all of them: no tail is fitted"
    for name, p in maps_of(first).p.items():
        np.testing.assert_allclose(maps_of(other).p[name], p, atol=1e-6, err_msg=name)


def test_no_p_value_is_below_what_so_few_people_can_give(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    """Four and four make 70 groupings; of two that are mirrored, t has the same size."""
    values = values[:8].copy()
    values[1::2, 0] += 9
    found = compared(tmp_path, values, two_groups(8, n_covariates=0), n_tfce_permutations=100)
    for name, p in maps_of(found).p.items():
        # 100 random ones may have fewer by chance, where they are counted.
        assert p.min() >= (0.01 if name.startswith("voxel") else np.float32(2 / 70)), name


def test_other_components_of_a_file_are_not_in_the_family(
    tmp_path: Path, values: NDArray[np.float32]
) -> None:
    some = data_of(tmp_path / "some", values, families=(0, 2))
    found = compare(two_groups(N), [some], SPACE, request_of(tmp_path), Here())
    expected = compared(tmp_path / "alone", values[:, [0, 2]], cluster_threshold=None)
    assert found.decompositions[0].components == (0, 2)
    for name, one in arrays_of(maps_of(found)).items():
        np.testing.assert_array_equal(one, arrays_of(maps_of(expected))[name])


def test_differences_are_compared_as_such(tmp_path: Path, values: NDArray[np.float32]) -> None:
    design, minus = one_sample(N), np.roll(values, 3, axis=0)
    data = data_of(tmp_path / "data", values, minus=minus)
    found = compare(design, [data], SPACE, request_of(tmp_path), Here())
    expected = compared(tmp_path / "other", values - minus, design, cluster_threshold=None)
    assert found.kind == "sign flips"
    for name, one in arrays_of(maps_of(found)).items():
        np.testing.assert_array_equal(one, arrays_of(maps_of(expected))[name])


# ---------------------------------------------------------------- features without data
def test_where_a_participant_has_no_data_nothing_is_compared(
    tmp_path: Path, values: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    values = values.copy()
    values[4, :, :20] = 0
    values[7, 1, 22] = np.nan
    # 0 in one component alone is a value.
    values[2, 0, 60] = 0
    found = compared(tmp_path, values)
    maps = maps_of(found)
    assert found.decompositions[0].n_features == SPACE.n_features - 21
    assert "21 of 125 voxels are not compared" in caplog.text
    assert "sub-004 (20), sub-007 (1)." in caplog.text
    lost = [*range(20), 22]
    assert not maps.statistic[:, lost].any()
    assert all((p[:, lost] == 1).all() for p in maps.p.values())
    assert maps.statistic[0, 60] != 0
    values[4] = 0
    with pytest.raises(NothingToDoError, match=r"no voxel where all 16 .* sub-004 \(125\)"):
        compared(tmp_path / "none", values)


# ---------------------------------------------------------------- surfaces and both
@pytest.mark.parametrize("space", [ring_space(40), cifti_space()], ids=["surface", "both"])
def test_other_features_are_compared_the_same_way(tmp_path: Path, space: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((N, 1, space.n_features)).astype(np.float32)
    middle = space.n_features // 4
    values[1::2, 0, middle : middle + 8] += 5
    data = data_of(tmp_path / "data", values)
    request = request_of(tmp_path, cluster_threshold=0.01)
    maps = maps_of(compare(two_groups(N), [data], space, request, Here()))
    for name in ("voxel", "tfce"):
        assert maps.p[f"{name}all"][0, middle : middle + 8].min() < 0.05
        # Maps of one component: over all is over both kinds of features, as for the map.
        np.testing.assert_array_equal(maps.p[f"{name}all"], maps.p[name])


# ---------------------------------------------------------------- stored results
class Dying:
    """Loses one component."""

    def map_unordered(self, func: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        for item in items:
            yield WorkerDied(item) if item.component == 1 else func(item)


def test_a_lost_component_is_named_and_the_others_are_kept(
    tmp_path: Path, values: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(data_of(tmp_path / "data", values), name="canica3")
    design, request = two_groups(N), request_of(tmp_path)
    with pytest.raises(NidecompError, match=r"maps of component 2 of canica3 were not compared"):
        compare(design, [data], SPACE, request, Dying())
    computed = []
    kept = maps_module.component_maps

    def counting(*arguments: Any) -> Any:
        computed.append(arguments[1].component)
        return kept(*arguments)

    monkeypatch.setattr(maps_module, "component_maps", counting)
    first = compare(design, [data], SPACE, request, Here())
    assert computed == [1]
    files = sorted((tmp_path / "work" / "compared").glob("*.npz"))
    assert len(files) == K
    # A damaged file is made again.
    files[0].write_bytes(files[0].read_bytes()[:-400])
    again = compare(design, [data], SPACE, request, Here())
    assert len(computed) == 2
    for name, one in arrays_of(maps_of(again)).items():
        np.testing.assert_array_equal(one, arrays_of(maps_of(first))[name])
    # Other options, seeds and data are compared anew.
    compare(design, [data], SPACE, request_of(tmp_path, seed=1), Here())
    compare(design, [data], SPACE, request_of(tmp_path, n_tfce_permutations=20), Here())
    assert len(computed) == 2 + 2 * K


class Elsewhere:
    """Works as other processes do: on copies, in another order, with as many threads as it likes.

    (Processes themselves take long to start, and are tested with the command.)
    """

    def map_unordered(self, func: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        with threadpool_limits(2):
            for item in reversed(items):
                yield func(pickle.loads(pickle.dumps(item)))  # noqa: S301  our own


def test_processes_change_nothing(
    tmp_path: Path, values: NDArray[np.float32], first: Comparison
) -> None:
    data = data_of(tmp_path / "data", values)
    request = request_of(tmp_path, cluster_threshold=0.01)
    found = compare(two_contrasts(), [data], SPACE, request, Elsewhere())
    for contrast in range(2):
        for name, one in arrays_of(maps_of(first, contrast)).items():
            np.testing.assert_array_equal(arrays_of(maps_of(found, contrast))[name], one)


def test_amplitudes_and_edges_are_compared_without_maps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    amplitudes, edges = rng.standard_normal((N, K)), rng.standard_normal((N, K))
    data = replace(
        data_of(tmp_path / "data", np.zeros((0, K, 1), np.float32)),
        amplitudes=amplitudes, edges={"correlation": edges}, families=(0, 3, 4),
    )  # fmt: skip
    request = request_of(tmp_path, nbs_threshold=0.2)
    (found,) = compare(two_groups(N), [data], SPACE, request, Here()).decompositions
    assert found.maps == ()
    assert found.n_features == 0
    assert found.components == (0, 3, 4)
    np.testing.assert_array_equal(found.amplitude_values, amplitudes)
    assert len(found.amplitudes[0].p) == K
    assert len(found.edges["correlation"][0].network_p) == K
    assert len(found.amplitudes[0].network_p) == 0


def test_where_nothing_can_be_found_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three against three: of twenty ways to divide them, two give the same |t|."""
    amplitudes = np.random.default_rng(0).standard_normal((6, K))
    data = DecompositionData((0, 1, 2), amplitudes=amplitudes)
    few = design_of(two_groups(6).matrix[:, :2], [0, 1])
    found = compare(few, [data], SPACE, request_of(tmp_path, n_permutations=1000), Here())
    assert found.n_possible == 720
    assert "'test 0' can have no p value below 0.1, because so few permutations" in caplog.text
    caplog.clear()
    compare(two_groups(8), [replace(data, amplitudes=amplitudes[[0, 1, 2, 3, 4, 5, 0, 1]])],
            SPACE, request_of(tmp_path), Here())  # fmt: skip
    assert not caplog.text


def test_numbers_that_nobody_has_are_no_error(tmp_path: Path) -> None:
    data = DecompositionData((0, 1), amplitudes=np.full((N, 2), np.nan),
                             edges={"x": np.full((N, 1), np.nan)})  # fmt: skip
    request = request_of(tmp_path, nbs_threshold=0.1)
    (found,) = compare(two_groups(N), [data], SPACE, request, Here()).decompositions
    assert np.isnan(found.amplitudes[0].p).all()
    assert np.isnan(found.edges["x"][0].p_all).all()
