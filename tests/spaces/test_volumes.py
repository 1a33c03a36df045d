"""The numbers of a file as nibabel gives them, read once; whatever is broken ends in a sentence."""

from __future__ import annotations

import gzip
import io
import zlib

import nibabel as nib
import numpy as np
import pytest
from example_images import AFFINE, ALL, DTYPES, N_VOLUMES, SHAPE, few, grid_at, intensities, save
from hypothesis import given
from hypothesis import strategies as st
from isal import igzip

from nidecomp.core.errors import FailedRunError
from nidecomp.spaces import volumes as stream
from nidecomp.spaces.images import grid_of, read_header
from nidecomp.spaces.volumes import describe_image, stored_volumes


def read(path, kept=ALL):
    """Read volumes as the series does; each is copied out of the buffer."""
    return [volume.copy() for volume in stored_volumes(describe_image(path), np.asarray(kept))]


def read_all(path):
    """Read all that a run's file is asked for, the header first."""
    read_header(path)
    return read(path)


def small_image(path):
    """Write so small an image that a test can damage every byte of it."""
    data = np.random.default_rng(0).integers(0, 100, (3, 2, 4, N_VOLUMES))
    return save(path, data, dtype="int16")


# ---------------------------------------------------------------- the numbers
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("dtype", DTYPES)
def test_volumes_are_the_stored_numbers_of_nibabel(tmp_path, dtype, endian, suffix):
    path = save(tmp_path / f"run{suffix}", intensities(), dtype=dtype, endian=endian, slope=0.5)
    expected = nib.load(path).dataobj.get_unscaled()
    for index, volume in enumerate(read(path)):
        assert volume.dtype == np.dtype(dtype)
        assert volume.dtype.isnative
        np.testing.assert_array_equal(volume.T, expected[..., index])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("extension", [0, 5, 5000])
def test_what_stands_between_header_and_numbers_is_passed_over(
    tmp_path, extension, version, suffix
):
    data = intensities()
    path = save(
        tmp_path / f"run{suffix}", data, dtype="int16", version=version, extension=extension
    )
    np.testing.assert_array_equal(np.stack(read(path)).T, data)


@pytest.mark.parametrize(
    ("slope", "inter", "expected"),
    [(None, 0, (1, 0)), (0.37, -12.5, (0.37, -12.5)), (-2, 3, (-2, 3)), (1, 1000, (1, 1000))],
)
def test_description_is_that_of_the_header(tmp_path, slope, inter, expected):
    path = save(
        tmp_path / "run.nii.gz", intensities(), dtype="int16", endian=">", slope=slope, inter=inter
    )
    image = describe_image(path)
    assert (image.path, image.grid, image.n_volumes) == (path, grid_at(AFFINE), N_VOLUMES)
    assert (image.dtype, image.offset) == (np.dtype(">i2"), 352)
    # A header holds float32.
    assert (image.slope, image.inter) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_slope_that_means_nothing_is_none(tmp_path, slope):
    path = save(tmp_path / "run.nii", intensities(), dtype="int16")
    content = bytearray(path.read_bytes())
    content[112:116] = np.float32(slope).tobytes()  # the field `scl_slope`
    content[116:120] = np.float32(7).tobytes()  # the field `scl_inter`
    path.write_bytes(content)
    image = describe_image(path)
    assert (image.slope, image.inter) == (1.0, 0.0)


@few
@given(kept=st.sets(st.integers(0, N_VOLUMES - 1)))
def test_volumes_wanted_come_in_order_and_others_do_not(tmp_path_factory, kept):
    data = intensities(1)
    path = save(tmp_path_factory.getbasetemp() / "some.nii.gz", data, dtype="uint8")
    volumes = read(path, sorted(kept))
    assert len(volumes) == len(kept)
    for volume, index in zip(volumes, sorted(kept), strict=True):
        np.testing.assert_array_equal(volume.T, data[..., index])


