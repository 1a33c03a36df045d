"""Threads over blocks: ordered results, a bounded queue, and no threads left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.core.linalg import blocks
from nidecomp.core.parallel import map_ordered

few = settings(deadline=None, max_examples=30, derandomize=True, database=None)
N_THREADS = [1, 2, 3, 8]


@few
@given(delays_ms=st.lists(st.integers(0, 3), max_size=20), n_threads=st.integers(0, 8))
def test_results_come_in_the_order_of_the_items(delays_ms: list[int], n_threads: int) -> None:
    """The order of the results does not depend on which item is finished first."""

    def slow(item: tuple[int, int]) -> int:
        time.sleep(item[1] / 1000)
        return item[0]

    items = list(enumerate(delays_ms))
    assert list(map_ordered(slow, items, n_threads)) == list(range(len(items)))


@few
@given(n_items=st.integers(0, 30), n_threads=st.integers(1, 8))
def test_few_results_wait_to_be_taken(n_items: int, n_threads: int) -> None:
    """A new item is taken only after a result was yielded, so that memory is bounded."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(n_items):
            taken.append(item)
            yield item

    for n_given, _ in enumerate(map_ordered(abs, items(), n_threads), start=1):
        # One result yielded, and the items that are being processed or queued.
        assert len(taken) - n_given <= (n_threads if n_threads > 1 else 0)
    assert len(taken) == n_items


@pytest.mark.parametrize("n_threads", N_THREADS)
def test_nothing_is_done_before_something_is_asked_for(n_threads: int) -> None:
    done: list[int] = []
    results = map_ordered(done.append, range(5), n_threads)
    assert done == []
    assert list(results) == [None] * 5
    assert sorted(done) == list(range(5))


def test_one_thread_is_this_one() -> None:
    here = threading.get_ident()
    assert set(map_ordered(lambda _: threading.get_ident(), range(5), 1)) == {here}
    assert here not in set(map_ordered(lambda _: threading.get_ident(), range(5), 2))


def test_as_many_threads_work_at_once_as_were_asked_for() -> None:
    """Each item waits for the others, so that fewer threads would time out."""
    together = threading.Barrier(3, timeout=60)
    assert sorted(map_ordered(lambda _: together.wait(), range(3), 3)) == [0, 1, 2]


@pytest.mark.parametrize("n_threads", N_THREADS)
def test_what_a_function_raises_comes_where_its_result_would(n_threads: int) -> None:
    def fails(item: int) -> int:
        if item >= 3:
            raise ZeroDivisionError(f"item {item}")
        return item

    results = map_ordered(fails, range(100), n_threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError, match="item 3"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


@pytest.mark.parametrize("n_threads", N_THREADS)
def test_after_an_error_no_further_item_is_begun(n_threads: int) -> None:
    begun: list[int] = []

    def fails(item: int) -> None:
        begun.append(item)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(map_ordered(fails, range(1000), n_threads))
    assert len(begun) <= n_threads + 1


@pytest.mark.parametrize("n_threads", N_THREADS)
def test_what_the_items_raise_comes_through(n_threads: int) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(map_ordered(abs, items(), n_threads))


@pytest.mark.parametrize("n_threads", N_THREADS)
def test_no_thread_is_left_behind(n_threads: int) -> None:
    """Threads end with the iteration, after an error, and if the caller stops early."""
    before = threading.active_count()
    list(map_ordered(abs, range(20), n_threads))
    with pytest.raises(TypeError):
        list(map_ordered(abs, ["no number"] * 20, n_threads))
    results = map_ordered(abs, range(20), n_threads)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert threading.active_count() == before


@few
@given(seed=st.integers(0, 2**32 - 1), n_voxels=st.integers(1, 400), size=st.integers(1, 50))
def test_sums_over_blocks_do_not_depend_on_threads(seed: int, n_voxels: int, size: int) -> None:
    """Results are byte-identical: blocks are processed by one thread and added in order."""
    rows = np.random.default_rng(seed).standard_normal((3, n_voxels)).astype(np.float32)

    def gram(n_threads: int) -> bytes:
        total = np.zeros((3, 3))
        for part in map_ordered(
            lambda block: rows[:, block] @ rows[:, block].T, blocks(n_voxels, size), n_threads
        ):
            total += part
        return total.tobytes()

    assert len({gram(n_threads) for n_threads in N_THREADS}) == 1


@few
@given(n_voxels=st.integers(0, 300), size=st.integers(1, 50))
def test_blocks_hold_each_voxel_once_and_in_order(n_voxels: int, size: int) -> None:
    cut = list(blocks(n_voxels, size))
    assert [voxel for block in cut for voxel in range(block.start, block.stop)] == list(
        range(n_voxels)
    )
    assert all(block.stop - block.start == size for block in cut[:-1])
