"""Options of the comparison that make no sense together are refused before anything is done."""

from __future__ import annotations

import dataclasses

import pytest
from option_examples import build

from nidecomp.config.comparison import ComparisonOptions
from nidecomp.config.comparison_checks import check_comparison, measures_to_compare
from nidecomp.config.parse import settings_from_options
from nidecomp.core.errors import UsageError

OTHERS = {
    "test": "group", "blocks": "site", "compare": "maps", "compare_stat": "z",
    "participants_file": "people.tsv", "n_permutations": 1000, "n_tfce_permutations": 0,
    "cluster_threshold": 0.001, "nbs_threshold": 0.001,
}  # fmt: skip
ASKING = {"model": "group", "model_file": "model.json", "within": "ses-b - ses-a"}


def test_every_option_asks_for_a_comparison_or_needs_one() -> None:
    names = {declared.name for declared in dataclasses.fields(ComparisonOptions)}
    assert names == OTHERS.keys() | ASKING.keys()


@pytest.mark.parametrize("name", ASKING)
def test_what_asks_for_a_comparison_can_stand_alone(name: str) -> None:
    check_comparison(build())
    check_comparison(build(**{name: ASKING[name]}))


@pytest.mark.parametrize("name", OTHERS)
def test_other_options_need_a_model(name: str) -> None:
    flag = "--" + name.replace("_", "-")
    with pytest.raises(
        UsageError, match=f"{flag} is for comparing participants, which needs --model"
    ):
        check_comparison(build(**{name: OTHERS[name]}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model_file": "m.json"}, "--model and --model-file cannot be combined"),
        ({"level": "minimal"}, "cannot be compared with --level minimal"),
        ({"compare": []}, "--compare needs at least one"),
        ({"compare": "connectomes", "connectomes": "tangent"}, "needs --connectomes correlation"),
        ({"compare": "connectomes", "connectomes": "none"}, "needs --connectomes correlation"),
        ({"compare": "maps", "nbs_threshold": 0.01}, "--nbs-threshold is for connectomes"),
        ({"compare": "amplitudes", "cluster_threshold": 0.01}, "--cluster-threshold is for maps"),
        ({"compare": "amplitudes", "normalise_time_courses": True}, "all amplitudes are 1"),
        ({"n_permutations": 400}, "(500) must not be greater than --n-permutations (400)"),
        ({"n_tfce_permutations": 20}, "must be 0, or at least 100"),
        ({"n_tfce_permutations": 0, "cluster_threshold": 0.01}, "--n-tfce-permutations is 0"),
    ],
)
def test_combinations_without_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_comparison(build(**{"model": "group", "test": "group"} | options))
    assert said in str(caught.value)


def test_a_model_file_has_its_tests() -> None:
    with pytest.raises(UsageError, match="--test and --model-file cannot be combined"):
        check_comparison(build(model_file="m.json", test="group"))


def test_jobs_of_participants_may_have_the_options_of_the_group() -> None:
    options = {"model": "group", "test": "group"}
    check_comparison(settings_from_options("in", "out", "participant", options))


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, ("amplitudes", "connectomes", "maps")),
        ({"normalise_time_courses": True}, ("connectomes", "maps")),
        ({"connectomes": "tangent"}, ("amplitudes", "maps")),
        ({"compare": "amplitudes", "normalise_time_courses": True}, ()),
    ],
)
def test_what_cannot_be_compared_is_not_called_compared(
    options: dict[str, object], left: tuple[str, ...]
) -> None:
    assert measures_to_compare(build(model="group", **options).science) == left
