"""Lines around what a test found, drawn on pictures of maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

# White, with a thin dark edge outside: seen on every colour of maps, on grey and on paper.
_LINE, _EDGE = (255, 255, 255), (0, 0, 0)
# In pixels of the picture.
_LINE_PX, _EDGE_PX = 1.5, 0.8


def outlined(picture: Image.Image, inside: NDArray[np.bool_], finer: int) -> Image.Image:
    """Return a picture with a line along the inner edge of a region.

    Parameters
    ----------
    picture : Image
    inside : ndarray of bool, shape (height * finer, width * finer)
        The region; pixels that are finer than those of the picture make smooth lines.
    finer : int

    Returns
    -------
    Image
    """
    if not inside.any():
        return picture
    mask = Image.fromarray(np.where(inside, np.uint8(255), np.uint8(0)))
    shrunk = mask.filter(ImageFilter.MinFilter(_odd(_LINE_PX * finer)))
    grown = mask.filter(ImageFilter.MaxFilter(_odd(_EDGE_PX * finer)))
    drawn = picture.copy()
    for colour, outer, inner in ((_EDGE, grown, mask), (_LINE, mask, shrunk)):
        part = Image.fromarray(np.asarray(outer) - np.asarray(inner))
        share = part.resize(picture.size, Image.Resampling.BOX)
        drawn.paste(Image.new("RGB", picture.size, colour), mask=share)
    return drawn


def _odd(width: float) -> int:
    """Return the size of a filter that moves an edge by a number of pixels."""
    return 2 * max(1, round(width)) + 1
