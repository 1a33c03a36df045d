"""Networks on surfaces are found, in grayordinates and in pairs of GIFTI files."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import surfaces
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from support import FIXTURES, SHARED, nidecomp, results

# A generator of runs that lies beside the repository where it is developed, with what it plants.
GENERATOR = SHARED.parent / "surfaces" / "make_surface_runs.py"
SPACES = {"cifti": "fsLR", "gifti": "fsaverage3"}


def maps_of(folder: Path, kind: str, method: str) -> NDArray[np.float64]:
    """Return the maps of an output folder, (n_maps, n_places), read with nibabel alone."""

    def read(pattern: str) -> Any:
        (path,) = folder.glob(f"tpl-{SPACES[kind]}/func/*{pattern}")
        return nib.load(path)

    name = f"_seg-{method}_scale-*_components"
    if kind == "cifti":
        return np.asarray(read(f"{name}.dscalar.nii").get_fdata())
    sides = [read(f"_hemi-{hemi}_*{name}.func.gii") for hemi in "LR"]
    return np.concatenate([[array.data for array in side.darrays] for side in sides], axis=1)


def truth(kind: str) -> NDArray[np.float64]:
    _, maps = surfaces.planted()
    if kind == "cifti":
        _, chosen = surfaces.brain_models()
        return maps[chosen].T
    wall = np.concatenate([surfaces.medial_wall(hemi) for hemi in "LR"])
    return np.where(wall, 0, maps[: len(wall)].T)


def matched(found: NDArray[np.float64], planted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |r| of each planted map with the map that is matched to it."""
    shared = np.abs(np.corrcoef(found, planted)[: len(found), len(found) :])
    return np.asarray(shared[linear_sum_assignment(-shared)])


@pytest.mark.parametrize("kind", SPACES)
def test_planted_networks_are_found(tmp_path: Path, kind: str) -> None:
    words = ("--space", SPACES[kind], "--n-components", "10", "--level", "minimal")
    done = nidecomp(FIXTURES / "surfaces", tmp_path / "out", "group", *words)
    assert done.exit_code == 0, done.stderr
    for method in ("canica", "dictlearning"):
        r = matched(maps_of(tmp_path / "out", kind, method), truth(kind))
        assert np.median(r) >= 0.9, (method, r)


