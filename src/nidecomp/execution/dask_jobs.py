"""Start dask workers as cluster jobs with dask-jobqueue, after checking the configuration."""

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

# Actions of dask at high memory use, which are disabled: a paused worker would wait forever,
# because only finishing its run frees memory. Workers that exceed their memory are killed by dask's
# nanny or by the cluster.
PAUSES = ("target", "spill", "pause")


def check_can_submit(jobs: Jobs) -> None:
    """Check that jobs can be submitted from this machine, and that a job script can be made.

    Raises
    ------
    UsageError
        The submit command is not installed, or the configuration is invalid.
    """
    job_class = cluster_class(jobs.system).job_cls
    command = job_class.submit_command.split()[0]
    if which(command) is None:
        raise UsageError(
            f"--dask-config {jobs.path}: the command {command} was not found. Run nidecomp on a "
            "machine from which jobs can be submitted."
        )
    with mistakes_named(jobs), dask.config.set(merged(jobs)):
        _check_interface(jobs)
        # An existing folder for the logs, because dask-jobqueue would create it.
        options = _job_options(jobs) | {"log_directory": str(jobs.path.parent)}
        job_class("tcp://scheduler:8786", name="checked", **options).job_script()


def _job_options(jobs: Jobs) -> dict[str, Any]:
    """Return arguments for the job class, while dask's configuration is that of the jobs."""
    prologue = dask.config.get(f"jobqueue.{jobs.system}.job-script-prologue") or []
    never = [f"export DASK_DISTRIBUTED__WORKER__MEMORY__{what.upper()}=False" for what in PAUSES]
    return {
        "cores": jobs.cores,
        # dask-jobqueue counts the workers of a job by this argument, not by its configuration.
        "processes": jobs.cores,
        "job_script_prologue": [*prologue, *never],
    }


def _check_interface(jobs: Jobs) -> None:
    """Check that the network interface of the scheduler exists on this machine."""
    options = dask.config.get(f"jobqueue.{jobs.system}.scheduler-options") or {}
    name = options.get("interface")
    if not {"interface", "host"} & set(options):
        name = dask.config.get(f"jobqueue.{jobs.system}.interface")
    existing = [
        interface
        for interface, addresses in psutil.net_if_addrs().items()
        if any(address.family == socket.AF_INET for address in addresses)
    ]
    if name and name not in existing:
        raise mistake(
            jobs.path,
            f"this machine has no network interface {quoted(name)} with an IPv4 address; use one "
            f"of {', '.join(existing)}",
        )


def merged(jobs: Jobs) -> Any:
    """Return dask's current configuration, updated with that of the jobs."""
    return dask.config.merge(dask.config.config, jobs.content)


@contextmanager
def mistakes_named(jobs: Jobs) -> Iterator[None]:
    """Convert errors of dask in the block to a UsageError about the configuration file.

    Raises
    ------
    UsageError
        With the name of the file and the original cause.
    """
    try:
        yield
    except NidecompError:
        raise
    except Exception as error:
        first: BaseException = error
        while (earlier := _cause(first)) is not None:
            first = earlier
        reason = in_one_line(first) or type(first).__name__
        raise mistake(jobs.path, f"dask cannot start jobs with it: {reason}") from None


def _cause(error: BaseException) -> BaseException | None:
    """Return the cause of an error: of "Cluster failed to start", or of an error on closing."""
    during = error.__context__
    return error.__cause__ or (during if isinstance(during, RuntimeError) else None)


def open_cluster(jobs: Jobs, log_dir: Path, on_refusal: Callable[[str], None]) -> Any:
    """Start a scheduler in this process, which submits jobs as workers are needed.

    Parameters
    ----------
    jobs : Jobs
        dask's configuration must include its content while the cluster is open.
    log_dir : Path
        Folder for the logs of the jobs, if the configuration has none.
    on_refusal : callable
        Called with the error message if a job cannot be submitted.

    Returns
    -------
    dask_jobqueue.JobQueueCluster
    """
    of_system = cluster_class(jobs.system)
    name = f"jobqueue.{jobs.system}"
    options = dask.config.get(f"{name}.scheduler-options") or {}
    return of_system(
        job_cls=_reporting(of_system.job_cls, on_refusal),
        **_job_options(jobs),
        log_directory=dask.config.get(f"{name}.log-directory") or str(log_dir),
        scheduler_options=NO_PAGE | options if "dashboard_address" not in options else options,
    )


# No dashboard, unless it is configured. A server is started in any case; with dask's default port
# it would warn if the port is in use.
NO_PAGE = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


def _reporting(job_class: Any, on_refusal: Callable[[str], None]) -> Any:
    """Return a job class that reports if a job cannot be submitted."""

    class Job(job_class):  # type: ignore[misc]  # the package has no types
        async def start(self) -> None:
            try:
                await super().start()
            except Exception as error:
                on_refusal(_last_line(error))
                raise

    return Job


def _last_line(error: Exception) -> str:
    """Return the last line of an error, which is the output of the submit command."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
