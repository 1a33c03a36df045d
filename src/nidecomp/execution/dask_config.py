"""A configuration of dask-jobqueue, in dask's own YAML: read and checked."""

from __future__ import annotations

import difflib
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dask.config
import yaml
from dask.utils import parse_bytes

from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line, quoted, read_text

# How dask-jobqueue calls each system in its configuration, and what of it starts jobs there.
_CLUSTERS = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}
# More than any one machine has; a number without end would be no float.
_MOST_CORES = 100_000


@dataclass(frozen=True)
class Jobs:
    """What a configuration asks for.

    `content` is all of it, as dask knows it; `system` the section in use; `worker_mb` the memory of
    one of the `cores` workers of each job; there are from `minimum` to `maximum` workers.
    """

    path: Path
    content: Mapping[str, Any]
    system: str
    cores: int
    worker_mb: float
    minimum: int
    maximum: int


@cache
def _dask_jobqueue() -> Any:
    """Import dask-jobqueue, which brings the defaults of its configuration.

    It takes over Ctrl-C when it is imported, and would end the program with exit code 0.

    Raises
    ------
    UsageError
        This is a thread, in which that is not allowed.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            "dask_config: jobs can be started from a program's main thread only (dask-jobqueue "
            "handles signals there)."
        )
    on_interrupt = signal.getsignal(signal.SIGINT)
    import dask_jobqueue  # noqa: PLC0415

    if on_interrupt is not None:
        signal.signal(signal.SIGINT, on_interrupt)
    return dask_jobqueue


def cluster_class(system: str) -> Any:
    """Give dask-jobqueue's class of clusters for the name of a system."""
    return getattr(_dask_jobqueue(), _CLUSTERS[system])


def read_jobs(path: Path) -> Jobs:
    """Read and check a configuration.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Jobs

    Raises
    ------
    UsageError
        Naming the file and what is wrong in it.
    """
    content = _content(path)
    jobqueue = _table(content.get("jobqueue"))
    systems = list(jobqueue)
    if len(systems) != 1 or systems[0] not in _CLUSTERS:
        found = ", ".join(map(str, systems)) or "nothing"
        raise mistake(
            path, f"under jobqueue there must be one of {', '.join(_CLUSTERS)}, and is {found}"
        )
    (system,) = systems
    section = _table(jobqueue[system])
    _check_names(path, system, section)
    cores = _whole(path, f"jobqueue.{system}.cores", section.get("cores"), 1)
    if cores > _MOST_CORES:
        raise mistake(path, f"jobqueue.{system}.cores is more than {_MOST_CORES}")
    if section.get("processes") not in (None, cores):
        raise mistake(
            path,
            f"processes is {quoted(section['processes'])} and cores is {cores}: each worker has "
            "one thread, so leave processes out",
        )
    worker_mb = _memory_mb(path, f"jobqueue.{system}.memory", section.get("memory")) / cores
    minimum, maximum = _bounds(path, content)
    return Jobs(path, content, system, cores, worker_mb, minimum, maximum)


# What PyYAML raises, and what comes of a value that is not what it looks like: 2020-13-45.
_UNREADABLE = (
    yaml.YAMLError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
)


def _content(path: Path) -> dict[str, Any]:
    _dask_jobqueue()
    try:
        content = yaml.safe_load(read_text(path))
        if not isinstance(content, dict):
            raise mistake(path, "it holds no configuration of dask")
        _check_tables(path, "", content, dask.config.config)
    except RecursionError:
        raise mistake(path, "it is nested too deeply") from None
    except _UNREADABLE as error:
        raise mistake(path, f"it cannot be read: {error}") from None
    return content


def _check_tables(
    path: Path, above: str, table: Mapping[Any, Any], known: Mapping[str, Any]
) -> None:
    """Refuse what dask, which looks for names below names, would stumble over."""
    for name, value in table.items():
        if not isinstance(name, str):
            where = f" under {above}" if above else ""
            raise mistake(path, f"the name {quoted(name)}{where} must be text")
        if not above and "." in name:
            raise mistake(path, f"the name {quoted(name)} has a dot in it: write tables")
        full_name = f"{above}.{name}" if above else name
        default = known.get(dask.config.canonical_name(name, known))
        # An empty value is as good as the empty table that would be there without it.
        if isinstance(default, dict) and not isinstance(value, dict) and (value or default):
            raise mistake(path, f"{full_name} is {quoted(value)}; it must be a table")
        if isinstance(value, dict):
            _check_tables(path, full_name, value, _table(default))


def _check_names(path: Path, system: str, section: Mapping[str, Any]) -> None:
    """Refuse what dask-jobqueue would pass over without a word, or take letter by letter."""
    known = {
        name.replace("_", "-"): default
        for name, default in dask.config.get(f"jobqueue.{system}").items()
    }
    for name, value in section.items():
        full_name = f"jobqueue.{system}.{name}"
        hyphened = name.replace("_", "-")
        if hyphened not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise mistake(path, f"jobqueue.{system} knows no {in_one_line(name)}.{hint}")
        if isinstance(known[hyphened], list) and value and not isinstance(value, list | dict):
            raise mistake(path, f"{full_name} is {quoted(value)}; it must be a list")


def _memory_mb(path: Path, name: str, value: Any) -> float:
    try:
        memory_mb = float(parse_bytes(value) / 1e6)
    except (ValueError, TypeError, AttributeError, OverflowError):
        memory_mb = 0.0
    if memory_mb <= 0:
        is_said = "" if value is None else f", and is {quoted(value)}"
        raise mistake(path, f"{name} must be a size such as 4GB, for all cores of a job{is_said}")
    return memory_mb


def _bounds(path: Path, content: Mapping[str, Any]) -> tuple[int, int]:
    """Read how many workers there may be: without an upper bound a group would fill the cluster."""
    stated = _table(_table(content.get("distributed")).get("adaptive"))
    name = "distributed.adaptive"
    maximum = _whole(path, f"{name}.maximum", stated.get("maximum"), 1)
    minimum = _whole(path, f"{name}.minimum", stated.get("minimum", 0), 0)
    if minimum > maximum:
        raise mistake(path, f"{name}.minimum {minimum} is above maximum {maximum}")
    return minimum, maximum


def _table(value: object) -> dict[str, Any]:
    """Take what is under a name in YAML as a table; nothing and anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def _whole(path: Path, name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        is_said = "is not there" if value is None else f"is {quoted(value)}"
        raise mistake(path, f"{name} {is_said}; it must be a whole number of at least {least}")
    return value


def mistake(path: Path, what: str) -> UsageError:
    """Say what is wrong in which file."""
    said = in_one_line(what).rstrip(".")
    return UsageError(f"--dask-config {path}: {said}{'' if said.endswith('?') else '.'}")
