"""Dictionary learning: sparse maps, started from CanICA's.

Mensch et al. (2016), Compressed online dictionary learning for fast resting-state fMRI
decomposition, ISBI, doi:10.1109/ISBI.2016.7493501. Voxels are the samples, their codes the maps.
From the same first dictionary and seed it is scikit-learn's
``MiniBatchDictionaryLearning(fit_algorithm="cd")``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import products
from nidecomp.decomposition.sparse_coding import Learner, batch_bounds, encode, learn, new_learner

# The length of the first atoms: see `first_dictionary`, and for what others do
# docs/decisions/0009-dictionary-learning.md.
_FIRST_LENGTH = 3.0
# The noise added to a sample that becomes an atom, as a share of its deviation (scikit-learn's).
_NOISE_OF_NEW_ATOM = 0.01


@dataclass(frozen=True, eq=False)
class DictionaryFit:
    """How dictionary learning went.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_components, n_voxels)
        Every voxel's code: unsigned, unordered, unscaled.
    dictionary : ndarray, shape (n_components, n_rows)
        The atoms; once learnt from, none is longer than 1.
    alpha : float
        The penalty.
    n_steps : int
        Batches that were taken.
    converged : bool
        The dictionary settled, or its cost stopped improving, before the batches were used up.
    lasso_converged : bool
        Every lasso, of a batch or of the maps, reached its tolerance.
    n_reseeded : int
        How many times an atom had fallen out of use and a voxel's sample took its place.
    n_empty : int
        Maps without a single value. They are counted and kept, never hidden.
    """

    maps: NDArray[np.float32]
    dictionary: NDArray[np.float64]
    alpha: float
    n_steps: int
    converged: bool
    lasso_converged: bool
    n_reseeded: int
    n_empty: int


def first_dictionary(maps: NDArray[np.floating], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Fit maps to the rows by least squares, for a first dictionary.

    nilearn scales each *row* of the data to unit norm over the atoms, which makes atoms longer than
    1 (√(rows / components) on average) and depends on the rows' rotation. What helps is the length:
    the first batches' codes are then less sparse, and no atom falls out of use before it has been
    improved; the first updates bring the lengths back to 1. So here all atoms have one length, in
    whatever rotation (docs/decisions/0009-dictionary-learning.md has the numbers).

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        Of any scale and sign; an empty one gives an empty atom, which learning replaces.
    rows : ndarray of float32, shape (n_rows, n_voxels)

    Returns
    -------
    ndarray, shape (n_components, n_rows)
    """
    gram, cross = products(maps, maps), products(maps, rows)
    scale = np.sqrt(np.diag(gram))
    scale[scale == 0] = 1.0
    # The ridge keeps maps that are empty or alike from making the system singular.
    correlations = gram / np.outer(scale, scale) + 1e-8 * np.eye(len(gram))
    loadings = np.linalg.solve(correlations, cross / scale[:, None])
    return _FIRST_LENGTH * with_unit_norm(loadings)


def with_unit_norm(atoms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return atoms with a norm of 1; an empty one stays empty."""
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    return np.asarray(atoms / np.where(norms == 0, 1.0, norms))


def fit_dictlearning(
    rows: NDArray[np.float32],
    dictionary: NDArray[np.float64],
    *,
    alpha: float,
    batch_size: int,
    n_epochs: int,
    seed: int,
    n_threads: int = 1,
) -> DictionaryFit:
    """Learn a dictionary, and with it sparse maps that explain the rows.

    Minimises ½‖rowsᵀ − codes · dictionary‖² + alpha ‖codes‖₁ over codes and atoms of norm 1 or
    less.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_voxels)
        The runs' rows, scaled by their singular values, or those of the group's subspace: only
        inner products with atoms count, so that a rotation changes nothing.
    dictionary : ndarray, shape (n_components, n_rows)
        The first one, of `first_dictionary`.
    alpha : float
        Penalty on the maps' L1 norm, in the units of the rows (as in nilearn).
    batch_size : int
        Voxels in one batch.
    n_epochs : int
        Passes over the voxels at most. It settles within the first two or three where a batch is
        small against the number of voxels.
    seed : int
        Of the order of voxels and of the samples that replace atoms out of use.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    DictionaryFit

    Notes
    -----
    Memory: a copy of the rows, and the maps (both float32).
    """
    samples = np.ascontiguousarray(rows.T, dtype=np.float32)
    learner, n_reseeded = learn_dictionary(
        samples, dictionary, alpha=alpha, batch_size=batch_size, n_epochs=n_epochs, seed=seed
    )
    maps, n_unfinished = encode(samples, learner.dictionary, alpha, n_threads)
    return DictionaryFit(
        maps=maps,
        dictionary=learner.dictionary,
        alpha=alpha,
        n_steps=int(learner.state["step"]),
        converged=bool(learner.state["settled"]),
        lasso_converged=n_unfinished + int(learner.state["n_unfinished"]) == 0,
        n_reseeded=n_reseeded,
        n_empty=int(np.count_nonzero(~maps.any(axis=1))),
    )


def learn_dictionary(
    samples: NDArray[np.float32],
    dictionary: NDArray[np.float64],
    *,
    alpha: float,
    batch_size: int,
    n_epochs: int,
    seed: int,
) -> tuple[Learner, int]:
    """Return what was learnt from samples, (n_voxels, n_rows), and how many atoms were replaced.

    The parameters are those of `fit_dictlearning`.
    """
    n_voxels = len(samples)
    batch_size = min(batch_size, n_voxels)
    n_steps = n_epochs * ((n_voxels - 1) // batch_size + 1)
    # numpy's old generator: it draws scikit-learn's numbers.
    random = np.random.RandomState(seed)
    order = np.arange(n_voxels)
    random.shuffle(order)
    learner = new_learner(dictionary)
    n_reseeded = 0
    while learn(samples, order, learner, float(alpha), batch_size, n_steps):
        first, last = batch_bounds(int(learner.state["step"]), batch_size, n_voxels)
        _replace_atom(learner, samples, order[first:last], random)
        n_reseeded += 1
    return learner, n_reseeded


def _replace_atom(
    learner: Learner,
    samples: NDArray[np.float32],
    batch: NDArray[np.int64],
    random: np.random.RandomState,
) -> None:
    """Put a sample of the batch, with a little noise, in the place of an atom out of use."""
    state = learner.state
    sample = samples[batch[random.choice(len(batch))]].astype(np.float64)
    deviation = _NOISE_OF_NEW_ATOM * (float(sample.std()) or 1.0)
    sample += random.normal(0, deviation, size=len(sample))
    sample /= max(float(np.linalg.norm(sample)), 1.0)
    atom = learner.dictionary[state["atom"]]
    state["squared_change"] += np.sum((sample - atom) ** 2)
    atom[:] = sample
    state["atom"] += 1
