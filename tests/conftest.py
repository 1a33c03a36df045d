"""Results that several tests look at, computed once."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

import numpy as np  # noqa: F401  with scipy's, the libraries whose threads are bounded below
import pytest
import scipy.linalg  # noqa: F401
from support import FIXTURES, REPOSITORY, machine_code, made_once, nidecomp, small
from threadpoolctl import threadpool_limits

# A script that starts the tests in the background has them ignore SIGINT, and nohup has them ignore
# SIGHUP, and with them every process that they start; both are tested all the same.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Where it is set, every process that the tests start would compile NiDecomp's modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Imports of all tests make no garbage, and a second of each process was the search for it.
if "PYTEST_XDIST_WORKER" in os.environ:
    gc.disable()

# Matrices of the tests are so small that threads of linear algebra only wait for each other. What
# the tests start keeps the machine's defaults: no variable is set.
threadpool_limits(limits=1)


# Its modules recompute the same decompositions, which each process keeps.
RECOMPUTED = "tests/recomputed/"
# It has loops compiled for each data type, which two processes would both do at the same time.
COMPILES = "tests/spaces/test_series.py"


def pytest_collection_finish() -> None:
    """Search for garbage again, once all tests are imported."""
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Have tests of a module that share something run by one process, the others by any."""
    from xdist.scheduler import LoadScopeScheduling

    class ByWhatIsShared(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file.startswith(RECOMPUTED):
                return RECOMPUTED
            return file if file == COMPILES or shares(config.rootpath / file) else nodeid

    return ByWhatIsShared(config, log)


@cache
def shares(file: Path) -> bool:
    """Whether fixtures of a file are computed once for all of its tests."""
    return 'scope="module"' in file.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def rest_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's results."""

    def make(output: Path) -> None:
        words = (FIXTURES / "rest", output, "group", "--n-components", "20", "--nprocs", "2")
        done = nidecomp(*words, fresh=True)
        assert done.exit_code == 0, done.stderr

    return made_once(tmp_path_factory, "rest", make)


@pytest.fixture(scope="session")
def auto_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's results with the number of components chosen: as many as were planted."""

    def make(output: Path) -> None:
        # Splits measure the maps when their number has been chosen.
        auto = ("--n-components", "auto", "--n-splits", "1")
        words = (FIXTURES / "rest", output, "group", *auto)
        done = nidecomp(*words)
        assert done.exit_code == 0, done.stderr
        assert "Chose 14 components." in done.stderr

    return made_once(tmp_path_factory, "auto", make)


@pytest.fixture(scope="session")
def small_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a dataset of two tasks, in a second: what `support.small` gives."""

    def make(output: Path) -> None:
        done = nidecomp(*small(output))
        assert done.exit_code == 0, done.stderr

    return made_once(tmp_path_factory, "small", make)


@pytest.fixture(scope="session")
def compiled_ahead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine code that a container brings, for the data type of these datasets alone.

    What other processes have compiled is copied, and ``made.txt`` lists what was asked for.
    """

    def make(folder: Path) -> None:
        for code in (REPOSITORY / "src").rglob("__pycache__/*.nb[ci]"):
            # As numba names its folders for the modules of a package.
            package = code.parents[1]
            kept = folder / f"{package.name}_{sha1(bytes(package)).hexdigest()}"  # noqa: S324
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copy(code, kept)
        script = REPOSITORY / "tools" / "compile_ahead.py"
        done = subprocess.run(
            [sys.executable, script, folder, "int16"],
            env={**os.environ, "NUMBA_DEBUG_CACHE": "1"},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        made = sorted(machine_code(done.stdout, "loaded", "saved"))
        (folder / "made.txt").write_text("\n".join(made), encoding="utf-8")

    return made_once(tmp_path_factory, "compiled", make)
