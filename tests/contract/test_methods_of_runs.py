"""The methods section of an analysis: written without a report, and its counts are right."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from support import FIXTURES, metadata, nidecomp, small

# What the table of the run with empty volumes has: a volume for each reason to drop one.
RUN = "sub-02_task-rest"
DROPPED = {
    "dummy": 1,
    "non-steady state": 1,
    "displacement": 1,
    "DVARS": 1,
    "short segments": 3,
    "empty": 6,
}


def scrubbed_dataset(folder: Path) -> Path:
    """Copy a dataset with six empty volumes, and give that run a calm table with few exceptions."""
    dataset = folder / "dataset"
    shutil.copytree(FIXTURES / "empty_volumes", dataset)
    (path,) = dataset.glob(f"sub-02/func/{RUN}_*confounds*.tsv")
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    table.loc[1:, "framewise_displacement"], table.loc[1:, "std_dvars"] = 0.1, 1.0
    table["non_steady_state_outlier00"] = [0, 1, *[0] * (len(table) - 2)]
    # The dummy scan and the unsteady volume are also displaced, but count once.
    table.loc[[0, 1, 10], "framewise_displacement"] = 0.9
    table.loc[[10, 14], "std_dvars"] = 1.9
    table.to_csv(path, sep="\t", na_rep="n/a", index=False)
    return dataset


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scrubbed")
    done = nidecomp(
        scrubbed_dataset(folder), folder / "out", "group", "--n-components", 2, "--n-init", 2,
        "--methods", "canica", "--denoise-strategy", "wm_csf+scrub", "--dummy-scans", 1,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    return folder / "out"


def inventory(output: Path) -> list[dict[str, str]]:
    with (output / "logs" / "inventory.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def counts_of(output: Path, run: str) -> dict[str, int]:
    path, *_ = output.glob(f"sub-*/func/{run}_space-*_timeseries.tsv")
    counts: dict[str, int] = metadata(path, output).get("DroppedVolumes", {})
    return counts


def test_each_reason_is_counted_and_counts_add_up_to_the_volumes_that_are_gone(
    output: Path,
) -> None:
    assert counts_of(output, RUN) == DROPPED
    for row in inventory(output):
        counts = counts_of(output, row["run"])
        assert row["dropped"] == ", ".join(f"{name} {number}" for name, number in counts.items())
        n_gone = int(row["n_volumes"]) - int(row["n_volumes_kept"])
        flags = next(output.glob(f"sub-*/func/{row['run']}_outliers.tsv")).read_text().split()
        assert sum(counts.values()) == n_gone == flags.count("1")


def test_the_text_has_the_totals_of_all_runs(output: Path) -> None:
    total = Counter[str]()
    for row in inventory(output):
        total.update(counts_of(output, row["run"]))
    assert set(total) == set(DROPPED)
    text = (output / "logs" / "CITATION.md").read_text(encoding="utf-8")
    n_volumes = sum(int(row["n_volumes"]) for row in inventory(output))
    assert f"Of {n_volumes} volumes, {total.total()} " in text
    assert (
        f"{total['dummy']} as dummy scans, {total['non-steady state']} which fMRIPrep marked as "
        f"non-steady state, {total['displacement']} for their displacement, {total['DVARS']} for "
        f"their DVARS, {total['short segments']} in short segments and {total['empty']} without "
        "signal" in text
    )


def test_what_to_cite_is_written_without_a_report_and_at_every_level(
    output: Path, tmp_path: Path
) -> None:
    done = nidecomp(*small(tmp_path / "minimal"), "--level", "minimal")
    assert done.exit_code == 0, done.stderr
    for folder in (output, tmp_path / "minimal"):
        assert not (folder / "report.html").exists()
        manifest = (folder / "logs" / "manifest.tsv").read_text(encoding="utf-8")
        for ending in ("md", "html", "bib"):
            assert f"logs/CITATION.{ending}\t" in manifest
    text = (tmp_path / "minimal" / "logs" / "CITATION.md").read_text(encoding="utf-8")
    for absent in ("reproducib", "threshold", "dual regression", "labelled"):
        assert absent not in text


def test_the_report_repeats_the_text_that_is_written_without_it(output: Path) -> None:
    before = (output / "logs" / "CITATION.md").read_bytes()
    dataset = output.with_name("dataset")
    done = nidecomp(dataset, output, "group", "--report-only", report=True)
    assert done.exit_code == 0, done.stderr
    assert (output / "logs" / "CITATION.md").read_bytes() == before
    page = (output / "report.html").read_text(encoding="utf-8")
    first = before.decode().split("\n\n")[1]
    assert first in page
