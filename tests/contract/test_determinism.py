"""Same inputs and settings, same bytes: whatever the processes, the order and the interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import (
    FIXTURES,
    IN_WORKERS,
    group_file,
    nidecomp,
    results,
    server,
    small,
    snapshot,
    validator_issues,
)

import nidecomp as package

REST = FIXTURES / "rest"


def test_two_processes_and_closed_streams_change_no_byte_of_all_that_is_written_of_runs(
    tmp_path: Path,
) -> None:
    """Each run's maps and images without components are made where it is projected.

    Streams are closed as of a service that was started without any of the three.
    """
    of_runs = ("--participant-maps", "--regress-out", "canica01", "--task-id", "rest")
    done = nidecomp(*small(tmp_path / "1", *of_runs, "--nprocs", 1))
    assert done.exit_code == 0, done.stderr
    two = (*small(tmp_path / "2", *of_runs), "--no-report", "--nprocs", 2)
    command = [sys.executable, "-m", "nidecomp", *map(str, two)]
    code = subprocess.call(
        ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command],
        timeout=300,
        start_new_session=True,
    )
    assert code == 0
    assert list(tmp_path.glob("1/sub-*/func/*_stat-z_components.nii.gz"))
    assert list(tmp_path.glob("1/sub-*/func/*_desc-canica3nonaggr_bold.nii.gz"))
    assert results(tmp_path / "1") == results(tmp_path / "2")


def test_a_killed_run_is_completed_to_the_same_bytes(small_output: Path, tmp_path: Path) -> None:
    output = tmp_path / "networks"
    # Three runs, of a file each, are done by then.
    where = str(output / "work" / "reduced")
    fault = {"event": "rename", "number": 4, "does": "kill", "only": where}
    words = small(output, "--nprocs", "1", "--no-report")
    assert server().run(*words, fault=fault).code == -signal.SIGKILL
    assert not list(output.glob("tpl-*")), "it had written results before it was killed"
    kept = snapshot(output / "work" / "reduced")

    done = nidecomp(*small(output))
    assert done.exit_code == 0, done.stderr
    assert _but_links(results(output)) == _but_links(results(small_output))
    after = snapshot(output / "work" / "reduced")
    finished = {name for name in kept if not name.startswith(".")}
    assert len(finished) >= 3
    for name in finished:
        assert after[name] == kept[name], "a run that was done is not done again"


@pytest.mark.parametrize(
    ("executor", "stop", "code"),
    [
        ("local", os.kill, 143),
        # As a terminal does after Ctrl-C: all processes get the signal.
        ("dask", os.killpg, 130),
    ],
    ids=["local, SIGTERM", "dask, Ctrl-C"],
)
def test_a_signal_ends_the_workers_too_and_the_next_start_completes(
    small_output: Path,
    tmp_path: Path,
    executor: str,
    stop: Callable[[int, int], None],
    code: int,
) -> None:
    if executor == "dask":
        pytest.importorskip("distributed", reason="the extra nidecomp[dask] is not installed")
    output, held = tmp_path / "networks", tmp_path / "held"
    words = small(output, "--executor", executor, "--nprocs", "2", "--no-report")
    process = subprocess.Popen(
        [sys.executable, "-m", "nidecomp", *map(str, words)],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        # The worker that has the last run is at work on it for as long as it may.
        env={
            **os.environ,
            "PYTHONPATH": str(IN_WORKERS),
            "NIDECOMP_TEST_HELD": "sub-03_task-rest",
            "NIDECOMP_TEST_HOLDS": str(held),
        },
    )
    while not (held.exists() and list(output.glob("work/reduced/*.npy"))):
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.005)
    stop(process.pid, code - 128)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "interrupted" in said
    assert "Traceback" not in said
    assert "distributed" not in said
    give_up = time.monotonic() + 60
    while _alive_in_group(process.pid):
        assert time.monotonic() < give_up, "its workers outlived it"
        time.sleep(0.1)
    # Where it was stopped and how it goes on need not be the same.
    done = nidecomp(*small(output, "--nprocs", "1"))
    assert done.exit_code == 0, done.stderr
    assert _but_links(results(output)) == _but_links(results(small_output))


def test_participant_jobs_are_found_by_the_group(small_output: Path, tmp_path: Path) -> None:
    output, work = tmp_path / "networks", tmp_path / "work"
    for label in ("01", "02", "03"):
        job = ("--participant-label", label, "--work-dir", work)
        done = nidecomp(*small(output, *job, level="participant"))
        assert done.exit_code == 0, done.stderr
    reduced = snapshot(work / "reduced")
    assert sum(name.endswith(".npy") for name in reduced) == 6
    done = nidecomp(*small(output, "--work-dir", work))
    assert done.exit_code == 0, done.stderr
    assert snapshot(work / "reduced") == reduced
    assert _but_links(results(output)) == _but_links(results(small_output))


def test_a_changed_setting_or_file_is_not_served_from_the_work_folder(tmp_path: Path) -> None:
    source = _copy(FIXTURES / "several_tasks", tmp_path / "input")
    work = tmp_path / "work"

    def reduced_after(*options: str) -> set[str]:
        done = nidecomp(
            source, tmp_path / "out", "participant", "--work-dir", work, "--nprocs", "1",
            "--n-components", "3", *options,
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        return {path.name for path in (work / "reduced").glob("*.npy")}

    first = reduced_after()
    assert reduced_after() == first
    smoothed = reduced_after("--smoothing-fwhm", "5")
    assert len(smoothed) == 2 * len(first)
    table = next(source.rglob("sub-01_*_desc-confounds_timeseries.tsv"))
    table.write_text(table.read_text().replace("0.0", "0.1", 3))
    assert len(reduced_after()) == len(smoothed) + 1


def test_python_does_the_same_as_the_command(small_output: Path, tmp_path: Path) -> None:
    outcome = package.decompose(
        FIXTURES / "several_tasks", tmp_path / "networks", n_components=3, n_init=2,
        no_report=True, nprocs=1,
    )  # fmt: skip
    assert outcome.exit_code == 0
    assert outcome.n_decompositions == 2
    assert _but_links(results(tmp_path / "networks")) == _but_links(results(small_output))


def test_the_settings_written_replay_the_run(small_output: Path, tmp_path: Path) -> None:
    config = small_output / "logs" / "settings.toml"
    output = tmp_path / "networks"
    source, *_ = small(output)
    done = nidecomp(source, output, "group", "--config-file", config)
    assert done.exit_code == 0, done.stderr
    assert _but_links(results(output)) == _but_links(results(small_output))


def _alive_in_group(group: int) -> list[int]:
    """List the processes of a group that do something; the dead wait for their parent to look."""
    alive = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Fields after the name in parentheses: state, parent, process group.
            state, _, its_group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            alive.append(int(status.parent.name))
    return alive


def _copy(source: Path, target: Path) -> Path:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # noqa: S607
    return target


def _but_links(hashes: dict[str, str]) -> dict[str, str]:
    """Leave out what says where the input lies relative to the output."""
    return {
        name: value
        for name, value in hashes.items()
        if name not in {"dataset_description.json", "logs/manifest.tsv"}
    }


def test_processes_memory_and_threads_change_no_byte(rest_output: Path, tmp_path: Path) -> None:
    """With so little memory, one process does what two did, and one thread fits the group."""
    few = ("--mem-mb", 700, "--nprocs", 2, "--omp-nthreads", 1)
    done = nidecomp(REST, tmp_path / "out", "group", *few)
    assert done.exit_code == 0, done.stderr
    assert "1 at a time" in done.stderr
    assert "threads: 1" in done.stderr
    assert _but_links(results(tmp_path / "out")) == _but_links(results(rest_output))


def test_two_smoothings_from_one_read_are_those_of_two_runs(tmp_path: Path) -> None:
    """CanICA's maps do not change, and dictionary learning's rows are stored beside its own."""
    few = ("--participant-label", "01", "02", "04", "--n-components", 5, "--level", "minimal")
    words = ("group", *few)
    both = nidecomp(
        REST, tmp_path / "both", *words, "--dictlearning-smoothing-fwhm", 10, "-w", tmp_path / "w"
    )
    assert both.exit_code == 0, both.stderr
    for fwhm, method in ((6, "canica"), (10, "dictlearning")):
        fwhms = ("--smoothing-fwhm", fwhm)
        alone = nidecomp(REST, tmp_path / method, *words, *fwhms, "-w", tmp_path / f"w{fwhm}")
        assert alone.exit_code == 0, alone.stderr
        stored = {path.name: path.read_bytes() for path in (tmp_path / "w/reduced").glob("*.npy")}
        own = {
            path.name: path.read_bytes() for path in (tmp_path / f"w{fwhm}/reduced").glob("*.npy")
        }
        assert len(own) == 3
        assert own.items() <= stored.items()
    same = [
        group_file(tmp_path / name, "canica", "components", ".nii.gz")
        for name in ("both", "canica")
    ]
    assert same[0].read_bytes() == same[1].read_bytes()


def test_the_full_level_adds_to_the_minimal_one(small_output: Path, tmp_path: Path) -> None:
    minimal = nidecomp(*small(tmp_path / "out", "--level", "minimal"))
    assert minimal.exit_code == 0, minimal.stderr
    kinds = {path.name.split("_")[-1] for path in (tmp_path / "out").glob("tpl-*/func/*")}
    assert kinds == {
        "components.nii.gz", "components.json", "decomposition.json",
    }  # fmt: skip
    assert validator_issues(tmp_path / "out") == []
    full = nidecomp(*small(tmp_path / "out"))
    assert full.exit_code == 0, full.stderr
    assert _but_links(results(tmp_path / "out")) == _but_links(results(small_output))
