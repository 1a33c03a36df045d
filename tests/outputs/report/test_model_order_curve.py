"""The figure of the choice of the number of components says what the numbers say."""

from __future__ import annotations

import math
import re
from functools import cache
from xml.etree import ElementTree

import pytest
from matplotlib import rc_context, rcParams

from nidecomp.decomposition.model_order_choice import ModelOrderChoice, ModelOrderEvidence
from nidecomp.outputs.report.model_order_curve import model_order_curve


def evidence(k: int, **more: object) -> ModelOrderEvidence:
    content = {
        "canonical_r": 1 / k,
        "null_quantile": 0.3,
        "other_half_r": 0.8 / k,
        "other_half_sd": 0.05,
        "overlap": 0.5,
        **more,
    }
    return ModelOrderEvidence(n_components=k, **content)  # type: ignore[arg-type]


def choice(
    *known: ModelOrderEvidence, n_dimensions: int, n_components: int = 0
) -> ModelOrderChoice:
    return ModelOrderChoice(
        n_components=n_components,
        reason="because",
        n_dimensions=n_dimensions,
        evidence=known,
        n_participants=8,
        n_splits=5,
        n_voxels=1000,
        effective_voxels=300.0,
        least_other_half_r=0.25,
    )


FOUND = choice(
    evidence(1),
    evidence(2),
    evidence(3, map_rs=(0.9, 0.6, 0.1), n_reproducible=2, least_map_r=0.3),
    evidence(4, other_half_r=math.nan, overlap=math.nan),
    n_dimensions=3,
    n_components=2,
)
NOTHING = choice(evidence(1), evidence(2), n_dimensions=0)
BROKEN = choice(evidence(1), evidence(2), n_dimensions=2)


@cache
def figure_of(what: ModelOrderChoice) -> bytes:
    """Draw a figure that several tests look at."""
    return model_order_curve(what)


def drawn(image: bytes) -> str:
    """Give the image's comments, in which matplotlib keeps what is drawn as outlines."""
    return " ".join(re.findall(r"<!-- (.*?) -->", image.decode()))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (FOUND, ["2 components", "3 supported", "of 3 fitted", "asked for"]),
        (NOTHING, ["no components", "no dimension is supported"]),
        (BROKEN, ["no components", "2 supported", "the ICA broke down"]),
    ],
)
def test_the_figure_says_what_was_found(what: ModelOrderChoice, words: list[str]) -> None:
    image = figure_of(what)
    assert ElementTree.fromstring(image).tag.endswith("svg")  # noqa: S314  our own bytes
    for word in words:
        assert word in drawn(image)


def test_only_maps_that_are_found_again_are_coloured() -> None:
    def n_bars(image: bytes) -> int:
        return image.decode().count("fill: #0072b2")

    none_again = choice(
        *FOUND.evidence[:2],
        evidence(3, map_rs=(0.2, 0.2, 0.1), n_reproducible=0, least_map_r=0.3),
        n_dimensions=3,
    )
    assert n_bars(figure_of(FOUND)) - n_bars(model_order_curve(none_again)) == 2


def test_what_a_session_has_set_does_not_show_and_stays_set() -> None:
    plain = figure_of(FOUND)
    with rc_context({"figure.facecolor": "red", "font.size": 30}):
        assert model_order_curve(FOUND) == plain
        assert rcParams["font.size"] == 30


def test_the_same_choice_gives_the_same_bytes() -> None:
    assert model_order_curve(FOUND) == figure_of(FOUND)
    assert b"<dc:date>" not in figure_of(FOUND)
