"""A comparison of two sessions, from the maps and time courses of the runs, by all sign flips.

With six people there are 64 ways to flip signs, so that all p values are counted. The mean of the
differences is tested: t of each way is that of a one-sample test of the data with flipped signs.
"""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from groups_of_people import LABELS, write_people
from numpy.typing import NDArray
from scipy import ndimage, stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from support import made_once, nidecomp

from recomputed.published import Published, agree, numbers, recomputes
from recomputed.test_labels import SHIPPED, at_voxels

COMPARISONS, EDGES = "comparisons.tsv", "comparisons_edges.tsv"
AMPLITUDES, CLUSTERS = "amplitudes.tsv", "*_clusters.tsv"
PEOPLE, SESSIONS = LABELS[:6], ("pre", "post")
CLUSTER_P, NETWORK_P, ALPHA = 0.05, 0.2, 0.05
SIGNS = np.array(list(product((1, -1), repeat=len(PEOPLE))))
DOF = len(PEOPLE) - 1
# What counts as the same in another permutation: maxima are of float32.
TOLERANCE = 1e-5
KINDS = {"correlation": "pearsoncorrelation", "partial": "partialcorrelation"}

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Results of six people who differ between two sessions."""

    def make(output: Path) -> None:
        dataset = write_people(
            output.with_name("in"), sessions=SESSIONS, labels=PEOPLE, patients=PEOPLE, effect=4.0
        )
        done = nidecomp(
            dataset, output, "group", "--n-components", 3, "--methods", "canica", "--n-init", 2,
            "--n-splits", 0, "--denoise-strategy", "none", "--participant-maps", "--no-report",
            "--within", "ses-post - ses-pre", "--n-permutations", 100,
            "--n-tfce-permutations", 100, "--cluster-threshold", CLUSTER_P,
            "--nbs-threshold", NETWORK_P,
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr

    output = made_once(tmp_path_factory, "sessions", make)
    return Published(output.with_name("in"), output)


# ---------------------------------------------------------------- what is compared
def run_file(published: Published, label: str, session: str, name: str) -> str:
    return f"sub-{label}/ses-{session}/func/sub-{label}_ses-{session}_*_{name}"


def difference_of(published: Published, name: str) -> Array:
    """Return the second session minus the first of images, (n_people, n_maps, n_voxels)."""

    def values(label: str, session: str) -> Array:
        return published.in_mask(published.one(run_file(published, label, session, name)))

    return np.array([values(one, SESSIONS[1]) - values(one, SESSIONS[0]) for one in PEOPLE])


def rows_compared(published: Published) -> list[dict[str, str]]:
    return [row for row in published.table(COMPARISONS) if row["compared"] == "1"]


def flipped_t(data: Array) -> Array:
    """Return t of all ways to flip signs, (n_ways, n_values); the first flips none."""
    mean = SIGNS @ data / len(PEOPLE)
    variance = (np.sum(data**2, axis=0) - len(PEOPLE) * mean**2) / DOF
    return mean / np.sqrt(variance / len(PEOPLE))


def counted(observed: Array, maxima: Array) -> Array:
    """Return the share of ways with a maximum that is as large as what was observed."""
    return np.mean(maxima[:, None] >= np.abs(observed) * (1 - TOLERANCE), axis=0)


# ---------------------------------------------------------------- maps
def in_image(published: Published, values: Array) -> Array:
    image = np.zeros(published.mask.shape)
    image[published.mask] = values
    return image


def tfce(image: Array) -> Array:
    """Return the integral of √extent · height² of a 3D map, exactly, with the map's sign."""
    enhanced = np.zeros_like(image)
    for sign in (1, -1):
        heights = np.unique(np.maximum(sign * image, 0))
        for below, height in pairwise(heights):
            labels, _ = ndimage.label(sign * image >= height)
            extent = np.bincount(labels.ravel())
            extent[0] = 0
            enhanced += sign * np.sqrt(extent[labels]) * (height**3 - below**3) / 3
    return enhanced


