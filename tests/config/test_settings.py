"""Options are declared once, and settings are frozen and separate science from execution."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from option_examples import LAW, NAMES, NOT_SCIENCE, OPTIONS, build, science_options

from nidecomp.config.science import METHODS, Science, science_as_tables
from nidecomp.config.settings import SECTIONS, Settings
from nidecomp.core import records
from nidecomp.outputs.dataset import settings_text


# ---------------------------------------------------------------- declarations
@pytest.mark.parametrize("declared", OPTIONS, ids=NAMES)
def test_a_default_given_by_hand_is_the_default(declared: dataclasses.Field[Any]) -> None:
    assert build(**{declared.name: declared.default}) == build()


@pytest.mark.parametrize("declared", OPTIONS, ids=NAMES)
def test_a_default_passes_its_own_converter_unchanged(declared: dataclasses.Field[Any]) -> None:
    many = declared.metadata["many"]
    assert isinstance(declared.default, tuple) == many
    items = declared.default if many else [declared.default]
    for item in items:
        if item is not None:
            assert declared.metadata["convert"](item) == item


def test_no_two_options_have_the_same_name() -> None:
    assert len(set(NAMES)) == len(NAMES)


# ---------------------------------------------------------------- derived values
@LAW
@given(
    smoothing=st.integers(0, 9),
    other=st.none() | st.integers(0, 9),
    methods=st.lists(st.sampled_from(METHODS), min_size=1),
)
def test_runs_are_reduced_once_at_each_smoothing_that_is_needed(
    smoothing: int, other: int | None, methods: list[str]
) -> None:
    """CanICA's is always first, because dictionary learning is initialised with its maps."""
    science = build(
        smoothing_fwhm=smoothing, dictlearning_smoothing_fwhm=other, methods=methods
    ).science
    smoothings = science.smoothings_fwhm
    assert len(set(smoothings)) == len(smoothings)
    assert smoothings[0] == science.denoising.smoothing_of("canica") == smoothing
    for method in methods:
        assert science.denoising.smoothing_of(method) in smoothings
    another = "dictlearning" in methods and other not in (None, smoothing)
    assert len(smoothings) == 1 + another


def test_dictionary_learning_is_smoothed_as_canica_unless_said_otherwise() -> None:
    smoothing_of = build(smoothing_fwhm=4).science.denoising.smoothing_of
    assert smoothing_of("dictlearning") == smoothing_of("canica") == 4.0
    # 0 (no smoothing) counts as a smoothing.
    denoising = build(smoothing_fwhm=4, dictlearning_smoothing_fwhm=0).science.denoising
    assert denoising.smoothing_of("dictlearning") == 0.0


@LAW
@given(wanted=st.integers(0, 1000), n_components=st.integers(2, 500))
def test_a_subspace_has_room_for_the_components(wanted: int, n_components: int) -> None:
    dims = build(subspace_dims=wanted).science.decomposition.kept_dims(n_components)
    assert dims >= n_components
    if wanted == 0:
        assert dims == max(100, 5 * n_components)
    else:
        assert dims == max(wanted, n_components)


def test_the_level_is_no_part_of_the_science() -> None:
    """Results of both levels come from the same request."""
    minimal, full = build(level="minimal"), build()
    assert full.extent.level == "full"
    assert minimal.extent.level == "minimal"
    assert minimal.science == full.science


def test_the_work_folder_is_in_the_output_folder_unless_named() -> None:
    assert build().work_dir == Path("out/work").absolute()
    assert build(work_dir="elsewhere").work_dir == Path("elsewhere").absolute()


@LAW
@given(science_options, st.integers(2, 99))
def test_what_was_chosen_changes_nothing_else(options: dict[str, object], order: int) -> None:
    science = build(**options).science
    assert science.with_model_order(order) == build(**{**options, "n_components": order}).science
    bounded = build(**{**options, "max_components": order}).science
    assert science.with_largest_model_order(order) == bounded


# ---------------------------------------------------------------- frozen
@pytest.mark.parametrize(
    "record",
    [
        *SECTIONS.values(),
        Science,
        Settings,
        *(kind for kind in vars(records).values() if dataclasses.is_dataclass(kind)),
    ],
)
def test_records_are_frozen(record: type) -> None:
    assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_nobody_can_change_settings_that_were_made() -> None:
    settings = build()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.science.decomposition.alpha = 1.0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.execution.nprocs = 1  # type: ignore[misc]


@LAW
@given(science_options)
def test_settings_are_hashable_and_survive_pickling(options: dict[str, object]) -> None:
    settings = build(**options)
    again = pickle.loads(pickle.dumps(settings))  # noqa: S301  our own bytes
    assert again == settings
    assert hash(again) == hash(settings)


# ---------------------------------------------------------------- science and execution
def other_than_default(declared: dataclasses.Field[Any]) -> object:
    default = declared.default
    if declared.name in {"level", "executor"}:
        return {"level": "minimal", "executor": "dask"}[declared.name]
    if isinstance(default, bool):
        return not default
    return default + 1 if isinstance(default, int) else "elsewhere"


def test_execution_and_extent_never_show_in_what_is_recorded() -> None:
    tables = science_as_tables(build().science)
    assert not {"execution", "extent"} & set(tables)
    assert not NOT_SCIENCE & {name for table in tables.values() for name in table}


@pytest.mark.parametrize(
    "declared",
    [declared for declared in OPTIONS if declared.name in NOT_SCIENCE],
    ids=lambda declared: declared.name,
)
def test_an_option_of_execution_or_extent_changes_no_recorded_byte(
    declared: dataclasses.Field[Any],
) -> None:
    changed = build(**{declared.name: other_than_default(declared)})
    assert changed != build()
    assert changed.science == build().science
    assert settings_text(changed) == settings_text(build())


def test_every_science_option_is_recorded_once_it_is_set() -> None:
    settings = build(
        res="2",
        high_pass=0.01,
        low_pass=0.1,
        dictlearning_smoothing_fwhm=0,
        fd_threshold=0.5,
        mean_fd_cutoff=1,
        den="91k",
        structures="cortex",
        surfaces_dir="surfaces",
        mask="m.nii.gz",
        alpha=5,
        label_atlas="a.nii.gz",
        maps="networks",
        model="group",
        participants_file="people.tsv",
        model_file="model.json",
        blocks="site",
        within="ses-2 - ses-1",
        cluster_threshold=0.001,
        nbs_threshold=0.001,
    )
    recorded = [name for table in science_as_tables(settings.science).values() for name in table]
    assert sorted(recorded) == sorted(set(NAMES) - NOT_SCIENCE - {"datasets"})
