"""Freed memory is returned to the system, if the C library supports it."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from nidecomp.execution.memory import release_freed_memory


def test_freed_memory_is_given_back() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("this C library has no malloc_trim")
    process = psutil.Process()
    # Small blocks are contiguous, so that one kept at the end prevents freeing the others.
    blocks = [np.ones(5000) for _ in range(5000)]
    last = np.ones(5000)
    full = process.memory_info().rss
    del blocks
    release_freed_memory()
    assert full - process.memory_info().rss > 100e6
    assert last.sum() == 5000


@pytest.mark.parametrize("error", [OSError("no library"), TypeError("no name")])
def test_where_it_cannot_be_asked_for_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def missing(_: object) -> object:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    release_freed_memory()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    release_freed_memory()
