"""Small runs on surfaces as fMRIPrep writes them, made with nibabel alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import cifti2
from numpy.typing import NDArray

# fsaverage3 has as many in each hemisphere.
N_VERTICES = 642
N_VOLUMES = 24
TR_S = 2.0
SIDES = {"L": "CortexLeft", "R": "CortexRight"}
# 8 mm voxels around a place in either half of the brain.
AFFINE = np.array([[-8.0, 0, 0, 90], [0, 8, 0, -126], [0, 0, 8, -72], [0, 0, 0, 1]])
SHAPE = (23, 28, 23)
STRUCTURES = {"THALAMUS_LEFT": (13, 13, 10), "THALAMUS_RIGHT": (10, 13, 10)}


def series(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    values = 1000 + 10 * np.random.default_rng(seed).standard_normal(shape)
    return values.astype(np.float32)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_gifti(path: Path, values: NDArray[np.floating], structure: str | None) -> None:
    """Write values, (n_volumes, n_vertices), as a file of one hemisphere."""
    image = nib.GiftiImage(
        darrays=[
            nib.gifti.GiftiDataArray(
                np.asarray(volume, np.float32), intent="NIFTI_INTENT_TIME_SERIES",
                datatype="NIFTI_TYPE_FLOAT32",
            )
            for volume in values
        ]
    )  # fmt: skip
    if structure:
        image.meta["AnatomicalStructurePrimary"] = structure
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def voxels_of(corner: tuple[int, int, int], *, is_old_order: bool) -> NDArray[np.intp]:
    """Return the voxels of a structure: the first axis fastest since fMRIPrep 23.1.4."""
    box = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) + corner
    order = (0, 1, 2) if is_old_order else (2, 1, 0)
    return np.asarray(sorted(box.tolist(), key=lambda one: [one[axis] for axis in order]))


def brain_models(
    walls: Mapping[str, Sequence[int]] | None = None,
    *,
    is_old_order: bool = False,
    affine: NDArray[np.floating] = AFFINE,
    n_vertices: int = N_VERTICES,
) -> Any:
    """Return an axis of both hemispheres, without some vertices, and of two structures."""
    parts = []
    for side, name in (("L", "LEFT"), ("R", "RIGHT")):
        cortex = np.ones(n_vertices, dtype=bool)
        cortex[list((walls or {}).get(side, ()))] = False
        parts.append(cifti2.BrainModelAxis.from_mask(cortex, name=f"CIFTI_STRUCTURE_CORTEX_{name}"))
    for name, corner in STRUCTURES.items():
        voxels = voxels_of(corner, is_old_order=is_old_order)
        names = [f"CIFTI_STRUCTURE_{name}"] * len(voxels)
        parts.append(cifti2.BrainModelAxis(names, voxel=voxels, affine=affine, volume_shape=SHAPE))
    first, *others = parts
    for other in others:
        first = first + other
    return first


def write_cifti(path: Path, values: NDArray[np.floating], axis: Any, step: float = TR_S) -> None:
    """Write values, (n_volumes, n_grayordinates), as a dense series."""
    header = cifti2.Cifti2Header.from_axes((cifti2.SeriesAxis(0, step, len(values)), axis))
    image = cifti2.Cifti2Image(np.asarray(values, np.float32), header)
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SERIES")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def func(root: Path, sub: str) -> Path:
    return root / f"sub-{sub}" / "func"


def left_of(root: Path, sub: str) -> Path:
    return func(root, sub) / f"sub-{sub}_task-rest_hemi-L_space-fsaverage3_bold.func.gii"


def write_pair(
    root: Path, sub: str, values: Mapping[str, NDArray[np.floating]] | None = None
) -> Path:
    """Write both hemispheres of a run with their sidecars, and return the left file."""
    own = values or {
        side: series(N_VOLUMES, N_VERTICES, seed=index) for index, side in enumerate(SIDES)
    }
    for side, structure in SIDES.items():
        path = Path(str(left_of(root, sub)).replace("hemi-L", f"hemi-{side}"))
        write_gifti(path, own[side], structure)
        write_json(
            path.with_name(path.name.replace(".func.gii", ".json")), {"RepetitionTime": TR_S}
        )
    return left_of(root, sub)


def dense_of(root: Path, sub: str) -> Path:
    return func(root, sub) / f"sub-{sub}_task-rest_space-fsLR_den-91k_bold.dtseries.nii"


def write_dense(
    root: Path, sub: str, axis: Any = None, values: NDArray[np.floating] | None = None
) -> Path:
    """Write a run of grayordinates with its sidecar, and return its file."""
    models = brain_models() if axis is None else axis
    own = series(N_VOLUMES, len(models)) if values is None else values
    path = dense_of(root, sub)
    write_cifti(path, own, models)
    write_json(
        path.with_name(path.name.replace(".dtseries.nii", ".json")), {"RepetitionTime": TR_S}
    )
    return path
