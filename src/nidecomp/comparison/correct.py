"""Correct the p values of the maps of a decomposition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.comparison.family import Corrected, Family, larger
from nidecomp.comparison.records import Design, MapsOfContrast
from nidecomp.comparison.stored import ComponentMaps, find_maps
from nidecomp.core.errors import NidecompError

# What p values are for: the name of the maps, and of their maxima, in `ComponentMaps`.
_MEASURES = {
    "voxel": ("statistic", "voxel_maxima"),
    "tfce": ("tfce", "tfce_maxima"),
    "cluster": ("extent", "extent_maxima"),
}


@dataclass(frozen=True, eq=False)
class _Families:
    """The families of one measure: of each map by itself, (component, contrast), and of all."""

    alone: dict[tuple[int, int], Family]
    all_maps: Family
    n_contrasts: int
    n_kinds: int

    def of_map(self, component: int, contrast: int, kind: int) -> int:
        """Return the number of a map in the family of all."""
        return (component * self.n_contrasts + contrast) * self.n_kinds + kind


def corrected_maps(
    stored: Sequence[Path],
    design: Design,
    kinds: Sequence[NDArray[np.intp]],
    used: NDArray[np.bool_],
    *,
    is_exhaustive: bool,
) -> tuple[MapsOfContrast, ...]:
    """Return the maps of all components, with corrected p values.

    Parameters
    ----------
    stored : sequence of Path
        Where the result of each component is.
    design : Design
    kinds : sequence of ndarray of int
        The features of each kind (`features.features_of_kinds`).
    used : ndarray of bool, shape (n_features,)
        Which features are compared.
    is_exhaustive : bool
        Whether TFCE and clusters have all possible permutations: then small p values are counted.

    Returns
    -------
    tuple of MapsOfContrast
        One for each contrast.
    """
    families = _families(stored, has_tail=not is_exhaustive)
    n_contrasts, shape = len(design.contrasts), (len(stored), len(used))
    dof = len(design.matrix) - design.matrix.shape[1]
    found = [
        MapsOfContrast(
            statistic=np.zeros(shape, np.float32),
            effect=np.zeros(shape, np.float32) if one.statistic == "t" else None,
            tfce=np.zeros(shape, np.float32) if "tfce" in families else None,
            p={name: np.ones(shape, np.float32) for name in _names(families)},
            counted_p={
                name: np.ones(shape, np.float32)
                for name in _names(families)
                if not is_exhaustive and not name.startswith("voxel")
            },
            dof=dof,
        )
        for one in design.contrasts
    ]
    for component, maps in enumerate(_each(stored)):
        for contrast in range(n_contrasts):
            _fill(found[contrast], maps, families, (component, contrast), kinds, used)
    return tuple(found)


def _each(stored: Sequence[Path]) -> Iterator[ComponentMaps]:
    """Yield the results of components, one at a time in memory."""
    for path in stored:
        found = find_maps(path)
        if found is None:
            raise NidecompError(
                f"{path} cannot be read, though it was written a moment ago. Check the disk, and "
                "run the same command again."
            )
        yield found


def _families(stored: Sequence[Path], *, has_tail: bool) -> dict[str, _Families]:
    """Return the families of each measure that was computed."""
    maxima: dict[str, list[NDArray[np.float64]]] = {name: [] for name in _MEASURES}
    for one in _each(stored):
        for name, (_, attribute) in _MEASURES.items():
            maxima[name].append(getattr(one, attribute))
    families = {}
    for name, of_components in maxima.items():
        n_contrasts, n_kinds, n = of_components[0].shape
        if n:
            fits = has_tail and name != "voxel"
            families[name] = _Families(
                alone={
                    (component, contrast): Family(of_component[contrast], fits)
                    for component, of_component in enumerate(of_components)
                    for contrast in range(n_contrasts)
                },
                all_maps=Family(
                    np.concatenate([one.reshape(-1, n) for one in of_components]), fits
                ),
                n_contrasts=n_contrasts,
                n_kinds=n_kinds,
            )
    return families


def _names(families: dict[str, _Families]) -> Iterator[str]:
    for name in families:
        yield from (name, f"{name}all")


def _fill(
    found: MapsOfContrast,
    maps: ComponentMaps,
    families: dict[str, _Families],
    of: tuple[int, int],
    kinds: Sequence[NDArray[np.intp]],
    used: NDArray[np.bool_],
) -> None:
    """Write the maps and p values of a component, `of` = (component, contrast)."""
    component, contrast = of
    found.statistic[component, used] = maps.statistic[contrast]
    if found.effect is not None:
        found.effect[component, used] = maps.effect[contrast]
    if found.tfce is not None:
        found.tfce[component, used] = maps.tfce[contrast]
    compared = np.flatnonzero(used)
    for name, family in families.items():
        observed = getattr(maps, _MEASURES[name][0])[contrast]
        for kind, features in enumerate(kinds):
            values, where = observed[features], compared[features]
            alone = family.alone[of].corrected(values, kind)
            overall = family.all_maps.corrected(values, family.of_map(component, contrast, kind))
            _write(found, name, component, where, alone)
            _write(found, f"{name}all", component, where, larger(overall, alone))


def _write(
    found: MapsOfContrast, name: str, component: int, where: NDArray[np.intp], p: Corrected
) -> None:
    found.p[name][component, where] = p.p
    if name in found.counted_p:
        found.counted_p[name][component, where] = p.counted
