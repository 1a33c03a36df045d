"""Compiled loops: the numbers of Python's, wherever they are kept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import REPOSITORY

import nidecomp.compiled as module
from nidecomp.compiled import compiled
from nidecomp.group import sparse_coding
from nidecomp.signal import clean, smooth

few = settings(deadline=None, max_examples=30, derandomize=True, database=None)
LOOPS: list[Any] = [
    loop
    for owner in (clean, smooth, sparse_coding)
    for loop in vars(owner).values()
    if hasattr(loop, "py_func") and loop.py_func.__module__ == owner.__name__
]


@compiled
def total(values: np.ndarray) -> float:
    result = 0.0
    for value in values:
        result += value
    return result


@compiled
def quotient(left: float, right: float) -> float:
    return left / right


@compiled
def count_finite(values: np.ndarray) -> int:
    n_finite = 0
    for value in values:
        n_finite += np.isfinite(value)
    return n_finite


@few
@given(st.lists(st.floats(-1e6, 1e6), max_size=50))
def test_a_compiled_function_gives_the_numbers_of_python(values: list[float]) -> None:
    """Within rounding: sums are regrouped for the processor's vector units."""
    numbers = np.array(values)
    size = np.abs(numbers).sum()
    assert total(numbers) == pytest.approx(total.py_func(numbers), abs=1e-14 * size)  # type: ignore[attr-defined]


def test_the_same_arguments_give_the_same_bytes() -> None:
    values = np.random.default_rng(0).standard_normal(1001).astype(np.float32)
    assert len({total(values) for _ in range(20)}) == 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_nothing_is_assumed_about_values_that_are_not_finite(odd: float) -> None:
    values = np.arange(100.0)
    values[37] = odd
    assert count_finite(values) == 99
    np.testing.assert_equal(total(values), odd)


def test_division_by_zero_is_numpys() -> None:
    assert quotient(1.0, 0.0) == np.inf
    assert np.isnan(quotient(0.0, 0.0))


def test_where_no_file_can_be_written_a_function_is_compiled_all_the_same() -> None:
    """numba knows no place for the code of a function that stands in no file."""
    names: dict[str, Callable[[float], float]] = {}
    exec("def twice(value):\n    return 2 * value\n", names)  # noqa: S102  our own words
    with pytest.raises(RuntimeError, match="cannot cache function"):
        module._kept_on_disk(names["twice"])
    assert compiled(names["twice"])(21.0) == 42.0


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.py_func.__name__)
def test_every_loop_releases_the_interpreters_lock(loop: Any) -> None:
    """So that threads are worth having."""
    assert loop.targetoptions["nogil"]
    assert loop.targetoptions["fastmath"] == {"contract", "nsz", "reassoc"}


def test_there_are_loops() -> None:
    assert {loop.py_func.__name__ for loop in LOOPS} >= {"_smooth", "_standardise"}


def test_the_compiler_is_known_in_one_place() -> None:
    sources = (REPOSITORY / "src").rglob("*.py")
    importing = re.compile(r"^\s*(import|from) numba", re.MULTILINE)
    knowing = [path.name for path in sources if importing.search(path.read_text(encoding="utf-8"))]
    assert knowing == ["compiled.py"]


def test_machine_code_is_kept_for_the_next_process(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from nidecomp.signal.clean import _standardise as loop\n"
        "values = np.arange(6, dtype=np.float32).reshape(3, 2)\n"
        "loop(values, values[-1])\n"
        "print(sum(loop.stats.cache_hits.values()), sum(loop.stats.cache_misses.values()))\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["0 1", "1 0"]
