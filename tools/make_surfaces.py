"""Create src/nidecomp/spaces/data from files of the HCP Pipelines.

``python tools/make_surfaces.py FOLDER WALL.npz`` reads spheres, areas and masks of fs_LR and
fsaverage from the folder, and the medial wall of fsaverage5 from the array (see README.md next to
the results), and always writes the same bytes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[1] / "src" / "nidecomp" / "spaces" / "data"
# Numbers are stored as whole multiples of these, in mm and mm²: 16 bits each.
SPHERE_STEP, AREA_STEP = 1 / 300, 1 / 2048
FSAVERAGE = {"fsaverage5": "10k", "fsaverage6": "41k"}


def main(folder: Path, wall: Path) -> None:
    """Write an array file for each density of fs_LR and for fsaverage, and the licence."""
    for density in ("32k", "59k"):
        np.savez_compressed(DATA / f"fsLR_{density}.npz", **_fs_lr(folder, density))
    np.savez_compressed(DATA / "fsaverage.npz", **_fsaverage(folder, wall))
    shutil.copyfile(folder / "LICENSE.md", DATA / "LICENSE-HCPpipelines.md")


def _fs_lr(folder: Path, density: str) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {}
    triangles = {}
    for hemi in "LR":
        sphere, faces = _arrays(
            folder / f"fs_LR-deformed_to-fsaverage.{hemi}.sphere.{density}_fs_LR.surf.gii"
        )
        (areas,) = _arrays(folder / f"fs_LR.{hemi}.midthickness_va_avg.{density}_fs_LR.shape.gii")
        (cortex,) = _arrays(folder / f"{hemi}.atlasroi.{density}_fs_LR.shape.gii")
        triangles[hemi] = _in_order(faces)
        arrays[f"sphere_{hemi}"] = np.round(sphere / SPHERE_STEP).astype("<i2")
        arrays[f"areas_{hemi}"] = np.round(areas / AREA_STEP).astype("<u2")
        arrays[f"wall_{hemi}"] = np.packbits(cortex < 0.5)
    if not np.array_equal(_in_order(triangles["L"][:, ::-1]), triangles["R"]):
        raise ValueError("the right hemisphere is not the mirrored left one")
    # Differences of neighbours in the file are small numbers, which compress well.
    first, second, third = triangles["L"].T
    arrays["faces"] = np.stack([np.diff(first, prepend=0), second - first, third - first])
    return arrays


def _fsaverage(folder: Path, wall: Path) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {}
    with np.load(wall) as walls:
        for hemi in "LR":
            arrays[f"wall_{hemi}"] = walls[hemi]
            for name, density in FSAVERAGE.items():
                file = f"{name}.{hemi}.midthickness_va_avg.{density}_fsavg_{hemi}.shape.gii"
                (areas,) = _arrays(folder / file)
                arrays[f"areas_{name}_{hemi}"] = np.round(areas / AREA_STEP).astype("<u2")
    return arrays


def _arrays(path: Path) -> list[NDArray[np.generic]]:
    return [array.data for array in nib.load(path).darrays]


def _in_order(faces: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return triangles that begin with their smallest vertex, sorted."""
    turns = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
    turned = np.take_along_axis(faces, turns, axis=1).astype(np.int32)
    return turned[np.lexsort(turned.T[::-1])]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
