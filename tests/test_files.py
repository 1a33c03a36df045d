"""A file is whole under its name, or what was there before."""

import pytest

from nidecomp.files import replace_atomically


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
    """nibabel and numpy look at the extension; a rename is atomic within a folder only."""
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
    # The outer block ends last.
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]
