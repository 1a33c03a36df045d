"""What the number of components was chosen from: dimensions that participants share, and maps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import FIXTURES

from recomputed.cleaned_runs import cleaned, used_runs
from recomputed.groups import leading, reproducibility, size, sklearns_ica, split_halves
from recomputed.published import Published, agree, numbers, recomputes

TABLE = "logs/order.tsv"
MAX_COMPONENTS, N_SPLITS, N_STARTS, N_ROTATIONS = 50, 5, 2, 20
# Published subspaces are updated run by run, and leave out directions on the way.
STREAMED = 0.02
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """Rows of unit norm without their mean over voxels, of each run, weighted by participant."""

    participants: tuple[str, ...]
    rows: tuple[Array, ...]

    def of(self, people: list[str]) -> Array:
        """Return all rows of some participants."""
        pairs = zip(self.participants, self.rows, strict=True)
        return np.concatenate([rows for participant, rows in pairs if participant in people])


@pytest.fixture(scope="module")
def auto(auto_output: Path) -> Published:
    return Published(FIXTURES / "rest", auto_output)


@cache
def group(published: Published) -> Group:
    names = sorted(used_runs(published))
    people = [name.partition("_")[0] for name in names]
    n_runs = Counter(people)
    found = []
    for name, participant in zip(names, people, strict=True):
        series = cleaned(published, name).series
        rows = leading(series @ series.T, MAX_COMPONENTS).T @ series
        rows /= np.linalg.norm(rows, axis=1, keepdims=True) * np.sqrt(n_runs[participant])
        found.append(rows - rows.mean(axis=1, keepdims=True))
    return Group(tuple(people), tuple(found))


def dimensions(rows: Array) -> tuple[Array, Array]:
    """Return the directions of unit norm that rows share, and their squared singular values."""
    values = np.linalg.eigvalsh(rows @ rows.T)[::-1]
    found = leading(rows @ rows.T, len(rows)).T @ rows
    known = values > 1e-9 * values[0]
    return (found[known] / np.linalg.norm(found[known], axis=1, keepdims=True)), values[known]


def halves(published: Published) -> list[tuple[list[str], list[str]]]:
    return split_halves(sorted(set(group(published).participants)), N_SPLITS)


@recomputes(TABLE, "n_components", "canonical_r")
def test_canonical_correlations_are_those_of_all_participants(auto: Published) -> None:
    rows, everything = auto.table(TABLE), group(auto)
    people = sorted(set(everything.participants))
    values = dimensions(everything.of(people))[1][: len(rows)]
    agree("order: n_components", numbers(rows, "n_components"), np.arange(1, len(rows) + 1), 0)
    again = np.sqrt(values / len(people))
    agree("order: canonical_r", numbers(rows, "canonical_r"), again, STREAMED)


@recomputes(TABLE, "null_quantile")
def test_the_null_is_that_of_unrelated_subspaces(auto: Published) -> None:
    """The edge of the sum of unrelated projectors, and the Tracy-Widom law around it."""
    rows, everything = auto.table(TABLE), group(auto)
    people = sorted(set(everything.participants))
    noise: dict[str, Array] = {}
    for participant, own in zip(everything.participants, everything.rows, strict=True):
        trailing = np.linspace(len(own) // 2, len(own) - 1, 12).round().astype(int)
        unit = own[trailing] / np.linalg.norm(own[trailing], axis=1, keepdims=True)
        noise.setdefault(participant, unit)
    squared = np.concatenate(
        [
            ((noise[one] @ noise[other].T) ** 2).ravel()
            for index, one in enumerate(people)
            for other in people[:index]
        ]
    )
    n_effective = 0.4549 / np.median(squared)
    expected = []
    n_rows = sum(float(np.sum(own**2)) for own in everything.rows) / len(people)
    for before in range(len(rows)):
        n, space, others = n_rows - before, n_effective - before, len(people) - 1
        share = n / space
        edge = 1 + (others - 1) * share + 2 * np.sqrt(others * share * (1 - share))
        all_rows = n * len(people)
        roots = np.sqrt(space) + np.sqrt(all_rows)
        spread = roots * (space**-0.5 + all_rows**-0.5) ** (1 / 3) / space
        expected.append(np.sqrt(min((edge + 0.9793 * spread) / len(people), 1)))
    agree("order: null_quantile", numbers(rows, "null_quantile"), expected, 1e-3)


@recomputes(TABLE, "held_out_r", "held_out_sd", "overlap", "supported")
def test_dimensions_are_looked_for_in_the_other_half(auto: Published) -> None:
    rows, everything = auto.table(TABLE), group(auto)
    held, overlaps = [], []
    for split in halves(auto):
        bases = [dimensions(everything.of(half))[0][: len(rows)] for half in split]
        for basis, others in zip(bases, split[::-1], strict=True):
            squared = np.sum((everything.of(others) @ basis.T) ** 2, axis=0) / len(others)
            held.append(np.sqrt(squared))
        cosines = (bases[0] @ bases[1].T) ** 2
        overlaps.append([cosines[:k, :k].sum() / k for k in range(1, len(rows) + 1)])
    for column, again in {
        "held_out_r": np.sqrt(np.mean(np.square(held), axis=0)),
        "held_out_sd": np.std(held, axis=0),
        "overlap": np.mean(overlaps, axis=0),
    }.items():
        agree(f"order: {column}", numbers(rows, column), again, STREAMED)
    least = float(str(auto.json("logs/order.json")["LeastHeldOutR"]))
    supported = (numbers(rows, "canonical_r") > numbers(rows, "null_quantile")) & (
        numbers(rows, "held_out_r") >= least
    )
    assert [row["supported"] == "true" for row in rows] == supported.tolist()


def rotated(maps: Array, random: np.random.RandomState) -> Array:
    return np.linalg.qr(random.normal(size=(len(maps), len(maps))))[0].T @ maps


@recomputes(TABLE, "map_r", "map_r_sd", "least_map_r", "n_reproducible")
def test_maps_of_halves_are_counted_that_agree(auto: Published) -> None:
    """The smallest number of maps that was fitted, because the others take minutes."""
    table, everything = auto.table(TABLE), group(auto)
    row = next(row for row in table if row["map_r"] != "n/a")
    k = int(row["n_components"])

    def maps(people: list[str]) -> Array:
        subspace = dimensions(everything.of(people))[0][:k]
        subspace = subspace - subspace.mean(axis=1, keepdims=True)
        values, vectors = np.linalg.eigh(subspace @ subspace.T / subspace.shape[1])
        white = (vectors / np.sqrt(values)) @ vectors.T @ subspace
        found = []
        for seed in np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=N_STARTS):
            start = np.random.RandomState(int(seed)).normal(size=(k, k))
            found.append(sklearns_ica(white, start)[0] @ white)
        return min(found, key=size)

    people = sorted(set(everything.participants))
    whole, of_halves = maps(people), [(maps(one), maps(two)) for one, two in halves(auto)]
    r = np.mean([reproducibility(whole, *pair) for pair in of_halves], axis=0)
    agree("order: map_r", numbers([row], "map_r"), [r.mean()], STREAMED)
    agree("order: map_r_sd", numbers([row], "map_r_sd"), [r.std()], STREAMED)
    # Halves of single participants would agree by 0.08 (Spearman-Brown); 0.25 at least.
    n_half = len(people) / 2
    least = max(0.25, n_half * 0.08 / (1 + (n_half - 1) * 0.08))
    random = np.random.RandomState(0)
    chance = [
        np.mean(
            [reproducibility(whole, *(rotated(one, random) for one in pair)) for pair in of_halves],
            axis=0,
        )
        for _ in range(N_ROTATIONS)
    ]
    least = max(least, float(np.quantile(chance, 0.95)))
    agree("order: least_map_r", numbers([row], "least_map_r"), [least], 2 * STREAMED)
    found = numbers([row], "n_reproducible")
    agree("order: n_reproducible", found, [np.count_nonzero(r > least)], 0)
