"""Series with 20 bits per value, for runs that are read once and then used block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.compiled import compiled

# Features per block, which share a scale in each volume. With 150 volumes, a block fits in the
# processor's cache. Fixed, because it determines rounding and the order of summation.
BLOCK = 2048
_HALF = BLOCK // 2
# The largest whole number of 20 bits with a sign.
_LARGEST = 2**19 - 1
_MIDDLE = 2**19


class PackedSeries:
    """Deviations of a series from its first volume, as whole numbers of 20 bits.

    Each block of features in each volume has a scale of its own: the largest deviation. Rounding
    errors are at most 1e-6 of it, as those of float32 are for values with a baseline of ten times
    the deviations. (With 16 bits, they would be 16 times as large, and where singular values are
    close to each other, subspaces would turn by more than 1e-4.)

    Parameters
    ----------
    n_volumes, n_features : int

    Attributes
    ----------
    volume : ndarray of float32, shape (n_features,)
        A buffer. `put` stores what it contains.
    """

    def __init__(self, n_volumes: int, n_features: int) -> None:
        n_blocks = -(-n_features // BLOCK)
        self.volume = np.zeros(n_features, dtype=np.float32)
        self._first: NDArray[np.float32] | None = None
        # The upper 16 bits of each number. The lower 4 of two numbers share a byte: in each block,
        # those of the first half, and 16 times those of the second half.
        self._high = np.empty((n_volumes, n_features), dtype=np.int16)
        self._low = np.empty((n_volumes, n_blocks * _HALF), dtype=np.uint8)
        self._scales = np.zeros((n_volumes, n_blocks), dtype=np.float32)
        self._is_zero = np.zeros(n_features, dtype=np.bool_)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of volumes and features."""
        n_volumes, n_features = self._high.shape
        return n_volumes, n_features

    @property
    def nbytes(self) -> int:
        """The memory that the numbers take."""
        return self._high.nbytes + self._low.nbytes + self._scales.nbytes

    def put(self, index: int) -> None:
        """Store the volume in the buffer. The first one that is stored is the baseline."""
        if self._first is None:
            self._first = self.volume.copy()
        _pack(self.volume, self._first, self._high[index], self._low[index], self._scales[index])

    def put_block(self, start: int, values: NDArray[np.float32], volumes: NDArray[np.intp]) -> None:
        """Store a block of features in all volumes at once, as `put` does volume by volume.

        Parameters
        ----------
        start : int
            The first feature of the block: a multiple of `BLOCK`.
        values : ndarray of float32, shape (n_stored, n_block)
            As many features as a block has, or those of the last block.
        volumes : ndarray of int, shape (n_stored,)
            The indices of these volumes, the same in all calls. The first one is the baseline.
        """
        if self._first is None:
            self._first = np.zeros(self._high.shape[1], dtype=np.float32)
        if not len(volumes):
            return
        self._first[start : start + values.shape[1]] = values[0]
        _pack_block(values, volumes, start, self._high, self._low, self._scales)

    def set_to_zero(self, features: NDArray[np.bool_]) -> None:
        """Set some features to 0 in all volumes."""
        self._is_zero |= features

    def without(self, volumes: Sequence[int]) -> PackedSeries:
        """Return the series without some volumes, in the same memory."""
        for array in (self._high, self._low, self._scales):
            move_rows(array, volumes)
        n_left = len(self._high) - len(volumes)
        self._high, self._low = self._high[:n_left], self._low[:n_left]
        self._scales = self._scales[:n_left]
        return self

    def deviations(self, features: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the deviations of a block of features from their first values.

        Parameters
        ----------
        features : slice
            A block of `BLOCK` features, or the last one.

        Returns
        -------
        block : ndarray of float32, shape (n_volumes, n_block)
        largest : ndarray of float32, shape (n_block,)
            The largest numbers of which rounding errors of each feature are a fraction.
        """
        n_block = features.stop - features.start
        block = np.empty((len(self._high), n_block), dtype=np.float32)
        number = features.start // BLOCK
        _unpack(self._high, self._low, self._scales, number, block)
        block[:, self._is_zero[features]] = 0
        baseline = np.zeros(n_block) if self._first is None else np.abs(self._first[features])
        rounded = _LARGEST * self._scales[:, number].max(initial=0)
        return block, (baseline + rounded).astype(np.float32)

    def values(self) -> NDArray[np.float32]:
        """Return all values in float32, which takes 1.6 times the memory."""
        found = np.empty(self.shape, dtype=np.float32)
        for start in range(0, self.shape[1], BLOCK):
            features = slice(start, min(start + BLOCK, self.shape[1]))
            found[:, features], _ = self.deviations(features)
        if self._first is not None:
            found += np.where(self._is_zero, 0, self._first)
        return found


def pack(series: NDArray[np.float32], empty: Sequence[int] = ()) -> PackedSeries:
    """Return a series in 20 bits per value.

    Parameters
    ----------
    series : ndarray of float32, shape (n_volumes, n_features)
    empty : sequence of int
        Volumes that mean nothing, and are left out: they will be dropped.

    Returns
    -------
    PackedSeries
    """
    packed = PackedSeries(*series.shape)
    for index in np.delete(np.arange(len(series)), list(empty)):
        packed.volume[:] = series[index]
        packed.put(int(index))
    return packed


def move_rows(array: NDArray[np.generic], dropped: Sequence[int]) -> None:
    """Move the rows that are left to the top, in the same memory: a copy may not fit beside it."""
    left = np.delete(np.arange(len(array)), list(dropped))
    for to, row in enumerate(left):
        if to != row:
            array[to] = array[row]


# ---------------------------------------------------------------- compiled loops
@compiled
def _pack(
    values: NDArray[np.float32],
    first: NDArray[np.float32],
    high: NDArray[np.int16],
    low: NDArray[np.uint8],
    scales: NDArray[np.float32],
) -> None:
    deviations = np.empty(BLOCK, np.float32)
    bits = deviations.view(np.int32)
    whole = np.empty(BLOCK, np.int32)
    for number in range(len(scales)):
        start = number * BLOCK
        size = min(BLOCK, len(values) - start)
        source, baseline = values[start : start + size], first[start : start + size]
        # Without their signs, floats have the order of their bits; the maximum of whole numbers
        # needs no care for NaN, so that the vector units can find it.
        largest = np.int32(0)
        for column in range(size):
            deviations[column] = source[column] - baseline[column]
            largest = max(largest, bits[column] & np.int32(0x7FFFFFFF))
        bits[0], kept = largest, bits[0]
        scale = deviations[0] / np.float32(_LARGEST)
        bits[0] = kept
        scales[number] = scale
        per_scale = np.float32(1.0) / scale if scale > 0 else np.float32(0.0)
        # Positive numbers, half a step up: leaving out the fraction then rounds to the nearest.
        for column in range(size):
            whole[column] = np.int32(deviations[column] * per_scale + np.float32(_MIDDLE + 0.5))
        upper, lower = high[start : start + size], low[number * _HALF : (number + 1) * _HALF]
        for column in range(size):
            upper[column] = (whole[column] >> 4) - (_MIDDLE >> 4)
        whole[size:] = 0
        for column in range(_HALF):
            lower[column] = (whole[column] & 15) | ((whole[column + _HALF] & 15) << 4)


@compiled
def _pack_block(
    values: NDArray[np.float32],
    volumes: NDArray[np.intp],
    start: int,
    high: NDArray[np.int16],
    low: NDArray[np.uint8],
    scales: NDArray[np.float32],
) -> None:
    number, stop = start // BLOCK, start + values.shape[1]
    for row, volume in enumerate(volumes):
        _pack(
            values[row],
            values[0],
            high[volume, start:stop],
            low[volume, number * _HALF : (number + 1) * _HALF],
            scales[volume, number : number + 1],
        )


@compiled
def _unpack(
    high: NDArray[np.int16],
    low: NDArray[np.uint8],
    scales: NDArray[np.float32],
    number: int,
    block: NDArray[np.float32],
) -> None:
    start, size = number * BLOCK, block.shape[1]
    half = min(size, _HALF)
    for row in range(len(block)):
        upper, lower = high[row, start : start + size], low[row, number * _HALF :]
        scale, result = scales[row, number], block[row]
        for column in range(half):
            whole = (np.int32(upper[column]) << 4) | np.int32(lower[column] & 15)
            result[column] = scale * np.float32(whole)
        second, upper_second = result[half:], upper[half:]
        for column in range(size - half):
            whole = (np.int32(upper_second[column]) << 4) | np.int32(lower[column] >> 4)
            second[column] = scale * np.float32(whole)
