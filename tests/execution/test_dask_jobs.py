"""The configuration of dask workers as cluster jobs: errors, and how it is used."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dask_support import JOBS, execution, what_is_said
from support import FIXTURES, nidecomp

from nidecomp.config.execution import Execution
from nidecomp.core.errors import UsageError
from nidecomp.core.text import MOST_BYTES
from nidecomp.execution.choose import check_executor, executor_for, worker_memory_mb

pytest.importorskip("dask_jobqueue", reason="the extra nidecomp[dask] is not installed")


def with_job(line: str) -> str:
    return JOBS.replace("8GB", f"8GB, {line}")


# Invalid configurations: (content of the file, part of the message).
MISTAKES = {
    "no file": (None, "No such file"),
    "no YAML": ("jobqueue: [", "expected"),
    "nothing": ("", "not a configuration of dask"),
    "no system": ("distributed: {adaptive: {maximum: 4}}", "exactly one of htcondor"),
    "two systems": (JOBS.replace("slurm: ", "pbs: {}\n  slurm: "), "found: pbs, slurm"),
    "an unknown system": (JOBS.replace("slurm", "slurn"), "found: slurn"),
    "an unknown name": (JOBS.replace("cores", "coers"), "has no option coers. Did you mean cores?"),
    "no cores": (JOBS.replace("cores: 4, ", ""), "jobqueue.slurm.cores is missing"),
    "workers of several threads": (JOBS.replace("8GB", "8GB, processes: 2"), "remove processes"),
    "no memory": (JOBS.replace(", memory: 8GB", ""), "must be a size such as 4GB"),
    "a memory that is none": (JOBS.replace("8GB", "much"), "must be a size such as 4GB"),
    "a memory below zero": (JOBS.replace("8GB", "-2GB"), "is '-2GB'"),
    "a memory of zero": (JOBS.replace("8GB", "0"), "is 0;"),
    "a memory without end": (JOBS.replace("8GB", ".inf"), "is inf"),
    "more cores than there are": (
        JOBS.replace("cores: 4", "cores: " + "9" * 400),
        "must be at most",
    ),
    "a date that is none": (JOBS + "a: 2020-13-45", "cannot be read: month must be"),
    "a truth that is none": (JOBS + "a: !!bool x", "cannot be read: 'x'"),
    "no end of brackets": (JOBS + "a: " + "[" * 3000, "it is nested too deeply"),
    "a part of itself": (JOBS + "a: &a {b: *a}", "it is nested too deeply"),
    "too large a file": (JOBS + "#" * MOST_BYTES, "it is larger than 17 MB"),
    "no text": (b"\xff" + JOBS.encode(), "can't decode"),
    "a name that is a number": (JOBS + "5: 3", "the name 5 must be text"),
    "a number among names": (JOBS + "  worker: {5: 3}", "the name 5 under distributed.worker"),
    "a name with a dot": (JOBS + "distributed.worker: 3", "must not contain a dot"),
    "a number for a table": (JOBS + "  worker: 3", "distributed.worker is 3; it must be a table"),
    "nothing for a table": (JOBS + "  worker:", "distributed.worker is None; it must be a table"),
    "a number for options": (with_job("scheduler-options: 3"), "is 3; it must be a table"),
    "a number for a list": (with_job("job-extra-directives: 3"), "is 3; it must be a list"),
    "a line for a list": (with_job("job_script_prologue: module load x"), "must be a list"),
    "no upper bound": (JOBS.replace("maximum", "minimum"), "adaptive.maximum is missing"),
    "bounds the wrong way round": (
        JOBS.replace("maximum: 40", "maximum: 2, minimum: 3"),
        "minimum (3) is greater than maximum (2)",
    ),
}


def written(content: str | bytes, folder: Path) -> Path:
    path = folder / "jobs.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_configuration_gets_a_sentence(mistake: str, tmp_path: Path) -> None:
    content, says = MISTAKES[mistake]
    path = tmp_path / "jobs.yaml" if content is None else written(content, tmp_path)
    with pytest.raises(UsageError) as caught:
        check_executor(execution(dask_config=str(path)))
    assert_names(path, str(caught.value), says)


def assert_names(path: Path, said: str, says: str) -> None:
    assert said.startswith(f"--dask-config {path}: ")
    assert says in said
    assert said.isprintable()
    assert len(said) < len(str(path)) + 500


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide submit commands that accept jobs and do nothing."""
    for command in ("sbatch", "scancel"):
        (tmp_path / command).write_text("#!/bin/sh\necho Submitted batch job 7\n")
        (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


# Errors found when a job script is made: (content of the file, part of the message).
NO_JOBS = {
    "a network that is not there": (with_job("interface: nosuch0"), "'nosuch0' with an IPv4"),
    "networks, listed": (with_job("interface: nosuch0"), "use one of lo"),
    "a list for a network": (with_job("interface: [lo]"), "no network interface ['lo']"),
    "a network of the scheduler": (
        with_job("scheduler-options: {interface: nosuch1}"),
        "no network interface 'nosuch1'",
    ),
    "lines that are none": (with_job("job-script-prologue: [3]"), "expected str instance"),
    "no list of directives": (with_job("job-extra-directives:"), "not iterable"),
}
# Errors found when the scheduler starts.
NO_CLUSTER = {
    "an unknown option": (with_job("scheduler-options: {nosuch: 1}"), "'nosuch'"),
    "a time that is none": (JOBS + "  scheduler: {idle-timeout: soon}", "Invalid time unit: soon"),
    "a list for a time": (JOBS + "  client: {heartbeat: []}", "'list' object"),
    "a host that is none": (with_job("scheduler-options: {host: nosuch.invalid}"), "[Errno -"),
    "no place for output": (with_job("log-directory: /proc/nosuch"), "/proc/nosuch"),
}


@pytest.mark.parametrize("mistake", NO_JOBS)
def test_a_job_that_cannot_be_written_down_gets_a_sentence(
    mistake: str, slurm: None, tmp_path: Path
) -> None:
    content, says = NO_JOBS[mistake]
    path = written(content, tmp_path)
    with pytest.raises(UsageError) as caught:
        check_executor(execution(dask_config=str(path)))
    assert_names(path, str(caught.value), says)


def test_a_cluster_that_does_not_start_gets_a_sentence_and_no_more(
    slurm: None, tmp_path: Path
) -> None:
    paths = {mistake: tmp_path / mistake / "jobs.yaml" for mistake in NO_CLUSTER}
    for mistake, path in paths.items():
        path.parent.mkdir()
        written(NO_CLUSTER[mistake][0], path.parent)
    lines = what_is_said("dask_config", *map(str, paths.values()))
    for (mistake, path), said in zip(paths.items(), lines, strict=True):
        assert_names(path, said, NO_CLUSTER[mistake][1])


@pytest.mark.parametrize(
    "line",
    [
        "interface: lo",
        "scheduler-options:",
        "job-script-prologue:",
        "interface: nosuch0, scheduler-options: {host: 127.0.0.1}",
    ],
)
def test_what_dask_jobqueue_takes_is_taken(line: str, slurm: None, tmp_path: Path) -> None:
    merged = with_job(line) + "  adaptive: &a {maximum: 3}\nmine: {<<: *a, b: *a}\n"
    path = written(merged, tmp_path)
    where = execution(dask_config=str(path))
    check_executor(where)
    with executor_for(where, tmp_path, 1):
        pass


def test_the_memory_of_a_job_is_that_of_its_workers_together(tmp_path: Path) -> None:
    path = written(JOBS, tmp_path)
    assert worker_memory_mb(execution(dask_config=str(path))) == 2000
    assert worker_memory_mb(execution(dask_scheduler="tcp://there:8786")) == math.inf
    assert worker_memory_mb(execution()) is None
    assert worker_memory_mb(Execution()) is None


def test_the_configuration_in_the_documents_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[2] / "docs" / "dask_slurm.yaml"
    assert worker_memory_mb(execution(dask_config=str(path))) == 2000
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="the command sbatch was not found"):
        check_executor(execution(dask_config=str(path)))


