"""Kernels of smoothing in the work folder: made once, and mapped by all processes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from nidecomp.core.atomic import writing
from nidecomp.version import numerical_versions

_LOG = logging.getLogger(__name__)
_FOLDER = "kernels"
# Part of each name: increase it whenever weights change.
_FORMAT = 1


def kept_kernel(
    work_dir: Path | None, name: str, n_features: int, make: Callable[[], csr_array]
) -> csr_array:
    """Return a kernel from the work folder, or make it and put it there.

    Parameters
    ----------
    work_dir : Path or None
        None keeps it nowhere.
    name : str
        Tells kernels apart.
    n_features : int
    make : callable
        Returns the kernel.

    Returns
    -------
    csr_array of float32, shape (n_features, n_features)
    """
    if work_dir is None:
        return make()
    paths = [
        work_dir / _FOLDER / f"{_versioned(name)}_{part}.npy"
        for part in ("weights", "indices", "pointers")
    ]
    found = _read(paths, n_features)
    if found is not None:
        return found
    _LOG.info("Computing which grayordinates are smoothed together")
    made = make()
    # Another job may have made it at the same time.
    found = _read(paths, n_features)
    if found is not None:
        return found
    # The last one is there only where the others are.
    for path, array in zip(paths, (made.data, made.indices, made.indptr), strict=True):
        with writing(path) as file:
            np.save(file, array)
    kept = _read(paths, n_features)
    return made if kept is None else kept


def _versioned(name: str) -> str:
    """Return a name that changes with how kernels are computed."""
    versions = json.dumps([_FORMAT, numerical_versions()], sort_keys=True)
    return f"{name}_{hashlib.sha256(versions.encode()).hexdigest()[:8]}"


def _read(paths: Sequence[Path], n: int) -> csr_array | None:
    try:
        weights, indices, pointers = (np.load(path, mmap_mode="r") for path in paths)
    except (OSError, ValueError):
        return None
    if len(pointers) == n + 1 and pointers[-1] == len(indices) == len(weights):
        return csr_array((weights, indices, pointers), shape=(n, n))
    return None
