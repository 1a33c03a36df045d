"""Options for execution and for the extent of the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nidecomp.config import values as convert
from nidecomp.config.option import option

Level = Literal["minimal", "full"]
ExecutorName = Literal["local", "dask"]


@dataclass(frozen=True)
class OutputOptions:
    """How much is computed and written; the level also determines how components are sorted."""

    # The rule warns of mutable defaults; it cannot see that the default is a string.
    level: Level = option(  # noqa: RUF009
        convert.one_of("minimal", "full"),
        "full",
        "Level of detail. minimal: group maps and their fit, sorted by explained variance. full: "
        "also evidence about each map (maps are then sorted by reproducibility), and time courses "
        "and connectomes of each run.",
        metavar="LEVEL",
    )
    participant_maps: bool = option(
        convert.flag,
        False,
        "Also write the maps of each run (dual regression), and those of each participant "
        "combined across runs.",
    )
    no_report: bool = option(
        convert.flag,
        False,
        "Do not create the report (report.html and its overview figures).",
    )
    figures: bool = option(
        convert.flag,
        False,
        "Also draw each map at publication size (figures/). For results that are complete, nothing "
        "else is made.",
    )

    @property
    def has_report(self) -> bool:
        """Whether the report is created."""
        return self.level == "full" and not self.no_report


@dataclass(frozen=True)
class Execution:
    """How the work is done. These options must not change a byte of the outputs."""

    nprocs: int = option(
        convert.integer(0),
        0,
        "Maximum number of cores across all processes; 0: all that are available to this job. In "
        "the reduce step each core processes one run.",
        metavar="N",
    )
    omp_nthreads: int = option(
        convert.integer(0),
        0,
        "Maximum number of threads per process, used by the group fit; 0: the same as --nprocs.",
        metavar="N",
    )
    mem_mb: int = option(
        convert.integer(0),
        0,
        "Upper limit of memory in MB. It limits the number of runs processed in parallel and the "
        "size of the group fit; 0: the memory that is free at the start.",
        metavar="MB",
    )
    # The rule warns of mutable defaults; it cannot see that the default is a string.
    executor: ExecutorName = option(  # noqa: RUF009
        convert.one_of("local", "dask"),
        "local",
        "Process runs with processes on this machine (local) or with dask workers (dask). Without "
        "--dask-scheduler or --dask-config, dask starts --nprocs workers on this machine.",
        metavar="NAME",
    )
    dask_scheduler: str | None = option(
        convert.word,
        None,
        "Address of a running dask scheduler with workers (for --executor dask).",
        metavar="ADDRESS",
    )
    dask_config: str | None = option(
        convert.path,
        None,
        "dask-jobqueue configuration (YAML) to start the workers as cluster jobs (for --executor "
        "dask).",
        metavar="FILE",
    )
    dask_patience: int = option(
        convert.integer(1),
        3600,
        "Stop if no dask worker has been available for this long, for example because the jobs "
        "are still queued.",
        metavar="SECONDS",
    )
    work_dir: str | None = option(
        convert.path,
        None,
        "Folder for intermediate results (reduced runs), which are reused when the command is run "
        "again. Default: OUTPUT_DIR/work. Participant-level jobs and the group run must use the "
        "same folder.",
        metavar="DIR",
        short="-w",
    )
    fetch: bool = option(
        convert.flag,
        False,
        "Fetch the content of annexed files (DataLad datasets) as it is needed. Masks, and tables "
        "of confounds and of participants, stay in the dataset; each image is fetched, read, and "
        "dropped again. What was there before is kept. Needs git-annex.",
    )
    bids_database_dir: str | None = option(
        convert.path,
        None,
        "Folder to save the pybids index in, for faster indexing in later runs.",
        metavar="DIR",
    )
    reset_database: bool = option(
        convert.flag, False, "Index the dataset again, even if there is a saved index."
    )
    skip_bids_validation: bool = option(
        convert.flag,
        False,
        "Do not check that dataset_description.json describes a derivative dataset.",
    )
    report_only: bool = option(
        convert.flag,
        False,
        "Only create the report again, from the results in OUTPUT_DIR.",
    )
    dry_run: bool = option(
        convert.flag,
        False,
        "Only show which runs would be used, and how much memory and disk space is needed.",
    )
    resource_monitor: bool = option(
        convert.flag,
        False,
        "Measure the time, processor time and memory of each step and run, and summarise them at "
        "the end of the log. (The duration of each step is always written to "
        "logs/resources.tsv.)",
    )
    stop_on_first_crash: bool = option(convert.flag, False, "Stop as soon as one run fails.")
    verbose: bool = option(convert.flag, False, "Show more detailed log messages.", short="-v")
