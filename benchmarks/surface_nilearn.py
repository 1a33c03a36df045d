"""Compare CanICA on surfaces with nilearn's: ``surface_nilearn.py DATA --components 14``.

DATA is what ``make_surfaces.py DATA --runs 10 --volumes 250 --pairs --no-cifti`` wrote. Both get
the same standardised series of fsaverage5: nilearn through its `MultiSurfaceMasker`, NiDecomp those
that this masker gives, without smoothing, with nilearn's weighting (``--pca-weighting unit``).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.decomposition import CanICA
from nilearn.maskers import MultiSurfaceMasker
from nilearn.surface import InMemoryMesh, PolyMesh, SurfaceImage
from scipy.linalg import subspace_angles
from scipy.optimize import linear_sum_assignment

import nidecomp
from nidecomp.core.hemispheres import HEMISPHERES, of_hemisphere
from nidecomp.spaces.meshes import template_mesh

SIDES = {"L": "left", "R": "right"}


def main() -> None:
    """Print how similar the maps are, and how long both took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--components", type=int, default=14)
    options = parser.parse_args()
    n = options.components
    meshes = {hemi: template_mesh("fsaverage5", 10242, hemi) for hemi in HEMISPHERES}
    surface = PolyMesh(
        **{SIDES[h]: InMemoryMesh(one.coordinates, one.faces) for h, one in meshes.items()}
    )
    mask = SurfaceImage(surface, {SIDES[h]: ~one.wall for h, one in meshes.items()})
    images = []
    for left in sorted(options.data.glob("sub-*/func/*_hemi-L_space-fsaverage5_bold.func.gii")):
        data = {
            SIDES[hemi]: np.column_stack(
                [one.data for one in nib.load(of_hemisphere(left, hemi)).darrays]
            )
            for hemi in HEMISPHERES
        }
        images.append(SurfaceImage(surface, data))
    masker = MultiSurfaceMasker(mask_img=mask, standardize="zscore_sample")
    start = time.perf_counter()
    theirs = CanICA(
        n_components=n, mask=masker, smoothing_fwhm=None, standardize="zscore_sample",
        threshold=None, n_init=10, random_state=0,
    ).fit(images)  # fmt: skip
    of_nilearn = time.perf_counter() - start
    series = [np.asarray(theirs.masker_.transform(one), dtype=np.float32) for one in images]
    start = time.perf_counter()
    ours = nidecomp.CanICA(n_components=n, pca_weighting="unit", random_state=0).fit(series)
    own = time.perf_counter() - start
    parts = theirs.components_img_.data.parts
    maps = np.concatenate([parts[SIDES[h]][~meshes[h].wall] for h in HEMISPHERES]).T
    r = np.abs(np.corrcoef(maps, ours.components_)[:n, n:])
    matched = np.sort(r[linear_sum_assignment(-r)])
    angle = np.rad2deg(subspace_angles(maps.T, ours.components_.T)).max()
    print(f"{len(images)} runs, {n} components: nilearn {of_nilearn:.1f} s, NiDecomp {own:.1f} s")
    print(f"median |r| {np.median(matched):.3f}, all: {matched.round(3).tolist()}")
    print(f"largest angle between the subspaces: {angle:.2f} degrees")


if __name__ == "__main__":
    main()
