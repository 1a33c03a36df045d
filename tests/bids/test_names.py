"""File names of the outputs, tested for all possible labels."""

from __future__ import annotations

import re
import string
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from nidecomp.bids.names import (
    RUN_ENTITIES,
    FileLabels,
    ambiguous_runs,
    atlas_description_file,
    file_name,
    group_file,
    mask_file,
    pooled_task,
    projected_file,
    run_file,
    shared_key,
    sidecar_of_run,
)
from nidecomp.core.records import RunKey
from nidecomp.decomposition.components import component_names

LAW = law(deadline=None, max_examples=100, database=None)
labels = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
words = st.text(string.ascii_lowercase, min_size=1, max_size=8)
extensions = st.sampled_from([".nii.gz", ".json", ".tsv", ".html"])
methods = st.sampled_from(["canica", "dictlearning"])


def parsed(name: str) -> tuple[list[tuple[str, str]], str, str]:
    """Return the entities, in order, the suffix and the extension of a BIDS file name."""
    stem, dot, extension = name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = [(pair.split("-")[0], pair.split("-", 1)[1]) for pair in pairs]
    return entities, suffix, dot + extension


@LAW
@given(st.dictionaries(words, st.none() | labels | st.integers(min_value=0)), words, extensions)
def test_every_entity_with_a_value_stands_once_in_the_order_given(
    entities: dict[str, str | int | None], suffix: str, extension: str
) -> None:
    name = file_name(entities, suffix, extension)
    given_ones = [(key, str(value)) for key, value in entities.items() if value is not None]
    assert parsed(name) == (given_ones, suffix, extension)
    assert name.count("-") == name.count("_") == len(given_ones)


@LAW
@given(
    st.fixed_dictionaries(
        {
            "space": labels,
            "task": st.sets(labels, min_size=1).map(pooled_task),
            "atlas": labels,
            "method": methods,
            "n_components": st.integers(2, 999),
            "res": st.none() | labels,
        }
    ),
    words,
    extensions,
)
def test_a_group_files_name_says_all_that_tells_it_apart(
    entities: dict[str, Any], suffix: str, extension: str
) -> None:
    task = entities.pop("task")
    path = group_file(suffix, extension, FileLabels(**entities), task)
    pairs, found_suffix, found_extension = parsed(path.name)
    values = dict(pairs)
    assert len(values) == len(pairs)
    assert path.parent == PurePosixPath(f"tpl-{entities['space']}/func")
    assert (found_suffix, found_extension) == (suffix, extension)
    assert values.pop("res", None) in {None, entities["res"]}
    assert values == {
        "tpl": entities["space"],
        "task": task,
        "atlas": entities["atlas"],
        "seg": entities["method"],
        "scale": str(entities["n_components"]),
    }


@pytest.mark.parametrize("res", [None, "2", "native"])
@pytest.mark.parametrize("suffix", ["components", "probseg", "dseg", "metrics", "decomposition"])
def test_images_alone_have_a_resolution(suffix: str, res: str | None) -> None:
    path = group_file(suffix, ".x", FileLabels("S", "A", "canica", 2, res), "t")
    is_image = suffix in {"components", "probseg", "dseg"}
    assert (f"res-{res}" in path.name) == (is_image and res is not None)
    assert ("res-" in path.name) == (is_image and res is not None)


def test_no_two_files_of_the_group_share_a_name() -> None:
    paths = [
        group_file(suffix, ".json", FileLabels("S", "A", m, k, "2"), t)
        for suffix in ("components", "probseg", "metrics", "decomposition")
        for t in ("rest", "nback", "nback+rest")
        for m in ("canica", "dictlearning")
        for k in (2, 20, 200)
    ]
    assert len(set(paths)) == len(paths)


@LAW
@given(labels, st.none() | labels, extensions)
def test_the_mask_stands_in_the_anat_folder_of_its_template(
    space: str, res: str | None, extension: str
) -> None:
    path = mask_file(FileLabels(space, "A", "canica", 2, res), "mask", extension)
    entities, suffix, found_extension = parsed(path.name)
    assert path.parent == PurePosixPath(f"tpl-{space}/anat")
    assert entities == [("tpl", space), *([("res", res)] if res else []), ("desc", "brain")]
    assert (suffix, found_extension) == ("mask", extension)


@LAW
@given(st.lists(labels, min_size=1).flatmap(lambda t: st.tuples(st.just(t), st.permutations(t))))
def test_pooled_tasks_have_one_name_in_any_order(both: tuple[list[str], list[str]]) -> None:
    tasks, shuffled = both
    assert pooled_task(tasks) == pooled_task(shuffled) == pooled_task(tasks + tasks)
    joined = "+".join(sorted(set(tasks)))
    assert pooled_task(tasks) == joined or len(joined) > 40


