"""Dictionary learning: sparse maps, started from CanICA's.

Mairal et al. (2010), Online learning for matrix factorization and sparse coding, JMLR 11:19, and
Mensch et al. (2016), Compressed online dictionary learning for fast resting-state fMRI
decomposition, ISBI, doi:10.1109/ISBI.2016.7493501. Step for step it is scikit-learn's
``MiniBatchDictionaryLearning(fit_algorithm="cd")``, with the loops compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nidecomp.compiled import compiled
from nidecomp.group.sparse_coding import encode, inner_products, lasso
from nidecomp.linalg import blocks

# When learning ends; all are scikit-learn's. The change of the dictionary (Frobenius norm by the
# number of atoms) in one step that counts as settled.
_SETTLED = 1e-3
# Steps in a row without a new lowest average cost.
_MAX_STEPS_WITHOUT_IMPROVEMENT = 10
# Steps, or one pass over the voxels, before which the cost is no guide.
_FIRST_STEPS = 100
# The mean square of an atom's codes below which it has fallen out of use (as in spams).
_UNUSED = 1e-6
# The noise that is added to a sample which becomes an atom, as a share of its deviation.
_NOISE_OF_NEW_ATOM = 0.01


@dataclass(frozen=True, eq=False)
class DictionaryFit:
    """How dictionary learning went.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_components, n_voxels)
        The voxels' codes: unsigned, unordered, unscaled.
    dictionary : ndarray, shape (n_components, n_rows)
        The atoms; none is longer than 1.
    alpha : float
    n_steps : int
        Batches that were taken.
    converged : bool
        The dictionary settled, or the cost stopped improving, before the batches were used up.
    lasso_converged : bool
        Every lasso, of a batch or of the maps, reached its tolerance.
    n_reseeded : int
        How many times an atom had fallen out of use and was replaced by a voxel's sample.
    n_empty : int
        Maps without a single value: counted, never hidden.
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
    gram = np.zeros((len(maps), len(maps)))
    products = np.zeros((len(maps), len(rows)))
    for block in blocks(rows.shape[1]):
        part = maps[:, block].astype(np.float64)
        gram += part @ part.T
        products += part @ rows[:, block].T.astype(np.float64)
    # The ridge keeps maps that are all zero or alike from making the system singular.
    ridge = 1e-8 * np.trace(gram) / len(gram) * np.eye(len(gram))
    loadings = np.linalg.solve(gram + ridge, products)
    norms = np.linalg.norm(loadings, axis=0, keepdims=True)
    return np.asarray(loadings / np.where(norms == 0, 1.0, norms))


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
    samples = np.ascontiguousarray(rows.T, dtype=np.float32)
    learnt = _learn_dictionary(samples, dictionary, alpha, batch_size, n_epochs, seed)
    maps, n_unfinished = encode(samples, learnt.dictionary, alpha, n_threads)
    return DictionaryFit(
        maps=maps,
        dictionary=learnt.dictionary,
        alpha=alpha,
        n_steps=int(learnt.state["step"]),
        converged=bool(learnt.state["settled"]),
        lasso_converged=n_unfinished + int(learnt.state["unfinished"]) == 0,
        n_reseeded=int(learnt.state["reseeded"]),
        n_empty=int(np.count_nonzero(~maps.any(axis=1))),
    )


# ---------------------------------------------------------------- learning the dictionary
_State = np.dtype(
    [
        ("step", np.int64),
        ("atom", np.int64),
        ("cost", np.float64),
        ("squared_change", np.float64),
        ("average_cost", np.float64),
        ("lowest_cost", np.float64),
        ("no_improvement", np.int64),
        ("unfinished", np.int64),
        ("reseeded", np.int64),
        ("settled", np.bool_),
    ]
)


class _Model(NamedTuple):
    dictionary: NDArray[np.float64]
    usage: NDArray[np.float64]
    weighted: NDArray[np.float64]
    state: Any


