"""Taking components out of a run's own image, as it was preprocessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

# Volumes whose products are formed at once: a bound of memory, float64 of a few volumes.
_VOLUMES_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class ComponentRegression:
    """What is taken out of each volume: ``courses[volume] @ effects``.

    Parameters
    ----------
    courses : ndarray of float32, shape (n_kept, n_removed)
    effects : ndarray of float32, shape (n_removed, n_voxels)
    """

    courses: NDArray[np.float32]
    effects: NDArray[np.float32]


def fit_component_regression(
    volumes: Iterable[NDArray[np.float32]],
    courses: NDArray[np.float64],
    removed: tuple[int, ...],
    *,
    aggressive: bool,
) -> ComponentRegression:
    """Find what some components put into every voxel of an image.

    Parameters
    ----------
    volumes : iterable of ndarray of float32, each (n_voxels,)
        The volumes kept, in their order, as preprocessed: neither cleaned nor smoothed.
    courses : ndarray, shape (n_kept, n_components)
        Time courses of all components. Cleaning made them orthogonal to the constant, the trends
        and the confounds, which are therefore left in the image as they are.
    removed : tuple of int
        Which components are taken out.
    aggressive : bool
        Whether all that their time courses explain is taken out, rather than only what they explain
        beside all other components (as FSL's ``fsl_regfilt`` does with and without ``-a``).

    Returns
    -------
    Removal
    """
    columns = list(removed)
    model = courses[:, columns] if aggressive else courses
    across = np.ascontiguousarray(model.T, dtype=np.float32)
    cross = _products(volumes, across)
    effects = np.linalg.pinv(model.T @ model, hermitian=True) @ cross
    mine = effects if aggressive else effects[columns]
    return ComponentRegression(courses[:, columns].astype(np.float32), mine.astype(np.float32))


def _products(
    volumes: Iterable[NDArray[np.float32]], across: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give time courses times volumes, some volumes at a time.

    The first volume is taken off all of them, which changes nothing and keeps numbers small.
    """
    stream = iter(volumes)
    total, first, start = None, None, 0
    while batch := [volume.copy() for volume in islice(stream, _VOLUMES_AT_ONCE)]:
        first = batch[0].copy() if first is None else first
        block = np.stack(batch) - first
        # What is not finite in the image says nothing of the components.
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        part = across[:, start : start + len(block)] @ block
        total = part if total is None else total + part
        start += len(block)
    assert total is not None  # noqa: S101  a run has volumes
    return np.asarray(total)


def regressed_volumes(
    volumes: Iterable[NDArray[np.float32]], kept: NDArray[np.intp], removal: ComponentRegression
) -> Iterator[NDArray[np.float32]]:
    """Take components out of an image, volume by volume.

    Parameters
    ----------
    volumes : iterable of ndarray of float32, each (n_voxels,)
        All volumes of the image.
    kept : ndarray of int, shape (n_kept,)
        Which of them the time courses stand for.
    removal : Removal

    Yields
    ------
    ndarray of float32, shape (n_voxels,)
        Volumes that were dropped are left as they are: nothing is known of them.
    """
    position = {int(volume): index for index, volume in enumerate(kept)}
    for number, values in enumerate(volumes):
        index = position.get(number)
        yield values if index is None else values - removal.courses[index] @ removal.effects
