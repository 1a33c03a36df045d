"""Records in files: what is read is what was written, and nothing else is made."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nidecomp.core.record_files import load_record, store_record


@dataclass(frozen=True, eq=False)
class Inner:
    values: object


@dataclass(frozen=True, eq=False)
class Outer:
    name: str
    inner: Inner | None
    array: np.ndarray
    about: object


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: (
        st.lists(inside) | st.lists(inside).map(tuple) | st.dictionaries(st.text(), inside)
    ),
    max_leaves=10,
)


@settings(
    deadline=None, max_examples=30, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(about=VALUES, inner=VALUES, name=st.text())
def test_a_record_is_read_as_it_was_written(
    tmp_path: Path, about: object, inner: object, name: str
) -> None:
    array = np.random.default_rng(0).standard_normal((3, 4)).T
    store_record(tmp_path / "r.npz", Outer(name, Inner((inner, array[::2])), array, about))
    found = load_record(tmp_path / "r.npz", [Outer, Inner])
    assert (found.name, found.about, found.inner.values[0]) == (name, about, inner)
    assert type(found.about) is type(about)
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_array_equal(found.inner.values[1], array[::2])
    assert found.array.flags.c_contiguous


def test_types_of_numbers_and_dimensions_are_kept(tmp_path: Path) -> None:
    values = {"single": np.float32(1.5), "count": np.int64(3), "nan": float("nan")}
    arrays = [np.array(3.5), np.zeros((0, 2), np.float32), np.array([True])]
    store_record(tmp_path / "r.npz", Outer("", None, arrays[0], [values, *arrays]))
    found = load_record(tmp_path / "r.npz", [Outer])
    assert found.inner is None
    assert found.about[0]["single"] == 1.5
    assert found.about[0]["count"] == 3
    assert np.isnan(found.about[0]["nan"])
    for one, other in zip(found.about[1:], arrays, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Path cannot be stored"):
        store_record(tmp_path / "r.npz", Inner(Path("x")))
    assert not list(tmp_path.iterdir())


def test_damaged_and_foreign_files_are_none(tmp_path: Path) -> None:
    path = tmp_path / "r.npz"
    assert load_record(path, [Inner]) is None
    store_record(path, Inner(np.arange(1000.0)))
    content = path.read_bytes()
    assert astuple(load_record(path, [Inner]))[0].sum() == 499500
    assert load_record(path, [Outer]) is None, "no other record is made"
    for harmed in (content[:-30], content[:600] + b"\1" + content[601:], b"", b"PK"):
        path.write_bytes(harmed)
        assert load_record(path, [Inner]) is None
    described = json.dumps({"record": "Inner", "fields": {"other": 1}}).encode()
    np.savez(path, structure=np.frombuffer(described, dtype=np.uint8))
    assert load_record(path, [Inner]) is None


def test_a_file_that_could_be_unpacked_to_a_large_one_is_not_read(tmp_path: Path) -> None:
    store_record(tmp_path / "r.npz", Inner(np.zeros(1000)))
    with np.load(tmp_path / "r.npz") as content:
        np.savez_compressed(tmp_path / "packed.npz", **content)
    assert load_record(tmp_path / "r.npz", [Inner]) is not None
    assert load_record(tmp_path / "packed.npz", [Inner]) is None
