"""Write a full-size dataset with fMRIPrep's names: ``make_dataset.py OUT_DIR --runs 8``.

One run a participant. Anatomy, networks, nuisance, motion, physiology and drift are those of
``bids_fixtures`` (simulated at 8 mm from real maps and traces), brought to the fine grid, times the
contrast of tissues, plus noise of the fine grid's own. Runs that are there already are kept.
"""

import argparse
import gzip
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from nilearn.image import resample_to_img
from scipy import ndimage
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bids_fixtures"))

from demo import STRENGTH, load_head, load_traces
from layout import (
    Entities,
    bold_path,
    bold_sidecar,
    make_image,
    mask_path,
    write_confounds,
    write_description,
    write_image,
    write_json,
    write_text,
)
from participants import Head, make_participant, own_mask
from simulate import Recording, rng_for, simulate_run

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]

REPETITION_TIME_S = 2.0
CENTRE_MM = (0.0, -18.0, 22.0)
"""Middle of the field of view; at 2 mm and 99 x 117 x 95 it is nilearn's grid of the MNI 152."""

NOISE_SD = 15.0
"""1.5 % of the mean image: more, and the weakest sources drown in a run of 150 volumes."""

NEIGHBOUR_WEIGHT = 0.25
"""Weight of a voxel's neighbours in its noise: resampling makes real noise slightly smooth."""

SCALP_MM = 8.0
"""How far the head reaches beyond the brain: fMRIPrep does not strip the skull."""

BOLD_STEP = 0.75
"""Intensity units of one stored step: with it a file is as large as fMRIPrep's."""

N_SHARED = 20
"""Sources that all participants share: 14 networks and some of the nuisance maps.

As many as there are components in the benchmarks. With fewer, the last components of any program
are directions of its own rounding, and to compare two programs' says nothing."""

RESOLUTION = {"Resolution": "Grid of the benchmark, in the space of the MNI 152 template."}


@dataclass(frozen=True)
class Grid:
    """Shape and voxel size (mm) of the images."""

    shape: tuple[int, int, int]
    voxel_mm: float

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel to RAS+ mm, 4 x 4."""
        affine = np.diag([self.voxel_mm] * 3 + [1.0])
        affine[:3, 3] = np.array(CENTRE_MM) - self.voxel_mm * (np.array(self.shape) - 1) / 2
        return affine


# ---------------------------------------------------------------- what all participants share
def _interpolation(n_fine: int, fine: tuple[float, float], coarse: tuple[float, float, int]) -> Any:
    """Linear interpolation along one axis as a matrix, constant beyond the ends.

    Parameters
    ----------
    n_fine : int
    fine : (first coordinate, step), mm
    coarse : (first coordinate, step, number of points), mm

    Returns
    -------
    array of float32, shape (n_fine, number of coarse points)
    """
    first, step, n_coarse = coarse
    position = (fine[0] + fine[1] * np.arange(n_fine) - first) / step
    position = np.clip(position, 0, n_coarse - 1)
    distance = np.abs(position[:, np.newaxis] - np.arange(n_coarse))
    return np.maximum(1 - distance, 0).astype(np.float32)


@cache
def _to_grid(grid: Grid) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Interpolation from the 8 mm grid of the fixtures, one matrix for each of x, y and z."""
    head = load_head()
    x, y, z = (
        _interpolation(
            grid.shape[axis],
            (grid.affine[axis, 3], grid.voxel_mm),
            (head.affine[axis, 3], head.affine[axis, axis], head.mask.shape[axis]),
        )
        for axis in range(3)
    )
    return x, y, z


def _upsample(volume: Float32Array, grid: Grid) -> Float32Array:
    """Bring one 8 mm volume to the grid.

    Parameters
    ----------
    volume : array of shape (z, y, x)

    Returns
    -------
    array of shape (z, y, x): in C order this is the order in which NIfTI stores voxels
    """
    along_x, along_y, along_z = _to_grid(grid)
    plane = along_y @ (volume @ along_x.T)
    fine = along_z @ plane.reshape(len(plane), -1)
    return np.asarray(fine.reshape(grid.shape[::-1]), dtype=np.float32)


@cache
def _shared_head() -> Head:
    """Give the fixtures' head with some of its nuisance maps in every participant.

    Maps are levelled to one norm over the brain, so that small sources are as well determined as
    large ones.
    """
    head = load_head()
    shared = np.concatenate([head.networks, head.nuisance], axis=3)
    norms = np.linalg.norm(shared[head.mask], axis=0)
    shared = shared * (np.median(norms) / norms)
    return replace(head, networks=shared[..., :N_SHARED], nuisance=shared[..., N_SHARED:])


def planted_networks(grid: Grid) -> Float32Array:
    """Truth: the maps of the networks that all participants share.

    Returns
    -------
    array of shape (n_networks, x, y, z), maximum about 1
    """
    maps = load_head().networks.astype(np.float32)
    return np.stack([_upsample(maps[..., n].T, grid).T for n in range(maps.shape[3])])


@cache
def _brain(grid: Grid) -> tuple[BoolArray, Float32Array]:
    """Give the brain's mask, and the image's contrast: 1 in grey matter, 0 in air; (x, y, z)."""
    target = make_image(np.zeros(grid.shape, dtype=np.uint8), grid.affine)
    resample = partial(resample_to_img, target_img=target, copy_header=True, force_resample=True)
    nearest: Any = resample(load_mni152_brain_mask(resolution=2), interpolation="nearest")
    linear: Any = resample(load_mni152_template(resolution=2), interpolation="linear")
    mask, t1 = nearest.get_fdata() > 0, linear.get_fdata(dtype=np.float32)
    in_head = ndimage.distance_transform_edt(~mask, sampling=grid.voxel_mm) <= SCALP_MM
    # What is dark in a T1 image is bright in a BOLD image: fluid more than grey, grey than white.
    contrast = np.where(mask, 1.4 - 0.6 * t1, 0.4) * in_head
    return mask, contrast.astype(np.float32)


