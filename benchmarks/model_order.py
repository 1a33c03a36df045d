"""Does ``--n-components auto`` find the planted order? ``model_order.py --nprocs 2``.

Groups are simulated at 8 mm as in ``bids_fixtures``: real maps as sources, of which every
participant has a displaced, reweighted version with time courses of its own, and lacks one in ten;
nuisance of each participant's own that varies more than any source; smooth noise. Cleaning is left
out: what it would take away is not simulated.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from common import table
from demo import load_head
from participants import Head, own_networks, smooth_field, voxel_size_mm
from scipy import ndimage
from simulate import network_time_courses
from support import matched_correlations
from threadpoolctl import threadpool_limits

from nidecomp.config.science import DecompositionOptions
from nidecomp.decomposition.canica import fit_canica
from nidecomp.decomposition.gather import participant_weights
from nidecomp.decomposition.model_order import estimate_model_order
from nidecomp.decomposition.model_order_choice import ModelOrderChoice
from nidecomp.decomposition.subspace import RowNorm, SubspaceStream, weighted_rows

Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

REPETITION_TIME_S = 2.0
RECOVERED_R = 0.6
"""A planted map is found if a map has this |r| with it, matched one to one."""

N_INIT = 5
"""Restarts of the ICA that is told the number."""

FWHM_OF_SIGMA = 2.3548
NOISE_SIGMA_VOXELS = 0.5
NOISE_UNIT = 0.3
"""Standard deviation of noise 1, as a share of a source at its strongest: the demo's level."""


@dataclass(frozen=True)
class Group:
    """What a simulated group is made of.

    `noise`: 1 is the noise of the demo dataset. `nuisance`: how many blobs of its own each
    participant has, `nuisance_amplitude` how strong they are beside the sources, `nuisance_mm` the
    standard deviation of the kernel that makes them smooth. `missing`: how often a participant
    lacks a source.
    """

    order: int
    noise: float = 1.0
    n_participants: int = 16
    n_volumes: int = 150
    n_rows: int = 50
    nuisance: int = 8
    nuisance_amplitude: float = 1.5
    nuisance_mm: float = 16.0
    missing: float = 0.1
    smoothing_mm: float = 6.0
    seed: int = 0


# ---------------------------------------------------------------- one simulated group
def sources(group: Group, rng: np.random.Generator) -> Head:
    """Give the head with as many sources as the order says, drawn from all 32 maps."""
    head = load_head()
    maps = np.concatenate([head.networks, head.nuisance], axis=-1)
    drawn = rng.permutation(maps.shape[-1])[: group.order]
    return replace(head, networks=maps[..., drawn])


def simulated_rows(group: Group, head: Head, rng: np.random.Generator) -> Float32Array:
    """Simulate one participant's run and reduce it: (n_rows, n_voxels), as the reduce step does."""
    series = own_series(group, head, rng)
    noise = rng.standard_normal((*head.mask.shape, group.n_volumes), dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (*(NOISE_SIGMA_VOXELS,) * 3, 0.0))
    image = group.noise * NOISE_UNIT * noise / noise.std()
    image[head.mask] += series
    sigma = group.smoothing_mm / FWHM_OF_SIGMA / voxel_size_mm(head.affine)
    image = ndimage.gaussian_filter(image, (sigma, sigma, sigma, 0.0))
    cleaned = image[head.mask].T.astype(np.float64)
    cleaned = (cleaned - cleaned.mean(axis=0)) / cleaned.std(axis=0)
    _, vectors = np.linalg.eigh(cleaned @ cleaned.T)
    return np.asarray(vectors[:, ::-1][:, : group.n_rows].T @ cleaned, dtype=np.float32)


def own_series(group: Group, head: Head, rng: np.random.Generator) -> Array:
    """Give one participant's sources and nuisance, (n_voxels, n_volumes)."""
    n_volumes = group.n_volumes
    series = np.zeros((np.count_nonzero(head.mask), n_volumes))
    if group.order:
        maps = own_networks(head, rng)[head.mask] * (rng.random(group.order) > group.missing)
        series += maps @ network_time_courses(n_volumes, group.order, REPETITION_TIME_S, rng).T
    if group.nuisance:
        sigma = group.nuisance_mm / voxel_size_mm(head.affine)
        fields = [smooth_field(head.mask.shape, sigma, rng) for _ in range(group.nuisance)]
        blobs = np.maximum(np.stack(fields, axis=-1) - 1.5, 0.0)
        blobs = group.nuisance_amplitude * (blobs / blobs.max(axis=(0, 1, 2)))[head.mask]
        series += blobs @ network_time_courses(n_volumes, group.nuisance, REPETITION_TIME_S, rng).T
    return series


def planted_maps(group: Group, head: Head) -> Array:
    """Give the planted maps, smoothed as the runs are."""
    sigma = group.smoothing_mm / FWHM_OF_SIGMA / voxel_size_mm(head.affine)
    maps = np.moveaxis(head.networks, -1, 0)
    return np.stack([ndimage.gaussian_filter(one, sigma)[head.mask] for one in maps])


def canica(runs: Sequence[Float32Array], row_norm: RowNorm, n_rows: int, k: int) -> Array:
    """Fit CanICA to the leading rows of runs, each of a participant of its own."""
    leading = [run[:n_rows] for run in runs]
    squared = [np.sum(rows.astype(np.float64) ** 2, axis=1) for rows in leading]
    weights = participant_weights([str(index) for index in range(len(runs))], squared, row_norm)
    stream = SubspaceStream(runs[0].shape[1], DecompositionOptions().kept_dims(k))
    for rows, weight in zip(leading, weights, strict=True):
        stream.add(weighted_rows(rows, weight, row_norm))
    return fit_canica(stream.finish().orthonormal(k), N_INIT, 0).maps


