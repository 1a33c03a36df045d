"""Everything that the group's files are made of, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from nidecomp.annotation.regions import Region
from nidecomp.bids.names import FileLabels, group_file, mask_file, pooled_task
from nidecomp.config.settings import Settings
from nidecomp.core.records import Inventory, ReducedRun, UsableRun, runs_of
from nidecomp.decomposition.components import Components
from nidecomp.decomposition.model_order_choice import ModelOrderChoice
from nidecomp.projection.all_runs import Projections
from nidecomp.projection.task import ProjectedRun
from nidecomp.spaces.contract import FeatureSpace

# The list of the files that went in, which every group file points to.
SOURCES = PurePosixPath("logs/sources.tsv")


@dataclass(frozen=True, eq=False)
class GroupResult:
    """Everything that the group's files are made of.

    `settings` are those that were asked for; `choice` is there where the number of components was
    chosen. `regions` has those of each component of each decomposition.
    """

    settings: Settings
    root: Path
    inventory: Inventory
    reduced: tuple[ReducedRun, ...]
    space: FeatureSpace
    components: tuple[Components, ...]
    held_out: frozenset[str] = frozenset()
    choice: ModelOrderChoice | None = None
    projections: Projections = field(default_factory=Projections)
    regions: tuple[tuple[tuple[Region, ...], ...], ...] = ()

    @property
    def projected(self) -> tuple[ProjectedRun, ...]:
        """What each run has of the components."""
        return self.projections.runs

    @cached_property
    def reduced_runs(self) -> tuple[UsableRun, ...]:
        """All runs that were reduced, those of participants that were left out among them."""
        # Where nothing is fitted nothing is reduced.
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
        """Whether more is wanted than the maps and how they were fitted."""
        return self.settings.extent.level == "full"

    @property
    def res(self) -> str | None:
        """The res entity of every map."""
        return self.runs[0].files.res

    def mask_file(self, extension: str | None = None) -> PurePosixPath:
        """Place the group mask, or another file of its name such as its sidecar."""
        extension = extension or self.space.extensions.mask
        return mask_file(self.space.label, self.res, extension, self.runs[0].files.cohort)

    def labels(self, components: Components) -> FileLabels:
        """Give what all files of one decomposition have in their names."""
        return FileLabels(
            space=self.space.label,
            atlas=self.settings.science.decomposition.atlas_label,
            method=components.method,
            n_components=components.n_components,
            res=self.res,
            cohort=self.runs[0].files.cohort,
        )

    def file(
        self,
        components: Components,
        suffix: str,
        extension: str,
        desc: str | None = None,
        stat: str | None = None,
    ) -> PurePosixPath:
        """Place one file of one decomposition."""
        task = pooled_task(run.key.task for run in self.runs)
        return group_file(suffix, extension, self.labels(components), task, stat=stat, desc=desc)

    def maps_file(
        self, components: Components, suffix: str, desc: str | None = None
    ) -> PurePosixPath:
        """Place one file of maps of one decomposition."""
        return self.file(components, suffix, self.space.extensions.maps, desc)

    def uri(self, path: Path) -> str:
        """Name a file of the input as sidecars do."""
        return f"bids:preprocessed:{path.relative_to(self.root).as_posix()}"

    @cached_property
    def spatial(self) -> dict[str, object]:
        """Where the features are, as BIDS asks for it."""
        reference = next((run for run in self.runs if not run.resampled), self.runs[0])
        return self.space.spatial_metadata(self.uri(reference.files.bold), self.res)


@dataclass(frozen=True)
class Outcome:
    """How a run of NiDecomp ended.

    Parameters
    ----------
    inventory : Inventory
        What became of each run that was found.
    output_dir : Path
        Where the results are.
    components : tuple of Components
        The decompositions, in the order of methods within numbers of components; none where
        nothing was fitted.
    is_reported : bool
        Whether the report could be made, or was not wanted.
    """

    inventory: Inventory
    output_dir: Path
    components: tuple[Components, ...] = ()
    is_reported: bool = True

    @property
    def exit_code(self) -> int:
        """0 where every usable run went through, 1 where some failed, or the report did."""
        return 1 if self.inventory.failed or not self.is_reported else 0
