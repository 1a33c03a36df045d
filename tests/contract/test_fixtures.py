"""The datasets in the repository are what their generator writes."""

from __future__ import annotations

from pathlib import Path

import generate
import layout
import nibabel as nib
import numpy as np
import pytest
import surfaces
from support import FIXTURES


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All datasets, made anew; images are compared by what they hold, and so hardly compressed."""
    folder = tmp_path_factory.mktemp("generated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "COMPRESSION", 1)
        generate.generate(folder)
    return folder


@pytest.mark.parametrize("name", sorted(generate.DATASETS))
def test_the_tree_equals_the_generators_output(name: str, generated: Path) -> None:
    def files(root: Path) -> list[str]:
        return sorted(
            str(path.relative_to(root)) for path in (root / name).rglob("*") if path.is_file()
        )

    assert files(FIXTURES) == files(generated)
    for file in files(generated):
        shipped, fresh = FIXTURES / file, generated / file
        if file.endswith((".func.gii", ".dtseries.nii")):
            _assert_same_surface(shipped, fresh)
        # A pointer of git-annex is text, whatever its name says.
        elif not shipped.read_bytes().startswith(b"\x1f\x8b"):
            assert shipped.read_bytes() == fresh.read_bytes(), file
        elif name != "truncated_gzip":
            _assert_same_image(shipped, fresh)


def _assert_same_image(shipped: Path, fresh: Path) -> None:
    """Other processors round differently: one stored step is allowed, nothing more."""
    one, other = nib.load(shipped), nib.load(fresh)
    assert one.header.binaryblock == other.header.binaryblock, shipped
    stored = np.asarray(one.dataobj.get_unscaled(), dtype=np.float64)
    made = np.asarray(other.dataobj.get_unscaled(), dtype=np.float64)
    step = 1 if np.issubdtype(one.get_data_dtype(), np.integer) else 1e-3 * np.nanmax(np.abs(made))
    assert np.array_equal(np.isnan(stored), np.isnan(made)), shipped
    assert np.nanmax(np.abs(stored - made)) <= step, shipped


def _assert_same_surface(shipped: Path, fresh: Path) -> None:
    """As images; zlib may compress the arrays of GIFTI to other bytes."""
    one, other = nib.load(shipped), nib.load(fresh)
    if shipped.suffix == ".gii":
        assert one.meta == other.meta, shipped
        stored, made = (np.array([array.data for array in of.darrays]) for of in (one, other))
    else:
        assert one.header.get_axis(1) == other.header.get_axis(1), shipped
        stored, made = one.get_fdata(), other.get_fdata()
    assert np.array_equal(np.isnan(stored), np.isnan(made)), shipped
    assert np.nanmax(np.abs(stored - made)) <= surfaces.STEP, shipped


def test_they_are_small_enough_for_git() -> None:
    total = sum(
        path.stat().st_size
        for path in FIXTURES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    assert total < 20e6
