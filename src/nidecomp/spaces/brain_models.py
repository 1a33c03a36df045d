"""The places of values on surfaces: vertices of meshes, and voxels of structures below the cortex.

CIFTI calls both grayordinates, and their list in a file its brain models. A pair of GIFTI files is
the same with two structures, the cortex of each hemisphere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import HEMISPHERES, Hemisphere
from nidecomp.spaces.grid import Grid

Kind = Literal["cifti", "gifti"]
Structures = Literal["all", "cortex", "subcortex"]
# The names of CIFTI-2.
CORTEX: dict[Hemisphere, str] = {
    "L": "CIFTI_STRUCTURE_CORTEX_LEFT",
    "R": "CIFTI_STRUCTURE_CORTEX_RIGHT",
}
# Voxels of two grids are the same where their centres are no farther apart than this.
_SAME_MM = 0.05


@dataclass(frozen=True)
class Grayordinates:
    """The sampling points of a run on surfaces, in short: runs with the same digest correspond.

    Parameters
    ----------
    kind : {"cifti", "gifti"}
        Which files it is stored in.
    digest : str
        That of its `BrainModels`.
    n_numbers : int
        How many values a volume has.
    """

    kind: Kind
    digest: str
    n_numbers: int


@dataclass(frozen=True, eq=False)
class Structure:
    """A structure of the brain, and the vertices or voxels that a file has of it.

    Parameters
    ----------
    name : str
        As in CIFTI-2: ``CIFTI_STRUCTURE_CORTEX_LEFT``.
    places : ndarray of int
        Vertices, shape (n,); or the indices of voxels, shape (n, 3).
    n_vertices : int or None
        How many vertices its mesh has, including those that the file has not; None for voxels.
    """

    name: str
    places: NDArray[np.intp]
    n_vertices: int | None

    @property
    def hemi(self) -> Hemisphere | None:
        """The hemisphere of a structure with vertices."""
        if self.n_vertices is None:
            return None
        return next((hemi for hemi, name in CORTEX.items() if name == self.name), None)


@dataclass(frozen=True, eq=False)
class BrainModels:
    """The structures of a file in their order.

    Parameters
    ----------
    structures : tuple of Structure
        Each name once.
    grid : Grid or None
        That of the voxels; None without voxels.
    """

    structures: tuple[Structure, ...]
    grid: Grid | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"structures": self.structures, "grid": self.grid}

    @cached_property
    def digest(self) -> str:
        """A hash of the structures, their places and their order."""
        content = hashlib.sha256()
        for one in self.structures:
            content.update(repr((one.name, one.n_vertices, one.places.shape)).encode())
            content.update(np.ascontiguousarray(one.places, dtype="<i4").tobytes())
        if self.grid is not None:
            content.update(repr((self.grid.shape, self.grid.affine)).encode())
        return content.hexdigest()

    @cached_property
    def n_numbers(self) -> int:
        """The number of grayordinates."""
        return sum(len(one.places) for one in self.structures)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where the grayordinates of each structure are among all."""
        ends = np.cumsum([0, *(len(one.places) for one in self.structures)]).tolist()
        return tuple(map(slice, ends[:-1], ends[1:]))

    @property
    def has_voxels(self) -> bool:
        """Whether there are voxels."""
        return any(one.n_vertices is None for one in self.structures)

    @property
    def has_vertices(self) -> bool:
        """Whether there are vertices."""
        return any(one.n_vertices is not None for one in self.structures)

    def of_structures(self, which: Structures) -> NDArray[np.bool_]:
        """Return which grayordinates are on the cortex (vertices), or below (voxels).

        Parameters
        ----------
        which : {"all", "cortex", "subcortex"}

        Returns
        -------
        ndarray of bool, shape (n_numbers,)
        """
        inside = np.ones(self.n_numbers, dtype=np.bool_)
        for one, part in zip(self.structures, self.slices, strict=True):
            inside[part] = which == "all" or (which == "cortex") == (one.n_vertices is not None)
        return inside

    def restricted(self, inside: NDArray[np.bool_]) -> BrainModels:
        """Return the brain models of some of the grayordinates, without structures that have none.

        Parameters
        ----------
        inside : ndarray of bool, shape (n_numbers,)

        Returns
        -------
        BrainModels
        """
        parts = [
            Structure(one.name, one.places[inside[part]], one.n_vertices)
            for one, part in zip(self.structures, self.slices, strict=True)
        ]
        return BrainModels(tuple(one for one in parts if len(one.places)), self.grid)

    def places_in(self, other: BrainModels) -> NDArray[np.intp]:
        """Return where each grayordinate is among those of another file.

        fMRIPrep has listed the voxels of a structure in another order since 23.1.4: only structure
        and place tell which ones correspond.

        Parameters
        ----------
        other : BrainModels

        Returns
        -------
        ndarray of int, shape (n_numbers,)
            -1 where the other file has none.

        Raises
        ------
        FailedRunError
            The meshes have other numbers of vertices, or voxels lie between those of the other.
        """
        if self.digest == other.digest:
            return np.arange(self.n_numbers)
        found = np.full(self.n_numbers, -1)
        theirs = {one.name: index for index, one in enumerate(other.structures)}
        for one, part in zip(self.structures, self.slices, strict=True):
            index = theirs.get(one.name)
            if index is None:
                continue
            places = _places_of(one, self.grid, other.structures[index], other.grid)
            found[part] = np.where(places < 0, -1, places + other.slices[index].start)
        return found


