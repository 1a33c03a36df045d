"""Words that select components to regress out."""

from __future__ import annotations

from dataclasses import replace

from component_examples import blobs, evidence, fitted

from nidecomp.annotation.atlases import Reference
from nidecomp.annotation.describe import ReferenceMaps
from nidecomp.annotation.select import selected

NETWORKS = ReferenceMaps(networks=Reference(("First", "Second"), blobs(4, seed=1)[:2]))


def test_a_label_selects_the_components_that_have_it() -> None:
    components = fitted(evidence=evidence())
    assert selected(components, NETWORKS, ("first", "SECOND")) == {
        0: "label First",
        1: "label Second",
    }


def test_a_map_at_chance_has_no_label_to_be_selected_by() -> None:
    known = evidence()
    noise = replace(known, halves=replace(known.halves, chance=0.8))
    components = fitted(evidence=noise)
    assert selected(components, NETWORKS, ("first", "second")) == {0: "label First"}
    assert selected(components, NETWORKS, ("canica02",)) == {1: "named"}
