"""Images of annexed datasets are fetched as they are needed: a whole analysis.

`check_annex.py` has the other ways, and kills the analysis wherever it can be killed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from annexed import (
    analysed,
    calls_in,
    clone_of,
    fetched_in,
    git,
    images_in,
    make_origin,
    watching,
    without_paths,
)
from groups_of_people import write_people
from support import FIXTURES


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_origin(FIXTURES / "several_tasks", tmp_path_factory.mktemp("annexed") / "origin")


def test_results_are_those_of_an_ordinary_copy_with_few_images_at_a_time(
    origin: Path, tmp_path: Path, small_output: Path
) -> None:
    dataset, watch = clone_of(origin, tmp_path / "clone"), tmp_path / "watch"
    first, *others = images_in(dataset)
    git(dataset, "annex", "get", "--quiet", str(first.relative_to(dataset)))
    environment = watching(watch, dataset=dataset)

    done = analysed(dataset, tmp_path / "networks", **environment)
    assert done.exit_code == 0, done.stderr
    assert without_paths(tmp_path / "networks") == without_paths(small_output)
    calls = calls_in(watch)
    # Small files, then each image for reducing and for projecting it.
    assert [name for name, _ in calls].count("get") == 1 + 2 * len(others)
    # One core: one image is read while another one is fetched, beside the one that was there.
    most = max(sum(sizes) for _, sizes in calls)
    two_largest = sum(sorted(path.stat().st_size for path in images_in(origin))[-2:])
    assert first.stat().st_size < most <= first.stat().st_size + two_largest
    assert fetched_in(dataset) == [first.name]
    assert not list((dataset / ".git" / "nidecomp").glob("*.json"))
    assert "Fetching 12 files, 166 kB: masks, confounds tables and sidecars" in done.stderr
    assert (
        "Fetching: 5 images, 107 kB (6 runs, 1 image of them is there); at most 2 at a time"
        in done.stderr
    )

    again = analysed(dataset, tmp_path / "networks", **environment)
    assert again.exit_code == 0, again.stderr
    assert "nothing is made again" in again.stderr
    assert calls_in(watch) == calls


def test_the_table_of_participants_is_fetched_for_a_comparison(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people")
    dataset = clone_of(make_origin(people, tmp_path / "origin"), tmp_path / "clone")
    asked = ("--model", "group", "--test", "group", "--denoise-strategy", "none", "--dry-run")
    without = analysed(dataset, tmp_path / "out", *asked, fetch=False)
    assert without.exit_code == 2
    assert "participants.tsv: the content of the file was not fetched" in without.stderr
    done = analysed(dataset, tmp_path / "out", *asked)
    assert done.exit_code == 0, done.stderr
    assert "Comparing 12 participants in the model group" in done.stdout
    assert not fetched_in(dataset)


def test_surfaces_give_the_results_of_an_ordinary_copy_and_are_not_all_there_at_once(
    tmp_path: Path,
) -> None:
    """They are fetched for the group mask, and again to be reduced with it."""
    source = tmp_path / "source"
    for path in (FIXTURES / "surfaces").glob("sub-0[123]/func/*"):
        if "_space-fsLR_" not in path.name:
            target = source / path.relative_to(FIXTURES / "surfaces")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copy(FIXTURES / "surfaces" / "dataset_description.json", source)
    dataset = clone_of(make_origin(source, tmp_path / "origin"), tmp_path / "clone")
    watch, words = tmp_path / "watch", ("--space", "fsaverage3", "--level", "minimal")
    there = analysed(source, tmp_path / "there", *words, fetch=False)
    assert there.exit_code == 0, there.stderr
    environment = watching(watch, dataset=dataset)
    done = analysed(dataset, tmp_path / "fetched", *words, **environment)
    assert done.exit_code == 0, done.stderr
    assert without_paths(tmp_path / "fetched") == without_paths(tmp_path / "there")
    calls = calls_in(watch)
    # Small files, then both hemispheres of three runs, twice.
    assert [name for name, _ in calls].count("get") == 1 + 2 * 2 * 3
    assert max(len(sizes) for _, sizes in calls) in {2, 4}
    assert calls[-1] == ("drop", [])


def test_without_fetch_it_is_said_how_to_get_the_content(origin: Path, tmp_path: Path) -> None:
    dataset = clone_of(origin, tmp_path / "clone")
    done = analysed(dataset, tmp_path / "networks", fetch=False)
    assert done.exit_code == 70
    assert "links to content that was not fetched" in done.stderr
    assert "or use --fetch" in done.stderr


def test_a_further_dataset_is_fetched_too(origin: Path, tmp_path: Path) -> None:
    further = clone_of(origin, tmp_path / "clone")
    words = ("--level", "minimal", "--task-id", "rest")
    done = analysed(
        FIXTURES / "several_tasks", tmp_path / "out", "--datasets", f"B={further}", *words
    )
    assert done.exit_code == 0, done.stderr
    assert "Fetching: 3 images" in done.stderr
    assert fetched_in(further) == []
    assert len(list((tmp_path / "out" / "work" / "reduced").glob("sub-B*"))) == 3
