"""Fetch the small files of runs before anything is read: masks, confounds tables, sidecars."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from nidecomp.annex.commands import check_writable, get, is_annexed, set_up, size_of
from nidecomp.annex.git import repository_of
from nidecomp.annex.ledger import one_at_a_time
from nidecomp.bids.assembly import Fetched
from nidecomp.core.content import annex_key_of_all, is_not_fetched
from nidecomp.core.inventory import FailedRun
from nidecomp.core.records import RunFiles
from nidecomp.core.text import count, size_in_words

_LOG = logging.getLogger(__name__)


def fetch_companions(runs: Sequence[RunFiles]) -> Fetched:
    """Fetch the masks, confounds tables and sidecars of runs. They stay in the dataset.

    Parameters
    ----------
    runs : sequence of RunFiles

    Returns
    -------
    Fetched
        Runs whose images are fetched when they are read, where their repository has annexed
        content; and runs of which a file cannot be fetched.

    Raises
    ------
    UsageError
        The repository cannot be written to.
    """
    small = {files.key: _companions(files) for files in runs}
    missing = [path for paths in small.values() for path in paths if is_not_fetched(path)]
    away = [path for files in runs for path in files.images if is_not_fetched(path)]
    for path in (*missing, *away):
        check_writable(path)
    tops = sorted({top for path in (*missing, *away) if (top := repository_of(path)) is not None})
    for top in tops:
        with one_at_a_time(top):
            set_up(top)
    failed = _fetched(list(dict.fromkeys(missing)), tops) if missing else {}
    lost = {
        key: next(path for path in paths if path in failed)
        for key, paths in small.items()
        if not failed.keys().isdisjoint(paths)
    }
    return Fetched(
        [_fetched_when_read(files) for files in runs if files.key not in lost],
        [
            FailedRun(
                files.key,
                files.bold,
                f"its file {lost[files.key].name} could not be fetched: {failed[lost[files.key]]}",
            )
            for files in runs
            if files.key in lost
        ],
    )


def _companions(files: RunFiles) -> list[Path]:
    paths = (files.mask, files.confounds, *files.sidecars, *files.confounds_sidecars)
    return [path for path in paths if path is not None]


def _fetched_when_read(files: RunFiles) -> RunFiles:
    """Return a run that says whether and by what key its image is fetched when it is read."""
    key = annex_key_of_all(files.images)
    return replace(
        files, annex_key=key, is_fetched_when_read=key is not None or is_annexed(files.bold)
    )


def _fetched(missing: Sequence[Path], tops: Sequence[Path]) -> dict[Path, str]:
    """Fetch small files, after other processes that do; return those that cannot be, and why."""
    _LOG.info(
        "Fetching %s, %s: masks, confounds tables and sidecars, which stay in the dataset",
        count(len(missing), "file"),
        size_in_words(sum(map(size_of, missing))),
    )
    with ExitStack() as others:
        for top in tops:
            others.enter_context(one_at_a_time(top))
        # Another process may have fetched them by now.
        return get([path for path in missing if is_not_fetched(path)])