def _places_of(
    one: Structure, grid: Grid | None, other: Structure, other_grid: Grid | None
) -> NDArray[np.intp]:
    """Return where the places of a structure are among those of the same one in another file."""
    if one.n_vertices != other.n_vertices:
        raise FailedRunError(
            f"its {words(one.name)} has {_mesh_in_words(other)}, that of the other runs has "
            f"{_mesh_in_words(one)}: choose runs of one density with --den"
        )
    if one.n_vertices is not None:
        number = np.full(one.n_vertices, -1)
        number[other.places] = np.arange(len(other.places))
        return np.asarray(number[one.places])
    if grid is None or other_grid is None:
        raise FailedRunError("its brain models have voxels and no grid of them")
    voxels = _on_grid(one.places, grid, other_grid)
    number = np.full(other_grid.shape, -1)
    number[tuple(other.places.T)] = np.arange(len(other.places))
    is_in = ((voxels >= 0) & (voxels < other_grid.shape)).all(axis=1)
    found = np.full(len(voxels), -1)
    found[is_in] = number[tuple(voxels[is_in].T)]
    return found


def _on_grid(voxels: NDArray[np.intp], grid: Grid, other: Grid) -> NDArray[np.intp]:
    """Return the indices that the same places have on another grid."""
    if grid.is_same(other):
        return voxels.astype(np.intp)
    places = apply_affine(grid.matrix, voxels)
    exact = apply_affine(np.linalg.inv(other.matrix), places)
    rounded: NDArray[np.intp] = np.rint(exact).astype(np.intp)
    off_mm = np.abs(apply_affine(other.matrix, rounded) - places).max(initial=0)
    if off_mm > _SAME_MM:
        raise FailedRunError(
            "its voxels below the cortex lie between those of the other runs: process all runs "
            "with the same --cifti-output, or use --structures cortex"
        )
    return rounded


def _mesh_in_words(one: Structure) -> str:
    return "voxels" if one.n_vertices is None else f"{one.n_vertices} vertices"


def words(name: str) -> str:
    """Return the name of a structure as text: ``left cortex``."""
    *rest, side = name.removeprefix("CIFTI_STRUCTURE_").lower().split("_")
    if side in {"left", "right"}:
        return " ".join([side, *rest])
    return " ".join([*rest, side])


def cortex_models(n_vertices: int) -> BrainModels:
    """Return the brain models of a pair of GIFTI files: all vertices of both hemispheres.

    Parameters
    ----------
    n_vertices : int
        Of each hemisphere.

    Returns
    -------
    BrainModels
    """
    everything = np.arange(n_vertices, dtype=np.intp)
    return BrainModels(
        tuple(Structure(CORTEX[hemi], everything, n_vertices) for hemi in HEMISPHERES)
    )


def check_names(structures: Sequence[Structure]) -> None:
    """Check that each structure is there once, and that no vertex or voxel is there twice.

    Raises
    ------
    FailedRunError
    """
    names = [one.name for one in structures]
    for one in structures:
        if names.count(one.name) > 1:
            raise FailedRunError(f"it has the structure {one.name} twice")
        if len(np.unique(one.places, axis=0)) < len(one.places):
            raise FailedRunError(f"its {words(one.name)} has a vertex or voxel twice")
    voxels = [one.places for one in structures if one.n_vertices is None]
    if voxels and len(np.unique(np.concatenate(voxels), axis=0)) < sum(map(len, voxels)):
        raise FailedRunError("two of its structures have a voxel in common, which CIFTI forbids")
