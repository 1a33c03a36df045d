"""Messages are logged to the terminal and the log file, and progress is shown."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nidecomp.config.parse import settings_from_options
from nidecomp.config.settings import AnalysisLevel, Settings
from nidecomp.execution.progress import logging_to, with_progress

PACKAGE = logging.getLogger("nidecomp")
LOG = logging.getLogger("nidecomp.somewhere")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def settings(output: Path, level: AnalysisLevel = "group", **options: object) -> Settings:
    return settings_from_options("in", output, level, options)


def state() -> tuple[list[logging.Handler], int]:
    return list(PACKAGE.handlers), PACKAGE.level


@contextmanager
def root_handlers(*handlers: logging.Handler) -> Iterator[None]:
    """Have the root logger these handlers alone, and not those of pytest."""
    before, logging.root.handlers = logging.root.handlers, list(handlers)
    try:
        yield
    finally:
        logging.root.handlers = before


# ---------------------------------------------------------------- progress
def shown_of(n_items: int, monkeypatch: pytest.MonkeyPatch, seconds_each: float) -> list[str]:
    """The lines of a step whose items take some time each, on a clock of its own."""
    clock = iter(seconds_each * number for number in range(n_items + 1))
    monkeypatch.setattr("nidecomp.execution.progress.time.monotonic", lambda: next(clock))
    lines: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    PACKAGE.addHandler(listener)
    level = PACKAGE.level
    PACKAGE.setLevel(logging.INFO)
    try:
        assert list(with_progress(range(n_items), n_items, "Reducing")) == list(range(n_items))
    finally:
        PACKAGE.removeHandler(listener)
        PACKAGE.setLevel(level)
    return lines


def test_progress_of_many_items_takes_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown_of(2000, monkeypatch, 0.1)
    assert len(lines) == 21
    assert lines[0] == "Reducing: 1 of 2000 done after 0 s, about 3 min left"
    assert lines[1] == "Reducing: 100 of 2000 done after 10 s, about 3 min left"
    assert lines[-1] == "Reducing: 2000 of 2000 done after 200 s"


def test_progress_of_slow_items_is_told_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown_of(400, monkeypatch, 40)
    assert len(lines) == 400
    assert lines[9] == "Reducing: 10 of 400 done after 400 s, about 4 h 20 min left"


def test_each_of_few_items_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(shown_of(20, monkeypatch, 0.1)) == 20


# ---------------------------------------------------------------- the log
@pytest.mark.parametrize("n_messages", [30, 60])
def test_warnings_that_are_out_of_sight_are_told_again(tmp_path: Path, n_messages: int) -> None:
    with logging_to(settings(tmp_path)):
        LOG.warning("Runs were refused:\n  %s", "many")
        for _ in range(n_messages):
            LOG.info("something else")
        LOG.error("one failed")
    lines = (tmp_path / "logs" / "nidecomp.log").read_text(encoding="utf-8").splitlines()
    again = ["2 warnings of this run, once more:", "  Runs were refused", "  one failed"]
    ends = [lines[-3].partition("INFO ")[2], *lines[-2:]]
    assert (ends == again) is (n_messages == 60)


def test_a_group_run_leaves_a_log(tmp_path: Path) -> None:
    with logging_to(settings(tmp_path / "new" / "out")):
        LOG.info("said with an ü")
    text = (tmp_path / "new" / "out" / "logs" / "nidecomp.log").read_text(encoding="utf-8")
    assert text.endswith("INFO said with an ü\n")


def test_a_second_start_adds_to_the_log(tmp_path: Path) -> None:
    for number in range(2):
        with logging_to(settings(tmp_path)):
            LOG.info("start %d", number)
    lines = (tmp_path / "logs" / "nidecomp.log").read_text(encoding="utf-8").splitlines()
    assert [line.split("INFO ")[1] for line in lines] == ["start 0", "start 1"]


@pytest.mark.parametrize(("level", "options"), [("participant", {}), ("group", {"dry_run": True})])
def test_others_than_group_runs_write_nothing(
    tmp_path: Path, level: AnalysisLevel, options: dict[str, object]
) -> None:
    """Jobs of a cluster array must not write to one log file, and a dry run writes nothing."""
    with logging_to(settings(tmp_path / "out", level, **options)):
        LOG.warning("said")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("level", ["participant", "group"])
def test_messages_go_to_stderr_and_never_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], level: AnalysisLevel
) -> None:
    with root_handlers(), logging_to(settings(tmp_path, level)):
        LOG.error("said")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("ERROR said") == 1


@pytest.mark.parametrize("verbose", [False, True])
def test_verbose_says_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    with root_handlers(), logging_to(settings(tmp_path, verbose=verbose)):
        LOG.debug("a detail")
        LOG.info("a fact")
    err = capsys.readouterr().err
    assert ("a detail" in err) == verbose
    assert "a fact" in err


@pytest.mark.parametrize("is_root", [True, False])
def test_a_message_appears_once_where_a_program_has_set_up_logging(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_root: bool,
) -> None:
    """As `logging.basicConfig` does; what its handler leaves out does not appear at all."""
    own = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(PACKAGE, "handlers", [] if is_root else [own])
    with root_handlers(*[own] if is_root else []), logging_to(settings(tmp_path)):
        LOG.info("a fact")
        own.setLevel(logging.WARNING)
        LOG.info("a detail")
    assert capsys.readouterr().err == "a fact\n"
    assert PACKAGE.handlers == ([] if is_root else [own])
    assert (tmp_path / "logs" / "nidecomp.log").read_text(encoding="utf-8").count("a fact") == 1


def test_the_level_of_the_logger_is_obeyed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="nidecomp")
    with root_handlers(), logging_to(settings(tmp_path)):
        LOG.info("a detail")
        LOG.warning("a fact")
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        list(with_progress("abc", 3, "Doing"))
    assert terminal.getvalue() == ""
    assert PACKAGE.level == logging.WARNING
    said = capsys.readouterr().err
    assert "a fact" in said
    assert "a detail" not in said


def test_handlers_and_level_are_as_before(tmp_path: Path) -> None:
    before = state()
    with logging_to(settings(tmp_path)):
        assert state() != before
        LOG.warning("in time")
        handlers = PACKAGE.handlers.copy()
    assert state() == before
    LOG.warning("too late")
    assert "too late" not in (tmp_path / "logs" / "nidecomp.log").read_text(encoding="utf-8")
    streams = [getattr(handler, "stream", None) for handler in handlers]
    assert all(stream is None or stream in (sys.stderr, sys.stdout) for stream in streams)


def test_handlers_and_level_are_as_before_after_an_error_too(tmp_path: Path) -> None:
    before = state()
    with pytest.raises(ZeroDivisionError), logging_to(settings(tmp_path)):
        raise ZeroDivisionError
    assert state() == before


# ---------------------------------------------------------------- progress
@pytest.fixture(params=["terminal", "no terminal"])
def stderr(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = Terminal() if request.param == "terminal" else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.mark.parametrize("total", [0, 3, 100])
def test_all_items_pass_in_order_whatever_total_was_said(stderr: io.StringIO, total: int) -> None:
    items = [object(), None, 0]
    assert list(with_progress(iter(items), total, "Doing")) == items
    assert list(with_progress([], total, "Doing")) == []


def test_items_pass_as_they_come(stderr: io.StringIO) -> None:
    """Each result is yielded as soon as it is available."""
    taken = []

    def arriving() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    stream = with_progress(arriving(), 3, "Doing")
    assert taken == []
    assert next(stream) == 0
    assert taken == [0]
    assert list(stream) == [1, 2]


def test_an_error_passes_through(stderr: io.StringIO) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    stream = with_progress(broken(), 2, "Doing")
    assert next(stream) == 1
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_without_a_terminal_every_item_is_a_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO, logger="nidecomp"):
        list(with_progress("abc", 3, "Reducing runs"))
    heads = [f"Reducing runs: {number} of 3 done" for number in (1, 2, 3)]
    assert [message.partition(" after ")[0] for message in caplog.messages] == heads


def test_the_first_seconds_are_not_shown_where_steps_are_short(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    clock = iter(range(100))
    monkeypatch.setattr("nidecomp.execution.progress.time.monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, logger="nidecomp"):
        list(with_progress("abc", 3, "Inspecting runs", after_s=10))
        assert caplog.messages == []
        list(with_progress(range(25), 25, "Inspecting runs", after_s=10))
    assert caplog.messages[0] == "Inspecting runs: 10 of 25 done after 10 s"
    assert caplog.messages[-1] == "Inspecting runs: 25 of 25 done after 25 s"


def test_on_a_terminal_there_is_a_bar_and_no_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with caplog.at_level(logging.INFO, logger="nidecomp"):
        list(with_progress("abc", 3, "Reducing runs"))
    assert "Reducing runs" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert caplog.messages == []
