"""The colours of maps: yellow and red above zero, blue below, fainter below the threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# From values near 0 to the largest; lighter is more. Blue and orange are told apart with any colour
# vision, and both can be seen on a dark brain.
_ABOVE = (
    (0.0, (120, 18, 12)),
    (0.35, (214, 58, 22)),
    (0.7, (253, 156, 50)),
    (1.0, (255, 247, 168)),
)
_BELOW = (
    (0.0, (24, 34, 122)),
    (0.35, (36, 92, 204)),
    (0.7, (84, 176, 240)),
    (1.0, (200, 247, 255)),
)
HALF = 127
# How much of the colour is left just below the threshold.
_FAINT = 0.6


@dataclass(frozen=True)
class Scale:
    """How values of one map become colours.

    Parameters
    ----------
    window : float
        The value that has the last colour; larger ones have it, too.
    low, high : float
        Values at or below `low` and at or above `high` are kept by the threshold; NaN where none
        is.
    """

    window: float
    low: float
    high: float


def colour_table() -> NDArray[np.uint8]:
    """Return the colours from the lowest to the highest value, shape (255, 3)."""
    levels = np.linspace(0, 1, HALF + 1)
    sides = []
    for anchors in (_BELOW, _ABOVE):
        at = [place for place, _ in anchors]
        channels = [np.interp(levels, at, [rgb[axis] for _, rgb in anchors]) for axis in range(3)]
        sides.append(np.rint(np.stack(channels, axis=1)).astype(np.uint8))
    below, above = sides
    return np.concatenate([below[:0:-1], above])


_TABLE = colour_table()


def is_kept(values: NDArray[np.float32], scale: Scale) -> NDArray[np.bool_]:
    """Return which values the threshold keeps; 0 never is."""
    return np.asarray(((values >= scale.high) | (values <= scale.low)) & (values != 0))


def painted(
    ground: NDArray[np.uint8] | NDArray[np.float32],
    values: NDArray[np.float32],
    scale: Scale,
    *,
    is_faint: bool,
) -> NDArray[np.uint8]:
    """Return a picture of values on a background.

    Parameters
    ----------
    ground : ndarray, shape (..., 3), or (...) for shades of grey
        From 0 to 255.
    values : ndarray, shape (...)
    scale : Scale
    is_faint : bool
        Whether values below the threshold are shown, the fainter the smaller they are.

    Returns
    -------
    ndarray of uint8, shape (..., 3)
    """
    place = np.clip(np.rint(values / scale.window * HALF), -HALF, HALF).astype(np.int16) + HALF
    opacity = is_kept(values, scale).astype(np.float32)
    if is_faint:
        above, below = (
            limit if np.isfinite(limit) and limit > 0 else scale.window
            for limit in (scale.high, -scale.low)
        )
        limit = np.where(values > 0, above, below)
        share = np.minimum(np.abs(values) / limit, 1)
        opacity = np.where(opacity > 0, opacity, _FAINT * share**2)
    picture = np.empty((*values.shape, 3), dtype=np.uint8)
    # Channel by channel, which takes half as long as all of them with one opacity.
    for channel in range(3):
        own = ground if ground.ndim == values.ndim else ground[..., channel]
        own = own.astype(np.float32)
        mixed = opacity * (_TABLE[:, channel].take(place) - own)
        mixed += own
        picture[..., channel] = np.rint(mixed, out=mixed)
    return picture


def painted_where(
    ground: NDArray[np.uint8] | NDArray[np.float32],
    values: NDArray[np.float32],
    window: float,
    kept: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Return a picture of values of which some are kept, wherever their values lie.

    Parameters
    ----------
    ground, values
        As in `painted`.
    window : float
        The value that has the last colour.
    kept : ndarray of bool, shape (...)
        Others are shown, too, the fainter the smaller they are.

    Returns
    -------
    ndarray of uint8, shape (..., 3)
    """
    opaque = painted(ground, values, Scale(window, 0, 0), is_faint=False)
    faint = painted(ground, values, Scale(window, np.nan, np.nan), is_faint=True)
    return np.where(kept[..., None], opaque, faint)
