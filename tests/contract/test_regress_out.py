"""``--regress-out``: images without the components chosen, and nothing else changed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from support import FIXTURES, nidecomp, validator_issues

REST = FIXTURES / "rest"
# Labels and images do not depend on how the reproducibility of maps is measured.
FAST = ("group", "--methods", "canica", "--n-splits", "1")
OPTIONS = (*FAST, "--n-components", "20")
RUN = "sub-01_task-rest"


@pytest.fixture(scope="module")
def output(rest_output: Path) -> Path:
    folder = rest_output.with_name("without")
    done = nidecomp(
        REST, folder, *OPTIONS, "--regress-out", "auditory", "canica01", "canica99",
        "--work-dir", rest_output / "work",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("no component has this name or label") == 1
    assert "--regress-out canica99: no component has this name or label" in done.stderr
    return folder


def denoised(output: Path, run: str = RUN) -> Path:
    (path,) = output.rglob(f"{run}_*_desc-canica20*aggr_bold.nii.gz")
    return path


def removed(output: Path) -> dict[str, str]:
    path = denoised(output)
    sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
    return json.loads(sidecar.read_text(encoding="utf-8"))["RemovedComponents"]


def courses(output: Path) -> tuple[list[str], NDArray[np.float64]]:
    (path,) = output.rglob(f"{RUN}_*_seg-canica_*_timeseries.tsv")
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    return header, np.array([[float(cell) for cell in row] for row in rows])


def source() -> nib.Nifti1Image:
    return nib.load(next(REST.rglob(f"{RUN}_*_desc-preproc_bold.nii.gz")))


def test_components_are_found_by_label_and_by_name(output: Path) -> None:
    found = removed(output)
    assert found["canica01"] == "named"
    assert sorted(found.values()) == ["label Auditory", "named"]


def test_the_tree_is_valid_and_every_run_has_its_image(output: Path) -> None:
    assert validator_issues(output) == []
    n_runs = len(list(REST.rglob("*_desc-preproc_bold.nii.gz")))
    assert len(list(output.rglob("*_desc-canica20nonaggr_bold.nii.gz"))) == n_runs


def test_what_the_components_explain_beside_the_others_is_gone_and_the_rest_is_there(
    output: Path,
) -> None:
    names, values = courses(output)
    before = np.asarray(source().dataobj, dtype=float).reshape(-1, len(values)).T
    image = nib.load(denoised(output))
    assert image.header.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.affine, source().affine)
    assert image.header.get_zooms() == source().header.get_zooms()
    after = np.asarray(image.dataobj, dtype=float).reshape(-1, len(values)).T
    inside = before.std(axis=0) > 0
    # With a constant, because the image has its mean.
    model = np.column_stack([values, np.ones(len(values))])
    was, now = (np.linalg.lstsq(model, data[:, inside])[0] for data in (before, after))
    gone = [names.index(name) for name in removed(output)]
    left = [index for index in range(len(was)) if index not in gone]
    scale = np.abs(was[gone]).mean()
    assert np.abs(now[gone]).mean() < 1e-3 * scale
    np.testing.assert_allclose(now[left], was[left], atol=2e-3 * np.abs(was[left]).max())
    np.testing.assert_allclose(after[:, ~inside], before[:, ~inside])


def test_aggressively_more_is_taken_out(output: Path, rest_output: Path, tmp_path: Path) -> None:
    done = nidecomp(
        REST, tmp_path / "out", *OPTIONS, "--regress-out", "canica01", "AUDITORY", "--aggressive",
        "--work-dir", rest_output / "work",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    path = denoised(tmp_path / "out")
    assert "_desc-canica20aggr_bold" in path.name
    assert removed(tmp_path / "out") == removed(output)
    before = np.asarray(source().dataobj, dtype=float)
    taken = [
        np.var(before - np.asarray(nib.load(one).dataobj, dtype=float))
        for one in (denoised(output), path)
    ]
    assert taken[1] > taken[0]


def test_where_nothing_is_flagged_no_image_is_written_and_it_is_said(
    rest_output: Path, tmp_path: Path
) -> None:
    done = nidecomp(
        REST, tmp_path / "out", *FAST, "--n-components", "5",
        "--regress-out", "flagged", "--work-dir", rest_output / "work",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "Regressing out 0 of 5 canica components: none" in done.stderr
    assert "template maps" not in done.stderr
    assert not list((tmp_path / "out").rglob("*_bold.nii.gz"))


def test_what_cannot_be_known_of_maps_that_were_given_is_said(
    rest_output: Path, tmp_path: Path
) -> None:
    done = nidecomp(
        REST, tmp_path / "out", "group", "--maps", rest_output, "--regress-out", "csf", "motion",
        "--participant-label", "01", "--work-dir", rest_output / "work",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "not those that depend on time courses and participants" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--regress-out", "Foo"), "--regress-out Foo: this is not a flag, a label or"),
        (("--regress-out", "flagged", "--level", "minimal"), "needs --level full"),
    ],
)
def test_mistakes_get_a_sentence(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = nidecomp(REST, tmp_path / "out", *OPTIONS, *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "work" / "reduced").exists()
