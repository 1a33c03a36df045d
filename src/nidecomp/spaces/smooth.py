"""Smoothing a volume and masking it in one pass.

The Gaussian is separable: three passes of one-dimensional sums. They are done only in the box
around the mask, widened by the kernel's radius (and mirrored where that lies outside of the image,
as nilearn does): half of a whole-head image. All three are done for one plane before the next, out
of a ring of as many planes as the kernel spans, so that everything between the stored numbers and
the result stays in the processor's cache; each pass goes through its plane without a break, which
its vector units need. Arithmetic and storage are float32; the result equals nilearn's within
rounding.

Arrays here are indexed as they lie in a file: ``[z, y, x]``, the image's first axis last, so that
the innermost loop runs along memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.compiled import compiled

# As in scipy, and so in nilearn: the kernel is truncated at four standard deviations.
_TRUNCATE = 4.0
_FWHM_PER_SIGMA = float(np.sqrt(8.0 * np.log(2.0)))
# float32 represents every number of these types exactly.
_EXACT = frozenset({"int8", "uint8", "int16", "uint16"})

Kernels = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
Indices = NDArray[np.int64]


class Box(NamedTuple):
    """The bounding box of a mask, widened by the radii of the kernels.

    Parameters
    ----------
    rows, columns : ndarray of int
        Where in the image each y and each x of the box lies, mirrored at its borders.
    start, stop : int
        First and one past the last of the columns that are not mirrored.
    runs : ndarray of int, shape (n_runs, 3)
        Unbroken pieces of the mask along x: y, first and one past the last x, counted in the
        mask's own box.
    first_run : ndarray of int, shape (n_z + 1,)
        Where the runs of each plane begin.
    """

    rows: Indices
    columns: Indices
    start: int
    stop: int
    runs: Indices
    first_run: Indices


def half_kernel(fwhm: float, voxel_size: float) -> NDArray[np.float32]:
    """Return one side of a one-dimensional Gaussian, from its centre.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum in mm; 0 gives the kernel that changes nothing.
    voxel_size : float
        In mm.

    Returns
    -------
    ndarray of float32, shape (radius + 1,)
        Weights that sum to 1 with the other side added, as `scipy.ndimage.gaussian_filter1d`
        makes them.
    """
    sigma = fwhm / _FWHM_PER_SIGMA / voxel_size
    radius = int(_TRUNCATE * sigma + 0.5)
    if radius == 0:
        return np.ones(1, dtype=np.float32)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(weights[radius:] / weights.sum(), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Smoother:
    """The smoothing of volumes within a mask: prepared once per run, used for each volume.

    Parameters
    ----------
    kernels : three arrays
        Half kernels along z, y and x.
    box : Box
        Where the mask lies.
    """

    kernels: Kernels
    box: Box

    def take(
        self,
        stored: NDArray[np.generic],
        scaling: tuple[float, float],
        features: NDArray[np.float32],
        nonfinite: NDArray[np.bool_],
    ) -> None:
        """Scale, smooth and mask one volume.

        Parameters
        ----------
        stored : ndarray, shape (n_z, n_y, n_x)
            Numbers as an image stores them, of any type of integer or float.
        scaling : two floats
            Slope and intercept that make values of them. A value that is not finite counts as 0.
        features : ndarray of float32, shape (n_features,)
            Where the result goes.
        nonfinite : ndarray of bool, shape (n_z, n_y, n_x)
            Set where a value that was needed is not finite.
        """
        if stored.dtype.name in _EXACT:
            # Smoothing is linear, and after masking fewer numbers have to be scaled.
            _smooth(stored, (1.0, 0.0), self.kernels, self.box, nonfinite, features)
            if scaling != (1.0, 0.0):
                np.multiply(features, np.float32(scaling[0]), out=features)
                np.add(features, np.float32(scaling[1]), out=features)
        else:
            _smooth(stored, scaling, self.kernels, self.box, nonfinite, features)


def make_smoother(
    mask: NDArray[np.bool_], voxel_sizes: tuple[float, float, float], fwhm: float
) -> Smoother:
    """Return the smoother for a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (n_x, n_y, n_z)
        With at least one voxel in it.
    voxel_sizes : three floats
        Along x, y and z, in mm.
    fwhm : float
        Full width at half maximum in mm; 0 for none.

    Returns
    -------
    Smoother
    """
    inside = np.ascontiguousarray(mask.T)
    kernel_x, kernel_y, kernel_z = (half_kernel(fwhm, size) for size in voxel_sizes)
    radius_x, radius_y = len(kernel_x) - 1, len(kernel_y) - 1
    _, ys, xs = np.nonzero(inside)
    rows = _widened(int(ys.min()), int(ys.max()), radius_y, mask.shape[1])
    columns = _widened(int(xs.min()), int(xs.max()), radius_x, mask.shape[0])
    steps = np.diff(np.pad(inside, ((0, 0), (0, 0), (1, 1))).view(np.int8), axis=2)
    starts, stops = np.argwhere(steps == 1), np.argwhere(steps == -1)
    runs = np.column_stack([starts[:, 1] - ys.min(), starts[:, 2], stops[:, 2]])
    runs[:, 1:] -= xs.min()
    box = Box(
        rows=rows,
        columns=columns,
        start=max(0, radius_x - int(xs.min())),
        stop=min(len(columns), mask.shape[0] + radius_x - int(xs.min())),
        runs=runs,
        first_run=np.searchsorted(starts[:, 0], np.arange(len(inside) + 1)),
    )
    return Smoother((kernel_z, kernel_y, kernel_x), box)


def _widened(first: int, last: int, radius: int, size: int) -> Indices:
    """Return the image index of each index of a widened range: d c b a | a b c d | d c b a."""
    wanted = np.arange(first - radius, last + radius + 1) % (2 * size)
    return np.asarray(np.minimum(wanted, 2 * size - 1 - wanted))


# ---------------------------------------------------------------- compiled loops
@compiled
def _smooth(
    stored: NDArray[np.generic],
    scaling: tuple[float, float],
    kernels: Kernels,
    box: Box,
    nonfinite: NDArray[np.bool_],
    features: NDArray[np.float32],
) -> None:
    """Pass over the planes that hold voxels of the mask."""
    half_z, half_y, half_x = kernels
    radius_z, radius_y, radius_x = len(half_z) - 1, len(half_y) - 1, len(half_x) - 1
    n_z, n_y, width = len(stored), len(box.rows), len(box.columns)
    size = n_y * width
    n_ring = min(2 * radius_z + 1, n_z)
    ring = np.empty((n_ring, n_y, width), np.float32)
    once, twice = np.empty(size, np.float32), np.empty(size, np.float32)
    below, above = np.empty(radius_z + 1, np.int64), np.empty(radius_z + 1, np.int64)
    along_y, along_x = np.arange(radius_y + 1) * width, np.arange(radius_x + 1)
    # What the passes along y and x give: without the rows and columns that only they needed.
    size_y = size - 2 * radius_y * width
    size_x = size_y - 2 * radius_x
    planes, position, following = ring.ravel(), 0, 0
    for z in range(n_z):
        runs = box.runs[box.first_run[z] : box.first_run[z + 1]]
        if len(runs) == 0:
            continue
        for plane in range(max(following, z - radius_z), min(z + radius_z + 1, n_z)):
            _take_plane(stored, plane, scaling, box, ring[plane % n_ring], nonfinite)
        following = z + radius_z + 1
        for step in range(radius_z + 1):
            below[step] = (_mirrored(z - step, n_z) % n_ring) * size
            above[step] = (_mirrored(z + step, n_z) % n_ring) * size
        _weigh(planes, 0, below, above, half_z, once)
        _weigh(once, radius_y * width, -along_y, along_y, half_y, twice[:size_y])
        _weigh(twice, radius_x, -along_x, along_x, half_x, once[:size_x])
        for index in range(len(runs)):
            y, start, stop = runs[index, 0], runs[index, 1], runs[index, 2]
            source = once[y * width + start : y * width + stop]
            target = features[position : position + stop - start]
            for x in range(stop - start):
                target[x] = source[x]
            position += stop - start


@compiled
def _mirrored(index: int, size: int) -> int:
    """Mirror an index at the image's borders, as `_widened` does."""
    index %= 2 * size
    return min(index, 2 * size - 1 - index)