def in_members(content, cuts):
    """Compress pieces one after the other, as bgzip and pigz do."""
    pieces = [content[start:stop] for start, stop in zip([0, *cuts], [*cuts, None], strict=True)]
    return b"".join(gzip.compress(piece, mtime=0) for piece in pieces)


def named(content):
    """Compress with a file name in the header, as the gzip command does."""
    packed = io.BytesIO()
    with gzip.GzipFile("a_name.nii", "wb", fileobj=packed) as file:
        file.write(content)
    return packed.getvalue()


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(lambda raw: gzip.compress(raw, 0), id="not compressed"),
        pytest.param(lambda raw: igzip.compress(raw, 2), id="ISA-L"),
        pytest.param(named, id="with a name"),
        pytest.param(lambda raw: in_members(raw, [100]), id="members, cut in the header"),
        pytest.param(lambda raw: in_members(raw, [352, 353, 1000]), id="members"),
        pytest.param(lambda raw: in_members(raw, [500, 500, len(raw)]), id="empty members"),
        pytest.param(lambda raw: gzip.compress(raw) + b"\0" * 1000, id="padded with zeros"),
        pytest.param(lambda raw: gzip.compress(raw + b"more" * 1000), id="longer than needed"),
    ],
)
def test_every_form_of_gzip_is_read(tmp_path, pack):
    data = intensities(2)
    raw = save(tmp_path / "run.nii", data, dtype="uint8").read_bytes()
    path = tmp_path / "packed.nii.gz"
    path.write_bytes(pack(raw))
    np.testing.assert_array_equal(np.stack(read(path)).T, data)


def test_what_follows_the_numbers_of_a_plain_file_does_not_matter(tmp_path):
    data = intensities(3)
    path = save(tmp_path / "run.nii", data, dtype="uint8")
    path.write_bytes(path.read_bytes() + b"more" * 1000)
    np.testing.assert_array_equal(np.stack(read(path)).T, data)


# ---------------------------------------------------------------- one pass, little memory
class Counted:
    """A file that counts what is read of it."""

    def __init__(self, file):
        self.file, self.n_read, self.largest = file, 0, 0

    def _counted(self, n):
        self.n_read, self.largest = self.n_read + n, max(self.largest, n)

    def readinto(self, view):
        n = self.file.readinto(view)
        self._counted(n)
        return n

    def read(self, size):
        content = self.file.read(size)
        self._counted(len(content))
        return content

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [ALL, [2]])
def test_a_file_is_opened_for_its_voxels_once_and_each_byte_read_once(
    tmp_path, monkeypatch, kept, suffix
):
    path = save(tmp_path / f"run{suffix}", intensities(), dtype="int16")
    size = 352 + 2 * np.prod(SHAPE) * N_VOLUMES
    image = describe_image(path)
    opened = []
    really_open = stream.opened
    monkeypatch.setattr(
        stream, "opened", lambda path: opened.append(Counted(really_open(path))) or opened[-1]
    )
    for _ in stored_volumes(image, np.asarray(kept)):
        pass
    (file,) = opened
    assert file.n_read == size
    # Never more at once than one volume.
    assert file.largest <= 2 * np.prod(SHAPE)
    assert file.file.closed


def test_the_volumes_are_one_buffer(tmp_path):
    path = save(tmp_path / "run.nii.gz", intensities(), dtype="int16")
    volumes = stored_volumes(describe_image(path), ALL)
    first = next(volumes)
    assert all(np.shares_memory(first, volume) for volume in volumes)


# ---------------------------------------------------------------- what is no run
@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 5, 2)])
def test_image_that_is_not_4d_is_no_run(tmp_path, shape):
    path = save(tmp_path / "flat.nii.gz", np.zeros(shape))
    with pytest.raises(FailedRunError, match=rf"flat\.nii\.gz has {len(shape)} dimensions; a BOLD"):
        describe_image(path)


