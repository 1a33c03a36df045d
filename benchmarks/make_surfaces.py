"""Write runs of grayordinates of full size: ``make_surfaces.py OUT_DIR --runs 20 --volumes 400``.

One run a participant, 91,282 grayordinates as fMRIPrep writes them (two cortices of fs_LR 32k
without medial wall, and as many voxels of 2 mm as there are below it, here in boxes), float32. The
14 networks of NiDecomp at the vertices, and weights drawn at random at the voxels, times smooth
time courses, plus noise that is smoothed with 4 mm along the surface. ``--pairs`` writes the cortex
as pairs of GIFTI files in fsaverage5, too. Runs that are there already are kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import cifti2
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nidecomp.annotation.atlases import shipped_networks
from nidecomp.core.hemispheres import HEMISPHERES, of_hemisphere
from nidecomp.spaces.brain_models import CORTEX, BrainModels, Structure
from nidecomp.spaces.gifti import gifti_series
from nidecomp.spaces.grayordinate_series import cortex_of
from nidecomp.spaces.grayordinates import GrayordinateSpace
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.meshes import template_mesh

REPETITION_TIME_S = 2.0
NETWORK_SD, NOISE_SD, BASELINE, NOISE_FWHM = 10.0, 40.0, 1000.0, 4.0
_GRID = Grid((91, 109, 91), ((-2, 0, 0, 90), (0, 2, 0, -126), (0, 0, 2, -72), (0, 0, 0, 1)))
# Middle in mm and shape in voxels: 31,870 voxels together.
_BOXES = {
    "CIFTI_STRUCTURE_CEREBELLUM_LEFT": ((-24, -62, -36), (22, 20, 20)),
    "CIFTI_STRUCTURE_CEREBELLUM_RIGHT": ((24, -62, -36), (22, 20, 20)),
    "CIFTI_STRUCTURE_THALAMUS_LEFT": ((-14, -18, 8), (13, 14, 38)),
    "CIFTI_STRUCTURE_THALAMUS_RIGHT": ((14, -18, 8), (13, 14, 38)),
    "CIFTI_STRUCTURE_BRAIN_STEM": ((0, -28, -52), (2, 9, 19)),
    "CIFTI_STRUCTURE_PUTAMEN_LEFT": ((-42, 4, 0), (2, 2, 23)),
    "CIFTI_STRUCTURE_PUTAMEN_RIGHT": ((42, 4, 0), (1, 2, 2)),
}


def grayordinates() -> BrainModels:
    """Return brain models of the size of fMRIPrep's 91k."""
    structures = [
        Structure(CORTEX[hemi], np.flatnonzero(~template_mesh("fsLR", 32492, hemi).wall), 32492)
        for hemi in HEMISPHERES
    ]
    for name, (middle, shape) in _BOXES.items():
        centre = np.rint(apply_affine(np.linalg.inv(_GRID.matrix), middle)).astype(int)
        steps = [np.arange(size) - size // 2 for size in shape]
        box = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3) + centre
        structures.append(Structure(name, box[np.lexsort(box.T)], None))
    return BrainModels(tuple(structures), _GRID)


def space_of(models: BrainModels, label: str, folder: Path) -> GrayordinateSpace:
    """Return all features of a file, but the medial wall."""
    if models.has_voxels:
        return GrayordinateSpace(
            models, np.ones(models.n_numbers, dtype=bool), label, "91k", "cifti", folder
        )
    n_vertices = models.structures[0].n_vertices or 0
    inside = np.concatenate([~template_mesh(label, n_vertices, hemi).wall for hemi in HEMISPHERES])
    return GrayordinateSpace(models, inside, label, None, "gifti", folder)


def planted(space: GrayordinateSpace) -> NDArray[np.float32]:
    """Return the maps of the networks, (n_networks, n_features), each with an sd of 1."""
    networks = shipped_networks(space)
    if networks is None:
        raise ValueError(f"there are no networks in {space.label}")
    maps = networks.maps.copy()
    below = ~maps.any(axis=0)
    # Boxes of voxels lie where networks need not be.
    rng = np.random.default_rng(0)
    maps[:, below] = rng.standard_normal((len(maps), np.count_nonzero(below)))
    return np.asarray(maps / maps.std(axis=1, keepdims=True), dtype=np.float32)


def simulate(
    space: GrayordinateSpace, maps: NDArray[np.float32], n_volumes: int, number: int
) -> NDArray[np.float32]:
    """Return the series of one run at all numbers of its files, (n_volumes, n_numbers)."""
    rng = np.random.default_rng(1000 + number)
    courses = gaussian_filter1d(rng.standard_normal((n_volumes, len(maps))), 1.5, axis=0)
    courses /= courses.std(axis=0)
    noise = rng.standard_normal((space.n_features, n_volumes), dtype=np.float32)
    noise = space.kernel(NOISE_FWHM) @ noise
    series = NOISE_SD / noise.std() * noise.T + NETWORK_SD * (courses @ maps)
    whole = np.full((n_volumes, space.n_stored), BASELINE, dtype=np.float32)
    whole[:, space.inside] += series
    return whole


