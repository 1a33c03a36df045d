"""Small fMRIPrep folders of several scanners, with networks that all or one of them have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from demo import load_head
from layout import SPACE, make_image
from nibabel import Nifti1Image
from scipy import ndimage

N_VOLUMES, REPETITION_TIME_S = 40, 2.0
SHARED = (0, 3, 6, 9)
"""Networks that every dataset has, as numbers of planted maps."""
OWN = 11
"""The network that only one dataset has."""


def write_dataset(
    root: Path,
    labels: Sequence[str],
    *,
    networks: Sequence[int] = SHARED,
    seed: int = 0,
    task: str = "rest",
    program: str = "24.0.0",
) -> Path:
    """Write a run for each participant, without confounds."""
    head = load_head()
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    description = {
        "Name": f"Simulated, seed {seed}",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "License": "CC0",
        "GeneratedBy": [{"Name": "fMRIPrep", "Version": program}],
    }
    (root / "dataset_description.json").write_text(json.dumps(description))
    for label in labels:
        stem = root / f"sub-{label}" / "func" / f"sub-{label}_task-{task}"
        stem.parent.mkdir(parents=True)
        noise = ndimage.gaussian_filter(
            rng.standard_normal((*head.mask.shape, N_VOLUMES)), (0.4, 0.4, 0.4, 0)
        )
        courses = rng.standard_normal((len(networks), N_VOLUMES))
        signal = head.networks[..., list(networks)] @ courses
        bold = (1000 + 10 * (noise + signal)) * head.mask[..., None]
        space = f"{stem.name}_space-{SPACE}"
        image = make_image(bold.astype(np.int16), head.affine, REPETITION_TIME_S)
        save(image, stem.with_name(f"{space}_desc-preproc_bold.nii.gz"))
        mask = make_image(head.mask.astype(np.uint8), head.affine)
        save(mask, stem.with_name(f"{space}_desc-brain_mask.nii.gz"))
        sidecar = stem.with_name(f"{space}_desc-preproc_bold.json")
        sidecar.write_text(json.dumps({"RepetitionTime": REPETITION_TIME_S, "TaskName": task}))
    return root


def save(image: Nifti1Image, path: Path) -> None:
    image.to_filename(path)