@compiled
def _take_plane(
    stored: NDArray[np.generic],
    z: int,
    scaling: tuple[float, float],
    box: Box,
    plane: NDArray[np.float32],
    nonfinite: NDArray[np.bool_],
) -> None:
    """Convert stored numbers to values, in float64 as nibabel does where there is a scaling."""
    slope, inter = scaling
    start, stop = box.start, box.stop
    for y in range(len(box.rows)):
        source, target = stored[z, box.rows[y]], plane[y]
        # Most columns lie side by side in the image; the others are mirrored.
        first = box.columns[start]
        beside, within = source[first : first + stop - start], target[start:stop]
        if slope == 1.0 and inter == 0.0:
            for x in range(stop - start):
                within[x] = np.float32(beside[x])
        else:
            for x in range(stop - start):
                within[x] = np.float32(slope * beside[x] + inter)
        for x in range(start):
            target[x] = np.float32(slope * source[box.columns[x]] + inter)
        for x in range(stop, len(target)):
            target[x] = np.float32(slope * source[box.columns[x]] + inter)
        _empty_nonfinite(target, box.columns, nonfinite[z, box.rows[y]])


@compiled
def _empty_nonfinite(
    values: NDArray[np.float32], columns: Indices, nonfinite: NDArray[np.bool_]
) -> None:
    """Set values that are not finite to 0 and mark where they were."""
    n_bad = 0
    for x in range(len(values)):
        n_bad += not np.isfinite(values[x])
    if n_bad > 0:
        for x in range(len(values)):
            if not np.isfinite(values[x]):
                values[x] = 0.0
                nonfinite[columns[x]] = True


