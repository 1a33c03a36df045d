"""Read and check a configuration of dask-jobqueue, in dask's YAML format."""

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

# Names of batch systems in the configuration of dask-jobqueue, and their cluster classes.
_CLUSTERS = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}
# More than any machine has; an arbitrarily large number could not be converted to float.
_MOST_CORES = 100_000


@dataclass(frozen=True)
class Jobs:
    """A checked configuration of jobs.

    `content` is the complete configuration for dask, `system` the batch system in use, `cores` the
    number of workers per job, and `worker_mb` the memory of each. The number of workers is between
    `minimum` and `maximum`.
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
    """Import dask-jobqueue, which adds its defaults to dask's configuration.

    On import it sets a handler for Ctrl-C that would end the program with exit code 0, so that the
    previous handler is restored.

    Raises
    ------
    UsageError
        This is not the main thread, in which signal handlers cannot be set.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            "dask_config: jobs can only be started in the main thread of a program, because "
            "dask-jobqueue sets signal handlers."
        )
    on_interrupt = signal.getsignal(signal.SIGINT)
    import dask_jobqueue  # noqa: PLC0415

    if on_interrupt is not None:
        signal.signal(signal.SIGINT, on_interrupt)
    return dask_jobqueue


def cluster_class(system: str) -> Any:
    """Return dask-jobqueue's cluster class for a batch system."""
    return getattr(_dask_jobqueue(), _CLUSTERS[system])


def read_jobs(path: Path) -> Jobs:
    """Read and check a configuration file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Jobs

    Raises
    ------
    UsageError
        The file cannot be read or is invalid.
    """
    content = _content(path)
    jobqueue = _table(content.get("jobqueue"))
    systems = list(jobqueue)
    if len(systems) != 1 or systems[0] not in _CLUSTERS:
        found = ", ".join(map(str, systems)) or "none"
        raise mistake(
            path,
            f"the section jobqueue must contain exactly one of {', '.join(_CLUSTERS)} "
            f"(found: {found})",
        )
    (system,) = systems
    section = _table(jobqueue[system])
    _check_names(path, system, section)
    cores = _whole(path, f"jobqueue.{system}.cores", section.get("cores"), 1)
    if cores > _MOST_CORES:
        raise mistake(path, f"jobqueue.{system}.cores must be at most {_MOST_CORES}")
    if section.get("processes") not in (None, cores):
        raise mistake(
            path,
            f"processes is {quoted(section['processes'])}, but cores is {cores}: remove processes, "
            "because each worker has one thread",
        )
    worker_mb = _memory_mb(path, f"jobqueue.{system}.memory", section.get("memory")) / cores
    minimum, maximum = _bounds(path, content)
    return Jobs(path, content, system, cores, worker_mb, minimum, maximum)


# Errors of PyYAML, including those for malformed values such as the date 2020-13-45.
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
            raise mistake(path, "it is not a configuration of dask")
        _check_tables(path, "", content, dask.config.config)
    except RecursionError:
        raise mistake(path, "it is nested too deeply") from None
    except _UNREADABLE as error:
        raise mistake(path, f"it cannot be read: {error}") from None
    return content


def _check_tables(
    path: Path, above: str, table: Mapping[Any, Any], known: Mapping[str, Any]
) -> None:
    """Check names and nested tables, because dask raises unclear errors for invalid ones.

    Raises
    ------
    UsageError
    """
    for name, value in table.items():
        if not isinstance(name, str):
            where = f" under {above}" if above else ""
            raise mistake(path, f"the name {quoted(name)}{where} must be text")
        if not above and "." in name:
            raise mistake(
                path, f"the name {quoted(name)} must not contain a dot: use nested tables"
            )
        full_name = f"{above}.{name}" if above else name
        default = known.get(dask.config.canonical_name(name, known))
        # An empty value is allowed where the default is an empty table.
        if isinstance(default, dict) and not isinstance(value, dict) and (value or default):
            raise mistake(path, f"{full_name} is {quoted(value)}; it must be a table")
        if isinstance(value, dict):
            _check_tables(path, full_name, value, _table(default))


def _check_names(path: Path, system: str, section: Mapping[str, Any]) -> None:
    """Check for options that dask-jobqueue would ignore, and text it would use as a list.

    Raises
    ------
    UsageError
    """
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
            raise mistake(path, f"jobqueue.{system} has no option {in_one_line(name)}.{hint}")
        if isinstance(known[hyphened], list) and value and not isinstance(value, list | dict):
            raise mistake(path, f"{full_name} is {quoted(value)}; it must be a list")


def _memory_mb(path: Path, name: str, value: Any) -> float:
    try:
        memory_mb = float(parse_bytes(value) / 1e6)
    except (ValueError, TypeError, AttributeError, OverflowError):
        memory_mb = 0.0
    if memory_mb <= 0:
        found = "is missing" if value is None else f"is {quoted(value)}"
        raise mistake(
            path, f"{name} {found}; it must be a size such as 4GB, for all cores of a job"
        )
    return memory_mb


def _bounds(path: Path, content: Mapping[str, Any]) -> tuple[int, int]:
    """Return the minimum and maximum number of workers; a maximum is required on a cluster."""
    limits = _table(_table(content.get("distributed")).get("adaptive"))
    name = "distributed.adaptive"
    maximum = _whole(path, f"{name}.maximum", limits.get("maximum"), 1)
    minimum = _whole(path, f"{name}.minimum", limits.get("minimum", 0), 0)
    if minimum > maximum:
        raise mistake(path, f"{name}.minimum ({minimum}) is greater than maximum ({maximum})")
    return minimum, maximum


def _table(value: object) -> dict[str, Any]:
    """Return a value if it is a table, otherwise an empty table."""
    return value if isinstance(value, dict) else {}


def _whole(path: Path, name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        found = "is missing" if value is None else f"is {quoted(value)}"
        raise mistake(path, f"{name} {found}; it must be a whole number of at least {least}")
    return value


def mistake(path: Path, what: str) -> UsageError:
    """Return the error for an invalid configuration file."""
    text = in_one_line(what).rstrip(".")
    return UsageError(f"--dask-config {path}: {text}{'' if text.endswith('?') else '.'}")
