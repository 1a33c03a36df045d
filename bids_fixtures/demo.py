"""Write the demo dataset: eight simulated participants at rest, 14 networks of ABIDE."""

from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from confounds import FloatArray
from layout import Entities, make_image, write_description, write_run
from participants import Head, Strength, make_participant
from simulate import rng_for, simulate_run

SOURCES = Path(__file__).parent / "sources"

REPETITION_TIME_S = 2.0
N_VOLUMES = 100
STRENGTH = Strength(network=32, nuisance=9, motion=31, physiology=8, drift=5, noise=10)

THRESHOLD_Z = 1.5
"""Maps are thresholded softly here: weaker values are mostly the noise of their estimate."""

SESSIONS = {"03": ("1", "2"), "06": ("1", "2")}
SUBJECTS = tuple(f"{number:02d}" for number in range(1, 9))


def load_traces() -> list[FloatArray]:
    """Framewise displacement (mm) of real scans, from the least to the most motion."""
    lines = (SOURCES / "framewise_displacement.tsv").read_text(encoding="utf-8").splitlines()
    return [np.array(line.split("\t")[2].split(";"), dtype=np.float64) for line in lines[1:]]


def load_labels() -> list[tuple[str, bool]]:
    """Name of each ABIDE map, and whether it is a named network."""
    lines = (SOURCES / "abide_ica32_labels.tsv").read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines[1:]]
    return [(name, is_network == "1") for _, name, is_network in cells]


def soft_threshold(maps: FloatArray) -> FloatArray:
    """Positive part of the maps above the threshold, each scaled to maximum 1.

    Parameters
    ----------
    maps : array of shape (x, y, z, n), z values
    """
    positive = np.maximum(maps - THRESHOLD_Z, 0)
    return np.asarray(positive / positive.max(axis=(0, 1, 2)), dtype=np.float64)


@cache
def load_head() -> Head:
    """Mask, planted networks and nuisance maps on the 8 mm grid."""
    image: Any = nib.load(SOURCES / "abide_ica32_8mm.nii.gz")
    mask_image: Any = nib.load(SOURCES / "brain_mask_8mm.nii.gz")
    maps = soft_threshold(image.get_fdata())
    is_network = np.array([is_network for _, is_network in load_labels()])
    return Head(
        mask=mask_image.get_fdata() > 0,
        affine=image.affine,
        networks=maps[..., is_network],
        nuisance=maps[..., ~is_network],
    )


def planted_networks() -> tuple[list[str], Any]:
    """Truth of the demo: names and maps (NIfTI, 4D, 0 to 1) of the networks in it."""
    names = [name for name, is_network in load_labels() if is_network]
    head = load_head()
    return names, make_image(head.networks.astype(np.float32), head.affine, 1.0)


def demo_runs() -> list[Entities]:
    """Entities of every run of the demo."""
    runs: list[Entities] = []
    for subject in SUBJECTS:
        base = {"sub": subject, "task": "rest", "res": "native"}
        sessions = [{"ses": session} for session in SESSIONS.get(subject, ())]
        runs += [{**base, **session} for session in sessions or [{}]]
    return runs


def write_rest(root: Path) -> None:
    """Write the demo dataset."""
    write_description(root, "Simulated resting state, eight participants")
    head = load_head()
    traces = load_traces()
    runs = demo_runs()
    # Spread over the range of motion, in an order that mixes still and restless participants.
    ranks = np.linspace(0, len(traces) - 1, len(runs)).round().astype(int)
    order = rng_for("rest", "order of traces").permutation(ranks)
    for entities, rank in zip(runs, order, strict=True):
        subject = entities["sub"]
        participant = make_participant(head, STRENGTH, rng_for("rest", subject))
        rng = rng_for("rest", subject, entities.get("ses", ""), "run")
        displacement_mm = traces[rank][:N_VOLUMES]
        recording = simulate_run(participant, displacement_mm, REPETITION_TIME_S, STRENGTH, rng)
        write_run(root, entities, recording)