def test_in_a_thread_the_file_is_not_what_is_wrong(tmp_path: Path) -> None:
    """dask-jobqueue sets signal handlers on import."""
    program = (
        "import sys, threading; from nidecomp.execution.choose import worker_memory_mb\n"
        "from nidecomp.core.errors import UsageError\n"
        "from nidecomp.config.execution import Execution\n"
        "def work():\n"
        "    try: worker_memory_mb(Execution(executor='dask', dask_config=sys.argv[1]))\n"
        "    except UsageError as error: print(error)\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()"
    )
    words = [sys.executable, "-c", program, str(written(JOBS, tmp_path))]
    said = subprocess.check_output(words, text=True)
    assert said.startswith("dask_config: jobs can only be started in the main thread of a program")


def test_a_broken_configuration_of_dask_itself_is_a_sentence(tmp_path: Path) -> None:
    written("[", tmp_path)
    words = [str(FIXTURES / "no_res"), str(tmp_path / "out"), "group", "--executor", "dask"]
    done = nidecomp(*words, DASK_CONFIG=str(tmp_path))
    assert done.exit_code == 2
    assert done.stderr.startswith("nidecomp: --executor dask: dask cannot be used: ")
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_stays_what_it_was(tmp_path: Path) -> None:
    """On import, dask-jobqueue makes Ctrl-C end the program silently with exit code 0."""
    path = str(written(JOBS, tmp_path))
    program = (
        "import signal; from nidecomp.execution.choose import worker_memory_mb\n"
        "from nidecomp.config.execution import Execution\n"
        f"worker_memory_mb(Execution(executor='dask', dask_config={path!r}))\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "import sys; assert 'dask_jobqueue' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
