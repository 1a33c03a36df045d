"""``--maps``: former results and atlases are projected to runs, in one go or by many jobs."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.image import resample_img
from numpy.typing import NDArray
from support import FIXTURES, group_file, nidecomp, results, validator_issues

REST = FIXTURES / "rest"
METHODS = ("canica", "dictlearning")
CONNECTOMES = ("--connectomes", "correlation", "partial", "tangent")


@pytest.fixture(scope="module")
def projected(rest_output: Path) -> Path:
    """The demo's runs projected to the demo's results."""
    output = rest_output.with_name("projected")
    words = (REST, output, "group", "--maps", rest_output, *CONNECTOMES, "--nprocs", "2")
    done = nidecomp(*words)
    assert done.exit_code == 0, done.stderr
    return output


def read_courses(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    return header, np.array([[float(cell.replace("n/a", "nan")) for cell in row] for row in rows])


def courses_of(output: Path, run: str, method: str) -> tuple[list[str], NDArray[np.float64]]:
    (path,) = output.glob(f"sub-*/**/{run}_space-*_seg-{method}_*_timeseries.tsv")
    return read_courses(path)


# ---------------------------------------------------------------- former results
@pytest.mark.parametrize("method", METHODS)
def test_results_projected_to_their_own_runs_give_what_was_there(
    rest_output: Path, projected: Path, method: str
) -> None:
    for path in rest_output.glob(f"sub-*/**/*_seg-{method}_*_timeseries.tsv"):
        again = projected / path.relative_to(rest_output)
        (names, before), (names_again, after) = read_courses(path), read_courses(again)
        assert names == names_again
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)
    for stat in ("pearsoncorrelation", "partialcorrelation"):
        name = next(rest_output.glob(f"tpl-*/func/*_seg-{method}_*_stat-{stat}_relmat.tsv"))
        assert (projected / name.relative_to(rest_output)).exists()


def test_nothing_is_fitted_and_the_tree_is_valid(projected: Path) -> None:
    assert validator_issues(projected) == []
    assert not list(projected.glob("tpl-*/func/*_decomposition.json"))
    assert not (projected / "work" / "reduced").exists()
    participants = (projected / "participants.tsv").read_text(encoding="utf-8").splitlines()
    assert all("\tprojected\t" in line for line in participants[1:])
    sidecar = json.loads(group_file(projected, "canica", "components", ".json").read_text())
    assert sidecar["ComponentNames"][0] == "canica01"


def test_jobs_of_participants_and_a_group_run_give_what_one_run_gives(
    rest_output: Path, projected: Path, tmp_path: Path
) -> None:
    output, work = projected.with_name("by_jobs"), tmp_path / "work"
    jobs = [("01", "02"), ("03", "04"), ("05", "06"), ("07", "08")]

    def job(labels: tuple[str, ...]) -> str:
        done = nidecomp(
            REST, output, "participant", "--maps", rest_output, "--work-dir", work,
            "--participant-label", *labels, *CONNECTOMES, "--nprocs", "1",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        return done.stderr

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(job, jobs))
    assert validator_issues(output) == []
    found, wanted = results(output), results(projected)
    # With what JSON files at the root say of them.
    of_participants = {name for name in wanted if name.startswith(("sub-", "space-", "outliers"))}
    missing = {name for name in of_participants if "tangent" in name}
    assert of_participants - set(found) == missing
    assert not list(output.glob("tpl-*/func/*_relmat.tsv"))
    for name in (of_participants - missing) | {"logs/settings.toml", "dataset_description.json"}:
        assert found[name] == wanted[name], name
    manifests = {path.name for path in (output / "logs").glob("manifest_*.tsv")}
    assert manifests == {f"manifest_sub-{first}+1.tsv" for first, _ in jobs}

    words = (REST, output, "group", "--maps", rest_output, *CONNECTOMES, "--work-dir", work)
    done = nidecomp(*words)
    assert done.exit_code == 0, done.stderr
    found = {name: digest for name, digest in results(output).items() if "manifest_" not in name}
    assert found == wanted


def test_participants_that_were_not_fitted_get_their_time_courses(tmp_path: Path) -> None:
    options = ("--n-components", "2", "--methods", "canica", "--level", "minimal")
    fitted = nidecomp(
        REST, tmp_path / "fit", "group", *options, "--exclude-participant-label", "07", "08"
    )
    assert fitted.exit_code == 0, fitted.stderr
    done = nidecomp(
        REST, tmp_path / "new", "group", "--maps", tmp_path / "fit", "--participant-maps",
        "--participant-label", "07", "08", report=True,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in (tmp_path / "new").glob("sub-*")} == {"sub-07", "sub-08"}
    assert len(list((tmp_path / "new").glob("sub-*/func/*_stat-z_components.nii.gz"))) == 2
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "CanICA (given), 2 components" in page
    assert "runs were projected to 2 template maps (" in page
    assert page.count("data:image/webp") == 2, "a tile for each map"
    assert (tmp_path / "new" / "figures" / "overview_seg-canica_scale-2.png").is_file()


# ---------------------------------------------------------------- atlases
def finer_atlas(rest_output: Path, folder: Path, *, labels: bool) -> Path:
    """The demo's first five networks at 6 mm, as an atlas that somebody else made."""
    image = nib.load(group_file(rest_output, "canica", "components", ".nii.gz"))
    five = image.slicer[..., :5]
    if labels:
        data = np.asarray(five.dataobj)
        hard = np.where(data.max(axis=-1) > 2, data.argmax(axis=-1) + 1, 0).astype(np.int16)
        five = nib.Nifti1Image(hard, image.affine)
    finer = resample_img(
        five,
        target_affine=np.diag([6.0, 6, 6]),
        interpolation="nearest" if labels else "linear",
        copy_header=True,
        force_resample=True,
    )
    path = folder / "Mine.nii.gz"
    nib.save(finer, path)
    return path


