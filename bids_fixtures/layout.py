"""Write simulated runs with fMRIPrep's file names, the same bytes every time."""

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from confounds import FloatArray, Table
from simulate import Recording

Entities = dict[str, str]
"""BIDS entity to label, for instance ``{"sub": "01", "task": "rest"}``."""

ENTITY_ORDER = ("sub", "ses", "task", "acq", "dir", "run", "echo", "space", "res", "desc")
SPACE = "MNI152NLin2009cAsym"
MNI_CODE = 4
"""NIfTI code of a transform to the MNI 152 space."""

BOLD_STEP = 5.0
"""Intensity units of one stored step: half of the noise, which it raises by a hundredth only.

With finer steps the files would be much larger: noise does not compress."""

COMPRESSION = 9
"""Level of gzip. Small files take most of the time in which the datasets are written."""

EXPANSION_TEXT = {
    "_derivative1_power2": "squared temporal derivative of the ",
    "_derivative1": "temporal derivative of the ",
    "_power2": "square of the ",
}
COLUMN_TEXT = {
    "global_signal": "mean signal within the brain mask",
    "csf": "simulated cerebrospinal fluid signal",
    "white_matter": "simulated white matter signal",
    "std_dvars": "DVARS divided by its expectation without motion",
    "dvars": "root mean square over voxels of the change since the last volume",
    "framewise_displacement": "framewise displacement of Power et al. 2012 (mm)",
    "cosine": "discrete cosine, part of a high-pass filter with a cut-off of 128 s",
    "trans": "translation (mm)",
    "rot": "rotation (rad)",
    "non_steady_state_outlier": "1 at a volume before the steady state",
}


def file_name(entities: Entities, suffix: str, extension: str) -> str:
    """Join entities in BIDS order, then the suffix.

    Examples
    --------
    >>> file_name({"task": "rest", "sub": "01"}, "bold", ".nii.gz")
    'sub-01_task-rest_bold.nii.gz'
    """
    pairs = [f"{key}-{entities[key]}" for key in ENTITY_ORDER if key in entities]
    return "_".join([*pairs, suffix]) + extension


def func_dir(root: Path, entities: Entities) -> Path:
    """Folder of a run's files."""
    session = [f"ses-{entities['ses']}"] if "ses" in entities else []
    return root.joinpath(f"sub-{entities['sub']}", *session, "func")


def bold_path(root: Path, entities: Entities, extension: str = ".nii.gz") -> Path:
    """Preprocessed image of a run, or its sidecar."""
    named = {**entities, "space": SPACE, "desc": "preproc"}
    return func_dir(root, entities) / file_name(named, "bold", extension)


def mask_path(root: Path, entities: Entities, extension: str = ".nii.gz") -> Path:
    """Brain mask of a run, or its sidecar; echoes share one."""
    named = {**entities, "space": SPACE, "desc": "brain"}
    named.pop("echo", None)
    return func_dir(root, entities) / file_name(named, "mask", extension)


def confounds_path(
    root: Path, entities: Entities, extension: str = ".tsv", suffix: str = "timeseries"
) -> Path:
    """Confounds table of a run, or its sidecar; it belongs to no space, grid or echo."""
    named = {**entities, "desc": "confounds"}
    for key in ("echo", "space", "res"):
        named.pop(key, None)
    return func_dir(root, entities) / file_name(named, suffix, extension)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with newlines as they are, on every system; make the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with sorted keys."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_table(path: Path, table: Table) -> None:
    """Write columns as TSV: six significant digits, ``n/a`` for NaN."""
    rows = zip(*table.values(), strict=True)
    cells = [["n/a" if np.isnan(value) else f"{value:.6g}" for value in row] for row in rows]
    write_text(path, "\n".join("\t".join(row) for row in [list(table), *cells]) + "\n")


def make_image(data: npt.NDArray[Any], affine: FloatArray, repetition_time_s: float = 0.0) -> Any:
    """Wrap an array as NIfTI in MNI space, units mm and s.

    Parameters
    ----------
    data : array of shape (x, y, z) or (x, y, z, n_volumes), stored as it is
    affine : array of shape (4, 4), voxel to mm (RAS+)
    repetition_time_s : float
        Not used for a single volume.
    """
    # Any: nibabel's annotations do not know the methods of the header.
    image: Any = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code=MNI_CODE)
    image.set_qform(affine, code=MNI_CODE)
    if data.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], repetition_time_s))
        image.header.set_xyzt_units("mm", "sec")
    else:
        image.header.set_xyzt_units("mm")
    return image


