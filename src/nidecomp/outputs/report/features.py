"""What the values of maps lie at, in words: voxels, vertices, or grayordinates, which are both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nidecomp.outputs.report.results import WrittenDecomposition


@dataclass(frozen=True)
class Features:
    """What features are called, and what is true of them.

    Parameters
    ----------
    one, many : str
        Singular and plural.
    has_vertices, has_voxels : bool
    """

    one: str
    many: str
    has_vertices: bool
    has_voxels: bool

    def count(self, number: int) -> str:
        """Return a number of them: ``5,337 voxels``."""
        return f"{number:,} {self.one if number == 1 else self.many}"


VOXELS = Features("voxel", "voxels", has_vertices=False, has_voxels=True)
VERTICES = Features("vertex", "vertices", has_vertices=True, has_voxels=False)
GRAYORDINATES = Features("grayordinate", "grayordinates", has_vertices=True, has_voxels=True)
# The end of a file of maps, where no fit is described.
_OF_MAPS = {".func.gii": VERTICES, ".dscalar.nii": GRAYORDINATES}


def features_of(decompositions: Sequence[WrittenDecomposition]) -> Features:
    """Return what the values of maps lie at.

    Parameters
    ----------
    decompositions : sequence of WrittenDecomposition
        Of one output folder.

    Returns
    -------
    Features
        As ``NumberOfVoxels`` and the like in the description of a fit say; template maps have
        none, and the ends of their files say it.
    """
    for one in decompositions:
        for features in (VERTICES, GRAYORDINATES, VOXELS):
            if f"NumberOf{features.many.capitalize()}" in one.described:
                return features
    names = [one.maps.name for one in decompositions if one.maps is not None]
    found = (features for end, features in _OF_MAPS.items() for name in names if name.endswith(end))
    return next(found, VOXELS)
