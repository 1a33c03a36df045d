"""Whether what is said about each map can be trusted: ``evidence.py``, on planted simulations.

Writes small datasets of 8 mm with fMRIPrep's names whose networks and artefacts are known, runs the
whole command on them, and holds its tables against the truth. ``--quick`` takes a minute or two.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files
from itertools import product
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pandas as pd
from common import table
from demo import REPETITION_TIME_S, STRENGTH, load_head, load_labels, load_traces
from layout import write_description, write_run
from nilearn.datasets import load_mni152_brain_mask
from nilearn.decomposition import CanICA
from nilearn.image import resample_to_img, smooth_img
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn_script import mend_whitening
from numpy.typing import NDArray
from participants import (
    Head,
    Strength,
    brain_profile,
    make_participant,
    smooth_field,
    voxel_size_mm,
)
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from simulate import Recording, band_limited, rng_for, simulate_run
from sklearn.metrics import roc_auc_score
from support import group_maps, matched_correlations

import nidecomp
from nidecomp.config.science import METHODS
from nidecomp.decomposition.stability import split_halves

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SMOOTHING_MM = 6.0
FOUND_R = 0.5
"""A map is a planted one if their |r| is at least this, matched one to one within the group mask.

The planted map is smoothed as the data are."""

ABSENT = 0.1
"""Chance of each network to be missing in a participant."""

SURPLUS = 6
"""Components beyond what is planted: there have to be some that are nothing."""

OUTLIER_GAIN = 4.0
"""Strength of the outlying participant's own artefact, in units of a network's."""

NOISE = (10.0, 20.0, 30.0)
"""Standard deviation of the noise where the mean image is 1000: 1, 2 and 3 %. Networks have 3.2."""

ARTEFACT_GAIN = 1.0
"""Strength of planted artefacts, in units of a network's."""

MASKS = ("wide", "tight")
"""The mask of the maps that networks come from, up to 10 mm outside of the brain, and what of it
lies in the MNI 152 template's brain."""

N_MOVING = 3
"""Artefacts that follow motion, each in datasets of its own."""


# ---------------------------------------------------------------- what is planted
Course = Literal["displacement", "squared displacement", "slow", "fast"]
"""What an artefact's time courses follow; slow ones are those of networks."""

FOLLOWS = 0.9
"""Correlation of an artefact's time course with the displacement that it follows."""


@dataclass(frozen=True, eq=False)
class Artefact:
    """Something that denoising does not remove.

    Parameters
    ----------
    kind : str
    map : ndarray, shape (x, y, z), maximum 1
    course : str
    flag : str
        The flag that it should have.
    gain : float
        Its strength, in units of a network's.
    only_in : int or None
        The one participant that has it.
    """

    kind: str
    map: FloatArray
    course: Course
    flag: str
    gain: float = ARTEFACT_GAIN
    only_in: int | None = None


@dataclass(frozen=True, eq=False)
class Planted:
    """The truth of one dataset.

    Parameters
    ----------
    names : tuple of str
        One for each of the head's networks.
    head : Head
        Its networks are what is shared, it has no nuisance maps.
    artefacts : tuple of Artefact
    strength : Strength
    absent : float
        Chance of each network to be missing in a participant.
    """

    names: tuple[str, ...]
    head: Head
    artefacts: tuple[Artefact, ...]
    strength: Strength
    absent: float

    def truth(self, inside: BoolArray) -> FloatArray:
        """Give all planted maps, networks first, smoothed, shape (n_maps, n_voxels)."""
        maps = [*np.moveaxis(self.head.networks, 3, 0), *(one.map for one in self.artefacts)]
        sigma = SMOOTHING_MM / np.sqrt(8 * np.log(2)) / voxel_size_mm(self.head.affine)
        return np.stack([ndimage.gaussian_filter(one, sigma)[inside] for one in maps])


def named_networks() -> list[str]:
    """Give the names that NiDecomp labels maps with, in the order of the planted maps."""
    return [name.replace("DMN", "default mode") for name, is_network in load_labels() if is_network]


