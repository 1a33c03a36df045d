"""Write the datasets of surfaces and grayordinates: participants at rest, networks of ABIDE.

The mesh is fsaverage3, the first 642 vertices of each hemisphere of fsaverage5, whose surfaces are
in nilearn's package. Grayordinates have its cortex, too, in place of the 32,492 vertices of fs_LR:
that makes files of 160 kB instead of 37 MB.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from confounds import (
    FloatArray,
    Table,
    confounds_table,
    cosine_drifts,
    motion_parameters,
    motion_table,
    regressors_without_gaps,
)
from demo import load_head, load_labels, load_traces
from layout import func_dir, write_confounds, write_description, write_json
from nibabel import cifti2
from scipy import ndimage
from simulate import band_limited, network_time_courses, rng_for

SPACE, CIFTI_SPACE = "fsaverage3", "fsLR"
N_VERTICES = 642
SIDES = {"L": "left", "R": "right"}
CORTEX = {"L": "CIFTI_STRUCTURE_CORTEX_LEFT", "R": "CIFTI_STRUCTURE_CORTEX_RIGHT"}
NETWORKS = (
    "Primary visual",
    "Posterior DMN",
    "Anterior DMN",
    "Salience",
    "Auditory",
    "Left frontoparietal",
    "Right frontoparietal",
    "Lateral sensorimotor",
    "Primary sensorimotor",
    "Cerebellum",
)
STRUCTURES = {
    "CEREBELLUM_LEFT": ((-24, -64, -40), 2),
    "CEREBELLUM_RIGHT": ((24, -64, -40), 2),
    "THALAMUS_LEFT": ((-14, -20, 8), 1),
    "THALAMUS_RIGHT": ((14, -20, 8), 1),
}
"""Centre (mm) of each structure below the cortex, and how many voxels it reaches from there."""

GRID_SHAPE = (23, 28, 23)
GRID_AFFINE = np.array([[-8.0, 0, 0, 90], [0, 8, 0, -126], [0, 0, 8, -72], [0, 0, 0, 1]])
REPETITION_TIME_S = 2.0
NETWORK, MOTION, PHYSIOLOGY, DRIFT, NOISE = 32.0, 15.0, 8.0, 5.0, 6.0
STEP = 8.0
"""Intensity units of one stored step: a third more than the noise, for the sake of small files."""

SLOPE_OFFSET = 176
"""Where scl_slope (float64) is in the header of NIfTI-2."""


@dataclass(frozen=True)
class Recording:
    """A simulated run: vertices of both hemispheres, then voxels.

    Attributes
    ----------
    hemispheres : mapping of hemisphere to array of shape (n_volumes, 642)
    voxels : array of shape (n_volumes, n_voxels)
    """

    hemispheres: Mapping[str, FloatArray]
    voxels: FloatArray
    confounds: Table


# ---------------------------------------------------------------- places and networks
def of_nilearn(kind: str, hemi: str) -> FloatArray:
    """Coordinates (mm) of a surface of fsaverage3."""
    name = f"{kind}_{SIDES[hemi]}.gii.gz"
    with as_file(files("nilearn") / "datasets" / "data" / "fsaverage5" / name) as path:
        surface: Any = nib.load(path)
    return np.asarray(surface.darrays[0].data[:N_VERTICES], dtype=np.float64)


def midthickness(hemi: str) -> FloatArray:
    """Coordinates (mm) half way between both surfaces of the cortex."""
    return (of_nilearn("white", hemi) + of_nilearn("pial", hemi)) / 2


@cache
def medial_wall(hemi: str) -> Any:
    """Vertices of fsaverage3 that are no cortex, as booleans."""
    with as_file(files("nidecomp.spaces.data") / "fsaverage.npz") as path:
        packed = np.load(path)[f"wall_{hemi}"]
    return np.unpackbits(packed)[:N_VERTICES].astype(bool)


def structure_voxels(name: str) -> Any:
    """Voxels of a structure, the first axis fastest as since fMRIPrep 23.1.4, shape (n, 3)."""
    centre_mm, reach = STRUCTURES[name]
    centre = np.rint(np.linalg.inv(GRID_AFFINE) @ [*centre_mm, 1])[:3].astype(int)
    steps = range(-reach, reach + 1)
    return centre + np.array([(i, j, k) for k in steps for j in steps for i in steps])


def all_places() -> FloatArray:
    """Coordinates (mm) of all vertices, then of all voxels."""
    voxels = np.concatenate([structure_voxels(name) for name in STRUCTURES])
    below = voxels @ GRID_AFFINE[:3, :3].T + GRID_AFFINE[:3, 3]
    return np.concatenate([midthickness("L"), midthickness("R"), below])


@cache
def planted() -> tuple[list[str], FloatArray]:
    """Truth: names and maps, (n_places, n_networks), of networks that overlap little."""
    head = load_head()
    to_voxel, places = np.linalg.inv(head.affine), all_places()
    voxels = (places @ to_voxel[:3, :3].T + to_voxel[:3, 3]).T
    names = [name for name, is_network in load_labels() if is_network]
    volumes = [head.networks[..., names.index(name)] for name in NETWORKS]
    maps = [ndimage.map_coordinates(volume, voxels, order=1) for volume in volumes]
    return list(NETWORKS), np.stack(maps, axis=-1)


@cache
def blurring(sigma_mm: float) -> FloatArray:
    """Weights of a Gaussian in space between all places, rows with unit sum of squares."""
    places = all_places()
    squares = np.sum(places**2, axis=1)
    distances = squares[:, np.newaxis] + squares - 2 * places @ places.T
    weights = np.exp(-0.5 * np.maximum(distances, 0) / sigma_mm**2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True))


# ---------------------------------------------------------------- runs
def record(dataset: str, subject: str, n_volumes: int) -> Recording:
    """Simulate the run of a participant."""
    rng = rng_for(dataset, subject)
    traces = load_traces()
    motion = motion_parameters(traces[rng.integers(len(traces))][:n_volumes], rng)
    artefact = regressors_without_gaps(motion_table(motion))
    _, networks = planted()
    n_places, n_networks = networks.shape

    def fields(number: int, sigma_mm: float) -> FloatArray:
        return blurring(sigma_mm) @ rng.standard_normal((n_places, number))

    own = networks * (1 + 0.15 * fields(n_networks, 16.0)) * rng.uniform(0.75, 1.25, n_networks)
    courses = network_time_courses(n_volumes, n_networks, REPETITION_TIME_S, rng)
    physiology = band_limited(n_volumes, 2, REPETITION_TIME_S, rng)
    # The tiny runs are too short for any.
    drifts = cosine_drifts(n_volumes, REPETITION_TIME_S).values()
    cosines = np.stack([one / one.std() for one in drifts] or [np.zeros(n_volumes)], axis=1)
    series = (
        1000
        + NETWORK * courses @ own.T
        + MOTION / np.sqrt(24) * artefact @ fields(24, 20.0).T
        + PHYSIOLOGY * physiology @ (0.5 + 0.2 * fields(2, 40.0)).T
        + DRIFT * cosines @ fields(cosines.shape[1], 24.0).T
        + NOISE * rng.standard_normal((n_volumes, n_places))
    )
    csf, white_matter = 1000 + PHYSIOLOGY * physiology.T
    table = confounds_table(motion, csf, white_matter, series, REPETITION_TIME_S)
    left, right, voxels = np.split(series, [N_VERTICES, 2 * N_VERTICES], axis=1)
    return Recording({"L": left, "R": right}, voxels, table)


def rounded(values: FloatArray) -> FloatArray:
    """Values in steps, without which files would be much larger."""
    return np.asarray(np.rint(values / STEP) * STEP)


# ---------------------------------------------------------------- files
def surface_path(root: Path, subject: str, hemi: str, extension: str = ".func.gii") -> Path:
    """File of a hemisphere as since fMRIPrep 21.0, or its sidecar."""
    name = f"sub-{subject}_task-rest_hemi-{hemi}_space-{SPACE}_bold{extension}"
    return func_dir(root, {"sub": subject}) / name


def dense_path(root: Path, subject: str, extension: str = ".dtseries.nii") -> Path:
    """File of grayordinates, or its sidecar."""
    name = f"sub-{subject}_task-rest_space-{CIFTI_SPACE}_den-91k_bold{extension}"
    return func_dir(root, {"sub": subject}) / name


def sidecar(more: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a run."""
    return {"RepetitionTime": REPETITION_TIME_S, "SkullStripped": False, "TaskName": "rest", **more}


