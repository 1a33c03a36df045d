"""The headers of runs of any kind: volumes, grayordinates, surfaces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from nidecomp.core.records import Sampling
from nidecomp.core.surface_files import kind_of_series
from nidecomp.spaces.brain_models import Grayordinates
from nidecomp.spaces.cifti import read_cifti_header
from nidecomp.spaces.gifti import read_gifti_header
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import Header
from nidecomp.spaces.images import read_header as read_image_header


def read_header(path: Path) -> Header:
    """Return the header of a run.

    Parameters
    ----------
    path : Path
        A 4D image, a dense series of CIFTI-2, or the left file of a pair of GIFTI files.

    Returns
    -------
    Header

    Raises
    ------
    FailedRunError
        A file cannot be read or is no run, or two hemispheres do not belong together.
    """
    match kind_of_series(path):
        case "cifti":
            return read_cifti_header(path)
        case "gifti":
            return read_gifti_header(path)
        case None:
            return read_image_header(path)


def sampling_as_json(sampling: Sampling) -> dict[str, object]:
    """Return the sampling points of a run as entries of a JSON object."""
    if isinstance(sampling, Grayordinates):
        kind, digest, n_numbers = sampling.kind, sampling.digest, sampling.n_numbers
        return {"grayordinates": [kind, digest, n_numbers]}
    grid = cast(Grid, sampling)
    return {"shape": grid.shape, "affine": grid.affine}


def sampling_from_json(content: Mapping[str, Any]) -> Grid | Grayordinates:
    """Return the sampling points that `sampling_as_json` made entries of.

    Raises
    ------
    KeyError, TypeError, ValueError, IndexError
        The entries are damaged.
    """
    if "grayordinates" in content:
        kind, digest, n_numbers = content["grayordinates"]
        return Grayordinates(kind, str(digest), int(n_numbers))
    i, j, k = content["shape"]
    rows = tuple(tuple(float(value) for value in row) for row in content["affine"])
    return Grid((i, j, k), rows)
