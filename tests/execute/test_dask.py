"""What is particular to dask's workers: where they come from, and what goes wrong."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support import FIXTURES

from nidecomp.errors import NidecompError, UsageError
from nidecomp.execute.choose import check_executor, executor_for, worker_memory_mb
from nidecomp.settings import Execution
from nidecomp.small_files import MOST_BYTES

reason = "the extra nidecomp[dask] is not installed"
dask = pytest.importorskip("dask", reason=reason)
distributed = pytest.importorskip("distributed", reason=reason)
cloudpickle = pytest.importorskip("cloudpickle", reason=reason)

GOOD = """
jobqueue:
  slurm: {cores: 4, memory: 8GB}
distributed:
  adaptive: {maximum: 40}
"""


def ten(i: int) -> str:
    return "[" + ", ".join([f"*a{i}"] * 10) + "]"


def with_job(line: str) -> str:
    return GOOD.replace("8GB", f"8GB, {line}")


# What is wrong: (the file, what is said).
MISTAKES = {
    "no file": (None, "No such file"),
    "no YAML": ("jobqueue: [", "expected"),
    "nothing": ("", "holds no configuration"),
    "no system": ("distributed: {adaptive: {maximum: 4}}", "must be one of htcondor"),
    "two systems": (GOOD.replace("slurm: ", "pbs: {}\n  slurm: "), "is pbs, slurm"),
    "an unknown system": (GOOD.replace("slurm", "slurn"), "is slurn"),
    "an unknown name": (GOOD.replace("cores", "coers"), "knows no coers. Did you mean cores?"),
    "no cores": (GOOD.replace("cores: 4, ", ""), "jobqueue.slurm.cores is not there"),
    "workers of several threads": (GOOD.replace("8GB", "8GB, processes: 2"), "leave processes out"),
    "no memory": (GOOD.replace(", memory: 8GB", ""), "must be a size such as 4GB"),
    "a memory that is none": (GOOD.replace("8GB", "much"), "must be a size such as 4GB"),
    "a memory below zero": (GOOD.replace("8GB", "-2GB"), "and is '-2GB'"),
    "a memory of zero": (GOOD.replace("8GB", "0"), "and is 0"),
    "a memory without end": (GOOD.replace("8GB", ".inf"), "and is inf"),
    "more cores than there are": (GOOD.replace("cores: 4", "cores: " + "9" * 400), "is more than"),
    "a date that is none": (GOOD + "a: 2020-13-45", "'2020-13-45' in line 6 cannot be read"),
    "a truth that is none": (GOOD + "a: !!bool x", "'x' in line 6 cannot be read"),
    "no end of brackets": (GOOD + "a: " + "[" * 3000, "it is nested too deeply"),
    "a part of itself": (GOOD + "a: &a {b: *a}", "a part of itself"),
    "ten million values": (
        GOOD + "a0: &a0 1\n" + "".join(f"a{i + 1}: &a{i + 1} {ten(i)}\n" for i in range(7)),
        "it holds more than 10000 values",
    ),
    "too large a file": (GOOD + "#" * MOST_BYTES, "it is larger than 17 MB"),
    "no text": (b"\xff" + GOOD.encode(), "can't decode"),
    "a name that is a number": (GOOD + "5: 3", "the name 5 must be text"),
    "a number among names": (GOOD + "  worker: {5: 3}", "the name 5 under distributed.worker"),
    "a name with a dot": (GOOD + "distributed.worker: 3", "has a dot in it"),
    "a number for a table": (GOOD + "  worker: 3", "distributed.worker is 3; it must be a table"),
    "nothing for a table": (GOOD + "  worker:", "distributed.worker is None; it must be a table"),
    "a number for options": (with_job("scheduler-options: 3"), "is 3; it must be a table"),
    "a number for a list": (with_job("job-extra-directives: 3"), "is 3; it must be a list"),
    "a line for a list": (with_job("job_script_prologue: module load x"), "must be a list"),
    "no upper bound": (GOOD.replace("maximum", "minimum"), "adaptive.maximum is not there"),
    "bounds the wrong way round": (
        GOOD.replace("maximum: 40", "maximum: 2, minimum: 3"),
        "minimum 3 is above maximum 2",
    ),
}


def execution(**options: Any) -> Execution:
    return Execution(executor="dask", **options)


def square(number: int) -> int:
    return number * number


OPENS = """
import sys
from pathlib import Path
import dask
from nidecomp.errors import UsageError
from nidecomp.execute.choose import check_executor, executor_for
from nidecomp.settings import Execution
dask.config.set({"distributed.comm.timeouts.connect": "1s"})
where = Execution(executor="dask", **{sys.argv[1]: sys.argv[2]})
check_executor(where)
try:
    with executor_for(where, Path(), 1):
        pass
except UsageError as error:
    print(error)
