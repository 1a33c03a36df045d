"""What figures about several components or participants show."""

from __future__ import annotations

import numpy as np

from nidecomp.outputs.report.figures import draw_strips


def test_the_name_of_who_stands_at_the_edge_does_not_reach_the_title() -> None:
    """The title ends 16 pixels left of the box, which begins at 190."""
    values = [("", np.array([0.0, 0.5, 1.0]))]
    names = ["sub-aVeryLongLabel", "", "sub-anotherLongLabel"]
    picture = draw_strips(values, np.array([True, False, True]), names)
    ink = np.flatnonzero((np.asarray(picture) < 100).all(axis=2).any(axis=0))
    assert ink.size
    assert ink.min() >= 188
    assert ink.max() <= 882