# ---------------------------------------------------------------- one run
def _simulate(subject: str, n_volumes: int) -> Recording:
    """Simulate a run without noise on the 8 mm grid."""
    traces = load_traces()
    trace = traces[int(rng_for("benchmark", subject, "trace").integers(len(traces)))]
    participant = make_participant(_shared_head(), STRENGTH, rng_for("benchmark", subject))
    # The contrast of the fine grid says where air is.
    everywhere = np.ones_like(participant.has_signal)
    return simulate_run(
        replace(participant, has_signal=everywhere),
        np.resize(trace, n_volumes),
        REPETITION_TIME_S,
        replace(STRENGTH, noise=0),
        rng_for("benchmark", subject, "run"),
    )


def _smooth_noise(grid: Grid, rng: np.random.Generator) -> Float32Array:
    """Slightly smooth noise with standard deviation 1, shape (z, y, x)."""
    noise = rng.standard_normal(int(np.prod(grid.shape)), dtype=np.float32)
    # Neighbours along an axis lie a fixed number of values apart: shifts of the flat array are
    # much faster than a filter, and where they cross the border of the volume there is air.
    for stride in (1, grid.shape[0], grid.shape[0] * grid.shape[1]):
        weighted = NEIGHBOUR_WEIGHT * noise
        noise[stride:] += weighted[:-stride]
        noise[:-stride] += weighted[stride:]
    noise /= np.float32((1 + 2 * NEIGHBOUR_WEIGHT**2) ** 1.5)
    return noise.reshape(grid.shape[::-1])


def _stored_volumes(recording: Recording, grid: Grid, subject: str) -> Iterator[bytes]:
    """Give the volumes of a run as they stand in the file, one at a time: a run is large."""
    rng = rng_for("benchmark", subject, "noise")
    gain = np.ascontiguousarray(_brain(grid)[1].T) / np.float32(BOLD_STEP)
    noise_level = np.float32(NOISE_SD / BOLD_STEP) * (gain > 0)
    series = np.ascontiguousarray(recording.bold.T, dtype=np.float32)
    for coarse in series:
        volume = _upsample(coarse, grid)
        volume *= gain
        noise = _smooth_noise(grid, rng)
        noise *= noise_level
        volume += noise
        yield np.rint(volume, out=volume).astype("<i2").tobytes()


def _bold_header(grid: Grid, n_volumes: int) -> bytes:
    """Header of a run's image: int16 with a scale factor."""
    shape = (*grid.shape, n_volumes)
    # No memory behind it: the header needs shape and type alone.
    image = make_image(np.broadcast_to(np.int16(0), shape), grid.affine, REPETITION_TIME_S)
    header = image.header
    header.set_slope_inter(BOLD_STEP, 0.0)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return bytes(header.binaryblock) + bytes(4)


def _write_bold(path: Path, recording: Recording, grid: Grid, subject: str) -> None:
    """Stream a run's image into a sibling file, then give it its name."""
    temporary = path.with_name(f".{path.name}.part")
    with (
        temporary.open("wb") as file,
        # nibabel's own level for images is 1, fMRIPrep's files have gzip's usual 6.
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
    ):
        packed.write(_bold_header(grid, recording.bold.shape[3]))
        for volume in _stored_volumes(recording, grid, subject):
            packed.write(volume)
    temporary.replace(path)


def write_run(root: Path, subject: str, grid: Grid, n_volumes: int) -> Path:
    """Write all files of a participant's run, unless they are there.

    Returns
    -------
    Path
        The image. It is written last: where it is, the run is whole.
    """
    entities: Entities = {"sub": subject, "task": "rest", "res": "2"}
    bold = bold_path(root, entities)
    if bold.exists():
        return bold
    with threadpool_limits(limits=1):
        recording = _simulate(subject, n_volumes)
        mask = own_mask(_brain(grid)[0], rng_for("benchmark", subject, "mask"))
        write_confounds(root, entities, recording.confounds)
        write_image(mask_path(root, entities), make_image(mask.astype(np.uint8), grid.affine))
        write_json(mask_path(root, entities, ".json"), {"Type": "Brain", **RESOLUTION})
        sidecar = {**bold_sidecar(entities, REPETITION_TIME_S), **RESOLUTION}
        write_json(bold_path(root, entities, ".json"), sidecar)
        _write_bold(bold, recording, grid, subject)
    return bold


def main() -> None:
    """Read the command line and write what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--runs", type=int, default=8, help="participants with one run each")
    parser.add_argument("--volumes", type=int, default=150)
    parser.add_argument("--shape", type=int, nargs=3, default=(99, 117, 95))
    parser.add_argument("--voxel", type=float, default=2.0, help="voxel size in mm")
    parser.add_argument("--nprocs", type=int, default=1, help="runs written at once")
    arguments = parser.parse_args()
    grid = Grid(tuple(arguments.shape), arguments.voxel)
    out_dir: Path = arguments.out_dir
    name = f"Simulated resting state, voxels of {grid.voxel_mm:g} mm"
    write_description(out_dir, name)
    write_text(out_dir / "README", f"{name}\n\nWritten by benchmarks/make_dataset.py. CC0.\n")
    subjects = [f"{number:02d}" for number in range(1, arguments.runs + 1)]
    task = partial(write_run, grid=grid, n_volumes=arguments.volumes)
    with ProcessPoolExecutor(arguments.nprocs) as pool:
        for path in pool.map(task, repeat(out_dir), subjects):
            print(f"{path} {path.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
