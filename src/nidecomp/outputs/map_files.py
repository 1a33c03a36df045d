"""Writing files of maps, labels and the mask: one, or one for each hemisphere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.hemispheres import of_hemisphere
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree


def write_maps(
    tree: OutputTree,
    result: GroupResult,
    path: PurePosixPath,
    maps: NDArray[np.floating],
    names: Sequence[str],
) -> None:
    """Write maps.

    Parameters
    ----------
    tree : OutputTree
    result : GroupResult
    path : PurePosixPath
        Of a pair, that of the left file.
    maps : ndarray, shape (n_maps, n_features)
    names : sequence of str
        Those of the maps.
    """
    space = result.space
    for hemi in space.hemispheres:
        content = space.encode(maps, result.n_threads, names=names, hemi=hemi)
        tree.write_bytes(of_hemisphere(path, hemi), content)


def write_sparse_maps(
    tree: OutputTree,
    result: GroupResult,
    path: PurePosixPath,
    one_map: Callable[[int], NDArray[np.float32]],
    names: Sequence[str],
) -> None:
    """Write maps that need not be in memory together; `one_map` returns that of an index."""
    space = result.space
    for hemi in space.hemispheres:
        maps = map(one_map, range(len(names)))
        parts = space.encode_each(maps, len(names), result.n_threads, names=names, hemi=hemi)
        tree.write_bytes(of_hemisphere(path, hemi), b"".join(parts))


def write_labels(
    tree: OutputTree,
    result: GroupResult,
    path: PurePosixPath,
    labels: NDArray[np.int32],
    names: Sequence[str],
) -> None:
    """Write a parcellation, (n_features,), with the names of the labels from 1."""
    for hemi in result.space.hemispheres:
        content = result.space.encode_labels(labels, names=names, hemi=hemi)
        tree.write_bytes(of_hemisphere(path, hemi), content)


def take_images(tree: OutputTree, result: GroupResult, path: PurePosixPath, source: Path) -> None:
    """Copy an image that another process made, which may be a pair."""
    for hemi in result.space.hemispheres:
        tree.take_file(of_hemisphere(path, hemi), of_hemisphere(source, hemi))
