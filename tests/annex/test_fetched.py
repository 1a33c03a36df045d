"""A file is at hand as long as it is read, and dropped afterwards if it was fetched for that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from annexed import NOBODY, clone_of, git, make_origin

from nidecomp.annex import commands
from nidecomp.annex.commands import check_installed, check_writable, get, set_up, size_of
from nidecomp.annex.fetched import all_at_hand, at_hand, drop_leftovers
from nidecomp.annex.git import repository_of
from nidecomp.annex.ledger import one_at_a_time
from nidecomp.annex.subdatasets import install, is_not_installed
from nidecomp.core.content import is_not_fetched
from nidecomp.core.errors import FailedRunError, UsageError

READ = """
import sys
from pathlib import Path
from nidecomp.annex.fetched import at_hand
with at_hand(Path(sys.argv[1])):
    print(Path(sys.argv[1]).read_text(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name, text in (("one", "1" * 5000), ("same", "1" * 5000), ("two", "2" * 7000)):
        (source / name).write_text(text)
    return make_origin(source, tmp_path_factory.mktemp("annexed") / "origin")


@pytest.fixture
def dataset(origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in NOBODY.items():
        monkeypatch.setenv(name, value)
    return clone_of(origin, tmp_path / "clone")


def entries(dataset: Path) -> list[Path]:
    return list((dataset / ".git" / "nidecomp").glob("*.json"))


def in_annex(dataset: Path) -> list[Path]:
    return [path for path in (dataset / ".git" / "annex").rglob("*MD5E*") if path.is_file()]


def contents(dataset: Path) -> list[Path]:
    """Whole and partial content, without what is noted about it."""
    return [path for path in in_annex(dataset) if path.suffix != ".log"]


@pytest.mark.parametrize("unlocked", [False, True])
def test_a_file_is_fetched_for_a_block_and_dropped_after_it(
    unlocked: bool, dataset: Path, tmp_path: Path
) -> None:
    if unlocked:
        git(dataset, "annex", "init", "--quiet")
        git(dataset, "annex", "adjust", "--quiet", "--unlock")
    file = dataset / "two"
    assert size_of(file) == 7000
    for _ in range(2):
        with at_hand(file):
            assert file.read_text() == "2" * 7000
            assert size_of(file) == 7000
            assert len(entries(dataset)) == 1
        assert is_not_fetched(file)
        assert file.is_symlink() != unlocked
        assert not entries(dataset)
        assert not contents(dataset)


def test_an_error_in_the_block_does_not_keep_the_file(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="damaged"), at_hand(dataset / "two"):
        raise ValueError("damaged")
    assert is_not_fetched(dataset / "two")


def test_what_was_there_is_never_dropped(dataset: Path, tmp_path: Path) -> None:
    assert get([dataset / "two"]) == {}
    with at_hand(dataset / "two"):
        assert not entries(dataset)
    assert not is_not_fetched(dataset / "two")
    assert drop_leftovers(dataset) == {}
    assert not is_not_fetched(dataset / "two")


@pytest.mark.parametrize("other", ["one", "same"])
def test_processes_that_read_the_same_content_take_turns(
    other: str, dataset: Path, tmp_path: Path
) -> None:
    """Two links to the same content have one copy, which the first would drop."""
    done = threading.Event()

    def read() -> None:
        with at_hand(dataset / other):
            assert (dataset / other).read_text() == "1" * 5000
        done.set()

    with at_hand(dataset / "one"):
        waiting = threading.Thread(target=read)
        waiting.start()
        assert not done.wait(0.2)
        assert drop_leftovers(dataset) == {}
        assert not is_not_fetched(dataset / "one")
    assert done.wait(20)
    waiting.join()
    assert not contents(dataset)
    assert not entries(dataset)


@pytest.mark.parametrize(
    ("command", "when"),
    [("get", "before"), ("get", "during"), ("get", "after"), ("drop", "before"), ("drop", "after")],
)
def test_whenever_a_process_is_killed_the_next_one_drops_what_it_fetched(
    command: str, when: str, dataset: Path, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "git-annex"
    program.parent.mkdir()
    partial = dataset / ".git" / "annex" / "tmp" / (dataset / "two").readlink().name
    real = f'{NOBODY["PATH"].partition(os.pathsep)[0]}/git-annex "$@"'
    does = {
        "before": "",
        "during": f"mkdir -p {partial.parent}; echo half > {partial}",
        "after": real,
    }[when]
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = {command} ]; then\n{does}\nkill -9 $PPID; exit; fi\n{real}\n'
    )
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{NOBODY['PATH']}"
    ended = subprocess.run(
        [sys.executable, "-c", READ, dataset / "two"],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == -9, ended.stderr
    assert len(entries(dataset)) == 1
    is_there = (command, when) in {("get", "after"), ("drop", "before")}
    assert is_not_fetched(dataset / "two") != is_there
    assert bool(contents(dataset)) == (is_there or when == "during")

    # What called git-annex may hold the lock for a moment longer.
    give_up = time.monotonic() + 20
    while entries(dataset) and time.monotonic() < give_up:
        assert drop_leftovers(dataset) == {}
    assert not contents(dataset)
    assert not entries(dataset)


def test_a_process_killed_before_it_noted_anything_leaves_nothing(dataset: Path) -> None:
    (dataset / ".git" / "nidecomp").mkdir()
    (dataset / ".git" / "nidecomp" / "0.json").touch()
    assert drop_leftovers(dataset) == {}
    assert not entries(dataset)


def test_commands_with_other_work_folders_take_turns_and_odd_names_are_read(
    origin: Path, tmp_path: Path
) -> None:
    """A name with a character that ends a line for some."""
    odd = tmp_path / "data\u2028ü"
    odd.mkdir()
    dataset = clone_of(origin, odd / "clone")
    with at_hand(dataset / "two"):
        (entry,) = entries(dataset)
        assert json.loads(entry.read_text()) == str(dataset / "two")
        git(dataset, "remote", "rename", "origin", "other")
        git(dataset, "remote", "remove", "other")
    assert list(drop_leftovers(dataset)) == [dataset / "two"]


def test_a_ledger_that_cannot_be_written_fails_the_run(dataset: Path) -> None:
    (dataset / ".git" / "nidecomp").touch()
    with (
        pytest.raises(FailedRunError, match="cannot be written to"),
        at_hand(dataset / "two"),
    ):
        pytest.fail("it was fetched")
    assert is_not_fetched(dataset / "two")


def test_processes_that_are_the_first_to_use_a_clone_set_it_up_once(dataset: Path) -> None:
    def use(name: str) -> dict[Path, str]:
        with one_at_a_time(dataset):
            set_up(dataset)
        return get([dataset / name])

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(use, ("one", "two", "one"))) == [{}, {}, {}]
    assert "disabled" not in git(dataset, "config", "--list")


def test_what_cannot_be_fetched_is_a_failed_run_with_the_reason_of_git_annex(
    dataset: Path, tmp_path: Path
) -> None:
    git(dataset, "annex", "init", "--quiet")
    git(dataset, "remote", "remove", "origin")
    with (
        pytest.raises(FailedRunError, match=r"its image two could not be fetched: .*available"),
        at_hand(dataset / "two"),
    ):
        pytest.fail("it is not there")
    assert not entries(dataset)


def test_nothing_more_is_fetched_where_nothing_can_be_dropped(
    dataset: Path, tmp_path: Path
) -> None:
    with at_hand(dataset / "two"):
        git(dataset, "remote", "remove", "origin")
    assert not is_not_fetched(dataset / "two")
    with (
        pytest.raises(FailedRunError, match=r"no further image is fetched, because .*two"),
        at_hand(dataset / "one"),
    ):
        pytest.fail("it was fetched")
    assert list(drop_leftovers(dataset)) == [dataset / "two"]


def test_programs_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.shutil, "which", lambda name, **_: name if name == "git" else None)
    with pytest.raises(UsageError, match=r"--fetch needs git-annex, .* 'pip install git-annex'"):
        check_installed()
    monkeypatch.undo()
    check_installed()


def test_a_repository_that_cannot_be_written_to_is_one_sentence(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_writable(dataset / "two")
    monkeypatch.setattr(commands.os, "access", lambda *_: False)
    with pytest.raises(UsageError, match=f"'git clone {dataset} CLONE'"):
        check_writable(dataset / "two")
    (tmp_path / "alone").symlink_to("nowhere")
    with pytest.raises(UsageError, match="is in no git repository"):
        check_writable(tmp_path / "alone")


def test_a_subdataset_is_installed_and_its_files_fetched(
    origin: Path, dataset: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "super"
    whole.mkdir()
    git(whole, "init", "--quiet")
    git(whole, "submodule", "--quiet", "add", str(origin), "ds1")
    git(whole, "commit", "--quiet", "-m", "one")
    folder = clone_of(whole, tmp_path / "superclone") / "ds1"
    assert is_not_installed(folder)
    assert not is_not_installed(dataset)
    # Links are followed first: out of a repository, and into one.
    (tmp_path / "empty").mkdir()
    (folder.parent / "out").symlink_to(tmp_path / "empty")
    assert not is_not_installed(folder.parent / "out")
    (tmp_path / "in").symlink_to(folder)
    assert is_not_installed(tmp_path / "in")
    install(tmp_path / "in")
    assert not is_not_installed(folder)
    assert repository_of(folder / "two") == folder.resolve()
    with at_hand(folder / "two"):
        assert (folder / "two").read_text() == "2" * 7000
    assert is_not_fetched(folder / "two")

    (tmp_path / "superclone2").mkdir()
    broken = clone_of(whole, tmp_path / "superclone2" / "clone")
    modules = broken / ".gitmodules"
    modules.write_text(modules.read_text().replace(str(origin), str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match=r"the subdataset .*ds1 could not be installed: "):
        install(broken / "ds1")


def test_an_empty_folder_is_no_subdataset(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not is_not_installed(tmp_path / "empty")
    (dataset / "empty").mkdir()
    assert not is_not_installed(dataset / "empty")
    assert not is_not_installed(tmp_path / "nothing")


def test_two_links_to_the_same_content_are_fetched_as_one(dataset: Path) -> None:
    """Of a pair whose left file was copied to the right, this process would wait for itself."""
    done = threading.Event()

    def read() -> None:
        with all_at_hand([dataset / "one", dataset / "same"]):
            assert (dataset / "same").read_text() == "1" * 5000
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(20)
    assert not contents(dataset)
