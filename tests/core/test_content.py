"""Files are identified by their content, and content that was not fetched is recognised."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from nidecomp.core.content import annex_key, identity_of, is_not_fetched

KEY = "MD5E-s12--0123456789abcdef.nii.gz"


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        (f"/annex/objects/{KEY}\n", True),
        (f"../../.git/annex/objects/aa/bb/{KEY}/{KEY}", True),
        ('{"SpatialReference": "/annex/objects/x"}', False),
        ("trans_x\ttrans_y\n", False),
        ("", False),
    ],
)
def test_a_pointer_is_told_from_text(tmp_path: Path, content: str, missing: bool) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    assert is_not_fetched(path) == missing
    assert annex_key(path) == (KEY if missing else None)


def test_a_link_to_nothing_is_not_fetched_and_names_its_key(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.symlink_to(f".git/annex/objects/aa/bb/{KEY}/{KEY}")
    assert is_not_fetched(path)
    assert annex_key(path) == KEY
    assert not is_not_fetched(tmp_path / "not there")


@pytest.mark.parametrize("name", ["image.nii.gz", "image.nii", "table.tsv"])
@pytest.mark.parametrize("size", [10, 200_000, 400_000])
def test_the_identity_is_the_content_and_not_the_time(tmp_path: Path, name: str, size: int) -> None:
    content = bytes(number * 7 % 251 for number in range(size))
    path = tmp_path / name

    def write(data: bytes) -> str:
        # Without the time of compression, which belongs to a compressed file's content.
        path.write_bytes(gzip.compress(data, 0, mtime=0) if name.endswith(".gz") else data)
        return identity_of(path)

    first = write(content)
    os.utime(path, ns=(1, 1))
    assert identity_of(path) == first
    copy = tmp_path / f"copy-{name}"
    copy.write_bytes(path.read_bytes())
    assert identity_of(copy) == first
    middle = bytearray(content)
    middle[size // 2] ^= 1
    assert write(bytes(middle)) != first
    assert write(content) == first
