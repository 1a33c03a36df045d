"""A decomposition of blocks of voxels with its evidence, for tests of what is said about it."""

from __future__ import annotations

import numpy as np

from nidecomp.decomposition.components import (
    Components,
    Evidence,
    ParticipantEvidence,
    Split,
    SplitHalfEvidence,
)
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.voxels import VoxelSpace

SHAPE = (12, 10, 8)
AFFINE = ((8.0, 0, 0, -44), (0, 8.0, 0, -36), (0, 0, 8.0, -28), (0, 0, 0, 1.0))
SPACE = VoxelSpace(Grid(SHAPE, AFFINE), np.ones(SHAPE, dtype=bool), "MNI152NLin2009cAsym")
N_VOXELS = SPACE.n_features


def blobs(n: int, seed: int = 0, noise: float = 0.3) -> np.ndarray:
    """Maps of blocks of voxels that do not overlap, in noise, root mean square 1."""
    rng = np.random.default_rng(seed)
    maps = noise * rng.standard_normal((n, N_VOXELS))
    for index in range(n):
        maps[index, index * 60 : index * 60 + 60] += 5
    return (maps / np.sqrt(np.mean(maps**2, axis=1, keepdims=True))).astype(np.float32)


def fitted(n: int = 4, method: str = "canica", **more: object) -> Components:
    content: dict[str, object] = {
        "method": method,
        "maps": blobs(n),
        "names": tuple(f"{method}{index + 1:02d}" for index in range(n)),
        "explained_variance": np.linspace(0.4, 0.1, n),
        "total_explained_variance": 0.7,
        "restart_index": np.linspace(1.0, 0.5, n),
        **more,
    }
    if "evidence" in content:
        content.setdefault("participants", participants(n))
    return Components(**content)  # type: ignore[arg-type]


def evidence(n: int = 4, n_splits: int = 3) -> Evidence:
    halves = SplitHalfEvidence(
        reproducibility=np.tile(np.linspace(0.9, 0.3, n), (n_splits, 1))
        + 0.01 * np.arange(n_splits)[:, None],
        bootstrap=np.zeros((0, n)),
        other_half_variance=np.full((2 * n_splits, n), 0.05),
        total_variances=np.tile([[0.6, 0.5]], (2 * n_splits, 1)),
        trace=np.linspace(0.5, 0.7, n_splits),
        overlap=np.full(n_splits, 0.4),
        n_voxels=N_VOXELS,
        splits=tuple(
            Split(number, ("01", "02"), ("03", "04", "05")) for number in range(1, n_splits + 1)
        ),
        chance=0.1,
    )
    return Evidence(halves)


def participants(n: int = 4) -> ParticipantEvidence:
    return ParticipantEvidence(
        labels=("01", "02", "03", "04", "05"),
        explained_variance=np.vstack([np.full(n, 0.1)] * 4 + [np.linspace(0.1, 0.9, n)]),
        high_frequency=np.linspace(0.1, 0.7, n),
        motion_r=np.full(n, 0.1),
    )