@compiled
def _weigh(
    values: NDArray[np.float32],
    start: int,
    below: NDArray[np.int64],
    above: NDArray[np.int64],
    half: NDArray[np.float32],
    result: NDArray[np.float32],
) -> None:
    """Add weighted ranges of values at equal distances below and above a start.

    Several steps at once, so that the result is passed over few times: five, because that is the
    radius of 6 mm in voxels of 2 mm, then two, then one.
    """
    n, radius = len(result), len(half) - 1
    centre = values[start + below[0] :]
    step = 1
    if radius >= 5:
        a, b = values[start + below[1] :], values[start + above[1] :]
        c, d = values[start + below[2] :], values[start + above[2] :]
        e, f = values[start + below[3] :], values[start + above[3] :]
        g, h = values[start + below[4] :], values[start + above[4] :]
        i, j = values[start + below[5] :], values[start + above[5] :]
        for x in range(n):
            result[x] = (
                half[0] * centre[x]
                + half[1] * (a[x] + b[x])
                + half[2] * (c[x] + d[x])
                + half[3] * (e[x] + f[x])
                + half[4] * (g[x] + h[x])
                + half[5] * (i[x] + j[x])
            )
        step = 6
    else:
        for x in range(n):
            result[x] = half[0] * centre[x]
    while step < radius:
        a, b = values[start + below[step] :], values[start + above[step] :]
        c, d = values[start + below[step + 1] :], values[start + above[step + 1] :]
        for x in range(n):
            result[x] += half[step] * (a[x] + b[x]) + half[step + 1] * (c[x] + d[x])
        step += 2
    if step == radius:
        a, b = values[start + below[step] :], values[start + above[step] :]
        for x in range(n):
            result[x] += half[step] * (a[x] + b[x])
