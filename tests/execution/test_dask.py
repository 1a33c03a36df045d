"""Dask workers: how they are started, and errors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from dask_support import JOBS, NO_PAGE, execution, what_is_said
from support import FIXTURES

from nidecomp.config.execution import Execution
from nidecomp.core.errors import NidecompError, UsageError
from nidecomp.execution.choose import check_executor, executor_for

reason = "the extra nidecomp[dask] is not installed"
dask = pytest.importorskip("dask", reason=reason)
distributed = pytest.importorskip("distributed", reason=reason)
cloudpickle = pytest.importorskip("cloudpickle", reason=reason)


def square(number: int) -> int:
    return number * number


def slow(number: int) -> int:
    time.sleep(0.5)
    return number


def test_workers_from_two_places_or_for_nobody_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(JOBS, encoding="utf-8")
    with pytest.raises(UsageError, match="use one of them"):
        check_executor(execution(dask_scheduler="tcp://there:1", dask_config=str(path)))
    with pytest.raises(UsageError, match=r"--dask-config .* requires --executor dask"):
        check_executor(Execution(dask_config=str(path)))
    with pytest.raises(UsageError, match=r"--dask-scheduler .* requires --executor dask"):
        check_executor(Execution(dask_scheduler="tcp://there:1"))


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


# ---------------------------------------------------------------- a running scheduler
@pytest.fixture
def cluster() -> Iterator[Any]:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        distributed.LocalCluster(
            n_workers=0, threads_per_worker=2, scheduler_kwargs=NO_PAGE, host="127.0.0.1"
        ) as cluster,
    ):
        yield cluster


def test_a_scheduler_of_others_is_used_and_left_as_it_was(cluster: Any, tmp_path: Path) -> None:
    """The workers have two threads, but process one item at a time."""
    cluster.scale(1)
    for scheme in ("", "tcp://"):
        address = scheme + cluster.scheduler_address.removeprefix("tcp://")
        with executor_for(execution(dask_scheduler=address), tmp_path, 1) as workers:
            assert sorted(workers.map_unordered(square, range(5))) == [0, 1, 4, 9, 16]
    assert len(cluster.scheduler_info["workers"]) == 1


def test_workers_that_never_come_end_in_a_sentence(cluster: Any, tmp_path: Path) -> None:
    where = execution(dask_scheduler=cluster.scheduler_address, dask_patience=1)
    with (
        executor_for(where, tmp_path, 1) as workers,
        pytest.raises(NidecompError, match=r"worker was available for 1 s \(--dask-patience\)"),
    ):
        list(workers.map_unordered(square, range(5)))


def test_a_scheduler_that_is_lost_ends_in_a_sentence(cluster: Any, tmp_path: Path) -> None:
    cluster.scale(1)
    with executor_for(execution(dask_scheduler=cluster.scheduler_address), tmp_path, 1) as workers:
        results = workers.map_unordered(slow, range(5))
        next(results)
        cluster.close()
        with pytest.raises(NidecompError, match=r"was lost .* Reduced runs are kept"):
            list(results)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "x://127.0.0.1:9", "tcp://:"])
def test_no_scheduler_at_an_address_is_a_mistake(address: str, tmp_path: Path) -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.3s"}),
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


def test_a_scheduler_is_reached_by_websockets(tmp_path: Path) -> None:
    with distributed.LocalCluster(
        n_workers=1, scheduler_kwargs=NO_PAGE, host="127.0.0.1", protocol="ws://"
    ) as cluster:
        where = execution(dask_scheduler=cluster.scheduler_address)
        assert where.dask_scheduler.startswith("ws://")
        check_executor(where)
        with executor_for(where, tmp_path, 1) as workers:
            assert sorted(workers.map_unordered(square, range(3))) == [0, 1, 4]


def test_where_no_scheduler_answers_nothing_is_said_but_one_sentence() -> None:
    """The port may be closed, the server may not respond, or it may not be a scheduler."""
    with ExitStack() as stack:
        closed, silent, another = (
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)
        )
        ports = [one.getsockname()[1] for one in (closed, silent, another)]
        closed.close()
        words = b"SSH-2.0-OpenSSH_9.2\r\n"
        threading.Thread(target=greet_all, args=(another, words), daemon=True).start()
        addresses = [
            f"{scheme}://127.0.0.1:{port}" for port in ports for scheme in ("tcp", "tls", "ws")
        ]
        lines = what_is_said("dask_scheduler", *addresses)
    for address, line in zip(addresses, lines, strict=True):
        assert line.startswith(f"--dask-scheduler {address}: cannot connect to a dask scheduler")


def greet_all(server: socket.socket, words: bytes) -> None:
    callers = []
    with suppress(OSError):
        while True:
            callers.append(server.accept()[0])
            callers[-1].sendall(words)


def test_a_worker_with_other_versions_is_told_apart() -> None:
    from nidecomp.execution.dask_workers import _do, _versions

    payload = cloudpickle.dumps((square, 3))
    assert _do(payload, _versions()) == 9
    with pytest.raises(NidecompError, match=r"numpy .* instead of 0\.1") as caught:
        _do(payload, {**_versions(), "numpy": "0.1"})
    assert os.uname().nodename in str(caught.value)
