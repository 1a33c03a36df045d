"""The compiled loops of dictionary learning: sparse codes, and the online steps of a dictionary.

A voxel's code is the solution of a lasso, by coordinate descent on the Gram matrix of the atoms
(Friedman, Hastie & Tibshirani 2010, Regularization paths for generalized linear models via
coordinate descent, Journal of Statistical Software 33:1). The dictionary's steps are those of
Mairal et al. (2010), Online learning for matrix factorization and sparse coding, JMLR 11:19, as
scikit-learn's ``MiniBatchDictionaryLearning`` does them.

All loops that call each other are in this file: the compiler's cache does not see that a function
from another file has changed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.compiled import compiled
from nidecomp.core.linalg import blocks
from nidecomp.core.parallel import map_ordered

# A lasso has converged when a sweep over all coordinates moves none of the atoms' inner products
# with the residual by more than this share of the largest one.
_LASSO_TOLERANCE = 1e-9
# scikit-learn's limit; it is met where atoms are nearly alike and the penalty is weak.
_MAX_SWEEPS = 1000

# As in scikit-learn: an atom is unused if the mean square of its codes is at most this.
_UNUSED = 1e-6
# The change of the dictionary in one step (Frobenius norm by the number of atoms) that ends it.
_SETTLED = 1e-3
# So does this number of steps in a row without a new lowest average cost,
_MAX_STEPS_WITHOUT_GAIN = 10
# but not in so many first steps, or in the first pass over the voxels if that is shorter.
_FIRST_STEPS = 100

# Voxels in one block of a thread's work. They are coded one by one: it changes no byte.
_BLOCK = 2048


# ---------------------------------------------------------------- codes
def encode(
    samples: NDArray[np.float32],
    dictionary: NDArray[np.float64],
    alpha: float,
    n_threads: int = 1,
) -> tuple[NDArray[np.float32], int]:
    """Code every voxel: minimise ½‖sample − code · dictionary‖² + alpha ‖code‖₁.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_voxels, n_rows), C-contiguous
    dictionary : ndarray, shape (n_components, n_rows), C-contiguous
    alpha : float
        0 or more.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    maps : ndarray of float32, shape (n_components, n_voxels)
        The codes.
    n_unfinished : int
        Voxels whose lasso met the limit of sweeps.
    """
    gram = _gram(dictionary)
    maps = np.empty((len(dictionary), len(samples)), dtype=np.float32)

    def encode_one(block: slice) -> int:
        return _encode_block(samples[block], dictionary, gram, float(alpha), maps[:, block])

    return maps, sum(map_ordered(encode_one, blocks(len(samples), _BLOCK), n_threads))


@compiled
def _encode_block(
    samples: NDArray[np.float32],
    dictionary: NDArray[np.float64],
    gram: NDArray[np.float64],
    alpha: float,
    maps: NDArray[np.float32],
) -> int:
    """Code some voxels into `maps`, (n_atoms, n_voxels); count those that did not converge."""
    n_atoms = len(dictionary)
    code, products, slopes = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms)
    n_unfinished = 0
    for voxel in range(len(samples)):
        _inner_products(dictionary, samples[voxel], products)
        if not lasso(gram, products, alpha, code, slopes):
            n_unfinished += 1
        for atom in range(n_atoms):
            maps[atom, voxel] = code[atom]
    return n_unfinished


@compiled
def lasso(
    gram: NDArray[np.float64],
    products: NDArray[np.float64],
    alpha: float,
    code: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> bool:
    """Minimise ½ cᵀ G c − pᵀ c + alpha ‖c‖₁ from c = 0.

    Sweeps visit the coordinates that are not 0 until these have settled, then all of them; it ends
    with a sweep over all of them that changes nothing that matters.

    Parameters
    ----------
    gram : ndarray, shape (n_atoms, n_atoms)
        Inner products of the atoms, G.
    products : ndarray, shape (n_atoms,)
        Inner products of the sample with the atoms, p.
    alpha : float
    code : ndarray, shape (n_atoms,)
        Out: c.
    slopes : ndarray, shape (n_atoms,)
        Out: p − G c, the inner products of the residual with the atoms.

    Returns
    -------
    bool
        Whether it converged.
    """
    largest = 0.0
    for atom in range(len(code)):
        code[atom] = 0.0
        slopes[atom] = products[atom]
        largest = max(largest, abs(products[atom]))
    over_all = True
    for _ in range(_MAX_SWEEPS):
        moved = 0.0
        for atom in range(len(code)):
            if over_all or code[atom] != 0.0:
                moved = max(moved, _descend(gram[atom], atom, alpha, code, slopes))
        settled = moved <= _LASSO_TOLERANCE * largest
        if settled and over_all:
            return True
        over_all = settled
    return False


@compiled
def _descend(
    gram_row: NDArray[np.float64],
    atom: int,
    alpha: float,
    code: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> float:
    """Minimise over one coordinate; return the change of its inner product with the residual."""
    power = gram_row[atom]
    if power == 0.0:
        return 0.0
    pull = slopes[atom] + power * code[atom]
    best = 0.0
    if pull > alpha:
        best = (pull - alpha) / power
    elif pull < -alpha:
        best = (pull + alpha) / power
    step = best - code[atom]
    if step != 0.0:
        code[atom] = best
        for other in range(len(code)):
            slopes[other] -= step * gram_row[other]
    moved: float = abs(step) * power
    return moved


@compiled
def _inner_products(
    dictionary: NDArray[np.float64], sample: NDArray[np.float32], products: NDArray[np.float64]
) -> None:
    """Compute ``dictionary @ sample`` in float64 into `products`."""
    for atom in range(len(dictionary)):
        weights = dictionary[atom]
        total = 0.0
        for row in range(len(sample)):
            total += weights[row] * sample[row]
        products[atom] = total


@compiled
def _gram(dictionary: NDArray[np.float64]) -> NDArray[np.float64]:
    n_atoms, n_rows = dictionary.shape
    gram = np.empty((n_atoms, n_atoms))
    for first in range(n_atoms):
        for second in range(first + 1):
            total = 0.0
            for row in range(n_rows):
                total += dictionary[first, row] * dictionary[second, row]
            gram[first, second] = gram[second, first] = total
    return gram


# ---------------------------------------------------------------- the dictionary's steps
class Learner(NamedTuple):
    """The state of a dictionary while it is learnt: averages over batches, and counters.

    Parameters
    ----------
    dictionary : ndarray, shape (n_atoms, n_rows)
    usage : ndarray, shape (n_atoms, n_atoms)
        Mean products of codes, older batches weighing less: A of Mairal et al.
    weighted : ndarray, shape (n_atoms, n_rows)
        Mean samples weighted by codes, likewise: B, transposed.
    state : numpy.void
        One record of `STATE`; the loops change it in place.
    """

    dictionary: NDArray[np.float64]
    usage: NDArray[np.float64]
    weighted: NDArray[np.float64]
    state: Any


STATE = np.dtype(
    [
        ("step", np.int64),  # batches that are done with
        ("atom", np.int64),  # the next atom to improve in this step
        ("cost", np.float64),  # of this batch: mean over its voxels
        ("squared_change", np.float64),  # of the dictionary in this step, so far
        ("average_cost", np.float64),  # over the batches, later ones weigh more; at first infinity
        ("lowest_cost", np.float64),  # the lowest average so far
        ("steps_without_gain", np.int64),  # since then
        ("n_unfinished", np.int64),  # lassos that met the limit of sweeps
        ("settled", np.bool_),
    ]
)


def new_learner(dictionary: NDArray[np.float64]) -> Learner:
    """Return the state for a copy of a first dictionary, shape (n_atoms, n_rows)."""
    state = np.zeros(1, dtype=STATE)[0]
    state["average_cost"] = state["lowest_cost"] = np.inf
    n_atoms = len(dictionary)
    start = np.array(dictionary, dtype=np.float64, order="C")
    return Learner(start, np.zeros((n_atoms, n_atoms)), np.zeros(start.shape), state)


@compiled
def learn(
    samples: NDArray[np.float32],
    order: NDArray[np.int64],
    learner: Learner,
    alpha: float,
    batch_size: int,
    n_steps: int,
) -> bool:
    """Process batches until the dictionary has converged or an atom is unused.

    Parameters
    ----------
    samples : ndarray of float32, shape (n_voxels, n_rows), C-contiguous
    order : ndarray of int64, shape (n_voxels,)
        The voxels in the order in which batches take them, over and over.
    learner : Learner
        Changed in place.
    alpha : float
    batch_size : int
        At most n_voxels.
    n_steps : int
        Batches in all.

    Returns
    -------
    bool
        True: atom ``state["atom"]`` is out of use. The caller replaces it, counts ``state["atom"]``
        up and calls again, which takes the step to its end. False: nothing is left to do.
    """
    state = learner.state
    n_atoms = len(learner.dictionary)
    while state["step"] < n_steps and not state["settled"]:
        first, last = batch_bounds(state["step"], batch_size, len(samples))
        if state["atom"] == 0:
            _take_batch(samples, order[first:last], learner, alpha)
        _improve_atoms(learner)
        if state["atom"] < n_atoms:
            return True
        _end_step(state, n_atoms, last - first, len(samples))
    return False


@compiled
def batch_bounds(step: int, batch_size: int, n_voxels: int) -> tuple[int, int]:
    """Return the first and last index of a batch in the order of voxels."""
    n_batches = (n_voxels - 1) // batch_size + 1
    first = (step % n_batches) * batch_size
    return first, min(first + batch_size, n_voxels)


@compiled
def _take_batch(
    samples: NDArray[np.float32], batch: NDArray[np.int64], learner: Learner, alpha: float
) -> None:
    """Code a batch of voxels and update the averages."""
    state = learner.state
    n_atoms = len(learner.dictionary)
    gram = _gram(learner.dictionary)
    keep = _share_kept(state["step"], len(batch))
    _scale(learner.usage, keep)
    _scale(learner.weighted, keep)
    code, products, slopes = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms)
    state["cost"] = 0.0
    for voxel in batch:
        sample = samples[voxel]
        _inner_products(learner.dictionary, sample, products)
        if not lasso(gram, products, alpha, code, slopes):
            state["n_unfinished"] += 1
        cost = 0.0
        for row in range(len(sample)):
            cost += 0.5 * np.float64(sample[row]) * np.float64(sample[row])
        for atom in range(n_atoms):
            if code[atom] != 0.0:
                # ‖x − cD‖² = ‖x‖² − cᵀ(Dx) − cᵀ(Dx − Gc)
                cost += alpha * abs(code[atom]) - 0.5 * code[atom] * (products[atom] + slopes[atom])
                _add_atom(learner, atom, code, sample, len(batch))
        state["cost"] += cost / len(batch)


@compiled
def _share_kept(step: int, size: int) -> float:
    """Return the weight of older batches when one of `size` voxels is added."""
    theta = (step + 1.0) * size if step < size - 1 else size * size + step + 1.0 - size
    return (theta + 1 - size) / (theta + 1)


@compiled
def _scale(matrix: NDArray[np.float64], factor: float) -> None:
    for values in matrix:
        for column in range(len(values)):
            values[column] *= factor


@compiled
def _add_atom(
    learner: Learner,
    atom: int,
    code: NDArray[np.float64],
    sample: NDArray[np.float32],
    size: int,
) -> None:
    """Update the averages of one atom by one of `size` voxels."""
    share = code[atom] / size
    usage, weighted = learner.usage[atom], learner.weighted[atom]
    for other in range(len(code)):
        usage[other] += share * code[other]
    for row in range(len(sample)):
        weighted[row] += share * sample[row]


@compiled
def _improve_atoms(learner: Learner) -> None:
    """Update the remaining atoms of this step one by one, up to an unused one."""
    state = learner.state
    fresh = np.empty(learner.dictionary.shape[1])
    while state["atom"] < len(learner.usage):
        atom = state["atom"]
        power = learner.usage[atom, atom]
        # "not >" and not "<=": where codes overflowed there is nothing to divide by, either.
        if not power > _UNUSED:
            return
        length = max(np.sqrt(_best_atom(learner, atom, power, fresh)), 1.0)
        current = learner.dictionary[atom]
        change = 0.0
        for row in range(len(fresh)):
            value = fresh[row] / length
            change += (value - current[row]) ** 2
            current[row] = value
        state["squared_change"] += change
        state["atom"] = atom + 1


@compiled
def _best_atom(learner: Learner, atom: int, power: float, fresh: NDArray[np.float64]) -> float:
    """Compute D_a + (B_a − A_a D) / A_aa into `fresh`; return its squared norm."""
    dictionary, usage, weighted, _ = learner
    for row in range(len(fresh)):
        fresh[row] = weighted[atom, row]
    for other in range(len(dictionary)):
        shared = usage[atom, other]
        if shared != 0.0:
            for row in range(len(fresh)):
                fresh[row] -= shared * dictionary[other, row]
    squared = 0.0
    for row in range(len(fresh)):
        fresh[row] = dictionary[atom, row] + fresh[row] / power
        squared += fresh[row] * fresh[row]
    return squared


@compiled
def _end_step(state: Any, n_atoms: int, size: int, n_voxels: int) -> None:
    """Count a step of `size` voxels and check convergence."""
    change = np.sqrt(state["squared_change"]) / n_atoms
    state["squared_change"] = 0.0
    state["atom"] = 0
    state["step"] += 1
    if state["step"] <= min(_FIRST_STEPS, n_voxels / size):
        return
    if state["average_cost"] == np.inf:
        state["average_cost"] = state["cost"]
    else:
        share = min(size / (n_voxels + 1), 1.0)
        state["average_cost"] = state["average_cost"] * (1 - share) + state["cost"] * share
    if state["average_cost"] < state["lowest_cost"]:
        state["lowest_cost"] = state["average_cost"]
        state["steps_without_gain"] = 0
    else:
        state["steps_without_gain"] += 1
    state["settled"] = change <= _SETTLED or state["steps_without_gain"] >= _MAX_STEPS_WITHOUT_GAIN
