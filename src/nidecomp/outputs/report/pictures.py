"""What a picture of a component is made from, and what the page shows of it."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

# More takes several times as long and saves 2 %.
_LEVEL = 6


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
    """

    small: Image
    values: str = ""
    limit: float = 1.0
    window: float = 1.0


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
