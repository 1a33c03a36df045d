"""Options that say how the work is done and how much is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nidecomp.config import values as convert
from nidecomp.config.option import option

Level = Literal["minimal", "full"]
ExecutorName = Literal["local", "dask"]


@dataclass(frozen=True)
class OutputOptions:
    """How much is found out and written: components stand in the order of what is known of them."""

    # What the rule warns of are mutable defaults; it cannot see that `Level` is a word.
    level: Level = option(  # noqa: RUF009
        convert.one_of("minimal", "full"),
        "full",
        "minimal: the group's maps and how they were fitted, ordered by what they explain; full: "
        "the evidence about each map, too, maps ordered by their reproducibility, and each run's "
        "time courses and connectomes.",
        metavar="LEVEL",
    )
    participant_maps: bool = option(
        convert.flag,
        False,
        "Write each run's own maps, too (dual regression), and each participant's over its runs.",
    )
    no_report: bool = option(
        convert.flag, False, "Make no report (report.html and its figures), only its data."
    )


@dataclass(frozen=True)
class Execution:
    """How the work is done; none of it may change a byte of the outputs."""

    nprocs: int = option(
        convert.integer(0),
        0,
        "Cores to use in all; 0: as many as this job has. In the reduce step each works on a run.",
        metavar="N",
    )
    omp_nthreads: int = option(
        convert.integer(0),
        0,
        "Threads of one process at most, which the group fit uses; 0: --nprocs.",
        metavar="N",
    )
    mem_mb: int = option(
        convert.integer(0),
        0,
        "Upper limit of memory in MB, which bounds the runs in flight and what the group fit holds "
        "at once; 0: what is free now.",
        metavar="MB",
    )
    # What the rule warns of are mutable defaults; it cannot see that this is a word.
    executor: ExecutorName = option(  # noqa: RUF009
        convert.one_of("local", "dask"),
        "local",
        "Who works on the runs: processes of this machine, or dask's workers. Without one of the "
        "two options below dask starts --nprocs workers here.",
        metavar="NAME",
    )
    dask_scheduler: str | None = option(
        convert.word,
        None,
        "With --executor dask: the address of a scheduler that has workers of its own.",
        metavar="ADDRESS",
    )
    dask_config: str | None = option(
        convert.path,
        None,
        "With --executor dask: a configuration of dask-jobqueue (YAML) by which workers are "
        "started as jobs of a cluster.",
        metavar="FILE",
    )
    dask_patience: int = option(
        convert.integer(1),
        3600,
        "Give up when there has been no worker of dask for this long (jobs wait in a queue).",
        metavar="SECONDS",
    )
    work_dir: str | None = option(
        convert.path,
        None,
        "Where reduced runs are kept, so that a second start finds them. Default: "
        "OUTPUT_DIR/work. Jobs that share the work must share this folder.",
        metavar="DIR",
        short="-w",
    )
    bids_database_dir: str | None = option(
        convert.path,
        None,
        "Keep pybids' index in this folder and use it again next time.",
        metavar="DIR",
    )
    reset_database: bool = option(
        convert.flag, False, "Index anew although a saved index is there."
    )
    skip_bids_validation: bool = option(
        convert.flag, False, "Do not ask for a dataset_description.json that says derivative."
    )
    report_only: bool = option(
        convert.flag,
        False,
        "Make the report anew of what OUTPUT_DIR holds, and nothing else.",
    )
    dry_run: bool = option(
        convert.flag, False, "Show which runs would be used and what it would cost, then stop."
    )
    resource_monitor: bool = option(
        convert.flag,
        False,
        "Measure time, processor time and memory of each step and run, and end the log with them; "
        "logs/resources.tsv has the time of the steps in any case.",
    )
    stop_on_first_crash: bool = option(convert.flag, False, "Stop as soon as one run fails.")
    verbose: bool = option(convert.flag, False, "Say more.", short="-v")
