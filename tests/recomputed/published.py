"""What the recomputations read, and how they say which numbers they recompute.

The modules of this folder recompute every published number from the inputs and from written files,
with numpy, scipy, nilearn, scikit-learn and nibabel alone. Nothing of NiDecomp is imported: they
are its definitions in a reader's words.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from support import metadata

ROOT = Path(__file__).resolve().parents[2]

Test = TypeVar("Test", bound=Callable[..., object])

# File and column (or key, or statistic) of what is recomputed, collected by `recomputes`.
RECOMPUTED: set[tuple[str, str]] = set()
# The largest difference of each quantity that was compared in this process.
LARGEST: dict[str, float] = {}


def recomputes(file: str, *columns: str) -> Callable[[Test], Test]:
    """Say that a test recomputes columns of a table: the file as docs/reference/columns.md has it.

    `test_columns.py` requires every column of every table to be named once at least.
    """

    def mark(test: Test) -> Test:
        RECOMPUTED.update((file, column) for column in columns)
        return test

    return mark


def agree(quantity: str, published: ArrayLike, recomputed: ArrayLike, within: float) -> None:
    """Check that numbers agree, n/a with n/a, and remember the largest difference."""
    there, here = (np.asarray(one, dtype=np.float64) for one in (published, recomputed))
    assert there.shape == here.shape, quantity
    assert there.size, f"{quantity}: nothing to compare"
    np.testing.assert_array_equal(np.isnan(there), np.isnan(here), err_msg=quantity)
    known = ~np.isnan(there)
    difference = float(np.abs(there[known] - here[known]).max(initial=0.0))
    LARGEST[quantity] = max(LARGEST.get(quantity, 0.0), difference)
    assert difference <= within, f"{quantity}: differs by {difference:g}, at most {within:g}"


@dataclass(frozen=True)
class Published:
    """A finished output folder, and the preprocessed dataset that it was made of."""

    dataset: Path
    output: Path

    def one(self, pattern: str) -> Path:
        """Return the only file of this pattern."""
        (path,) = sorted(self.output.glob(pattern))
        return path

    def table(self, pattern: str) -> list[dict[str, str]]:
        """Return the rows of a table."""
        with self.one(pattern).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))

    def json(self, pattern: str) -> dict[str, object]:
        """Return the content of a JSON file."""
        content: dict[str, object] = json.loads(self.one(pattern).read_text(encoding="utf-8"))
        return content

    def inherited(self, pattern: str) -> dict[str, object]:
        """Return what JSON files say about the only file of this pattern."""
        return metadata(self.one(pattern), self.output)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The group mask as a 3D array."""
        path = self.one("tpl-*/anat/*_desc-brain_mask.nii.gz")
        return np.asarray(nib.load(path).dataobj) > 0

    @property
    def affine(self) -> NDArray[np.float64]:
        """The affine of the group's grid."""
        return nib.load(self.one("tpl-*/anat/*_desc-brain_mask.nii.gz")).affine

    def in_mask(self, path: Path) -> NDArray[np.float64]:
        """Return the values of an image in the group mask, (n_voxels,) or (n_volumes, n_voxels)."""
        return np.asarray(nib.load(path).dataobj, dtype=np.float64)[self.mask].T

    def maps(self, method: str) -> NDArray[np.float64]:
        """Return the group's signed maps of a method, (n_components, n_voxels)."""
        (path,) = (
            path
            for path in self.output.glob(f"tpl-*/func/*_seg-{method}_*_components.nii.gz")
            if "_desc-" not in path.name
        )
        return self.in_mask(path)

    def at_chance(self, method: str) -> NDArray[np.bool_]:
        """Return which maps are no more reproducible than chance; none where this is unknown."""
        rows = self.table(f"tpl-*/func/*_seg-{method}_*_metrics.tsv")
        return numbers(rows, "reproducibility") <= numbers(rows, "reproducibility_chance")


def numbers(rows: list[dict[str, str]], column: str) -> NDArray[np.float64]:
    """Return a column as numbers; n/a is NaN."""
    return np.array([float(row[column].replace("n/a", "nan")) for row in rows])
