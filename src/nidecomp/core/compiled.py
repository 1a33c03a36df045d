"""How inner loops are compiled: one place for the compiler, its cache and its arithmetic.

The loops are Python that numba compiles when they are first called: for processors with AVX2 and
FMA (x86-64-v3) where this is one, so that such machines give the same bytes, whatever else they
have. The machine code is kept beside this file, or in the user's cache folder where that cannot be
written (``NUMBA_CACHE_DIR`` names another); where neither can, each process compiles for itself. A
container brings it along: ``NIDECOMP_COMPILED`` names the folder, filled by
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
# What that level has beyond its predecessor, as /proc/cpuinfo calls it.
_NEEDED = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"})


def _choose_target() -> None:
    """Have numba compile for one kind of processor on all machines that are of it."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "").split()
        if set(flags) >= _NEEDED:
            os.environ.setdefault("NUMBA_CPU_NAME", _TARGET)
            os.environ.setdefault("NUMBA_CPU_FEATURES", "")


def _take_machine_code() -> None:
    """Use what the container brings: numba wants a folder that it can write, so a copy of it.

    Processes that are started from here find it by the variable.
    """
    shipped = os.environ.get("NIDECOMP_COMPILED")
    if shipped is None or "NUMBA_CACHE_DIR" in os.environ:
        return
    # Where nothing can be written, each process compiles for itself.
    with suppress(OSError):
        own = tempfile.mkdtemp(prefix="nidecomp-compiled-")
        atexit.register(partial(shutil.rmtree, own, ignore_errors=True))
        shutil.copytree(shipped, own, dirs_exist_ok=True)
        os.environ["NUMBA_CACHE_DIR"] = own


# numba reads its variables when it is imported: too late where somebody else did so before.
if "numba" not in sys.modules:
    _choose_target()
    _take_machine_code()

try:
    import numba  # after its variables
except ValueError as error:
    raise UsageError(
        f"numba cannot be imported: {str(error).rstrip('.')}. Is a variable of the "
        "environment that begins with NUMBA_ wrong?"
    ) from None

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be regrouped so that they use the processor's vector units, and a product and a sum may
# be one instruction. The grouping is fixed when the code is compiled: same machine, same bytes.
# Nothing is assumed about NaN and infinity.
_ARITHMETIC = {"contract", "nsz", "reassoc"}

_in_memory = numba.njit(nogil=True, fastmath=_ARITHMETIC, error_model="numpy")
_kept_on_disk = numba.njit(cache=True, nogil=True, fastmath=_ARITHMETIC, error_model="numpy")


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; its loops release the interpreter's lock.

    Parameters
    ----------
    function : callable
        In the subset of Python that numba knows; without numba it would give the same numbers.

    Returns
    -------
    callable
        The same function, compiled at its first call for each kind of argument.
    """
    try:
        return cast(Function, _kept_on_disk(function))
    except RuntimeError:
        # No folder can be written: there is nowhere to keep the machine code.
        return cast(Function, _in_memory(function))
