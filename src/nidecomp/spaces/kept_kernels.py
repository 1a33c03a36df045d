"""Kernels of smoothing in the work folder: made once, and mapped by all processes."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from nidecomp.core.atomic import writing
from nidecomp.version import numerical_versions

_LOG = logging.getLogger(__name__)
_FOLDER = "kernels"
# Part of each name: increase it whenever weights change.
_FORMAT = 1
_PARTS = ("weights", "indices", "pointers")
# The name of a part of a kernel, with the hash of how kernels were computed.
_NAME = re.compile(rf"(.+_[0-9a-f]{{8}})_(?:{'|'.join(_PARTS)})\.npy")


def kept_kernel(
    work_dir: Path | None,
    space_digest: str,
    fwhm: float,
    n_features: int,
    make: Callable[[], csr_array],
) -> csr_array:
    """Return a kernel from the work folder, or make it and put it there.

    Parameters
    ----------
    work_dir : Path or None
        None keeps it nowhere.
    space_digest : str
        That of the features.
    fwhm : float
        Full width at half maximum of the Gaussian in mm.
    n_features : int
    make : callable
        Returns the kernel.

    Returns
    -------
    csr_array of float32, shape (n_features, n_features)
    """
    if work_dir is None:
        return make()
    name = _name(space_digest, fwhm)
    paths = [work_dir / _FOLDER / f"{name}_{part}.npy" for part in _PARTS]
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


def remove_other_kernels(
    work_dir: Path, space_digest: str, smoothings_fwhm: Iterable[float]
) -> int:
    """Remove kernels of other features, other smoothing, or earlier versions.

    Parameters
    ----------
    work_dir : Path
        A work folder that nobody else uses.
    space_digest : str
        That of the present features.
    smoothings_fwhm : iterable of float
        The present smoothing.

    Returns
    -------
    int
        The number of files that were removed.
    """
    present = {_name(space_digest, fwhm) for fwhm in smoothings_fwhm}
    n_removed = 0
    for path in (work_dir / _FOLDER).glob("*.npy"):
        name = _NAME.fullmatch(path.name)
        # Temporary files of other processes and whatever we do not know have other names.
        if name and name[1] not in present and not path.name.startswith("."):
            path.unlink(missing_ok=True)
            n_removed += 1
    return n_removed


def _name(space_digest: str, fwhm: float) -> str:
    """Return the name of a kernel, which changes with how kernels are computed."""
    versions = json.dumps([_FORMAT, numerical_versions()], sort_keys=True)
    digest = hashlib.sha256(versions.encode()).hexdigest()[:8]
    return f"{space_digest[:20]}_fwhm-{fwhm:g}_{digest}"


def _read(paths: Sequence[Path], n: int) -> csr_array | None:
    try:
        weights, indices, pointers = (np.load(path, mmap_mode="r") for path in paths)
    except (OSError, ValueError):
        return None
    if len(pointers) == n + 1 and pointers[-1] == len(indices) == len(weights):
        return csr_array((weights, indices, pointers), shape=(n, n))
    return None
