"""Both methods fitted anew to the group and to samples of its participants.

Cleaned runs are reduced by numpy; groups are fitted by scikit-learn: its FastICA and its dictionary
learning, from the same starts.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import MiniBatchDictionaryLearning, fastica
from sklearn.exceptions import ConvergenceWarning

from recomputed.cleaned_runs import cleaned, used_runs
from recomputed.published import Published

# What `detailed` asks for, and defaults.
N_COMPONENTS, N_SPLITS, N_INIT, SEED = 5, 2, 10, 0
# Principal components of each run that are fitted, and dimensions that are kept of halves and
# bootstrap samples.
N_ROWS, N_KEPT = 2 * N_COMPONENTS, 60


Rotation = tuple[NDArray[np.float64], bool]


@dataclass(frozen=True)
class Run:
    """The leading principal components of a cleaned run, each scaled by its singular value.

    `volumes` has their time courses as columns of unit norm, `basis` the regressors.
    """

    name: str
    participant: str
    rows: NDArray[np.float64]
    variance: float
    volumes: NDArray[np.float64]
    basis: NDArray[np.float64]


def leading(gram: NDArray[np.float64], n_leading: int) -> NDArray[np.float64]:
    """Eigenvectors of the largest eigenvalues, each with a positive largest entry."""
    vectors = np.linalg.eigh(gram)[1][:, ::-1][:, :n_leading]
    return vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n_leading)])


def in_order_of_file(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The order of the voxels in which dictionary learning draws them: the first axis varies first.

    Without it, the random batches would hold other voxels.
    """
    number = np.zeros(mask.shape, dtype=np.intp)
    number[mask] = np.arange(np.count_nonzero(mask))
    return number.T[mask.T]


@cache
def runs_of(published: Published, role: str) -> tuple[Run, ...]:
    """All runs of the participants of a role (fitted or held out), sorted by name."""
    people = {
        row["participant_id"] for row in published.table("participants.tsv") if row["role"] == role
    }
    names = [name for name in used_runs(published) if name.partition("_")[0] in people]
    return tuple(reduced(published, name) for name in sorted(names))


def reduced(published: Published, name: str) -> Run:
    """Reduce a cleaned run to its leading principal components."""
    found = cleaned(published, name)
    series = found.series[:, in_order_of_file(published.mask)]
    volumes = leading(series @ series.T, N_ROWS)
    total = float(np.sum(series**2))
    return Run(name, name.partition("_")[0], volumes.T @ series, total, volumes, found.basis)


def maps_of(published: Published, method: str) -> NDArray[np.float64]:
    """The published maps, with the voxels in the order of the runs here."""
    return published.maps(method)[:, in_order_of_file(published.mask)]


