"""The group's results as a BIDS-Derivatives dataset."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

from nidecomp.bids.dataset import SETTINGS
from nidecomp.bids.names import atlas_description_file
from nidecomp.config.science import science_as_tables
from nidecomp.decomposition.components import Components
from nidecomp.outputs.comparisons import evidence_summary
from nidecomp.outputs.components import write_evidence
from nidecomp.outputs.dataset import (
    INVENTORY,
    input_name,
    licence,
    write_description,
    write_logs,
    write_mask,
    write_outliers,
    write_participants,
)
from nidecomp.outputs.model_order import (
    MODEL_ORDER_FIGURE,
    MODEL_ORDER_TABLE,
    choice_in_words,
    write_model_order,
)
from nidecomp.outputs.projections import write_projections
from nidecomp.outputs.quality import QUALITY_TABLE
from nidecomp.outputs.result import SOURCES, GroupResult
from nidecomp.outputs.tree import OutputTree
from nidecomp.version import __version__

# What decides the numbers, besides our own version.
_LIBRARIES = ("numpy", "scipy", "numba", "nilearn", "nibabel", "pandas", "pybids", "isal")
_OF_DICTIONARY_LEARNING = {"alpha", "map_support", "batch_size", "n_epochs"}
_METHOD_NAMES = {"canica": "CanICA", "dictlearning": "dictionary learning"}


def write_group(result: GroupResult) -> OutputTree:
    """Write maps, tables, descriptions and logs.

    Parameters
    ----------
    result : GroupResult

    Returns
    -------
    OutputTree
        To be finished: the manifest comes last.
    """
    tree = OutputTree(result.settings.output_dir)
    write_description(tree, result, "group networks", _readme(result))
    if result.is_full:
        _write_atlas_card(tree, result)
    write_participants(tree, result)
    write_logs(tree, result)
    for run in result.reduced_runs:
        write_outliers(tree, result, run)
    write_mask(tree, result)
    if result.choice is not None:
        write_model_order(tree, result.choice)
    for components in result.components:
        _write_components(tree, result, components)
        tree.write_json(
            result.file(components, "decomposition", ".json"), _decomposition(result, components)
        )
    if result.is_full:
        write_evidence(tree, result)
        write_projections(tree, result)
    return tree


# ---------------------------------------------------------------- the dataset as a whole
def _write_atlas_card(tree: OutputTree, result: GroupResult) -> None:
    """Describe the soft atlas; the validator refuses the card where there is no atlas."""
    atlas = result.settings.science.decomposition.atlas_label
    tree.write_json(
        atlas_description_file(atlas),
        {
            "Name": f"{atlas}: networks of {input_name(result)}",
            "License": licence(result),
            "Description": _summary(result),
            "SampleSize": len(result.participants),
            "Species": "Homo sapiens",
            "DerivedFrom": "bids:preprocessed:",
        },
    )


def _summary(result: GroupResult) -> str:
    fits = ", ".join(
        f"{_METHOD_NAMES[components.method]} with {components.n_components} components"
        for components in result.components
    )
    return (
        f"{fits}; fitted to {len(result.runs)} runs of {len(result.participants)} participants in "
        f"{result.space.label}."
    )


def _readme(result: GroupResult) -> str:
    full = result.settings.extent.level == "full"
    space, ends = result.space.label, result.space.extensions
    evidence = (
        ""
        if not full
        else f"""
- `*_desc-thresholded_components{ends.maps}`: the maps without their background
- `*_probseg{ends.maps}`: the same as a soft atlas, from 0 to 1
- `*_metrics.tsv`: a row for each component, with what is known of it: how reproducible it is,
  which network it looks like, what speaks for noise; its JSON describes every column
- `*_desc-regions_probseg{ends.maps}`, `*_dseg{ends.labels}`: regions of the networks, soft and as a
  parcellation
- `sub-*/**/*_timeseries.tsv`: the components' time courses in each run; n/a where a volume was
  dropped
- `sub-*/**/*_relmat.tsv`, `tpl-*/**/*_relmat.tsv`: connectomes of each run and of the group
- `sub-*/**/*_stat-effect_components{ends.maps}`, `*_stat-z_*`, if there: each run's own maps
- `{QUALITY_TABLE}`: how good each run is
- `*_peaks.tsv`: where the largest clusters of the thresholded maps are
- `logs/stability.tsv`: how alike halves of the participants came out
- `logs/matching.tsv`: which components of two decompositions belong together"""
    )
    chosen = (
        ""
        if result.choice is None
        else f"""
- `{MODEL_ORDER_TABLE}`, `{MODEL_ORDER_FIGURE}`: how the number of components was chosen"""
    )
    has_report = full and not result.settings.extent.no_report
    report = "\n- `report.html`, `figures/`: what to look at first" if has_report else ""
    return f"""\