def extents(image: Array) -> Array:
    """Return the number of voxels of each voxel's cluster above the threshold; 0 outside."""
    limit = stats.t.isf(CLUSTER_P / 2, DOF)
    found = np.zeros_like(image)
    for sign in (1, -1):
        labels, _ = ndimage.label(sign * image > limit)
        extent = np.bincount(labels.ravel())
        extent[0] = 0
        found += extent[labels]
    return found


def scored(values: Array, maxima: Array) -> Array:
    """Return -log of the tail of a gamma distribution that fits the maxima of a map."""
    fitted = np.minimum(maxima, np.quantile(maxima, 0.99, method="lower"))
    skewness = stats.skew(fitted)
    if not skewness > 0:
        return -stats.norm.logsf(values, fitted.mean(), fitted.std())
    return -stats.pearson3.logsf(values, skewness, fitted.mean(), fitted.std())


def p_of_maps(observed: list[Array], maxima: list[Array]) -> tuple[list[Array], list[Array]]:
    """Return p values of each map by itself, and over all maps."""
    alone = [counted(*both) for both in zip(observed, maxima, strict=True)]
    largest = np.max([scored(one, one) for one in maxima], axis=0)
    overall = [
        np.mean(largest[:, None] >= scored(np.abs(one) * (1 - TOLERANCE), own), axis=0)
        for one, own in zip(observed, maxima, strict=True)
    ]
    return alone, [
        np.where(one == 0, 1, np.maximum(first, second))
        for one, first, second in zip(observed, alone, overall, strict=True)
    ]


def maps_of(published: Published) -> dict[str, list[Array]]:
    """Return t, TFCE and p values of each compared component, by name."""
    differences = difference_of(published, "stat-effect_components.nii.gz")
    found: dict[str, list[Array]] = {"t": [], "tfce": [], "extent": []}
    maxima: dict[str, list[Array]] = {"t": [], "tfce": [], "extent": []}
    for index in range(differences.shape[1]):
        ways = [in_image(published, one) for one in flipped_t(differences[:, index])]
        of_way = {"t": ways, "tfce": list(map(tfce, ways)), "extent": list(map(extents, ways))}
        for name, images in of_way.items():
            found[name].append(images[0][published.mask])
            maxima[name].append(np.array([np.abs(one).max() for one in images]))
    for name, column in (("t", "voxel"), ("tfce", "tfce"), ("extent", "cluster")):
        found[column + "_p"], found[column + "_p_all"] = p_of_maps(found[name], maxima[name])
    return found


@recomputes(
    *(COMPARISONS, "map_peak", "map_x", "map_y", "map_z", "map_p_tfce", "map_p_tfce_all"),
    *("map_p_voxel", "map_p_voxel_all", "map_p_cluster", "map_p_cluster_all"),
    *("n_features_found", "map_effect_size", "map_effect_size_low", "map_effect_size_high"),
    *("map_direction", "dof", "n", "compared", "statistic"),
)
def test_maps_by_all_sign_flips(sessions: Published) -> None:
    rows, maps = rows_compared(sessions), maps_of(sessions)
    assert len(rows) == 3
    places = np.argwhere(sessions.mask) @ sessions.affine[:3, :3].T + sessions.affine[:3, 3]
    peaks = [int(np.abs(one).argmax()) for one in maps["tfce"]]
    t = np.array([one[peak] for one, peak in zip(maps["t"], peaks, strict=True)])
    agree("comparisons: map_peak", numbers(rows, "map_peak"), t, 1e-3)
    for axis, name in enumerate("xyz"):
        agree(f"comparisons: map_{name}", numbers(rows, f"map_{name}"), places[peaks, axis], 1e-3)
    for name in ("tfce", "voxel", "cluster"):
        for end in ("", "_all"):
            smallest = [one.min() for one in maps[f"{name}_p{end}"]]
            column = f"map_p_{name}{end}"
            agree(f"comparisons: {column}", numbers(rows, column), smallest, 1e-6)
    n_found = [np.sum(one < ALPHA) for one in maps["tfce_p_all"]]
    assert max(n_found) > 0
    agree("comparisons: n_features_found", numbers(rows, "n_features_found"), n_found, 0)
    check_effect_sizes(rows, "map_effect_size", t)
    check_directions(rows, "map_direction", t)
    assert {row["n"] for row in rows} == {str(len(PEOPLE))}
    assert {(row["dof"], row["statistic"]) for row in rows} == {(str(DOF), "t")}


