"""Small files are read, too large or malformed ones raise ValueError, text is put on one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.core.text import (
    MOST_BYTES,
    count,
    in_one_line,
    parse_json,
    quoted,
    read_text,
    verb,
)

some = settings(max_examples=100, deadline=None, derandomize=True, database=None)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**250), 10**250) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@some
@given(VALUES)
def test_json_is_what_the_library_makes_of_it(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("9" * 400, "a number of 400 digits"),
        ('{"a": ' + "9" * 10_000 + "}", "a number of 10000 digits"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_json_that_is_absurd_is_a_value_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(text)


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a" * MOST_BYTES)
    assert read_text(path) == "a" * MOST_BYTES
    path.write_bytes(b"a" * (MOST_BYTES + 1))
    with pytest.raises(ValueError, match="larger than 17 MB"):
        read_text(path)


@some
@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_makes_one_printable_line(text: str) -> None:
    line = in_one_line(text)
    assert line.isprintable()
    assert len(in_one_line(text * 500)) < 10 * 500


def test_what_is_printable_and_short_stays_as_it_is() -> None:
    assert in_one_line("n'est pas là: 3 × 4") == "n'est pas là: 3 × 4"
    assert in_one_line("a\n  b\x1b[2J\udcff") == "a b\\x1b[2J\\udcff"


@some
@given(VALUES)
def test_what_a_user_gave_is_quoted_in_a_few_words(value: object) -> None:
    assert quoted(value).isprintable()
    assert quoted("a" * 10_000) == "'" + "a" * 49 + " … " + "a" * 49 + "'"
    assert quoted("fdr") == "'fdr'"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 runs are"), (1, "1 run is"), (2, "2 runs are")]
)
def test_numbers_agree_with_their_nouns_and_verbs(number: int, text: str) -> None:
    assert f"{count(number, 'run')} {verb(number, 'is', 'are')}" == text
