"""Writing the projections of runs to template maps as a BIDS-Derivatives dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nidecomp.annotation.template_maps import GIVEN
from nidecomp.bids.dataset import SETTINGS
from nidecomp.comparison.answers import Answer
from nidecomp.decomposition.components import Components
from nidecomp.outputs.comparison_files import comparison_in_readme, write_comparison
from nidecomp.outputs.dataset import (
    INVENTORY,
    write_logs,
    write_mask,
    write_outliers,
    write_participants,
    write_settings,
)
from nidecomp.outputs.description import write_description
from nidecomp.outputs.map_files import write_maps
from nidecomp.outputs.projections import write_projections
from nidecomp.outputs.quality import QUALITY_TABLE
from nidecomp.outputs.readme import readme
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree


def write_template_projections(result: GroupResult, *, is_job: bool) -> OutputTree:
    """Write the projections to template maps.

    Parameters
    ----------
    result : GroupResult
        Its components are template maps.
    is_job : bool
        Whether this is one of several participant jobs: only the files of its participants, and
        those that are the same from every job, are written; a group run adds the rest.

    Returns
    -------
    OutputTree
        To be finished by the caller, which writes the manifest.
    """
    tree = OutputTree(result.settings.output_dir, _job_name(result) if is_job else None)
    answers = write_comparison(tree, result)
    write_description(tree, result, "projections to maps", _readme(result, answers))
    if is_job:
        write_settings(tree, result.settings)
    else:
        write_participants(tree, result)
        write_logs(tree, result)
    write_outliers(tree, result)
    write_mask(tree, result)
    for components in result.components:
        _write_maps(tree, result, components)
    write_projections(tree, result, is_job=is_job)
    return tree


def _job_name(result: GroupResult) -> str:
    """Return a name of a job, from its participants: no two jobs share a manifest."""
    first, *others = result.participants
    return f"sub-{first}" + (f"+{len(others)}" if others else "")


def _source(result: GroupResult) -> str:
    """Return the name of the template maps, without their path."""
    return Path(str(result.settings.science.projection.maps)).name


def _write_maps(tree: OutputTree, result: GroupResult, components: Components) -> None:
    path = result.maps_file(components, "components")
    write_maps(tree, result, path, components.maps, components.names)
    what = "maps" if components.method == GIVEN else f"maps of {components.method}"
    tree.write_json(
        result.file(components, "components", ".json"),
        {
            "Description": f"Template {what} ({_source(result)}), on the grid of the runs and "
            "within the mask, scaled to a root mean square of 1 over it: one "
            f"{result.space.extensions.one_map} per map.",
            "Units": "arbitrary",
            "ComponentNames": list(components.names),
            "Mask": f"bids::{result.mask_file()}",
            **result.spatial,
        },
    )


def _readme(result: GroupResult, answers: Sequence[Answer]) -> str:
    return readme(
        "template_projections.md.jinja",
        source=_source(result),
        space=result.space.label,
        ends=result.space.extensions,
        features=result.space.measure.features,
        inventory=INVENTORY,
        quality_table=QUALITY_TABLE,
        settings=SETTINGS,
        comparison=comparison_in_readme(result, answers),
    )
