"""Drawing with matplotlib's own settings: the same figures for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def drawn_plainly() -> Iterator[None]:
    """Leave out what a user's matplotlibrc, or a notebook, has set; it is as before afterwards.

    A decorator, too.
    """
    from matplotlib import style  # noqa: PLC0415  it takes long

    with style.context("default"):
        yield
