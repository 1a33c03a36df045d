"""Drawing with matplotlib's default settings, so that figures are the same for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def drawn_plainly() -> Iterator[None]:
    """Use matplotlib's defaults in place of a matplotlibrc or of a notebook's settings.

    A decorator, too.
    """
    from matplotlib import style  # noqa: PLC0415  it takes long

    with style.context("default"):
        yield
