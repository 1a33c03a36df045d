"""The memory and disk space that an analysis needs, and how it will be executed, as a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nidecomp.decomposition.gather import GroupPlan
from nidecomp.execution.memory import INTERPRETER_MB

# Where runs are processed: in this process if one is enough, always in worker processes on this
# machine, or on other machines.
Where = Literal["here", "beside", "elsewhere"]


@dataclass(frozen=True)
class Forecast:
    """The memory and disk space that an analysis needs, and how it will be executed.

    Runs are processed by `n_processes` processes, in the place given by `where`. The group fit and
    the figures of the report use `n_threads`; the fit adds runs to `at_once` of its `n_subspaces`
    in one pass over the reduced runs, and to `samples_at_once` of the split-halves, bootstrap
    samples and groups without a dataset. `waiting_mb` is the memory of this process while workers
    process runs, `drawing_mb` that of drawing figures (0 without a report). `images_mb` is the disk
    space of the runs' own maps and cleaned images, before compression; `fetching` says what has to
    be fetched, if anything. Comparing participants takes `comparing_mb` for one component, of which
    `n_processes` are worked on, about `comparing_minutes`, `compared_mb` for all results and
    `rows_mb` of disk space for the maps that are compared; 0 where no maps are.
    """

    run_mb: float
    group_mb: float
    disk_mb: float
    n_processes: int
    n_threads: int
    n_subspaces: int
    at_once: int
    samples_at_once: int = 0
    waiting_mb: float = INTERPRETER_MB
    where: Where = "here"
    drawing_mb: float = 0.0
    images_mb: float = 0.0
    fetching: str | None = None
    comparing_mb: float = 0.0
    compared_mb: float = 0.0
    comparing_minutes: float = 0.0
    rows_mb: float = 0.0

    @property
    def group_plan(self) -> GroupPlan:
        """The part of the plan for the group fit."""
        return GroupPlan(self.n_threads, self.at_once, self.samples_at_once)

    @property
    def peak_mb(self) -> float:
        """Peak memory on this machine in MB, of all processes together."""
        later = max(self.group_mb, self.waiting_mb + self.compared_mb, self.drawing_mb)
        if self.where == "elsewhere":
            return later
        # A single process is this one; with several, this process waits for them.
        is_waiting = self.where == "beside" or self.n_processes > 1
        waiting_mb = self.waiting_mb if is_waiting else 0.0
        of_one = max(self.run_mb, self.comparing_mb)
        return max(of_one * self.n_processes + waiting_mb, later)

    def as_text(self) -> str:
        """Return the forecast as text, one line for each step."""
        is_elsewhere = self.where == "elsewhere"
        at_once = (
            "one at a time in each worker" if is_elsewhere else f"{self.n_processes} at a time"
        )
        lines = [
            f"Reduce step: {self.run_mb:,.0f} MB for one run, {at_once} with one thread each",
            f"Disk: {self.disk_mb:,.0f} MB of reduced runs in the work folder" + self._projected,
            f"Peak memory: {self.peak_mb:,.0f} MB"
            + (f" here, {self.run_mb:,.0f} MB in each worker" if is_elsewhere else ""),
        ]
        if self.group_mb:
            passes = -(-self.n_subspaces // self.at_once)
            fit = (
                f"Group fit: {self.group_mb:,.0f} MB for any number of runs, "
                f"threads: {self.n_threads}, passes over the reduced runs for each number of "
                f"components: {passes}"
            )
            lines.insert(1, fit)
        if self.comparing_mb:
            lines.append(
                f"Comparing maps: {self.comparing_mb:,.0f} MB for one component, {at_once}; about "
                f"{max(1, self.comparing_minutes):,.0f} min"
            )
        if self.fetching:
            lines.append(self.fetching)
        return "\n".join(lines)

    @property
    def _projected(self) -> str:
        """The images of runs, as the end of a line; nothing if there are none."""
        rows = f", {self.rows_mb:,.0f} MB of maps that are compared" if self.rows_mb else ""
        if not self.images_mb:
            return rows
        return rows + (
            f", at most {self.images_mb:,.0f} MB of the runs' maps and cleaned images there, and "
            "the same in the results"
        )
