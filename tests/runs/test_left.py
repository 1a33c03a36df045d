"""What is left of a run, in words."""

from __future__ import annotations

from nidecomp.runs.left import degrees_left, volumes_left


def test_a_single_regressor_and_degree_of_freedom_are_told_in_the_singular() -> None:
    assert volumes_left(1, 1) == "1 of its 1 volume is left"
    assert degrees_left(1, 1) == "minus 1 regressor, 1 degree of freedom remains"
    assert degrees_left(2, 23) == "minus 2 regressors, 23 degrees of freedom remain"