def plant_networks(n_networks: int, noise: float) -> tuple[tuple[str, ...], Head, Strength]:
    """Take the named networks first, then other maps of the same group ICA, without names."""
    head = load_head()
    maps = np.concatenate([head.networks, head.nuisance], axis=3)[..., :n_networks]
    names = (named_networks() + [""] * head.nuisance.shape[3])[:n_networks]
    head = replace(head, networks=maps, nuisance=head.nuisance[..., :0])
    return tuple(names), head, replace(STRENGTH, noise=noise)


@cache
def template_brain() -> BoolArray:
    """Give the voxels at least half of which lie in the MNI 152 template's brain."""
    head = load_head()
    grid = nib.Nifti1Image(np.zeros(head.mask.shape, dtype=np.float32), head.affine)
    # Averaged over a voxel's size before it is sampled, as grids of 8 mm are made.
    fine = smooth_img(load_mni152_brain_mask(resolution=2), 8.0)
    brain = resample_to_img(fine, grid, force_resample=True, copy_header=True)
    return np.asarray(brain.get_fdata() >= 0.5)


def edge_of(head: Head) -> FloatArray:
    """Give where motion is seen: the contrast at the brain's edge, within the mask, maximum 1."""
    profile = brain_profile(template_brain(), head.affine)
    contrast = np.linalg.norm(np.gradient(profile), axis=0) * head.mask
    return np.maximum(2 * contrast / contrast.max() - 1, 0)


def edge_side(head: Head, rng: np.random.Generator) -> FloatArray:
    """Give the half of the edge that looks in a random direction."""
    direction = rng.standard_normal(3)
    middle = np.argwhere(head.mask).mean(axis=0)
    position = np.moveaxis(np.indices(head.mask.shape), 0, -1) - middle
    return np.asarray(edge_of(head) * (position @ direction > 0))


@cache
def ventricles() -> FloatArray:
    """Give the ventricles of NiDecomp's own tissue masks, averaged over each voxel, maximum 1."""
    head = load_head()
    grid = nib.Nifti1Image(np.zeros(head.mask.shape, dtype=np.float32), head.affine)
    with as_file(files("nidecomp.annotation.data") / "csf.nii.gz") as path:
        fine = smooth_img(str(path), 8.0)
    found = resample_to_img(fine, grid, force_resample=True, copy_header=True).get_fdata()
    return np.asarray(found / found.max())


def blob(head: Head, rng: np.random.Generator) -> FloatArray:
    """Give the upper tenth of a smooth field within the brain, its edge left out, maximum 1."""
    inside = ndimage.binary_erosion(template_brain() & head.mask)
    field = smooth_field(head.mask.shape, 16.0 / voxel_size_mm(head.affine), rng)
    field = np.maximum(field - np.quantile(field[inside], 0.9), 0) * inside
    return np.asarray(field / field.max())


def outlier(head: Head, rng: np.random.Generator) -> Artefact:
    """Give what the last participant has of its own, far stronger than networks."""
    field = smooth_field(head.mask.shape, 20.0 / voxel_size_mm(head.affine), rng)
    whose = -1
    return Artefact(
        "outlier", field / np.abs(field).max(), "slow", "single-participant", OUTLIER_GAIN, whose
    )


def moving_artefacts(head: Head, rng: np.random.Generator) -> tuple[Artefact, ...]:
    """Make what follows motion; time courses are so alike that a dataset has one of them."""
    return (
        Artefact("edge, follows displacement", edge_of(head), "displacement", "edge"),
        Artefact(
            "one side of the edge, follows its square",
            edge_side(head, rng),
            "squared displacement",
            "edge",
        ),
        Artefact(
            "within the brain, follows displacement", blob(head, rng), "displacement", "motion"
        ),
    )


