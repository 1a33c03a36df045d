"""What holds for volumes holds for grayordinates and pairs of GIFTI files, too."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support import FIXTURES, nidecomp, results, server, snapshot, validator_issues

from nidecomp.core.hemispheres import files_of

SPACES = {"cifti": "fsLR", "gifti": "fsaverage3"}
N_DUMMY = 2
FIT = ("--n-components", "3", "--n-init", "2", "--methods", "canica", "--n-splits", "1",
       "--dummy-scans", str(N_DUMMY))  # fmt: skip
OF_RUNS = ("--participant-maps", "--regress-out", "canica01")


@dataclass(frozen=True)
class Study:
    """Two participants with two runs each, and their results."""

    kind: str
    source: Path
    output: Path

    def words(self, output: Path, *more: str, level: str = "group") -> tuple[object, ...]:
        return (self.source, output, level, "--space", SPACES[self.kind], *FIT, *more)

    def one(self, pattern: str) -> Path:
        """Return the one file of the results, the left one of a pair."""
        (path,) = (path for path in self.output.glob(pattern) if "_hemi-R_" not in path.name)
        return path


@pytest.fixture(scope="module", params=SPACES)
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp(request.param)
    made = Study(request.param, root / "in", root / "out")
    made.source.mkdir()
    shutil.copy(FIXTURES / "surfaces" / "dataset_description.json", made.source)
    for label, (sub, run) in {
        "01": ("01", 1), "02": ("01", 2), "03": ("02", 1), "04": ("02", 2)
    }.items():  # fmt: skip
        for path in (FIXTURES / "surfaces" / f"sub-{label}").rglob("*_*"):
            name = path.name.replace(f"sub-{label}_task-rest", f"sub-{sub}_task-rest_run-{run}")
            target = made.source / f"sub-{sub}" / "func" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    done = nidecomp(*made.words(made.output, *OF_RUNS))
    assert done.exit_code == 0, done.stderr
    return made


def test_the_tree_is_valid(study: Study) -> None:
    assert validator_issues(study.output) == []


def test_jobs_and_a_kill_change_no_byte(study: Study, tmp_path: Path) -> None:
    if study.kind == "cifti":
        pytest.skip("pairs have more that can go wrong")
    output = tmp_path / "out"
    job = nidecomp(*study.words(output, *OF_RUNS, "--participant-label", "02", level="participant"))
    assert job.exit_code == 0, job.stderr
    where = str(output / "work" / "reduced")
    fault = {"event": "rename", "number": 2, "does": "kill", "only": where}
    killed = server().run(
        *map(str, study.words(output, *OF_RUNS, "--nprocs", "1", "--no-report")), fault=fault
    )
    assert killed.code == -signal.SIGKILL
    kept = _reduced(output)
    assert len(kept) == 3
    of_other_smoothing = output / "work" / "kernels" / f"{'0' * 20}_fwhm-5_01234567_weights.npy"
    of_other_smoothing.touch()

    done = nidecomp(*study.words(output, *OF_RUNS, "--nprocs", "1"))
    assert done.exit_code == 0, done.stderr
    assert _but_links(results(output)) == _but_links(results(study.output))
    assert kept.items() <= _reduced(output).items()
    assert not of_other_smoothing.exists()
    again = nidecomp(*study.words(output, *OF_RUNS))
    assert again.exit_code == 0
    assert "nothing is made again" in again.stderr


def _but_links(hashes: dict[str, str]) -> dict[str, str]:
    """Leave out what says where the input lies relative to the output."""
    links = ("dataset_description.json", "logs/manifest")
    return {name: value for name, value in hashes.items() if not name.startswith(links)}


def _reduced(output: Path) -> dict[str, tuple[int, int]]:
    """Return the reduced runs that are whole, with their sizes and times."""
    files = snapshot(output / "work" / "reduced").items()
    return {name: state for name, state in files if not name.startswith(".")}


def _series(path: Path) -> np.ndarray:
    """Return the volumes of an image, (n_volumes, n_numbers), read with nibabel."""
    images = [nib.load(file) for file in files_of(path)]
    if path.name.endswith(".dtseries.nii"):
        return np.asarray(images[0].get_fdata(dtype=np.float32))
    return np.concatenate([[one.data for one in image.darrays] for image in images], axis=1)


def test_an_image_without_a_component_is_otherwise_the_image_that_was_read(study: Study) -> None:
    denoised = study.one("sub-02/func/*_run-2_*aggr_bold.*i*")
    (source,) = (
        (
            path
            for path in study.source.glob(f"sub-02/func/*_run-2_*{SPACES[study.kind]}*_bold.*i*")
            if "_hemi-R_" not in path.name
        )
        if study.kind == "gifti"
        else study.source.glob("sub-02/func/*_run-2_*_bold.dtseries.nii")
    )
    before, after = _series(source), _series(denoised)
    # Dropped volumes have no time courses.
    np.testing.assert_array_equal(after[:N_DUMMY], before[:N_DUMMY])
    assert np.abs(after[N_DUMMY:] - before[N_DUMMY:]).max() > 0.1
    np.testing.assert_allclose(
        after[N_DUMMY:].mean(axis=0), before[N_DUMMY:].mean(axis=0), rtol=1e-4, atol=1e-3
    )
    for old, new in zip(files_of(source), files_of(denoised), strict=True):
        one, other = nib.load(old), nib.load(new)
        if study.kind == "cifti":
            for axis in range(2):
                assert one.header.get_axis(axis) == other.header.get_axis(axis)
        else:
            assert dict(one.meta) == dict(other.meta)
            assert [dict(array.meta) for array in one.darrays] == [
                dict(array.meta) for array in other.darrays
            ]


def test_what_describes_a_run_names_all_of_its_files(study: Study) -> None:
    n_files = 2 if study.kind == "gifti" else 1
    denoised = study.one("sub-02/func/*_run-2_*aggr_bold.json")
    assert len(json.loads(denoised.read_text())["Sources"]) == n_files
    combined = study.one("sub-01/func/*_stat-z_desc-fixedeffects_components.json")
    about = json.loads(combined.read_text())
    assert len(about["Sources"]) == 2 * n_files
    assert about["CombinedRuns"] == ["sub-01_task-rest_run-1", "sub-01_task-rest_run-2"]
    feature = {"cifti": "grayordinate", "gifti": "vertex"}[study.kind]
    assert about["NoiseModel"].startswith(f"AR(1) in each {feature};")
    assert "voxel" not in combined.read_text()


def test_fixed_effects_are_written_for_all_of_a_participant(study: Study) -> None:
    extension = {"cifti": ".dscalar.nii", "gifti": ".func.gii"}[study.kind]
    for stat in ("effect", "z"):
        path = study.one(f"sub-01/func/*_stat-{stat}_desc-fixedeffects_components{extension}")
        for file in files_of(path):
            assert np.isfinite(nib.load(file).get_fdata() if extension == ".dscalar.nii" else
                               np.array(nib.load(file).agg_data())).all()  # fmt: skip


def test_a_hemisphere_that_was_removed_after_reducing_is_not_needed(
    study: Study, tmp_path: Path
) -> None:
    if study.kind == "cifti":
        pytest.skip("it is one file")
    dataset = shutil.copytree(study.source, tmp_path / "in")
    _, _, _, *options = study.words(tmp_path, "--level", "minimal")
    first = nidecomp(dataset, tmp_path / "out", "participant", *options)
    assert first.exit_code == 0, first.stderr
    # The right one is not listed, the left one is looked for.
    for gone in ("sub-01_task-rest_run-1_hemi-L", "sub-02_task-rest_run-1_hemi-R"):
        next(dataset.rglob(f"{gone}_*.func.gii")).unlink()
    done = nidecomp(dataset, tmp_path / "out", "group", *options)
    assert done.exit_code == 0, done.stderr
    assert "Found 4 runs, 4 of them usable" in done.stderr
    runs = "2 runs (sub-01_task-rest_run-1, sub-02_task-rest_run-1)"
    assert f"{runs}: its image is not there any more" in done.stderr


def test_work_folders_of_sites_give_the_maps_of_all_images(study: Study, tmp_path: Path) -> None:
    if study.kind == "gifti":
        pytest.skip("reduced runs are the same for both kinds")
    mask = study.one("tpl-*/anat/*_desc-brain_dseg.*i*")
    common = ("--mask", str(mask), "--level", "minimal")
    for label in ("01", "02"):
        words = study.words(tmp_path / "site", *common, "--work-dir", str(tmp_path / label),
                            "--participant-label", label, level="participant")  # fmt: skip
        done = nidecomp(*words)
        assert done.exit_code == 0, done.stderr
    _, *words = study.words(tmp_path / "all", *common, "--datasets", f"B={tmp_path / '02'}")
    done = nidecomp(tmp_path / "01", *words)
    assert done.exit_code == 0, done.stderr
    whole = study.one("tpl-*/func/*_scale-3_den-91k_components.dscalar.nii")
    own, all_maps = (
        nib.load(path).get_fdata()
        for path in (tmp_path / "all" / whole.relative_to(study.output), whole)
    )
    # The minimal level has no splits to order maps by.
    np.testing.assert_array_equal(np.sort(own, axis=0), np.sort(all_maps, axis=0))


def test_what_holds_no_maps_of_the_features_is_refused(study: Study, tmp_path: Path) -> None:
    volume = next((FIXTURES / "rest").rglob("*_bold.nii.gz"))
    says = {
        volume: {
            "cifti": "is a volume and has no values on the cortex",
            "gifti": "is a volume and has no values on the cortex",
        }
    }
    if study.kind == "cifti":
        run = next(study.source.rglob("*.dtseries.nii"))
        says[run] = {"cifti": "is the series of a run and holds no maps"}
    for path, sentence in says.items():
        words = (*study.words(tmp_path / "out")[:5], "--maps", path)
        done = nidecomp(*words)
        assert done.exit_code == 2
        assert sentence[study.kind] in done.stderr
        assert "Traceback" not in done.stderr
