"""What takes the values of a run while it is read: packed, or as they are."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.packed import PackedSeries


class Sink(Protocol):
    """Takes smoothed values."""

    def put_rows(self, start: int, rows: NDArray[np.float32], volumes: NDArray[np.intp]) -> None:
        """Take a block of features, (n_block, n_volumes)."""

    def put_volume(self, index: int, values: NDArray[np.float32], *, is_empty: bool) -> None:
        """Take a volume, (n_features,)."""

    def set_to_zero(self, features: NDArray[np.bool_]) -> None:
        """Set features without data to 0."""

    def restart(self) -> None:
        """Forget what was taken: all of it will come again."""


class Packing:
    """Packs values: see `Sink` for the methods."""

    def __init__(self, n_volumes: int, n_features: int) -> None:
        self.packed = PackedSeries(n_volumes, n_features)

    def put_rows(self, start: int, rows: NDArray[np.float32], volumes: NDArray[np.intp]) -> None:
        """Pack a block of features."""
        self.packed.put_block(start, np.ascontiguousarray(rows[:, volumes].T), volumes)

    def put_volume(self, index: int, values: NDArray[np.float32], *, is_empty: bool) -> None:
        """Pack a volume, unless it is empty."""
        if not is_empty:
            self.packed.volume[:] = values
            self.packed.put(index)

    def set_to_zero(self, features: NDArray[np.bool_]) -> None:
        """Set features to 0."""
        self.packed.set_to_zero(features)

    def restart(self) -> None:
        """Begin with a new first volume: values are stored as differences from it."""
        self.packed = PackedSeries(*self.packed.shape)


class Collecting:
    """Keeps values as float32: see `Sink` for the methods."""

    def __init__(self, n_volumes: int, n_features: int) -> None:
        self.series = np.empty((n_volumes, n_features), dtype=np.float32)

    def put_rows(self, start: int, rows: NDArray[np.float32], _: NDArray[np.intp]) -> None:
        """Keep a block of features, in empty volumes, too."""
        self.series[:, start : start + len(rows)] = rows.T

    def put_volume(self, index: int, values: NDArray[np.float32], *, is_empty: bool) -> None:  # noqa: ARG002  all volumes are kept
        """Keep a volume, also if it is empty."""
        self.series[index] = values

    def set_to_zero(self, features: NDArray[np.bool_]) -> None:
        """Set features to 0."""
        self.series[:, features] = 0

    def restart(self) -> None:
        """Do nothing: all is overwritten."""
