"""What a picture of a component is made from, and what the page shows of it."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.errors import NidecompError
from nidecomp.outputs.report.colours import HALF, Scale

if TYPE_CHECKING:
    from PIL.Image import Image

# The share of the values that do not have the last colour; the rest are a map's peaks.
_WINDOW = 0.998
# Of pictures of what a comparison found, in pixels.
COMPARED_WIDTH = 880
# More takes several times as long and saves 2 %.
_LEVEL = 6


class CannotDrawError(NidecompError):
    """Maps are whole, but there is nothing that they could be drawn on."""


@dataclass(frozen=True)
class Cut:
    """Where a map is cut, and what its threshold keeps.

    Parameters
    ----------
    peak_mm : tuple of float
    low, high : float
        As in the metrics table; 0 where there is no threshold, NaN where nothing is kept.
    title : str
        What stands above the picture for papers.
    """

    peak_mm: tuple[float, float, float]
    low: float
    high: float
    title: str


@dataclass(frozen=True, eq=False)
class MapPictures:
    """What the page shows of a map.

    Parameters
    ----------
    small : Image
        For the gallery.
    values : str
        What the page draws, packed; empty where it cannot.
    limit, window : float
        The value of the largest step of `values`, and the one that has the last colour.
    shows : str
        What the small picture shows, with ``{name}`` for the component.
    """

    small: Image
    values: str = ""
    limit: float = 1.0
    window: float = 1.0
    shows: str = "Slices of {name} through its peak"


def scale_of(values: NDArray[np.float32], cut: Cut) -> Scale:
    """Return how the values of a map become colours; `values` has those that pictures show."""
    return Scale(window_of(values), cut.low, cut.high)


def window_of(values: NDArray[np.float32]) -> float:
    """Return the value that has the last colour; larger ones have it, too."""
    size = np.abs(values[values != 0])
    return float(np.quantile(size, _WINDOW)) if len(size) else 1.0


def in_steps(values: NDArray[np.float32]) -> tuple[str, float]:
    """Return values in steps of one byte, packed, and the value of the largest step."""
    limit = float(np.abs(values).max(initial=0)) or 1.0
    steps = np.rint(values * (HALF / limit)).astype(np.int8)
    return packed(steps.view(np.uint8)), limit


def packed(values: NDArray[np.uint8]) -> str:
    """Return bytes as the page's script unpacks them: base64 of deflated differences.

    Parameters
    ----------
    values : ndarray of uint8

    Returns
    -------
    str
        Neighbours are similar, so that differences take a third less.
    """
    differences = np.diff(values, prepend=np.uint8(0))
    return base64.b64encode(zlib.compress(differences.tobytes(), _LEVEL)).decode()


def packed_numbers(values: NDArray[np.uint16]) -> str:
    """Return numbers of two bytes as the page's script unpacks them.

    Parameters
    ----------
    values : ndarray of uint16, shape (n,)

    Returns
    -------
    str
        As of `packed`: the low bytes of the differences, then the high ones. Small differences of
        either sign are small numbers: 0, -1, 1, -2 are 0, 1, 2, 3.
    """
    differences = np.diff(values, prepend=np.uint16(0)).view(np.int16)
    folded = ((differences << 1) ^ (differences >> 15)).view(np.uint16)
    halves = np.concatenate([folded & 255, folded >> 8]).astype(np.uint8)
    return base64.b64encode(zlib.compress(halves.tobytes(), _LEVEL)).decode()