def write_surface(path: Path, values: FloatArray, hemi: str) -> None:
    """Write the file of one hemisphere from values of shape (n_volumes, n_vertices)."""
    image = nib.GiftiImage()
    image.meta["AnatomicalStructurePrimary"] = f"Cortex{SIDES[hemi].capitalize()}"
    for volume in rounded(values).astype(np.float32):
        array = nib.gifti.GiftiDataArray(
            volume, intent="NIFTI_INTENT_TIME_SERIES", datatype="NIFTI_TYPE_FLOAT32"
        )
        image.add_gifti_data_array(array)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image.to_bytes())


def write_pair(root: Path, subject: str, recording: Recording) -> None:
    """Write both hemispheres of a run and their sidecars."""
    for hemi, values in recording.hemispheres.items():
        write_surface(surface_path(root, subject, hemi), values, hemi)
        write_json(surface_path(root, subject, hemi, ".json"), sidecar({}))


def brain_models(
    step: int = 1, affine: FloatArray = GRID_AFFINE, *, is_old_order: bool = False
) -> tuple[Any, Any]:
    """Axis of the cortex and the voxels, and where its entries are among all places.

    Parameters
    ----------
    step : int
        Take one of so many vertices only.
    is_old_order : bool
        List voxels with the last axis fastest.
    """
    parts, chosen = [], []
    for index, hemi in enumerate(SIDES):
        inside = ~medial_wall(hemi) & (np.arange(N_VERTICES) % step == 0)
        parts.append(cifti2.BrainModelAxis.from_mask(inside, name=CORTEX[hemi]))
        chosen.append(index * N_VERTICES + np.flatnonzero(inside))
    start = 2 * N_VERTICES
    for name in STRUCTURES:
        voxels = structure_voxels(name)
        order = np.lexsort(voxels.T[::-1]) if is_old_order else np.arange(len(voxels))
        names = [f"CIFTI_STRUCTURE_{name}"] * len(voxels)
        parts.append(
            cifti2.BrainModelAxis(
                names, voxel=voxels[order], affine=affine, volume_shape=GRID_SHAPE
            )
        )
        chosen.append(start + order)
        start += len(voxels)
    axis = parts[0]
    for part in parts[1:]:
        axis = axis + part
    return axis, np.concatenate(chosen)