def plant_artefacts(head: Head, moving: int, rng: np.random.Generator) -> tuple[Artefact, ...]:
    """Make one artefact that follows motion, and one of each kind that does not."""
    at_edge = (
        Artefact("one side of the edge, slow", edge_side(head, rng), "slow", "edge"),
        Artefact("edge, slow", edge_of(head), "slow", "edge"),
    )
    return (
        moving_artefacts(head, rng)[moving],
        # Not the same place twice.
        at_edge[moving % len(at_edge)],
        Artefact("ventricles", ventricles(), "slow", "csf"),
        Artefact("above 0.1 Hz", blob(head, rng), "fast", "high-frequency"),
        Artefact("one participant", blob(head, rng), "slow", "single-participant", 2.0, 0),
    )


# ---------------------------------------------------------------- datasets
@dataclass(frozen=True)
class Size:
    """Size of every dataset."""

    participants: int
    volumes: int


def _standardised(values: FloatArray) -> FloatArray:
    centred = values - values.mean()
    return np.asarray(centred / centred.std())


def fast_course(n_volumes: int, rng: np.random.Generator) -> FloatArray:
    """Make a time course with power above 0.1 Hz only, standard deviation 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n_volumes))
    spectrum[np.fft.rfftfreq(n_volumes, REPETITION_TIME_S) <= 0.1] = 0
    return _standardised(np.fft.irfft(spectrum, n=n_volumes))


def draw_course(course: Course, recording: Recording, rng: np.random.Generator) -> FloatArray:
    """Draw a run's time course; what follows motion is the stronger the more of it there is."""
    displacement_mm = recording.confounds["framewise_displacement"].copy()
    displacement_mm[0] = displacement_mm[1]
    slow = band_limited(displacement_mm.size, 1, REPETITION_TIME_S, rng)[:, 0]
    gain = np.sqrt(displacement_mm.mean() / 0.15)
    match course:
        case "slow":
            return slow
        case "fast":
            return fast_course(displacement_mm.size, rng)
        case "displacement":
            followed = displacement_mm
        case "squared displacement":
            followed = displacement_mm**2
    mixed = FOLLOWS * _standardised(followed) + np.sqrt(1 - FOLLOWS**2) * slow
    return np.asarray(gain * mixed)


def add_artefacts(
    recording: Recording, planted: Planted, number: int, size: Size, rng: np.random.Generator
) -> Recording:
    """Add a participant's artefacts to its image; the confounds table does not know of them."""
    has_signal = recording.bold.any(axis=3)
    bold = recording.bold.copy()
    for one in planted.artefacts:
        course = draw_course(one.course, recording, rng)
        weight = planted.strength.network * one.gain * rng.uniform(0.75, 1.25)
        if one.only_in is None or one.only_in % size.participants == number:
            bold += weight * (one.map * has_signal)[..., np.newaxis] * course
    return replace(recording, bold=bold)


def write_dataset(root: Path, planted: Planted, size: Size, name: str) -> None:
    """Write one run for each participant; the last one is the most restless."""
    write_description(root, f"Planted networks and artefacts, {name}")
    traces = load_traces()
    others = np.linspace(0, len(traces) - 4, size.participants - 1).round().astype(int)
    ranks = [*rng_for(name, "order of traces").permutation(others), len(traces) - 1]
    for number, rank in enumerate(ranks):
        label = f"{number + 1:02d}"
        rng = rng_for(name, label)
        participant = make_participant(planted.head, planted.strength, rng)
        present = rng.random(participant.sources.shape[3]) >= planted.absent
        participant = replace(participant, sources=participant.sources * present)
        displacement_mm = traces[rank][: size.volumes]
        recording = simulate_run(
            participant, displacement_mm, REPETITION_TIME_S, planted.strength, rng
        )
        recording = add_artefacts(recording, planted, number, size, rng)
        write_run(root, {"sub": label, "task": "rest"}, recording)


# ---------------------------------------------------------------- what NiDecomp says of them
def run_nidecomp(data: Path, out: Path, n_components: int, **options: Any) -> None:
    """Run the whole command; both methods unless the options say otherwise."""
    nidecomp.decompose(
        data,
        out,
        n_components=n_components,
        denoise_strategy="simple",
        smoothing_fwhm=SMOOTHING_MM,
        random_seed=0,
        nprocs=1,
        no_report=True,
        **options,
    )