# ---------------------------------------------------------------- halves
def split_halves(
    participants: list[str], n_splits: int = N_SPLITS
) -> list[tuple[list[str], list[str]]]:
    """Random halves; that with the first participant comes first."""
    random = np.random.RandomState(SEED)
    n = len(participants)
    found: list[set[int]] = []
    while len(found) < n_splits:
        half = set(random.permutation(n)[: n // 2].tolist())
        half = half if 0 in half else set(range(n)) - half
        if half not in found:
            found.append(half)
    return [
        (
            [participants[one] for one in sorted(half)],
            [participants[one] for one in range(n) if one not in half],
        )
        for half in found
    ]


def weighted(runs: Sequence[Run], people: Sequence[str]) -> NDArray[np.float64]:
    """The rows of the runs of some people, with the same weight for each time one is named.

    Their norms are the square roots of their singular values, brought to the same sum of squares in
    all runs: the mean over all runs of their variance before.
    """
    n_runs = Counter(run.participant for run in runs)
    times = Counter(people)
    mean_variance = np.mean([np.sum(run.rows**2) for run in runs])
    parts = []
    for run in runs:
        if times[run.participant]:
            singular = np.linalg.norm(run.rows, axis=1, keepdims=True)
            rows = run.rows / np.sqrt(singular) * np.sqrt(mean_variance / np.sum(singular))
            parts.append(rows * np.sqrt(times[run.participant] / n_runs[run.participant]))
    return np.concatenate(parts)


def dimensions_kept(rows: NDArray[np.float64], n_kept: int) -> NDArray[np.float64]:
    """The rows, or their leading directions if they are more than are kept."""
    return rows if len(rows) <= n_kept else leading(rows @ rows.T, n_kept).T @ rows


def canica(
    runs: Sequence[Run],
    people: Sequence[str],
    n_init: int = N_INIT,
    ica: Callable[..., Rotation] | None = None,
) -> NDArray[np.float64]:
    """ICA in the subspace that these people share: the start with the sparsest maps."""
    return min(canica_starts(runs, people, n_init, ica), key=size)


def size(maps: NDArray[np.float64]) -> float:
    """The sum of the absolute values of all maps: the smaller, the sparser white maps are."""
    return float(np.abs(maps).sum())


def canica_starts(
    runs: Sequence[Run],
    people: Sequence[str],
    n_init: int = N_INIT,
    ica: Callable[..., Rotation] | None = None,
) -> list[NDArray[np.float64]]:
    """The maps that each start of the ICA ends at, of those that converge if any does."""
    ica = ica or sklearns_ica
    rows = weighted(runs, people)
    subspace = leading(rows @ rows.T, N_COMPONENTS).T @ rows
    subspace /= np.linalg.norm(subspace, axis=1, keepdims=True)
    subspace -= subspace.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(subspace @ subspace.T / subspace.shape[1])
    white = (vectors / np.sqrt(values)) @ vectors.T @ subspace
    seeds = np.random.RandomState(SEED).randint(np.iinfo(np.int32).max, size=n_init)
    found: dict[bool, list[NDArray[np.float64]]] = {True: [], False: []}
    for seed in seeds.tolist():
        start = np.random.RandomState(seed).normal(size=(N_COMPONENTS, N_COMPONENTS))
        unmixing, converged = ica(white, start)
        found[converged].append(unmixing @ white)
    return found[True] or found[False]


def sklearns_ica(white: NDArray[np.float64], start: NDArray[np.float64]) -> Rotation:
    """The rotation of white data to independent maps, and whether it was found."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        unmixing = fastica(
            white.T, whiten=False, fun="cube", w_init=start, max_iter=1000, tol=1e-4
        )[1]
    return unmixing, not said


def ica_of_moments(white: NDArray[np.float64], start: NDArray[np.float64]) -> Rotation:
    """The same as `sklearns_ica` from the fourth moments of the data: for many maps of noise."""
    k = len(white)
    pairs = (white[:, None] * white[None]).reshape(k * k, -1)
    moments = (pairs @ pairs.T / white.shape[1]).reshape(k, k, k, k)
    unmixing = orthogonal(start)
    for _ in range(1000):
        cubes = np.einsum("ia,ib,ic,abcd->id", unmixing, unmixing, unmixing, moments, optimize=True)
        new = orthogonal(cubes - 3 * unmixing)
        change = np.abs(np.abs(np.sum(new * unmixing, axis=1)) - 1).max()
        unmixing = new
        if change < 1e-4:
            return unmixing, True
    return unmixing, False


def orthogonal(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest orthogonal matrix."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def penalty(published: Published, runs: Sequence[Run], rows: NDArray[np.float64]) -> float:
    """The group's sparsity penalty in the units of a half, which grow with its variance."""
    (path,) = published.output.glob("tpl-*/func/*_seg-dictlearning_*_decomposition.json")
    alpha: float = json.loads(path.read_text(encoding="utf-8"))["Fit"]["Alpha"]
    everybody = sorted({run.participant for run in runs})
    whole = weighted(runs, everybody)
    return float(alpha * np.sqrt(np.sum(rows**2) / np.sum(whole**2)))


def dictlearning(
    published: Published, runs: Sequence[Run], people: Sequence[str]
) -> NDArray[np.float64]:
    """Sparse maps that start from those of the ICA: atoms of length 3, ten passes at most."""
    every_row, start = weighted(runs, people), canica(runs, people)
    alpha = penalty(published, runs, every_row)
    rows = dimensions_kept(every_row, N_KEPT)
    atoms = np.linalg.lstsq(start.T, rows.T, rcond=None)[0]
    atoms *= 3 / np.linalg.norm(atoms, axis=1, keepdims=True)
    estimator = MiniBatchDictionaryLearning(
        n_components=N_COMPONENTS, alpha=alpha, transform_alpha=alpha, batch_size=100, max_iter=10,
        fit_algorithm="cd", transform_algorithm="lasso_cd", dict_init=atoms, random_state=SEED,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(estimator.fit_transform(rows.T).T)


# ---------------------------------------------------------------- comparison
def matches(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each map of the first set its match in the second: one to one, largest sum of |r|."""
    r = np.abs(np.corrcoef(first, second)[: len(first), len(first) :])
    return linear_sum_assignment(r, maximize=True)[1]


def r_of_each(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """|r| of each map with that in the same place of another set."""
    return np.abs(np.diag(np.corrcoef(first, second)[: len(first), len(first) :]))


def reproducibility(
    group: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """|r| between what both halves found of each map, at most that of either with the map."""
    one, two = first[matches(group, first)], second[matches(group, second)]
    return np.min([r_of_each(one, two), r_of_each(group, one), r_of_each(group, two)], axis=0)


def over_participants(values: Sequence[NDArray[np.float64]], runs: Sequence[Run]) -> NDArray:
    """The mean over the runs of each participant, (n_participants, …), sorted by name."""
    names = np.array([run.participant for run in runs])
    return np.array([np.mean(np.array(values)[names == one], axis=0) for one in sorted(set(names))])
