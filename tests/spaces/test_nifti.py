"""Images as they are written: any program reads them, and the same image has the same bytes."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from nidecomp.spaces.gzipped import gzipped
from nidecomp.spaces.nifti import compressed, compressed_parts


@pytest.fixture
def image() -> nib.Nifti1Image:
    values = np.random.default_rng(0).normal(size=(4, 5, 6, 2)).astype(np.float32)
    return nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0]))


def test_an_image_is_read_back_as_it_was(tmp_path: Path, image: nib.Nifti1Image) -> None:
    (tmp_path / "image.nii.gz").write_bytes(compressed(image))
    again = nib.load(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(again.get_fdata(), image.get_fdata())
    np.testing.assert_array_equal(again.affine, image.affine)


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
def test_a_run_of_any_nifti_is_written_as_the_usual_one(
    image: nib.Nifti1Image, kind: Any, endian: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.asarray(image.dataobj)
    header = kind.from_header(image.header, check=False).as_byteswapped(endian)
    volumes = (values[..., index].T for index in range(values.shape[-1]))
    written = nib.Nifti1Image.from_bytes(
        gzip.decompress(b"".join(compressed_parts(header, volumes)))
    )
    np.testing.assert_array_equal(written.get_fdata(), image.get_fdata())
    np.testing.assert_array_equal(written.affine, image.affine)
    assert written.header == image.header
    assert not caplog.records, "nibabel has nothing to mend"


def test_a_compressed_image_is_plain_gzip_without_time_or_name(image: nib.Nifti1Image) -> None:
    """Any program unpacks it; nothing in its header differs from day to day or folder to folder."""
    content = compressed(image)
    assert gzip.decompress(content) == image.to_bytes()
    magic, method, flags, time_stamp = struct.unpack("<HBBL", content[:8])
    assert (magic, method) == (0x8B1F, 8)
    # No name, no comment, no further field.
    assert flags == 0
    assert time_stamp == 0


def test_maps_are_compressed_nearly_as_well_as_by_zlib() -> None:
    """Smooth maps of which a fifth is left, as dictionary learning gives them."""
    noise = np.random.default_rng(0).standard_normal((30, 30, 30, 6))
    maps = gaussian_filter(noise, (2, 2, 2, 0))
    maps[np.abs(maps) < np.quantile(np.abs(maps), 0.8)] = 0.0
    image = nib.Nifti1Image(maps.astype(np.float32), np.eye(4))
    ours, zlibs = compressed(image), gzip.compress(image.to_bytes(), 6)
    assert len(ours) < 1.15 * len(zlibs)


def test_pieces_and_threads_do_not_show() -> None:
    """Zeros are compressed once; parts are cut where they end and where a piece is full."""
    rng = np.random.default_rng(0)
    content = [rng.bytes(300_000), bytes(1_000_000), b"", rng.bytes(7), bytes(3)]
    whole = b"".join(gzipped(content))
    assert gzip.decompress(whole) == b"".join(content)
    assert whole == b"".join(gzipped(content, n_threads=3))
    assert len(whole) < 303_000
    assert gzip.decompress(b"".join(gzipped([]))) == b""
    # One member: readers in browsers stop after the first.
    unpacker = zlib.decompressobj(wbits=31)
    unpacker.decompress(whole)
    assert unpacker.eof
    assert unpacker.unused_data == b""