@pytest.mark.parametrize(
    "dtype",
    [
        "complex64",
        "complex128",
        [(name, "u1") for name in "RGB"],
        [(name, "u1") for name in "RGBA"],
    ],
    ids=["complex64", "complex128", "RGB", "RGBA"],
)
def test_voxels_that_are_no_real_numbers_are_told(tmp_path, dtype):
    data = np.zeros((*SHAPE, N_VOLUMES), dtype=dtype)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "odd.nii.gz")
    with pytest.raises(FailedRunError, match=r"odd\.nii\.gz stores \w+ .* one real number in each"):
        describe_image(tmp_path / "odd.nii.gz")


def test_grids_that_differ_by_float32_rounding_are_the_same():
    exact = nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE)
    rounded = nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE * (1 + 1e-7))
    moved = nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 1e-3)
    places = [grid_of(image, None) for image in (exact, rounded, moved)]
    assert places[0] == places[1]
    assert places[0] != places[2]


@pytest.mark.parametrize("broken", ["nan", "singular"])
def test_affine_that_maps_nothing_is_told(tmp_path, broken):
    image = nib.Nifti1Image(intensities().astype(np.float32), AFFINE)
    image.header.set_sform(AFFINE, code=1)
    if broken == "nan":
        image.header["srow_x"] = np.nan
    else:
        image.header["srow_x"] = image.header["srow_y"]
    nib.Nifti1Image(np.asarray(image.dataobj), None, image.header).to_filename(
        tmp_path / "lost.nii.gz"
    )
    for reads in (read_header, describe_image):
        with pytest.raises(FailedRunError, match=r"lost\.nii\.gz has an invalid affine"):
            reads(tmp_path / "lost.nii.gz")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (slice(70, 72), np.int16(999), "cannot be read"),  # datatype
        (slice(112, 120), np.array([1, np.inf], "f4"), "cannot be read"),  # scl_slope, scl_inter
        (slice(108, 112), np.float32(7), "cannot be read"),  # vox_offset
        (slice(108, 112), np.float32(1e6), "cut off"),
        (slice(48, 50), np.int16(30000), "cut off"),  # dim[4]
        (slice(48, 50), np.int16(-5), "dimension of -5"),
        (slice(42, 44), np.int16(0), "dimension of 0"),  # dim[1]
    ],
)
def test_header_that_makes_no_sense_is_told(tmp_path, field, value, said):
    path = save(tmp_path / "odd.nii", intensities(), dtype="int16")
    content = bytearray(path.read_bytes())
    content[field] = value.tobytes()
    path.write_bytes(content)
    with pytest.raises(FailedRunError, match=rf"odd\.nii .*{said}"):
        read(path)