# Group networks by NiDecomp {__version__}

{_summary(result)}

- `tpl-{space}/func/*_components{ends.maps}`: signed maps, one volume a component, with a root
  mean square of 1 over the mask and their largest absolute value positive{evidence}
- `*_decomposition.json`: how the maps were fitted{chosen}{report}
- `tpl-{space}/anat/*_mask{ends.mask}`: the {result.space.measure.features} that were decomposed
- `participants.tsv`: who took part
- `sub-*/**/*_outliers.tsv`: which volumes of each run were dropped
- `{INVENTORY}`: every run that was found, used or not, and why
- `{SETTINGS}`: every setting; `--config-file` replays it
- `{SOURCES}`: the files that went in
- `logs/manifest.tsv`: every file with its hash

`work/`, if it is here, holds reduced runs, which make a second start fast; it can be deleted.
"""


# ---------------------------------------------------------------- images
def _write_components(tree: OutputTree, result: GroupResult, components: Components) -> None:
    tree.write_bytes(
        result.maps_file(components, "components"), result.space.encode(components.maps)
    )
    tree.write_json(
        result.file(components, "components", ".json"),
        {
            "Description": f"Group maps of {_METHOD_NAMES[components.method]}, signed and "
            "unthresholded, one volume a component. Each has a root mean square of 1 over the "
            "mask and its largest absolute value positive; Evidence in the decomposition's JSON "
            "says how they are ordered.",
            "Units": "arbitrary",
            "ComponentNames": list(components.names),
            "Mask": f"bids::{result.mask_file()}",
            "Decomposition": f"bids::{result.file(components, 'decomposition', '.json')}",
            "Sources": [f"bids::{SOURCES}"],
            **result.spatial,
        },
    )


def _masking(result: GroupResult) -> dict[str, object]:
    """Say which voxels; a mask that was given by its name and content, not by its whole path."""
    masking = result.settings.science.masking
    if masking.mask is None:
        return {"mask_threshold": masking.mask_threshold}
    digest = hashlib.sha256(Path(masking.mask).read_bytes()).hexdigest()
    return {"mask": Path(masking.mask).name, "mask_sha256": digest}


def _choice(result: GroupResult) -> dict[str, object]:
    """Say how the number of components came about, where it was not given."""
    if result.choice is None:
        return {}
    return {
        "OrderChoice": {
            **choice_in_words(result.choice),
            "Table": f"bids::{MODEL_ORDER_TABLE}",
            "Figure": f"bids::{MODEL_ORDER_FIGURE}",
        }
    }


def _decomposition(result: GroupResult, components: Components) -> dict[str, object]:
    """Say everything that is needed to fit these maps again."""
    runs = result.runs
    fwhm = result.settings.science.denoising.smoothing_of(components.method)
    reduced = [
        record
        for record in result.reduced
        if record.smoothing_fwhm == fwhm and record.participant not in result.held_out
    ]
    science = science_as_tables(result.settings.science)
    # Another method's settings would say that something was done that was not.
    fitting = {
        name: value
        for name, value in science["decomposition"].items()
        # All numbers of components together decide which runs are too short.
        if name in {"n_init", "random_seed", "n_components", "subspace_dims"}
        or (name == "max_components" and result.choice is not None)
        or (components.method == "dictlearning" and name in _OF_DICTIONARY_LEARNING)
    }
    return {
        "Description": f"{_METHOD_NAMES[components.method]} of {len(runs)} runs",
        "Method": components.method,
        "NumberOfComponents": components.n_components,
        "NumberOfParticipants": len(result.participants),
        "NumberOfRuns": len(runs),
        result.space.measure.count_key: result.space.n_features,
        "ExplainedVariance": components.total_explained_variance,
        "ReducedVarianceShare": float(
            np.mean([record.variance_share(components.n_components) for record in reduced])
        ),
        "ComponentsPerRun": components.n_components,
        "SmoothingFWHM": fwhm,
        "Weighting": "every participant weighs the same: runs have equal variance (CanICA: rows "
        "of unit norm) and are scaled by 1/sqrt(number of the participant's runs)",
        **_choice(result),
        "Fit": dict(components.fit),
        "Evidence": evidence_summary(components) or {"Order": "by explained variance"},
        "Settings": {
            "denoising": science["denoising"],
            "masking": _masking(result),
            "decomposition": fitting,
        },
        "SoftwareVersions": {
            "nidecomp": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
        "References": ["doi:10.1016/j.neuroimage.2010.02.010"]
        + (["doi:10.1109/ISBI.2016.7493501"] if components.method == "dictlearning" else []),
        "Sources": [f"bids::{SOURCES}"],
    }
