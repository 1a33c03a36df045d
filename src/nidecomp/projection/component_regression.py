"""Component regression: regress components out of a run's preprocessed image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

# The number of volumes that are multiplied with the time courses at once. It bounds memory.
_VOLUMES_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class ComponentRegression:
    """The fit of the components that are regressed out: ``courses[volume] @ effects``.

    Parameters
    ----------
    courses : ndarray of float32, shape (n_kept, n_removed)
        The time courses of these components, at the volumes kept.
    effects : ndarray of float32, shape (n_removed, n_voxels)
        Their regression coefficients in each voxel, in the units of the image.
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
    """Fit the components that are regressed out to every voxel of an image.

    Parameters
    ----------
    volumes : iterable of ndarray of float32, each (n_voxels,)
        The volumes kept, in their order, as preprocessed: neither cleaned nor smoothed.
    courses : ndarray, shape (n_kept, n_components)
        The time courses of all components. Cleaning made them orthogonal to the constant, the
        trends and the confounds, which therefore remain in the image.
    removed : tuple of int
        The indices of the components to regress out.
    aggressive : bool
        Whether to remove all variance that their time courses explain. Otherwise, the variance that
        they share with the other components remains (FSL's ``fsl_regfilt`` with and without
        ``-a``).

    Returns
    -------
    ComponentRegression
    """
    columns = list(removed)
    model = courses[:, columns] if aggressive else courses
    across = np.ascontiguousarray(model.T, dtype=np.float32)
    cross = _products(volumes, across)
    effects = np.linalg.pinv(model.T @ model, hermitian=True) @ cross
    of_removed = effects if aggressive else effects[columns]
    return ComponentRegression(
        courses[:, columns].astype(np.float32), of_removed.astype(np.float32)
    )


def _products(
    volumes: Iterable[NDArray[np.float32]], across: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the product of time courses and volumes, computed for a few volumes at a time.

    The first volume is subtracted from all of them. This keeps the numbers small, and it does not
    change the product, because time courses have a mean of 0.
    """
    stream = iter(volumes)
    total, first, start = None, None, 0
    while batch := [volume.copy() for volume in islice(stream, _VOLUMES_AT_ONCE)]:
        first = batch[0].copy() if first is None else first
        block = np.stack(batch) - first
        # Values that are not finite are ignored.
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        part = across[:, start : start + len(block)] @ block
        total = part if total is None else total + part
        start += len(block)
    assert total is not None  # noqa: S101  a run has volumes
    return np.asarray(total)


def regressed_volumes(
    volumes: Iterable[NDArray[np.float32]], kept: NDArray[np.intp], removal: ComponentRegression
) -> Iterator[NDArray[np.float32]]:
    """Yield the volumes of an image with components regressed out.

    Parameters
    ----------
    volumes : iterable of ndarray of float32, each (n_voxels,)
        All volumes of the image.
    kept : ndarray of int, shape (n_kept,)
        The indices of the volumes that the time courses were computed for.
    removal : ComponentRegression

    Yields
    ------
    ndarray of float32, shape (n_voxels,)
        Volumes that were not kept are unchanged, because they have no time courses.
    """
    position = {int(volume): index for index, volume in enumerate(kept)}
    for number, values in enumerate(volumes):
        index = position.get(number)
        yield values if index is None else values - removal.courses[index] @ removal.effects
