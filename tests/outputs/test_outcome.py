"""How the outcome of an analysis is shown: in a line, and in a notebook."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from run_examples import run_of

from nidecomp.core.inventory import FailedRun, Inventory, RefusedRun
from nidecomp.core.records import RunKey
from nidecomp.outputs.result import Outcome

COUNTS = "1 run used, 1 refused, 1 failed; 1 decomposition"


def outcome(folder: Path) -> Outcome:
    """Of three runs; the one that failed had passed the checks."""
    used, failed, refused = (
        RunKey((("sub", label), ("task", "rest"))) for label in ("01", "02", "03")
    )
    inventory = Inventory(
        used=(run_of(used), run_of(failed)),
        refused=(RefusedRun(refused, Path("bold.nii.gz"), "no mask"),),
        failed=(FailedRun(failed, Path("bold.nii.gz"), "full disk"),),
    )
    return Outcome(inventory, folder, n_decompositions=1)


def test_it_is_one_line_with_the_counts_and_the_folder() -> None:
    assert repr(outcome(Path("networks"))) == f"<Outcome: {COUNTS}; results in networks>"
    # After --report-only.
    only_report = Outcome(Inventory(), Path("networks"))
    assert repr(only_report) == "<Outcome: no run was processed; results in networks>"
    assert os.fspath(only_report) == "networks"


def write_metrics(folder: Path, *rows: str) -> None:
    func = folder / "tpl-X" / "func"
    func.mkdir(parents=True)
    described = '{"Method": "canica", "NumberOfComponents": 12}'
    (func / "tpl-X_decomposition.json").write_text(described)
    header = "component\tlabel\treproducibility\tflags"
    (func / "tpl-X_metrics.tsv").write_text("\n".join((header, *rows)) + "\n")


def test_a_notebook_shows_the_best_maps_and_a_link_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my <networks>"
    rows = [f"canica{index:02d}\tn/a\t{index / 20}\tn/a" for index in range(11)]
    write_metrics(folder, *rows, "canica11\t<b>Auditory\t0.95\tmotion, csf")
    (folder / "report.html").write_text("")
    monkeypatch.chdir(tmp_path)
    shown = outcome(folder)._repr_html_()
    assert COUNTS in shown
    assert '<a href="my%20%3Cnetworks%3E/report.html">report.html</a>' in shown
    assert "<b>" not in shown
    assert "<networks>" not in shown
    assert shown.count("<tr>") == 10
    assert shown.index("canica11") < shown.index("canica10") < shown.index("canica09")
    assert "canica00" not in shown
    assert "motion, csf" in shown
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert f'href="{(folder / "report.html").as_uri()}"' in outcome(folder)._repr_html_()


def test_what_there_is_not_is_left_out(tmp_path: Path) -> None:
    shown = outcome(tmp_path / "nowhere")._repr_html_()
    assert COUNTS in shown
    assert "<table" not in shown
    assert "<a" not in shown
    # One participant: no reproducibility; and no flag.
    write_metrics(tmp_path, "canica02\tVisual\tn/a\tn/a", "canica01\tn/a\tn/a\tn/a")
    shown = outcome(tmp_path)._repr_html_()
    assert "reproducibility" not in shown
    assert "flags" not in shown
    assert shown.index("canica02") < shown.index("canica01")
