"""Write the tiny datasets that repeat what users of fMRIPrep and similar tools have reported.

As in ``traits``, all start from plain runs; their companions and names are changed afterwards.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from layout import (
    SPACE,
    bold_path,
    confounds_path,
    make_image,
    mask_path,
    write_bold,
    write_description,
    write_image,
    write_json,
    write_run,
    write_text,
)
from scipy import ndimage
from simulate import Recording
from traits import (
    N_VOLUMES,
    REPETITION_TIME_S,
    change_run,
    plain_run,
    plain_runs,
    rest_entities,
    rewrite_repetition_time,
    write_runs,
)

LONG_TASKS = ("emotionrecognition", "gamblinglosses", "motorexecution", "languagestory")
POINTER = "/annex/objects/MD5E-s2345--0cc175b9c0f1b6a831c399e269772661{}\n"


def without_columns(recording: Recording, start: str) -> Recording:
    """Leave out the confounds whose names begin with some text."""
    table = {
        name: values for name, values in recording.confounds.items() if not name.startswith(start)
    }
    return replace(recording, confounds=table)


def with_columns(
    recording: Recording, names: tuple[str, ...], change: Callable[[Any], Any]
) -> Recording:
    """Change the confounds whose names begin with one of some texts."""
    table = {
        name: change(values.copy()) if name.startswith(names) else values
        for name, values in recording.confounds.items()
    }
    return replace(recording, confounds=table)


def rename_files(root: Path, old: str, new: str) -> None:
    """Replace a part of all file names of a dataset."""
    for path in sorted(root.rglob(f"*{old}*")):
        if path.is_file():
            path.replace(path.with_name(path.name.replace(old, new)))


# ---------------------------------------------------------------- names and folders
def write_many_tasks(root: Path) -> None:
    """Write four tasks with long names of two participants: joined they are too long a label."""
    runs = [
        plain_run("many_tasks", {**rest_entities(subject), "task": task})
        for subject in ("01", "02")
        for task in LONG_TASKS
    ]
    write_runs(root, "Tasks with long names", runs)


def write_own_space(root: Path) -> None:
    """Name the space of all images T1w: the heads of three participants."""
    write_runs(root, "Spaces of participants", plain_runs("own_space"))
    rename_files(root, f"space-{SPACE}_res-native", "space-T1w")


def write_absent_people(root: Path) -> None:
    """Add participants without func, with another space only, and with no BIDS label."""
    write_runs(root, "Participants without a matching run", plain_runs("absent_people", 3))
    write_text(root / "sub-04" / "anat" / "sub-04_desc-preproc_T1w.json", "{}\n")
    write_run(root, *plain_run("absent_people", rest_entities("05")))
    rename_files(root / "sub-05", f"space-{SPACE}", "space-MNI152NLin6Asym")
    shutil.copytree(root / "sub-03", root / "sub-A_06")
    rename_files(root / "sub-A_06", "sub-03", "sub-A_06")


def write_cut_labels(root: Path) -> None:
    """Give labels that are none to two conditions: cut off, both would be ``task-rest``."""
    write_runs(root, "Labels with hyphens", plain_runs("cut_labels", 5))
    rename_files(root / "sub-02", "task-rest", "task-rest-eyesopen")
    rename_files(root / "sub-04", "task-rest", "task-rest_eyesclosed")


def write_spellings(root: Path) -> None:
    """Write the same things in other ways: numbers, the order of entities, JSON, affines."""
    runs = [
        plain_run("spellings", {"sub": "01", "task": "rest", "run": "1", "res": "2"}),
        plain_run("spellings", {"sub": "02", "task": "rest", "res": "02"}),
        plain_run("spellings", {"sub": "03", "task": "rest", "res": "2"}),
    ]
    # An affine that differs by rounding, across the border between two rounded values.
    (entities, recording) = runs[1]
    shift = np.zeros((4, 4))
    shift[0, 3] = 6e-5
    runs[1] = (entities, replace(recording, affine=recording.affine + shift))
    write_runs(root, "Several spellings", runs)
    rename_files(root / "sub-01", "_run-1_desc-confounds", "_run-01_desc-confounds")
    rename_files(root / "sub-01", "_run-1_space-", "_run-01_space-")
    rename_files(root / "sub-01", "_run-01_space-MNI152NLin2009cAsym_res-2_desc-preproc",
                 "_run-1_space-MNI152NLin2009cAsym_res-2_desc-preproc")  # fmt: skip
    # fMRIPrep 20.2.3 wrote part-mag after desc.
    for desc in ("preproc", "brain", "confounds"):
        rename_files(root / "sub-03", f"desc-{desc}", f"desc-{desc}_part-mag")
    for path in sorted(root.rglob("*.json")):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def write_legacy_layout(root: Path) -> None:
    """Write fMRIPrep's legacy layout: its folder beside that of FreeSurfer."""
    write_runs(root / "fmriprep", "Legacy layout", plain_runs("legacy_layout"))
    write_text(root / "freesurfer" / "sub-01" / "scripts" / "recon-all.done", "")


def write_fmriprep_1_0(root: Path) -> None:
    """Name the files as fMRIPrep did before version 1.2."""
    write_runs(root, "Names before BIDS Derivatives", plain_runs("fmriprep_1_0"))
    rename_files(
        root, f"_space-{SPACE}_res-native_desc-preproc_bold", f"_bold_space-{SPACE}_preproc"
    )
    rename_files(
        root, f"_space-{SPACE}_res-native_desc-brain_mask", f"_bold_space-{SPACE}_brainmask"
    )
    rename_files(root, "_desc-confounds_timeseries", "_bold_confounds")
    description = json.loads((root / "dataset_description.json").read_text())
    del description["DatasetType"]
    write_json(root / "dataset_description.json", description)


