"""Store the comparison of a component's maps in the work folder, and find it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.kept import digest
from nidecomp.core.record_files import load_record, store_record
from nidecomp.version import code_digest, numerical_versions


@dataclass(frozen=True, eq=False)
class ComponentMaps:
    """The statistics of one component, and the maxima of permutations, for each contrast.

    All maxima are of absolute values, with those of the data as they are first; n_kinds is the
    number of kinds of features (`features.FeatureKind`).

    Parameters
    ----------
    statistic, effect : ndarray of float32, shape (n_contrasts, n_compared)
        t or F, and the estimate of the contrast (0 for F).
    voxel_maxima : ndarray of float64, shape (n_contrasts, n_kinds, n_permutations)
    tfce : ndarray of float32, shape (n_contrasts, n_compared)
        No features without TFCE.
    tfce_maxima : ndarray of float64, shape (n_contrasts, n_kinds, n_tfce_permutations)
    extent : ndarray of float32, shape (n_contrasts, n_compared)
        Size of the cluster of each feature; no features where clusters are not compared.
    extent_maxima : ndarray of float64, shape (n_contrasts, n_kinds, n_tfce_permutations)
    """

    statistic: NDArray[np.float32]
    effect: NDArray[np.float32]
    voxel_maxima: NDArray[np.float64]
    tfce: NDArray[np.float32]
    tfce_maxima: NDArray[np.float64]
    extent: NDArray[np.float32]
    extent_maxima: NDArray[np.float64]


def maps_file(
    work_dir: Path, arrays: Sequence[NDArray[np.generic]], settings: Sequence[object]
) -> Path:
    """Return the path of the comparison of some maps, whose name has a hash of all inputs.

    Parameters
    ----------
    work_dir : Path
    arrays : sequence of ndarray
        The data, the design, the transformations, and which features are compared.
    settings : sequence
        What else decides the result: text, numbers and None.

    Returns
    -------
    Path
    """
    identity = {
        "code": code_digest(),
        "versions": [numerical_versions(), version("tfce"), platform.python_version()],
        "arrays": [_hash(one) for one in arrays],
        "settings": list(settings),
    }
    return work_dir / "compared" / f"{digest(identity)}.npz"


def _hash(values: NDArray[np.generic]) -> str:
    content = hashlib.sha256(repr((values.shape, values.dtype.str)).encode())
    content.update(np.ascontiguousarray(values).data)
    return content.hexdigest()


def store_maps(path: Path, maps: ComponentMaps) -> None:
    """Write the comparison of a component's maps, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store_record(path, maps)


def find_maps(path: Path) -> ComponentMaps | None:
    """Return what was stored, or None if it is missing or damaged."""
    found = load_record(path, (ComponentMaps,))
    if not isinstance(found, ComponentMaps):
        return None
    is_whole = all(isinstance(getattr(found, one.name), np.ndarray) for one in fields(found))
    return found if is_whole else None
