"""Reading the series of grayordinates of a run, smoothed along the surface and within structures.

Of a dense series, the values of one grayordinate lie together: a structure is read and smoothed at
a time. Of GIFTI, volumes follow each other: some volumes of both hemispheres at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nidecomp.core.compiled import compiled
from nidecomp.core.errors import FailedRunError
from nidecomp.core.linalg import evenly_spaced
from nidecomp.core.packed import BLOCK
from nidecomp.spaces.brain_models import BrainModels, Kind, cortex_models
from nidecomp.spaces.cifti import CiftiFile, open_cifti
from nidecomp.spaces.constancy import Probe
from nidecomp.spaces.gifti import read_gifti_header, volumes_of
from nidecomp.spaces.records import PackedRun, RunSeries
from nidecomp.spaces.series_sinks import Collecting, Packing, Sink

# Grayordinates of a dense series that are read at once, and volumes of GIFTI that are smoothed at
# once.
_ROWS, N_AT_ONCE = 4096, 32
_N_PROBED = 64
# Beyond the field of view, fMRIPrep leaves zeros or what interpolation makes of them: changes that
# are smaller than this fraction of the usual ones are no signal. Of a dense series, so many
# grayordinates tell what is usual.
_NO_SIGNAL, _N_USUAL = 1e-4, 2048
_AS_STORED = (1.0, 0.0)


def kind_of(path: Path) -> Kind:
    """Return which kind of file a run, map or parcellation of grayordinates is."""
    return "gifti" if path.name.endswith(".gii") else "cifti"


def read_brain_models(path: Path) -> BrainModels:
    """Return the brain models of a run.

    Parameters
    ----------
    path : Path
        A dense series, or the left file of a pair of GIFTI files.

    Returns
    -------
    BrainModels

    Raises
    ------
    FailedRunError
        The file cannot be read.
    """
    if kind_of(path) == "cifti":
        return open_cifti(path).models
    return cortex_of(read_gifti_header(path).grid.n_numbers // 2)


@lru_cache(maxsize=4)
def cortex_of(n_vertices: int) -> BrainModels:
    """Return the brain models of a pair of GIFTI files, made once (see `cortex_models`)."""
    return cortex_models(n_vertices)


@dataclass(frozen=True, eq=False)
class Rows:
    """Where the features of a group are among the grayordinates of a run.

    Parameters
    ----------
    places : ndarray of int, shape (n_features,)
        -1 where the run has none.
    parts : tuple of slice
        The features of each structure, which follow each other.
    """

    places: NDArray[np.intp]
    parts: tuple[slice, ...]


def read_series(
    path: Path, rows: Rows, kept: NDArray[np.intp], kernels: Sequence[csr_array | None]
) -> RunSeries:
    """Return the series of some grayordinates of a run, read once, with each kernel.

    Parameters
    ----------
    path : Path
        The run: see `read_brain_models`.
    rows : Rows
        Which grayordinates.
    kept : ndarray of int, shape (n_kept,)
        The volumes to take, ascending.
    kernels : sequence of csr_array or None
        Shape (n_features, n_features): a row has the weights of the features that its feature is
        smoothed with, all of the same structure. None: no smoothing.

    Returns
    -------
    RunSeries
        A feature that has no signal in the volumes that are taken and not empty is 0 before
        smoothing and after it, so that it gives nothing to its neighbours: what `usable_features`
        says of all volumes.

    Raises
    ------
    FailedRunError
        The file cannot be read.
    """
    shape = (len(kept), len(rows.places))
    sinks = [Collecting(*shape) for _ in kernels]
    n_nonfinite, empty = _read(path, rows, kept, kernels, sinks)
    return RunSeries(tuple(one.series for one in sinks), n_nonfinite, empty)


def read_packed(
    path: Path, rows: Rows, kept: NDArray[np.intp], kernels: Sequence[csr_array | None]
) -> PackedRun:
    """Return what `read_series` does, in 20 bits per value."""
    shape = (len(kept), len(rows.places))
    sinks = [Packing(*shape) for _ in kernels]
    n_nonfinite, empty = _read(path, rows, kept, kernels, sinks)
    return PackedRun(tuple(one.packed for one in sinks), n_nonfinite, empty)


def _read(
    path: Path,
    rows: Rows,
    kept: NDArray[np.intp],
    kernels: Sequence[csr_array | None],
    sinks: Sequence[Sink],
) -> tuple[int, tuple[int, ...]]:
    """Read and smooth a run; return how many features have bad values, and the empty volumes."""
    if kind_of(path) == "cifti":
        lacking, n_nonfinite, empty = _read_dense(open_cifti(path), rows, kept, kernels, sinks)
    else:
        lacking, n_nonfinite, empty = _read_volumes(path, rows, kept, kernels, sinks)
    for sink in sinks:
        sink.set_to_zero(lacking)
    return n_nonfinite, empty


# ---------------------------------------------------------------- dense series
def _read_dense(
    file: CiftiFile,
    rows: Rows,
    kept: NDArray[np.intp],
    kernels: Sequence[csr_array | None],
    sinks: Sequence[Sink],
) -> tuple[NDArray[np.bool_], int, tuple[int, ...]]:
    _check_length(file.path, kept, file.n_maps)
    empty = _empty_volumes(file, rows.places, kept)
    filled = np.delete(np.arange(len(kept)), empty)
    usual = _usual_range(file, kept[filled])
    lacking = np.zeros(len(rows.places), dtype=np.bool_)
    n_nonfinite = 0
    # A block of features may have some of several structures.
    blocks = [np.empty((BLOCK, len(kept)), dtype=np.float32) for _ in sinks]
    for part in rows.parts:
        series = np.empty((part.stop - part.start, len(kept)), dtype=np.float32)
        for start in range(part.start, part.stop, _ROWS):
            some = slice(start, min(start + _ROWS, part.stop))
            values = series[some.start - part.start : some.stop - part.start]
            values[...] = _kept_values(file, rows.places[some], kept)
            if len(filled) > 1:
                lacking[some] = ~_has_signal(_ranges(values, filled), usual)
            n_nonfinite += _without_bad(values, filled)
            values[lacking[some]] = 0
        for sink, kernel, block in zip(sinks, kernels, blocks, strict=True):
            _smooth_part(series, part, len(rows.places), kernel, block, sink, filled)
    return lacking, n_nonfinite, tuple(empty.tolist())


def _check_length(path: Path, kept: NDArray[np.intp], n_volumes: int) -> None:
    if len(kept) and kept[-1] >= n_volumes:
        raise FailedRunError(f"{path.name} has {n_volumes} volumes, fewer than its header says")


def _kept_values(
    file: CiftiFile, places: NDArray[np.intp], kept: NDArray[np.intp]
) -> NDArray[np.float32]:
    is_there = places >= 0
    # Slices are read at once, and nearly all places of a structure follow each other.
    first, last = places[0], places[-1]
    follow = is_there.all() and last - first + 1 == len(places) and (np.diff(places) == 1).all()
    values = file.values(slice(int(first), int(last) + 1) if follow else np.maximum(places, 0))
    if len(kept) < values.shape[1]:
        values = values[:, kept]
    if not follow:
        values[~is_there] = 0
    return values


def _without_bad(values: NDArray[np.float32], filled: NDArray[np.intp]) -> int:
    """Set values that are not finite to 0, and return in how many rows there were some."""
    # A sum is not finite where a value is not (or where it is too large, which is looked at).
    with np.errstate(over="ignore", invalid="ignore"):
        suspect = np.flatnonzero(~np.isfinite(values.sum(axis=1)))
    n_bad = 0
    for row in suspect:
        bad = ~np.isfinite(values[row])
        n_bad += bool(bad[filled].any())
        values[row, bad] = 0
    return n_bad


def _ranges(values: NDArray[np.float32], filled: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the largest change of each row over the volumes that are not empty."""
    here = values if len(filled) == values.shape[1] else values[:, filled]
    # NaN where a value is.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(here.max(axis=1, initial=-np.inf) - here.min(axis=1, initial=np.inf))