def write_dense(
    path: Path,
    recording: Recording,
    models: tuple[Any, Any],
    *,
    step_s: float = REPETITION_TIME_S,
    is_float: bool = False,
) -> None:
    """Write a dense series as int16 with a slope, or as float32."""
    axis, chosen = models
    series = np.concatenate([*recording.hemispheres.values(), recording.voxels], axis=1)
    steps = np.rint(series[:, chosen] / STEP)
    stored = (steps * STEP).astype(np.float32) if is_float else steps.astype(np.int16)
    header = cifti2.Cifti2Header.from_axes((cifti2.SeriesAxis(0, step_s, len(stored)), axis))
    image: Any = cifti2.Cifti2Image(stored, header)
    image.set_data_dtype(stored.dtype)
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SERIES")
    content = bytearray(image.to_bytes())
    # nibabel would choose another slope.
    if not is_float:
        struct.pack_into("<d", content, SLOPE_OFFSET, STEP)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_grayordinates(
    root: Path, subject: str, recording: Recording, models: tuple[Any, Any], **more: Any
) -> None:
    """Write a dense series and its sidecar."""
    write_dense(dense_path(root, subject), recording, models, **more)
    write_json(dense_path(root, subject, ".json"), sidecar({"Density": "A stand-in for 91k."}))


