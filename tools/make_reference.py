"""Create src/nidecomp/annotation/data from published maps and masks.

``python tools/make_reference.py SHARED_DATA_DIR`` reads ``abide_ica32/`` and ``aroma_masks/`` in
that folder (see README.md next to the results) and always writes the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage

from nidecomp.core.hemispheres import HEMISPHERES
from nidecomp.spaces.gifti import gifti_maps
from nidecomp.spaces.interpolate import maps_at
from nidecomp.spaces.meshes import MNI152_OF_MNI305, template_mesh

REFERENCE = Path(__file__).resolve().parents[1] / "src" / "nidecomp" / "annotation" / "data"
# z-values are stored in these steps, which are far below their noise of about 1 and compress well.
STEP = 1 / 64
# Published names with an abbreviation.
SPELT_OUT = {"Anterior DMN": "Anterior default mode", "Posterior DMN": "Posterior default mode"}


def main(shared: Path) -> None:
    """Write the network maps with their table, in volumes and on surfaces, and the masks."""
    maps = nib.load(shared / "abide_ica32" / "melodic_IC32_4mm.nii.gz")
    named = _named_networks(shared / "abide_ica32" / "melodic_IC_labels.tsv")
    networks = np.asarray(maps.dataobj)[..., list(named)]
    steps = np.round(networks / STEP).astype("<i2")
    _write_image(REFERENCE / "networks.nii.gz", steps, maps.affine, STEP)
    rows = "".join(f"{index}\t{name}\n" for index, name in enumerate(named.values()))
    (REFERENCE / "networks.tsv").write_text(f"index\tname\n{rows}", encoding="utf-8")
    _write_surfaces(REFERENCE / "networks.nii.gz", list(named.values()))
    masks = shared / "aroma_masks"
    for tissue in ("csf", "out"):
        shutil.copyfile(masks / f"mask_{tissue}.nii.gz", REFERENCE / f"{tissue}.nii.gz")
    csf, edge, out = (nib.load(masks / f"mask_{name}.nii.gz") for name in ("csf", "edge", "out"))
    outer = _outer_edge(*(np.asarray(mask.dataobj) > 0.5 for mask in (csf, edge, out)))
    _write_image(REFERENCE / "edge.nii.gz", outer.astype(np.uint8), edge.affine)


def _outer_edge(
    csf: NDArray[np.bool_], edge: NDArray[np.bool_], out: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the part of the edge mask that is closer to the outside of the brain than to CSF.

    The rest is a band around the ventricles, including the caudate and the thalamus: up to 85 % of
    the weight of a caudate network was in the edge mask.
    """
    to_out, to_csf = (ndimage.distance_transform_edt(~mask) for mask in (out, csf))
    return np.asarray(edge & (to_out <= to_csf))


def _named_networks(table: Path) -> dict[int, str]:
    """Return the volume (from 0) and name of each component that its authors call a network."""
    with table.open(encoding="utf-8", newline="") as file:
        return {
            int(row["index"]) - 1: SPELT_OUT.get(row["label"], row["label"])
            for row in csv.DictReader(file, delimiter="\t")
            if row["is_rsn"] == "1"
        }


def _write_surfaces(networks: Path, names: list[str]) -> None:
    """Write the values of the networks at the midthickness surface of fsaverage5."""
    for hemi in HEMISPHERES:
        # fsaverage's surfaces are not in the space of the networks.
        places = apply_affine(
            MNI152_OF_MNI305, template_mesh("fsaverage5", 10242, hemi).coordinates
        )
        maps = np.round(maps_at(networks, places, len(names)) / STEP) * np.float32(STEP)
        parts = gifti_maps(maps, len(maps), hemi, names)
        (REFERENCE / f"networks_hemi-{hemi}.func.gii").write_bytes(b"".join(parts))


def _write_image(
    path: Path, numbers: NDArray[np.generic], affine: NDArray[np.float64], step: float = 1.0
) -> None:
    """Write an integer image with a scale in MNI space, compressed without a time stamp."""
    header = nib.Nifti1Image(numbers, affine).header
    header.set_sform(affine, code="mni")
    header.set_qform(affine, code="mni")
    header.set_xyzt_units("mm")
    header.set_slope_inter(step, 0.0)
    # Written without nibabel, which would change the scale.
    header["vox_offset"] = 352
    content = header.binaryblock + bytes(4) + numbers.tobytes(order="F")
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed,
    ):
        packed.write(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