def write_image(path: Path, image: Any) -> None:
    """Write a gzipped NIfTI whose header holds neither a time nor a file name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(image.to_bytes(), COMPRESSION, mtime=0))


def integer_image(recording: Recording, step: float = BOLD_STEP) -> Any:
    """BOLD image stored as int16 with a scale factor."""
    stored = np.rint(recording.bold / step).astype(np.int16)
    image = make_image(stored, recording.affine, recording.repetition_time_s)
    image.header.set_slope_inter(step, 0.0)
    return image


def float_image(recording: Recording) -> Any:
    """BOLD image stored as float32, which can hold NaN; values rounded to the same steps."""
    stored = (np.rint(recording.bold / BOLD_STEP) * BOLD_STEP).astype(np.float32)
    return make_image(stored, recording.affine, recording.repetition_time_s)


def describe_column(name: str) -> str:
    """Say in a few words what a confounds column holds."""
    for ending, text in EXPANSION_TEXT.items():
        if name.endswith(ending):
            return text + describe_column(name.removesuffix(ending))
    start = next(start for start in COLUMN_TEXT if name.startswith(start))
    return COLUMN_TEXT[start]


def resolution_entry(entities: Entities) -> dict[str, str]:
    """Sidecar entry that BIDS requires of files with a ``res`` entity."""
    return {"Resolution": "Native BOLD resolution."} if "res" in entities else {}


def bold_sidecar(entities: Entities, repetition_time_s: float) -> dict[str, Any]:
    """Metadata of a preprocessed image."""
    return {
        **resolution_entry(entities),
        "RepetitionTime": repetition_time_s,
        "SkullStripped": False,
        "StartTime": 0.0,
        "TaskName": entities["task"],
    }


def write_bold(
    root: Path, entities: Entities, recording: Recording, step: float = BOLD_STEP
) -> None:
    """Write the image of a run, with values rounded to steps of this size, and its sidecar."""
    write_image(bold_path(root, entities), integer_image(recording, step))
    sidecar = bold_sidecar(entities, recording.repetition_time_s)
    write_json(bold_path(root, entities, ".json"), sidecar)


def write_mask(root: Path, entities: Entities, recording: Recording) -> None:
    """Write the brain mask of a run and its sidecar."""
    image = make_image(recording.mask.astype(np.uint8), recording.affine)
    write_image(mask_path(root, entities), image)
    sidecar = {"Type": "Brain", **resolution_entry(entities)}
    write_json(mask_path(root, entities, ".json"), sidecar)


def write_confounds(root: Path, entities: Entities, table: Table) -> None:
    """Write the confounds table of a run and its sidecar."""
    write_table(confounds_path(root, entities), table)
    sidecar = {name: {"Description": describe_column(name)} for name in table}
    write_json(confounds_path(root, entities, ".json"), sidecar)


def write_run(
    root: Path, entities: Entities, recording: Recording, step: float = BOLD_STEP
) -> None:
    """Write all files of a run; the image's values are rounded to steps of this size."""
    write_bold(root, entities, recording, step)
    write_mask(root, entities, recording)
    write_confounds(root, entities, recording.confounds)


def write_description(root: Path, name: str) -> None:
    """Write ``dataset_description.json`` of a derivative dataset, and its README."""
    generator = {
        "Name": "fMRIPrep-layout",
        "Version": "simulated",
        "Description": "Simulated with fMRIPrep's file names; fMRIPrep was not run.",
    }
    description = {
        "Name": name,
        "BIDSVersion": "1.11.1",
        "DatasetType": "derivative",
        "License": "CC0",
        "GeneratedBy": [generator],
    }
    write_json(root / "dataset_description.json", description)
    readme = f"{name}\n\nSimulated data, written by bids_fixtures/generate.py. CC0.\n"
    write_text(root / "README", readme)
