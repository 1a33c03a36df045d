"""Small fMRIPrep folders of patients and controls, who differ in one network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from layout import SPACE, make_image
from nibabel import Nifti1Image
from scipy import ndimage
from traits import BLOBS_MM, GRID_AFFINE, GRID_SHAPE, blobs, coarse_head, voxel_coordinates_mm

N_VOLUMES, REPETITION_TIME_S = 50, 2.0
LABELS = tuple(f"{number:02d}" for number in range(1, 13))
PATIENTS = LABELS[1::2]
DIFFERENT = 2
"""The network that is stronger in patients at the first of its two places."""
FASTER = 0
"""The network that fluctuates more in patients."""


def write_people(
    root: Path,
    *,
    sessions: Sequence[str] = (),
    effect: float = 2.0,
    labels: Sequence[str] = LABELS,
    patients: Sequence[str] = PATIENTS,
) -> Path:
    """Write a run for each session of each person, and ``participants.tsv`` beside them.

    With sessions, people differ in the last one only.
    """
    head = coarse_head(GRID_SHAPE, GRID_AFFINE)
    place = blobs(voxel_coordinates_mm(GRID_SHAPE, GRID_AFFINE), BLOBS_MM[DIFFERENT][:1])
    root.mkdir(parents=True)
    description = {
        "Name": "Patients and controls",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "License": "CC0",
        "GeneratedBy": [{"Name": "fMRIPrep", "Version": "24.0.0"}],
    }
    (root / "dataset_description.json").write_text(json.dumps(description))
    rows = []
    for number, label in enumerate(labels):
        is_patient = label in patients
        rows.append(
            {
                "participant_id": f"sub-{label}",
                "group": "patients" if is_patient else "controls",
                "age": 20 + 7 * number % 31,
                "site": "ab"[number // 2 % 2],
                "arm": "xyz"[number // 4],
            }
        )
        for session in sessions or ("",):
            is_different = is_patient and session == (sessions or ("",))[-1]
            maps, strength = head.networks.copy(), np.ones(len(BLOBS_MM))
            if is_different:
                maps[..., DIFFERENT] += effect * place
                strength[FASTER] = 1.5
            rng = np.random.default_rng([number, *map(ord, session)])
            # As slow as those of networks, which are not flagged.
            slow = ndimage.gaussian_filter1d(rng.standard_normal((len(BLOBS_MM), N_VOLUMES)), 1.0)
            courses = 2 * strength[:, None] * slow
            noise = 0.5 * rng.standard_normal((*GRID_SHAPE, N_VOLUMES))
            bold = 1000 + 10 * (maps @ courses + noise)
            write_run(root, label, session, bold * head.mask[..., None], head.mask)
    write_table(root / "participants.tsv", rows)
    return root


def write_run(root: Path, label: str, session: str, bold: np.ndarray, mask: np.ndarray) -> None:
    """Write the image, the mask and the metadata of a run, which has no confounds."""
    folder = root / f"sub-{label}" / (f"ses-{session}/func" if session else "func")
    folder.mkdir(parents=True)
    entities = f"sub-{label}" + (f"_ses-{session}" if session else "") + "_task-rest"
    stem = f"{entities}_space-{SPACE}"
    save(
        make_image(bold.astype(np.int16), GRID_AFFINE, REPETITION_TIME_S),
        folder / f"{stem}_desc-preproc_bold.nii.gz",
    )
    save(make_image(mask.astype(np.uint8), GRID_AFFINE), folder / f"{stem}_desc-brain_mask.nii.gz")
    sidecar = {"RepetitionTime": REPETITION_TIME_S, "TaskName": "rest"}
    (folder / f"{stem}_desc-preproc_bold.json").write_text(json.dumps(sidecar))


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table of participants."""
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    path.write_text("\n".join("\t".join(line) for line in lines) + "\n")


def save(image: Nifti1Image, path: Path) -> None:
    """Write an image."""
    image.to_filename(path)
