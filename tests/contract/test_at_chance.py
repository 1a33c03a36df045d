"""Maps that are no more reproducible than chance are written, and not interpreted."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support import FIXTURES, group_file

from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.science import DecompositionOptions, EvidenceOptions, Science
from nidecomp.config.settings import Settings
from nidecomp.decomposition.components import Components
from nidecomp.pipeline import run

METHOD = "dictlearning"
N_COMPONENTS, NOISE = 4, 1


def noise_at(components: Components) -> np.ndarray:
    return np.arange(components.n_components) == NOISE


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of maps of which the second is said to be at chance."""
    output = tmp_path_factory.mktemp("chance") / "out"
    settings = Settings(
        bids_dir=FIXTURES / "rest",
        output_dir=output,
        analysis_level="group",
        science=Science(
            decomposition=DecompositionOptions(n_components=(N_COMPONENTS,), methods=(METHOD,)),
            evidence=EvidenceOptions(n_splits=1),
        ),
        execution=Execution(nprocs=1, skip_bids_validation=True),
        extent=OutputOptions(no_report=True),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Components, "at_chance", property(noise_at))
        assert run(settings).exit_code == 0
    return output


def rows(output: Path, suffix: str) -> list[dict[str, str]]:
    path = group_file(output, METHOD, suffix, ".tsv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_they_have_no_label_but_the_correlations(output: Path) -> None:
    metrics = rows(output, "metrics")
    assert [row["label"] == "n/a" for row in metrics] == [False, True, False, False]
    assert all(0.3 < float(row["label_r"]) < 1 for row in metrics)
    assert all(float(row["thresholded_support"]) > 0.01 for row in metrics)


def test_they_have_no_peaks_and_no_regions(output: Path) -> None:
    others = {row["component"] for row in rows(output, "metrics")} - {f"{METHOD}02"}
    assert {row["component"] for row in rows(output, "peaks")} == others
    assert {row["network"] for row in rows(output, "dseg")} == others


def test_their_maps_are_written_and_thresholded(output: Path) -> None:
    for kind in ("res-native_components", "desc-thresholded_components", "res-native_probseg"):
        (path,) = output.glob(f"tpl-*/func/*_{kind}.nii.gz")
        assert np.asarray(nib.load(path).dataobj)[..., NOISE].any()


def test_the_log_names_them_once_and_the_sidecars_say_what_is_missing(output: Path) -> None:
    log = (output / "logs" / "nidecomp.log").read_text(encoding="utf-8")
    assert log.count("no more reproducible between halves of the participants than chance") == 1
    assert f"1 of 4 {METHOD} maps is no more reproducible" in log
    assert f"without label, peaks or regions: {METHOD}02. Do not interpret it;" in log
    for suffix in ("peaks", "dseg"):
        about = group_file(output, METHOD, suffix, ".json").read_text(encoding="utf-8")
        assert "than chance (see the metrics file) are not interpreted and " in about