def group_mask_path(out: Path) -> Path:
    """Find the group's mask."""
    (path,) = out.glob("tpl-*/anat/*_desc-brain_mask.nii.gz")
    return path


def read_mask(path: Path) -> BoolArray:
    """Read a mask."""
    image: Any = nib.load(path)
    return np.asarray(image.dataobj) > 0


def judge(out: Path, planted: Planted, method: str) -> pd.DataFrame:
    """Give a method's table, with what each map is in truth.

    Returns
    -------
    DataFrame
        With the columns ``truth`` (index of the planted map, -1 for none) and ``truth_r``.
    """
    found = nidecomp.component_table(out)
    found = found[found["method"] == method].sort_values("index").reset_index(drop=True)
    truth = planted.truth(read_mask(group_mask_path(out)))
    maps = group_maps(out, method)
    r = np.abs(np.corrcoef(truth, maps)[: len(truth), len(truth) :])
    which, component = linear_sum_assignment(-np.nan_to_num(r))
    matched = r[which, component]
    found["truth"], found["truth_r"] = -1, 0.0
    found.loc[component, "truth"] = np.where(matched >= FOUND_R, which, -1)
    found.loc[component, "truth_r"] = matched
    return found


def judged(
    scratch: Path, name: str, planted: Planted, size: Size, n_components: int
) -> pd.DataFrame:
    """Write a dataset, run the command on it, and judge both methods' maps."""
    data, out = scratch / f"{name}-data", scratch / f"{name}-out"
    write_dataset(data, planted, size, name)
    run_nidecomp(data, out, n_components)
    return pd.concat([judge(out, planted, method) for method in METHODS], ignore_index=True)


# ---------------------------------------------------------------- A and B: planted or not
@dataclass(frozen=True, eq=False)
class Networks:
    """One dataset of shared networks, and what was said of the maps."""

    n_networks: int
    noise: float
    planted: Planted
    found: pd.DataFrame

    def of(self, method: str) -> pd.DataFrame:
        """Give one method's rows."""
        return self.found[self.found["method"] == method]


def study_networks(
    scratch: Path, size: Size, sizes: Sequence[int], noises: Sequence[float], seeds: int
) -> Iterator[Networks]:
    """Judge datasets of each number of networks and each noise."""
    for n_networks, noise, seed in product(sizes, noises, range(seeds)):
        name = f"networks{n_networks}-noise{noise:g}-{seed}"
        names, head, strength = plant_networks(n_networks, noise)
        own = outlier(head, rng_for(name, "outlier"))
        planted = Planted(names, head, (own,), strength, ABSENT)
        found = judged(scratch, name, planted, size, n_networks + SURPLUS)
        # The outlier's artefact is planted, and shared by nobody.
        found["is_network"] = (found["truth"] >= 0) & (found["truth"] < n_networks)
        yield Networks(n_networks, noise, planted, found)


def area(found: pd.DataFrame) -> str:
    """Tell how well reproducibility separates networks from all else."""
    if found["is_network"].nunique() < 2:
        return "n/a"
    return f"{roc_auc_score(found['is_network'], found['reproducibility']):.3f}"


def area_table(studied: Sequence[Networks]) -> str:
    """Make table A: a row for each number of networks and noise, and one for all."""
    rows = []
    groups = [*dict.fromkeys((one.n_networks, one.noise) for one in studied), None]
    for group in groups:
        those = [one for one in studied if group in (None, (one.n_networks, one.noise))]
        row: list[object] = [*(group or ("all", "all")), len(those)]
        for method in METHODS:
            found = pd.concat([one.of(method) for one in those])
            good = found["reproducibility"][found["is_network"]]
            rest = found["reproducibility"][~found["is_network"]]
            row += [
                f"{len(good)} of {sum(one.n_networks for one in those)}",
                f"{good.median():.2f}, {rest.median():.2f}",
                area(found),
            ]
        rows.append(row)
    header = ["networks", "noise", "datasets"]
    for method in METHODS:
        header += [f"{method}: found", "reproducibility of these and of others", "AUC"]
    return table(header, rows)


