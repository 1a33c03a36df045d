"""The contract of a feature space: reading runs as features, and writing maps of features.

The decomposition works on samples × features. A feature is a voxel of a mask or a vertex of a
surface; a `FeatureSpace` reads the series of features of a run, knows their size, coordinates and
neighbours, and writes maps. Outside of this package, only the code that makes a space from the
runs (`runs.group_mask`) knows which space it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nidecomp.core.hemispheres import Hemisphere
from nidecomp.core.packed import pack
from nidecomp.core.records import UsableRun
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


class FeatureSpace(ABC):
    """A feature space: voxels of a mask, or vertices of a surface.

    A space is immutable and can be pickled; a pickle holds nothing large that can be computed.

    Attributes
    ----------
    label : str
        What BIDS calls the space (``space-``, ``tpl-``), for example ``MNI152NLin2009cAsym``.
    """

    label: str

    @property
    @abstractmethod
    def measure(self) -> Measure:
        """What features are called and how their size is measured."""

    @property
    @abstractmethod
    def extensions(self) -> Extensions:
        """How the names of files end."""

    @property
    @abstractmethod
    def atlas_format(self) -> str:
        """What files of maps and labels it reads, in words: ``a NIfTI file``."""

    @property
    def hemispheres(self) -> tuple[Hemisphere | None, ...]:
        """The files that runs, maps and labels have: ``(None,)``, or ``("L", "R")`` for a pair.

        A pair is named by its left file (`core.hemispheres`).
        """
        return (None,)

    # ------------------------------------------------------------ features
    @property
    @abstractmethod
    def n_features(self) -> int:
        """The number of features."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A hash of the features and their order: spaces with the same digest are the same.

        It is part of the names of reduced runs, and must not change with the version.
        """

    @property
    @abstractmethod
    def sizes(self) -> NDArray[np.float64]:
        """The size of each feature in the unit of `unit_of`, shape (n_features,)."""

    def unit_of(self, features: NDArray[np.integer]) -> SizeUnit:  # noqa: ARG002  see below
        """Return how the size of a cluster is measured.

        Parameters
        ----------
        features : ndarray of int, shape (n,)
            Connected features. Where there is one unit, it does not matter which ones.

        Returns
        -------
        SizeUnit
        """
        return self.measure.units[0]

    @property
    def on_surface(self) -> NDArray[np.bool_]:
        """Which features have an area, and not a volume, shape (n_features,)."""
        return np.full(self.n_features, self.measure.units[0].size == "area")

    def relative_size(self, features: NDArray[np.integer]) -> float:
        """Return the size of a cluster as a multiple of `SizeUnit.min_region`, to compare them."""
        return self.size_of(features) / self.unit_of(features).min_region

    def size_of(self, features: NDArray[np.integer]) -> float:
        """Return the total size of some features.

        Parameters
        ----------
        features : ndarray of int, shape (n,)
            Indices into the features, each once.

        Returns
        -------
        float
            In their unit.
        """
        return float(self.sizes[features].sum())

    @abstractmethod
    def coordinates(self, features: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the coordinates of some features.

        Parameters
        ----------
        features : ndarray of int, shape (n,)
            Indices into the features.

        Returns
        -------
        ndarray, shape (n, 3)
            RAS+ coordinates in mm, in the space that `label` names.
        """

    @property
    def midline_mm(self) -> float:
        """The largest distance from the plane x = 0 at which a feature is on neither side."""
        return 0.0

    @property
    @abstractmethod
    def adjacency(self) -> csr_array:
        """Neighbouring features: bool, (n_features, n_features), symmetric, zero diagonal."""

    def clusters(self, features: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the connected components of some features.

        Parameters
        ----------
        features : ndarray of int, shape (n,)
            Indices into the features, each once.

        Returns
        -------
        ndarray of int, shape (n,)
            A number for each; features of one cluster have the same.
        """
        among = self.adjacency[features][:, features]
        # For a symmetric matrix strong components are the connected ones, and faster to find.
        return cast(
            NDArray[np.integer], connected_components(among, directed=True, connection="strong")[1]
        )

    @abstractmethod
    def independent_values(self, maps: NDArray[np.floating]) -> float:
        """Return how many independent values unrelated maps as smooth as these have.

        Parameters
        ----------
        maps : ndarray, shape (n_maps, n_features)

        Returns
        -------
        float
            1/variance of Pearson's r between two such maps; NaN where there are fewer than two
            maps that are not constant.
        """

    @abstractmethod
    def surrogates(self, maps: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
        """Return maps that are as smooth as given ones and have nothing else in common with them.

        Parameters
        ----------
        maps : ndarray, shape (n_maps, n_features)
        seed : int
            Maps with different seeds are unrelated. Those of one call are as correlated with each
            other as the given maps are.

        Returns
        -------
        ndarray of float32, shape (n_maps, n_values)
            At some of the features, which are the same in all calls.
        """

    @property
    @abstractmethod
    def references(self) -> str | None:
        """The set of reference maps that NiDecomp ships for this space; None: there are none."""

    @abstractmethod
    def spatial_metadata(self, reference: str, res: str | None) -> dict[str, object]:
        """Return the spatial metadata that BIDS requires in the sidecar of a map.

        Parameters
        ----------
        reference : str
            BIDS URI of a run's file whose numbers lie where those of maps do.
        res : str or None
            The label that the names of the runs' files have for the resolution.

        Returns
        -------
        dict
        """

    # ------------------------------------------------------------ runs
    def prepare(self, smoothing_fwhm: tuple[float, ...]) -> None:  # noqa: B027  most need nothing
        """Compute what all processes need to read runs, before they start.

        Parameters
        ----------
        smoothing_fwhm : tuple of float
            As for `read_series`.
        """

    @abstractmethod
    def read_series(
        self, path: Path, kept: NDArray[np.intp], smoothing_fwhm: tuple[float, ...]
    ) -> RunSeries:
        """Return the series of features of one run, read once, at each smoothing.

        Parameters
        ----------
        path : Path
            The run's file.
        kept : ndarray of int, shape (n_kept,)
            The volumes to take, ascending.
        smoothing_fwhm : tuple of float
            Full widths at half maximum of the Gaussians in mm, 0 for none: one or several
            smoothings of the same volumes.

        Returns
        -------
        RunSeries
            The series have all volumes, including those that are empty, which mean nothing.

        Raises
        ------
        FailedRunError
            The file cannot be read.
        """

    def read_packed(
        self, path: Path, kept: NDArray[np.intp], smoothing_fwhm: tuple[float, ...]
    ) -> PackedRun:
        """Return what `read_series` does, in 20 bits per value.

        A space should pack volumes while they are read: here, a run takes the memory of both.
        """
        series, n_nonfinite, empty = self.read_series(path, kept, smoothing_fwhm)
        return PackedRun(tuple(pack(one, empty) for one in series), n_nonfinite, empty)

    @abstractmethod
    def reading_bytes(self, run: UsableRun) -> float:
        """Return the memory that reading a run takes in addition to its series, in bytes."""

    def smoothing_bytes(self, fwhm: float) -> float:  # noqa: ARG002  images need no weights
        """Return the memory that the weights of smoothing take, in bytes."""
        return 0.0

    def writing_bytes(self, run: UsableRun) -> float:  # noqa: ARG002  images are written by volume
        """Return the memory that writing a run's image again takes, in bytes."""
        return 0.0

    @abstractmethod
    def open_run(self, path: Path) -> RunImage:
        """Open a run's preprocessed file, to read it and to write one like it volume by volume.

        Raises
        ------
        FailedRunError
            The file cannot be read.
        """

    # ------------------------------------------------------------ maps as files
    @property
    @abstractmethod
    def n_stored(self) -> int:
        """The number of values of one map in its file, including those outside the features."""

    @abstractmethod
    def encode(
        self,
        maps: NDArray[np.floating],
        n_threads: int = 1,
        *,
        names: Sequence[str] = (),
        hemi: Hemisphere | None = None,
    ) -> bytes:
        """Return the bytes of a file of maps.

        Parameters
        ----------
        maps : ndarray, shape (n_maps, n_features)
        n_threads : int
            How many may compress it; the bytes do not depend on it.
        names : sequence of str
            Those of the maps, for formats that hold them; by default they are numbered.
        hemi : {"L", "R"}, optional
            Which of `hemispheres`, where there are two files.

        Returns
        -------
        bytes
            float32; the same maps give the same bytes.
        """

    def encode_each(
        self,
        maps: Iterable[NDArray[np.floating]],
        n_maps: int,
        n_threads: int = 1,
        *,
        names: Sequence[str] = (),
        hemi: Hemisphere | None = None,
    ) -> Iterator[bytes]:
        """Yield the parts of a file of maps, which need not be in memory together.

        Parameters
        ----------
        maps : iterable of ndarray, each of shape (n_features,)
        n_maps : int
            How many there are; at least one.
        n_threads, names, hemi
            As in `encode`.

        Yields
        ------
        bytes
            Joined they hold what `encode` gives, perhaps compressed another way.
        """
        together = np.empty((n_maps, self.n_features), dtype=np.float32)
        for row, values in zip(together, maps, strict=True):
            row[...] = values
        yield self.encode(together, n_threads, names=names, hemi=hemi)

    @abstractmethod
    def encode_labels(
        self,
        labels: NDArray[np.int32],
        *,
        names: Sequence[str] = (),
        hemi: Hemisphere | None = None,
    ) -> bytes:
        """Return the bytes of a parcellation, (n_features,).

        0 is no region; `names` are those of the labels from 1, for formats that hold them.
        """

    @abstractmethod
    def encode_mask(self, *, hemi: Hemisphere | None = None) -> bytes:
        """Return the bytes of the file of the features themselves: the mask."""

    # ------------------------------------------------------------ atlases and other maps
    @abstractmethod
    def describe_maps(self, path: Path) -> tuple[MapKind, int]:
        """Return what a possible atlas contains, without reading all of it.

        Parameters
        ----------
        path : Path
            Maps, or labels, in the same space; perhaps at another resolution.

        Returns
        -------
        kind : {"maps", "labels"}
        n_maps : int
            1 for labels.

        Raises
        ------
        FailedRunError
            The file cannot be read, or is neither.
        """

    def without_values(self, path: Path) -> str | None:  # noqa: ARG002  images have all voxels
        """Return which features a file of this kind has no values for, or None.

        Parameters
        ----------
        path : Path
            Of maps or labels, in the same space.

        Returns
        -------
        str or None
            ``the cortex``.
        """
        return None

    def map_names(self, path: Path) -> tuple[str, ...]:  # noqa: ARG002  images hold no names
        """Return the names that a file of maps has of them.

        Parameters
        ----------
        path : Path

        Returns
        -------
        tuple of str
            One for each map, or none.

        Raises
        ------
        FailedRunError
            The file cannot be read.
        """
        return ()

    @abstractmethod
    def read_maps(self, path: Path, n_maps: int) -> NDArray[np.float32]:
        """Return maps, interpolated linearly at the features.

        Parameters
        ----------
        path : Path
        n_maps : int
            How many there must be.

        Returns
        -------
        ndarray of float32, shape (n_maps, n_features)
            Finite; 0 beyond what the file covers.

        Raises
        ------
        FailedRunError
            The file cannot be read or has another number of maps.
        """

    @abstractmethod
    def read_share(self, path: Path, beyond: float) -> NDArray[np.float32]:
        """Return a map of shares that NiDecomp ships, such as that of a tissue.

        Parameters
        ----------
        path : Path
            A file that fits `references`.
        beyond : float
            What holds beyond what the file covers.

        Returns
        -------
        ndarray of float32, shape (n_features,)
            By linear interpolation.
        """

    @abstractmethod
    def read_labels(self, path: Path) -> LabelFile:
        """Return the labels at the features, by nearest neighbour.

        Raises
        ------
        FailedRunError
            The file cannot be read.
        """

    # ------------------------------------------------------------ regions
    def prepare_regions(self) -> None:
        """Compute what regions need, once, before several threads ask for it."""
        _ = self.adjacency

    @abstractmethod
    def region_seeds(self, values: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the peaks of a map around which ``local_regions`` lie.

        Parameters
        ----------
        values : ndarray of float32, shape (n_features,)
            0 or above, somewhere above.

        Returns
        -------
        ndarray of int, shape (n_features,)
            Number of the peak, from 1, in the same order however the file is stored; 0 elsewhere.
        """

    @abstractmethod
    def region_rule(self, kind: RegionKind) -> str:
        """Return in words how regions are defined, for sidecars."""
