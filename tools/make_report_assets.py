"""Write what the report draws maps in MNI space on: ``make_report_assets.py``.

Both come from nilearn: the skull-stripped MNI152 template, at 2 mm and in 64 shades, and the
outlines of its glass brain as lines in mm. Drawing them anew took longer than anything else.
"""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.datasets import load_mni152_template
from nilearn.plotting.glass_brain import _get_json_and_transform

DATA = Path(__file__).parents[1] / "src" / "nidecomp" / "outputs" / "report" / "data"
VOXEL_MM = 2
SHADES = 64
# Points of each Bézier curve.
POINTS = np.linspace(0, 1, 5)


def write_template() -> None:
    """Write the template as 8-bit image."""
    template = load_mni152_template(resolution=VOXEL_MM)
    values = template.get_fdata()
    grey = np.clip(values / np.percentile(values, 99.9), 0, 1)
    step = 256 // SHADES
    shades = (np.rint(grey * (SHADES - 1)) * step).astype(np.uint8)
    image = nib.Nifti1Image(shades, template.affine)
    path = DATA / "mni152.nii.gz"
    path.write_bytes(gzip.compress(image.to_bytes(), 9, mtime=0))
    print(f"wrote {path}: {shades.shape}, {path.stat().st_size:,} bytes")


def points_of(item: dict) -> np.ndarray:
    """Return a segment or Bézier curve as points."""
    points = np.array(item["pts"])
    if item["type"] == "segment":
        return points
    while len(points) > 1:
        points = [
            np.multiply.outer(1 - POINTS, first) + np.multiply.outer(POINTS, second)
            if np.ndim(first) == 1
            else (1 - POINTS)[:, None] * first + POINTS[:, None] * second
            for first, second in itertools.pairwise(points)
        ]
    return points[0]


def write_outlines() -> None:
    """Write the lines of each view, in tenths of a millimetre."""
    views = {}
    for view in "xyz":
        path, transform = _get_json_and_transform(view)
        lines: list[list[list[int]]] = []
        for one in json.loads(Path(path).read_text())["paths"]:
            line: list[list[int]] = []
            for item in one["items"]:
                points = np.rint(10 * transform.transform(points_of(item))).astype(int).tolist()
                if line and line[-1] == points[0]:
                    line += points[1:]
                else:
                    line = points
                    lines.append(line)
        views[view] = lines
    path = DATA / "glass_brain.json"
    path.write_text(json.dumps(views, separators=(",", ":")) + "\n")
    print(f"wrote {path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    write_template()
    write_outlines()