def label_table(studied: Sequence[Networks]) -> str:
    """Make table B: how many of the named networks that were found have their name."""
    rows = []
    for method in METHODS:
        right, wrong, unnamed = 0, [], 0
        for one in studied:
            names = one.planted.names
            for row in one.of(method).itertuples():
                name = names[row.truth] if row.is_network else ""
                if not name:
                    continue
                right += row.label == name
                unnamed += not isinstance(row.label, str)
                if isinstance(row.label, str) and row.label != name:
                    wrong.append(f"{name} ({row.truth_r:.2f}) as {row.label}")
        total = right + unnamed + len(wrong)
        counted = "; ".join(dict.fromkeys(wrong))
        rows.append([method, total, right, f"{right / max(total, 1):.3f}", unnamed, counted])
    return table(["", "found", "right label", "share", "no label", "wrong"], rows)


# ---------------------------------------------------------------- C: flags
@dataclass(frozen=True, eq=False)
class Flagged:
    """One dataset of networks and artefacts, and what was said of the maps."""

    mask: str
    planted: Planted
    found: pd.DataFrame


def study_flags(
    scratch: Path, size: Size, noises: Sequence[float], masks: Sequence[str], seeds: int
) -> list[Flagged]:
    """Judge datasets of the 14 named networks beside artefacts of all kinds."""
    studied = []
    for noise, mask, moving, seed in product(noises, masks, range(N_MOVING), range(seeds)):
        name = f"artefacts-noise{noise:g}-{mask}-{moving}-{seed}"
        names, head, strength = plant_networks(len(named_networks()), noise)
        if mask == "tight":
            head = replace(head, mask=head.mask & template_brain())
        artefacts = plant_artefacts(head, moving, rng_for(name, "artefacts"))
        planted = Planted(names, head, artefacts, strength, 0.0)
        n_components = len(names) + len(artefacts) + SURPLUS // 2
        found = judged(scratch, name, planted, size, n_components)
        studied.append(Flagged(mask, planted, found))
    return studied


def _flags(cell: object) -> list[str]:
    return cell.split(",") if isinstance(cell, str) else []


@dataclass(frozen=True)
class Sighting:
    """One planted map, and the flags of the component that it was found in (None: not found)."""

    kind: str
    expected: str
    flags: tuple[str, ...] | None


def sightings(studied: Sequence[Flagged], method: str) -> list[Sighting]:
    """List every planted map of all datasets; networks have the kind "network"."""
    seen = []
    for one in studied:
        found = one.found[one.found["method"] == method]
        raised = dict(zip(found["truth"], found["flags"], strict=True))
        kinds = [("network", name) for name in one.planted.names]
        kinds += [(artefact.kind, artefact.flag) for artefact in one.planted.artefacts]
        for index, (kind, expected) in enumerate(kinds):
            flags = tuple(_flags(raised[index])) if index in raised else None
            seen.append(Sighting(kind, expected, flags))
    return seen


def _counts(those: Sequence[Sighting]) -> list[object]:
    found = [one for one in those if one.flags is not None]
    flagged = sum(bool(one.flags) for one in found)
    expected = sum(one.expected in (one.flags or ()) for one in found)
    share = f"{flagged} ({100 * flagged / max(len(found), 1):.0f} %)"
    which = ", ".join(dict.fromkeys(one.expected for one in those))
    is_network = those[0].kind == "network"
    return [len(those), len(found), share, "" if is_network else f"{expected} ({which})"]


def flag_table(studied: Sequence[Flagged]) -> str:
    """Make table C: for each kind of map, how many are found and flagged."""
    rows = []
    for method in METHODS:
        seen = sightings(studied, method)
        groups = {
            kind: [one for one in seen if one.kind == kind]
            for kind in dict.fromkeys(one.kind for one in seen)
        }
        groups["all of motion and edge"] = [
            one for one in seen if one.kind != "network" and one.expected in {"edge", "motion"}
        ]
        rows += [[method, kind, *_counts(those)] for kind, those in groups.items()]
    header = ["", "planted", "number", "found", "flagged", "with the flag expected"]
    return table(header, rows)


