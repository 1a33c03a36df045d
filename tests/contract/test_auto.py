"""``--n-components auto``: as many as were planted, none in noise, and how it was chosen."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from layout import write_description, write_run
from simulate import Recording
from support import FIXTURES, group_maps, nidecomp, results, validator_issues

from nidecomp.outputs.model_order import MODEL_ORDER

REST = FIXTURES / "rest"
PLANTED = 14
AUTO = ("group", "--n-components", "auto")
# Noise takes each restart to its last iteration.
AS_IT_IS = ("--denoise-strategy", "none", "--n-init", "2")


def sidecars(folder: Path) -> list[dict]:
    found = sorted(folder.glob("tpl-*/func/*_decomposition.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


def order_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "order.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_demos_networks_are_counted(auto_output: Path) -> None:
    for method in ("canica", "dictlearning"):
        assert len(group_maps(auto_output, method)) == PLANTED
    (name,) = {path.name for path in auto_output.glob("tpl-*/func/*seg-canica*_metrics.tsv")}
    assert f"_scale-{PLANTED}_" in name


def test_the_choice_is_told_in_every_sidecar_as_in_the_table(auto_output: Path) -> None:
    about = json.loads((auto_output / "logs" / "order.json").read_text(encoding="utf-8"))
    assert about["ChosenNumberOfComponents"] == PLANTED
    assert set(MODEL_ORDER) < set(about)
    for sidecar in sidecars(auto_output):
        told = sidecar["OrderChoice"]
        assert {name: about[name] for name in told if name not in {"Table", "Figure"}} == {
            name: told[name] for name in told if name not in {"Table", "Figure"}
        }
        for file in (told["Table"], told["Figure"]):
            assert (auto_output / file.removeprefix("bids::")).is_file()
        assert told["Rule"].startswith("The number of CanICA maps that ")
        assert sidecar["Settings"]["decomposition"]["n_components"] == ["auto"]
        assert sidecar["Settings"]["decomposition"]["max_components"] == 50
    assert (auto_output / "README.md").read_text().count("logs/order.tsv") == 1


def test_the_table_holds_the_curve(auto_output: Path) -> None:
    table = order_table(auto_output)
    assert [int(row["n_components"]) for row in table] == list(range(1, len(table) + 1))
    supported = [row["supported"] for row in table]
    n_dimensions = supported.index("false")
    assert n_dimensions >= PLANTED
    assert int(table[n_dimensions - 1]["n_reproducible"]) == PLANTED
    for row in table[:n_dimensions]:
        assert float(row["canonical_r"]) > float(row["null_quantile"])


def test_the_tree_is_valid(auto_output: Path) -> None:
    assert validator_issues(auto_output) == []


def test_participant_jobs_of_one_process_are_found_and_settings_replay(
    auto_output: Path, tmp_path: Path
) -> None:
    """All of it with the bytes of two processes."""
    output, work = auto_output.with_name("replayed"), tmp_path / "work"
    for labels in (("01", "02", "03", "04"), ("05", "06", "07", "08")):
        done = nidecomp(
            REST, output, "participant", "--n-components", "auto", "--work-dir", work,
            "--participant-label", *labels,
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
    before = sorted(path.name for path in (work / "reduced").iterdir())
    settings = auto_output / "logs" / "settings.toml"
    done = nidecomp(REST, output, "group", "--config-file", settings, "--work-dir", work)
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in (work / "reduced").iterdir()) == before
    assert results(output) == results(auto_output)


def test_who_is_held_out_has_no_say(auto_output: Path, tmp_path: Path) -> None:
    done = nidecomp(
        REST, tmp_path / "out", *AUTO, "--holdout", "0.2", "--level", "minimal",
        "--work-dir", auto_output / "work",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    told = [sidecar["OrderChoice"] for sidecar in sidecars(tmp_path / "out")]
    assert [one["NumberOfParticipants"] for one in told] == [6, 6]


# ---------------------------------------------------------------- where there is nothing to choose
@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six participants of whom nobody shares anything with anybody."""
    root = tmp_path_factory.mktemp("noise")
    write_description(root, "Noise")
    shape, n_volumes = (8, 8, 8), 60
    for number in range(1, 7):
        rng = np.random.default_rng(number)
        recording = Recording(
            bold=1000 + 30 * rng.standard_normal((*shape, n_volumes)),
            mask=np.ones(shape, dtype=bool),
            affine=np.diag([6.0, 6, 6, 1]),
            confounds={"framewise_displacement": np.zeros(n_volumes)},
            repetition_time_s=2.0,
        )
        write_run(root, {"sub": f"{number:02d}", "task": "rest"}, recording)
    return root


def test_of_noise_it_says_that_nothing_is_reproducible(noise: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = nidecomp(noise, output, *AUTO, *AS_IT_IS)
    assert done.exit_code == 70, done.stderr
    assert "finds nothing to decompose" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(output.glob("tpl-*"))
    assert {row["n_reproducible"] for row in order_table(output)} <= {"0", "n/a"}
    assert (output / "figures" / "order.svg").is_file()
    # A number fits as many all the same, and what was not chosen is gone.
    done = nidecomp(noise, output, "group", "--n-components", "3", "--level", "minimal", *AS_IT_IS)
    assert done.exit_code == 0, done.stderr
    assert not (output / "logs" / "order.tsv").exists()
    assert not (output / "figures").exists()
    assert len(sidecars(output)) == 2
    assert all("OrderChoice" not in sidecar for sidecar in sidecars(output))


def test_too_few_participants_end_it_before_any_run_is_reduced(tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = nidecomp(REST, output, *AUTO, "--participant-label", "01", "02", "03")
    assert done.exit_code == 70
    assert "needs at least 4 participants; the runs to be fitted come from 3" in done.stderr
    assert not (output / "work" / "reduced").exists()


def test_auto_cannot_be_combined_with_numbers() -> None:
    done = nidecomp(REST, "out", "group", "--n-components", "20", "auto")
    assert done.exit_code == 2
    assert "cannot be combined with numbers (20)" in done.stderr
