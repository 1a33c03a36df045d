"""Further datasets are named, have paths, and options of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from option_examples import build

from nidecomp.cli import parse
from nidecomp.config.datasets import DatasetRequest
from nidecomp.config.parse import read_config_file
from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError
from nidecomp.outputs.dataset import settings_text

CONFIG = """
[datasets.B]
path = "b"
task_id = "movie"
denoise_strategy = "compcor"

[datasets.C]
path = "c"
high_pass = "none"
"""


def config(tmp_path: Path, text: str = CONFIG) -> Path:
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    return tmp_path / "c.toml"


def names_and_paths(settings: Settings) -> list[tuple[str, str]]:
    return [(one.name, one.path) for one in settings.further]


# ---------------------------------------------------------------- how they are given
def test_words_mappings_and_tables_are_the_same() -> None:
    asked = build(datasets=["C=c", "B=b"]).datasets
    assert asked == build(datasets={"B": "b", "C": Path("c")}).datasets
    assert asked == build(datasets={"C": {"path": "c"}, "B": {"path": "b"}}).datasets
    assert asked.datasets == (DatasetRequest("B", "b"), DatasetRequest("C", "c"))


def test_the_command_line_adds_to_the_config_file_and_its_paths_win(tmp_path: Path) -> None:
    words = ["in", "out", "group", "--config-file", str(config(tmp_path))]
    assert names_and_paths(parse(words)) == [("B", "b"), ("C", "c")]
    settings = parse([*words, "--datasets", "B=elsewhere", "D=d"])
    assert names_and_paths(settings) == [("B", "elsewhere"), ("C", "c"), ("D", "d")]
    assert dict(settings.further[0].options)["task_id"] == ("movie",)


def test_a_dataset_has_the_options_of_all_but_its_own() -> None:
    settings = build(
        task_id="rest",
        high_pass=0.01,
        smoothing_fwhm=8,
        datasets={
            "B": {"path": "b", "task_id": ["movie", "nback"], "denoise_strategy": "compcor"},
            "C": {"path": "c", "high_pass": "none"},
        },
    )
    b, c = (settings.of_dataset(one).science for one in settings.further)
    assert b.selection.task_id == ("movie", "nback")
    assert (b.denoising.denoise_strategy, b.denoising.high_pass) == ("compcor", 0.01)
    assert (c.selection.task_id, c.denoising.high_pass) == (("rest",), None)
    assert b.denoising.smoothing_fwhm == c.denoising.smoothing_fwhm == 8
    assert settings.denoising_of("") == settings.science.denoising
    assert settings.denoising_of("B") == b.denoising


def test_an_index_is_of_one_dataset() -> None:
    settings = build(bids_database_dir="index", datasets={"B": "b"})
    assert settings.of_dataset(settings.further[0]).execution.bids_database_dir == "index/B"


# ---------------------------------------------------------------- what is recorded
def test_what_is_recorded_replays_but_for_the_paths(tmp_path: Path) -> None:
    settings = build(
        high_pass=0.01,
        dataset_weights="equal",
        datasets={"B": {"path": "b", "task_id": "movie", "high_pass": "none"}, "C": "c"},
    )
    path = config(tmp_path, settings_text(settings))
    with pytest.raises(UsageError, match="path of dataset B is missing"):
        build(**read_config_file(path))
    words = ["in", "out", "group", "--config-file", str(path), "--datasets", "B=b", "C=c"]
    assert parse(words).datasets == settings.datasets
    assert parse(words).science == settings.science


def test_nothing_of_it_is_recorded_of_a_single_dataset() -> None:
    assert "dataset" not in settings_text(build())


# ---------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"task": "rest"}, "Dataset B: unknown option 'task'. Did you mean 'task_id'?"),
        ({"space": "MNI6"}, "space is the same for all datasets; use --space"),
        ({"smoothing_fwhm": 4}, "use --smoothing-fwhm"),
        ({"participant_label": "01"}, "use --participant-label"),
        ({"min_volumes": 0}, "Dataset B: --min-volumes 0: must be a whole number"),
        ({"n_components": 4}, "unknown option 'n_components'"),
    ],
)
def test_a_wrong_table_is_told_what_a_dataset_may_have(table: dict, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(datasets={"B": {"path": "b", **table}})
    assert said in str(caught.value)


def test_two_datasets_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="names B twice"):
        build(datasets=["B=one", "B=other"])
    with pytest.raises(UsageError, match="names T and t, which some file systems take for"):
        build(datasets=["t=one", "T=other"])
    with pytest.raises(UsageError, match="is the name of BIDS_DIR"):
        build(datasets=["Preprocessed=one"])


def test_filters_that_contradict_each_other_together_with_those_of_all_are_refused() -> None:
    own = {"B": {"path": "b", "low_pass": 0.01}}
    build(datasets=own)
    with pytest.raises(UsageError, match=r"Dataset B: --low-pass \(0.01 Hz\) must be greater"):
        build(high_pass=0.02, datasets=own)


def test_a_table_of_datasets_has_tables_only(tmp_path: Path) -> None:
    for text in ('[datasets]\nB = "b"\n', '[[datasets]]\nname = "B"\n'):
        with pytest.raises(UsageError, match=r"a table of its own, such as \[datasets.A\]"):
            read_config_file(config(tmp_path, text))
    with pytest.raises(UsageError, match=r"selection is no table; the tables are \["):
        read_config_file(config(tmp_path, 'selection = "rest"\n'))
    with pytest.raises(UsageError, match=r"the option model stands in no table; the tables are"):
        read_config_file(config(tmp_path, 'model = "group"\n'))


@pytest.mark.parametrize(
    "given", [{"B": {"task_id": "rest"}}, {"B C": {"path": "b"}}, {"B" * 21: {"path": "b"}}]
)
def test_messages_have_no_brackets_of_python(given: dict) -> None:
    with pytest.raises(UsageError, match=r"^--datasets[^{}()]+\.$"):
        build(datasets=given)
