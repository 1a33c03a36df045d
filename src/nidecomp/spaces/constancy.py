"""Finding volumes and features without data: all of their values are the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.linalg import evenly_spaced

# Values of a volume that are looked at first: in a brain that was scanned they differ.
_N_PROBED = 64


def _values(stored: NDArray[np.generic], scaling: tuple[float, float]) -> NDArray[np.float32]:
    """Return the values of stored numbers, as float32, in which they are used."""
    slope, inter = scaling
    with np.errstate(over="ignore", invalid="ignore"):
        values = (stored.astype(np.float64) * slope + inter).astype(np.float32)
    values[~np.isfinite(values)] = 0
    return values


class Probe:
    """Finds volumes without signal: all values are the same; one that is not finite counts as 0.

    A few values are looked at first, so that a volume with signal costs nothing measurable.

    Parameters
    ----------
    where : ndarray of bool, of the shape of a volume
        What to look at.
    scaling : two floats
        Slope and intercept that make values of stored numbers.
    """

    def __init__(self, where: NDArray[np.bool_], scaling: tuple[float, float]) -> None:
        places = np.flatnonzero(where)
        self._where, self._scaling = where, scaling
        self._few = places[evenly_spaced(len(places), _N_PROBED)]
        # A single voxel has always the same value as itself.
        self._can_tell = len(places) > 1

    def finds_nothing_in(self, volume: NDArray[np.generic]) -> bool:
        """Return whether a volume of stored numbers is empty."""
        return (
            self._can_tell
            and self._is_constant(volume.reshape(-1)[self._few])
            and self._is_constant(volume[self._where])
        )

    def _is_constant(self, stored: NDArray[np.generic]) -> bool:
        values = _values(stored, self._scaling)
        return bool((values == values[0]).all())


class Constancy:
    """Finds features whose value is the same in all volumes; one that is not finite counts as 0.

    In each volume, only those are looked at that were the same in all volumes before: after a few,
    those without data.

    Parameters
    ----------
    where : ndarray of bool, of the shape of a volume
        What to look at.
    scaling : two floats
        Slope and intercept that make values of stored numbers.
    """

    def __init__(self, where: NDArray[np.bool_], scaling: tuple[float, float]) -> None:
        self._shape, self._scaling = where.shape, scaling
        self._places = np.flatnonzero(where)
        self._first: NDArray[np.float32] | None = None
        self._n_volumes = 0

    def add(self, volume: NDArray[np.generic]) -> None:
        """Compare a volume of stored numbers with the first one."""
        values = _values(volume.reshape(-1)[self._places], self._scaling)
        if self._first is None:
            self._first = values
        else:
            same = values == self._first
            self._places, self._first = self._places[same], self._first[same]
        self._n_volumes += 1

    def constant(self) -> NDArray[np.bool_]:
        """Return where values were the same; nowhere if there was one volume."""
        constant = np.zeros(self._shape, dtype=np.bool_)
        if self._n_volumes > 1:
            constant.reshape(-1)[self._places] = True
        return constant
