"""Reading template maps (``--maps``): an atlas, or the results of another analysis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nidecomp.annotation.atlases import MAXIMUM_MAPS, label_atlas
from nidecomp.core.content import is_not_fetched, not_fetched
from nidecomp.core.errors import FailedRunError, UsageError
from nidecomp.core.hemispheres import files_of, side_in_name
from nidecomp.core.text import count, in_one_line, parse_json, read_text
from nidecomp.decomposition.components import Components
from nidecomp.spaces.contract import FeatureSpace

# The method in the file names of an atlas.
GIVEN = "given"
_OPTION = "--maps"


def read_template_maps(path: Path, space: FeatureSpace) -> tuple[Components, ...]:
    """Return template maps, resampled to the features of the runs.

    Parameters
    ----------
    path : Path
        What `label_atlas` reads, or an output folder of NiDecomp.
    space : FeatureSpace
        The features that runs are projected on. Results must be in the same space. (An image does
        not say its own.)

    Returns
    -------
    tuple of Components
        One for each decomposition, with a root mean square of 1 over the mask; signs are kept.

    Raises
    ------
    UsageError
        There is nothing to read there, or it is in another space.
    """
    if path.is_dir():
        return _results(path, space)
    if lacking := space.without_values(path):
        raise UsageError(
            f"{_OPTION} {path} is a volume and has no values on {lacking}, on which the runs are "
            f"projected, too: give {space.atlas_format}."
        )
    atlas = label_atlas(path, space, _OPTION)
    return (_components(GIVEN, atlas.maps, atlas.names),)


def _results(folder: Path, space: FeatureSpace) -> tuple[Components, ...]:
    found = sorted(folder.glob("tpl-*/**/func/*_decomposition.json"))
    if not found:
        raise UsageError(
            f"{_OPTION} {folder} has no decomposition: use an output folder of nidecomp, or "
            f"{space.atlas_format}."
        )
    decompositions = []
    for path in found:
        if not path.name.startswith(f"tpl-{space.label}_"):
            raise UsageError(
                f"{_OPTION} {folder} holds maps in the space {path.name.split('_')[0][4:]}, and "
                f"the runs are in {space.label}: choose another --space."
            )
        decompositions.append(_decomposition(path, space))
    return tuple(sorted(decompositions, key=lambda one: (one.n_components, one.method)))


def _decomposition(path: Path, space: FeatureSpace) -> Components:
    try:
        fitted = _json_object(path)
        method, n_components = str(fitted["Method"]), int(fitted["NumberOfComponents"])
        image, sidecar_path = _files_of_maps(path, space)
        sidecar = _json_object(sidecar_path)
        names = tuple(in_one_line(name) for name in sidecar["ComponentNames"])
        if not 0 < n_components <= MAXIMUM_MAPS or len(names) != n_components:
            raise ValueError(f"{count(len(names), 'name')} of {count(n_components, 'component')}")
        for file in files_of(image):
            if is_not_fetched(file):
                raise UsageError(f"{_OPTION}: {not_fetched('the file', file)}.")
        maps = space.read_maps(image, n_components)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, FailedRunError) as error:
        raise UsageError(
            f"{_OPTION}: the decomposition {path} is not complete ({in_one_line(error)}): run "
            "nidecomp on that output folder again."
        ) from None
    return _components(method, maps, names)


def _files_of_maps(path: Path, space: FeatureSpace) -> tuple[Path, Path]:
    """Return the file of maps of a decomposition, the left one of a pair, and its sidecar."""
    stem, extension = path.name.removesuffix("_decomposition.json"), space.extensions.maps
    # The sidecar of a pair stands once, and names no hemisphere.
    side = side_in_name(space.hemispheres)
    found = [
        image
        for image in path.parent.glob(f"*_components{extension}")
        if image.name.replace(side, "", 1).startswith(f"{stem}_") and "_desc-" not in image.name
    ]
    if not found:
        _check_format(path, extension)
    (image,) = found
    shared = image.name.replace(side, "", 1).removesuffix(extension)
    return image, image.with_name(f"{shared}.json")


def _check_format(path: Path, extension: str) -> None:
    """Check that no maps of the space are in files of another kind: dense files, or pairs."""
    kinds = {"".join(one.suffixes[-2:]) for one in path.parent.glob("*_components.*.*")}
    if kinds and extension not in kinds:
        raise UsageError(
            f"{_OPTION}: {path.parent} holds maps in {' and '.join(sorted(kinds))} files, and "
            f"those of the runs are {extension}: give one of these files in place of the folder."
        )


def _json_object(path: Path) -> dict[str, Any]:
    content = parse_json(read_text(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return content


def _unlike(names: Sequence[str]) -> tuple[str, ...]:
    """Return unique names, since names become the columns of tables."""
    counts, seen = Counter(names), Counter[str]()
    unlike = []
    for name in names:
        seen[name] += 1
        unlike.append(f"{name}_{seen[name]}" if counts[name] > 1 else name)
    return tuple(unlike)


def _components(method: str, maps: NDArray[np.float32], names: tuple[str, ...]) -> Components:
    power = np.sqrt(np.mean(maps.astype(np.float64) ** 2, axis=1, keepdims=True))
    scaled = np.divide(maps, power, out=np.zeros_like(maps), where=power > 0)
    return Components(
        method=method,
        maps=scaled,
        names=_unlike(names),
        explained_variance=np.full(len(maps), np.nan),
        total_explained_variance=float("nan"),
    )