def check_effect_sizes(rows: list[dict[str, str]], column: str, t: Array) -> None:
    """Check the partial correlation and its interval by Fisher's z."""
    r = t / np.sqrt(t**2 + DOF)
    margin = stats.norm.ppf(0.975) / np.sqrt(DOF - 1)
    agree(column, numbers(rows, column), r, 1e-4)
    agree(f"{column}_low", numbers(rows, f"{column}_low"), np.tanh(np.arctanh(r) - margin), 1e-3)
    agree(f"{column}_high", numbers(rows, f"{column}_high"), np.tanh(np.arctanh(r) + margin), 1e-3)


def check_directions(rows: list[dict[str, str]], column: str, t: Array) -> None:
    words = {1: "larger in ses-post than in ses-pre", -1: "smaller in ses-post than in ses-pre"}
    assert [row[column] for row in rows] == [words[int(sign)] for sign in np.sign(t)]


@recomputes(
    *(CLUSTERS, "component", "cluster", "x", "y", "z", "value", "p_all", "direction", "label"),
    "volume_mm3",
)
def test_clusters_of_what_was_found(sessions: Published) -> None:
    maps, names = maps_of(sessions), [row["component"] for row in rows_compared(sessions)]
    rows = sessions.table("tpl-*/func/*_contrast-mean_clusters.tsv")
    references = at_voxels(sessions, SHIPPED / "networks.nii.gz")
    lines = (SHIPPED / "networks.tsv").read_text(encoding="utf-8").splitlines()
    voxel_mm3 = abs(np.linalg.det(sessions.affine[:3, :3]))
    places = np.argwhere(sessions.mask) @ sessions.affine[:3, :3].T + sessions.affine[:3, 3]
    expected = []
    for name, t, p in zip(names, maps["t"], maps["tfce_p_all"], strict=True):
        of_map = []
        for sign in (1, -1):
            labels, n = ndimage.label(in_image(sessions, (p < ALPHA) & (np.sign(t) == sign)))
            for number in range(1, n + 1):
                members = np.flatnonzero(labels[sessions.mask] == number)
                of_map.append((len(members), members[np.abs(t[members]).argmax()]))
        of_map.sort(key=lambda one: -one[0])
        expected += [(name, rank, *one) for rank, one in enumerate(of_map, start=1)]
    assert expected
    assert [(row["component"], row["cluster"]) for row in rows] == [
        (name, str(rank)) for name, rank, _, _ in expected
    ]
    sizes = [size * voxel_mm3 for _, _, size, _ in expected]
    agree("clusters: volume_mm3", numbers(rows, "volume_mm3"), sizes, 0.5)
    t_of, p_of = (dict(zip(names, maps[one], strict=True)) for one in ("t", "tfce_p_all"))
    for row, (name, _, size, peak) in zip(rows, expected, strict=True):
        # Of equally large clusters, the order has no meaning.
        if [one[2] for one in expected if one[0] == name].count(size) > 1:
            continue
        agree("clusters: x, y, z", [float(row[axis]) for axis in "xyz"], places[peak], 1e-3)
        agree("clusters: value", float(row["value"]), t_of[name][peak], 1e-3)
        agree("clusters: p_all", float(row["p_all"]), p_of[name][peak], 1e-6)
        here = references[:, peak]
        label = lines[1 + here.argmax()].split("\t")[1] if here.max() > 0 else "n/a"
        assert row["label"] == label
        check_directions([row], "direction", t_of[name][[peak]])


# ---------------------------------------------------------------- amplitudes and edges
def p_of_values(t: Array) -> tuple[Array, Array]:
    """Return p of each number by itself, and over all by the smallest parametric p value."""
    least = np.abs(t[0]) * (1 - TOLERANCE)
    # All have the same degrees of freedom, so that the largest |t| is the smallest p.
    return np.mean(np.abs(t) >= least, axis=0), counted(t[0], np.abs(t).max(axis=1))


