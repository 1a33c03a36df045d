"""Make the small inputs of the fixture generator from the full-size public data.

Run once by hand; its outputs are kept in the repository:
``python bids_fixtures/sources/make_sources.py SHARED_DATA_DIR``.
"""

import argparse
import gzip
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

N_TRACES = 24
Z_STEP = 0.01
"""Resolution (z units) at which the maps are stored as int16."""


def block_sum(volume: npt.NDArray[Any]) -> FloatArray:
    """Add up blocks of 2 x 2 x 2 voxels, after padding odd axes with zeros.

    Parameters
    ----------
    volume : array of shape (x, y, z, n)

    Returns
    -------
    array of shape (ceil(x / 2), ceil(y / 2), ceil(z / 2), n)
    """
    padded = np.pad(volume, [(0, size % 2) for size in volume.shape[:3]] + [(0, 0)])
    x, y, z, n = padded.shape
    blocks = padded.reshape(x // 2, 2, y // 2, 2, z // 2, 2, n)
    return np.asarray(blocks.sum(axis=(1, 3, 5)), dtype=np.float64)


def halve_resolution(maps: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Average maps over the brain voxels of each 2 x 2 x 2 block.

    Returns
    -------
    maps : array of shape (x, y, z, n), zero outside the mask
    mask : boolean array of shape (x, y, z); at least half of the block is brain
    """
    n_brain = block_sum(np.any(maps != 0, axis=3, keepdims=True))
    mask = n_brain[..., 0] >= 4
    means = block_sum(maps) / np.maximum(n_brain, 1)
    return means * mask[..., np.newaxis], mask


def coarse_affine(affine: FloatArray) -> FloatArray:
    """Affine (voxel to mm) of the grid whose voxels are blocks of 2 x 2 x 2 old ones."""
    block_to_voxel = np.diag([2.0, 2.0, 2.0, 1.0])
    block_to_voxel[:3, 3] = 0.5
    return affine @ block_to_voxel


def write_image(path: Path, stored: npt.NDArray[Any], affine: FloatArray, slope: float) -> None:
    """Write integers with a scale factor; the gzip header holds neither time nor name."""
    image: Any = nib.Nifti1Image(stored, affine)
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=4)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, 0.0)
    path.write_bytes(gzip.compress(image.to_bytes(), 9, mtime=0))


def write_maps(data_dir: Path, out_dir: Path) -> None:
    """Write the 32 ABIDE maps and their brain mask on the 8 mm grid."""
    source: Any = nib.load(data_dir / "abide_ica32" / "melodic_IC32_4mm.nii.gz")
    maps, mask = halve_resolution(source.get_fdata())
    affine = coarse_affine(source.affine)
    stored = np.rint(maps / Z_STEP).astype(np.int16)
    write_image(out_dir / "abide_ica32_8mm.nii.gz", stored, affine, Z_STEP)
    write_image(out_dir / "brain_mask_8mm.nii.gz", mask.astype(np.uint8), affine, 1.0)


def write_traces(data_dir: Path, out_dir: Path) -> None:
    """Write framewise displacement of scans evenly spread over the ranks of mean motion."""
    lines = (data_dir / "framewise_displacement.tsv").read_text().splitlines()
    header, rows = lines[0], sorted(lines[1:], key=lambda line: float(line.split("\t")[1]))
    kept = [rows[rank] for rank in np.linspace(0, len(rows) - 1, N_TRACES).round().astype(int)]
    text = "\n".join([header, *kept]) + "\n"
    (out_dir / "framewise_displacement.tsv").write_text(text, encoding="utf-8")


def main() -> None:
    """Read the command line and write every source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared_data_dir", type=Path)
    data_dir = parser.parse_args().shared_data_dir
    out_dir = Path(__file__).parent
    write_maps(data_dir, out_dir)
    write_traces(data_dir, out_dir)
    # copyfile, not copy: the originals may be read-only and the copies should not be.
    labels = data_dir / "abide_ica32" / "melodic_IC_labels.tsv"
    shutil.copyfile(labels, out_dir / "abide_ica32_labels.tsv")


if __name__ == "__main__":
    main()
