"""What the steps need to know of a feature: how runs become features, and features files again.

The decomposition sees samples × features. Whatever a feature is (a voxel of a mask, a vertex of a
surface), a `FeatureSpace` tells how a run's file becomes a series of features, how large features
are, where they lie and which of them touch, and how maps of them are written. Nothing outside of
this package, but for what makes a space from the runs (`runs.group_mask`), knows more of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nidecomp.core.records import UsableRun

# nilearn's words: pieces of the map as it is, or around the peaks of the smoothed map.
RegionKind = Literal["local_regions", "connected_components"]
# Files of values, or of whole-number labels.
MapKind = Literal["maps", "labels"]


@dataclass(frozen=True)
class Measure:
    """What features are called, how their size is measured, and what is too small to be listed.

    Parameters
    ----------
    feature, features : str
        What one of them is called, and several: ``voxel`` and ``voxels``.
    size : str
        What their size is: ``volume`` or ``area``.
    unit : str
        Its unit as BIDS writes it: ``mm^3`` or ``mm^2``.
    neighbours : str
        Which of them belong together: ``voxels that share a face``.
    min_cluster, min_region : float
        In that unit: smaller clusters and regions are left out.
    """

    feature: str
    features: str
    size: str
    unit: str
    neighbours: str
    min_cluster: float
    min_region: float

    @property
    def column(self) -> str:
        """What a column of sizes is called: ``volume_mm3``."""
        return f"{self.size}_{self.unit.replace('^', '')}"

    @property
    def count_key(self) -> str:
        """What their number is called in a sidecar: ``NumberOfVoxels``."""
        return f"NumberOf{self.features.capitalize()}"


@dataclass(frozen=True)
class Extensions:
    """How the names of a space's files end, each with its dot.

    Parameters
    ----------
    maps, labels, mask : str
        Maps of real numbers, a parcellation, and which features there are.
    run : str
        A run's own image, however it was stored before.
    """

    maps: str
    labels: str
    mask: str
    run: str


class LabelFile(NamedTuple):
    """A file of labels.

    Parameters
    ----------
    labels : ndarray of numbers, shape (n_labels,)
        All values above 0 that the file holds, ascending; perhaps fractions.
    here : ndarray of numbers, shape (n_features,)
        The value at each feature, of the nearest place in the file.
    """

    labels: NDArray[np.number]
    here: NDArray[np.number]


class RunImage(Protocol):
    """A run's own file as it was preprocessed, whatever of it are features."""

    @property
    def n_volumes(self) -> int:
        """How many volumes it has."""

    def volumes(self, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
        """Read some volumes, ascending, each of shape (n_numbers,), in the file's order."""

    def encode(self, volumes: Iterable[NDArray[np.float32]]) -> Iterator[bytes]:
        """Return the parts of a file like it that holds other volumes, one volume at a time."""


class FeatureSpace(ABC):
    """What a feature is.

    A space is immutable and can be pickled; a pickle holds nothing large that can be computed.

    Attributes
    ----------
    label : str
        What BIDS calls the space (``space-``, ``tpl-``), for example ``MNI152NLin2009cAsym``.
    measure : Measure
        What features are called and how their size is measured.
    extensions : Extensions
        How the names of files end.
    atlas_format : str
        What files of maps and labels it reads, in words: ``a NIfTI file``.
    """

    label: str
    measure: ClassVar[Measure]
    extensions: ClassVar[Extensions]
    atlas_format: ClassVar[str]

    # ------------------------------------------------------------ what there is
    @property
    @abstractmethod
    def n_features(self) -> int:
        """The number of features."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A hash of the features and their order: with the same digest they are the same.

        It is part of the names of reduced runs, and must not change with the version.
        """

    @property
    @abstractmethod
    def sizes(self) -> NDArray[np.float64]:
        """The size of each feature in `measure.unit`, shape (n_features,)."""

    def size_of(self, features: NDArray[np.integer]) -> float:
        """Return the size of some features together.

        Parameters
        ----------
        features : ndarray of int, shape (n,)
            Indices into the features, each once.

        Returns
        -------
        float
            In `measure.unit`.
        """
        return float(self.sizes[features].sum())

    @abstractmethod
    def coordinates(self, features: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return where some features lie.

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
    @abstractmethod
    def adjacency(self) -> csr_array:
        """Which features touch: bool, shape (n_features, n_features), symmetric, none itself."""

    def clusters(self, features: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return which of some features hang together.

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
        # It is symmetric, so that strong components are the connected ones, and found faster.
        return cast(
            NDArray[np.integer], connected_components(among, directed=True, connection="strong")[1]
        )

    @property
    @abstractmethod
    def references(self) -> str | None:
        """Which of the reference maps that NiDecomp brings lie in it; None where none do."""

    @abstractmethod
    def spatial_metadata(self, reference: str, res: str | None) -> dict[str, object]:
        """Return what BIDS asks for in the sidecar of a map: where features are, and how large.

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
    @abstractmethod
    def read_series(
        self, path: Path, kept: NDArray[np.intp], smoothing_fwhm: tuple[float, ...]
    ) -> tuple[tuple[NDArray[np.float32], ...], int]:
        """Read the kept volumes of one run once; smooth them and take the features.

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
        series : tuple of ndarray of float32, each of shape (n_kept, n_features)
            One for each smoothing, finite: a value that is not counts as 0.
        n_nonfinite : int
            How many features were NaN or infinite in at least one volume.

        Raises
        ------
        FailedRunError
            The file cannot be read.
        """

    @abstractmethod
    def reading_bytes(self, run: UsableRun) -> float:
        """Return the memory that reading a run takes beside its series, in bytes."""

    @abstractmethod
    def open_run(self, path: Path) -> RunImage:
        """Open a run's own file, to read it and to write one like it, volume by volume.

        Raises
        ------
        FailedRunError
            The file cannot be read.
        """

    # ------------------------------------------------------------ maps as files
    @property
    @abstractmethod
    def n_stored(self) -> int:
        """How many numbers one map has in its file: those that are no features among them."""

    @abstractmethod
    def encode(self, maps: NDArray[np.floating]) -> bytes:
        """Return the bytes of a file of maps.

        Parameters
        ----------
        maps : ndarray, shape (n_maps, n_features)

        Returns
        -------
        bytes
            float32; the same maps give the same bytes.
        """

    def encode_each(self, maps: Iterable[NDArray[np.floating]], n_maps: int) -> Iterator[bytes]:
        """Return the parts of a file of maps that need not be in memory together.

        Parameters
        ----------
        maps : iterable of ndarray, each of shape (n_features,)
        n_maps : int
            How many there are; at least one.

        Yields
        ------
        bytes
            Joined they hold what `encode` gives, perhaps compressed another way.
        """
        together = np.empty((n_maps, self.n_features), dtype=np.float32)
        for row, values in zip(together, maps, strict=True):
            row[...] = values
        yield self.encode(together)

    @abstractmethod
    def encode_labels(self, labels: NDArray[np.int32]) -> bytes:
        """Return the bytes of a parcellation: shape (n_features,), 0 where there is no region."""

    @abstractmethod
    def encode_mask(self) -> bytes:
        """Return the bytes of the file that tells which features there are."""

    # ------------------------------------------------------------ maps of others
    @abstractmethod
    def describe_maps(self, path: Path) -> tuple[MapKind, int]:
        """Find out what a file holds that may be an atlas, without reading it all.

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

    @abstractmethod
    def read_maps(self, path: Path, n_maps: int) -> NDArray[np.float32]:
        """Read maps and bring them to the features by linear interpolation.

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
        """Read one map of shares from 0 to 1 that NiDecomp brings, such as one of a tissue.

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
        """Read labels and bring them to the features by nearest neighbour.

        Raises
        ------
        FailedRunError
            The file cannot be read.
        """

    # ------------------------------------------------------------ regions
    @abstractmethod
    def split(self, values: NDArray[np.float32], kind: RegionKind) -> list[NDArray[np.floating]]:
        """Take a map apart into pieces that hang together.

        Parameters
        ----------
        values : ndarray of float32, shape (n_features,)
            0 or above, somewhere above.
        kind : {"local_regions", "connected_components"}

        Returns
        -------
        list of ndarray, each of shape (n_features,)
            The map's values in each region, 0 elsewhere; none is smaller than
            `measure.min_region`.
        """

    @abstractmethod
    def region_rule(self, kind: RegionKind) -> str:
        """Return in words how `split` does it, for sidecars."""