@recomputes(AMPLITUDES, "amplitude")
@recomputes(
    *(COMPARISONS, "amplitude_statistic", "amplitude_p", "amplitude_p_all"),
    *("amplitude_effect_size", "amplitude_effect_size_low", "amplitude_effect_size_high"),
    "amplitude_direction",
)
def test_amplitudes_from_time_courses(sessions: Published) -> None:
    rows = rows_compared(sessions)
    names = [row["component"] for row in rows]

    def deviations(label: str, session: str) -> Array:
        courses = sessions.table(run_file(sessions, label, session, "timeseries.tsv"))
        return np.array([numbers(courses, name).std(ddof=1) for name in names])

    post, pre = (
        np.array([deviations(label, session) for label in PEOPLE]) for session in ("post", "pre")
    )
    table = sessions.table(AMPLITUDES)
    found = numbers(table, "amplitude").reshape(post.shape)
    agree("amplitudes: amplitude", found, post - pre, 2e-6)
    assert [row["participant_id"] for row in table[:: len(names)]] == [
        f"sub-{label}" for label in PEOPLE
    ]
    t = flipped_t(post - pre)
    p, p_all = p_of_values(t)
    agree("comparisons: amplitude", numbers(rows, "amplitude_statistic"), t[0], 1e-3)
    agree("comparisons: amplitude_p", numbers(rows, "amplitude_p"), p, 1e-6)
    agree("comparisons: amplitude_p_all", numbers(rows, "amplitude_p_all"), p_all, 1e-6)
    check_effect_sizes(rows, "amplitude_effect_size", t[0])
    check_directions(rows, "amplitude_direction", t[0])


@pytest.mark.parametrize("kind", KINDS)
@recomputes(
    *(EDGES, "kind", "component_1", "component_2", "statistic", "dof", "p", "p_all"),
    *("effect_size", "effect_size_low", "effect_size_high", "direction", "network_p"),
)
def test_edges_from_connectomes(sessions: Published, kind: str) -> None:
    rows = [row for row in sessions.table(EDGES) if row["kind"] == kind]
    names = [row["component"] for row in rows_compared(sessions)]
    first, second = np.triu_indices(len(names), 1)
    assert [(row["component_1"], row["component_2"]) for row in rows] == [
        (names[one], names[other]) for one, other in zip(first, second, strict=True)
    ]

    def z_of(label: str, session: str) -> Array:
        path = run_file(sessions, label, session, f"stat-{KINDS[kind]}_relmat.tsv")
        matrix = sessions.table(path)
        values = np.array([numbers(matrix, name) for name in names])
        return np.arctanh(values[first, second])

    t = flipped_t(np.array([z_of(one, "post") - z_of(one, "pre") for one in PEOPLE]))
    p, p_all = p_of_values(t)
    agree("edges: statistic", numbers(rows, "statistic"), t[0], 1e-3)
    agree("edges: p", numbers(rows, "p"), p, 1e-6)
    agree("edges: p_all", numbers(rows, "p_all"), p_all, 1e-6)
    assert {row["dof"] for row in rows} == {str(DOF)}
    check_effect_sizes(rows, "effect_size", t[0])
    check_directions(rows, "direction", t[0])
    sizes = np.array([networks(one, first, second) for one in t])
    network_p = np.where(sizes[0] > 0, counted(sizes[0], sizes.max(axis=1)), np.nan)
    agree("edges: network_p", numbers(rows, "network_p"), network_p, 1e-6)


def networks(t: Array, first: NDArray[np.intp], second: NDArray[np.intp]) -> Array:
    """Return the number of edges in each edge's connected set above the threshold; 0 for none."""
    n, limit = int(second.max()) + 1, stats.t.isf(NETWORK_P / 2, DOF)
    sizes = np.zeros(len(t))
    for sign in (1, -1):
        above = sign * t > limit
        graph = coo_array((np.ones(above.sum()), (first[above], second[above])), shape=(n, n))
        labels = connected_components(graph, directed=False)[1]
        of_edges = labels[first[above]]
        sizes[above] = np.bincount(of_edges, minlength=n)[of_edges]
    return sizes
