"""Which components images are written without (``--regress-out``)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import get_args

from nidecomp.annotation.describe import References, label_columns, noise_numbers, read_references
from nidecomp.annotation.noise_flags import Flag, flags
from nidecomp.config.request import Request
from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError
from nidecomp.decomposition.components import Components
from nidecomp.spaces.contract import FeatureSpace

_LOG = logging.getLogger(__name__)
# Words whose meaning rests, in whole or in part, on a fit to the runs.
_NOT_OF_MAPS_ALONE = frozenset({"flagged", "high-frequency", "motion", "single-participant"})


def check_words(space: FeatureSpace, settings: Settings) -> None:
    """Find out before hours of work that no component can be meant by a word.

    Parameters
    ----------
    space : FeatureSpace
        The features of the runs.
    settings : Settings

    Raises
    ------
    UsageError
    """
    projection = settings.science.projection
    if not projection.regress_out:
        return
    if settings.extent.level != "full" and projection.maps is None:
        raise UsageError("--regress-out needs --level full: nothing is projected without it.")
    references = read_references(space, settings.science.evidence)
    unknown = unknown_words(projection.regress_out, references)
    if unknown:
        raise UsageError(
            f"--regress-out {unknown[0]}: no component can be meant by it. There are flagged, the "
            f"flags ({', '.join(get_args(Flag))}), component names (canica03), the labels of the "
            "networks that NiDecomp brings and those of --label-atlas."
        )


def components_to_regress_out(
    components: Sequence[Components], space: FeatureSpace, request: Request
) -> tuple[Mapping[int, str], ...]:
    """Find the components that are meant.

    Parameters
    ----------
    components : sequence of Components
    space : FeatureSpace
        The features of the runs.
    request : Request

    Returns
    -------
    tuple of mapping
        For each decomposition, index of the component to why it is meant; empty where nothing was
        asked for.
    """
    words = request.science.projection.regress_out
    if not words:
        return ()
    if request.science.projection.maps is not None and set(words) & _NOT_OF_MAPS_ALONE:
        _LOG.warning(
            "--regress-out: of maps that were given only the flags that follow from where a map "
            "lies are known, not those of time courses and participants; name the components to be "
            "sure"
        )
    references = read_references(space, request.science.evidence)
    found = tuple(selected(one, references, words) for one in components)
    for one, mine in zip(components, found, strict=True):
        names = ", ".join(one.names[index] for index in mine) or "none"
        _LOG.info(
            "To be regressed out, of %d components of %s: %s", one.n_components, one.method, names
        )
    return found


_COMPONENT_NAME = re.compile(r"[a-z]+[0-9]+")


def selected(
    components: Components, references: References, words: Sequence[str]
) -> dict[int, str]:
    """Find the components that are meant by some words.

    Parameters
    ----------
    components : Components
        With their evidence, or without: then fewer flags can be raised.
    references : Compared
    words : sequence of str
        ``flagged``, a flag, a label of a network or of the atlas, or a component's name; in any
        case.

    Returns
    -------
    dict
        Index of the component to why it is meant.
    """
    wanted = {word.casefold() for word in words}
    evidence = components.evidence
    n_participants = len(evidence.participants.labels) if evidence else 0
    raised = [flags(one, n_participants) for one in noise_numbers(components, references)]
    labels = label_columns(components.maps, references)
    found = {}
    for index, name in enumerate(components.names):
        terms: dict[str, str] = {name.casefold(): "named"}
        for column in ("label", "atlas_label"):
            if label := labels[column][index]:
                terms[str(label).casefold()] = f"label {label}"
        for flag in raised[index]:
            terms |= {flag: f"flag {flag}", "flagged": f"flags {', '.join(raised[index])}"}
        why = [reason for term, reason in terms.items() if term in wanted]
        if why:
            found[index] = "; ".join(why)
    return found


def unknown_words(words: Sequence[str], references: References) -> list[str]:
    """Give the words that no component can be meant by, whatever is found."""
    known = {"flagged", *get_args(Flag)}
    for reference in (references.networks, references.atlas):
        known |= {name.casefold() for name in reference.names} if reference else set()
    return [
        word
        for word in words
        if word.casefold() not in known and not _COMPONENT_NAME.fullmatch(word.casefold())
    ]
