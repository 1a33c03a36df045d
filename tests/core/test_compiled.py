"""Compiled loops give the same numbers as Python, whichever folder the cache is in."""

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
from support import FIXTURES, REPOSITORY, machine_code

import nidecomp.core.compiled as module
from nidecomp.comparison import (
    clusters,
    enhancement,
    glm,
    largest_enhancement,
    network_edges,
)
from nidecomp.core.compiled import compiled
from nidecomp.decomposition import sparse_coding
from nidecomp.runs import clean
from nidecomp.spaces import smooth

few = settings(deadline=None, max_examples=30, derandomize=True, database=None)
OWNERS = (
    clean, smooth, sparse_coding, glm, enhancement, largest_enhancement, clusters, network_edges,
)  # fmt: skip
LOOPS: list[Any] = [
    loop
    for owner in OWNERS
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
    """Results agree within rounding, because sums are regrouped for vector instructions."""
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
    """numba cannot cache a function that is not defined in a file."""
    names: dict[str, Callable[[float], float]] = {}
    exec("def twice(value):\n    return 2 * value\n", names)  # noqa: S102  our own words
    with pytest.raises(RuntimeError, match="cannot cache function"):
        module._kept_on_disk(names["twice"])
    assert compiled(names["twice"])(21.0) == 42.0


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.py_func.__name__)
def test_every_loop_releases_the_interpreters_lock(loop: Any) -> None:
    """Compiled loops release the interpreter lock, so that threads run in parallel."""
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
        "from nidecomp.runs.clean import _standardise as loop\n"
        "values = np.arange(6, dtype=np.float32).reshape(3, 2)\n"
        "loop(values, values[-1], 3, np.empty(2, dtype=np.float32))\n"
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


# ---------------------------------------------------------------- compiled code in containers
SHOW = """
import os, sys
import nidecomp.core.compiled
from numba import config
from pathlib import Path
print(config.CPU_NAME, config.CACHE_DIR, Path(config.CACHE_DIR, "some").exists(), sep="|")
"""


def shown(code: str = SHOW, **environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip().split("|")


def test_machines_of_one_kind_run_the_same_code() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    if "avx2" not in flags:
        pytest.skip("this machine is of no such kind")
    assert shown()[0] == "x86-64-v3"
    assert shown(NUMBA_CPU_NAME="generic")[0] == "generic", "who says otherwise is heard"


def test_the_machine_code_that_a_container_brings_is_copied_for_as_long_as_it_is_used(
    tmp_path: Path,
) -> None:
    shipped, temporary = tmp_path / "shipped", tmp_path / "temporary"
    shipped.mkdir()
    temporary.mkdir()
    (shipped / "some").write_text("machine code")
    _, folder, is_there = shown(NIDECOMP_COMPILED=str(shipped), TMPDIR=str(temporary))
    assert Path(folder).parent == temporary
    assert is_there == "True"
    assert list(temporary.iterdir()) == [], "nothing is left behind"
    _, own, _ = shown(NIDECOMP_COMPILED=str(shipped), NUMBA_CACHE_DIR=str(tmp_path))
    assert own == str(tmp_path), "who says otherwise is heard"


def test_what_a_container_should_bring_and_does_not_is_no_error(tmp_path: Path) -> None:
    assert shown(NIDECOMP_COMPILED=str(tmp_path / "missing"), TMPDIR=str(tmp_path))[2] == "False"


def test_everything_is_compiled_ahead(compiled_ahead: Path, tmp_path: Path) -> None:
    """The code compiled for the container covers all data types of the fixtures.

    One test: each process of the tests would have the code made.
    """
    made = set((compiled_ahead / "made.txt").read_text(encoding="utf-8").splitlines())
    for dataset, words in (("rest", ()), ("surfaces", ("--space", "fsLR"))):
        done = subprocess.run(
            [
                sys.executable, "-m", "nidecomp", FIXTURES / dataset, tmp_path / dataset, "group",
                *words, "--n-components", "3", "--no-report", "--nprocs", "1",
            ],
            env={**os.environ, "NIDECOMP_COMPILED": str(compiled_ahead), "NUMBA_DEBUG_CACHE": "1"},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        loaded = machine_code(done.stdout, "loaded")
        assert loaded
        assert loaded - made == set(), dataset
        assert machine_code(done.stdout, "saved") == set(), dataset


def test_comparisons_are_compiled_ahead(compiled_ahead: Path, tmp_path: Path) -> None:
    """Of participants: of t and F, of voxels and surfaces, and of connected edges."""
    code = """
import sys
from pathlib import Path
import numpy as np
from design_examples import Here, cube, data_of, design_of, request_of
from ring_space import ring_space
from nidecomp.comparison.compare import compare

rng = np.random.default_rng(0)
matrix = np.column_stack([np.ones(12), rng.standard_normal((12, 3))])
design = design_of(matrix, [0, 1, 0, 0], [[0, 0, 1, 0], [0, 0, 0, 1]])
folder = Path(sys.argv[1])
request = request_of(folder, cluster_threshold=0.1, nbs_threshold=0.1)
edges = {"correlation": rng.standard_normal((12, 3))}
for name, space in (("cube", cube(14)), ("small", cube(5)), ("rings", ring_space(50))):
    maps = rng.standard_normal((12, 3, space.n_features))
    data = data_of(folder / name, maps, edges=edges, amplitudes=edges["correlation"])
    compare(design, [data], space, request, Here())
"""
    tests = REPOSITORY / "tests"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        env={
            **os.environ, "NIDECOMP_COMPILED": str(compiled_ahead), "NUMBA_DEBUG_CACHE": "1",
            "PYTHONPATH": f"{tests}{os.pathsep}{tests / 'comparison'}",
        },
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    said = [line for line in done.stdout.splitlines() if line.startswith("[cache]")]
    assert sum("data loaded" in line for line in said) >= 6
    assert not [line for line in said if "data saved" in line]


def test_a_wrong_variable_of_the_environment_is_told_in_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import nidecomp.core.compiled"],
        env={**os.environ, "NUMBA_NUM_THREADS": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "UsageError: numba cannot be imported: " in done.stderr
    assert "must be > 0. Check the environment variables" in done.stderr
