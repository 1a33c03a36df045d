"""A measured executor gives the same results, and the resources used for each run."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import pytest

from nidecomp.execution.executor import WorkerDied
from nidecomp.execution.local import LocalProcesses
from nidecomp.execution.monitor import Monitor
from nidecomp.execution.monitored import MeasuredExecutor


@dataclass(frozen=True)
class Task:
    label: str
    megabytes: int = 0
    seconds: float = 0.0


def work(task):
    held = bytearray(task.megabytes * 10**6)
    time.sleep(task.seconds)
    if task.label == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return task.label.upper(), len(held)


def double(number):
    return 2 * number


@pytest.mark.parametrize("n_processes", [1, 2])
def test_results_pass_through_and_each_run_is_told(n_processes: int) -> None:
    monitor = Monitor()
    executor = MeasuredExecutor(LocalProcesses(n_processes), monitor)
    tasks = [Task("b", 300), Task("a", 0, 0.2), Task("c")]
    with monitor.step("working"):
        found = list(executor.map_unordered(work, tasks))
    assert sorted(found) == [("A", 0), ("B", 300 * 10**6), ("C", 0)]
    step, *runs = monitor.used
    assert (step.step, step.run) == ("working", None)
    assert [(one.step, one.run) for one in runs] == [("working", label) for label in "abc"]
    a, b, _ = runs
    assert a.seconds >= 0.2
    assert a.cpu_seconds < 0.2, "it slept"
    assert b.peak_memory_mb > 300
    # The peak is reset between runs that are processed in the same worker.
    assert a.peak_memory_mb < b.peak_memory_mb - 200


def test_what_has_no_name_is_not_told() -> None:
    monitor = Monitor()
    executor = MeasuredExecutor(LocalProcesses(1), monitor)
    with monitor.step("working"):
        assert sorted(executor.map_unordered(double, [1, 2])) == [2, 4]
    assert [one.run for one in monitor.used] == [None]


def test_a_worker_that_dies_is_reported_as_ever() -> None:
    executor = MeasuredExecutor(LocalProcesses(2), Monitor())
    found = list(executor.map_unordered(work, [Task("a"), Task("killed"), Task("b")]))
    assert WorkerDied(Task("killed")) in found
    assert {("A", 0), ("B", 0)} <= {each for each in found if isinstance(each, tuple)}
