"""A user's mistake gets a sentence and an exit code, never a traceback."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support import FIXTURES, REPOSITORY, nidecomp, results

from nidecomp.core.atomic import exclusive_lock

SMALL = FIXTURES / "no_res"
MIXED = FIXTURES / "entity_mix"
# Two restarts: data of noise alone take each to its last iteration.
FAST = ("--n-components", "3", "--n-init", "2")
MINIMAL = ("--level", "minimal")


# Mistake: (words of the command, exit code, what is said). TMP is a fresh folder, OUT one in it.
NOT_FETCHED = next((FIXTURES / "not_fetched" / "sub-04" / "func").glob("*_mask.nii.gz"))
SMALL_GROUP = (SMALL, "OUT", "group", *FAST)
MISTAKES: dict[str, tuple[tuple[object, ...], int, str]] = {
    "no such input": (("TMP/nothing", "OUT", "group"), 2, "does not exist or is not a folder"),
    "an empty input": (("TMP", "OUT", "group"), 70, "fMRIPrep"),
    "output equal to the input": ((SMALL, SMALL, "group"), 2, "never modified"),
    "output inside the input": ((SMALL, SMALL / "out", "group"), 2, "never modified"),
    "work folder inside the input": ((*SMALL_GROUP, "-w", SMALL / "work"), 2, "--work-dir"),
    "database inside the input": (
        (*SMALL_GROUP, "--bids-database-dir", SMALL / "db"),
        2,
        "--bids-database-dir",
    ),
    "another space": ((*SMALL_GROUP, "--space", "T1w"), 70, "--space: MNI152NLin2009cAsym"),
    "another task": ((*SMALL_GROUP, "--task-id", "nback"), 70, "--task-id nback: "),
    "another participant": (
        (*SMALL_GROUP, "--participant-label", "99"),
        70,
        "--participant-label 99: ",
    ),
    "another participant in a job of its own": (
        (SMALL, "OUT", "participant", *FAST, "--participant-label", "01", "1"),
        70,
        "--participant-label 1: ",
    ),
    "a participant without such a run": (
        (MIXED, "OUT", "participant", *FAST, "--participant-label", "03", "--run-id", "1"),
        70,
        "--participant-label 03: no run matches the selection: sub-03: its BOLD images (3) do not "
        "match the selection: run is (none)",
    ),
    "a mask that was not fetched": (
        (*SMALL_GROUP, "--mask", NOT_FETCHED),
        2,
        "--mask: the content of the file was not fetched; try 'datalad get ",
    ),
    "a space as fMRIPrep takes it": (
        (*SMALL_GROUP, "--space", "MNI152NLin2009cAsym:res-2"),
        2,
        "must be the label of a space: use --space MNI152NLin2009cAsym --res 2",
    ),
    "another resolution": ((*SMALL_GROUP, "--res", "2"), 70, "--res: (none)"),
    "too many components": (
        (*SMALL_GROUP, "--n-components", "60"),
        70,
        "--n-components requires 60",
    ),
    "an unknown strategy": ((*SMALL_GROUP, "--denoise-strategy", "best"), 2, "simple"),
    "a strategy that the tables lack": (
        (*SMALL_GROUP, "--denoise-strategy", "compcor"),
        70,
        "strategies possible with this table",
    ),
    "a mask that is none": ((*SMALL_GROUP, "--mask", SMALL / "README"), 2, "--mask"),
    "too little memory": ((*SMALL_GROUP, "--mem-mb", "10"), 2, "--mem-mb 10 is not enough"),
    "an atlas that is not there": (
        (*SMALL_GROUP, "--label-atlas", "TMP/a.nii"),
        2,
        "does not exist",
    ),
    "an atlas that is none": (
        (*SMALL_GROUP, "--label-atlas", SMALL / "README"),
        2,
        "give a NIfTI file",
    ),
    "nobody left to be fitted": (
        (*SMALL_GROUP, "--participant-label", "01", "--holdout", "0.5"),
        70,
        "leaves none of 1 participant",
    ),
    "a threshold that is none": ((*SMALL_GROUP, "--threshold", "strong"), 2, "background:0.05"),
    "a threshold by its former name": (
        (*SMALL_GROUP, "--threshold", "fdr:0.1"),
        2,
        "is now called background:0.1",
    ),
    "a cut-off above Nyquist": ((*SMALL_GROUP, "--low-pass", "0.4"), 70, "Nyquist"),
    "filters that leave nothing": (
        (*SMALL_GROUP, "--low-pass", "0.01", "--high-pass", "0.1"),
        2,
        "must be greater than",
    ),
    "everything moved": (
        (*SMALL_GROUP, "--mean-fd-cutoff", "0.001"),
        70,
        "above --mean-fd-cutoff",
    ),
    "more volumes than there are": (
        (*SMALL_GROUP, "--min-volumes", "500"),
        70,
        "--min-volumes 500",
    ),
    "an empty output": ((SMALL, "", "group"), 2, "OUTPUT_DIR is empty"),
    "a work folder that is a file": ((*SMALL_GROUP, "-w", "/dev/null"), 2, "--work-dir"),
    "a work folder in the raw data": (
        (FIXTURES / "raw_root", "OUT", "group", *FAST, "-w", FIXTURES / "raw_root" / "work"),
        2,
        "--work-dir",
    ),
    "a seed too large": ((*SMALL_GROUP, "--random-seed", "99999999999"), 2, "at most 4294967295"),
    "a mistyped exclusion": (
        (*SMALL_GROUP, "--exclude-participant-label", "3"),
        70,
        "--exclude-participant-label 3",
    ),
    "ICA-AROMA's strategy without its images": (
        (*SMALL_GROUP, "--denoise-strategy", "ica_aroma"),
        70,
        "--desc-label smoothAROMAnonaggr",
    ),
    "a formula with code": (
        (*SMALL_GROUP, "--model", "group + {open('TMP/x', 'w')}", "--test", "group"),
        2,
        "the character '{' is not allowed",
    ),
    "a model without a test": ((*SMALL_GROUP, "--model", "mean_fd"), 2, "say with --test what"),
    "a test without a model": ((*SMALL_GROUP, "--test", "group"), 2, "--test is for comparing"),
    "a model without a table of participants": (
        (*SMALL_GROUP, "--model", "group", "--test", "group"),
        2,
        "was not found; give it with --participants-file",
    ),
    "a table of participants that is none": (
        (*SMALL_GROUP, "--within", "ses-2 - ses-1", "--participants-file", SMALL / "README"),
        2,
        "it has no column participant_id",
    ),
    "a model file that is none": (
        (*SMALL_GROUP, "--model-file", SMALL / "dataset_description.json"),
        2,
        "it is no BIDS Stats Model",
    ),
    "an option that is none": ((*SMALL_GROUP, "--n-component", "3"), 2, "unrecognized"),
    "a config file that is none": (
        (*SMALL_GROUP, "--config-file", SMALL / "README"),
        2,
        "--config-file",
    ),
    "a level that is none": ((SMALL, "OUT", "all"), 2, "group"),
}


def test_a_mistake_with_several_processes_is_one_sentence_even_in_a_slim_container(
    tmp_path: Path,
) -> None:
    """There are no pgrep and no other tools there by which to end the workers."""
    words = (SMALL, tmp_path / "out", "group", "--nprocs", "2", "--space", "T1w")
    done = nidecomp(*words, PATH="/nonexistent")
    assert done.exit_code == 70
    assert len(done.stderr.strip().splitlines()) == 1
    # Not even the list of files that was searched.
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_a_sentence(mistake: str, tmp_path: Path) -> None:
    words, code, says = MISTAKES[mistake]
    output = tmp_path / "out"
    done = nidecomp(
        *(str(word).replace("TMP", str(tmp_path)).replace("OUT", str(output)) for word in words)
    )
    assert done.exit_code == code, done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(output.glob("tpl-*"))


def test_other_settings_or_another_input_in_the_same_output_are_refused_by_name(
    tmp_path: Path,
) -> None:
    output = tmp_path / "networks"
    assert nidecomp(SMALL, output, "group", *FAST, *MINIMAL).exit_code == 0
    before = results(output)
    done = nidecomp(SMALL, output, "group", *FAST, *MINIMAL, "--smoothing-fwhm", "8")
    assert done.exit_code == 2
    assert "smoothing_fwhm was 6.0 and is 8.0" in done.stderr
    done = nidecomp(FIXTURES / "several_tasks", output, "group", *FAST, *MINIMAL)
    assert done.exit_code == 2
    assert "no_res" in done.stderr
    assert "several_tasks" in done.stderr
    assert results(output) == before


def test_dry_run_writes_nothing_and_shows_runs_and_cost(tmp_path: Path) -> None:
    output = tmp_path / "networks"
    done = nidecomp(FIXTURES / "too_short", output, "group", *FAST, "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert "sub-02_task-rest  refused" in done.stdout
    assert "sub-01_task-rest  used" in done.stdout
    assert "Peak memory:" in done.stdout
    assert "Group fit:" in done.stdout
    assert "Disk:" in done.stdout
    assert not output.exists()


def test_a_given_mask_is_used_and_own_masks_are_not_needed(tmp_path: Path) -> None:
    shared = next((FIXTURES / "missing_mask").rglob("sub-01*_desc-brain_mask.nii.gz"))
    options = ("group", *FAST, *MINIMAL, "--mask", shared)
    done = nidecomp(FIXTURES / "missing_mask", tmp_path / "out", *options)
    assert done.exit_code == 0, done.stderr
    (written,) = (tmp_path / "out").glob("tpl-*/anat/*_mask.nii.gz")
    assert np.array_equal(nib.load(written).get_fdata() > 0, nib.load(shared).get_fdata() > 0)
    inventory = (tmp_path / "out" / "logs" / "inventory.tsv").read_text()
    assert inventory.count("\tused\t") == 3
    # It is named without its path, and by its content.
    decompositions = list((tmp_path / "out").rglob("*_decomposition.json"))
    assert len(decompositions) == 2
    for path in decompositions:
        masking = json.loads(path.read_text())["Settings"]["masking"]
        assert masking["mask"] == shared.name
        assert masking["mask_sha256"] == hashlib.sha256(shared.read_bytes()).hexdigest()


def test_every_run_failing_is_exit_1_with_every_reason(tmp_path: Path) -> None:
    source = tmp_path / "fmriprep"
    shutil.copytree(SMALL, source)
    for path in source.rglob("*_bold.nii.gz"):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:5000], mtime=0))
    done = nidecomp(source, tmp_path / "out", "group", *FAST)
    assert done.exit_code == 1
    assert "Every run failed" in done.stderr
    assert (tmp_path / "out" / "logs" / "inventory.tsv").read_text().count("\tfailed\t") == 3
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("tpl-*"))


def test_stop_on_first_crash_stops(tmp_path: Path) -> None:
    done = nidecomp(
        FIXTURES / "truncated_gzip", tmp_path / "out", "group", *FAST, "--stop-on-first-crash"
    )
    assert done.exit_code == 1
    assert "Stopped at the first run that failed" in done.stderr
    assert "\tfailed\t" in (tmp_path / "out" / "logs" / "inventory.tsv").read_text()
    assert not list((tmp_path / "out").glob("tpl-*"))


def test_two_group_runs_never_work_in_one_output(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with exclusive_lock(output):
        done = nidecomp(SMALL, output, "group", *FAST)
    assert done.exit_code == 2
    assert "Another NiDecomp process is using" in done.stderr
    assert not list(output.glob("tpl-*"))


def test_motion_that_is_unknown_refuses_the_run_where_motion_decides(tmp_path: Path) -> None:
    source = tmp_path / "fmriprep"
    shutil.copytree(SMALL, source)
    table = next(source.rglob("sub-01*_desc-confounds_timeseries.tsv"))
    header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
    column = header.index("framewise_displacement")
    rows = [[*row[:column], "n/a", *row[column + 1 :]] for row in rows]
    table.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n")
    done = nidecomp(source, tmp_path / "out", "group", *FAST, *MINIMAL, "--mean-fd-cutoff", "5")
    assert done.exit_code == 0, done.stderr
    assert "framewise_displacement is n/a for 65 of the volumes that are kept" in done.stderr
    assert nidecomp(source, tmp_path / "without", "group", *FAST, *MINIMAL).exit_code == 0


def test_an_output_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """A file stands where a folder is needed: that is what root, too, cannot write through."""
    (tmp_path / "file").write_text("")
    done = nidecomp(SMALL, tmp_path / "file" / "out", "group", *FAST)
    assert done.exit_code in {1, 2}
    assert "Traceback" not in done.stderr
    assert "file" in done.stderr


# ---------------------------------------------------------------- docs/slurm_array.sh
def _submit(folder: Path, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script with an sbatch that writes down its words, one a line."""
    binaries, said = folder / "bin", folder / "said.txt"
    binaries.mkdir()
    plan = "sub-01_task-rest  used  9\\nsub-02_task-rest  used  9\\n"
    plan += "Reduce step: 370 MB for one run\\nPeak memory: 1,164 MB\\n"
    for name, does in (
        ("nidecomp", f"printf '{plan}'"),
        ("sbatch", f"printf '%s\\n' \"$@\" >>'{said}'; echo 7"),
    ):
        (binaries / name).write_text(f"#!/bin/sh\n{does}\n")
        (binaries / name).chmod(0o755)
    done = subprocess.run(
        ["bash", REPOSITORY / "docs" / "slurm_array.sh"],  # noqa: S607
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "bids_dir": str(SMALL),
            "output_dir": str(folder / "out"),
            "work_dir": str(folder / "work"),
            "image": "",
            **variables,
        },
    )
    return done, said.read_text().splitlines() if said.exists() else []


def test_a_work_folder_with_a_space_is_one_word_for_sbatch(tmp_path: Path) -> None:
    work = tmp_path / "my work"
    done, words = _submit(tmp_path, work_dir=str(work), sbatch_options="--partition=a --account=b")
    assert done.returncode == 0, done.stderr
    outputs = [word for word in words if word.startswith("--output=")]
    assert outputs == [f"--output={work}/logs/%x_{name}.txt" for name in ("%A_%a", "%A_%a", "%j")]
    assert words.count("--partition=a") == words.count("--account=b") == 3
    assert "--array=1-1%100" in words


@pytest.mark.parametrize("value", ["0", "-1", "many", "08", "1.5"])
@pytest.mark.parametrize("name", ["participants_per_job", "jobs_at_once", "group_cores"])
def test_a_number_of_the_script_that_is_none_is_a_sentence(
    tmp_path: Path, name: str, value: str
) -> None:
    done, words = _submit(tmp_path, **{name: value})
    assert (done.returncode, words) == (2, [])
    assert done.stderr == f"{name}={value}: it must be a whole number from 1 on.\n"