"""


def what_is_said(option: str, value: str) -> str:
    """Open an executor that there is none of, in a process of its own; give its one line."""
    done = subprocess.run(
        [sys.executable, "-c", OPENS, option, value],
        capture_output=True, text=True, check=True, timeout=50,
    )  # fmt: skip
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    return line


def slow(number: int) -> int:
    time.sleep(0.5)
    return number


# ---------------------------------------------------------------- the configuration of jobs
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_configuration_gets_a_sentence(mistake: str, tmp_path: Path) -> None:
    content, says = MISTAKES[mistake]
    path = tmp_path / "jobs.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
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
    """Let there be commands that take jobs and do nothing."""
    for command in ("sbatch", "scancel"):
        (tmp_path / command).write_text("#!/bin/sh\necho Submitted batch job 7\n")
        (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


# What shows when a job is written down: (the file, what is said).
NO_JOBS = {
    "a network that is not there": (with_job("interface: nosuch0"), "'nosuch0' with an IPv4"),
    "networks, listed": (with_job("interface: nosuch0"), "it has lo"),
    "a list for a network": (with_job("interface: [lo]"), "no network interface ['lo']"),
    "a network of the scheduler": (
        with_job("scheduler-options: {interface: nosuch1}"),
        "no network interface 'nosuch1'",
    ),
    "lines that are none": (with_job("job-script-prologue: [3]"), "expected str instance"),
    "no list of directives": (with_job("job-extra-directives:"), "not iterable"),
}
# What shows when the scheduler starts.
NO_CLUSTER = {
    "an unknown option": (with_job("scheduler-options: {nosuch: 1}"), "'nosuch'"),
    "a time that is none": (GOOD + "  scheduler: {idle-timeout: soon}", "Invalid time unit: soon"),
    "a list for a time": (GOOD + "  client: {heartbeat: []}", "'list' object"),
    "a host that is none": (with_job("scheduler-options: {host: nosuch.invalid}"), "[Errno -"),
    "no place for output": (with_job("log-directory: /proc/nosuch"), "/proc/nosuch"),
}


@pytest.mark.parametrize("mistake", NO_JOBS)
def test_a_job_that_cannot_be_written_down_gets_a_sentence(
    mistake: str, slurm: None, tmp_path: Path
) -> None:
    content, says = NO_JOBS[mistake]
    path = tmp_path / "jobs.yaml"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        check_executor(execution(dask_config=str(path)))
    assert_names(path, str(caught.value), says)


@pytest.mark.parametrize("mistake", NO_CLUSTER)
def test_a_cluster_that_does_not_start_gets_a_sentence_and_no_more(
    mistake: str, slurm: None, tmp_path: Path
) -> None:
    content, says = NO_CLUSTER[mistake]
    path = tmp_path / "jobs.yaml"
    path.write_text(content)
    assert_names(path, what_is_said("dask_config", str(path)), says)


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
    path = tmp_path / "jobs.yaml"
    path.write_text(with_job(line) + "  adaptive: &a {maximum: 3}\nmine: {<<: *a, b: *a}\n")
    where = execution(dask_config=str(path))
    check_executor(where)
    with executor_for(where, tmp_path, 1):
        pass


def test_the_memory_of_a_job_is_that_of_its_workers_together(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert worker_memory_mb(execution(dask_config=str(path))) == 2000
    assert worker_memory_mb(execution(dask_scheduler="tcp://there:8786")) == math.inf
    assert worker_memory_mb(execution()) is None
    assert worker_memory_mb(Execution()) is None


def test_the_configuration_in_the_documents_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[2] / "docs" / "dask_slurm.yaml"
    assert worker_memory_mb(execution(dask_config=str(path))) == 2000
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="there is no sbatch on this machine"):
        check_executor(execution(dask_config=str(path)))


def test_workers_from_two_places_or_for_nobody_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(GOOD, encoding="utf-8")
    with pytest.raises(UsageError, match="give one"):
        check_executor(execution(dask_scheduler="tcp://there:1", dask_config=str(path)))
    with pytest.raises(UsageError, match=r"--dask-config .* is for --executor dask"):
        check_executor(Execution(dask_config=str(path)))
    with pytest.raises(UsageError, match=r"--dask-scheduler .* is for --executor dask"):
        check_executor(Execution(dask_scheduler="tcp://there:1"))


def test_ctrl_c_stays_what_it_was(tmp_path: Path) -> None:
    """dask-jobqueue makes it a silent end with exit code 0 when it is imported."""
    path = str(tmp_path / "jobs.yaml")
    program = (
        "import signal; from nidecomp.execute.choose import worker_memory_mb\n"
        "from nidecomp.settings import Execution\n"
        f"worker_memory_mb(Execution(executor='dask', dask_config={path!r}))\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "import sys; assert 'dask_jobqueue' in sys.modules"
    )
    Path(path).write_text(GOOD, encoding="utf-8")
    subprocess.run([sys.executable, "-c", program], check=True)


# ---------------------------------------------------------------- without the extra
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dask", "distributed", "dask_jobqueue", "yaml"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
from nidecomp.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    words = [str(FIXTURES / "no_res"), str(tmp_path / "out"), "group", "--executor", "dask"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "pip install 'nidecomp[dask]'" in done.stderr
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- somebody's scheduler
@pytest.fixture
def cluster() -> Iterator[Any]:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        distributed.LocalCluster(
            n_workers=0, threads_per_worker=2, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
    ):
        yield cluster


def test_a_scheduler_of_others_is_used_and_left_as_it_was(cluster: Any, tmp_path: Path) -> None:
    """Its workers have two threads here, of which one works at a time."""
    cluster.scale(1)
    where = execution(dask_scheduler=cluster.scheduler_address)
    for _ in range(2):
        with executor_for(where, tmp_path, 1) as workers:
            assert sorted(workers.map_unordered(square, range(5))) == [0, 1, 4, 9, 16]
    assert len(cluster.scheduler_info["workers"]) == 1


def test_workers_that_never_come_end_in_a_sentence(cluster: Any, tmp_path: Path) -> None:
    where = execution(dask_scheduler=cluster.scheduler_address, dask_patience=1)
    with (
        executor_for(where, tmp_path, 1) as workers,
        pytest.raises(NidecompError, match=r"No worker came within 1 s \(--dask-patience\)"),
    ):
        list(workers.map_unordered(square, range(5)))


def test_a_scheduler_that_is_lost_ends_in_a_sentence(cluster: Any, tmp_path: Path) -> None:
    cluster.scale(1)
    with executor_for(execution(dask_scheduler=cluster.scheduler_address), tmp_path, 1) as workers:
        results = workers.map_unordered(slow, range(5))
        next(results)
        cluster.close()
        with pytest.raises(NidecompError, match=r"was lost\. What is done is kept"):
            list(results)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "x://127.0.0.1:9", "tcp://:"])
def test_no_scheduler_at_an_address_is_a_mistake(address: str, tmp_path: Path) -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UsageError, match=f"--dask-scheduler {address}: "),
        executor_for(execution(dask_scheduler=address), tmp_path, 1),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense", "such as tcp://host:8786"),
        ("tcp://host", "such as tcp://host:8786"),
        ("tcp://host:x", "such as tcp://host:8786"),
        ("tls://host:0", "such as tcp://host:8786"),
        ("host:65536", "such as tcp://host:8786"),
        ("::1:8786", "such as tcp://host:8786"),
        ("x://host:8786", "unknown address scheme 'x'"),
    ],
)
def test_what_is_no_address_is_refused_without_asking_there(address: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_executor(execution(dask_scheduler=address))
    assert str(caught.value).startswith(f"--dask-scheduler {address}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["host:8786", "tcp://host:8786", "tls://[::1]:8786", "ws://host:8786", "wss://host/scheduler"],
)
def test_what_dask_can_connect_to_is_an_address(address: str) -> None:
    check_executor(execution(dask_scheduler=address))


@pytest.mark.parametrize("scheme", ["", "tcp://", "ws://"])
def test_a_scheduler_is_reached_by_each_of_its_addresses(scheme: str, tmp_path: Path) -> None:
    with distributed.LocalCluster(
        n_workers=1, dashboard_address=None, host="127.0.0.1", protocol=scheme or "tcp://"
    ) as cluster:
        where = execution(dask_scheduler=scheme + cluster.scheduler_address.partition("://")[2])
        check_executor(where)
        with executor_for(where, tmp_path, 1) as workers:
            assert sorted(workers.map_unordered(square, range(3))) == [0, 1, 4]


@pytest.mark.parametrize("says", [None, b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws"])
def test_where_no_scheduler_answers_nothing_is_said_but_one_sentence(
    scheme: str, says: bytes | None
) -> None:
    """Nothing listens there; somebody who is silent; somebody who says what no scheduler does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}://127.0.0.1:{server.getsockname()[1]}"
        if says is None:
            server.close()
        elif says:
            threading.Thread(target=greet_all, args=(server, says), daemon=True).start()
        said = what_is_said("dask_scheduler", address)
    assert said.startswith(f"--dask-scheduler {address}: no scheduler of dask answers there")


def greet_all(server: socket.socket, words: bytes) -> None:
    callers = []
    with suppress(OSError):
        while True:
            callers.append(server.accept()[0])
            callers[-1].sendall(words)


def test_a_worker_with_other_versions_is_told_apart() -> None:
    from nidecomp.execute.dask_workers import _do, _versions

    payload = cloudpickle.dumps((square, 3))
    assert _do(payload, _versions()) == 9
    with pytest.raises(NidecompError, match=r"numpy .* where this process has 0\.1") as caught:
        _do(payload, {**_versions(), "numpy": "0.1"})
    assert os.uname().nodename in str(caught.value)
