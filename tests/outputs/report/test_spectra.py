"""Spectra of time courses: the frequency that was planted, for any number of runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nidecomp.outputs.report.results import WrittenDecomposition
from nidecomp.outputs.report.spectra import spectra

NAMES = ("one", "other")
RATE_HZ = 0.5


def decomposition(root: Path) -> WrittenDecomposition:
    return WrittenDecomposition(
        method="canica",
        scale=2,
        stem=root / "tpl-A" / "func" / "tpl-A_task-rest_atlas-A_seg-canica_scale-2",
        described={},
        names=NAMES,
        metrics=tuple({"component": name} for name in NAMES),
        maps=None,
        thresholded=None,
        root=root,
        is_template=False,
    )


def write_run(root: Path, participant: int, rows: list[str]) -> None:
    name = f"sub-{participant:02d}"
    stem = root / name / "func" / f"{name}_space-A_atlas-A_seg-canica_scale-2_timeseries"
    stem.parent.mkdir(parents=True)
    stem.with_suffix(".tsv").write_text("\n".join(["\t".join(NAMES), *rows]) + "\n")
    stem.with_suffix(".json").write_text(f'{{"SamplingFrequency": {RATE_HZ}}}')


def waves(*frequencies_hz: float) -> list[str]:
    seconds = np.arange(200) / RATE_HZ
    courses = [np.sin(2 * np.pi * frequency * seconds) for frequency in frequencies_hz]
    return ["\t".join(f"{value:.5f}" for value in row) for row in np.transpose(courses)]


def test_the_planted_frequencies_are_found_in_spite_of_dropped_volumes(tmp_path: Path) -> None:
    for participant in (1, 2):
        rows = waves(0.05, 0.15)
        rows[7] = rows[90] = "n/a\tn/a"
        write_run(tmp_path, participant, rows)
    found = spectra(decomposition(tmp_path))
    assert found.n_runs == 2
    peaks_hz = found.frequency_hz[found.power.argmax(axis=0)]
    np.testing.assert_allclose(peaks_hz, [0.05, 0.15], atol=0.005)


def test_of_many_participants_some_are_read(tmp_path: Path) -> None:
    for participant in range(1, 91):
        write_run(tmp_path, participant, ["1\t2", "2\t1"] * 4)
    assert spectra(decomposition(tmp_path)).n_runs == 30


@pytest.mark.parametrize("rows", [[], ["1\t2\t3"], ["a\tb"]])
def test_a_damaged_run_is_left_out(tmp_path: Path, rows: list[str]) -> None:
    write_run(tmp_path, 1, rows)
    assert spectra(decomposition(tmp_path)).n_runs == 0