# ---------------------------------------------------------------- broken files
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_file_that_was_cut_off_anywhere_is_told_by_its_name(tmp_path, suffix):
    """At every length, behind the last number, too: a gzip file's checksum stands at its end."""
    path = small_image(tmp_path / f"cut{suffix}")
    content = path.read_bytes()
    read_all(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(FailedRunError, match=r"^cut\.nii"):
            read_all(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_file_that_was_cut_off_in_its_numbers_says_so(tmp_path, suffix):
    path = save(tmp_path / f"cut{suffix}", np.random.default_rng(0).random((*SHAPE, N_VOLUMES)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FailedRunError, match="cut off, copy it again"):
        read(path)


def test_dropped_volumes_are_read_for_the_checksum(tmp_path):
    path = save(tmp_path / "cut.nii.gz", np.random.default_rng(0).random((*SHAPE, N_VOLUMES)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FailedRunError, match=r"cut\.nii\.gz"):
        read(path, [0])


def test_a_file_is_read_to_its_end_although_no_number_is_wanted_of_it(tmp_path):
    """The checksum that speaks for the numbers may stand far behind them."""
    raw = save(tmp_path / "run.nii", intensities(), dtype="uint8").read_bytes()
    content = gzip.compress(raw + bytes(3_000_000), compresslevel=0)
    path = tmp_path / "bad.nii.gz"
    path.write_bytes(content)
    read(path)
    for damaged in (content[:-1], content[:-8], content[:-8] + b"abcd" + content[-4:]):
        path.write_bytes(damaged)
        with pytest.raises(FailedRunError, match=r"^bad\.nii\.gz "):
            read(path)


@pytest.mark.parametrize("level", [0, 6])
def test_a_changed_byte_of_a_gzip_changes_no_number_in_silence(tmp_path, level):
    """Each byte in turn: either it is no part of the numbers, or it is told."""
    raw = small_image(tmp_path / "run.nii").read_bytes()
    expected = read(tmp_path / "run.nii")
    content = gzip.compress(raw, level, mtime=0)
    path = tmp_path / "bad.nii.gz"
    n_told = 0
    for index, change in enumerate(np.random.default_rng(0).integers(1, 256, len(content))):
        damaged = bytearray(content)
        damaged[index] ^= int(change)
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read(path), expected)
        except FailedRunError as error:
            assert str(error).startswith("bad.nii.gz ")
            n_told += 1
    # The time, the system and such, of gzip's header: nothing else may pass.
    assert n_told >= len(content) - 10


def test_a_checksum_that_does_not_fit_is_told(tmp_path):
    """The bytes unpack to numbers; only the end of the file knows better."""
    path = save(tmp_path / "bad.nii.gz", intensities())
    content = path.read_bytes()
    assert int.from_bytes(content[-8:-4], "little") == zlib.crc32(gzip.decompress(content))
    path.write_bytes(content[:-8] + b"abcd" + content[-4:])
    with pytest.raises(FailedRunError, match=r"bad\.nii\.gz cannot be read: CRC check failed"):
        read(path)
    path.write_bytes(content[:-4] + b"abcd")
    with pytest.raises(FailedRunError, match=r"bad\.nii\.gz cannot be read"):
        read(path)


@pytest.mark.parametrize("garbage", [b"garbage", b"\x1f\x8b", b"\x1f\x8b\x08garbage", b"\0\0x"])
def test_garbage_behind_a_gzip_is_told(tmp_path, garbage):
    path = save(tmp_path / "bad.nii.gz", intensities())
    path.write_bytes(path.read_bytes() + garbage)
    with pytest.raises(FailedRunError, match=r"^bad\.nii\.gz "):
        read(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_text_under_an_images_name_is_told_by_its_name(tmp_path, packed, suffix):
    path = tmp_path / f"text{suffix}"
    text = b"This is not an image.\n" * 100
    path.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(FailedRunError, match=r"text\.nii(\.gz)? cannot be read"):
        describe_image(path)


def test_file_that_is_gone_is_told_by_its_name(tmp_path):
    path = save(tmp_path / "gone.nii.gz", intensities())
    image = describe_image(path)
    path.unlink()
    for reads in (describe_image, lambda _: list(stored_volumes(image, ALL))):
        with pytest.raises(FailedRunError, match=r"gone\.nii\.gz does not exist"):
            reads(path)


def test_folder_under_an_images_name_is_told(tmp_path):
    (tmp_path / "run.nii").mkdir()
    with pytest.raises(FailedRunError, match=r"run\.nii cannot be read"):
        describe_image(tmp_path / "run.nii")


def test_a_reader_that_stops_early_closes_the_file(tmp_path, monkeypatch):
    path = save(tmp_path / "run.nii", intensities())
    image = describe_image(path)
    opened = []
    really_open = stream.opened
    monkeypatch.setattr(
        stream, "opened", lambda path: opened.append(really_open(path)) or opened[-1]
    )
    volumes = stored_volumes(image, ALL)
    next(volumes)
    volumes.close()
    assert opened[0].closed
