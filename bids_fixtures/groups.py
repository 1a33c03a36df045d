"""Write the dataset with two groups: a network has one more part in patients than in controls.

The part is in both hippocampi, where none of the other networks is, and it belongs to the
salience network. All else is drawn for each participant alike; age, sex, site and
motion have nothing to do with the group.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from confounds import FloatArray
from demo import load_head, load_labels, load_traces
from layout import make_image, write_description, write_json, write_run, write_text
from participants import (
    BRAIN_INTENSITY,
    Head,
    Strength,
    make_participant,
    sampled,
    voxel_coordinates_mm,
)
from simulate import rng_for, simulate_run

NETWORKS = (
    "Primary visual",
    "Posterior DMN",
    "Anterior DMN",
    "Salience",
    "Auditory",
    "Left frontoparietal",
    "Right frontoparietal",
    "Primary sensorimotor",
    "Cerebellum",
    "Lateral visual",
)
CHANGED = "Salience"
"""The network that has one more part in patients."""
HIPPOCAMPI_MM = ((-28.0, -20.0, -16.0), (28.0, -20.0, -16.0))
PART_WIDTH_MM = 10.0
PART_STRENGTH = 0.8
"""Of the part in patients, relative to the network's maximum."""

SUBJECTS = tuple(f"{number:02d}" for number in range(1, 17))
GROUPS = ("controls", "patients")
SITES = ("north", "south")

GRID_SHAPE = (19, 23, 19)
GRID_AFFINE = np.array([[10.0, 0, 0, -90], [0, 10, 0, -126], [0, 0, 10, -72], [0, 0, 0, 1]])
REPETITION_TIME_S = 2.5
N_VOLUMES = 100
STRENGTH = Strength(network=24, nuisance=0, motion=8, physiology=4, drift=3, noise=8)
BOLD_STEP = 20.0
"""Intensity units of one stored step: two and a half times the noise, for the sake of small files.

The runs are long and the voxels large: of a few volumes, motion leaves too little."""


def group_of(subject: str) -> str:
    """Group of a participant: one and the other in turn."""
    return GROUPS[int(subject) % 2]


def places_mm() -> FloatArray:
    """Centres of all voxels, shape (x, y, z, 3)."""
    return voxel_coordinates_mm(GRID_SHAPE, GRID_AFFINE)


def new_part() -> FloatArray:
    """Make the part that patients have in addition: shape (x, y, z), maximum about 1."""
    centres = [np.array(centre) for centre in HIPPOCAMPI_MM]
    distances_mm = [np.linalg.norm(places_mm() - centre, axis=-1) for centre in centres]
    bumps = [np.exp(-0.5 * (distance / PART_WIDTH_MM) ** 2) for distance in distances_mm]
    return np.asarray(np.sum(bumps, axis=0), dtype=np.float64)


def head_of(group: str) -> Head:
    """Mask and networks of a group; there is no structured nuisance."""
    fine = load_head()
    names = [name for name, is_network in load_labels() if is_network]
    chosen = fine.networks[..., [names.index(name) for name in NETWORKS]]
    volumes = np.concatenate([fine.mask[..., np.newaxis], chosen], axis=-1)
    mask, *networks = np.moveaxis(sampled(volumes, fine.affine, places_mm()), -1, 0)
    if group == "patients":
        networks[NETWORKS.index(CHANGED)] += PART_STRENGTH * new_part()
    return Head(
        mask=mask >= 0.5,
        affine=GRID_AFFINE,
        networks=np.stack(networks, axis=-1),
        nuisance=np.zeros((*GRID_SHAPE, 0)),
    )


def planted_difference() -> tuple[list[str], Any, Any]:
    """Truth: names and maps (NIfTI, 4D) of the controls' networks, and the patients' part (3D)."""
    head = head_of("controls")
    networks = make_image(head.networks.astype(np.float32), head.affine, 1.0)
    return list(NETWORKS), networks, make_image(new_part().astype(np.float32), head.affine)


def write_groups(root: Path, seed: str = "groups") -> None:
    """Write the dataset; another `seed` gives other participants with the same difference."""
    write_description(root, "Simulated resting state, two groups")
    traces = load_traces()
    ranks = np.linspace(0, len(traces) - 2, len(SUBJECTS)).round().astype(int)
    order = rng_for(seed, "order of traces").permutation(ranks)
    heads = {group: head_of(group) for group in GROUPS}
    for subject, rank in zip(SUBJECTS, order, strict=True):
        head = heads[group_of(subject)]
        participant = make_participant(head, STRENGTH, rng_for(seed, subject))
        # Differences between the means of voxels would take half of the bytes.
        flat = np.full(GRID_SHAPE, BRAIN_INTENSITY)
        participant = replace(participant, anatomy=flat)
        displacement_mm = traces[rank][:N_VOLUMES]
        rng = rng_for(seed, subject, "run")
        recording = simulate_run(participant, displacement_mm, REPETITION_TIME_S, STRENGTH, rng)
        entities = {"sub": subject, "task": "rest", "res": "native"}
        write_run(root, entities, recording, BOLD_STEP)
    write_participants(root, seed)


def write_participants(root: Path, seed: str = "groups") -> None:
    """Write ``participants.tsv`` and its sidecar."""
    rows = ["participant_id\tgroup\tage\tsex\tsite"]
    for index, subject in enumerate(SUBJECTS):
        # A patient and a control at a time are alike, so that nothing goes with the group.
        pair = index // 2
        age = rng_for(seed, f"pair {pair}").integers(24, 60)
        age += rng_for(seed, subject, "age").integers(-3, 4)
        sex, site = "FM"[pair // 2 % 2], SITES[pair % 2]
        rows.append(f"sub-{subject}\t{group_of(subject)}\t{age}\t{sex}\t{site}")
    write_text(root / "participants.tsv", "\n".join(rows) + "\n")
    write_json(
        root / "participants.json",
        {
            "group": {
                "Description": "Simulated group",
                "Levels": {
                    "controls": f"{len(NETWORKS)} networks",
                    "patients": f"the same, and a part of {CHANGED} in both hippocampi",
                },
            },
            "age": {
                "Description": "Age, drawn at random for pairs of a patient and a control",
                "Units": "year",
            },
            "sex": {
                "Description": "Sex, half of each group",
                "Levels": {"F": "female", "M": "male"},
            },
            "site": {
                "Description": "Site, half of each group",
                "Levels": {"north": "a place", "south": "another place"},
            },
        },
    )
