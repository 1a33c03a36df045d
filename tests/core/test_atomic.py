"""Files are written atomically: completely, or not at all."""

import pytest

from nidecomp.core.atomic import remove_leftovers, replace_atomically, writing


@pytest.mark.parametrize("old", [None, "old"])
def test_file_is_under_its_name_only_after_the_block(tmp_path, old):
    path = tmp_path / "maps.nii.gz"
    if old is not None:
        path.write_text(old)
    with replace_atomically(path) as temporary:
        temporary.write_text("new")
        assert (path.read_text() if path.exists() else None) == old
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("written", ["", "half"])
def test_nothing_changes_when_the_block_raises(tmp_path, old, written, error):
    path = tmp_path / "table.tsv"
    if old is not None:
        path.write_text(old)
    with pytest.raises(error), replace_atomically(path) as temporary:
        if written:
            temporary.write_text(written)
        raise error
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == (
        {} if old is None else {"table.tsv": old}
    )


def test_block_that_writes_nothing_is_an_error_and_keeps_what_was_there(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replace_atomically(path):
        pass
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.json"
    with replace_atomically(path) as temporary:
        temporary.write_text("{}")
    assert path.read_text() == "{}"


def test_temporary_name_is_a_hidden_sibling_with_the_same_extensions(tmp_path):
    """nibabel and numpy depend on the extension; a rename is atomic only within a folder."""
    path = tmp_path / "maps.nii.gz"
    with replace_atomically(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".")
        assert temporary.suffixes[-2:] == [".nii", ".gz"]
        temporary.touch()


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "table.tsv"
    with replace_atomically(path) as one, replace_atomically(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    # The outer block is finished last, so that its content stays.
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    with pytest.raises(KeyboardInterrupt), replace_atomically(tmp_path / "maps.nii.gz") as left:
        left.write_text("half")
        left.rename(tmp_path / "kept")
        raise KeyboardInterrupt
    (tmp_path / "kept").rename(left)
    for name in (".bidsignore", ".1-a-maps.nii.gz", "1-0123abcd-x", "maps.nii.gz"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {
        ".bidsignore", ".1-a-maps.nii.gz", "1-0123abcd-x", "maps.nii.gz",
    }  # fmt: skip


def test_what_was_not_written_whole_is_told_with_its_name(tmp_path):
    """numpy raises an error without the system's reason for a short write."""
    said = r"maps\.npy could not be written completely"
    with pytest.raises(OSError, match=said), writing(tmp_path / "maps.npy"):
        raise OSError("10 requested and 3 written")
    assert not list(tmp_path.iterdir())