def false_alarms(studied: Sequence[Flagged]) -> str:
    """List the networks that were flagged."""
    rows = []
    for method in METHODS:
        wrong = [
            (one.expected, ",".join(one.flags))
            for one in sightings(studied, method)
            if one.kind == "network" and one.flags
        ]
        rows += [[method, *pair, wrong.count(pair)] for pair in dict.fromkeys(wrong)]
    return table(["", "network", "flags", "times"], rows)


def numbers_table(studied: Sequence[Flagged]) -> str:
    """Tell the numbers behind the flags: smallest, median and largest for each kind of map."""
    columns = {
        "edge and outside": lambda found: found["edge_share"] + found["outside_share"],
        "outside": lambda found: found["outside_share"],
        "CSF": lambda found: found["csf_share"],
        "above 0.1 Hz": lambda found: found["high_frequency_share"],
        "motion r": lambda found: found["motion_r"],
        "dominance": lambda found: found["dominance"],
    }
    parts = []
    for one in studied:
        kinds = ["network"] * len(one.planted.names) + [each.kind for each in one.planted.artefacts]
        part = one.found[one.found["truth"] >= 0].copy()
        part["kind"] = [kinds[index] for index in part["truth"]]
        parts.append(part)
    found = pd.concat(parts)
    rows = []
    for kind, part in found.groupby("kind", sort=False):
        cells = [_range(column(part)) for column in columns.values()]
        rows.append([kind, len(part), *cells])
    return table(["planted", "found", *columns], rows)


def _range(values: pd.Series) -> str:
    return f"{values.min():.2f}, {values.median():.2f}, {values.max():.2f}"


# ---------------------------------------------------------------- D: nilearn
Fit = Callable[[Path, Sequence[str], Path, int], FloatArray]
"""Takes a dataset, participants, the mask and a number of components; gives maps within it."""


def fit_nilearn(data: Path, labels: Sequence[str], mask: Path, n_components: int) -> FloatArray:
    """Fit nilearn's CanICA to some participants, shape (n_components, n_voxels)."""
    images = [
        str(path) for label in labels for path in sorted(data.glob(f"sub-{label}/**/*_bold.nii.gz"))
    ]
    confounds, _ = load_confounds_strategy(images, denoise_strategy="simple")
    image: Any = nib.load(mask)
    canica = CanICA(
        n_components=n_components,
        mask=image,
        smoothing_fwhm=SMOOTHING_MM,
        standardize="zscore_sample",
        detrend=True,
        random_state=0,
        n_init=10,
        threshold=None,
    )
    canica.fit(images, confounds=confounds if isinstance(confounds, list) else [confounds])
    return np.asarray(canica.components_)


def fit_nidecomp(data: Path, labels: Sequence[str], mask: Path, n_components: int) -> FloatArray:
    """Fit NiDecomp's CanICA to the same."""
    with tempfile.TemporaryDirectory(dir=mask.parents[3]) as folder:
        out = Path(folder) / "out"
        run_nidecomp(
            data,
            out,
            n_components,
            participant_label=list(labels),
            mask=str(mask),
            methods=["canica"],
            level="minimal",
        )
        return group_maps(out, "canica")


def between_halves(
    fit: Fit, data: Path, mask: Path, n_components: int, halves: Sequence[tuple[Any, Any]]
) -> FloatArray:
    """Fit both halves of each split; give their matched |r|, shape (n_splits, n_components).

    NaN where a half could not be fitted: scikit-learn's whitening may leave no finite number.
    """
    matched = np.full((len(halves), n_components), np.nan)
    for row, pair in zip(matched, halves, strict=True):
        try:
            row[:] = matched_correlations(*(fit(data, half, mask, n_components) for half in pair))
        except ValueError as error:
            print(f"{fit.__name__}, {n_components} components: {error}", file=sys.stderr)
    return matched


