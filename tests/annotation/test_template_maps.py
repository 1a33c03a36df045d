"""Template maps from the results of another analysis, in one file or a pair."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from grayordinate_examples import cifti_space, gifti_space

from nidecomp.annotation.template_maps import read_template_maps
from nidecomp.core.errors import UsageError

NAMES = ("canica1", "canica2")
STEM = "tpl-fsaverage3_task-rest_atlas-NiDecomp_seg-canica_scale-2"


def results(folder: Path, space, maps, stem: str = STEM) -> Path:
    """The files that `read_template_maps` needs, and others beside them."""
    func = folder / "tpl-fsaverage3" / "func"
    func.mkdir(parents=True, exist_ok=True)
    described = {"Method": "canica", "NumberOfComponents": len(maps)}
    (func / f"{stem}_decomposition.json").write_text(json.dumps(described))
    den = "" if space.den is None else f"_den-{space.den}"
    sidecar = func / f"{stem}{den}_components.json"
    sidecar.write_text(json.dumps({"ComponentNames": NAMES[: len(maps)]}))
    for hemi in space.hemispheres:
        named = stem if hemi is None else stem.replace("_atlas", f"_hemi-{hemi}_atlas")
        end = f"components{space.extensions.maps}"
        (func / f"{named}{den}_{end}").write_bytes(space.encode(maps, hemi=hemi))
        (func / f"{named}{den}_desc-thresholded_{end}").write_bytes(b"not this one")
    return folder


@pytest.mark.parametrize("space_of", [cifti_space, gifti_space])
def test_results_are_read_back(space_of, tmp_path: Path) -> None:
    space = space_of()
    maps = np.random.default_rng(0).standard_normal((2, space.n_features)).astype(np.float32)
    results(tmp_path, space, maps)
    # One whose name begins in the same way is not the same.
    results(tmp_path, space, maps[:1], f"{STEM}0")
    both = read_template_maps(tmp_path, space)
    assert [one.n_components for one in both] == [1, 2]
    found = both[1]
    assert (found.method, found.names) == ("canica", NAMES)
    scaled = maps / np.sqrt(np.mean(maps.astype(float) ** 2, axis=1, keepdims=True))
    np.testing.assert_allclose(found.maps, scaled, rtol=1e-5)


@pytest.mark.parametrize(
    ("made", "wanted", "said"),
    [
        (cifti_space, gifti_space, r"\.dscalar\.nii files, and those of the runs are \.func\.gii"),
        (gifti_space, cifti_space, r"\.func\.gii files, and those of the runs are \.dscalar\.nii"),
    ],
)
def test_maps_in_another_format_are_refused_for_that(made, wanted, said, tmp_path: Path) -> None:
    space = made()
    maps = np.random.default_rng(0).standard_normal((2, space.n_features)).astype(np.float32)
    results(tmp_path, space, maps)
    with pytest.raises(UsageError, match=f"func holds maps in {said}: give one of these files"):
        read_template_maps(tmp_path, wanted())
    (file, *_) = sorted(tmp_path.glob(f"**/*scale-2*_components{space.extensions.maps}"))
    (given,) = read_template_maps(file, wanted())
    assert given.n_components == 2


def test_a_missing_hemisphere_is_said(tmp_path: Path) -> None:
    space = gifti_space()
    results(tmp_path, space, np.ones((2, space.n_features)))
    (right,) = tmp_path.glob("**/*hemi-R*scale-2_components.func.gii")
    right.unlink()
    with pytest.raises(UsageError, match=r"is not complete .the file of the right hemisphere is"):
        read_template_maps(tmp_path, space)
