"""Configure numba, which compiles the inner loops: target processor, cache and arithmetic.

The loops are written in Python and compiled by numba on their first call. On processors with AVX2
and FMA the target is x86-64-v3, so that all such machines give the same bytes. The machine code is
cached next to the source files, or in the user's cache folder if that is not writable
(``NUMBA_CACHE_DIR`` selects another folder); if neither is writable, each process compiles for
itself. Containers ship the compiled code in the folder ``NIDECOMP_COMPILED``, filled by
`tools/compile_ahead.py`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from nidecomp.core.errors import UsageError

_TARGET = "x86-64-v3"
# The processor flags, as listed in /proc/cpuinfo, that this level adds to x86-64-v2.
_NEEDED = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})


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


# numba reads its environment variables on import; if it is imported already, they have no effect.
if "numba" not in sys.modules:
    _choose_target()
    _use_shipped_code()

try:
    import numba  # after setting its environment variables
except ValueError as error:
    raise UsageError(
        f"numba cannot be imported: {str(error).rstrip('.')}. Check the environment variables "
        "that begin with NUMBA_."
    ) from None

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be regrouped for vector instructions, and a product and a sum may be fused into one
# instruction. The grouping is fixed at compile time, so that the same machine gives the same bytes.
# NaN and infinity are handled as usual.
_ARITHMETIC = {"contract", "nsz", "reassoc"}

_in_memory = numba.njit(nogil=True, fastmath=_ARITHMETIC, error_model="numpy")
_kept_on_disk = numba.njit(cache=True, nogil=True, fastmath=_ARITHMETIC, error_model="numpy")


def compiled(function: Function) -> Function:
    """Compile a function with numba, releasing the global interpreter lock while it runs.

    Parameters
    ----------
    function : callable
        Written in the subset of Python that numba supports.

    Returns
    -------
    callable
        The same function, compiled on its first call with each combination of argument types.
    """
    try:
        return cast(Function, _kept_on_disk(function))
    except RuntimeError:
        # No writable folder for the cache.
        return cast(Function, _in_memory(function))
