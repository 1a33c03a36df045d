"""Have the content of a file at hand for as long as it is read, and drop it if it was fetched."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nidecomp.annex.commands import check_writable, drop, get, remove_partial, set_up
from nidecomp.annex.git import repository_of
from nidecomp.annex.ledger import Entry, entries, one_at_a_time
from nidecomp.core.content import is_not_fetched
from nidecomp.core.errors import FailedRunError, UsageError

_LOG = logging.getLogger(__name__)


@contextmanager
def at_hand(path: Path) -> Iterator[None]:
    """Fetch the content of a file if it is not there, and drop it at the end of the block.

    Parameters
    ----------
    path : Path
        An annexed file. Processes that need the same content take turns. What was there before is
        not dropped.

    Raises
    ------
    FailedRunError
        The content cannot be fetched, or what was fetched before cannot be dropped.
    """
    entry = Entry.of(path)
    if entry is None:
        if is_not_fetched(path):
            raise FailedRunError(f"its image {path.name} is in no git repository")
        yield
        return
    # Before and after: another process may have fetched it, and would drop it while it is read.
    if not entry.exists() and not is_not_fetched(path) and not entry.exists():
        yield
        return
    _refuse_to_pile_up(entry)
    with entry.made(path) as descriptor:
        try:
            # Its lock is git-annex's, too: killed with this process, it may end a moment later.
            if why := get([path], holding=descriptor).get(path):
                raise FailedRunError(f"its image {path.name} could not be fetched: {why}")
            yield
        finally:
            _drop(path, entry)


@contextmanager
def all_at_hand(paths: Iterable[Path]) -> Iterator[None]:
    """Have the content of several files at hand, as `at_hand` does, in their order.

    Links to the same content, which a hemisphere that was copied twice has, are one file: this
    process would wait for itself.
    """
    with ExitStack() as stack:
        for path in {path.resolve(): path for path in paths}.values():
            stack.enter_context(at_hand(path))
        yield


@contextmanager
def without_leftovers(folders: Iterable[Path]) -> Iterator[None]:
    """Drop what processes that were killed have fetched, before and after the block.

    Parameters
    ----------
    folders : iterable of Path
        The datasets.
    """
    found = (repository_of(folder / "any file") for folder in folders)
    tops = sorted({top for top in found if top is not None})
    _report(tops)
    try:
        yield
    finally:
        _report(tops)


def _report(tops: Iterable[Path]) -> None:
    for top in tops:
        for path, why in drop_leftovers(top).items():
            _LOG.warning("%s was fetched, and could not be dropped again: %s", path, why)


def drop_leftovers(top: Path) -> Mapping[Path, str]:
    """Drop the files that processes fetched and could not drop, as they were killed.

    Parameters
    ----------
    top : Path
        The top folder of the repository. Files that others use now are left alone.

    Returns
    -------
    mapping of Path to str
        Those that could not be dropped, and why.
    """
    failed = {}
    for entry in entries(top):
        with entry.taken_over() as descriptor:
            if descriptor is None:
                continue
            path = entry.path()
            if path is None:
                # Its process was killed before it fetched anything.
                entry.remove()
                continue
            _drop(path, entry)
            if why := entry.reason():
                failed[path] = why
    return failed


def _drop(path: Path, entry: Entry) -> None:
    """Drop a file's content, and its entry with it; if that fails, the entry says why."""
    remove_partial(path)
    if not is_not_fetched(path) and (why := drop([path]).get(path)):
        entry.add_reason(why)
    else:
        entry.remove()


def _refuse_to_pile_up(entry: Entry) -> None:
    """Raise if something that was fetched could not be dropped: the disk would fill up."""
    for other in map(Entry, entry.file.parent.glob("*.json")):
        if why := other.reason():
            raise FailedRunError(
                f"no further image is fetched, because {other.path()} could not be dropped after "
                f"it was read ({why}): drop it with 'git annex drop', and run the command again"
            )


def fetch_to_stay(path: Path) -> None:
    """Fetch a small file, which stays in its dataset; nothing happens if it is there.

    Parameters
    ----------
    path : Path

    Raises
    ------
    UsageError
        It cannot be fetched, or its repository cannot be written to.
    """
    top = repository_of(path)
    if top is None or not is_not_fetched(path):
        return
    check_writable(path)
    with one_at_a_time(top):
        set_up(top)
        failed = get([path])
    if path in failed:
        raise UsageError(f"{path} could not be fetched: {failed[path]}.")
