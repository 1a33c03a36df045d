"""The contract of ``map_unordered``, for one process and for several."""

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from nidecomp.execute.local import WorkerDied, available_cores, map_unordered, started_early

in_one_and_in_two_processes = pytest.mark.parametrize("n_processes", [1, 2])


def square(number):
    return number * number


def process_of(_):
    time.sleep(0.05)
    return os.getpid()


def refuse_three(number):
    if number == 3:
        raise LookupError("three is not there")
    return number


def die_at(item):
    """Give a number back, or end the process without a word, or by a signal."""
    how, number = item
    if how == "exit":
        os._exit(7)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return number


def leave_a_file(path):
    time.sleep(0.1)
    Path(path).touch()
    return path


@in_one_and_in_two_processes
@pytest.mark.parametrize("n_items", [0, 1, 2, 25])
def test_every_item_has_one_result(n_items, n_processes):
    results = list(map_unordered(square, list(range(n_items)), n_processes))
    assert sorted(results) == [number**2 for number in range(n_items)]


def test_items_that_are_equal_each_have_a_result():
    assert Counter(map_unordered(square, [2, 2, 2, 3], 2)) == {4: 3, 9: 1}


def test_items_need_not_be_hashable():
    results = map_unordered(sorted, [[2, 1], [4, 3], []], 2)
    assert sorted(results) == [[], [1, 2], [3, 4]]


def test_function_of_no_module_can_be_used():
    """Users' scripts have functions that no worker could import."""
    offset = 10

    def shifted(number):
        return number + offset

    assert sorted(map_unordered(shifted, [1, 2, 3], 2)) == [11, 12, 13]


def test_one_process_is_this_one_and_two_are_others():
    here = os.getpid()
    assert set(map_unordered(process_of, range(3), 1)) == {here}
    elsewhere = set(map_unordered(process_of, range(6), 2))
    assert here not in elsewhere
    assert 1 <= len(elsewhere) <= 2


def test_one_item_needs_no_other_process():
    assert list(map_unordered(process_of, [0], 8)) == [os.getpid()]


@in_one_and_in_two_processes
def test_results_come_as_they_are_ready(n_processes, tmp_path):
    """The first result is there before the last item is done: progress can be shown."""
    items = [str(tmp_path / str(index)) for index in range(12)]
    results = map_unordered(leave_a_file, items, n_processes)
    next(results)
    assert len(list(tmp_path.iterdir())) < len(items)
    assert len(list(results)) == len(items) - 1


@in_one_and_in_two_processes
def test_exception_of_the_function_reaches_the_caller(n_processes):
    with pytest.raises(LookupError, match="three is not there"):
        list(map_unordered(refuse_three, range(6), n_processes))


@in_one_and_in_two_processes
def test_nothing_more_is_started_when_the_caller_stops_early(n_processes, tmp_path):
    items = [str(tmp_path / str(index)) for index in range(30)]
    results = map_unordered(leave_a_file, items, n_processes)
    next(results)
    results.close()
    done = len(list(tmp_path.iterdir()))
    assert 1 <= done < len(items) / 2
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) == done


@pytest.mark.parametrize("how", ["exit", "kill"])
@pytest.mark.parametrize("position", [0, 3])
def test_process_that_dies_costs_its_own_item_only(how, position):
    items = [("live", number) for number in range(4)]
    items[position] = (how, position)
    results = list(map_unordered(die_at, items, 2))
    survivors = [result for result in results if not isinstance(result, WorkerDied)]
    assert sorted(survivors) == [number for number in range(4) if number != position]
    assert [one for one in results if isinstance(one, WorkerDied)] == [WorkerDied((how, position))]


def test_every_process_may_die():
    items = [("exit", 0), ("kill", 1), ("exit", 2)]
    results = list(map_unordered(die_at, items, 2))
    assert sorted(result.item for result in results) == sorted(items)


def test_process_that_dies_while_items_are_still_handed_out_costs_its_own_item_only():
    """Handing out a thousand items takes longer than the first of them may take to die."""
    results = list(map_unordered(die_at, SlowItems(), 2))
    survivors = [result for result in results if not isinstance(result, WorkerDied)]
    assert sorted(survivors) == [1, 2, 3]
    assert [one.item for one in results if isinstance(one, WorkerDied)] == [("exit", 0)]


class SlowItems(Sequence):
    """Items of which all but the first two take a while to come by."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        if index == 2:
            time.sleep(1.5)
        return ("exit" if index == 0 else "live", index)


def test_error_of_the_function_reaches_the_caller_after_a_process_died():
    with pytest.raises(LookupError, match="three is not there"):
        list(map_unordered(_die_or_refuse, [("exit", 0), ("live", 3)], 2))


def _die_or_refuse(item):
    if item[0] == "exit":
        os._exit(7)
    time.sleep(0.5)
    return refuse_three(item[1])


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
    """They hold memory that others need."""
    before = n_children()
    with started_early(os.getpid, 2) as end:
        assert n_children() >= before + 2
        end()
        # loky's own watchers may stay.
        assert n_children() < before + 2
        assert sorted(map_unordered(square, [1, 2, 3], 2)) == [1, 4, 9]


def test_one_worker_is_none_to_start():
    before = n_children()
    with started_early(os.getpid, 1) as end:
        end()
        assert n_children() == before
