"""The results of an analysis, and the names of the files that they are written to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nidecomp.bids.datasets import Datasets
from nidecomp.bids.names import FileLabels, group_file, mask_file, pooled_task
from nidecomp.config.settings import Settings
from nidecomp.core.inventory import Inventory
from nidecomp.core.records import ReducedRun, UsableRun, runs_of
from nidecomp.core.text import count
from nidecomp.outputs.notebook import summary_as_html

if TYPE_CHECKING:
    # `--report-only` makes an outcome, too, and these take longer to import than it takes.
    from nidecomp.annotation.regions import RegionsOfMaps
    from nidecomp.comparison.records import Comparison
    from nidecomp.decomposition.components import Components
    from nidecomp.decomposition.model_order_choice import ModelOrderChoice
    from nidecomp.projection.all_runs import Projections
    from nidecomp.projection.task import ProjectedRun
    from nidecomp.spaces.contract import FeatureSpace


def _no_projections() -> Projections:
    from nidecomp.projection.all_runs import Projections  # noqa: PLC0415  as above

    return Projections()


@dataclass(frozen=True, eq=False)
class GroupResult:
    """The results of a group analysis, from which all files are written.

    `settings` are those that were asked for; `choice` is None where the number of components was
    given. `regions` has, for each decomposition, the regions of each component. `n_threads` is how
    many may compress an image. `comparison` is None where participants were not compared.
    """

    settings: Settings
    datasets: Datasets
    inventory: Inventory
    reduced: tuple[ReducedRun, ...]
    space: FeatureSpace
    components: tuple[Components, ...]
    held_out: frozenset[str] = frozenset()
    choice: ModelOrderChoice | None = None
    projections: Projections = field(default_factory=_no_projections)
    regions: RegionsOfMaps = ()
    n_threads: int = 1
    comparison: Comparison | None = None

    @property
    def projected(self) -> tuple[ProjectedRun, ...]:
        """The projections of the runs."""
        return self.projections.runs

    @cached_property
    def reduced_runs(self) -> tuple[UsableRun, ...]:
        """All runs that were reduced, including those of held-out participants."""
        # Template maps are projected without reducing the runs.
        if not self.reduced:
            return tuple(projected.run for projected in self.projected)
        return runs_of(self.reduced)

    @cached_property
    def runs(self) -> tuple[UsableRun, ...]:
        """The runs that the components were fitted to."""
        return tuple(run for run in self.reduced_runs if run.participant not in self.held_out)

    @cached_property
    def participants(self) -> list[str]:
        """The labels of the participants that the components were fitted to, sorted."""
        return sorted({run.participant for run in self.runs})

    @property
    def is_full(self) -> bool:
        """Whether evidence and projections are written, too (``--level full``)."""
        return self.settings.extent.level == "full"

    @property
    def res(self) -> str | None:
        """The res entity of every map."""
        return self._reference.files.res

    def mask_file(self, extension: str | None = None) -> PurePosixPath:
        """Return the path of the group mask, or of its sidecar."""
        ends = self.space.extensions
        return mask_file(self._labels("", 0), ends.mask_suffix, extension or ends.mask)

    def labels(self, components: Components) -> FileLabels:
        """Return the labels that the names of all files of one decomposition share."""
        return self._labels(components.method, components.n_components)

    def _labels(self, method: str, n_components: int) -> FileLabels:
        return FileLabels(
            space=self.space.label,
            atlas=self.settings.science.decomposition.atlas_label,
            method=method,
            n_components=n_components,
            res=self.res,
            cohort=self.runs[0].files.cohort,
            den=self._reference.files.den,
            hemi=self.space.hemispheres[0],
            parcellation_folder=self.space.extensions.labels_folder,
        )

    @cached_property
    def tasks(self) -> list[str]:
        """The labels of the tasks that the components were fitted to, sorted."""
        return sorted({run.key.task for run in self.runs})

    @property
    def pooled_tasks(self) -> dict[str, object]:
        """The entry of sidecars that lists the tasks, empty if there is only one."""
        return {"PooledTasks": self.tasks} if len(self.tasks) > 1 else {}

    def file(
        self,
        components: Components,
        suffix: str,
        extension: str,
        desc: str | None = None,
        stat: str | None = None,
        contrast: str | None = None,
    ) -> PurePosixPath:
        """Return the path of a file of one decomposition."""
        labels = replace(self.labels(components), contrast=contrast)
        task = pooled_task(self.tasks)
        return group_file(suffix, extension, labels, task, stat=stat, desc=desc)

    def maps_file(
        self, components: Components, suffix: str, desc: str | None = None
    ) -> PurePosixPath:
        """Return the path of a file of maps of one decomposition."""
        return self.file(components, suffix, self.space.extensions.maps, desc)

    def uri(self, path: Path) -> str:
        """Return the BIDS URI of a file of the input."""
        return self.datasets.uri(path)

    def image_uris(self, run: UsableRun) -> list[str]:
        """Return the BIDS URIs of a run's image, of which a pair has two."""
        return list(map(self.uri, run.files.images))

    @cached_property
    def spatial(self) -> dict[str, object]:
        """The spatial metadata that BIDS requires in sidecars."""
        reference = self._reference
        # Of runs that other sites reduced, there is no image here.
        is_away = reference.is_of_site
        image = f"bids::{self.mask_file()}" if is_away else self.uri(reference.files.bold)
        return self.space.spatial_metadata(image, self.res)

    @cached_property
    def _reference(self) -> UsableRun:
        """A run on the grid of the group, whose resolution the maps have."""
        fitting = [run for run in self.runs if not run.resampled] or list(self.runs)
        return next((run for run in fitting if not run.is_of_site), fitting[0])


@dataclass(frozen=True)
class Outcome:
    """How a run of NiDecomp ended.

    It can be given wherever the path of the output folder can.

    Parameters
    ----------
    inventory : Inventory
        Every run that was found, and whether it was used.
    output_dir : Path
        Where the results are.
    n_decompositions : int
        How many decompositions there are: `nidecomp.load_results` returns them. 0 where nothing was
        fitted.
    is_reported : bool
        False where the report was wanted and could not be made.
    is_compared : bool
        False where participants were to be compared and could not be.
    """

    inventory: Inventory
    output_dir: Path
    n_decompositions: int = 0
    is_reported: bool = True
    is_compared: bool = True

    @property
    def exit_code(self) -> int:
        """0 where every usable run was processed, 1 where a run, a dataset or a step failed.

        The steps are the comparison of participants and the report.
        """
        failed = self.inventory.failed or self.inventory.lost
        return 1 if failed or not (self.is_reported and self.is_compared) else 0

    def __fspath__(self) -> str:
        return str(self.output_dir)

    def __repr__(self) -> str:
        return f"<Outcome: {self._counts}; results in {self.output_dir}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: counts, the best maps and a link to the report."""
        return summary_as_html(self._counts, self.output_dir)

    @property
    def _counts(self) -> str:
        if self.inventory == Inventory():  # --report-only
            return "no run was processed"
        failed = {run.key for run in self.inventory.failed}
        n_used = sum(run.key not in failed for run in self.inventory.used)
        return (
            f"{count(n_used, 'run')} used, {len(self.inventory.refused)} refused, "
            f"{len(failed)} failed; {count(self.n_decompositions, 'decomposition')}"
        )
