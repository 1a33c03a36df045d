"""The group's results as a BIDS-Derivatives dataset."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import numpy as np
import tomli_w

from nidecomp import inventory as inventory_table
from nidecomp.bids.dataset import DESCRIPTION, OUR_NAME, read_description
from nidecomp.bids.names import (
    BIDS_VERSION,
    IGNORED_BY_THE_VALIDATOR,
    atlas_description_file,
    run_file,
)
from nidecomp.bids.write import MANIFEST, OutputTree, encoded, table_text
from nidecomp.compare_fits import evidence_summary
from nidecomp.files import replace_atomically
from nidecomp.group_result import SOURCES, GroupResult
from nidecomp.project.outliers import (
    FEWEST_PARTICIPANTS,
    LEAST_DEPARTURE,
    LIMIT,
    outlier_reasons,
)
from nidecomp.records import (
    Components,
    FailedRun,
    RefusedRun,
    UsableRun,
)
from nidecomp.settings import Settings, science_as_tables
from nidecomp.version import __version__
from nidecomp.write_evidence import write_evidence
from nidecomp.write_order import ORDER_FIGURE, ORDER_TABLE, choice_in_words, write_order
from nidecomp.write_projections import QUALITY_TABLE, participant_quality, write_projections

_LOG = logging.getLogger(__name__)

CODE_URL = "https://github.com/nidecomp/nidecomp"
SETTINGS = PurePosixPath("logs/settings.toml")
INVENTORY = PurePosixPath("logs/inventory.tsv")
# What decides the numbers, besides our own version.
_LIBRARIES = ("numpy", "scipy", "numba", "nilearn", "nibabel", "pandas", "pybids", "isal")
_OF_DICTIONARY_LEARNING = {"alpha", "map_support", "batch_size", "n_epochs"}
_QUALITY_OF_PARTICIPANTS = {
    "map_r": "Correlation of the participant's own maps (dual regression) with the group's, mean "
    "over components, decompositions and runs",
    "explained_variance": "Share of the cleaned runs' variance that the group's maps explain, mean "
    "over decompositions and runs",
    "tsnr": "Temporal signal-to-noise ratio, median over voxels, mean over runs",
    "outlier": "In what the participant stands apart, on the bad side, of map_r, "
    "explained_variance, tsnr, mean_fd, n_volumes_kept: a modified z score (distance from the "
    f"median in units of the median absolute deviation / 0.6745) above {LIMIT:g} and a distance of "
    f"more than {100 * LEAST_DEPARTURE:.0f} % of the median, among {FEWEST_PARTICIPANTS} "
    "participants or more. A recommendation to look: nobody is left out because of it",
}
_METHOD_NAMES = {"canica": "CanICA", "dictlearning": "dictionary learning"}


def write_group(result: GroupResult) -> None:
    """Write maps, tables, descriptions and logs; the manifest comes last.

    Parameters
    ----------
    result : GroupResult
    """
    tree = OutputTree(result.settings.output_dir)
    _write_dataset(tree, result)
    _write_logs(tree, result)
    for run in result.reduced_runs:
        _write_outliers(tree, result, run)
    _write_mask(tree, result)
    if result.choice is not None:
        write_order(tree, result.choice)
    for components in result.components:
        _write_components(tree, result, components)
        tree.write_json(
            result.file(components, "decomposition", ".json"), _decomposition(result, components)
        )
    if result.is_full:
        write_evidence(tree, result)
        write_projections(tree, result)
    tree.finish()


def write_inventory(output_dir: Path, table: Sequence[inventory_table.Row]) -> None:
    """Write only the table of runs, where nothing else can be written.

    Results of an earlier run, if they are there, keep their own.
    """
    if not (output_dir / MANIFEST).exists():
        text = table_text(tuple(inventory_table.COLUMNS), table)
        with replace_atomically(output_dir / INVENTORY) as temporary:
            temporary.write_bytes(encoded(text))


# ---------------------------------------------------------------- the dataset as a whole
def _write_dataset(tree: OutputTree, result: GroupResult) -> None:
    source = read_description(result.root)
    link = link_to(result.root, result.settings)
    name = source.get("Name") or "unnamed dataset"
    licence = source.get("License") or "not stated by the preprocessed dataset"
    tree.write_json(
        PurePosixPath(DESCRIPTION),
        {
            "Name": f"NiDecomp: group networks of {name}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": licence,
            "Authors": _authors(source),
            "GeneratedBy": [_generated_by()],
            "SourceDatasets": [{"URL": link}, *_source_datasets(source)],
            "DatasetLinks": {"preprocessed": link},
        },
    )
    tree.write_text(PurePosixPath(".bidsignore"), "\n".join(IGNORED_BY_THE_VALIDATOR) + "\n")
    tree.write_text(PurePosixPath("README.md"), _readme(result))
    if result.is_full:
        _write_atlas_card(tree, result, f"networks of {name}", licence)
    _write_participants(tree, result)


def _write_atlas_card(tree: OutputTree, result: GroupResult, what: str, licence: object) -> None:
    """Describe the soft atlas; the validator refuses the card where there is no atlas."""
    atlas = result.settings.science.decomposition.atlas_label
    tree.write_json(
        atlas_description_file(atlas),
        {
            "Name": f"{atlas}: {what}",
            "License": licence,
            "Description": _summary(result),
            "SampleSize": len(result.participants),
            "Species": "Homo sapiens",
            "DerivedFrom": "bids:preprocessed:",
        },
    )


def link_to(root: Path, settings: Settings) -> str:
    """Give the input's place relative to the output.

    An absolute path would leak user names and break when both are moved together.
    """
    return Path(os.path.relpath(root.resolve(), settings.output_dir.resolve())).as_posix()


def source_of(output_dir: Path) -> str | None:
    """Read from which input, relative to it, the results in a folder were made."""
    links = read_description(output_dir).get("DatasetLinks")
    return links.get("preprocessed") if isinstance(links, dict) else None


def _authors(source: Mapping[str, object]) -> list[object]:
    """Carry over the input's authors; the validator warns of lists shorter than two."""
    named = source.get("Authors")
    authors = list(named) if isinstance(named, list) else []
    if len(authors) > 1:
        return authors
    nobody = ["(the preprocessed dataset names no authors)"]
    return [*(authors or nobody), f"{OUR_NAME} (the software that made these derivatives)"]


