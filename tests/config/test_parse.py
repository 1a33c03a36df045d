"""Which option values are accepted, alone, together and in a TOML file, and the error messages."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st
from option_examples import (
    LAW,
    NAMES,
    OPTIONS,
    PREFIXES,
    build,
    labels,
    positive,
    science_options,
    value_of,
)

from nidecomp.config.parse import read_config_file, settings_from_options
from nidecomp.config.settings import SECTIONS
from nidecomp.core.errors import UsageError
from nidecomp.outputs.dataset import settings_text

# Invalid values for every option, with a part of the error message.
WRONG = [
    ("datasets", "B", "the path of dataset B is missing"),
    ("datasets", "a-b=/data", "letters and digits only"),
    ("datasets", "B=", "the path of dataset B is missing"),
    ("datasets", "preprocessed=/data", "the name of BIDS_DIR"),
    ("datasets", f"{'a' * 21}=/data", "at most 20"),
    ("datasets", 3, "NAME=PATH"),
    ("participant_label", "two words", "letters and digits"),
    ("participant_label", "", "letters and digits"),
    ("exclude_participant_label", "sub-", "letters and digits"),
    ("session_label", "ses-1_run-1", "letters and digits"),
    ("task_id", "täsk", "letters and digits"),
    ("run_id", "-1", "letters and digits"),
    ("space", "MNI/6", "letters and digits"),
    ("space", "MNI6:res-2", "use --space MNI6 --res 2"),
    ("space", "MNI6:cohort-1", """--bids-filter-file '{"bold": {"cohort": "1"}}'"""),
    ("space", "fsLR:den-91k", "use --space fsLR --den 91k"),
    ("space", "fsaverage:den-41k", "use --space fsaverage6"),
    ("res", "+", "letters and digits"),
    ("den", "91 k", "letters and digits"),
    ("desc_label", "*", "letters and digits"),
    ("bids_filter_file", "nowhere.json", "readable JSON file"),
    ("bids_filter_file", "{not json", "valid JSON"),
    ("bids_filter_file", 3, "JSON object"),
    ("denoise_strategy", "fancy", "simple, scrubbing, compcor, ica_aroma"),
    ("denoise_strategy", "motion+", "components joined by +"),
    ("denoise_strategy", "simple+scrub", "components joined by +"),
    ("denoise_strategy", "", "string"),
    ("denoise_strategy", "nowhere.json", "readable JSON file"),
    ("high_pass", "0", "above 0"),
    ("high_pass", "fast", "number"),
    ("low_pass", "nan", "number"),
    ("low_pass", "inf", "number"),
    ("smoothing_fwhm", "-1", "at least 0"),
    ("smoothing_fwhm", None, "at least 0"),
    ("dictlearning_smoothing_fwhm", "-0.5", "at least 0"),
    ("dictlearning_smoothing_fwhm", "wide", "number"),
    ("fd_threshold", True, "above 0"),
    ("min_volumes", "0", "at least 1"),
    ("mean_fd_cutoff", [1], "above 0"),
    ("dummy_scans", "1.5", "whole number"),
    ("mask", "", "path"),
    ("mask", 3, "path"),
    ("mask_threshold", "0", "above 0 and at most 1"),
    ("mask_threshold", "1.01", "above 0 and at most 1"),
    ("structures", "thalamus", "all, cortex, subcortex"),
    ("surfaces_dir", "", "path"),
    ("methods", "pca", "canica, dictlearning"),
    ("methods", "CanICA", "canica, dictlearning"),
    ("n_components", "1", "at least 2"),
    ("n_components", 20.5, "whole number"),
    ("n_components", True, "whole number"),
    ("n_components", "automatic", "or auto"),
    ("max_components", "1", "at least 2"),
    ("max_components", "auto", "whole number"),
    ("pca_weighting", "cubic", "must be one of sqrt, unit"),
    ("pca_weighting", 0.5, "sqrt, unit"),
    ("dataset_weights", "same", "participants, equal"),
    ("n_init", "many", "whole number"),
    ("map_support", "0", "above 0 and at most 1"),
    ("map_support", "1.5", "above 0 and at most 1"),
    ("map_support", None, "above 0 and at most 1"),
    ("alpha", "0", "above 0"),
    ("batch_size", "0", "at least 1"),
    ("n_epochs", "0", "at least 1"),
    ("subspace_dims", "-1", "at least 0"),
    ("subspace_dims", "many", "whole number"),
    ("random_seed", "-1", "at least 0"),
    ("atlas_label", "my study", "letters and digits"),
    ("n_splits", "-1", "at least 0"),
    ("n_bootstraps", "some", "whole number"),
    ("holdout", "1", "at most 0.9"),
    ("holdout", "-0.1", "at least 0"),
    ("threshold", "strong", "background, p, isotropy, ratio"),
    ("threshold", "background:1.5", "below 1"),
    ("label_atlas", "", "path"),
    ("maps", "", "path"),
    ("normalise_time_courses", 1, "true or false"),
    ("connectomes", "full", "one of correlation, partial, tangent, none"),
    ("regress_out", "", "string"),
    ("aggressive", "no", "true or false"),
    ("model", "", "string"),
    ("test", [3], "string"),
    ("participants_file", "", "path"),
    ("model_file", 3, "path"),
    ("blocks", 1, "string"),
    ("within", "", "string"),
    ("compare", "edges", "one of amplitudes, connectomes, maps"),
    ("compare_stat", "t", "one of effect, z"),
    ("n_permutations", "99", "at least 100"),
    ("n_tfce_permutations", "-1", "at least 0"),
    ("cluster_threshold", "0", "above 0 and at most 0.5"),
    ("nbs_threshold", "0.6", "above 0 and at most 0.5"),
    ("participant_maps", "yes", "true or false"),
    ("no_report", 1, "true or false"),
    ("report_only", "yes", "true or false"),
    ("resource_monitor", "yes", "true or false"),
    ("level", "some", "minimal, full"),
    ("level", "Full", "minimal, full"),
    ("nprocs", "-1", "at least 0"),
    ("omp_nthreads", "-1", "at least 0"),
    ("omp_nthreads", "2.5", "whole number"),
    ("mem_mb", "4G", "whole number"),
    ("executor", "slurm", "local, dask"),
    ("dask_scheduler", "", "string"),
    ("dask_config", "", "path"),
    ("dask_patience", 0, "at least 1"),
    ("work_dir", "", "path"),
    ("figures", "yes", "true or false"),
    ("fetch", "yes", "true or false"),
    ("bids_database_dir", 1, "path"),
    ("reset_database", "yes", "true or false"),
    ("skip_bids_validation", 1, "true or false"),
    ("dry_run", "true", "true or false"),
    ("stop_on_first_crash", None, "true or false"),
    ("verbose", 0, "true or false"),
]


def test_every_option_has_a_wrong_value_in_the_table_above() -> None:
    assert {name for name, _, _ in WRONG} == set(NAMES)


# ---------------------------------------------------------------- round trip
@LAW
@given(science_options)
def test_settings_survive_the_toml_file(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, object]
) -> None:
    """The text of settings_text, read with --config-file, gives the same Science."""
    path = tmp_path_factory.getbasetemp() / "settings.toml"
    settings = build(**options)
    path.write_bytes(settings_text(settings).encode("utf-8"))
    again = build(**read_config_file(path))
    assert again.science == settings.science
    assert settings_text(again) == settings_text(settings)


def test_a_pass_band_survives_the_toml_file(tmp_path: Path) -> None:
    settings = build(high_pass=0.01, low_pass=0.1, exclude_participant_label=["01"])
    (tmp_path / "s.toml").write_text(settings_text(settings), encoding="utf-8")
    assert build(**read_config_file(tmp_path / "s.toml")).science == settings.science


@pytest.mark.parametrize("name", ["bids_filter_file", "denoise_strategy"])
def test_json_is_the_same_from_a_file_as_text_and_as_a_mapping(tmp_path: Path, name: str) -> None:
    content: dict[str, object] = {"strategy": ["motion"], "motion": "basic", "bold": {"run": None}}
    file = tmp_path / "some.json"
    file.write_text(json.dumps(content, indent=3), encoding="utf-8")
    swapped = dict(reversed(content.items()))
    assert (
        build(**{name: str(file)})
        == build(**{name: json.dumps(content)})
        == build(**{name: content})
        == build(**{name: swapped})
    )


def test_json_settings_hold_the_content_not_the_files_name(tmp_path: Path) -> None:
    """The content is recorded, so that later changes of the file have no effect."""
    file = tmp_path / "filter.json"
    file.write_text('{"bold": {"run": "1"}}', encoding="utf-8")
    settings = build(bids_filter_file=str(file))
    file.unlink()
    assert json.loads(settings.science.selection.bids_filter_file) == {"bold": {"run": "1"}}


def test_a_json_list_is_no_filter_file(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text("[1]", encoding="utf-8")
    with pytest.raises(UsageError, match="JSON object"):
        build(bids_filter_file=str(file))


# ---------------------------------------------------------------- values
def test_every_label_option_is_in_the_table_of_prefixes() -> None:
    take_labels = {
        declared.name
        for declared in OPTIONS
        if "label" in declared.metadata["convert"].__qualname__
    }
    assert take_labels == set(PREFIXES)


@LAW
@given(st.sampled_from(sorted(PREFIXES)), labels)
def test_bids_prefixes_are_stripped(name: str, label: str) -> None:
    plain = build(**{name: label})
    assert build(**{name: PREFIXES[name] + label}) == plain
    assert value_of(plain, name) in (label, (label,))


@LAW
@given(st.sampled_from(sorted(PREFIXES)), st.sampled_from(sorted(PREFIXES)), labels)
def test_another_entitys_prefix_is_refused(name: str, other: str, label: str) -> None:
    if PREFIXES[other] != PREFIXES[name]:
        with pytest.raises(UsageError, match="letters and digits"):
            build(**{name: PREFIXES[other] + label})


@pytest.mark.parametrize(("name", "value", "accepted"), WRONG)
def test_a_wrong_value_names_the_option_the_value_and_what_is_accepted(
    name: str, value: object, accepted: str
) -> None:
    with pytest.raises(UsageError) as caught:
        build(**{name: value})
    message = str(caught.value)
    assert "--" + name.replace("_", "-") in message
    assert (repr(value[0]) if isinstance(value, list) else repr(value)) in message
    assert accepted in message


FLOATS = [
    "high_pass",
    "low_pass",
    "smoothing_fwhm",
    "dictlearning_smoothing_fwhm",
    "fd_threshold",
    "mean_fd_cutoff",
    "alpha",
]
INTEGERS = [
    "min_volumes",
    "dummy_scans",
    "n_components",
    "n_init",
    "batch_size",
    "n_epochs",
    "subspace_dims",
    "random_seed",
    "n_splits",
    "n_bootstraps",
    "n_tfce_permutations",
    "nprocs",
    "omp_nthreads",
    "mem_mb",
    "dask_patience",
]


@LAW
@given(st.sampled_from(FLOATS), positive)
def test_a_number_given_as_text_equals_the_number(name: str, number: float) -> None:
    assert build(**{name: repr(number)}) == build(**{name: number})
    assert value_of(build(**{name: number}), name) == number


@LAW
@given(st.sampled_from(INTEGERS), st.integers(min_value=2, max_value=10**9))
def test_a_whole_number_given_as_text_equals_the_number(name: str, number: int) -> None:
    assert build(**{name: str(number)}) == build(**{name: number})
    assert value_of(build(**{name: number}), name) in (number, (number,))


def test_a_value_given_twice_is_a_value_given_once() -> None:
    assert build(n_components=["20", 20, 40]) == build(n_components=[20, 40])
    assert build(participant_label=["sub-01", "01"]) == build(participant_label="01")


def test_neither_order_nor_repetition_of_values_makes_other_settings() -> None:
    assert value_of(build(n_components=[40, 20, 40]), "n_components") == (20, 40)
    assert build(participant_label=["02", "01"]) == build(participant_label=["01", "02"])


def test_none_unsets_numbers_and_nothing_else() -> None:
    for name in ("low_pass", "alpha", "dictlearning_smoothing_fwhm", "nbs_threshold"):
        assert value_of(build(**{name: "none"}), name) is None
    assert value_of(build(res="none"), "res") == "none"


@pytest.mark.parametrize(
    "declared",
    [declared for declared in OPTIONS if declared.metadata["metavar"] in {"FILE", "DIR"}],
    ids=lambda declared: declared.name,
)
def test_an_option_that_takes_a_file_takes_a_path_object(
    tmp_path: Path, declared: dataclasses.Field[Any]
) -> None:
    file = tmp_path / "some.json"
    file.write_text("{}", encoding="utf-8")
    assert build(**{declared.name: file}) == build(**{declared.name: str(file)})


@pytest.mark.parametrize("name", sorted(PREFIXES))
def test_none_never_becomes_a_label_of_that_name(name: str) -> None:
    """In Python `session_label=None` means 'not given' and must not select ses-None."""
    try:
        settings = build(**{name: None})
    except UsageError:
        return
    assert settings == build()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("alpha", 10**400, id="more than a float holds"),
        ("denoise_strategy", {"strategy": {"motion"}}),  # a set
        ("bids_filter_file", {"bold": {1: "x", "run": "1"}}),
        ("bids_filter_file", "null\0byte"),
        ("n_components", [[20]]),
        ("n_components", {"k": 20}),
        ("participant_label", [["01"]]),
        ("work_dir", b"bytes"),
    ],
)
def test_a_value_of_an_odd_type_is_wrong_usage_not_a_crash(name: str, value: object) -> None:
    with pytest.raises(UsageError, match="--" + name.replace("_", "-")):
        build(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_a_value_is_short_however_long_it_is(name: str) -> None:
    said = ""
    try:
        build(**{name: "a" * 2000})
    except UsageError as error:
        said = str(error)
    assert len(said) < 1000


# ---------------------------------------------------------------- options together
@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_option_is_told_the_nearest(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(**{name[:-1]: 1})
    assert repr(name[:-1]) in str(caught.value)
    assert f"Did you mean {name!r}?" in str(caught.value)


def test_an_option_like_no_other_is_told_nothing() -> None:
    with pytest.raises(UsageError, match="Unknown option 'qqqqqqqq'") as caught:
        build(qqqqqqqq=1)
    assert "Did you mean" not in str(caught.value)


@LAW
@example(0.1, 0.1)
@given(positive, positive)
def test_the_pass_band_must_not_be_empty(low_pass: float, high_pass: float) -> None:
    if low_pass > high_pass:
        assert build(low_pass=low_pass, high_pass=high_pass).science.denoising.low_pass == low_pass
    else:
        with pytest.raises(UsageError, match=r"--low-pass .* must be greater than --high-pass"):
            build(low_pass=low_pass, high_pass=high_pass)


def test_a_participant_is_not_both_wanted_and_unwanted() -> None:
    with pytest.raises(UsageError, match="both include 02"):
        build(participant_label=["01", "sub-02"], exclude_participant_label=["02", "03"])


def test_a_number_is_chosen_or_given() -> None:
    with pytest.raises(UsageError, match=r"auto cannot be combined .*20, 40"):
        build(n_components=[40, "auto", 20])
    decomposition = build(n_components="auto", max_components=30).science.decomposition
    assert decomposition == build(n_components=["auto"], max_components="30").science.decomposition
    assert decomposition.is_auto
    assert (decomposition.model_orders, decomposition.largest_model_order) == ((), 30)
    given = build(n_components=[40, 20], max_components=30).science.decomposition
    assert not given.is_auto
    assert (given.model_orders, given.largest_model_order) == ((20, 40), 40)


@pytest.mark.parametrize("name", ["methods", "n_components"])
def test_something_must_be_fitted(name: str) -> None:
    with pytest.raises(UsageError, match="--methods and --n-components"):
        build(**{name: []})


def test_there_are_two_levels() -> None:
    with pytest.raises(UsageError, match=r"'subject'.*'participant' or 'group'"):
        settings_from_options("in", "out", "subject", {})


# ---------------------------------------------------------------- config file
def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_config_file(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_config_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--config-file .*nowhere\.toml"):
        read_config_file(tmp_path / "nowhere.toml")


def test_a_config_file_that_is_not_toml_is_told_where(tmp_path: Path) -> None:
    assert "line 2" in refused(tmp_path, "[denoising]\nlow_pass = 0.1 0.2\n")


def test_a_config_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="--config-file"):
        read_config_file(path)


def test_a_config_file_sets_options_of_every_table(tmp_path: Path) -> None:
    """This includes options that are not recorded, because users may write them by hand."""
    given: dict[str, dict[str, object]] = {
        "selection": {"space": "MNI152NLin6Asym"},
        "denoising": {"dictlearning_smoothing_fwhm": 3.0},
        "masking": {"mask_threshold": 0.8},
        "decomposition": {"map_support": 0.1, "n_epochs": 3, "subspace_dims": 200},
        "evidence": {"n_splits": 3, "threshold": "p:0.01"},
        "projection": {"normalise_time_courses": True},
        "comparison": {"model": "group + age", "n_permutations": 999},
        "extent": {
            "level": "minimal",
            "participant_maps": True,
            "no_report": True,
            "figures": True,
        },
        "execution": {"omp_nthreads": 2},
    }
    # Tables of datasets are no options: see test_datasets.py.
    assert set(given) == set(SECTIONS) - {"datasets"}
    (tmp_path / "c.toml").write_text(tomli_w.dumps(given), encoding="utf-8")
    read = read_config_file(tmp_path / "c.toml")
    options = {name: value for table in given.values() for name, value in table.items()}
    assert read == options
    assert all(value_of(build(**read), name) == value for name, value in options.items())


@pytest.mark.parametrize("text", ["[decomposing]\nalpha = 1\n", "alpha = 1\n", "denoising = 1\n"])
def test_an_unknown_table_is_told_which_there_are(tmp_path: Path, text: str) -> None:
    message = refused(tmp_path, text)
    assert all(f"[{section}]" in message for section in SECTIONS)


def test_an_option_in_the_wrong_table_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, "[denoising]\nn_components = 20\n")
    assert "'n_components' in table [denoising]" in message


def test_a_misspelt_option_in_a_config_file_is_told_the_nearest(tmp_path: Path) -> None:
    message = refused(tmp_path, "[decomposition]\nn_component = 20\n")
    assert "Did you mean 'n_components'?" in message
