"""A real run on fsaverage5 that the package brainspace brings; without it these are skipped.

One participant at rest, 652 volumes, of which each part in time stands for a participant here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from support import nidecomp
from surface_examples import SIDES, write_gifti, write_json

from nidecomp.core.hemispheres import HEMISPHERES, Hemisphere
from nidecomp.spaces.gifti import data_arrays
from nidecomp.spaces.meshes import template_mesh

# It is not imported: that takes long, and only its files are used.
PACKAGE = importlib.util.find_spec("brainspace")
pytestmark = pytest.mark.skipif(PACKAGE is None, reason="brainspace is not installed")
N_PARTS, N_COMPONENTS, TR_S = 4, 20, 1.4
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]


def write_parts(root: Path) -> None:
    """Write the run as fMRIPrep would, its parts in time as participants."""
    assert PACKAGE is not None
    assert PACKAGE.origin is not None
    folder = Path(PACKAGE.origin).parent / "datasets" / "preprocessing"
    (left,) = folder.glob("*.fsa5.lh.mgz")
    sides = {
        "L": volumes(left),
        "R": volumes(left.with_name(left.name.replace(".lh.", ".rh."))),
    }
    confounds = np.loadtxt(next(folder.glob("*_confounds.txt")))[:, : len(MOTION)]
    length = len(confounds) // N_PARTS
    write_json(
        root / "dataset_description.json",
        {"Name": "parts of a run", "BIDSVersion": "1.10.0", "DatasetType": "derivative"},
    )
    for part in range(N_PARTS):
        some = slice(part * length, (part + 1) * length)
        func, run = root / f"sub-{part}" / "func", f"sub-{part}_task-rest"
        for side, structure in SIDES.items():
            stem = f"{run}_hemi-{side}_space-fsaverage5_bold"
            write_gifti(func / f"{stem}.func.gii", sides[side][some], structure)
            write_json(func / f"{stem}.json", {"RepetitionTime": TR_S})
        table = pd.DataFrame(confounds[some], columns=MOTION)
        steps = table.diff()
        squares = [
            (frame**2).add_suffix("_power2") for frame in (table, steps.add_suffix("_derivative1"))
        ]
        whole = pd.concat([table, steps.add_suffix("_derivative1"), *squares], axis=1)
        path = func / f"{run}_desc-confounds_timeseries.tsv"
        whole.to_csv(path, sep="\t", index=False, na_rep="n/a")


def volumes(path: Path) -> NDArray[np.float32]:
    """Return a series of one hemisphere, (n_volumes, n_vertices)."""
    values = np.asarray(nib.load(path).dataobj, dtype=np.float32)
    return values.reshape(-1, values.shape[-1]).T


def maps_of(out: Path, hemi: Hemisphere) -> NDArray[np.float32]:
    (path,) = out.glob(f"tpl-*/func/*_hemi-{hemi}_*_scale-{N_COMPONENTS}_components.func.gii")
    return np.stack([one.values for one in data_arrays(path)])


def share_beside_its_kind(values: NDArray[np.float32], faces: NDArray[np.int32]) -> float:
    """Return the share of the 10 % strongest vertices that have such a neighbour."""
    is_strong = np.abs(values) >= np.quantile(np.abs(values), 0.9)
    strong = is_strong[faces]
    beside = np.zeros(len(values), dtype=bool)
    beside[faces[strong.sum(axis=1) >= 2]] = True
    return float((beside & is_strong).sum() / is_strong.sum())


def test_networks_of_a_real_run_look_like_networks(tmp_path: Path) -> None:
    """Networks are labelled, found again in other parts of the run, contiguous, and on no wall."""
    write_parts(tmp_path / "prep")
    words = (
        f"--space fsaverage5 --n-components {N_COMPONENTS} --denoise-strategy motion "
        "--high-pass 0.008 --methods canica --n-splits 3"
    )
    done = nidecomp(tmp_path / "prep", tmp_path / "out", "group", *words.split())
    assert done.exit_code == 0, done.stderr
    (path,) = (tmp_path / "out").glob("tpl-*/func/*_metrics.tsv")
    table = pd.read_csv(path, sep="\t")
    above = table["reproducibility"] > table["reproducibility_chance"]
    assert above.sum() >= N_COMPONENTS // 2
    best = table[above].nlargest(3, "label_r")
    assert best["label_r"].min() > 0.4
    assert best["label"].nunique() == 3
    for hemi in HEMISPHERES:
        mesh = template_mesh("fsaverage5", 10242, hemi)
        maps = maps_of(tmp_path / "out", hemi)
        assert not maps[:, mesh.wall].any()
        for values in maps[above]:
            assert share_beside_its_kind(values, mesh.faces) > 0.9