def _source_datasets(source: Mapping[str, object]) -> list[object]:
    datasets = source.get("SourceDatasets")
    return datasets if isinstance(datasets, list) else []


def _generated_by() -> dict[str, object]:
    """Describe this program; a container's image sets the variables that describe it."""
    entry: dict[str, object] = {"Name": OUR_NAME, "Version": __version__, "CodeURL": CODE_URL}
    container = {
        name: value
        for name, variable in (
            ("Type", "NIDECOMP_CONTAINER_TYPE"),
            ("Tag", "NIDECOMP_CONTAINER_TAG"),
            ("URI", "NIDECOMP_CONTAINER_URI"),
        )
        if (value := os.environ.get(variable))
    }
    if container:
        entry["Container"] = container
    return entry


def _summary(result: GroupResult) -> str:
    fits = ", ".join(
        f"{_METHOD_NAMES[components.method]} with {components.n_components} components"
        for components in result.components
    )
    return (
        f"{fits}; fitted to {len(result.runs)} runs of {len(result.participants)} participants in "
        f"{result.space}."
    )


def _readme(result: GroupResult) -> str:
    full = result.settings.extent.level == "full"
    evidence = (
        ""
        if not full
        else f"""
- `*_desc-thresholded_components.nii.gz`: the maps without their background
- `*_probseg.nii.gz`: the same as a soft atlas, from 0 to 1
- `*_metrics.tsv`: a row for each component, with what is known of it: how reproducible it is,
  which network it looks like, what speaks for noise; its JSON describes every column
- `*_desc-regions_probseg.nii.gz`, `*_dseg.nii.gz`: regions of the networks, soft and as a
  parcellation
- `sub-*/**/*_timeseries.tsv`: the components' time courses in each run; n/a where a volume was
  dropped
- `sub-*/**/*_relmat.tsv`, `tpl-*/**/*_relmat.tsv`: connectomes of each run and of the group
- `sub-*/**/*_stat-effect_components.nii.gz`, `*_stat-z_*`, if there: each run's own maps
- `{QUALITY_TABLE}`: how good each run is
- `*_peaks.tsv`: where the largest clusters of the thresholded maps are
- `logs/stability.tsv`: how alike halves of the participants came out
- `logs/matching.tsv`: which components of two decompositions belong together"""
    )
    chosen = (
        ""
        if result.choice is None
        else f"""
- `{ORDER_TABLE}`, `{ORDER_FIGURE}`: how the number of components was chosen"""
    )
    return f"""\
# Group networks by NiDecomp {__version__}

{_summary(result)}

- `tpl-{result.space}/func/*_components.nii.gz`: signed maps, one volume a component, with a root
  mean square of 1 over the mask and their largest absolute value positive{evidence}
- `*_decomposition.json`: how the maps were fitted{chosen}
- `tpl-{result.space}/anat/*_mask.nii.gz`: the voxels that were decomposed
- `participants.tsv`: who took part
- `sub-*/**/*_outliers.tsv`: which volumes of each run were dropped
- `{INVENTORY}`: every run that was found, used or not, and why
- `{SETTINGS}`: every setting; `--config-file` replays it
- `{SOURCES}`: the files that went in
- `logs/manifest.tsv`: every file with its hash

`work/`, if it is here, holds reduced runs, which make a second start fast; it can be deleted.
"""


