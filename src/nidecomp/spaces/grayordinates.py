"""Features that are grayordinates: vertices of the cortex, and voxels of structures below it.

Runs and maps are CIFTI-2 files with both, or pairs of GIFTI files with a hemisphere each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from numpy.typing import NDArray
from scipy.sparse import block_diag, csr_array

from nidecomp.core.errors import FailedRunError
from nidecomp.core.hemispheres import HEMISPHERES, Hemisphere
from nidecomp.core.records import UsableRun
from nidecomp.core.text import count
from nidecomp.spaces import grayordinate_series
from nidecomp.spaces.brain_models import CORTEX, BrainModels, Kind, Structure
from nidecomp.spaces.cifti import cifti_head, cifti_numbers
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.geodesic import (
    FEW_NEIGHBOURS,
    FWHM_OF_SIGMA,
    TRUNCATE,
    block_diagonal,
    surface_kernel,
)
from nidecomp.spaces.gifti import gifti_labels, gifti_maps
from nidecomp.spaces.grayordinate_chance import Rotations, Sphere, Voxels
from nidecomp.spaces.grayordinate_images import VOLUMES_AT_ONCE, open_run
from nidecomp.spaces.grayordinate_maps import describe_maps, file_kind, map_names, read_values
from nidecomp.spaces.grayordinate_series import Rows, read_brain_models
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.interpolate import labels_at, maps_at, share_at
from nidecomp.spaces.kept_kernels import kept_kernel
from nidecomp.spaces.label_tables import label_table
from nidecomp.spaces.meshes import Mesh, template_mesh
from nidecomp.spaces.neighbours import (
    distances_of_vertices,
    distances_of_voxels,
    touching_vertices,
    touching_voxels,
)
from nidecomp.spaces.other_meshes import values_at, voxels_of
from nidecomp.spaces.records import (
    Extensions,
    LabelFile,
    MapKind,
    Measure,
    PackedRun,
    RegionKind,
    RunImage,
    RunSeries,
    SizeUnit,
)
from nidecomp.spaces.seeds import SMOOTHING_FWHM_MM, local_maxima_of_graph
from nidecomp.spaces.voxel_kernels import voxel_kernel
from nidecomp.spaces.voxels import VOLUME

# The cortex is 2.5 mm thick: 40 mm² of it are the 100 mm³ of the smallest cluster of voxels. A
# region has at least the area of a disc of 8 mm radius; the parcels of the cortex that are in use
# have 500 mm² on average.
AREA = SizeUnit(
    size="area",
    unit="mm^2",
    neighbours="vertices that share an edge",
    min_cluster=40.0,
    min_region=200,
)
# fMRIPrep writes no masks for them.
_COUNTED = "with signal in"
# A float32 and the number of its column.
_BYTES_OF_WEIGHT = 8.0
_VERTICES = Measure("vertex", "vertices", (AREA,), _COUNTED)
_VOXELS = Measure("voxel", "voxels", (VOLUME,), _COUNTED)
_BOTH = Measure("grayordinate", "grayordinates", (AREA, VOLUME), _COUNTED)
_CIFTI = Extensions(
    ".dscalar.nii", ".dlabel.nii", ".dlabel.nii", ".dtseries.nii", *("dseg", "anat", "map", "file")
)
_GIFTI = Extensions(
    ".func.gii", ".label.gii", ".label.gii", ".func.gii", *("dseg", "anat", "map", "file")
)
_SPLIT = {
    "local_regions": "around the peaks of the smoothed map, by random walks along the surface and "
    "within structures",
    "connected_components": "connected components on the surface and within structures",
}


class _Part(NamedTuple):
    """The features of one structure: which they are among all, and their vertices or voxels."""

    features: slice
    structure: Structure


@dataclass(frozen=True, eq=False)
class GrayordinateSpace(FeatureSpace):
    """Some grayordinates of certain brain models.

    Parameters
    ----------
    models : BrainModels
        Those of files of maps; what is no feature is 0 in them.
    inside : ndarray of bool, shape (models.n_numbers,)
        Which grayordinates are features.
    label : str
        What BIDS calls the space: ``fsLR``, ``fsaverage5``.
    den : str or None
        What BIDS calls the density: ``91k``.
    kind : {"cifti", "gifti"}
        Which files it reads and writes.
    work_dir : Path or None
        Where kernels are kept, so that they are computed once for all processes.
    surfaces_dir : Path or None
        Surfaces of the user: see `meshes.template_mesh`.
    """

    models: BrainModels
    inside: NDArray[np.bool_]
    label: str
    den: str | None
    kind: Kind
    work_dir: Path | None = None
    surfaces_dir: Path | None = None

    def __getstate__(self) -> dict[str, object]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    # ------------------------------------------------------------ what there is
    @cached_property
    def measure(self) -> Measure:
        """The names and units of vertices, voxels or both."""
        of_features = self._own
        if of_features.has_vertices and of_features.has_voxels:
            return _BOTH
        return _VERTICES if of_features.has_vertices else _VOXELS

    @property
    def extensions(self) -> Extensions:
        """The extensions of CIFTI or GIFTI."""
        return _CIFTI if self.kind == "cifti" else _GIFTI

    @property
    def hemispheres(self) -> tuple[Hemisphere | None, ...]:
        """Both where each has a file."""
        return (None,) if self.kind == "cifti" else HEMISPHERES

    @property
    def atlas_format(self) -> str:
        """What atlases can be."""
        return (
            "a .dscalar.nii or .dlabel.nii file, or the left one of a pair of .label.gii, "
            ".func.gii or .shape.gii files, of fs_LR or fsaverage"
        )

    @cached_property
    def n_features(self) -> int:
        """The number of grayordinates that are features."""
        return int(np.count_nonzero(self.inside))

    @cached_property
    def digest(self) -> str:
        """A hash of the grayordinates, and of the meshes that they are smoothed on."""
        content = hashlib.sha256(self.models.digest.encode())
        content.update(np.packbits(self.inside).tobytes())
        for part in self._parts:
            if part.structure.n_vertices is not None:
                content.update(self._mesh(part.structure).digest.encode())
        return content.hexdigest()

    @cached_property
    def _own(self) -> BrainModels:
        return self.models.restricted(self.inside)

    @cached_property
    def _parts(self) -> tuple[_Part, ...]:
        own = self._own
        return tuple(map(_Part, own.slices, own.structures))

    def _mesh(self, structure: Structure) -> Mesh:
        if structure.hemi is None or structure.n_vertices is None:
            raise FailedRunError(f"there is no mesh of {structure.name}")
        return template_mesh(self.label, structure.n_vertices, structure.hemi, self.surfaces_dir)

    @property
    def _grid(self) -> Grid:
        if self.models.grid is None:
            raise ValueError("there are no voxels")
        return self.models.grid

    # ------------------------------------------------------------ size and place
    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """The area of each vertex in mm², the volume of each voxel in mm³."""
        return self._of_parts(
            lambda part: (
                np.full(len(part.places), self._grid.voxel_mm3)
                if part.n_vertices is None
                else self._mesh(part).areas[part.places]
            )
        )

    def unit_of(self, features: NDArray[np.integer]) -> SizeUnit:
        """Return the unit of vertices or that of voxels."""
        if len(self.measure.units) == 1:
            return self.measure.units[0]
        return VOLUME if self._is_voxel[features[0]] else AREA

    @property
    def on_surface(self) -> NDArray[np.bool_]:
        """Which features are vertices."""
        return ~self._is_voxel

    @cached_property
    def _is_voxel(self) -> NDArray[np.bool_]:
        return self._of_parts(lambda part: np.full(len(part.places), part.n_vertices is None))

    def _of_parts(self, values: Callable[[Structure], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([values(part.structure) for part in self._parts])

    def coordinates(self, features: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the places of vertices on the midthickness surface and the centres of voxels."""
        return np.asarray(self._places[features])

    @cached_property
    def _places(self) -> NDArray[np.float64]:
        return self._of_parts(
            lambda part: (
                apply_affine(self._grid.matrix, part.places)
                if part.n_vertices is None
                else self._mesh(part).coordinates[part.places]
            )
        )

    @cached_property
    def adjacency(self) -> csr_array:
        """The vertices that share an edge, and the voxels of a structure that share a face."""
        blocks = [
            touching_voxels(part.structure.places)
            if part.structure.n_vertices is None
            else touching_vertices(self._mesh(part.structure), part.structure.places)
            for part in self._parts
        ]
        return csr_array(block_diag(blocks, format="csr", dtype=np.bool_))

    # ------------------------------------------------------------ chance
    def independent_values(self, maps: NDArray[np.floating]) -> float:
        """Return the number of independent values: see `grayordinate_chance`."""
        return self._rotations.independent_values(maps)

    def surrogates(self, maps: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
        """Return maps on a rotated sphere, and with random phases below the cortex."""
        return self._rotations.surrogates(maps, seed)

    @cached_property
    def _rotations(self) -> Rotations:
        spheres = tuple(
            Sphere(part.features, self._mesh(part.structure), part.structure.places,
                   is_right=part.structure.hemi == "R")
            for part in self._parts
            if part.structure.n_vertices is not None
        )  # fmt: skip
        if not self._own.has_voxels:
            return Rotations(spheres)
        voxels = [one.structure.places for one in self._parts if one.structure.n_vertices is None]
        features = np.flatnonzero(self._is_voxel)
        return Rotations(
            spheres, Voxels(features, np.concatenate(voxels), voxel_sizes(self._grid.matrix))
        )

    # ------------------------------------------------------------ metadata
    @property
    def references(self) -> str | None:
        """Which kinds of features there are: all meshes are registered to fsaverage."""
        if not self._own.has_vertices:
            return "subcortex"
        return "grayordinates" if self._own.has_voxels else "cortex"

    def spatial_metadata(self, reference: str, res: str | None) -> dict[str, object]:  # noqa: ARG002  they have a density in its place
        """Return the run whose grayordinates these are, and how many there are."""
        n_vertices = max((one.n_vertices or 0 for one in self.models.structures), default=0)
        in_all = [f"{self.models.n_numbers} grayordinates in a file"] * (self.kind == "cifti")
        meshes = [f"{n_vertices} vertices in the mesh of each hemisphere"] if n_vertices else []
        return {"SpatialReference": reference, "Density": "; ".join(in_all + meshes)}

    # ------------------------------------------------------------ runs
    def prepare(self, smoothing_fwhm: tuple[float, ...]) -> None:
        """Compute the kernels of smoothing, and keep them for other processes."""
        for fwhm in smoothing_fwhm:
            self._kernel(fwhm)

    def read_series(
        self, path: Path, kept: NDArray[np.intp], smoothing_fwhm: tuple[float, ...]
    ) -> RunSeries:
        """Read some volumes: see `grayordinate_series.read_series`."""
        kernels = [self._kernel(fwhm) for fwhm in smoothing_fwhm]
        return grayordinate_series.read_series(path, self._rows_in(path), kept, kernels)

    def read_packed(
        self, path: Path, kept: NDArray[np.intp], smoothing_fwhm: tuple[float, ...]
    ) -> PackedRun:
        """Read some volumes: see `grayordinate_series.read_packed`."""
        kernels = [self._kernel(fwhm) for fwhm in smoothing_fwhm]
        return grayordinate_series.read_packed(path, self._rows_in(path), kept, kernels)

    def _rows_in(self, path: Path) -> Rows:
        places = self._own.places_in(read_brain_models(path))
        return Rows(places, tuple(part.features for part in self._parts))

    def _kernel(self, fwhm: float) -> csr_array | None:
        if not fwhm:
            return None
        if fwhm not in self._kernels:
            self._kernels[fwhm] = kept_kernel(
                self.work_dir, self.digest, fwhm, self.n_features, lambda: self.kernel(fwhm)
            )
        return self._kernels[fwhm]

    @cached_property
    def _kernels(self) -> dict[float, csr_array]:
        return {}

    def kernel(self, fwhm: float) -> csr_array:
        """Return the weights of smoothing.

        Parameters
        ----------
        fwhm : float
            Full width at half maximum of the Gaussian in mm.

        Returns
        -------
        csr_array of float32, shape (n_features, n_features)
            Along the surface, and within each structure of voxels.
        """
        blocks = [
            voxel_kernel(part.structure.places, voxel_sizes(self._grid.matrix), fwhm)
            if part.structure.n_vertices is None
            else surface_kernel(self._mesh(part.structure), part.structure.places, fwhm)
            for part in self._parts
        ]
        return block_diagonal(blocks)

    def reading_bytes(self, run: UsableRun) -> float:
        """Return the memory of the largest structure, or of some volumes of GIFTI."""
        if self.kind == "gifti":
            return grayordinate_series.N_AT_ONCE * 8.0 * run.grid.n_numbers * run.stored_bytes / 4
        largest = max(len(one.places) for one in self.models.structures)
        return float(largest * run.n_volumes * (4 + run.stored_bytes))

    def smoothing_bytes(self, fwhm: float) -> float:
        """Return the memory of a kernel: a weight for each feature in reach of another, about."""
        reach = TRUNCATE * fwhm / FWHM_OF_SIGMA
        entries = 0.0
        for part in self._parts:
            n_here, mean_size = len(part.structure.places), self.sizes[part.features].mean()
            is_voxel = part.structure.n_vertices is None
            size = 4 / 3 * np.pi * reach**3 if is_voxel else np.pi * reach**2
            fewest = 1 if is_voxel else 1 + FEW_NEIGHBOURS
            entries += n_here * min(n_here, max(fewest, size / mean_size))
        return _BYTES_OF_WEIGHT * entries if fwhm else 0.0

    def writing_bytes(self, run: UsableRun) -> float:
        """Return the memory of a dense series; volumes of GIFTI are written one by one."""
        if self.kind == "gifti":
            return 0.0
        # Those that are being read, those before them, and what is subtracted.
        n_volumes = run.n_volumes + 3 * min(run.n_volumes, VOLUMES_AT_ONCE)
        return 4.0 * n_volumes * self.n_stored

    def open_run(self, path: Path) -> RunImage:
        """Open a dense series or a pair of GIFTI files."""
        return open_run(path)

    # ------------------------------------------------------------ maps as files
    @property
    def n_stored(self) -> int:
        """The number of grayordinates of a file of maps."""
        return self.models.n_numbers

    def _whole(self, values: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
        """Return values of features, in the last axis, as those of files: 0 elsewhere."""
        whole = np.zeros((*values.shape[:-1], self.n_stored), dtype=dtype)
        whole[..., self.inside] = values
        return whole

    def encode(
        self,
        maps: NDArray[np.floating],
        n_threads: int = 1,  # noqa: ARG002  nothing takes long to compress
        *,
        names: Sequence[str] = (),
        hemi: Hemisphere | None = None,
    ) -> bytes:
        """Return a .dscalar.nii, or the .func.gii of one hemisphere."""
        return b"".join(self._encoded(np.atleast_2d(maps), names, hemi))

    def _encoded(
        self, maps: NDArray[np.floating], names: Sequence[str], hemi: Hemisphere | None
    ) -> Iterator[bytes]:
        names = names or [f"map {number}" for number in range(1, len(maps) + 1)]
        whole = self._whole(maps, np.float32)
        if self.kind == "cifti":
            yield cifti_head(self.models, "dscalar", names)
            yield from cifti_numbers(whole)
        else:
            side = _side(hemi)
            yield from gifti_maps(whole[:, self._of_side(side)], len(maps), side, names)

    def encode_labels(
        self,
        labels: NDArray[np.int32],
        *,
        names: Sequence[str] = (),
        hemi: Hemisphere | None = None,
    ) -> bytes:
        """Return a .dlabel.nii, or the .label.gii of one hemisphere."""
        numbered = [f"label {number}" for number in range(1, int(labels.max(initial=0)) + 1)]
        table, whole = label_table(names or numbered), self._whole(labels, np.int32)
        if self.kind == "cifti":
            head = cifti_head(self.models, "dlabel", ["regions"], table)
            return head + b"".join(cifti_numbers(whole[None]))
        side = _side(hemi)
        return gifti_labels(whole[self._of_side(side)], side, table)

    def encode_mask(self, *, hemi: Hemisphere | None = None) -> bytes:
        """Return labels, of which the features have the first."""
        ones = np.ones(self.n_features, dtype=np.int32)
        return self.encode_labels(ones, names=("mask",), hemi=hemi)

    def _of_side(self, hemi: Hemisphere) -> slice:
        found = zip(self.models.structures, self.models.slices, strict=True)
        return next(part for one, part in found if one.name == CORTEX[hemi])

    # ------------------------------------------------------------ maps of others
    def describe_maps(self, path: Path) -> tuple[MapKind, int]:
        """Return what a CIFTI, GIFTI or NIfTI file contains."""
        return describe_maps(path)

    def without_values(self, path: Path) -> str | None:
        """Return that volumes have nothing at vertices."""
        return "the cortex" if file_kind(path) == "volume" and self._own.has_vertices else None

    def map_names(self, path: Path) -> tuple[str, ...]:
        """Return the names of maps in CIFTI and GIFTI files."""
        return map_names(path)

    def read_maps(self, path: Path, n_maps: int) -> NDArray[np.float32]:
        """Return maps, interpolated along the surface and between voxels.

        A NIfTI file has those of voxels; 0 where files have nothing.
        """
        if file_kind(path) == "volume":
            features, places = self._own_voxels(path)
            return self._at(features, maps_at(path, places, n_maps))
        file = read_values(path, self.label)
        if len(file.values) != n_maps:
            raise FailedRunError(
                f"{path.name} has {count(len(file.values), 'map')} in place of {n_maps}"
            )
        return values_at(self._own, self._mesh, file.models, file.values, is_labels=False)

    def read_share(self, path: Path, beyond: float) -> NDArray[np.float32]:
        """Return an image at voxels, interpolated linearly; vertices are all brain: 0."""
        features, places = voxels_of(self._own)
        return self._at(features, share_at(path, places, beyond))

    def read_labels(self, path: Path) -> LabelFile:
        """Return labels of the nearest vertex or voxel; 0 where the file has nothing."""
        if file_kind(path) == "volume":
            features, places = self._own_voxels(path)
            labels, here = labels_at(path, places)
            return LabelFile(labels, self._at(features, here.astype(np.float32)))
        file = read_values(path, self.label)
        found = np.unique(np.nan_to_num(file.values[0], posinf=0, neginf=0))
        (here,) = values_at(self._own, self._mesh, file.models, file.values[:1], is_labels=True)
        return LabelFile(found[found > 0], here, file.labels)

    def _own_voxels(self, path: Path) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        if not self._own.has_voxels:
            raise FailedRunError(f"{path.name} is a volume, and the features are vertices")
        return voxels_of(self._own)

    def _at(self, features: NDArray[np.intp], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return values of some features, in the last axis, as those of all: 0 elsewhere."""
        found = np.zeros((*values.shape[:-1], self.n_features), dtype=np.float32)
        found[..., features] = values
        return found

    # ------------------------------------------------------------ regions
    def prepare_regions(self) -> None:
        """Compute neighbours, and what maps are smoothed with."""
        _ = self.adjacency, self._lengths, self._kernel(SMOOTHING_FWHM_MM)

    def region_seeds(self, values: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return local maxima of the smoothed map: see `seeds.local_maxima_of_graph`."""
        smooth = cast(csr_array, self._kernel(SMOOTHING_FWHM_MM)) @ values
        seeds = local_maxima_of_graph(smooth, self._lengths, self._places)
        return np.where(values > 0, seeds, 0)

    @cached_property
    def _lengths(self) -> csr_array:
        """The distances in mm between neighbours, along the surface or between voxels."""
        blocks = [
            distances_of_voxels(part.structure.places, voxel_sizes(self._grid.matrix))
            if part.structure.n_vertices is None
            else distances_of_vertices(self._mesh(part.structure), part.structure.places)
            for part in self._parts
        ]
        return csr_array(block_diag(blocks, format="csr"))

    def region_rule(self, kind: RegionKind) -> str:
        """Return what the method does."""
        return _SPLIT[kind]


def _side(hemi: Hemisphere | None) -> Hemisphere:
    if hemi is None:
        raise ValueError("a pair of files is written one at a time")
    return hemi
