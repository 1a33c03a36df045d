"""A configuration of dask-jobqueue, in dask's own YAML: read, checked, made a cluster of jobs."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any

import dask.config
import yaml
from dask.utils import parse_bytes

from nidecomp.errors import UsageError

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
# A job's worker is ended by its nanny or by the cluster where it takes too much. One that pauses
# because its memory is nearly full would wait for ever: nobody frees it but the run it works on.
PAUSES = ("target", "spill", "pause")


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
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    import dask_jobqueue  # noqa: PLC0415

    if on_interrupt is not None:
        signal.signal(signal.SIGINT, on_interrupt)
    return dask_jobqueue


def _cluster_class(system: str) -> Any:
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
        raise _mistake(
            path, f"under jobqueue there must be one of {', '.join(_CLUSTERS)}, and is {found}"
        )
    (system,) = systems
    section = _table(jobqueue[system])
    _check_names(path, system, section)
    cores = _whole(path, f"jobqueue.{system}.cores", section.get("cores"), 1)
    if section.get("processes") not in (None, cores):
        raise _mistake(
            path,
            f"processes is {section['processes']} and cores is {cores}: each worker has one "
            "thread, so leave processes out",
        )
    try:
        worker_mb = parse_bytes(section.get("memory")) / cores / 1e6
    except (ValueError, TypeError, AttributeError):
        raise _mistake(
            path, f"jobqueue.{system}.memory must be a size such as 4GB, for all cores of a job"
        ) from None
    minimum, maximum = _bounds(path, content)
    return Jobs(path, content, system, cores, worker_mb, minimum, maximum)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _mistake(path, " ".join(str(error).split())) from None
    if not isinstance(content, dict):
        raise _mistake(path, "it holds no configuration of dask")
    return content


def _check_names(path: Path, system: str, section: Mapping[str, Any]) -> None:
    """Refuse what dask-jobqueue would pass over without a word."""
    _dask_jobqueue()
    known = {name.replace("_", "-") for name in dask.config.get(f"jobqueue.{system}")}
    for name in section:
        if str(name).replace("_", "-") not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise _mistake(path, f"jobqueue.{system} knows no {name}.{hint}")


def _bounds(path: Path, content: Mapping[str, Any]) -> tuple[int, int]:
    """Read how many workers there may be: without an upper bound a group would fill the cluster."""
    stated = _table(_table(content.get("distributed")).get("adaptive"))
    name = "distributed.adaptive"
    maximum = _whole(path, f"{name}.maximum", stated.get("maximum"), 1)
    minimum = _whole(path, f"{name}.minimum", stated.get("minimum", 0), 0)
    if minimum > maximum:
        raise _mistake(path, f"{name}.minimum {minimum} is above maximum {maximum}")
    return minimum, maximum


def _table(value: object) -> dict[str, Any]:
    """Take what is under a name in YAML as a table; nothing and anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def _whole(path: Path, name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        is_said = "is not there" if value is None else f"is {value!r}"
        raise _mistake(path, f"{name} {is_said}; it must be a whole number of at least {least}")
    return value


def _mistake(path: Path, what: str) -> UsageError:
    return UsageError(f"--dask-config {path}: {what.rstrip('.?')}{'?' if what[-1] == '?' else '.'}")


def check_can_submit(jobs: Jobs) -> None:
    """Refuse jobs on a machine that cannot submit them.

    Raises
    ------
    UsageError
    """
    command = _cluster_class(jobs.system).job_cls.submit_command.split()[0]
    if which(command) is None:
        raise UsageError(
            f"--dask-config {jobs.path}: there is no {command} on this machine; start nidecomp "
            "where jobs are submitted."
        )


def open_cluster(jobs: Jobs, log_dir: Path, tell: Callable[[str], None]) -> Any:
    """Start a scheduler in this process that submits jobs when it is told to.

    Parameters
    ----------
    jobs : Jobs
        Its content must be dask's configuration for as long as the cluster is open.
    log_dir : Path
        Where the jobs' output goes, where the configuration does not say.
    tell : callable
        Is told what the cluster said of a job that it did not take.

    Returns
    -------
    dask_jobqueue.JobQueueCluster
    """
    cluster_class = _cluster_class(jobs.system)
    name = f"jobqueue.{jobs.system}"
    prologue = dask.config.get(f"{name}.job-script-prologue") or []
    never = [f"export DASK_DISTRIBUTED__WORKER__MEMORY__{what.upper()}=False" for what in PAUSES]
    return cluster_class(
        job_cls=_telling(cluster_class.job_cls, tell),
        cores=jobs.cores,
        # Said here, too: dask-jobqueue counts the workers of a job by the argument alone.
        processes=jobs.cores,
        log_directory=dask.config.get(f"{name}.log-directory") or str(log_dir),
        job_script_prologue=[*prologue, *never],
        # No page on the web unless it is asked for.
        scheduler_options={
            "dashboard_address": None,
            **(dask.config.get(f"{name}.scheduler-options") or {}),
        },
    )


def _telling(job_class: Any, tell: Callable[[str], None]) -> Any:
    """Make a kind of job that does not keep to itself that it was refused."""

    class Job(job_class):  # type: ignore[misc]  # the package has no types
        async def start(self) -> None:
            try:
                await super().start()
            except Exception as error:
                tell(_last_words(error))
                raise

    return Job


def _last_words(error: Exception) -> str:
    """Take what the command itself said from dask-jobqueue's account of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