def _write_participants(tree: OutputTree, result: GroupResult) -> None:
    runs = result.reduced_runs
    unused: list[RefusedRun | FailedRun] = [*result.inventory.refused, *result.inventory.failed]
    not_used = [run.key.get("sub") for run in unused]
    table: list[dict[str, object]] = []
    for label in sorted({run.files.key.participant for run in runs}):
        own = [run for run in runs if run.files.key.participant == label]
        motion = [run.mean_fd_mm for run in own if run.mean_fd_mm is not None]
        table.append(
            {
                "participant_id": f"sub-{label}",
                "role": "held out" if label in result.held_out else "fitted",
                "n_runs_used": len(own),
                "n_runs_not_used": not_used.count(label),
                "n_volumes_kept": sum(run.n_kept for run in own),
                "mean_fd": float(np.mean(motion)) if motion else None,
            }
        )
    columns = {
        "participant_id": "Participant, as in the preprocessed dataset",
        "role": "fitted: the components were fitted to this participant; held out: left out of the "
        "fit by --holdout, to tell what the components explain",
        "n_runs_used": "Runs that were used",
        "n_runs_not_used": "Runs that were refused or failed; logs/inventory.tsv says why",
        "n_volumes_kept": "Volumes of the runs used, after scrubbing",
        "mean_fd": "Mean framewise displacement over the runs used, in mm",
    }
    if result.projected:
        columns |= _QUALITY_OF_PARTICIPANTS
        _add_quality(table, result)
    tree.write_table(
        PurePosixPath("participants.tsv"),
        columns,
        table,
        about={"Description": "The participants whose runs were used."},
    )


def _add_quality(table: list[dict[str, object]], result: GroupResult) -> None:
    """Add how good each participant's data are, and who stands apart."""
    labels = [str(row["participant_id"]).removeprefix("sub-") for row in table]
    quality = participant_quality(result, labels)
    motion = [row["mean_fd"] for row in table]
    looked_at = {
        **quality,
        "mean_fd": np.array([np.nan if value is None else value for value in motion], dtype=float),
        "n_volumes_kept": np.array([row["n_volumes_kept"] for row in table], dtype=float),
    }
    reasons = outlier_reasons(looked_at, bad_is_high=frozenset({"mean_fd"}))
    for index, (row, reason) in enumerate(zip(table, reasons, strict=True)):
        row |= {name: float(values[index]) for name, values in quality.items()}
        row["outlier"] = reason or None
        if reason:
            _LOG.warning("%s stands apart from the others: %s", row["participant_id"], reason)


def _write_outliers(tree: OutputTree, result: GroupResult, run: UsableRun) -> None:
    """Say which volumes of a run were used: nothing else tells it afterwards."""
    kept = set(run.kept)
    columns = {"dropped": "1 where the volume was dropped (scrubbed, non-steady-state or dummy)"}
    tree.write_table(
        run_file(run.files.key, "outliers", ".tsv"),
        columns,
        [{"dropped": int(volume not in kept)} for volume in range(run.n_volumes)],
        about={
            "Description": "Volumes of this run that the decomposition did not see, a row each.",
            "Sources": [
                result.uri(path)
                for path in (run.files.bold, run.files.confounds)
                if path is not None
            ],
        },
    )


def _write_logs(tree: OutputTree, result: GroupResult) -> None:
    tree.write_text(SETTINGS, settings_text(result.settings))
    table = inventory_table.rows(result.inventory, result.root, result.reduced)
    tree.write_table(INVENTORY, inventory_table.COLUMNS, table)
    sources = [
        {"run": run.files.key.label, "kind": kind, "uri": result.uri(path)}
        for run in result.reduced_runs
        for kind, path in (
            ("bold", run.files.bold),
            ("mask", run.files.mask),
            ("confounds", run.files.confounds),
        )
        if path is not None
    ]
    tree.write_tsv(SOURCES, ("run", "kind", "uri"), sources)


def settings_text(settings: Settings) -> str:
    """Write the settings that change the outputs as TOML, ready for ``--config-file``."""
    return (
        f"# All that decided these results, by NiDecomp {__version__}; --config-file replays it.\n"
        + tomli_w.dumps(science_as_tables(settings.science))
    )


# ---------------------------------------------------------------- images
def _write_mask(tree: OutputTree, result: GroupResult) -> None:
    masking = result.settings.science.masking
    tree.write_image(result.mask_file(".nii.gz"), result.geometry.mask_image())
    how = (
        f"the mask given, {Path(masking.mask).name}"
        if masking.mask
        else f"voxels in the brain masks of at least {masking.mask_threshold:g} of the participants"
    )
    tree.write_json(
        result.mask_file(".json"),
        {
            "Type": "Brain",
            "Description": f"The voxels that were decomposed: {how}.",
            "Sources": [f"bids::{SOURCES}"],
            **result.spatial,
        },
    )


def _write_components(tree: OutputTree, result: GroupResult, components: Components) -> None:
    tree.write_image(
        result.file(components, "components", ".nii.gz"),
        result.geometry.image(components.maps),
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
            "Mask": f"bids::{result.mask_file('.nii.gz')}",
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
            "Table": f"bids::{ORDER_TABLE}",
            "Figure": f"bids::{ORDER_FIGURE}",
        }
    }


def _decomposition(result: GroupResult, components: Components) -> dict[str, object]:
    """Say everything that is needed to fit these maps again."""
    runs = result.runs
    fwhm = result.settings.science.denoising.smoothing_of(components.method)
    reduced = [
        record
        for record in result.reduced
        if record.smoothing_fwhm == fwhm and record.key.participant not in result.held_out
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
        "NumberOfVoxels": result.geometry.n_features,
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