@pytest.mark.parametrize("labels", [False, True])
def test_an_atlas_on_another_grid_is_brought_to_the_runs(
    rest_output: Path, tmp_path: Path, labels: bool
) -> None:
    atlas = finer_atlas(rest_output, tmp_path, labels=labels)
    names = ["Visual", "Visual", "Motor (L)", "d", "e"]
    rows = [f"{index}\t{name}" for index, name in enumerate(names, start=1)]
    (tmp_path / "Mine.tsv").write_text("\n".join(["index\tname", *rows]) + "\n", encoding="utf-8")
    output = tmp_path / "out"
    done = nidecomp(
        REST, output, "participant", "--maps", atlas, "--participant-label", "01",
        "--atlas-label", "Mine",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert validator_issues(output) == []
    names_found, found = courses_of(output, "sub-01_task-rest", "given")
    assert names_found == ["Visual_1", "Visual_2", "Motor (L)", "d", "e"]
    _, fitted = courses_of(rest_output, "sub-01_task-rest", "canica")
    r = [np.corrcoef(found[:, index], fitted[:, index])[0, 1] for index in range(5)]
    assert min(r) > (0.5 if labels else 0.8)


# ---------------------------------------------------------------- mistakes
def test_mistakes_get_a_sentence(rest_output: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4)), tmp_path / "zero.nii")
    (tmp_path / "text.nii.gz").write_text("no image")
    wrong = [
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "empty", "has no decomposition"),
        (tmp_path / "zero.nii", "is 0 in every voxel of the brain mask"),
        (tmp_path / "text.nii.gz", "give a NIfTI file"),
    ]
    for path, says in wrong:
        done = nidecomp(REST, tmp_path / "out", "group", "--maps", path)
        assert done.exit_code == 2, done.stderr
        assert "--maps" in done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("sub-*"))


def test_maps_of_another_space_are_refused(rest_output: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "results" / "tpl-MNI152NLin6Asym" / "func"
    elsewhere.mkdir(parents=True)
    source = group_file(rest_output, "canica", "decomposition", ".json")
    name = source.name.replace("MNI152NLin2009cAsym", "MNI152NLin6Asym")
    (elsewhere / name).write_bytes(source.read_bytes())
    done = nidecomp(REST, tmp_path / "out", "group", "--maps", tmp_path / "results")
    assert done.exit_code == 2
    assert "in the space MNI152NLin6Asym, and the runs are in MNI152NLin2009cAsym" in done.stderr


def test_another_request_into_the_same_folder_is_refused(
    rest_output: Path, projected: Path
) -> None:
    done = nidecomp(REST, projected, "group", "--maps", rest_output, "--smoothing-fwhm", "4")
    assert done.exit_code == 2
    assert "smoothing_fwhm was 6.0 and is 4.0" in done.stderr
    done = nidecomp(REST, rest_output, "group", "--maps", projected)
    assert done.exit_code == 2
    assert "maps was 'not set' and is" in done.stderr
