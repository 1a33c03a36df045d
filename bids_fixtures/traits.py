"""Write the tiny datasets: each has one trait that an application must notice.

All start from ``plain_runs``: three participants at rest, three blobs as networks, 20 mm voxels.
A trait of the signal is put into the recording before it is written; a trait of the files is made
afterwards, by changing or deleting what was written.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from confounds import FloatArray, non_steady_state
from demo import load_head, load_traces
from layout import (
    Entities,
    bold_path,
    bold_sidecar,
    confounds_path,
    float_image,
    mask_path,
    write_bold,
    write_description,
    write_image,
    write_json,
    write_run,
    write_text,
)
from participants import Head, Strength, make_participant, sampled, voxel_coordinates_mm
from simulate import Recording, rng_for, simulate_run

REPETITION_TIME_S = 2.0
N_VOLUMES = 66
"""132 s: just long enough for one cosine regressor below the cut-off of 128 s."""
N_VOLUMES_TOO_SHORT = 8
STRENGTH = Strength(network=40, nuisance=0, motion=20, physiology=10, drift=6, noise=10)

GRID_SHAPE = (8, 9, 8)
GRID_AFFINE = np.array([[20.0, 0, 0, -70], [0, 20, 0, -98], [0, 0, 20, -60], [0, 0, 0, 1]])
OTHER_GRID_SHAPE = (10, 12, 10)
OTHER_GRID_AFFINE = np.array([[16.0, 0, 0, -72], [0, 16, 0, -104], [0, 0, 16, -62], [0, 0, 0, 1]])

BLOBS_MM = (
    ((-36.0, -24.0, 56.0), (36.0, -24.0, 56.0)),
    ((-10.0, -84.0, 4.0), (10.0, -84.0, 4.0)),
    ((0.0, 50.0, 8.0), (0.0, -54.0, 28.0)),
)
"""Centres of the planted networks: sensorimotor, visual, default mode."""
BLOB_WIDTH_MM = 18.0

Run = tuple[Entities, Recording]


def blobs(points_mm: FloatArray, centres_mm: Sequence[tuple[float, float, float]]) -> FloatArray:
    """Sum of Gaussian blobs.

    Parameters
    ----------
    points_mm : array of shape (x, y, z, 3)

    Returns
    -------
    array of shape (x, y, z)
    """
    distances_mm = [np.linalg.norm(points_mm - np.array(centre), axis=-1) for centre in centres_mm]
    bumps = [np.exp(-0.5 * (distance / BLOB_WIDTH_MM) ** 2) for distance in distances_mm]
    return np.asarray(np.sum(bumps, axis=0), dtype=np.float64)


def coarse_head(shape: tuple[int, int, int], affine: FloatArray) -> Head:
    """Put the brain mask of the demo and three networks of smooth blobs on a coarse grid."""
    fine = load_head()
    centres = voxel_coordinates_mm(shape, affine)
    inside = sampled(fine.mask[..., np.newaxis].astype(np.float64), fine.affine, centres)[..., 0]
    networks = [blobs(centres, pair) for pair in BLOBS_MM]
    maps = np.stack(networks, axis=-1)
    return Head(
        mask=inside >= 0.5,
        affine=affine,
        networks=maps / maps.max(axis=(0, 1, 2)),
        nuisance=np.zeros((*shape, 0)),
    )


def pick_displacement(rng: np.random.Generator) -> FloatArray:
    """Framewise displacement (mm) of a real scan, cut to the length of the tiny runs."""
    traces = load_traces()
    return traces[rng.integers(len(traces))][:N_VOLUMES]


def record(
    dataset: str, entities: Entities, head: Head, displacement_mm: FloatArray | None = None
) -> Recording:
    """Simulate the run with these entities.

    Parameters
    ----------
    displacement_mm : array of shape (n_volumes,), optional
        Framewise displacement; without it a real scan's.
    """
    participant = make_participant(head, STRENGTH, rng_for(dataset, entities["sub"]))
    rng = rng_for(dataset, *[f"{key}-{label}" for key, label in entities.items()])
    if displacement_mm is None:
        displacement_mm = pick_displacement(rng)
    return simulate_run(participant, displacement_mm, REPETITION_TIME_S, STRENGTH, rng)


def rest_entities(subject: str, **more: str) -> Entities:
    """Entities of a run at rest; more may be named."""
    return {"sub": subject, "task": "rest", "res": "native", **more}


def plain_run(dataset: str, entities: Entities) -> Run:
    """Make one run without any trait."""
    return entities, record(dataset, entities, coarse_head(GRID_SHAPE, GRID_AFFINE))


def plain_runs(dataset: str, n_participants: int = 3) -> list[Run]:
    """Make one run at rest of each participant, without any trait."""
    subjects = [f"{number:02d}" for number in range(1, n_participants + 1)]
    return [plain_run(dataset, rest_entities(subject)) for subject in subjects]


def change_run(
    runs: list[Run], subject: str, change: Callable[[Recording], Recording]
) -> list[Run]:
    """Replace the recording of one participant by a changed one."""
    return [
        (entities, change(recording) if entities["sub"] == subject else recording)
        for entities, recording in runs
    ]


def write_runs(root: Path, title: str, runs: Sequence[Run]) -> None:
    """Write a dataset of these runs."""
    write_description(root, title)
    for entities, recording in runs:
        write_run(root, entities, recording)


def write_several_tasks(root: Path) -> None:
    """Write rest and n-back of each participant."""
    runs = [
        plain_run("several_tasks", {**rest_entities(subject), "task": task})
        for subject in ("01", "02", "03")
        for task in ("rest", "nback")
    ]
    write_runs(root, "Two tasks", runs)


def write_no_res(root: Path) -> None:
    """Write file names without a resolution, as fMRIPrep does for a template's own grid."""
    runs = [plain_run("no_res", {"sub": subject, "task": "rest"}) for subject in ("01", "02", "03")]
    write_runs(root, "No res entity", runs)