def _learn_dictionary(
    samples: NDArray[np.float32],
    dictionary: NDArray[np.float64],
    alpha: float,
    batch_size: int,
    n_epochs: int,
    seed: int,
) -> _Model:
    n_voxels = len(samples)
    batch_size = min(batch_size, n_voxels)
    n_steps = n_epochs * -(-n_voxels // batch_size)
    random = np.random.RandomState(seed)
    order = np.arange(n_voxels)
    random.shuffle(order)
    state = np.zeros(1, dtype=_State)[0]
    state["average_cost"] = state["lowest_cost"] = np.inf
    model = _Model(
        np.array(dictionary, dtype=np.float64, order="C"),
        np.zeros((len(dictionary), len(dictionary))),
        np.zeros(dictionary.shape),
        state,
    )
    while _learn(samples, order, model, float(alpha), batch_size, n_steps):
        _reseed(samples, order, model, batch_size, random)
    return model


def _reseed(samples, order, model, batch_size, random) -> None:
    state = model.state
    first, last = _batch(state["step"], batch_size, len(samples))
    sample = samples[order[first + random.choice(last - first)]].astype(np.float64)
    noise = random.normal(0, _NOISE_OF_NEW_ATOM * (sample.std() or 1), size=len(sample))
    fresh = sample + noise
    fresh /= max(np.linalg.norm(fresh), 1.0)
    atom = model.dictionary[state["atom"]]
    state["squared_change"] += np.sum((fresh - atom) ** 2)
    atom[:] = fresh
    state["atom"] += 1
    state["reseeded"] += 1


@compiled
def _learn(samples, order, model, alpha, batch_size, n_steps):
    state = model.state
    while state["step"] < n_steps and not state["settled"]:
        first, last = _batch(state["step"], batch_size, len(samples))
        if state["atom"] == 0:
            _take_batch(samples, order[first:last], model, alpha)
        _improve_atoms(model)
        if state["atom"] < len(model.dictionary):
            return True
        _end_step(state, len(model.dictionary), last - first, len(samples))
    return False


@compiled
def _batch(step, batch_size, n_voxels):
    n_batches = -(-n_voxels // batch_size)
    first = (step % n_batches) * batch_size
    return first, min(first + batch_size, n_voxels)


@compiled
def _take_batch(samples, batch, model, alpha):
    dictionary, usage, weighted, state = model
    n_atoms, n_rows = dictionary.shape
    size = len(batch)
    gram = _gram(dictionary)
    step = state["step"]
    theta = (step + 1.0) * size if step < size - 1 else size**2 + step + 1.0 - size
    keep = (theta + 1 - size) / (theta + 1)
    for atom in range(n_atoms):
        for other in range(n_atoms):
            usage[atom, other] *= keep
        for row in range(n_rows):
            weighted[atom, row] *= keep
    code, products, slopes = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms)
    cost = 0.0
    for voxel in batch:
        sample = samples[voxel]
        inner_products(dictionary, sample, products)
        if not lasso(gram, products, alpha, code, slopes):
            state["unfinished"] += 1
        total = 0.0
        for row in range(n_rows):
            total += np.float64(sample[row]) * np.float64(sample[row])
        cost += 0.5 * total
        for atom in range(n_atoms):
            value = code[atom]
            if value == 0.0:
                continue
            cost += alpha * abs(value) - 0.5 * value * (products[atom] + slopes[atom])
            value /= size
            for other in range(n_atoms):
                usage[atom, other] += value * code[other]
            for row in range(n_rows):
                weighted[atom, row] += value * sample[row]
    state["cost"] = cost / size


@compiled
def _gram(dictionary):
    n_atoms, n_rows = dictionary.shape
    gram = np.empty((n_atoms, n_atoms))
    for atom in range(n_atoms):
        for other in range(atom + 1):
            total = 0.0
            for row in range(n_rows):
                total += dictionary[atom, row] * dictionary[other, row]
            gram[atom, other] = gram[other, atom] = total
    return gram


@compiled
def _improve_atoms(model):
    dictionary, usage, weighted, state = model
    n_atoms, n_rows = dictionary.shape
    fresh = np.empty(n_rows)
    for atom in range(state["atom"], n_atoms):
        state["atom"] = atom
        power = usage[atom, atom]
        if not power > _UNUSED:
            return
        for row in range(n_rows):
            fresh[row] = weighted[atom, row]
        for other in range(n_atoms):
            shared = usage[atom, other]
            if shared != 0.0:
                for row in range(n_rows):
                    fresh[row] -= shared * dictionary[other, row]
        squared = 0.0
        for row in range(n_rows):
            fresh[row] = dictionary[atom, row] + fresh[row] / power
            squared += fresh[row] * fresh[row]
        length = max(np.sqrt(squared), 1.0)
        change = 0.0
        for row in range(n_rows):
            value = fresh[row] / length
            change += (value - dictionary[atom, row]) ** 2
            dictionary[atom, row] = value
        state["squared_change"] += change
    state["atom"] = n_atoms


@compiled
def _end_step(state, n_atoms, size, n_voxels):
    state["step"] += 1
    state["atom"] = 0
    change = np.sqrt(state["squared_change"]) / n_atoms
    state["squared_change"] = 0.0
    if state["step"] <= min(_FIRST_STEPS, n_voxels / size):
        return
    if state["average_cost"] == np.inf:
        state["average_cost"] = state["cost"]
    else:
        share = min(size / (n_voxels + 1), 1.0)
        state["average_cost"] = state["average_cost"] * (1 - share) + state["cost"] * share
    if change <= _SETTLED:
        state["settled"] = True
        return
    if state["average_cost"] < state["lowest_cost"]:
        state["lowest_cost"] = state["average_cost"]
        state["no_improvement"] = 0
    else:
        state["no_improvement"] += 1
    if state["no_improvement"] >= _MAX_STEPS_WITHOUT_IMPROVEMENT:
        state["settled"] = True
