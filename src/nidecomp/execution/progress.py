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
from nidecomp.core.text import count

Item = TypeVar("Item")

_LOG = logging.getLogger(__name__)
_PACKAGE = logging.getLogger("nidecomp")
# Progress is logged this many times in a step, and if nothing was for so long.
_LINES = 20
_SILENCE_S = 30.0
# Less time than this is not told.
_WORTH_TELLING_S = 90.0
_HOUR = 60
# After this many messages, warnings are no longer in sight at the end.
_IN_SIGHT = 40


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


class _Warnings(logging.Handler):
    """Keeps warnings and errors, and how many messages followed the first."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._n_since = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first line of a warning."""
        if record.levelno >= logging.WARNING:
            self.messages.append(record.getMessage().partition("\n")[0].rstrip(":"))
        if self.messages:
            self._n_since += 1

    @property
    def are_out_of_sight(self) -> bool:
        """Whether so many messages followed the first warning that nobody sees it at the end."""
        return self._n_since > _IN_SIGHT


@contextmanager
def keeping_warnings() -> Iterator[list[str]]:
    """Keep the warnings that are logged in the block, to be said again where it is left out.

    Yields
    ------
    list of str
    """
    kept: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: kept.append(record.getMessage())  # type: ignore[method-assign]
    _PACKAGE.addHandler(listener)
    try:
        yield kept
    finally:
        _PACKAGE.removeHandler(listener)


@contextmanager
def logging_to(settings: Settings) -> Iterator[None]:
    """Log to stderr and, for a group run, to ``logs/nidecomp.log`` in the output folder.

    What a program that calls `nidecomp.decompose` has set up is kept: its handlers, of this logger
    or the root logger, take the place of stderr, and a level of this logger that of INFO.

    Parameters
    ----------
    settings : Settings
    """
    # A service may be started without stderr.
    says_itself = sys.stderr is not None and not _PACKAGE.hasHandlers()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)] if says_itself else []
    log_file = None
    if settings.analysis_level == "group" and not settings.execution.dry_run:
        log_file = _LogFile(settings.output_dir / "logs" / "nidecomp.log")
        handlers.append(log_file)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    before = _PACKAGE.level
    warnings = _Warnings()
    handlers.append(warnings)
    for handler in handlers:
        handler.setFormatter(formatter)
        _PACKAGE.addHandler(handler)
    if settings.execution.verbose:
        _PACKAGE.setLevel(logging.DEBUG)
    elif before == logging.NOTSET:
        _PACKAGE.setLevel(logging.INFO)
    try:
        # It would add a handler to a logger that has none for the terminal.
        with logging_redirect_tqdm([_PACKAGE] if says_itself else []):
            yield
        if warnings.are_out_of_sight:
            again = "\n".join(f"  {message}" for message in warnings.messages)
            _LOG.info(
                "%s of this run, once more:\n%s", count(len(warnings.messages), "warning"), again
            )
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
    items: Iterable[Item], total: int, what: str, *, after_s: float = 0.0, unit: str = "run"
) -> Iterator[Item]:
    """Yield items and show progress.

    Parameters
    ----------
    items : iterable
    total : int
        Number of items.
    what : str
        Description of the step.
    after_s : float
        Nothing is shown of the first seconds, and thus nothing of a step that takes less.
    unit : str
        What an item is.

    Yields
    ------
    item
    """
    # A bar says what the lines of the log say, to whom they would be shown.
    if sys.stderr and sys.stderr.isatty() and _LOG.isEnabledFor(logging.INFO):
        yield from tqdm(items, total=total, desc=what, unit=unit, file=sys.stderr, delay=after_s)
        return
    started = said = time.monotonic()
    step = max(1, -(-total // _LINES))
    for done, item in enumerate(items, start=1):
        now = time.monotonic()
        is_due = done in (1, total) or done % step == 0 or now - said > _SILENCE_S
        if is_due and now - started >= after_s:
            said = now
            _LOG.info(
                "%s: %d of %d done after %.0f s%s",
                what,
                done,
                total,
                now - started,
                _remaining((total - done) * (now - started) / done),
            )
        yield item


def _remaining(seconds: float) -> str:
    """Return the time that is left, as the end of a message; nothing where it is short."""
    if seconds < _WORTH_TELLING_S:
        return ""
    minutes = round(seconds / 60)
    if minutes < _HOUR:
        return f", about {minutes} min left"
    return f", about {minutes // _HOUR} h {minutes % _HOUR} min left"
