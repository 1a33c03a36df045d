"""Writing the results of a group analysis as a BIDS-Derivatives dataset."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from nidecomp.bids.dataset import SETTINGS
from nidecomp.bids.names import atlas_description_file
from nidecomp.bids.same_input import SOURCES
from nidecomp.comparison.answers import Answer
from nidecomp.config.science import PcaWeighting
from nidecomp.core.inventory import Inventory
from nidecomp.core.text import count
from nidecomp.decomposition.components import Components
from nidecomp.outputs.comparison_files import comparison_in_readme, write_comparison
from nidecomp.outputs.comparisons import evidence_summary
from nidecomp.outputs.components import write_evidence
from nidecomp.outputs.dataset import (
    INVENTORY,
    write_logs,
    write_mask,
    write_outliers,
    write_participants,
)
from nidecomp.outputs.description import input_name, licence, write_description
from nidecomp.outputs.map_files import write_maps
from nidecomp.outputs.model_order import (
    MODEL_ORDER_FIGURE,
    MODEL_ORDER_TABLE,
    choice_in_words,
    write_model_order,
)
from nidecomp.outputs.projections import write_projections
from nidecomp.outputs.quality import QUALITY_TABLE
from nidecomp.outputs.readme import readme
from nidecomp.outputs.report.words import method_name
from nidecomp.outputs.result import GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.version import __version__, library_versions

_OF_DICTIONARY_LEARNING = {"alpha", "map_support", "batch_size", "n_epochs"}
_WEIGHTINGS: dict[PcaWeighting, str] = {
    "sqrt": "all participants have the same weight: each principal component of a run has a norm "
    "of the square root of its singular value; all are scaled to equal variance in all runs and by "
    "1/sqrt(number of the participant's runs)",
    "unit": "all participants have the same weight: the principal components of each run "
    "are scaled to equal variance in all runs (for the ICA: each to unit norm) and by "
    "1/sqrt(number of the participant's runs)",
}


def write_group(result: GroupResult) -> OutputTree:
    """Write the maps, tables, descriptions and logs of a group analysis.

    Parameters
    ----------
    result : GroupResult

    Returns
    -------
    OutputTree
        To be finished by the caller, which writes the manifest.
    """
    tree = OutputTree(result.settings.output_dir)
    # Products of maps are too small to be worth several threads, which would wait for each other.
    with threadpool_limits(limits=1):
        _write_all(tree, result)
    return tree


def _write_all(tree: OutputTree, result: GroupResult) -> None:
    answers = write_comparison(tree, result)
    write_description(tree, result, "group networks", _readme(result, answers))
    if result.is_full:
        _write_atlas_card(tree, result)
    write_participants(tree, result)
    write_logs(tree, result)
    write_outliers(tree, result)
    write_mask(tree, result)
    if result.choice is not None:
        write_model_order(tree, result.choice, result.space.measure)
    for components in result.components:
        _write_components(tree, result, components)
        tree.write_json(
            result.file(components, "decomposition", ".json"), _decomposition(result, components)
        )
    if result.is_full:
        write_evidence(tree, result)
        write_projections(tree, result)


# ---------------------------------------------------------------- the dataset as a whole
def _write_atlas_card(tree: OutputTree, result: GroupResult) -> None:
    """Write the description of the soft atlas; the validator refuses it where there is no atlas."""
    atlas = result.settings.science.decomposition.atlas_label
    tree.write_json(
        atlas_description_file(atlas),
        {
            "Name": f"{atlas}: networks of {input_name(result.datasets)}",
            "License": licence(result.datasets),
            "Description": _summary(result),
            "SampleSize": len(result.participants),
            "Species": "Homo sapiens",
            "DerivedFrom": _derived_from(result),
        },
    )


def _derived_from(result: GroupResult) -> str:
    """Return the BIDS URI of the input; of several, one after the other: only text is allowed."""
    return ", ".join(f"bids:{one.link}:" for one in result.datasets.found)


def _summary(result: GroupResult) -> str:
    fits = ", ".join(
        f"{method_name(components.method)} with {count(components.n_components, 'component')}"
        for components in result.components
    )
    return (
        f"{fits}; fitted to {count(len(result.runs), 'run')} of "
        f"{count(len(result.participants), 'participant')} in "
        f"{result.space.label}."
    )


def _readme(result: GroupResult, answers: Sequence[Answer]) -> str:
    return readme(
        "decompositions.md.jinja",
        summary=_summary(result),
        space=result.space.label,
        ends=result.space.extensions,
        features=result.space.measure.features,
        is_full=result.is_full,
        is_chosen=result.choice is not None,
        has_report=result.settings.extent.has_report,
        quality_table=QUALITY_TABLE,
        model_order_table=MODEL_ORDER_TABLE,
        model_order_figure=MODEL_ORDER_FIGURE,
        inventory=INVENTORY,
        settings=SETTINGS,
        sources=SOURCES,
        comparison=comparison_in_readme(result, answers),
    )


# ---------------------------------------------------------------- images
def _write_components(tree: OutputTree, result: GroupResult, components: Components) -> None:
    path, one_map = result.maps_file(components, "components"), result.space.extensions.one_map
    write_maps(tree, result, path, components.maps, components.names)
    tree.write_json(
        result.file(components, "components", ".json"),
        {
            "Description": f"Group maps of {method_name(components.method)}, signed and "
            f"unthresholded, one {one_map} per component. Each map has a root mean square of 1 "
            "over the mask, and its largest absolute value is positive; Evidence in "
            f"{result.file(components, 'decomposition', '.json')} says how they are sorted.",
            "Units": "arbitrary",
            "ComponentNames": list(components.names),
            **result.pooled_tasks,
            "Mask": f"bids::{result.mask_file()}",
            "Decomposition": f"bids::{result.file(components, 'decomposition', '.json')}",
            "Sources": [f"bids::{SOURCES}"],
            **result.spatial,
        },
    )


def _masking(result: GroupResult) -> dict[str, object]:
    """Return how the mask was made; --mask by its name and content, not by its path."""
    masking = result.settings.science.masking
    if masking.mask is None:
        return {"mask_threshold": masking.mask_threshold}
    digest = hashlib.sha256(Path(masking.mask).read_bytes()).hexdigest()
    return {"mask": Path(masking.mask).name, "mask_sha256": digest}


def _choice(result: GroupResult) -> dict[str, object]:
    """Return how the number of components was chosen; empty where it was given."""
    if result.choice is None:
        return {}
    return {
        "OrderChoice": {
            **choice_in_words(result.choice, result.space.measure),
            "Table": f"bids::{MODEL_ORDER_TABLE}",
            "Figure": f"bids::{MODEL_ORDER_FIGURE}",
        }
    }


def _settings(result: GroupResult, method: str) -> dict[str, object]:
    """Return the settings that apply to a method.

    Those of other methods would suggest something that was not done.
    """
    science = result.settings.as_tables()
    # All numbers of components: the largest decides which runs are too short.
    used = {"n_init", "random_seed", "n_components", "pca_weighting", "subspace_dims"}
    used.add("dataset_weights")
    if result.choice is not None:
        used.add("max_components")
    if method == "dictlearning":
        used |= _OF_DICTIONARY_LEARNING
    return {
        "denoising": science["denoising"],
        "masking": _masking(result),
        "decomposition": {
            name: value for name, value in science["decomposition"].items() if name in used
        },
        **({"datasets": science["datasets"]} if "datasets" in science else {}),
    }


def _weighting(result: GroupResult) -> str:
    """Return how runs, participants and datasets are weighted."""
    words = _WEIGHTINGS[result.settings.science.decomposition.pca_weighting]
    if result.settings.datasets_weigh_the_same:
        return words.replace(
            "all participants have the same weight",
            "all datasets have the same weight, and so have all participants of a dataset",
        )
    return words


def _notes(result: GroupResult) -> dict[str, object]:
    """Return the notes on runs with the number of runs, empty if there are none."""
    notes = {text: len(names) for text, names in Inventory(used=result.runs).notes()}
    return {"RunsWithNotes": notes} if notes else {}


def _decomposition(result: GroupResult, components: Components) -> dict[str, object]:
    """Return the content of the decomposition's JSON: all that is needed to repeat the fit."""
    runs = result.runs
    fwhm = result.settings.science.denoising.smoothing_of(components.method)
    options = result.settings.science.decomposition
    n_rows = options.rows_of_run(components.n_components)
    reduced = [
        record
        for record in result.reduced
        if record.smoothing_fwhm == fwhm and record.participant not in result.held_out
    ]
    return {
        "Description": f"{method_name(components.method)} of {count(len(runs), 'run')}",
        "Method": components.method,
        "NumberOfComponents": components.n_components,
        "NumberOfParticipants": len(result.participants),
        "NumberOfRuns": len(runs),
        **result.pooled_tasks,
        **_notes(result),
        result.space.measure.count_key: result.space.n_features,
        "ExplainedVariance": components.total_explained_variance,
        "ExplainedVarianceNote": "All explained variances are shares of the whole variance of the "
        "cleaned runs, mean over participants, looked for in the ComponentsPerRun leading "
        "principal components of each run (all, if a run has fewer), which hold "
        "ReducedVarianceShare of the variance (mean over runs)",
        "ReducedVarianceShare": float(
            np.mean([record.variance_share(n_rows) for record in reduced])
        ),
        "ComponentsPerRun": n_rows,
        "SmoothingFWHM": fwhm,
        "Weighting": _weighting(result),
        **_choice(result),
        "Fit": dict(components.fit),
        "Evidence": evidence_summary(components, result.space.measure)
        or {"Order": "by explained variance"},
        "Settings": _settings(result, components.method),
        "SoftwareVersions": {
            "nidecomp": __version__,
            "python": platform.python_version(),
            **library_versions(),
        },
        "References": ["doi:10.1016/j.neuroimage.2010.02.010"]
        + (["doi:10.1109/ISBI.2016.7493501"] if components.method == "dictlearning" else []),
        "Sources": [f"bids::{SOURCES}"],
    }
