"""Worker processes on this machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import psutil
import pytest
from loky.backend.queues import Queue

from nidecomp.execution.executor import WorkerDied
from nidecomp.execution.local import LocalProcesses, available_cores, started_early


def square(number):
    return number * number


def process_of(_):
    return os.getpid()


def exit_or_live(item):
    """Return a number, or exit the process silently."""
    how, number = item
    if how == "exit":
        os._exit(7)
    time.sleep(0.02)
    return number


def test_one_process_is_this_one():
    assert set(LocalProcesses(1).map_unordered(process_of, range(3))) == {os.getpid()}


def test_one_item_needs_no_other_process():
    assert list(LocalProcesses(8).map_unordered(process_of, [0])) == [os.getpid()]


def test_process_that_dies_while_items_are_still_handed_out_costs_its_own_item_only():
    """The first worker may die before a thousand items have been submitted."""
    results = list(LocalProcesses(2).map_unordered(exit_or_live, SlowItems()))
    survivors = [result for result in results if not isinstance(result, WorkerDied)]
    assert sorted(survivors) == [1, 2, 3]
    assert [one.item for one in results if isinstance(one, WorkerDied)] == [("exit", 0)]


class SlowItems(Sequence):
    """Yield items, with a delay before each after the first two."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        if index == 2:
            time.sleep(1.5)
        return ("exit" if index == 0 else "live", index)


def test_available_cores_are_those_that_this_process_may_use():
    n_cores = available_cores()
    assert 1 <= n_cores <= os.cpu_count()
    allowed = os.sched_getaffinity(0)
    assert n_cores == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_limit_on_cores_is_kept(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert available_cores() == 1


def n_children() -> int:
    return len(psutil.Process().children(recursive=True))


def test_workers_that_will_not_be_used_can_be_ended_at_once():
    """Workers that are not needed must free their memory."""
    before = n_children()
    with started_early(os.getpid, 2) as end:
        assert n_children() >= before + 2
        end()
        # loky's own helper processes may stay.
        assert n_children() < before + 2
        assert sorted(LocalProcesses(2).map_unordered(square, [1, 2, 3])) == [1, 4, 9]


def test_workers_that_are_needed_again_are_kept():
    with started_early(os.getpid, 2):
        executor = LocalProcesses(2, keeps_workers=True)
        first, second = (set(executor.map_unordered(process_of, range(8))) for _ in range(2))
        workers = {child.pid for child in psutil.Process().children(recursive=True)}
    assert os.getpid() not in first | second
    assert first | second <= workers


def test_one_worker_is_none_to_start():
    before = n_children()
    with started_early(os.getpid, 1) as end:
        end()
        assert n_children() == before


@pytest.mark.parametrize("n_early", [2, 4])
def test_more_or_fewer_workers_may_be_used_than_were_started_early(n_early):
    with started_early(os.getpid, n_early):
        assert sorted(LocalProcesses(3).map_unordered(square, range(6))) == [0, 1, 4, 9, 16, 25]


def test_workers_end_with_the_process_that_started_them():
    """Workers exit even if the parent process is killed by SIGKILL."""
    code = (
        "import time; from nidecomp.execution.local import LocalProcesses; "
        "[print(flush=True) for _ in LocalProcesses(2).map_unordered(time.sleep, [0, 0, 0, 600])]"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def use_workers_started_early():
    with started_early(os.getpid, 2):
        assert sorted(LocalProcesses(2).map_unordered(square, [1, 2, 3])) == [1, 4, 9]


def fail_before_workers_are_used():
    with pytest.raises(LookupError), started_early(os.getpid, 2):
        raise LookupError


def fail_in_a_worker():
    with pytest.raises(ZeroDivisionError):
        list(LocalProcesses(2).map_unordered(one_over, [1, 0, 2]))


def stop_early():
    results = LocalProcesses(2).map_unordered(square, range(9))
    next(results)
    results.close()


def lose_workers():
    list(LocalProcesses(2).map_unordered(exit_or_live, [("exit", 0), ("live", 1), ("exit", 2)]))


def one_over(number):
    return 1 / number


@pytest.mark.parametrize(
    "use",
    [
        use_workers_started_early,
        fail_before_workers_are_used,
        fail_in_a_worker,
        stop_early,
        lose_workers,
    ],
)
def test_no_thread_is_left_to_be_frozen_in_the_release_of_its_semaphores(use, monkeypatch):
    """They would be reported as leaked on stderr when this process ends."""
    feed, left = Queue._feed, []

    def feed_and_end_slowly(*words):
        left.append(threading.current_thread())
        feed(*words)
        time.sleep(0.2)

    monkeypatch.setattr(Queue, "_feed", staticmethod(feed_and_end_slowly))
    use()
    assert left
    assert not any(thread.is_alive() for thread in left)