@LAW
@given(labels)
def test_one_task_alone_keeps_its_name(task: str) -> None:
    assert pooled_task([task]) == task


@LAW
@given(st.sets(st.sampled_from(sorted(RUN_ENTITIES))), labels, words, extensions)
def test_a_runs_file_carries_the_runs_own_name(
    others: set[str], label: str, suffix: str, extension: str
) -> None:
    names = [name for name in RUN_ENTITIES if name in {"sub", "task", *others}]
    run = RunKey(tuple((name, label) for name in names))
    path = run_file(run, suffix, extension)
    assert path.name == f"{run.label}_{suffix}{extension}"
    assert parsed(path.name) == ([(name, label) for name in names], suffix, extension)
    folders = [f"{name}-{label}" for name in ("sub", "ses") if name in names]
    assert path.parent == PurePosixPath(*folders, "func")


@LAW
@given(st.sets(st.sampled_from(sorted(RUN_ENTITIES))), labels, st.none() | labels, words)
def test_what_a_run_has_of_a_decomposition_carries_both_names(
    others: set[str], label: str, res: str | None, suffix: str
) -> None:
    names = [name for name in RUN_ENTITIES if name in {"sub", "task", *others}]
    run = RunKey(tuple((name, label) for name in names))
    of = FileLabels("S", "A", "canica", 20, res, "1")
    path = projected_file(run, suffix, ".tsv", of, stat="z", desc="x")
    assert path.parent == run_file(run, suffix, ".tsv").parent
    entities, found_suffix, extension = parsed(path.name)
    assert entities[: len(names)] == [(name, label) for name in names]
    is_image = suffix in {"components", "probseg", "dseg"}
    assert entities[len(names) :] == [
        *(("space", "S"), ("cohort", "1"), ("atlas", "A"), ("seg", "canica"), ("scale", "20")),
        *([("res", res)] if res and is_image else []),
        *(("stat", "z"), ("desc", "x")),
    ]
    assert (found_suffix, extension) == (suffix, ".tsv")


def test_runs_together_are_named_by_what_they_agree_in() -> None:
    first = RunKey((("sub", "1"), ("ses", "a"), ("task", "rest"), ("dir", "AP"), ("run", "1")))
    second = RunKey((("sub", "1"), ("ses", "b"), ("task", "nback"), ("dir", "AP")))
    expected = (("sub", "1"), ("task", "nback+rest"), ("dir", "AP"))
    assert shared_key([first, second]).entities == expected
    assert shared_key([first]) == first


def test_the_atlas_card_is_named_after_the_atlas() -> None:
    assert str(atlas_description_file("Mine")) == "atlas-Mine_description.json"


@LAW
@given(methods, st.integers(1, 1200))
def test_component_names_are_unique_sorted_and_of_one_length(method: str, n: int) -> None:
    names = component_names(method, n)
    assert len(set(names)) == len(names) == n
    assert list(names) == sorted(names)
    assert len({len(name) for name in names}) == 1
    numbers = [re.fullmatch(rf"{method}(\d\d+)", name) for name in names]
    assert [int(number[1]) for number in numbers if number] == list(range(1, n + 1))


@LAW
@given(st.sets(st.text(string.ascii_letters + string.digits, min_size=1, max_size=30), min_size=1))
def test_a_label_of_pooled_tasks_is_bounded_and_tells_sets_apart(tasks: set[str]) -> None:
    label = pooled_task(tasks)
    assert re.fullmatch(r"[a-zA-Z0-9+]+", label)
    assert label == pooled_task([*sorted(tasks, reverse=True), *tasks])
    assert len(label) <= 40 or len(tasks) == 1
    if label != "+".join(sorted(tasks)):
        assert label.startswith(f"{len(tasks)}tasks+")
        assert label != pooled_task({*tasks, "another"})


def test_runs_of_which_one_has_all_entities_of_another_are_ambiguous() -> None:
    """A JSON of the first would describe the tables of the second, too."""
    labels = FileLabels("T", "A", "canica", 2)
    plain, fast, other, elsewhere = (
        RunKey(tuple(tuple(pair.split("-")) for pair in name.split("_")))
        for name in (
            "sub-01_task-rest",
            "sub-01_task-rest_acq-fast",
            "sub-01_task-nback_run-1",
            "sub-02_task-rest_acq-fast",
        )
    )
    assert ambiguous_runs([plain, fast, other, elsewhere]) == {plain, fast}
    assert ambiguous_runs([fast, other, elsewhere]) == frozenset()
    sidecar = sidecar_of_run(plain, "timeseries", labels).stem.split("_")
    table = projected_file(fast, "timeseries", ".tsv", labels).stem.split("_")
    assert set(sidecar) < set(table)
