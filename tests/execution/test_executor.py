"""The contract of ``map_unordered``, tested with all executors."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nidecomp.config.execution import Execution
from nidecomp.execution.choose import executor_for
from nidecomp.execution.executor import Executor, WorkerDied

EXECUTORS = {
    "this process": (Execution(), 1),
    "two processes": (Execution(), 2),
    "two workers of dask": (Execution(executor="dask", dask_patience=60), 2),
}
in_other_processes = pytest.mark.parametrize(
    "executor", list(EXECUTORS)[1:], indirect=True, scope="module"
)


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Executor]:
    execution, n_processes = EXECUTORS[request.param]
    if execution.executor == "dask":
        pytest.importorskip("distributed", reason="the extra nidecomp[dask] is not installed")
    with ExitStack() as stack:
        yield stack.enter_context(
            executor_for(execution, tmp_path_factory.mktemp("work"), n_processes)
        )


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
    """Return a number, or exit the process silently or by a signal."""
    how, number = item
    if how == "exit":
        os._exit(7)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return number


def die_once(path):
    """Exit the process on the first call only."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return path
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def leave_a_file(path):
    time.sleep(0.1)
    Path(path).touch()
    return path


@pytest.mark.parametrize("n_items", [0, 1, 2, 25])
def test_every_item_has_one_result(n_items, executor):
    results = list(executor.map_unordered(square, list(range(n_items))))
    assert sorted(results) == [number**2 for number in range(n_items)]


def test_items_that_are_equal_each_have_a_result(executor):
    assert Counter(executor.map_unordered(square, [2, 2, 2, 3])) == {4: 3, 9: 1}


def test_items_need_not_be_hashable(executor):
    results = executor.map_unordered(sorted, [[2, 1], [4, 3], []])
    assert sorted(results) == [[], [1, 2], [3, 4]]


def test_an_item_may_look_like_a_task_of_dask(executor):
    """dask may treat a tuple that starts with a function as a task, and searches lists."""
    items = [(len, "four"), [(len, "four")]]
    assert sorted(executor.map_unordered(type_name, items)) == ["list", "tuple"]


def type_name(item):
    return type(item).__name__


def test_function_of_no_module_can_be_used(executor):
    """Functions of users' scripts cannot be imported by workers."""
    offset = 10

    def shifted(number):
        return number + offset

    assert sorted(executor.map_unordered(shifted, [1, 2, 3])) == [11, 12, 13]


@in_other_processes
def test_work_is_done_in_other_processes(executor):
    elsewhere = set(executor.map_unordered(process_of, range(6)))
    assert os.getpid() not in elsewhere
    assert 1 <= len(elsewhere) <= 2


def test_results_come_as_they_are_ready(executor, tmp_path):
    """The first result is available before the last item is done, so that progress can be shown."""
    items = [str(tmp_path / str(index)) for index in range(12)]
    results = executor.map_unordered(leave_a_file, items)
    next(results)
    assert len(list(tmp_path.iterdir())) < len(items)
    assert len(list(results)) == len(items) - 1


def test_exception_of_the_function_reaches_the_caller(executor):
    with pytest.raises(LookupError, match="three is not there"):
        list(executor.map_unordered(refuse_three, range(6)))


def test_nothing_more_is_started_when_the_caller_stops_early(executor, tmp_path):
    items = [str(tmp_path / str(index)) for index in range(30)]
    results = executor.map_unordered(leave_a_file, items)
    next(results)
    results.close()
    # Items in progress may be finished if workers are kept for the next call: each takes 0.1 s, and
    # longer where the machine is busy.
    done = 0
    while (now := len(list(tmp_path.iterdir()))) > done:
        done = now
        time.sleep(0.5)
    assert 1 <= done < len(items) / 2


@in_other_processes
def test_processes_that_die_cost_their_own_items_only(executor):
    """Both die at the same time, at first, and die again when all else is done."""
    dying = [("exit", 0), ("kill", 1)]
    results = list(executor.map_unordered(die_at, [*dying, ("live", 2), ("live", 3)]))
    survivors = [result for result in results if not isinstance(result, WorkerDied)]
    assert sorted(survivors) == [2, 3]
    assert sorted(one.item for one in results if isinstance(one, WorkerDied)) == dying


@in_other_processes
def test_an_item_whose_process_was_killed_once_is_tried_again(executor, tmp_path):
    items = [str(tmp_path / str(index)) for index in range(3)]
    # All but the first are finished.
    for path in items[1:]:
        Path(path).touch()
    assert sorted(executor.map_unordered(die_once, items)) == items


@in_other_processes
def test_error_of_the_function_reaches_the_caller_after_a_process_died(executor):
    with pytest.raises(LookupError, match="three is not there"):
        list(executor.map_unordered(_die_or_refuse, [("exit", 0), ("live", 3)]))


def _die_or_refuse(item):
    if item[0] == "exit":
        os._exit(7)
    time.sleep(0.5)
    return refuse_three(item[1])