def study_halves(
    scratch: Path, size: Size, model_orders: Sequence[int], n_splits: int, *, mended: bool
) -> str:
    """Make table D: how alike two halves' maps come out, of both programs."""
    names, head, strength = plant_networks(len(named_networks()), STRENGTH.noise)
    planted = Planted(names, head, (), strength, 0.0)
    data, out = scratch / "halves-data", scratch / "halves-out"
    write_dataset(data, planted, size, "halves")
    run_nidecomp(data, out, len(names), level="minimal")
    mask = group_mask_path(out)
    labels = [f"{number + 1:02d}" for number in range(size.participants)]
    halves = split_halves(labels, n_splits, 0)
    programs: list[tuple[str, Fit]] = [("NiDecomp", fit_nidecomp), ("nilearn", fit_nilearn)]
    if mended:
        programs.append(("nilearn, whitening mended", fit_nilearn))
    rows = []
    for program, fit in programs:
        if program.endswith("mended"):
            mend_whitening()  # of scikit-learn in this process, hence last
        for order in model_orders:
            r = between_halves(fit, data, mask, order, halves)
            splits = ", ".join(f"{value:.3f}" for value in r.mean(axis=1))
            averages = (f"{np.nanmean(r):.3f}", f"{np.nanmedian(r):.3f}")
            rows.append([order, program, *averages, splits.replace("nan", "failed")])
    rows.sort(key=lambda row: row[0])
    return table(["components", "", "mean r", "median r", "mean of each split"], rows)


# ---------------------------------------------------------------- all of it
def _print(title: str, text: str) -> None:
    print(f"\n### {title}\n\n{text}", flush=True)


def run_studies(arguments: argparse.Namespace, scratch: Path) -> None:
    """Do the studies that were asked for, and print their tables."""
    size = Size(arguments.participants, arguments.volumes)
    if "networks" in arguments.studies:
        networks = list(
            study_networks(scratch, size, arguments.networks, arguments.noise, arguments.seeds)
        )
        _print("Reproducibility: networks and all else", area_table(networks))
        _print("Labels", label_table(networks))
    if "flags" in arguments.studies:
        noises = arguments.noise[:2]  # each of them in every mask
        flagged = study_flags(scratch, size, noises, arguments.masks, arguments.seeds)
        _print("Flags", flag_table(flagged))
        _print("Networks that were flagged", false_alarms(flagged))
        _print("Behind the flags: minimum, median, maximum", numbers_table(flagged))
    if "halves" in arguments.studies:
        halves = study_halves(
            scratch, size, arguments.orders, arguments.splits, mended=arguments.mend_whitening
        )
        _print("Halves, CanICA", halves)


STUDIES = ("networks", "flags", "halves")


def main() -> None:
    """Read the command line, do the studies and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=STUDIES)
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--volumes", type=int, default=120, help="146 at most")
    parser.add_argument("--networks", type=int, nargs="+", default=[6, 14, 20, 30])
    parser.add_argument("--noise", type=float, nargs="+", default=list(NOISE))
    parser.add_argument("--seeds", type=int, default=2, help="datasets of each kind")
    parser.add_argument("--orders", type=int, nargs="+", default=[14], help="of CanICA, halves")
    parser.add_argument("--splits", type=int, default=5, help="halvings that nilearn fits, too")
    parser.add_argument("--masks", nargs="+", choices=MASKS, default=MASKS, help="of the flags")
    parser.add_argument(
        "--mend-whitening", action="store_true", help="fit nilearn with its whitening mended, too"
    )
    parser.add_argument("--quick", action="store_true", help="few datasets, a minute or two")
    parser.add_argument("--scratch", type=Path, help="keep datasets and results in this folder")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.networks, arguments.noise, arguments.masks = [14], [NOISE[0]], ["tight"]
        arguments.seeds, arguments.orders, arguments.splits = 1, [14], 1
        arguments.participants, arguments.volumes = 8, 100
    if arguments.scratch:
        arguments.scratch.mkdir(parents=True, exist_ok=True)
        run_studies(arguments, arguments.scratch)
        return
    with tempfile.TemporaryDirectory() as folder:
        run_studies(arguments, Path(folder))


if __name__ == "__main__":
    main()