def count_recoverable(runs: Sequence[Float32Array], planted: Array) -> int:
    """Count the planted maps that CanICA finds where it is told how many there are.

    With the weighting of principal components that finds more. The others no choice of the number
    can bring back: they are too weak, or nearly the same as another one.
    """
    k = len(planted)
    fits: tuple[tuple[RowNorm, int], ...] = (("unit", k), ("unit", 2 * k), ("sqrt", 2 * k))
    r = [matched_correlations(planted, canica(runs, *weighting, k)) for weighting in fits]
    return max(int(np.count_nonzero(one >= RECOVERED_R)) for one in r)


@dataclass(frozen=True)
class Answer:
    """What was chosen, in how many seconds, and how many maps could be found."""

    choice: ModelOrderChoice
    seconds: float
    n_recoverable: int


def choose(group: Group) -> Answer:
    """Simulate a group and let the order be chosen."""
    with threadpool_limits(limits=1):
        rng = np.random.default_rng([group.seed, group.order])
        head = sources(group, rng)
        runs = [simulated_rows(group, head, rng) for _ in range(group.n_participants)]
        labels = [f"{number:03d}" for number in range(group.n_participants)]
        start = time.perf_counter()
        choice = estimate_model_order(runs.__getitem__, labels, runs[0].shape[1])
        seconds = time.perf_counter() - start
        recoverable = count_recoverable(runs, planted_maps(group, head)) if group.order else 0
        return Answer(choice, seconds, recoverable)


# ---------------------------------------------------------------- tables
def told(answers: Sequence[Answer]) -> str:
    """Name the numbers that were chosen and those that could be found, one a seed."""
    return ", ".join(f"{one.choice.n_components} of {one.n_recoverable}" for one in answers)


def study(groups: Sequence[Group], nprocs: int) -> dict[Group, Answer]:
    """Choose the order of all groups; say how long it took on average."""
    with ProcessPoolExecutor(nprocs) as pool:
        found = dict(zip(groups, pool.map(choose, groups), strict=True))
    seconds = np.mean([one.seconds for one in found.values()])
    print(f"{len(groups)} groups, {seconds:.1f} s a choice\n", flush=True)
    return found


def planted_orders(arguments: argparse.Namespace) -> None:
    """Print what was chosen for each order, by noise and by number of participants."""
    base = Group(order=0)
    for n_participants in arguments.participants:
        groups = {
            (order, noise): [
                replace(base, order=order, noise=noise, n_participants=n_participants, seed=seed)
                for seed in range(arguments.seeds)
            ]
            for order in arguments.orders
            for noise in arguments.noise
        }
        print(f"### {n_participants} participants\n")
        found = study([group for same in groups.values() for group in same], arguments.nprocs)
        rows = [
            [
                order,
                *(told([found[one] for one in groups[order, noise]]) for noise in arguments.noise),
            ]
            for order in arguments.orders
        ]
        print(
            table(
                [
                    "true order",
                    *(f"noise {noise:g}: chosen of findable" for noise in arguments.noise),
                ],
                rows,
            ),
            "\n",
        )
        wanted = {
            "all that were planted": [one.order for one in found],
            "those that can be found": [answer.n_recoverable for answer in found.values()],
        }
        chosen = np.array([answer.choice.n_components for answer in found.values()])
        for name, numbers in wanted.items():
            near = np.abs(chosen - numbers) <= 2
            print(f"Within 2 of {name}: {near.sum()} of {near.size}.\n", flush=True)


def variants(order: int) -> dict[str, Group]:
    """Give groups that are harder, each in one way."""
    base = Group(order=order)
    return {
        "as above": base,
        "no nuisance": replace(base, nuisance=0),
        "20 blobs of nuisance in place of 8": replace(base, nuisance=20),
        "nuisance smoother than any network (24 mm)": replace(base, nuisance_mm=24.0),
        "a quarter of the sources missing in each": replace(base, missing=0.25),
        "100 volumes, noise 2": replace(base, n_volumes=100, noise=2.0),
        "400 volumes": replace(base, n_volumes=400),
        "30 rows a run": replace(base, n_rows=30),
        "80 rows a run": replace(base, n_rows=80),
        "4 participants": replace(base, n_participants=4),
        "40 participants": replace(base, n_participants=40),
    }


def hard_groups(arguments: argparse.Namespace) -> None:
    """Print what was chosen where the group differs from the one above in one way."""
    model_orders = (0, 6, 20)
    groups = {
        (name, order): [replace(group, seed=seed) for seed in range(arguments.seeds)]
        for order in model_orders
        for name, group in variants(order).items()
    }
    print(f"### Other groups ({Group(0).n_participants} participants, noise 1)\n")
    found = study([group for same in groups.values() for group in same], arguments.nprocs)
    rows = [
        [name, *(told([found[one] for one in groups[name, order]]) for order in model_orders)]
        for name in variants(0)
    ]
    print(table(["", *(f"true order {order}" for order in model_orders)], rows))


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--orders", type=int, nargs="+", default=[0, 6, 10, 14, 20, 26, 30])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5, 1.0, 1.5, 2.0])
    parser.add_argument("--participants", type=int, nargs="+", default=[8, 20])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--no-variants", action="store_true", help="leave out the other groups")
    arguments = parser.parse_args()
    planted_orders(arguments)
    if not arguments.no_variants:
        hard_groups(arguments)


if __name__ == "__main__":
    main()
