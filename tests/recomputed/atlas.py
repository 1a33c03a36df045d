"""An atlas of labels for ``--label-atlas``: where each of the shipped networks is the strongest."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from recomputed.published import ROOT

NETWORKS = ROOT / "src" / "nidecomp" / "annotation" / "data" / "networks.nii.gz"
N_REGIONS = 14
LEAST_Z = 2.0


def atlas_names() -> list[str]:
    """Return the names of the labels 1, 2, …"""
    return [f"Region {number}" for number in range(1, N_REGIONS + 1)]


def atlas_path(output: Path) -> Path:
    """Return the atlas of an output folder, beside it, which is written if it is not there."""
    path = output.parent / "atlas" / "regions.nii.gz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        networks = nib.load(NETWORKS)
        z = np.asarray(networks.dataobj, dtype=np.float32)
        labels = np.where(z.max(axis=-1) > LEAST_Z, z.argmax(axis=-1) + 1, 0).astype(np.int16)
        nib.save(nib.Nifti1Image(labels, networks.affine), path)
        lines = [f"{index}\t{name}" for index, name in enumerate(atlas_names(), start=1)]
        table = path.with_name("regions.tsv")
        table.write_text("\n".join(["index\tname", *lines]) + "\n", encoding="utf-8")
    return path
