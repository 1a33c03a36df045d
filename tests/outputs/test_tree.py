"""The output folder: whole files, the same bytes, a manifest, and nothing of the user's touched."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import nibabel as nib
import numpy as np
import pytest

from nidecomp.outputs.tree import MANIFEST, OutputTree
from nidecomp.spaces.nifti import compressed

A, B, C = (PurePosixPath(name) for name in ("a.txt", "sub-01/func/b.tsv", "deep/er/c.json"))


@pytest.fixture
def image() -> nib.Nifti1Image:
    values = np.random.default_rng(0).normal(size=(4, 5, 6, 2)).astype(np.float32)
    return nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0]))


def write(root: Path, *paths: PurePosixPath, text: str = "text") -> None:
    """Write a whole tree of text files and finish it."""
    tree = OutputTree(root)
    for path in paths:
        tree.write_text(path, text)
    tree.finish()


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def manifest_of(*rows: tuple[str, Path]) -> str:
    """Give the text of a manifest that claims these names with the hashes of these files."""
    lines = ["path\tsize\tsha256"]
    for name, path in rows:
        content = path.read_bytes()
        lines.append(f"{name}\t{len(content)}\t{hashlib.sha256(content).hexdigest()}")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- the same bytes
def test_the_same_content_gives_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: nib.Nifti1Image
) -> None:
    clock = itertools.count(1_000_000_000, 1_000_000)
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    for name in ("first", "second"):
        tree = OutputTree(tmp_path / name)
        tree.write_text(A, "ünï")
        tree.write_tsv(B, ("x", "y"), [{"x": 1.5, "y": None}])
        tree.write_json(C, {"b": 1, "a": [2]})
        tree.write_bytes(PurePosixPath("image.nii.gz"), compressed(image))
        tree.finish()
    assert files(tmp_path / "first") == files(tmp_path / "second")
    assert len(files(tmp_path / "first")) == 5


def test_the_order_of_writing_does_not_show(tmp_path: Path) -> None:
    write(tmp_path / "one", A, B, C)
    write(tmp_path / "other", C, B, A)
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_json_keeps_its_keys_in_order_and_ends_in_a_line_break(tmp_path: Path) -> None:
    content = {"Name": "ünï × –", "B": [1, {"z": None, "a": True}], "A": 0.1}
    OutputTree(tmp_path).write_json(C, content)
    text = (tmp_path / C).read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["Name", "B", "A"]
    assert json.loads(text) == content
    assert text.endswith("}\n")
    assert "ünï × –" in text


# ---------------------------------------------------------------- tables
@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, "n/a"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (123456789, "123456789"),
        (0.5, "0.5"),
        (2.0, "2"),
        (1 / 3, "0.333333"),
        (np.float64(0.25), "0.25"),
        ("plain", "plain"),
        ("tab\there", "tab here"),
        ("line\nbreak\r\nand\rmore", "line break and more"),
        ("odd\x0b\x0c\x1c\x85\u2028breaks", "odd breaks"),
        (" \n around \t", "around"),
        ('"quoted"', '"quoted"'),
        ("naïve ×", "naïve ×"),
    ],
)
def test_a_cell_is_one_cell_of_one_line(tmp_path: Path, value: object, cell: str) -> None:
    path = PurePosixPath("t.tsv")
    OutputTree(tmp_path).write_tsv(path, ("left", "right"), [{"left": value, "right": value}] * 2)
    assert table(tmp_path / path) == [["left", "right"], [cell, cell], [cell, cell]]
    assert len((tmp_path / path).read_bytes().split(b"\n")) == 4


def test_columns_stand_in_the_order_asked_for_and_others_are_left_out(tmp_path: Path) -> None:
    rows = [{"c": 3, "a": 1, "b": 2}]
    OutputTree(tmp_path).write_tsv(B, ("b", "a"), rows)
    assert table(tmp_path / B) == [["b", "a"], ["2", "1"]]


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    OutputTree(tmp_path).write_tsv(B, ("b", "a"), [])
    assert table(tmp_path / B) == [["b", "a"]]


# ---------------------------------------------------------------- the manifest
def test_the_manifest_lists_size_and_hash_of_every_file(
    tmp_path: Path, image: nib.Nifti1Image
) -> None:
    tree = OutputTree(tmp_path)
    tree.write_text(A, "ünï")
    tree.write_tsv(B, ("x",), [{"x": 1}])
    tree.write_json(C, {})
    tree.write_bytes(PurePosixPath("empty"), b"")
    tree.write_bytes(PurePosixPath("i.nii.gz"), compressed(image))
    tree.finish()
    columns, *rows = table(tmp_path / MANIFEST)
    expected = [
        [name, str(len(content)), hashlib.sha256(content).hexdigest()]
        for name, content in files(tmp_path).items()
        if name != str(MANIFEST)
    ]
    assert columns == ["path", "size", "sha256"]
    assert rows == sorted(expected)


def test_a_file_written_twice_is_listed_once_as_it_is(tmp_path: Path) -> None:
    tree = OutputTree(tmp_path)
    tree.write_text(A, "first")
    tree.write_text(A, "second")
    tree.finish()
    assert table(tmp_path / MANIFEST)[1:] == [["a.txt", "6", hashlib.sha256(b"second").hexdigest()]]


def test_a_tree_that_is_not_finished_has_no_manifest(tmp_path: Path) -> None:
    write(tmp_path, A)
    tree = OutputTree(tmp_path)
    tree.write_text(A, "again")
    assert not (tmp_path / MANIFEST).exists()
    tree.finish()
    assert (tmp_path / MANIFEST).exists()


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    write(tmp_path / "new" / "folder", B)
    assert set(files(tmp_path / "new" / "folder")) == {str(B), str(MANIFEST)}


# ---------------------------------------------------------------- what an earlier tree wrote
def test_what_only_the_earlier_tree_wrote_goes(tmp_path: Path) -> None:
    write(tmp_path, A, B, C)
    write(tmp_path, A)
    assert set(files(tmp_path)) == {str(A), str(MANIFEST)}


def test_what_the_user_changed_or_added_stays(tmp_path: Path) -> None:
    write(tmp_path, A, B, C)
    (tmp_path / B).write_text("my notes", encoding="utf-8")
    (tmp_path / "sub-01" / "mine.txt").write_text("text", encoding="utf-8")
    write(tmp_path, A)
    assert set(files(tmp_path)) == {str(A), str(B), "sub-01/mine.txt", str(MANIFEST)}
    assert (tmp_path / B).read_text(encoding="utf-8") == "my notes"


def test_what_the_user_deleted_is_not_missed(tmp_path: Path) -> None:
    write(tmp_path, A, B)
    (tmp_path / B).unlink()
    write(tmp_path, A)
    assert set(files(tmp_path)) == {str(A), str(MANIFEST)}


def test_until_it_is_finished_an_earlier_trees_files_stay(tmp_path: Path) -> None:
    write(tmp_path, A, B)
    OutputTree(tmp_path).write_text(A, "again")
    assert (tmp_path / B).exists()


def test_what_is_asked_for_goes_before_it_is_finished_but_for_what_is_written_again(
    tmp_path: Path,
) -> None:
    write(tmp_path, A, B, C)
    (tmp_path / C).write_text("my notes", encoding="utf-8")
    tree = OutputTree(tmp_path)
    tree.write_text(A, "again")
    tree.remove_earlier([A.name, B.name, C.name])
    assert (tmp_path / A).exists()
    assert not (tmp_path / B).exists()
    assert (tmp_path / C).read_text(encoding="utf-8") == "my notes"


def test_a_finished_folder_holds_one_run_only_even_after_an_interrupted_one(
    tmp_path: Path,
) -> None:
    """Interrupted trees take the old manifest away; the next one must still know what it said."""
    write(tmp_path, A, B)
    OutputTree(tmp_path).write_text(A, "interrupted")
    write(tmp_path, A, text="third")
    assert set(files(tmp_path)) == {str(A), str(MANIFEST)}


def test_what_an_interrupted_tree_alone_wrote_goes(tmp_path: Path) -> None:
    OutputTree(tmp_path).write_text(C, "interrupted")
    write(tmp_path, A)
    assert set(files(tmp_path)) == {str(A), str(MANIFEST)}


# ---------------------------------------------------------------- when writing fails
def half_written(path: Path, content: bytes) -> int:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    raise OSError(28, "No space left on device")


def not_renamed(path: Path, target: Path) -> Path:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("method", "broken"), [("write_bytes", half_written), ("replace", not_renamed)]
)
def test_nothing_half_written_is_left_where_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, broken: Callable[..., object]
) -> None:
    write(tmp_path, A, B, text="old")
    before = files(tmp_path)
    tree = OutputTree(tmp_path)
    monkeypatch.setattr(Path, method, broken)
    for path in (A, C):
        with pytest.raises(OSError, match=r"No space|Input/output"):
            tree.write_text(path, "new and longer")
    monkeypatch.undo()
    before.pop(str(MANIFEST))
    after = files(tmp_path)
    # The journal of an interrupted tree stays: the next one reads it.
    assert after.pop("logs/manifest.unfinished.tsv")
    assert after == before


def test_a_file_that_failed_is_not_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = OutputTree(tmp_path)
    tree.write_text(A, "fine")
    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(OSError, match="No space"):
        tree.write_text(B, "not fine")
    monkeypatch.undo()
    tree.finish()
    assert [row[0] for row in table(tmp_path / MANIFEST)[1:]] == [str(A)]


# ---------------------------------------------------------------- a manifest that lies
@pytest.mark.parametrize(
    "name",
    ["../outside.txt", "logs/../../outside.txt", "./../outside.txt", "a/b/../../../outside.txt"],
)
def test_a_manifest_cannot_reach_out_of_the_folder(tmp_path: Path, name: str) -> None:
    root, outside = tmp_path / "out", tmp_path / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    (root / "logs").mkdir(parents=True)
    (root / "a" / "b").mkdir(parents=True)
    (root / MANIFEST).write_text(manifest_of((name, outside)), encoding="utf-8")
    write(root, A)
    assert outside.exists()


def test_a_manifest_cannot_reach_an_absolute_path(tmp_path: Path) -> None:
    root, outside = tmp_path / "out", tmp_path / "outside.txt"
    outside.write_text("mine", encoding="utf-8")
    (root / "logs").mkdir(parents=True)
    (root / MANIFEST).write_text(manifest_of((str(outside), outside)), encoding="utf-8")
    write(root, A)
    assert outside.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "path\tsize\tsha256\n",
        "path\tsize\tsha256\nkeep.txt\n",
        "path\tsize\tsha256\n\t\t\n",
        "path\tsize\tsha256\n.\t0\t0\n",
        "path\tsize\tsha256\nkeep.txt\t4\twrong\tmore\tand more\n",
        "sha256\tpath\nabc\n",
        "other\tcolumns\nkeep.txt\t1\n",
        'path\tsha256\n"keep.txt\t1\n',
        "path\tsha256\nkeep.txt\0\t1\n",
        "path\tsha256\n\0logs/keep.txt\t1\n",
        "\xff\xfe",
    ],
)
def test_a_broken_manifest_touches_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    (tmp_path / "keep.txt").write_text("mine", encoding="utf-8")
    write(tmp_path, A)
    assert set(files(tmp_path)) == {str(A), "keep.txt", str(MANIFEST)}
