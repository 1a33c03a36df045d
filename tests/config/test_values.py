"""The values that --threshold accepts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nidecomp.annotation.thresholds import parse_rule
from nidecomp.config.values import THRESHOLD_LEVELS, threshold


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("p", "p:0.001"),
        ("background", "background:0.05"),
        ("isotropy", "isotropy:0.001"),
        ("ratio", "ratio:1"),
        ("ratio:2.50", "ratio:2.5"),
        ("p:1e-5", "p:1e-05"),
        ("background:.1", "background:0.1"),
    ],
)
def test_a_threshold_has_one_spelling(value: str, text: str) -> None:
    assert threshold(value) == text
    assert threshold(text) == text
    assert parse_rule(text) == parse_rule(value)


@given(kind=st.sampled_from(sorted(THRESHOLD_LEVELS)), level=st.floats(1e-300, 0.999))
def test_no_digit_of_a_level_is_lost(kind: str, level: float) -> None:
    rule = parse_rule(threshold(f"{kind}:{level!r}"))
    assert (rule.kind, rule.level) == (kind, level)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 1, "", "z", "P", ":", b"p", ["p"]),
        *("p:", "p:0", "p:1", "p:nan", "background:5", "ratio:0", "ratio:inf"),
    ],
)
def test_what_is_no_threshold_is_refused_in_words(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        threshold(value)
