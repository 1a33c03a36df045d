"""Which files and spaces are those of surfaces and grayordinates, by their names."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal

SurfaceKind = Literal["cifti", "gifti"]
# The series of a run: grayordinates in one file, or a file of each hemisphere.
SERIES: dict[str, SurfaceKind] = {".dtseries.nii": "cifti", ".func.gii": "gifti"}
# Templates whose features are vertices of surfaces (fsLR: perhaps voxels besides).
_TEMPLATES = re.compile(r"fsLR|fsaverage[3-7]?|fsnative|onavg|civet")


def kind_of_series(path: PurePath) -> SurfaceKind | None:
    """Return of which kind a run's file is, or None for volumes."""
    return next((kind for end, kind in SERIES.items() if path.name.endswith(end)), None)


def is_surface_space(label: str) -> bool:
    """Return whether the label of a space is that of surfaces.

    Examples
    --------
    >>> is_surface_space("fsaverage5"), is_surface_space("MNI152NLin6Asym")
    (True, False)
    """
    return _TEMPLATES.fullmatch(label) is not None


def without_extension(name: str) -> str:
    """Return the name of a run's image without its extension.

    Examples
    --------
    >>> without_extension("sub-01_bold.dtseries.nii"), without_extension("sub-01_bold.nii.gz")
    ('sub-01_bold', 'sub-01_bold')
    """
    for end in SERIES:
        if name.endswith(end):
            return name.removesuffix(end)
    return name.removesuffix(".gz").removesuffix(".nii")
