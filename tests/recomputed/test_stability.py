"""How far halves of the participants agree: both methods fitted anew to each half.

Runs are cleaned by nilearn and reduced by numpy, halves are fitted by scikit-learn: its FastICA
and its dictionary learning, from the same starts.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.maskers import NiftiMasker
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import MiniBatchDictionaryLearning, fastica
from sklearn.exceptions import ConvergenceWarning

from recomputed.published import Published, agree, numbers, recomputes

TABLE = "logs/stability.tsv"
# What `detailed` asks for, and defaults.
N_COMPONENTS, N_SPLITS, N_INIT, SEED, FWHM_MM = 5, 2, 10, 0, 6


@dataclass(frozen=True)
class Run:
    """The leading principal components of a cleaned run, each scaled by its singular value."""

    participant: str
    rows: NDArray[np.float64]
    variance: float


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


def reduced(image: Path, masker: NiftiMasker, order: NDArray[np.intp]) -> Run:
    """Mask and smooth a run, regress out trend and confounds, standardise, and reduce it."""
    series = masker.fit_transform(image).astype(np.float64)[:, order]
    confounds, kept = load_confounds_strategy(str(image), denoise_strategy="simple")
    assert kept is None
    n_volumes = len(series)
    design = np.column_stack([np.ones(n_volumes), np.arange(n_volumes), confounds])
    basis = np.linalg.qr(design)[0]
    series -= basis @ (basis.T @ series)
    series /= series.std(axis=0, ddof=1)
    rows = leading(series @ series.T, N_COMPONENTS).T @ series
    return Run(image.name.partition("_")[0], rows, float(np.sum(series**2)))


@cache
def fitted_runs(published: Published) -> tuple[Run, ...]:
    """All runs that the maps were fitted to, sorted by name."""
    masker = NiftiMasker(
        published.one("tpl-*/anat/*_desc-brain_mask.nii.gz"),
        smoothing_fwhm=FWHM_MM,
        standardize=None,
    )
    fitted = {
        row["participant_id"]
        for row in published.table("participants.tsv")
        if row["role"] == "fitted"
    }
    images = {
        row["run"]: published.dataset / row["source_file"]
        for row in published.table("logs/inventory.tsv")
        if row["run"].partition("_")[0] in fitted
    }
    order = in_order_of_file(published.mask)
    return tuple(reduced(images[name], masker, order) for name in sorted(images))


# ---------------------------------------------------------------- halves
def split_halves(participants: list[str]) -> list[tuple[list[str], list[str]]]:
    """Random halves; that with the first participant comes first."""
    random = np.random.RandomState(SEED)
    n = len(participants)
    found: list[set[int]] = []
    while len(found) < N_SPLITS:
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


def weighted(runs: tuple[Run, ...], people: list[str], *, unit_norm: bool) -> NDArray[np.float64]:
    """The rows of the runs of some people, with the same weight for each of them."""
    n_runs = Counter(run.participant for run in runs)
    mean_variance = np.mean([run.variance for run in runs])
    parts = []
    for run in runs:
        if run.participant in people:
            rows = run.rows * np.sqrt(mean_variance / run.variance)
            if unit_norm:
                rows = run.rows / np.linalg.norm(run.rows, axis=1, keepdims=True)
            parts.append(rows / np.sqrt(n_runs[run.participant]))
    return np.concatenate(parts)


def canica(runs: tuple[Run, ...], people: list[str]) -> NDArray[np.float64]:
    """ICA in the subspace that these people share: of ten starts, that with the smallest maps."""
    rows = weighted(runs, people, unit_norm=True)
    subspace = leading(rows @ rows.T, N_COMPONENTS).T @ rows
    subspace /= np.linalg.norm(subspace, axis=1, keepdims=True)
    subspace -= subspace.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(subspace @ subspace.T / subspace.shape[1])
    white = (vectors / np.sqrt(values)) @ vectors.T @ subspace
    seeds = np.random.RandomState(SEED).randint(np.iinfo(np.int32).max, size=N_INIT)
    found = []
    for seed in seeds.tolist():
        start = np.random.RandomState(seed).normal(size=(N_COMPONENTS, N_COMPONENTS))
        unmixing = fastica(
            white.T, whiten=False, fun="cube", w_init=start, max_iter=1000, tol=1e-4
        )[1]
        found.append(unmixing @ white)
    return min(found, key=lambda maps: np.abs(maps).sum(axis=1).max())


def penalty(published: Published, runs: tuple[Run, ...], rows: NDArray[np.float64]) -> float:
    """The group's sparsity penalty in the units of a half, which grow with its variance."""
    (path,) = published.output.glob("tpl-*/func/*_seg-dictlearning_*_decomposition.json")
    alpha: float = json.loads(path.read_text(encoding="utf-8"))["Fit"]["Alpha"]
    everybody = sorted({run.participant for run in runs})
    whole = weighted(runs, everybody, unit_norm=False)
    return float(alpha * np.sqrt(np.sum(rows**2) / np.sum(whole**2)))


def dictlearning(
    published: Published, runs: tuple[Run, ...], people: list[str]
) -> NDArray[np.float64]:
    """Sparse maps that start from those of the ICA: atoms of length 3, ten passes at most."""
    rows, start = weighted(runs, people, unit_norm=False), canica(runs, people)
    atoms = np.linalg.lstsq(start.T, rows.T, rcond=None)[0]
    atoms *= 3 / np.linalg.norm(atoms, axis=1, keepdims=True)
    alpha = penalty(published, runs, rows)
    estimator = MiniBatchDictionaryLearning(
        n_components=N_COMPONENTS, alpha=alpha, transform_alpha=alpha, batch_size=100, max_iter=10,
        fit_algorithm="cd", transform_algorithm="lasso_cd", dict_init=atoms, random_state=SEED,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(estimator.fit_transform(rows.T).T)


# ---------------------------------------------------------------- agreement
def trace(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The mean |r| of maps that are matched one to one."""
    r = np.abs(np.corrcoef(first, second)[: len(first), len(first) :])
    return float(r[linear_sum_assignment(r, maximize=True)].mean())


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The mean squared cosine of the angles between the spaces that maps span."""
    return float(np.mean(np.cos(subspace_angles(first.T, second.T)) ** 2))


@pytest.mark.parametrize("method", ["canica", "dictlearning"])
@recomputes(TABLE, "trace", "overlap")
def test_halves_that_are_fitted_anew_agree_as_published(detailed: Published, method: str) -> None:
    runs = fitted_runs(detailed)
    rows = [row for row in detailed.table(TABLE) if row["method"] == method]
    assert [row["split"] for row in rows] == ["1", "2"]
    people = sorted({run.participant for run in runs})
    halves = [
        tuple(
            canica(runs, half) if method == "canica" else dictlearning(detailed, runs, half)
            for half in split
        )
        for split in split_halves(people)
    ]
    for column, measure in (("trace", trace), ("overlap", overlap)):
        again = [measure(first, second) for first, second in halves]
        agree(f"stability: {column}, {method}", numbers(rows, column), again, 5e-6)
    # The JSON of the decomposition has the means.
    evidence = detailed.json(f"tpl-*/func/*_seg-{method}_*_decomposition.json")["Evidence"]
    assert isinstance(evidence, dict)
    for key, column in (("Trace", "trace"), ("SubspaceOverlap", "overlap")):
        mean = numbers(rows, column).mean()
        agree(f"decomposition.json: {key}", [float(evidence[key])], [mean], 1e-6)