def write_entity_mix(root: Path) -> None:
    """Write runs told apart by acquisition, by run numbers of unequal width, and echoes."""
    mixed = [
        rest_entities("01", acq="mb", dir="AP", run="1"),
        rest_entities("01", dir="AP", run="1"),
        rest_entities("02", run="1"),
        rest_entities("02", run="02"),
    ]
    write_runs(root, "Mixed entities", [plain_run("entity_mix", entities) for entities in mixed])
    entities, combined = plain_run("entity_mix", rest_entities("03"))
    write_run(root, entities, combined)
    # The signal decays from echo to echo; mask and confounds belong to the combined run.
    for echo, gain in (("1", 1.3), ("2", 0.8)):
        write_bold(root, {**entities, "echo": echo}, replace(combined, bold=gain * combined.bold))


def write_other_grid(root: Path) -> None:
    """Put sub-02 on a grid of 16 mm with another origin."""
    entities = rest_entities("02")
    other = record("other_grid", entities, coarse_head(OTHER_GRID_SHAPE, OTHER_GRID_AFFINE))
    write_runs(root, "Two grids", change_run(plain_runs("other_grid"), "02", lambda _: other))


def write_far_affine(root: Path) -> None:
    """Displace the image and the mask of sub-02 by 300 mm to the right."""
    shift = np.eye(4)
    shift[0, 3] = 300.0
    runs = change_run(
        plain_runs("far_affine"), "02", lambda run: replace(run, affine=shift @ run.affine)
    )
    write_runs(root, "One participant far away", runs)


def write_missing_confounds(root: Path) -> None:
    """Leave out the confounds table of sub-02 and its sidecar."""
    write_runs(root, "One confounds table missing", plain_runs("missing_confounds"))
    for extension in (".tsv", ".json"):
        confounds_path(root, rest_entities("02"), extension).unlink()


def write_missing_mask(root: Path) -> None:
    """Leave out the brain mask of sub-02 and its sidecar."""
    write_runs(root, "One brain mask missing", plain_runs("missing_mask"))
    for extension in (".nii.gz", ".json"):
        mask_path(root, rest_entities("02"), extension).unlink()


def write_too_short(root: Path) -> None:
    """Give sub-02 a run of eight volumes."""
    entities = rest_entities("02")
    displacement_mm = pick_displacement(rng_for("too_short"))[:N_VOLUMES_TOO_SHORT]
    short = record("too_short", entities, coarse_head(GRID_SHAPE, GRID_AFFINE), displacement_mm)
    write_runs(root, "One short run", change_run(plain_runs("too_short"), "02", lambda _: short))


