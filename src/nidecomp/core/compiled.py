"""Compile inner loops, which are written in Python, with numba on their first call.

For which processor, and where the machine code is kept, is set in `numba_settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from nidecomp.core.errors import UsageError
from nidecomp.core.numba_settings import set_up_numba

set_up_numba()

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