def _usual_range(file: CiftiFile, volumes: NDArray[np.intp]) -> float:
    few = file.values(evenly_spaced(file.models.n_numbers, _N_USUAL))
    return _usual(_ranges(few, volumes))


def _empty_volumes(
    file: CiftiFile, places: NDArray[np.intp], kept: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the volumes in which all features that the file has are the same, ascending."""
    places = places[places >= 0]
    n_features = len(places)
    few = places[evenly_spaced(n_features, _N_PROBED)]
    if n_features < 2:
        return np.zeros(0, dtype=np.intp)
    values = np.nan_to_num(_kept_values(file, few, kept), nan=0, posinf=0, neginf=0)
    suspect = np.flatnonzero((values == values[0]).all(axis=0))
    if not len(suspect):
        return suspect
    same = np.ones(len(suspect), dtype=np.bool_)
    first = values[0, suspect]
    for start in range(0, n_features, _ROWS):
        some = _kept_values(file, places[start : start + _ROWS], kept)[:, suspect]
        same &= (np.where(np.isfinite(some), some, 0) == first).all(axis=0)
    return suspect[same]


def _smooth_part(  # noqa: PLR0917  one block of work, called once
    series: NDArray[np.float32],
    part: slice,
    n_features: int,
    kernel: csr_array | None,
    block: NDArray[np.float32],
    sink: Sink,
    filled: NDArray[np.intp],
) -> None:
    """Smooth the features of a structure, and hand on the blocks that are complete."""
    for start in range(part.start - part.start % BLOCK, part.stop, BLOCK):
        some = slice(max(start, part.start), min(start + BLOCK, part.stop))
        target = block[some.start - start : some.stop - start]
        if kernel is None:
            target[...] = series[some.start - part.start : some.stop - part.start]
        else:
            _smooth(kernel, some, series, part.start, target)
        stop = min(start + BLOCK, n_features)
        if some.stop == stop:
            sink.put_rows(start, block[: stop - start], filled)


def _smooth(
    kernel: csr_array,
    some: slice,
    series: NDArray[np.float32],
    offset: int,
    target: NDArray[np.float32],
) -> None:
    pointers = kernel.indptr[some.start : some.stop + 1]
    smooth_rows(pointers, kernel.indices, kernel.data, series, offset, target)


# ---------------------------------------------------------------- volumes of GIFTI
class _Batches:
    """Smooths some volumes at a time and hands them on.

    Parameters
    ----------
    n_volumes, n_features : int
        Of the run.
    kernels, sinks : sequence
        As in `_read`.
    """

    def __init__(
        self,
        n_volumes: int,
        n_features: int,
        kernels: Sequence[csr_array | None],
        sinks: Sequence[Sink],
    ) -> None:
        self._batch = np.zeros((n_features, max(1, min(N_AT_ONCE, n_volumes))), dtype=np.float32)
        self._smoothed = np.empty_like(self._batch)
        self._kernels, self._sinks = kernels, sinks
        self._is_empty: list[bool] = []
        self._n_done = 0

    def add(self, values: NDArray[np.float32], *, is_empty: bool) -> None:
        """Take the next volume."""
        self._batch[:, len(self._is_empty)] = values
        self._is_empty.append(is_empty)
        if len(self._is_empty) == self._batch.shape[1]:
            self.flush()

    def flush(self) -> None:
        """Hand on what was taken."""
        n_here = len(self._is_empty)
        for sink, kernel in zip(self._sinks, self._kernels, strict=True):
            found = self._batch
            if kernel is not None:
                found = self._smoothed
                smooth_rows(kernel.indptr, kernel.indices, kernel.data, self._batch, 0, found)
            for index, is_empty in enumerate(self._is_empty):
                sink.put_volume(self._n_done + index, found[:, index], is_empty=is_empty)
        self._n_done += n_here
        self._is_empty = []


class _FoundInVolumes(NamedTuple):
    """What is known of features after all volumes were read.

    Parameters
    ----------
    lacking, is_zero : ndarray of bool, shape (n_features,)
        Which have no signal, and which are 0 or not finite everywhere.
    n_nonfinite : int
    empty : tuple of int
    """

    lacking: NDArray[np.bool_]
    is_zero: NDArray[np.bool_]
    n_nonfinite: int
    empty: tuple[int, ...]


def _read_volumes(
    path: Path,
    rows: Rows,
    kept: NDArray[np.intp],
    kernels: Sequence[csr_array | None],
    sinks: Sequence[Sink],
) -> tuple[NDArray[np.bool_], int, tuple[int, ...]]:
    nothing = np.zeros(len(rows.places), dtype=np.bool_)
    found = _read_without(nothing, path, rows, kept, kernels, sinks)
    if (found.lacking & ~found.is_zero).any():
        # It took all volumes to know, and neighbours have got something of them. It is rare.
        for sink in sinks:
            sink.restart()
        found = _read_without(found.lacking, path, rows, kept, kernels, sinks)
    return found.lacking, found.n_nonfinite, found.empty


def _read_without(
    left_out: NDArray[np.bool_],
    path: Path,
    rows: Rows,
    kept: NDArray[np.intp],
    kernels: Sequence[csr_array | None],
    sinks: Sequence[Sink],
) -> _FoundInVolumes:
    """Read and smooth a run, some of whose features are set to 0."""
    there = rows.places >= 0
    n_vertices = read_gifti_header(path).grid.n_numbers // 2
    probe, ranges = Probe(there, _AS_STORED), _RangesOfVolumes(2 * n_vertices)
    bad, is_zero = np.zeros(len(there), dtype=np.bool_), np.ones(len(there), dtype=np.bool_)
    batches = _Batches(len(kept), len(there), kernels, sinks)
    empty: list[int] = []
    n_read = 0
    for volume in _kept_volumes(path, n_vertices, rows, kept):
        values = volume[rows.places]
        is_bad = ~np.isfinite(values)
        values[is_bad | ~there] = 0
        is_empty = probe.finds_nothing_in(values)
        if is_empty:
            empty.append(n_read)
        else:
            bad |= is_bad & there
            is_zero &= values == 0
            ranges.add(volume)
        values[left_out] = 0
        batches.add(values, is_empty=is_empty)
        n_read += 1
    batches.flush()
    if n_read < len(kept):
        raise FailedRunError(f"{path.name} has fewer volumes than its header says")
    lacking = np.zeros(len(there), dtype=np.bool_)
    if n_read - len(empty) > 1:
        lacking = ~(there & ranges.has_signal()[rows.places])
    return _FoundInVolumes(lacking, is_zero, int(np.count_nonzero(bad)), tuple(empty))


def _kept_volumes(
    path: Path, n_vertices: int, rows: Rows, kept: NDArray[np.intp]
) -> Iterator[NDArray[np.float32]]:
    if rows.places.max(initial=0) >= 2 * n_vertices:
        raise FailedRunError(f"{path.name} has other vertices than when it was inspected")
    wanted = set(kept.tolist())
    for index, volume in enumerate(volumes_of(path, n_vertices)):
        if index in wanted:
            yield volume
        if len(kept) and index == kept[-1]:
            return


# ---------------------------------------------------------------- where there is signal
def usable_features(path: Path) -> NDArray[np.bool_]:
    """Return which grayordinates of a run have a signal: they are finite and change over time.

    Parameters
    ----------
    path : Path
        The run: see `read_brain_models`.

    Returns
    -------
    ndarray of bool, shape (n_numbers,)
        In the order of its brain models. Grayordinates of which the largest change is below 1e-4
        of the median one have none. Volumes that are empty, as `RunSeries` says, do not count.

    Raises
    ------
    FailedRunError
        The file cannot be read.
    """
    return _usable_rows(open_cifti(path)) if kind_of(path) == "cifti" else _usable_vertices(path)


def _has_signal(ranges: NDArray[np.float32], usual: float) -> NDArray[np.bool_]:
    """Return where the largest change is one of signal, given the usual one."""
    # NaN is not above anything.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(ranges) & (ranges > _NO_SIGNAL * usual))


def _usual(ranges: NDArray[np.float32]) -> float:
    """Return the median of the ranges of what changes; 0 if nothing does."""
    changing = ranges[np.isfinite(ranges) & (ranges > 0)]
    return float(np.median(changing)) if len(changing) else 0.0


def _usable_rows(file: CiftiFile) -> NDArray[np.bool_]:
    everything, volumes = np.arange(file.models.n_numbers), np.arange(file.n_maps)
    filled = np.delete(volumes, _empty_volumes(file, everything, volumes))
    ranges = np.empty(len(everything), dtype=np.float32)
    for start in range(0, len(ranges), _ROWS):
        values = file.values(slice(start, min(start + _ROWS, len(ranges))))
        ranges[start : start + _ROWS] = _ranges(values, filled)
    return _has_signal(ranges, _usual_range(file, filled))


def _usable_vertices(path: Path) -> NDArray[np.bool_]:
    n_vertices = read_gifti_header(path).grid.n_numbers // 2
    probe = Probe(np.ones(2 * n_vertices, dtype=np.bool_), _AS_STORED)
    ranges = _RangesOfVolumes(2 * n_vertices)
    for volume in volumes_of(path, n_vertices):
        if not probe.finds_nothing_in(volume):
            ranges.add(volume)
    return ranges.has_signal()


class _RangesOfVolumes:
    """Finds the largest change of each vertex."""

    def __init__(self, n_numbers: int) -> None:
        self._low = np.full(n_numbers, np.inf, dtype=np.float32)
        self._high = np.full(n_numbers, -np.inf, dtype=np.float32)

    def add(self, volume: NDArray[np.float32]) -> None:
        """Take a volume that is not empty."""
        # NaN goes on through both.
        np.minimum(self._low, volume, out=self._low)
        np.maximum(self._high, volume, out=self._high)

    def has_signal(self) -> NDArray[np.bool_]:
        """Return which vertices have a signal."""
        with np.errstate(over="ignore", invalid="ignore"):
            ranges = self._high - self._low
        return _has_signal(ranges, _usual(ranges))


# ---------------------------------------------------------------- compiled loop
@compiled
def smooth_rows(
    pointers: NDArray[np.integer],
    indices: NDArray[np.integer],
    weights: NDArray[np.float32],
    series: NDArray[np.float32],
    offset: int,
    target: NDArray[np.float32],
) -> None:
    """Write products of some rows of a sparse matrix and a series.

    Parameters
    ----------
    pointers, indices, weights : ndarray
        Of a csr_array; pointers are those of the rows, (n_rows + 1,).
    series : ndarray of float32, shape (n, n_volumes)
    offset : int
        The column of the matrix that the first row of `series` belongs to.
    target : ndarray of float32, shape (n_rows, n_volumes)
    """
    for row in range(len(target)):
        result = target[row]
        result[:] = 0
        for entry in range(pointers[row], pointers[row + 1]):
            weight, source = weights[entry], series[indices[entry] - offset]
            for volume in range(len(result)):
                result[volume] += weight * source[volume]
