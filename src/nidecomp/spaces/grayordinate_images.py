"""Runs of grayordinates as images: read volume by volume, and written again with other volumes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import Hemisphere
from nidecomp.spaces.cifti import CiftiFile, cifti_numbers, open_cifti, series_head
from nidecomp.spaces.gifti import gifti_series, read_gifti_header, volumes_of
from nidecomp.spaces.grayordinate_series import kind_of
from nidecomp.spaces.records import RunImage

# Volumes of a dense series that are brought into memory at once: its file has those of a
# grayordinate together, so that each of them reads all of it.
VOLUMES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class DenseSeries:
    """A dense series; see `contract.RunImage` for the methods.

    Parameters
    ----------
    file : CiftiFile
    """

    file: CiftiFile

    @property
    def n_volumes(self) -> int:
        """The number of volumes."""
        return self.file.n_maps

    def volumes(self, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
        """Yield some volumes, (n_numbers,), in the order of the brain models."""
        for start in range(0, len(kept), VOLUMES_AT_ONCE):
            yield from self.file.values_of_maps(kept[start : start + VOLUMES_AT_ONCE])

    def encode(
        self,
        volumes: Iterable[NDArray[np.float32]],
        hemi: Hemisphere | None = None,  # noqa: ARG002  one file has both
    ) -> Iterator[bytes]:
        """Yield the parts of a dense series of float32; all volumes are in memory at once."""
        series = np.empty((self.n_volumes, self.file.models.n_numbers), dtype=np.float32)
        for row, volume in zip(series, volumes, strict=True):
            row[...] = volume
        yield series_head(self.file)
        yield from cifti_numbers(series)


@dataclass(frozen=True, eq=False)
class PairOfSeries:
    """A run in two GIFTI files; see `contract.RunImage` for the methods.

    Parameters
    ----------
    left : Path
    n_volumes, n_vertices : int
        Vertices are those of each hemisphere.
    """

    left: Path
    n_volumes: int
    n_vertices: int

    def volumes(self, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
        """Yield some volumes, (2 n_vertices,): the left hemisphere, then the right one."""
        wanted = set(kept.tolist())
        for index, volume in enumerate(volumes_of(self.left, self.n_vertices)):
            if index in wanted:
                yield volume.copy()

    def encode(
        self, volumes: Iterable[NDArray[np.float32]], hemi: Hemisphere | None = None
    ) -> Iterator[bytes]:
        """Yield the parts of the file of one hemisphere."""
        if hemi is None:
            raise ValueError("a pair of files is written one at a time")
        first = 0 if hemi == "L" else self.n_vertices
        own = (volume[first : first + self.n_vertices] for volume in volumes)
        return gifti_series(own, self.n_volumes, hemi)


def open_run(path: Path) -> RunImage:
    """Open a run of grayordinates.

    Parameters
    ----------
    path : Path
        A dense series, or the left file of a pair of GIFTI files.

    Returns
    -------
    RunImage

    Raises
    ------
    FailedRunError
        The file cannot be read.
    """
    if kind_of(path) == "cifti":
        file = open_cifti(path)
        if not file.is_series:
            raise FailedRunError(f"{path.name} holds maps and no series of volumes")
        return DenseSeries(file)
    header = read_gifti_header(path)
    return PairOfSeries(path, header.n_volumes, header.grid.n_numbers // 2)
