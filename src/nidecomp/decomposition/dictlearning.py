"""Dictionary learning: sparse maps, starting from those of CanICA.

Mensch et al. (2016), Compressed online dictionary learning for fast resting-state fMRI
decomposition, ISBI, doi:10.1109/ISBI.2016.7493501. The samples are the voxels, and their codes are
the maps. With the same first dictionary and seed, the result is that of scikit-learn's
``MiniBatchDictionaryLearning(fit_algorithm="cd")``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import products
from nidecomp.decomposition.sparse_coding import Learner, batch_bounds, encode, learn, new_learner

# The norm of the first atoms. For the reason see `first_dictionary`, for that of other packages
# docs/decisions/0009-dictionary-learning.md.
_FIRST_LENGTH = 3.0
# The noise added to a sample that becomes an atom, as a share of the sample's standard deviation
# (as in scikit-learn).
_NOISE_OF_NEW_ATOM = 0.01


@dataclass(frozen=True, eq=False)
class DictionaryFit:
    """The result of dictionary learning.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_components, n_voxels)
        The code of every voxel: not yet sorted, signed or scaled.
    dictionary : ndarray, shape (n_components, n_rows)
        The atoms. After learning, their norms are at most 1.
    alpha : float
        The sparsity penalty.
    n_steps : int
        The number of batches that were used.
    converged : bool
        Whether the dictionary stopped changing, or its cost stopped improving, before all batches
        were used.
    lasso_converged : bool
        Whether every lasso, of a batch or of the maps, reached its tolerance.
    n_reseeded : int
        How many times an unused atom was replaced by the sample of a voxel.
    n_empty : int
        The number of maps that are 0 everywhere. They are kept.
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
    """Return a first dictionary: maps fitted to the rows by least squares.

    nilearn scales each *row* of the data to unit norm over the atoms. This makes atoms longer than
    1 (√(rows / components) on average) and depends on how the rows are rotated. The length is what
    helps: the codes of the first batches are less sparse, so that no atom falls out of use before
    it has been improved, and the first updates bring the lengths back to 1. Here, all atoms have
    the same length, however the rows are rotated (docs/decisions/0009-dictionary-learning.md has
    the numbers).

    Parameters
    ----------
    maps : ndarray, shape (n_components, n_voxels)
        Maps of any scale and sign. An empty map gives an empty atom, which learning replaces.
    rows : ndarray of float32, shape (n_rows, n_voxels)
        The rows that the dictionary is for.

    Returns
    -------
    ndarray, shape (n_components, n_rows)
    """
    gram, cross = products(maps, maps), products(maps, rows)
    scale = np.sqrt(np.diag(gram))
    scale[scale == 0] = 1.0
    # The ridge keeps the system regular where maps are empty or nearly the same.
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
    """Fit sparse maps to rows by online dictionary learning.

    Minimises ½‖rowsᵀ − codes · dictionary‖² + alpha ‖codes‖₁ over codes and atoms of norm 1 or
    less.

    Parameters
    ----------
    rows : ndarray of float32, shape (n_rows, n_voxels)
        The rows of all runs, scaled by their singular values, or those of the group's subspace:
        only their inner products with atoms are used, so that a rotation does not change the maps.
    dictionary : ndarray, shape (n_components, n_rows)
        The first dictionary, as `first_dictionary` returns it.
    alpha : float
        The penalty on the L1 norm of the maps, in the units of the rows (as in nilearn).
    batch_size : int
        The number of voxels in one batch.
    n_epochs : int
        The largest number of passes over the voxels. The dictionary settles within two or three
        passes where a batch is small compared with the number of voxels.
    seed : int
        The seed of the order of voxels and of the samples that replace unused atoms.
    n_threads : int
        The number of threads. The result does not depend on it.

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
    # numpy's legacy generator, so that the numbers drawn are those of scikit-learn.
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
    """Replace an unused atom by a sample of the batch, with a little noise."""
    state = learner.state
    sample = samples[batch[random.choice(len(batch))]].astype(np.float64)
    deviation = _NOISE_OF_NEW_ATOM * (float(sample.std()) or 1.0)
    sample += random.normal(0, deviation, size=len(sample))
    sample /= max(float(np.linalg.norm(sample)), 1.0)
    atom = learner.dictionary[state["atom"]]
    state["squared_change"] += np.sum((sample - atom) ** 2)
    atom[:] = sample
    state["atom"] += 1
