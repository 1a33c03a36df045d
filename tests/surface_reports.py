"""Small maps on surfaces, as files and as an output folder with a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from report_example import METRICS, make, write, write_tsv

from nidecomp.core.hemispheres import HEMISPHERES
from nidecomp.spaces.brain_models import BrainModels, Structure, cortex_models
from nidecomp.spaces.cifti import cifti_head, cifti_numbers
from nidecomp.spaces.gifti import gifti_maps
from nidecomp.spaces.grid import Grid

# fsaverage3, and voxels of the thalamus at 4 mm.
N_VERTICES = 642
AFFINE = ((4.0, 0, 0, -20), (0, 4.0, 0, -40), (0, 0, 4.0, -10), (0, 0, 0, 1.0))
THALAMUS = np.array([[4, 5, 3], [5, 5, 3], [6, 5, 3], [4, 6, 4]], dtype=np.int32)
CORTEX = cortex_models(N_VERTICES)


def grayordinates(n_left: int = N_VERTICES) -> BrainModels:
    """The right cortex first, then voxels, then some vertices of the left one, backwards."""
    left, right = CORTEX.structures
    some = Structure(left.name, left.places[:n_left][::-1], N_VERTICES)
    thalamus = Structure("CIFTI_STRUCTURE_THALAMUS_LEFT", THALAMUS, None)
    return BrainModels((right, thalamus, some), Grid((12, 12, 10), AFFINE))


def write_cifti(path: Path, models: BrainModels, maps: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = cifti_head(models, "dscalar", [f"map {index}" for index in range(len(maps))])
    path.write_bytes(head + b"".join(cifti_numbers(maps)))
    return path


def write_pair(left: Path, maps: np.ndarray) -> Path:
    left.parent.mkdir(parents=True, exist_ok=True)
    for hemi, values in zip(HEMISPHERES, np.split(maps, 2, axis=1), strict=True):
        path = left.with_name(left.name.replace("hemi-L", f"hemi-{hemi}"))
        path.write_bytes(b"".join(gifti_maps(values, len(maps), hemi, ["map"] * len(maps))))
    return left


def report_folder(root: Path, maps: Sequence[np.ndarray], models: BrainModels | None) -> Path:
    """An output folder with a decomposition for each set of two maps; pairs without models."""
    make(root)
    for path in sorted(root.glob("tpl-*/func/*")):
        path.unlink()
    label, den = ("fsaverage3", "") if models is None else ("fsaverage3", "_den-1k")
    for method, each in zip(("canica", "dictlearning"), maps, strict=False):
        entities = f"atlas-A_seg-{method}_scale-2"
        func, stem = root / f"tpl-{label}" / "func", f"tpl-{label}_task-rest_{entities}"
        names = [f"{method}{index:02d}" for index in (1, 2)]
        described = {"Method": method, "NumberOfComponents": 2, "NumberOfGrayordinates": 7}
        write(func / f"{stem}_decomposition.json", json.dumps(described))
        write(func / f"{stem}{den}_components.json", json.dumps({"ComponentNames": names}))
        row = ("Auditory", "0.8", "0.9", "0.1", "n/a", "n/a", "10")
        write_tsv(func / f"{stem}_metrics.tsv", METRICS, *((name, *row) for name in names))
        if models is None:
            pair = f"tpl-{label}_task-rest_hemi-L_{entities}_components.func.gii"
            write_pair(func / pair, each)
        else:
            write_cifti(func / f"{stem}{den}_components.dscalar.nii", models, each)
    write_tsv(
        root / "logs" / "matching.tsv",
        ("method", "scale", "component", "other_method", "other_scale", "other_component", "r"),
        ("canica", "2", "canica01", "dictlearning", "2", "dictlearning01", "0.75"),
    )
    return root