def generated(root: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.float64]:
    """Write runs of grayordinates; return the networks in them at the vertices of the cortex."""
    words = ["", str(root), "--level", "4", "--participants", "8", "--volumes", "120"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr("nibabel.save", _but_gifti)
    made = runpy.run_path(str(GENERATOR))
    made["main"]()
    planted = np.load(GENERATOR.with_name("networks_fsaverage5.npz"))
    cortex = {hemi: ~made["medial_wall"](hemi, 4) for hemi in "LR"}
    return np.concatenate([planted[h][: len(cortex[h])][cortex[h]] for h in "LR"]).T.astype(float)


def _but_gifti(image: Any, path: Path, save: Any = nib.save) -> None:
    """Save an image unless it is half of a pair, which takes longest and is not read."""
    if not isinstance(image, nib.GiftiImage):
        save(image, path)


def shrunk(maps: NDArray[np.float64], support: float) -> NDArray[np.float64]:
    """Return what an L1 penalty leaves of maps: nearer to 0, and not 0 in this share of each."""
    least = np.quantile(np.abs(maps), 1 - support, axis=1, keepdims=True)
    return np.sign(maps) * np.maximum(np.abs(maps) - least, 0)


@pytest.mark.skipif(not GENERATOR.exists(), reason="the generator is not there")
def test_sparse_maps_are_what_a_penalty_leaves_of_the_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the default support, and nearly the networks themselves with a larger one."""
    networks = generated(tmp_path / "in", monkeypatch)
    words = ("--space", "fsLR", "--n-components", "14", "--level", "minimal",
             "--work-dir", tmp_path / "work")  # fmt: skip
    larger = ("--methods", "dictlearning", "--map-support", "0.5")
    for output, more in (("default", ()), ("larger", larger)):
        done = nidecomp(tmp_path / "in", tmp_path / output, "group", *words, *more)
        assert done.exit_code == 0, done.stderr

    def median_r(output: str, method: str, planted: NDArray[np.float64]) -> float:
        found = maps_of(tmp_path / output, "cifti", method)[:, : planted.shape[1]]
        return float(np.median(matched(found, planted)))

    assert median_r("default", "canica", networks) >= 0.9
    assert median_r("default", "dictlearning", shrunk(networks, 0.15)) >= 0.9
    assert median_r("larger", "dictlearning", networks) >= 0.9


# What is said of a run, by dataset; nothing is wrong with the others.
SAID = {
    "surface_traits": {
        "sub-06": "used, 3.4 % of the group mask has no signal in it",
        "sub-07": "refused, its right hemisphere is missing",
        "sub-08": "refused, its hemispheres differ: the left one has 16 volumes, the right one 11",
        "sub-09": "refused, hemi-R_space-fsaverage3_bold.func.gii says that it is CortexLeft",
        "sub-10": "refused, fMRIPrep before 20.2.1 wrote no sidecars for them",
    },
    "grayordinate_traits": {
        "sub-03": "used, (fMRIPrep 23.1.4 changed the order of voxels)",
        "sub-04": "used, the repetition time was read from the header",
        "sub-05": "refused, volumes are 3 s apart in the file itself (SeriesStep)",
        "sub-06": "used, % of the group mask has no signal in it",
        "sub-07": "refused, its voxels below the cortex lie between those of the other runs",
    },
}


@pytest.mark.parametrize("name", SAID)
def test_every_trait_ends_in_its_sentence(tmp_path: Path, name: str) -> None:
    space = "fsaverage3" if name == "surface_traits" else "fsLR"
    words = ("--space", space, "--n-components", "3", "--denoise-strategy", "none", "--dry-run")
    done = nidecomp(FIXTURES / name, tmp_path / "out", "group", *words)
    lines = [line for line in done.stdout.splitlines() if line.startswith("sub-")]
    assert len(lines) == (10 if name == "surface_traits" else 7)
    for line in lines:
        run, status, *_ = line.split()
        wanted, _, sentence = SAID[name].get(run.partition("_")[0], "used, TR 2 s").partition(", ")
        assert status == wanted, line
        assert sentence in line
        if run.partition("_")[0] not in SAID[name]:
            assert re.search(r"mean FD [0-9.]+ mm$", line.rstrip()), line


def test_processes_jobs_and_images_that_were_removed_change_no_byte(tmp_path: Path) -> None:
    """Where each run has a signal is kept: a job finds what others have found of all runs."""
    kind = "cifti"
    root = tmp_path / "in"
    shutil.copytree(FIXTURES / "surfaces", root)
    options = ("--space", SPACES[kind], "--n-components", "3", "--n-init", "2",
               "--level", "minimal", "--methods", "canica")  # fmt: skip

    def run(output: str, *words: str) -> None:
        done = nidecomp(root, tmp_path / output, *words, *options)
        assert done.exit_code == 0, done.stderr

    run("one", "group", "--nprocs", "1")
    for subject in ("02", "05"):
        run("jobs", "participant", "--participant-label", subject)
    run("jobs", "group", "--nprocs", "2")
    assert results(tmp_path / "one") == results(tmp_path / "jobs")
    for path in root.glob("sub-03/func/*_bold.*"):
        if path.name.endswith((".func.gii", ".dtseries.nii")):
            path.unlink()
    run("gone", "group", "--work-dir", str(tmp_path / "jobs" / "work"))
    before, after = (maps_of(tmp_path / name, kind, "canica") for name in ("one", "gone"))
    np.testing.assert_array_equal(before, after)


# Names of columns are the same for all spaces.
NAMES = re.compile(r"\b(mask|n_nonfinite|n_constant)_voxels\b")
OF_VOLUMES = re.compile(r".*(?:voxel|brain masks of|in the image|volume per component).*", re.I)


def test_files_about_surfaces_do_not_speak_of_voxels(tmp_path: Path) -> None:
    words = "--space fsaverage3 --n-components 3 --n-splits 1 --methods canica --participant-maps"
    some = ("--participant-label", "01", "02", "03")
    done = nidecomp(FIXTURES / "surfaces", tmp_path / "out", "group", *words.split(), *some)
    assert done.exit_code == 0, done.stderr
    texts = [
        path
        for path in (tmp_path / "out").rglob("*")
        if path.suffix in (".json", ".md", ".tsv") and "work" not in path.parts
    ]
    assert {"README.md", "inventory.json", "CITATION.md"} <= {path.name for path in texts}
    said = {
        (path.name, line.strip())
        for path in texts
        for line in OF_VOLUMES.findall(NAMES.sub("", path.read_text()))
    }
    assert not said
    (mask,) = (tmp_path / "out").glob("tpl-*/anat/*_desc-brain_dseg.json")
    assert "vertices with signal in at least 0.5 of the participants" in mask.read_text()
    (named,) = re.findall(r"anat/(\*_desc-brain\S*)`", (mask.parents[2] / "README.md").read_text())
    assert list(mask.parent.glob(named))
