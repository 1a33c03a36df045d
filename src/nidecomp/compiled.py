"""How inner loops are compiled: one place for the compiler, its cache and its arithmetic.

The loops are Python that numba compiles for the processor at hand when they are first called. The
machine code is kept beside this file, or in the user's cache folder where that cannot be written
(``NUMBA_CACHE_DIR`` names another); where neither can, each process compiles for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

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
