"""A second kind of features, for tests: vertices of two rings, whose runs and maps are .npy files.

It is as unlike voxels as is needed to show that nothing outside of `spaces` counts on them: areas
in mm² that differ, neighbours of an edge, vertices that are no features (a wall), another format.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nidecomp.core.errors import FailedRunError
from nidecomp.core.records import UsableRun
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.spaces.records import (
    Extensions,
    LabelFile,
    MapKind,
    Measure,
    RegionKind,
    RunSeries,
    SizeUnit,
)

RADIUS_MM = 40.0


@dataclass(frozen=True)
class RingMesh:
    """Two rings of as many vertices, left and right, one after the other."""

    n_of_ring: int

    @property
    def n_numbers(self) -> int:
        """Vertices of both."""
        return 2 * self.n_of_ring


@dataclass(frozen=True)
class RingImage:
    """A run's file: an array of float32, (n_volumes, n_vertices)."""

    values: NDArray[np.float32]

    @property
    def n_volumes(self) -> int:
        return len(self.values)

    def volumes(self, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
        yield from self.values[kept]

    def encode(
        self, volumes: Iterable[NDArray[np.float32]], hemi: object = None
    ) -> Iterator[bytes]:
        yield as_npy(np.stack(list(volumes)))


@dataclass(frozen=True, eq=False)
class RingSpace(FeatureSpace):
    """The vertices of two rings that are no wall.

    `inside` is of bool, (n_vertices,).
    """

    mesh: RingMesh
    inside: NDArray[np.bool_]
    label: str = "rings"

    measure = Measure(
        "vertex",
        "vertices",
        (SizeUnit("area", "mm^2", "vertices that share an edge", 3.0, 8.0),),
    )
    extensions = Extensions(".maps.npy", ".labels.npy", ".labels.npy", ".func.npy")
    atlas_format = "an array of NumPy"

    @cached_property
    def vertices(self) -> NDArray[np.intp]:
        """Which vertex each feature is."""
        return np.flatnonzero(self.inside)

    @property
    def n_features(self) -> int:
        return len(self.vertices)

    @property
    def digest(self) -> str:
        return hashlib.sha256(pickle.dumps((self.mesh.n_of_ring, self.inside.tolist()))).hexdigest()

    @property
    def sizes(self) -> NDArray[np.float64]:
        return 1.0 + 0.5 * np.sin(0.3 * self.vertices)

    def coordinates(self, features: NDArray[np.integer]) -> NDArray[np.float64]:
        ring, place = np.divmod(self.vertices[features], self.mesh.n_of_ring)
        angle = 2 * np.pi * place / self.mesh.n_of_ring
        x = np.where(ring == 0, -50.0, 50.0)
        return np.column_stack([x, RADIUS_MM * np.cos(angle), RADIUS_MM * np.sin(angle)])

    @property
    def adjacency(self) -> csr_array:
        n = self.mesh.n_of_ring
        touch = np.zeros((2 * n, 2 * n), dtype=np.bool_)
        for start in (0, n):
            first = np.arange(n)
            touch[start + first, start + (first + 1) % n] = True
        touch |= touch.T
        return csr_array(touch[np.ix_(self.vertices, self.vertices)])

    def independent_values(self, maps: NDArray[np.floating]) -> float:
        return float(self.n_features) if len(maps) > 1 else np.nan

    def surrogates(self, maps: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
        # Around both rings, by the same number of vertices for all maps.
        around = np.random.RandomState(seed).randint(1, self.n_features)
        return np.roll(maps, around, axis=1).astype(np.float32)

    @property
    def references(self) -> str | None:
        return None

    def spatial_metadata(self, reference: str, res: str | None) -> dict[str, object]:
        return {"SpatialReference": reference, "Density": f"{self.mesh.n_of_ring} vertices a ring"}

    # ------------------------------------------------------------ runs
    def read_series(
        self, path: Path, kept: NDArray[np.intp], smoothing_fwhm: tuple[float, ...]
    ) -> RunSeries:
        values = load(path)[kept][:, self.vertices]
        is_bad = ~np.isfinite(values)
        values = np.where(is_bad, np.float32(0), values)
        series = tuple(
            (values @ self._kernel(fwhm)).astype(np.float32) if fwhm else values.copy()
            for fwhm in smoothing_fwhm
        )
        is_empty = np.ptp(values, axis=1) == 0
        n_nonfinite = int(is_bad[~is_empty].any(axis=0).sum())
        if np.count_nonzero(~is_empty) > 1:
            constant = np.ptp(values[~is_empty], axis=0) == 0
            for one in series:
                one[:, constant] = 0
        return RunSeries(series, n_nonfinite, tuple(np.flatnonzero(is_empty).tolist()))

    def _kernel(self, fwhm: float) -> NDArray[np.float64]:
        """Weights by the distance between vertices of one ring, and by their areas."""
        places = self.coordinates(np.arange(self.n_features))
        squared = ((places[:, None] - places[None]) ** 2).sum(axis=-1)
        weights = np.exp(-4 * np.log(2) * squared / fwhm**2) * self.sizes[:, None]
        return weights / weights.sum(axis=0)

    def reading_bytes(self, run: UsableRun) -> float:
        return float(run.grid.n_numbers * run.n_volumes * run.stored_bytes)

    def open_run(self, path: Path) -> RingImage:
        return RingImage(load(path))

    # ------------------------------------------------------------ maps as files
    @property
    def n_stored(self) -> int:
        return self.mesh.n_numbers

    def on_vertices(self, values: NDArray[np.generic], dtype: type) -> NDArray[np.generic]:
        """Values of features, (..., n_features), as files hold them, (..., n_vertices)."""
        whole = np.zeros((*values.shape[:-1], self.mesh.n_numbers), dtype=dtype)
        whole[..., self.vertices] = values
        return whole

    def encode(self, maps: NDArray[np.floating], n_threads: int = 1, **_: object) -> bytes:
        return as_npy(self.on_vertices(maps, np.float32))

    def encode_labels(self, labels: NDArray[np.int32], **_: object) -> bytes:
        return as_npy(self.on_vertices(labels, np.int32))

    def encode_mask(self, **_: object) -> bytes:
        return as_npy(self.inside.astype(np.int32))

    # ------------------------------------------------------------ maps of others
    def describe_maps(self, path: Path) -> tuple[MapKind, int]:
        values = load(path)
        return ("maps", len(values)) if values.ndim == 2 else ("labels", 1)

    def read_maps(self, path: Path, n_maps: int) -> NDArray[np.float32]:
        values = load(path)
        if values.shape != (n_maps, self.mesh.n_numbers):
            raise FailedRunError(f"{path.name} has {len(values)} maps in place of {n_maps}")
        return np.nan_to_num(values[:, self.vertices])

    def read_share(self, path: Path, beyond: float) -> NDArray[np.float32]:
        raise NotImplementedError("NiDecomp brings no maps of rings")

    def read_labels(self, path: Path) -> LabelFile:
        values = load(path)
        found = np.unique(values)
        return LabelFile(found[found > 0], values[self.vertices])

    # ------------------------------------------------------------ regions
    def region_seeds(self, values: NDArray[np.float32]) -> NDArray[np.intp]:
        # The largest value of each piece, so that local regions are the connected ones.
        features = np.flatnonzero(values)
        labels = self.clusters(features)
        seeds = np.zeros(self.n_features, dtype=np.intp)
        for number in np.unique(labels):
            piece = features[labels == number]
            seeds[piece[values[piece].argmax()]] = number + 1
        return seeds

    def region_rule(self, kind: RegionKind) -> str:
        return "connected vertices"


def load(path: Path) -> NDArray[np.float32]:
    try:
        return np.load(path)
    except (OSError, ValueError) as error:
        raise FailedRunError(f"{path.name} cannot be read: {error}") from None


def as_npy(values: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def ring_space(n_of_ring: int = 150) -> RingSpace:
    """Two rings, of each of which a tenth is wall."""
    place = np.arange(2 * n_of_ring) % n_of_ring
    return RingSpace(RingMesh(n_of_ring), place >= n_of_ring // 10)