def write_surfaces(root: Path) -> None:
    """Write six participants with surfaces and grayordinates."""
    write_description(root, "Simulated resting state on surfaces, six participants")
    for number in range(1, 7):
        subject = f"{number:02d}"
        recording = record("surfaces", subject, 80)
        write_pair(root, subject, recording)
        write_grayordinates(root, subject, recording, brain_models())
        write_confounds(root, {"sub": subject, "task": "rest"}, recording.confounds)


# ---------------------------------------------------------------- traits
N_VOLUMES = 16
"""Enough for three components where nothing is regressed out."""


def changed(recording: Recording, **hemispheres: FloatArray) -> Recording:
    """Replace values of hemispheres."""
    return replace(recording, hemispheres={**recording.hemispheres, **hemispheres})


def write_surface_traits(root: Path) -> None:
    """Write pairs of GIFTI files as versions of fMRIPrep leave them, and pairs that are wrong."""
    write_description(root, "Surfaces with traits")
    runs = {
        f"{number:02d}": record("surface_traits", f"{number:02d}", N_VOLUMES)
        for number in range(1, 11)
    }
    wall = {hemi: medial_wall(hemi) for hemi in SIDES}

    def in_wall(subject: str, value: float) -> Recording:
        own = runs[subject].hemispheres
        return changed(
            runs[subject], **{hemi: np.where(wall[hemi], value, own[hemi]) for hemi in SIDES}
        )

    runs["04"], runs["05"] = in_wall("04", np.nan), in_wall("05", 0.0)
    cut = runs["06"].hemispheres["L"].copy()
    cut[:, np.flatnonzero(~wall["L"])[:40]] = 0
    runs["06"] = changed(runs["06"], L=cut)
    runs["08"] = changed(runs["08"], R=runs["08"].hemispheres["R"][:-5])
    for subject, recording in runs.items():
        write_pair(root, subject, recording)
        write_confounds(root, {"sub": subject, "task": "rest"}, recording.confounds)
    for subject, ending in (("03", "_bold"), ("10", "")):
        for hemi in SIDES:
            _renamed(root, subject, hemi, ending)
    surface_path(root, "07", "R").unlink()
    surface_path(root, "07", "R", ".json").unlink()
    write_surface(surface_path(root, "09", "R"), runs["09"].hemispheres["R"], "L")


def _renamed(root: Path, subject: str, hemi: str, ending: str) -> None:
    """Give a hemisphere its name of fMRIPrep 20; before 20.2.1, it had no sidecar."""
    for extension in (".func.gii", ".json"):
        path = surface_path(root, subject, hemi, extension)
        name = f"sub-{subject}_task-rest_space-{SPACE}_hemi-{hemi}{ending}{extension}"
        if extension == ".json" and not ending:
            path.unlink()
        else:
            path.rename(path.with_name(name))


def write_grayordinate_traits(root: Path) -> None:
    """Write dense series as versions of fMRIPrep leave them, and some that are wrong."""
    write_description(root, "Grayordinates with traits")
    models = brain_models(3)
    shifted = GRID_AFFINE.copy()
    shifted[0, 3] += 3
    for number in range(1, 8):
        subject = f"{number:02d}"
        recording = record("grayordinate_traits", subject, N_VOLUMES)
        if subject == "06":
            cut = recording.hemispheres["L"].copy()
            cut[:, :200] = 0
            recording = changed(recording, L=cut)
        own = {"03": brain_models(3, is_old_order=True), "07": brain_models(3, shifted)}
        write_grayordinates(
            root,
            subject,
            recording,
            own.get(subject, models),
            step_s=3.0 if subject == "05" else REPETITION_TIME_S,
            is_float=subject == "02",
        )
        write_confounds(root, {"sub": subject, "task": "rest"}, recording.confounds)
    dense_path(root, "04", ".json").unlink()
    write_json(
        dense_path(root, "04", ".dtseries.json"),
        {"grayordinates": "91k", "space": "HCP grayordinates", "surface": "fsLR"},
    )
