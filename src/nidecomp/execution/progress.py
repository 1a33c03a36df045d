"""Log messages and show progress, as a bar on a terminal or as lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from nidecomp.config.settings import Settings
from nidecomp.core.errors import NidecompError

Item = TypeVar("Item")

_LOG = logging.getLogger(__name__)
_PACKAGE = logging.getLogger("nidecomp")


class _LogFile(logging.FileHandler):
    """A log file that is created with the first message, so that usage errors leave no file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True, errors="backslashreplace")

    @property
    def is_begun(self) -> bool:
        """Whether a message was written."""
        return self.stream is not None

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


@contextmanager
def logging_to(settings: Settings) -> Iterator[None]:
    """Log to stderr and, for a group run, to ``logs/nidecomp.log`` in the output folder.

    Parameters
    ----------
    settings : Settings
    """
    # A service may be started without stderr.
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)] if sys.stderr else []
    log_file = None
    if settings.analysis_level == "group" and not settings.execution.dry_run:
        log_file = _LogFile(settings.output_dir / "logs" / "nidecomp.log")
        handlers.append(log_file)
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
    except NidecompError as error:
        # The caller prints the error; the log file should include it, too.
        if log_file is not None and log_file.is_begun:
            log_file.handle(_LOG.makeRecord(_LOG.name, logging.ERROR, "", 0, str(error), (), None))
        raise
    finally:
        _PACKAGE.setLevel(before)
        for handler in handlers:
            _PACKAGE.removeHandler(handler)
            handler.close()


def with_progress(
    items: Iterable[Item], total: int, what: str, *, every_s: float = 0.0
) -> Iterator[Item]:
    """Yield items and show progress.

    Parameters
    ----------
    items : iterable
    total : int
        Number of items.
    what : str
        Description of the step.
    every_s : float
        Seconds from one line to the next: nothing is shown of what takes less. By default, there
        is a line for each item.

    Yields
    ------
    item
    """
    if sys.stderr and sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what, unit="run", file=sys.stderr, delay=every_s)
        return
    started = said = time.monotonic()
    for done, item in enumerate(items, start=1):
        now = time.monotonic()
        if now - said >= every_s:
            _LOG.info("%s: %d of %d done after %.0f s", what, done, total, now - started)
            said = now
        yield item
