"""The table of participants is read as BIDS has it, and what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from option_examples import LAW, labels

from nidecomp.comparison.participants import (
    ParticipantTable,
    check_columns,
    read_participants,
    read_tables,
)
from nidecomp.core.errors import UsageError
from nidecomp.core.tsv import table_text


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "participants.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read(folder: Path, content: str | bytes) -> ParticipantTable:
    return read_participants(written(folder, content))


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        read(folder, content)
    assert str(folder / "participants.tsv") in str(caught.value)
    return str(caught.value)


def test_labels_have_their_prefix_or_not_and_missing_values_are_left_out(tmp_path: Path) -> None:
    table = read(tmp_path, "participant_id\tage\tsex\nsub-02\tn/a\tF\n01\t 30 \t\n\n")
    assert table.columns == ("age", "sex")
    assert table.rows == {"01": {"age": "30"}, "02": {"sex": "F"}}
    assert table.notes == ()


cells = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=6)


@LAW
@given(st.dictionaries(labels, st.tuples(cells, cells), min_size=1, max_size=5))
def test_what_was_written_is_read_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, people: dict[str, tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("table")
    rows = [
        {"participant_id": f"sub-{label}", "one": one, "two": two}
        for label, (one, two) in people.items()
    ]
    header = ("participant_id", "one", "two")
    forwards = read(folder, table_text(header, rows))
    backwards = read(folder, table_text(header[::-1], rows[::-1]))
    assert forwards.rows == backwards.rows
    assert list(forwards.rows) == list(backwards.rows) == sorted(people)
    for label, (one, two) in people.items():
        for name, cell in (("one", one), ("two", two)):
            assert forwards.rows[label].get(name) in (cell, None)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_marks_and_quotes_of_other_programs_do_not_matter(
    tmp_path: Path, line_end: str
) -> None:
    lines = ['"participant_id"\tgroup', 'sub-01\t"a\tb"', "sub-02\tc"]
    table = read(tmp_path, "\ufeff" + line_end.join(lines) + line_end)
    assert table.rows == {"01": {"group": "a b"}, "02": {"group": "c"}}


def test_missing_values_of_other_programs_are_taken_for_missing_and_told(tmp_path: Path) -> None:
    table = read(tmp_path, "participant_id\tage\nsub-01\tNaN\nsub-02\tNA\nsub-03\t4\nsub-NA\t5\n")
    assert table.rows == {"01": {}, "02": {}, "03": {"age": "4"}, "NA": {"age": "5"}}
    (note,) = table.notes
    assert (
        note == "participants.tsv: 'NaN' in column age was read as a missing value (n/a in BIDS)."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("participant_id\tage\n", "it has no participants"),
        ("participant_id,age\nsub-01,3\n", "separated by ',', and must be by tabs"),
        ("participant_id;age\nsub-01;3\n", "separated by ';', and must be by tabs"),
        ("subject\tage\nsub-01\t3\n", "no column participant_id (its first line has: 'subject'"),
        ('{"participant_id": 1}', "no column participant_id"),
        (
            "participant_id\tage\nsub-01\t3\nsub-02\n",
            "line 3 has 1 value, and the header 2 columns",
        ),
        ("participant_id\tage\nsub-01\t3\t4\n", "line 2 has 3 values, and the header 2 columns"),
        ("participant_id\tage\tage\nsub-01\t3\t4\n", "it has the column 'age' 2 times"),
        ("participant_id\t\nsub-01\t3\n", "a value in a column without a name"),
        ("participant_id\tage\nsub-01\t3\n01\t4\n", "it has sub-01 in more than one line (line 3)"),
        ("participant_id\tage\nn/a\t3\n", "participant_id in line 2 is 'n/a'"),
        ("participant_id\tage\nsub-0 1\t3\n", "participant_id in line 2 is 'sub-0 1'"),
        ('participant_id\tage\nsub-01\t"3\n', "unexpected end of data"),
        ("participant_id\tage\nsub-01\t3\n".encode("utf-16"), "not UTF-8 text"),
        (b"participant_id\tort\nsub-01\tZ\xfcrich\n", "not UTF-8 text"),
        (b"\x00\x01\x02", "no column participant_id"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in refusal(tmp_path, content)


def test_an_empty_column_without_a_name_is_no_column(tmp_path: Path) -> None:
    assert read(tmp_path, "participant_id\tage\t\nsub-01\t3\t\n").columns == ("age",)


def test_a_file_that_is_not_there_or_was_not_fetched_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.tsv cannot be read: No such file"):
        read_participants(tmp_path / "nowhere.tsv")
    (tmp_path / "link.tsv").symlink_to(".git/annex/objects/x")
    with pytest.raises(UsageError, match=r"was not fetched; try 'datalad get .*link\.tsv'"):
        read_participants(tmp_path / "link.tsv")
    with pytest.raises(UsageError, match="Is a directory"):
        read_participants(tmp_path)


def test_tables_of_datasets_have_their_names_before_labels(tmp_path: Path) -> None:
    for name, text in (("a", "age\nsub-01\t3\n"), ("b", "iq\nsub-01\t4\n")):
        (tmp_path / name).mkdir()
        written(tmp_path / name, f"participant_id\t{text}")
    files = [("", tmp_path / "a" / "participants.tsv"), ("B", tmp_path / "b" / "participants.tsv")]
    table = read_tables(files)
    assert table.columns == ("age", "iq")
    assert table.rows == {"01": {"age": "3"}, "B01": {"iq": "4"}}
    assert read_tables(files[::-1]).rows == table.rows


@pytest.mark.parametrize(
    ("label", "dataset", "hint"),
    [
        ("01", "", "sub-1"), ("A07", "", "sub-a07"), ("10", "", ""), ("0B1", "0B", "sub-1"),
        ("001", "", "sub-1"), ("x", "", ""),
    ],
)  # fmt: skip
def test_a_label_like_that_of_a_folder_is_hinted_at(label: str, dataset: str, hint: str) -> None:
    table = ParticipantTable(("age",), {"1": {}, "a07": {}, "100": {}})
    said = table.hint_at(label, dataset)
    assert said.startswith(f" (it has {hint}:") if hint else said == ""


def test_an_unknown_column_is_told_the_nearest() -> None:
    table = ParticipantTable(("age", "body-mass"), {"1": {}}, (Path("p.tsv"),))
    check_columns(["age", "mean_fd", "n_volumes", "dataset"], table)
    with pytest.raises(
        UsageError, match=r"p\.tsv has no column 'agee'\. Did you mean 'age'\? Known"
    ):
        check_columns(["agee"], table)
    with pytest.raises(
        UsageError, match=r"Rename its column 'body-mass': in a formula, names have"
    ):
        check_columns(["body_mass"], table)
    with pytest.raises(
        UsageError, match=r"There is no table of participants.*give one with --participants-file"
    ):
        check_columns(["age"], ParticipantTable())
