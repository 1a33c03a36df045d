"""What is compared, as it comes from the projection: files of maps, and arrays of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RowFiles:
    """The maps of one row of the design.

    Parameters
    ----------
    plus : Path
        A ``.npy`` file of float32, (n_components, n_features). A feature where the participant has
        no data is 0, or not finite, in all components.
    minus : Path or None
        The file of the maps that are subtracted (``--within``), of the same shape.
    """

    plus: Path
    minus: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """One or both files."""
        return (self.plus,) if self.minus is None else (self.plus, self.minus)

    def read(self, component: int, features: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return one map, or the difference of both, at some features, shape (n,)."""
        values, *minus = (np.load(path, mmap_mode="r")[component][features] for path in self.paths)
        return np.asarray(values - minus[0] if minus else values)

    def has_data(self) -> NDArray[np.bool_]:
        """Return at which features there are data, shape (n_features,)."""
        found = [_has_data(np.load(path, mmap_mode="r")) for path in self.paths]
        return np.asarray(np.logical_and.reduce(found))


def _has_data(maps: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which features are finite everywhere and not 0 in all maps; one map at a time."""
    is_finite = np.ones(maps.shape[1], dtype=np.bool_)
    has_value = np.zeros(maps.shape[1], dtype=np.bool_)
    for one in maps:
        is_finite &= np.isfinite(one)
        has_value |= one != 0
    return is_finite & has_value


@dataclass(frozen=True, eq=False)
class DecompositionData:
    """What is compared of one decomposition.

    Parameters
    ----------
    families : tuple of int
        The components that are compared, ascending: those without a noise flag.
    paths : tuple of RowFiles
        The maps of each row of the design; empty where maps are not compared.
    amplitudes : ndarray of float64, shape (n_people, n_compared), or None
        None where amplitudes are not compared.
    edges : mapping
        Kind of connectome to an array of float64, (n_people, n_edges), whose columns are in the
        order of ``numpy.triu_indices(n_compared, 1)``; empty where connectomes are not compared.
    name : str
        What the decomposition is called in messages, such as ``canica20``.
    """

    families: tuple[int, ...]
    paths: tuple[RowFiles, ...] = ()
    amplitudes: NDArray[np.float64] | None = None
    edges: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    name: str = ""
