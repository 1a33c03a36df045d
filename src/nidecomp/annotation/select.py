"""Select the components that are regressed out of the runs' images (``--regress-out``)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import get_args

from nidecomp.annotation.describe import (
    ReferenceMaps,
    label_columns,
    raised_flags,
    read_references,
)
from nidecomp.annotation.noise_flags import Flag
from nidecomp.config.request import Request
from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError
from nidecomp.core.text import count
from nidecomp.decomposition.components import Components
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)
# Words whose flags, or some of them, need time courses or participants of a fit.
_NEED_A_FIT = frozenset({"flagged", "high-frequency", "motion", "single-participant"})


def check_words(space: FeatureSpace, settings: Settings) -> None:
    """Check that every word of ``--regress-out`` can stand for components.

    Parameters
    ----------
    space : FeatureSpace
        The features of the runs.
    settings : Settings

    Raises
    ------
    UsageError
        A word is not a flag, a label or a component's name, or ``--level`` is not ``full``.
    """
    projection = settings.science.projection
    if not projection.regress_out:
        return
    if settings.extent.level != "full" and projection.maps is None:
        raise UsageError(
            "--regress-out needs --level full: lower levels do not project components to the runs."
        )
    references = read_references(space, settings.science.evidence)
    unknown = unknown_words(projection.regress_out, references)
    if unknown:
        raise UsageError(
            f"--regress-out {unknown[0]}: this is not a flag, a label or a component's name. Use "
            f"'flagged', a flag ({', '.join(get_args(Flag))}), a component's name (such as "
            "canica03), or a label of NiDecomp's networks or of --label-atlas."
        )


def components_to_regress_out(
    components: Sequence[Components], space: FeatureSpace, request: Request
) -> tuple[Mapping[int, str], ...]:
    """Return the components that ``--regress-out`` selects, and log their names.

    Parameters
    ----------
    components : sequence of Components
    space : FeatureSpace
        The features of the runs.
    request : Request

    Returns
    -------
    tuple of mapping
        For each decomposition, the index of each selected component to the reason. Empty without
        ``--regress-out``.
    """
    words = request.science.projection.regress_out
    if not words:
        return ()
    if request.science.projection.maps is not None and set(words) & _NEED_A_FIT:
        _LOG.warning(
            "--regress-out: template maps (--maps) get only the flags that depend on the place of "
            "a map (csf, edge, outside), not those that depend on time courses and participants. "
            "Name the components to be sure which are regressed out"
        )
    references = read_references(space, request.science.evidence)
    selections = tuple(selected(decomposition, references, words) for decomposition in components)
    for word in words:
        is_flag = word.casefold() in {"flagged", *get_args(Flag)}
        if not is_flag and not any(selected(one, references, (word,)) for one in components):
            _LOG.warning("--regress-out %s: no component has this name or label", word)
    for decomposition, selection in zip(components, selections, strict=True):
        _LOG.info(
            "Regressing out %d of %s: %s",
            len(selection),
            count(decomposition.n_components, f"{decomposition.method} component"),
            ", ".join(decomposition.names[index] for index in selection) or "none",
        )
    return selections


_COMPONENT_NAME = re.compile(r"[a-z]+[0-9]+")


def selected(
    components: Components, references: ReferenceMaps, words: Sequence[str]
) -> dict[int, str]:
    """Return the components of one decomposition that words select.

    Parameters
    ----------
    components : Components
        Without evidence, fewer flags can be raised.
    references : ReferenceMaps
    words : sequence of str
        ``flagged``, a flag, a label of a network or of the atlas, or a component's name, in lower
        or upper case.

    Returns
    -------
    dict
        The index of each selected component to the reason.
    """
    wanted = {word.casefold() for word in words}
    raised = raised_flags(components, references)
    labels = label_columns(components, references)
    selection = {}
    for index, name in enumerate(components.names):
        terms: dict[str, str] = {name.casefold(): "named"}
        for column in ("label", "atlas_label"):
            if label := labels[column][index]:
                terms[str(label).casefold()] = f"label {label}"
        for flag in raised[index]:
            terms |= {flag: f"flag {flag}", "flagged": f"flags {', '.join(raised[index])}"}
        reasons = [reason for term, reason in terms.items() if term in wanted]
        if reasons:
            selection[index] = "; ".join(reasons)
    return selection


def unknown_words(words: Sequence[str], references: ReferenceMaps) -> list[str]:
    """Return the words that are not a flag, a label or a possible component name."""
    known = {"flagged", *get_args(Flag)}
    for reference in (references.networks, references.atlas):
        known |= {name.casefold() for name in reference.names} if reference else set()
    return [
        word
        for word in words
        if word.casefold() not in known and not _COMPONENT_NAME.fullmatch(word.casefold())
    ]
