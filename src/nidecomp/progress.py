"""What the user sees while it runs: messages, a progress bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from nidecomp.settings import Settings

Item = TypeVar("Item")

_LOG = logging.getLogger(__name__)
_PACKAGE = logging.getLogger("nidecomp")


@contextmanager
def logging_to(settings: Settings) -> Iterator[None]:
    """Send messages to stderr and, for a group run, to ``logs/nidecomp.log`` of the output.

    Parameters
    ----------
    settings : Settings
        Whether to say more, and where the output folder is.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if settings.analysis_level == "group" and not settings.execution.dry_run:
        folder = settings.output_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(folder / "nidecomp.log", encoding="utf-8"))
    level = logging.DEBUG if settings.execution.verbose else logging.INFO
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    before = _PACKAGE.level
    for handler in handlers:
        handler.setFormatter(formatter)
        _PACKAGE.addHandler(handler)
    _PACKAGE.setLevel(level)
    try:
        with logging_redirect_tqdm([_PACKAGE]):
            yield
    finally:
        _PACKAGE.setLevel(before)
        for handler in handlers:
            _PACKAGE.removeHandler(handler)
            handler.close()


def shown(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Pass items on and show how far they are.

    Parameters
    ----------
    items : iterable
        What arrives over time.
    total : int
        How many will come.
    what : str
        What is being done to them.

    Yields
    ------
    item
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what, unit="run", file=sys.stderr)
        return
    started = time.monotonic()
    for done, item in enumerate(items, start=1):
        _LOG.info("%s: %d of %d done after %.0f s", what, done, total, time.monotonic() - started)
        yield item