def write_confounds(path: Path, n_volumes: int, number: int) -> None:
    """Write a table with what the strategy ``simple`` needs."""
    rng = np.random.default_rng(number)
    motion = np.cumsum(rng.standard_normal((n_volumes, 6)) * [0.02] * 1, axis=0) * 0.5
    names = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
    columns: dict[str, NDArray[np.float64]] = {}
    for name, values in zip(names, motion.T, strict=True):
        change = np.diff(values, prepend=np.nan)
        columns |= {
            name: values,
            f"{name}_derivative1": change,
            f"{name}_power2": values**2,
            f"{name}_derivative1_power2": change**2,
        }
    columns |= {name: 500 + rng.standard_normal(n_volumes) for name in ("csf", "white_matter")}
    for order in range(int(2 * n_volumes * REPETITION_TIME_S / 128)):
        phase = np.pi * (order + 1) * (np.arange(n_volumes) + 0.5) / n_volumes
        columns[f"cosine{order:02d}"] = np.cos(phase)
    rows = np.column_stack(list(columns.values()))
    lines = ["\t".join(columns)]
    lines += ["\t".join("n/a" if np.isnan(one) else f"{one:.6f}" for one in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.with_suffix(".json").write_text("{}", encoding="utf-8")


def write_dense_series(path: Path, series: NDArray[np.float32], models: BrainModels) -> None:
    """Write a .dtseries.nii as nibabel, and so fMRIPrep, does."""
    axes = []
    for one in models.structures:
        names = [one.name] * len(one.places)
        if one.n_vertices is None:
            grid = {"affine": _GRID.matrix, "volume_shape": _GRID.shape}
            axes.append(cifti2.BrainModelAxis(names, voxel=one.places, **grid))
        else:
            size = {one.name: one.n_vertices}
            axes.append(cifti2.BrainModelAxis(names, vertex=one.places, nvertices=size))
    volumes = cifti2.SeriesAxis(0, REPETITION_TIME_S, len(series))
    header = cifti2.Cifti2Header.from_axes((volumes, sum(axes[1:], axes[0])))
    image = nib.Cifti2Image(series, header)
    image.set_data_dtype(np.float32)
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SERIES")
    image.to_filename(path)


def write_run(out: Path, number: int, n_volumes: int, spaces: Sequence[GrayordinateSpace]) -> None:
    """Write the files of one participant."""
    name = f"sub-{number:02d}_task-rest"
    folder = out / f"sub-{number:02d}" / "func"
    folder.mkdir(parents=True, exist_ok=True)
    sidecar = json.dumps({"RepetitionTime": REPETITION_TIME_S, "TaskName": "rest"})
    for space in spaces:
        is_cifti = space.kind == "cifti"
        entities = "space-fsLR_den-91k" if is_cifti else f"hemi-L_space-{space.label}"
        path = folder / f"{name}_{entities}_bold{space.extensions.run}"
        if path.exists():
            continue
        series = simulate(space, planted(space), n_volumes, number)
        if is_cifti:
            write_dense_series(path, series, space.models)
            (folder / f"{name}_{entities}_bold.json").write_text(sidecar, encoding="utf-8")
            continue
        for hemi, own in zip(HEMISPHERES, np.split(series, 2, axis=1), strict=True):
            there = of_hemisphere(path, hemi)
            there.write_bytes(b"".join(gifti_series(iter(own), n_volumes, hemi)))
            text = f"{there.name.removesuffix('.func.gii')}.json"
            there.with_name(text).write_text(sidecar, encoding="utf-8")
    write_confounds(folder / f"{name}_desc-confounds_timeseries.tsv", n_volumes, number)


def main() -> None:
    """Write the dataset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--volumes", type=int, default=400)
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--no-cifti", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    description = {
        "Name": "simulated grayordinates",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "fMRIPrep", "Version": "25.2.5"}],
    }
    text = json.dumps(description, indent=2)
    (options.out / "dataset_description.json").write_text(text, encoding="utf-8")
    folder = options.out / "kernels"
    spaces = [] if options.no_cifti else [space_of(grayordinates(), "fsLR", folder)]
    if options.pairs:
        spaces.append(space_of(cortex_of(10242), "fsaverage5", folder))
    for number in range(1, options.runs + 1):
        write_run(options.out, number, options.volumes, spaces)
    print(f"{options.runs} runs of {options.volumes} volumes are in {options.out}")


if __name__ == "__main__":
    main()
