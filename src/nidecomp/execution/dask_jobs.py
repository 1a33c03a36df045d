"""Jobs of a cluster in which dask's workers run: can they be submitted, and the cluster of them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import dask.config
import psutil

from nidecomp.core.errors import NidecompError, UsageError
from nidecomp.core.text import in_one_line, quoted
from nidecomp.execution.dask_config import Jobs, cluster_class, mistake

# A job's worker is ended by its nanny or by the cluster where it takes too much. One that pauses
# because its memory is nearly full would wait for ever: nobody frees it but the run it works on.
PAUSES = ("target", "spill", "pause")


def check_can_submit(jobs: Jobs) -> None:
    """Refuse jobs that cannot be submitted from this machine, or cannot even be written down.

    Raises
    ------
    UsageError
    """
    job_class = cluster_class(jobs.system).job_cls
    command = job_class.submit_command.split()[0]
    if which(command) is None:
        raise UsageError(
            f"--dask-config {jobs.path}: there is no {command} on this machine; start nidecomp "
            "where jobs are submitted."
        )
    with mistakes_named(jobs), dask.config.set(merged(jobs)):
        _check_interface(jobs)
        # A folder for what jobs say would be made if it were not there.
        options = _job_options(jobs) | {"log_directory": str(jobs.path.parent)}
        job_class("tcp://scheduler:8786", name="checked", **options).job_script()


def _job_options(jobs: Jobs) -> dict[str, Any]:
    """Give what is said of a job beside dask's configuration, which must be that of the jobs."""
    prologue = dask.config.get(f"jobqueue.{jobs.system}.job-script-prologue") or []
    never = [f"export DASK_DISTRIBUTED__WORKER__MEMORY__{what.upper()}=False" for what in PAUSES]
    return {
        "cores": jobs.cores,
        # Said here, too: dask-jobqueue counts the workers of a job by the argument alone.
        "processes": jobs.cores,
        "job_script_prologue": [*prologue, *never],
    }


def _check_interface(jobs: Jobs) -> None:
    """Refuse a network that the scheduler, which is on this machine, could not be reached by."""
    options = dask.config.get(f"jobqueue.{jobs.system}.scheduler-options") or {}
    name = options.get("interface")
    if not {"interface", "host"} & set(options):
        name = dask.config.get(f"jobqueue.{jobs.system}.interface")
    there = [
        interface
        for interface, addresses in psutil.net_if_addrs().items()
        if any(address.family == socket.AF_INET for address in addresses)
    ]
    if name and name not in there:
        raise mistake(
            jobs.path,
            f"this machine has no network interface {quoted(name)} with an IPv4 address; it has "
            f"{', '.join(there)}",
        )


def merged(jobs: Jobs) -> Any:
    """Give all of dask's configuration as it is with that of the jobs."""
    return dask.config.merge(dask.config.config, jobs.content)


@contextmanager
def mistakes_named(jobs: Jobs) -> Iterator[None]:
    """Make one sentence of whatever dask says of a configuration while this is open.

    Raises
    ------
    UsageError
        Naming the file.
    """
    try:
        yield
    except NidecompError:
        raise
    except Exception as error:
        first: BaseException = error
        while (before := _reason(first)) is not None:
            first = before
        said = in_one_line(first) or type(first).__name__
        raise mistake(jobs.path, f"dask cannot start jobs with it: {said}") from None


def _reason(error: BaseException) -> BaseException | None:
    """Look behind "Cluster failed to start", and behind what goes wrong when that is closed."""
    during = error.__context__
    return error.__cause__ or (during if isinstance(during, RuntimeError) else None)


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
    of_system = cluster_class(jobs.system)
    name = f"jobqueue.{jobs.system}"
    options = dask.config.get(f"{name}.scheduler-options") or {}
    return of_system(
        job_cls=_telling(of_system.job_cls, tell),
        **_job_options(jobs),
        log_directory=dask.config.get(f"{name}.log-directory") or str(log_dir),
        scheduler_options=NO_PAGE | options if "dashboard_address" not in options else options,
    )


# No page on the web unless it is asked for. There is a server all the same; at dask's own port it
# would warn of every other one.
NO_PAGE = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


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