def with_nan(recording: Recording) -> Recording:
    """Set six brain voxels to NaN at all volumes, and one more at one volume."""
    bold = recording.bold.copy()
    brain_voxels = np.argwhere(recording.mask)
    spread = np.linspace(0, len(brain_voxels) - 1, 9).round().astype(int)[1:-1]
    *always, once = brain_voxels[spread]
    for x, y, z in always:
        bold[x, y, z] = np.nan
    x, y, z = once
    bold[x, y, z, bold.shape[3] // 2] = np.nan
    return replace(recording, bold=bold)


def write_nan_voxels(root: Path) -> None:
    """Store the run of sub-02 as float32 with NaN in the brain."""
    runs = plain_runs("nan_voxels")
    write_runs(root, "NaN in one image", runs)
    # The confounds were made from the whole image and stay finite, as fMRIPrep's do.
    entities, recording = runs[1]
    write_image(bold_path(root, entities), float_image(with_nan(recording)))


def write_all_scrubbed(root: Path) -> None:
    """Let sub-02 move by more than 3 mm at every volume."""
    entities = rest_entities("02")
    displacement_mm = 3.2 + pick_displacement(rng_for("all_scrubbed"))
    restless = record(
        "all_scrubbed", entities, coarse_head(GRID_SHAPE, GRID_AFFINE), displacement_mm
    )
    runs = change_run(plain_runs("all_scrubbed"), "02", lambda _: restless)
    write_runs(root, "One participant never still", runs)


def write_truncated_gzip(root: Path) -> None:
    """Cut the image file of sub-02 at 60 % of its bytes, like an interrupted download."""
    write_runs(root, "One truncated file", plain_runs("truncated_gzip"))
    path = bold_path(root, rest_entities("02"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])


def rewrite_repetition_time(root: Path, entities: Entities, seconds: float | None) -> None:
    """Change the repetition time in the sidecar of an image, or leave it out."""
    sidecar = bold_sidecar(entities, 0.0)
    del sidecar["RepetitionTime"]
    if seconds is not None:
        sidecar["RepetitionTime"] = seconds
    write_json(bold_path(root, entities, ".json"), sidecar)


def write_tr_missing(root: Path) -> None:
    """Leave the repetition time out of two sidecars; only the header of sub-02 knows it."""
    runs = change_run(
        plain_runs("tr_missing", 4), "03", lambda run: replace(run, repetition_time_s=0.0)
    )
    write_runs(root, "Repetition time missing", runs)
    for subject in ("02", "03"):
        rewrite_repetition_time(root, rest_entities(subject), None)


def write_tr_contradiction(root: Path) -> None:
    """Let the sidecar of sub-02 say 3 s where the header says 2 s."""
    write_runs(root, "Contradicting repetition times", plain_runs("tr_contradiction"))
    rewrite_repetition_time(root, rest_entities("02"), 3.0)


def before_steady_state(recording: Recording) -> Recording:
    """Brighten the first three volumes and flag them in the confounds."""
    bold = recording.bold.copy()
    bold[..., :3] *= (1.6, 1.25, 1.1)
    table = {**recording.confounds, **non_steady_state(bold.shape[3], 3)}
    return replace(recording, bold=bold, confounds=table)


def write_non_steady_state(root: Path) -> None:
    """Start every run before the steady state of the magnetisation."""
    runs = plain_runs("non_steady_state")
    changed = [(entities, before_steady_state(recording)) for entities, recording in runs]
    write_runs(root, "Volumes before the steady state", changed)


def write_old_regressors(root: Path) -> None:
    """Name the confounds tables as fMRIPrep did before version 20.2."""
    runs = plain_runs("old_regressors")
    write_runs(root, "Old names of the confounds", runs)
    for entities, _ in runs:
        for extension in (".tsv", ".json"):
            old = confounds_path(root, entities, extension, "regressors")
            confounds_path(root, entities, extension).replace(old)


def write_raw_root(root: Path) -> None:
    """Write a raw dataset without images, and fMRIPrep's output in its derivatives folder."""
    runs = plain_runs("raw_root")
    description = {
        "Name": "Raw dataset without images",
        "BIDSVersion": "1.11.1",
        "DatasetType": "raw",
        "License": "CC0",
    }
    write_json(root / "dataset_description.json", description)
    rows = ["participant_id", *[f"sub-{entities['sub']}" for entities, _ in runs]]
    write_text(root / "participants.tsv", "\n".join(rows) + "\n")
    write_text(root / "README", "Raw dataset without images; see derivatives/fmriprep. CC0.\n")
    write_runs(root / "derivatives" / "fmriprep", "fMRIPrep inside of a raw dataset", runs)


def write_sub_study(root: Path) -> None:
    """Write the dataset into a folder below one whose name looks like a participant."""
    write_runs(root / "fmriprep", "Parent folder like an entity", plain_runs("sub-study"))


def write_missing_columns(root: Path) -> None:
    """Leave csf and white_matter, and all made of them, out of every confounds table."""
    runs = plain_runs("missing_columns")
    write_description(root, "Tissue signals missing")
    for entities, recording in runs:
        table = {
            name: values
            for name, values in recording.confounds.items()
            if not name.startswith(("csf", "white_matter"))
        }
        write_run(root, entities, replace(recording, confounds=table))
