"""What spaces of features exchange with the rest: names and units, files, series, labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.hemispheres import Hemisphere
from nidecomp.core.packed import PackedSeries

# nilearn's names: around the peaks of the smoothed map, or the connected components of the map.
RegionKind = Literal["local_regions", "connected_components"]
# Files of values, or of whole-number labels.
MapKind = Literal["maps", "labels"]


@dataclass(frozen=True)
class SizeUnit:
    """How the size of some features is measured, and the smallest clusters and regions of them.

    Parameters
    ----------
    size : str
        The kind of size: ``volume`` or ``area``.
    unit : str
        The unit of size in BIDS notation: ``mm^3`` or ``mm^2``.
    neighbours : str
        The definition of neighbours: ``voxels that share a face``.
    min_cluster, min_region : float
        In that unit: smaller clusters and regions are left out.
    """

    size: str
    unit: str
    neighbours: str
    min_cluster: float
    min_region: float

    @property
    def column(self) -> str:
        """The name of a column of sizes: ``volume_mm3``."""
        return f"{self.size}_{self.unit.replace('^', '')}"


@dataclass(frozen=True)
class Measure:
    """What features are called, and how their size is measured.

    Parameters
    ----------
    feature, features : str
        Singular and plural: ``voxel`` and ``voxels``.
    units : tuple of SizeUnit
        One; or where there are vertices and voxels, one for each.
    counted : str
        What makes a feature count for a participant, before "at least half of the participants".
    """

    feature: str
    features: str
    units: tuple[SizeUnit, ...]
    counted: str = "in the brain masks of"

    def count(self, number: int) -> str:
        """Return a number of features: ``1 voxel``, ``2 voxels``."""
        return f"{number} {self.feature if number == 1 else self.features}"

    def in_words(self, about_voxels: str) -> str:
        """Return a text about voxels as a text about these features.

        Parameters
        ----------
        about_voxels : str
            In it, voxels stand for features in general, also within a name (``n_voxels``).
        """
        return (
            about_voxels.replace("voxels", self.features)
            .replace("voxel", self.feature)
            .replace("Voxels", self.features.capitalize())
        )

    @property
    def count_key(self) -> str:
        """The key of the number of features in a sidecar: ``NumberOfVoxels``."""
        return f"NumberOf{self.features.capitalize()}"

    @property
    def size(self) -> str:
        """The kinds of size: ``area or volume``."""
        return " or ".join(one.size for one in self.units)

    @property
    def units_of_columns(self) -> dict[str, str]:
        """The unit of each column of sizes."""
        return {one.column: one.unit for one in self.units}

    def other_unit(self, unit: SizeUnit) -> str:
        """Return what a column of sizes says of what is measured in another unit, or nothing."""
        others = [one.column for one in self.units if one != unit]
        return f"; n/a where {', '.join(others)} has it" if others else ""

    @property
    def min_region(self) -> str:
        """The smallest regions: ``200 mm^2 or 1350 mm^3``."""
        return " or ".join(f"{one.min_region:g} {one.unit}" for one in self.units)


@dataclass(frozen=True)
class Extensions:
    """The extensions of the files of a space, each with its dot.

    Parameters
    ----------
    maps, labels, mask : str
        Maps of real numbers, a parcellation, and which features there are.
    run : str
        A run's own image, however it was stored before.
    mask_suffix : str
        The BIDS suffix of the mask: BIDS has no masks but images of voxels.
    labels_folder : str
        The folder of parcellations: ``func`` or ``anat``, in which BIDS has them.
    one_map : str
        What one map of a file is called: ``volume`` or ``map``.
    file : str
        What a file is called: ``image`` or ``file``.
    """

    maps: str
    labels: str
    mask: str
    run: str
    mask_suffix: str = "mask"
    labels_folder: str = "func"
    one_map: str = "volume"
    file: str = "image"


class LabelFile(NamedTuple):
    """The labels of a file.

    Parameters
    ----------
    labels : ndarray of numbers, shape (n_labels,)
        All values above 0 that the file holds, ascending; perhaps fractions.
    here : ndarray of numbers, shape (n_features,)
        The value at each feature, of the nearest place in the file.
    names : mapping, optional
        The names of labels, where the file has them.
    """

    labels: NDArray[np.number]
    here: NDArray[np.number]
    names: Mapping[int, str] = MappingProxyType({})


class RunSeries(NamedTuple):
    """What was read of a run.

    Parameters
    ----------
    series : tuple of ndarray of float32, each of shape (n_kept, n_features)
        One for each smoothing, finite: a value that is not counts as 0. A feature whose value is
        the same in all volumes that are not empty, before smoothing, is 0. So is a grayordinate
        without a signal, which one value that is not finite is enough for: see
        `grayordinate_series.usable_features`.
    n_nonfinite : int
        How many features were NaN or infinite in at least one volume that is not empty.
    empty : tuple of int
        Which of the volumes read have no signal: before smoothing, all of their features have the
        same value (a run that was stopped or padded). Ascending indices into the volumes read.
    """

    series: tuple[NDArray[np.float32], ...]
    n_nonfinite: int
    empty: tuple[int, ...]


class PackedRun(NamedTuple):
    """What was read of a run, in 20 bits per value.

    Parameters
    ----------
    series : tuple of PackedSeries
        One for each smoothing, of the values of `RunSeries`. Volumes that are empty are not stored.
    n_nonfinite, empty
        As in `RunSeries`.
    """

    series: tuple[PackedSeries, ...]
    n_nonfinite: int
    empty: tuple[int, ...]


class RunImage(Protocol):
    """A run's preprocessed file, including what is not in the features."""

    @property
    def n_volumes(self) -> int:
        """The number of volumes."""

    def volumes(self, kept: NDArray[np.intp]) -> Iterator[NDArray[np.float32]]:
        """Yield some volumes, ascending, each of shape (n_numbers,), in the order of the file."""

    def encode(
        self, volumes: Iterable[NDArray[np.float32]], hemi: Hemisphere | None = None
    ) -> Iterator[bytes]:
        """Yield the parts of a file with the same header and other volumes, volume by volume.

        With two files, `hemi` says which one; volumes are always those of both.
        """
