"""Which components participants are compared in: those that are probably no noise."""

from __future__ import annotations

from nidecomp.annotation.describe import ReferenceMaps, raised_flags
from nidecomp.decomposition.components import Components


def components_to_compare(components: Components, references: ReferenceMaps) -> tuple[int, ...]:
    """Return the family of components that p values are corrected over.

    It is fixed before anything is compared: those without a noise flag whose map is not empty.

    Parameters
    ----------
    components : Components
        Template maps get only the flags that depend on their place.
    references : ReferenceMaps

    Returns
    -------
    tuple of int
        Their indices, ascending.
    """
    return tuple(
        index
        for index, raised in enumerate(raised_flags(components, references))
        if not raised and components.maps[index].any()
    )
