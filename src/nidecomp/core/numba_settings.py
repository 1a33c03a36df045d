"""Set up numba's target processor and cache, with environment variables that it reads on import.

This is a module of its own so that it can be done before numba is imported, and before worker
processes are started, which inherit the variables.

On processors with AVX2 and FMA the target is x86-64-v3, so that all such machines give the same
bytes. The machine code is cached next to the source files, or in the user's cache folder if that is
not writable (``NUMBA_CACHE_DIR`` selects another folder); if neither is writable, each process
compiles for itself. Containers ship the compiled code in the folder ``NIDECOMP_COMPILED``, filled
by `tools/compile_ahead.py`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

_TARGET = "x86-64-v3"
# The processor flags, as listed in /proc/cpuinfo, that this level adds to x86-64-v2.
_NEEDED = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})


def set_up_numba() -> None:
    """Set the variables that select numba's target and cache, unless they are set already."""
    # If numba is imported already, they have no effect.
    if "numba" not in sys.modules:
        _choose_target()
        _use_shipped_code()


def _choose_target() -> None:
    """Make numba compile for x86-64-v3 on every processor that supports it."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "").split()
        if set(flags) >= _NEEDED:
            os.environ.setdefault("NUMBA_CPU_NAME", _TARGET)
            os.environ.setdefault("NUMBA_CPU_FEATURES", "")


def _use_shipped_code() -> None:
    """Copy the container's compiled code to a temporary folder, because numba needs to write there.

    Child processes find the folder through ``NUMBA_CACHE_DIR``.
    """
    shipped = os.environ.get("NIDECOMP_COMPILED")
    if shipped is None or "NUMBA_CACHE_DIR" in os.environ:
        return
    # If no folder is writable, each process compiles for itself.
    with suppress(OSError):
        own = tempfile.mkdtemp(prefix="nidecomp-compiled-")
        atexit.register(partial(shutil.rmtree, own, ignore_errors=True))
        shutil.copytree(shipped, own, dirs_exist_ok=True)
        os.environ["NUMBA_CACHE_DIR"] = own