def write_xcpd(root: Path) -> None:
    """Write denoised, smoothed images with a mean of zero and without masks, as XCP-D does."""
    runs = plain_runs("xcpd")
    write_description(root, "Denoised images")
    for entities, recording in runs:
        mean = recording.bold.mean(axis=3, keepdims=True)
        write_bold(root, entities, replace(recording, bold=recording.bold - mean))
    rename_files(root, "desc-preproc", "desc-denoisedSmoothed")


def write_not_fetched(root: Path) -> None:
    """Put git-annex's pointers in place of a sidecar, a confounds table, a mask and an image."""
    write_runs(root, "Content that was not fetched", plain_runs("not_fetched", 6))
    for path, extension in (
        (bold_path(root, rest_entities("02"), ".json"), ".json"),
        (confounds_path(root, rest_entities("03")), ".tsv"),
        (mask_path(root, rest_entities("04")), ".nii.gz"),
        (bold_path(root, rest_entities("05")), ".nii.gz"),
    ):
        write_text(path, POINTER.format(extension))


# ---------------------------------------------------------------- confounds
def write_no_cosines(root: Path) -> None:
    """Leave the cosine columns out of the table of sub-02, whose run needs one."""
    runs = change_run(
        plain_runs("no_cosines"), "02", lambda recording: without_columns(recording, "cosine")
    )
    write_runs(root, "No cosine columns", runs)


def write_motion_zeros(root: Path) -> None:
    """Set motion and displacement of sub-02 to 0: the estimate failed."""
    names = ("trans_", "rot_", "framewise_displacement")
    runs = change_run(
        plain_runs("motion_zeros"),
        "02",
        lambda recording: with_columns(recording, names, np.zeros_like),
    )
    write_runs(root, "No motion estimate", runs)


def write_empty_columns(root: Path) -> None:
    """Set the csf of sub-02 to n/a; that of sub-03 to one value."""
    runs = change_run(
        plain_runs("empty_columns", 4),
        "02",
        lambda recording: with_columns(
            recording, ("csf",), lambda values: np.full_like(values, np.nan)
        ),
    )
    runs = change_run(
        runs,
        "03",
        lambda recording: with_columns(recording, ("csf",), lambda values: 0 * values + 7.0),
    )
    write_runs(root, "Columns without information", runs)


def write_displacement_of_dropped(root: Path) -> None:
    """Leave the displacement unknown in the volumes that are dropped before the steady state."""

    def change(recording: Recording) -> Recording:
        unknown = with_columns(
            recording,
            ("framewise_displacement",),
            lambda values: np.where(np.arange(len(values)) < 3, np.nan, values),
        )
        flags = {
            f"non_steady_state_outlier{index:02d}": np.eye(N_VOLUMES)[index] for index in range(3)
        }
        return replace(unknown, confounds={**unknown.confounds, **flags})

    runs = plain_runs("displacement_of_dropped")
    write_runs(root, "Unknown displacement", [(entities, change(one)) for entities, one in runs])


# ---------------------------------------------------------------- repetition times
def write_tr_field(root: Path) -> None:
    """Write repetition times that released versions and milliseconds have put into headers."""
    runs = plain_runs("tr_field", 5)
    for subject, in_header in (("02", 1.0), ("03", 2000.0), ("04", 800.0)):
        runs = change_run(
            runs, subject, lambda run, value=in_header: replace(run, repetition_time_s=value)
        )
    write_runs(root, "Repetition times of the field", runs)
    for subject in ("02", "03"):
        rewrite_repetition_time(root, rest_entities(subject), REPETITION_TIME_S)
    rewrite_repetition_time(root, rest_entities("04"), None)
    # The times of the volumes in place of the repetition time.
    sidecar = {"VolumeTiming": [REPETITION_TIME_S * index for index in range(N_VOLUMES)]}
    write_json(bold_path(root, rest_entities("05"), ".json"), sidecar)


def write_tr_inherited(root: Path) -> None:
    """Write one sidecar for all images, at the root; the headers say 1 s."""
    runs = [
        (entities, replace(recording, repetition_time_s=1.0))
        for entities, recording in plain_runs("tr_inherited")
    ]
    write_runs(root, "Inherited metadata", runs)
    for entities, _ in runs:
        bold_path(root, entities, ".json").unlink()
    sidecar = {"RepetitionTime": REPETITION_TIME_S, "TaskName": "rest"}
    write_json(root / "task-rest_bold.json", sidecar)
    write_json(root / "task-rest_res-native_bold.json", {"Resolution": "Native BOLD resolution."})


# ---------------------------------------------------------------- masks and volumes
def soft(mask: Any) -> Any:
    """Blur a mask: a probability with faint tails over the whole field of view."""
    return ndimage.gaussian_filter(mask.astype(np.float32), 0.8) + np.float32(1e-4)


def write_soft_masks(root: Path) -> None:
    """Write the brain masks as probabilities with faint tails."""
    runs = plain_runs("soft_masks")
    write_runs(root, "Masks that are no masks", runs)
    for entities, recording in runs:
        write_image(mask_path(root, entities), make_image(soft(recording.mask), recording.affine))


def empty_volumes(recording: Recording) -> Recording:
    """Set one volume in the middle and the last five to 0, like a stopped scan that was padded."""
    bold = recording.bold.copy()
    bold[..., 30] = 0
    bold[..., -5:] = 0
    return replace(recording, bold=bold)


def write_empty_volumes(root: Path) -> None:
    """Write an image of sub-02 with volumes that are all zero."""
    runs = change_run(plain_runs("empty_volumes"), "02", empty_volumes)
    write_runs(root, "Empty volumes", runs)
