"""The group's results as a BIDS-Derivatives dataset."""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
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
    group_file,
    mask_file,
    pooled_task,
    run_file,
)
from nidecomp.bids.write import MANIFEST, OutputTree, encoded, table_text
from nidecomp.describe_components import (
    MATCHING,
    METRICS,
    STABILITY,
    describe,
    evidence_summary,
    matching_table,
    read_references,
    stability_table,
)
from nidecomp.files import replace_atomically
from nidecomp.group.thresholds import Thresholded, parse_rule, rule_in_words
from nidecomp.records import (
    Components,
    FailedRun,
    Inventory,
    ReducedRun,
    RefusedRun,
    UsableRun,
)
from nidecomp.settings import Settings, science_as_tables
from nidecomp.signal.geometry import VoxelGeometry
from nidecomp.version import __version__

CODE_URL = "https://github.com/nidecomp/nidecomp"
SETTINGS = PurePosixPath("logs/settings.toml")
INVENTORY = PurePosixPath("logs/inventory.tsv")
SOURCES = PurePosixPath("logs/sources.tsv")
# What decides the numbers, besides our own version.
_LIBRARIES = ("numpy", "scipy", "numba", "nilearn", "nibabel", "pandas", "pybids", "isal")
_OF_DICTIONARY_LEARNING = {"alpha", "map_support", "batch_size", "n_epochs"}
STABILITY_TABLE = PurePosixPath("logs/stability.tsv")
MATCHING_TABLE = PurePosixPath("logs/matching.tsv")
_THRESHOLDED = "thresholded"
_PEAKS: dict[str, tuple[str, str | None]] = {
    "component": ("Name of the component", None),
    "cluster": ("Number of the cluster of the thresholded map, from 1, the largest first", None),
    "x": ("Position of its strongest voxel, first RAS+ coordinate of the space", "mm"),
    "y": ("Position of its strongest voxel, second RAS+ coordinate", "mm"),
    "z": ("Position of its strongest voxel, third RAS+ coordinate", "mm"),
    "value": ("The map's value there, with its sign", None),
    "volume_mm3": ("Volume of the cluster: voxels that share a face and a sign", "mm^3"),
}
_METHOD_NAMES = {"canica": "CanICA", "dictlearning": "dictionary learning"}


@dataclass(frozen=True, eq=False)
class GroupResult:
    """Everything that the group's files are made of."""

    settings: Settings
    root: Path
    inventory: Inventory
    reduced: tuple[ReducedRun, ...]
    geometry: VoxelGeometry
    components: tuple[Components, ...]
    held_out: frozenset[str] = frozenset()

    @cached_property
    def reduced_runs(self) -> tuple[UsableRun, ...]:
        """All runs that were reduced, those of participants that were left out among them."""
        keys = {record.key for record in self.reduced}
        return tuple(run for run in self.inventory.used if run.files.key in keys)

    @cached_property
    def runs(self) -> tuple[UsableRun, ...]:
        """The runs that the components were fitted to."""
        return tuple(
            run for run in self.reduced_runs if run.files.key.participant not in self.held_out
        )

    @cached_property
    def participants(self) -> list[str]:
        """The labels of the participants that the components were fitted to, sorted."""
        return sorted({run.files.key.participant for run in self.runs})

    @property
    def is_full(self) -> bool:
        """Whether more is wanted than the maps and how they were fitted."""
        return self.settings.extent.level == "full"

    @property
    def space(self) -> str:
        """The space of every map."""
        return self.runs[0].files.space

    @property
    def res(self) -> str | None:
        """The res entity of every map."""
        return self.runs[0].files.res

    def mask_file(self, extension: str) -> PurePosixPath:
        """Place the group mask or its sidecar."""
        return mask_file(self.space, self.res, extension, self.runs[0].files.cohort)

    def file(
        self, components: Components, suffix: str, extension: str, desc: str | None = None
    ) -> PurePosixPath:
        """Place one file of one decomposition."""
        return group_file(
            suffix,
            extension,
            space=self.space,
            cohort=self.runs[0].files.cohort,
            task=pooled_task(run.files.key.task for run in self.runs),
            atlas=self.settings.science.decomposition.atlas_label,
            method=components.method,
            n_components=components.n_components,
            res=self.res,
            desc=desc,
        )


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
    for components in result.components:
        _write_components(tree, result, components)
        tree.write_json(
            result.file(components, "decomposition", ".json"), _decomposition(result, components)
        )
    if result.is_full:
        _write_evidence(tree, result)
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
        else """
- `*_desc-thresholded_components.nii.gz`: the maps without their background
- `*_probseg.nii.gz`: the same as a soft atlas, from 0 to 1
- `*_metrics.tsv`: a row for each component, with what is known of it: how reproducible it is,
  which network it looks like, what speaks for noise; its JSON describes every column
- `*_peaks.tsv`: where the largest clusters of the thresholded maps are
- `logs/stability.tsv`: how alike halves of the participants came out
- `logs/matching.tsv`: which components of two decompositions belong together"""
    )
    return f"""\
# Group networks by NiDecomp {__version__}

{_summary(result)}

- `tpl-{result.space}/func/*_components.nii.gz`: signed maps, one volume a component, with a root
  mean square of 1 over the mask and their largest absolute value positive{evidence}
- `*_decomposition.json`: how the maps were fitted
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
    table = []
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
    tree.write_tsv(PurePosixPath("participants.tsv"), tuple(columns), table)
    tree.write_json(
        PurePosixPath("participants.json"),
        {
            "Description": "The participants whose runs were used.",
            **_described(columns),
        },
    )


def _write_outliers(tree: OutputTree, result: GroupResult, run: UsableRun) -> None:
    """Say which volumes of a run were used: nothing else tells it afterwards."""
    kept = set(run.kept)
    columns = {"dropped": "1 where the volume was dropped (scrubbed, non-steady-state or dummy)"}
    tree.write_tsv(
        run_file(run.files.key, "outliers", ".tsv"),
        tuple(columns),
        [{"dropped": int(volume not in kept)} for volume in range(run.n_volumes)],
    )
    tree.write_json(
        run_file(run.files.key, "outliers", ".json"),
        {
            "Description": "Volumes of this run that the decomposition did not see, a row each.",
            "Sources": [
                _uri(path, result.root)
                for path in (run.files.bold, run.files.confounds)
                if path is not None
            ],
            **_described(columns),
        },
    )


def _described(columns: Mapping[str, str]) -> dict[str, object]:
    return {name: {"Description": text} for name, text in columns.items()}


def _write_logs(tree: OutputTree, result: GroupResult) -> None:
    tree.write_text(SETTINGS, settings_text(result.settings))
    table = inventory_table.rows(result.inventory, result.root, result.reduced)
    tree.write_tsv(INVENTORY, tuple(inventory_table.COLUMNS), table)
    tree.write_json(INVENTORY.with_suffix(".json"), _described(inventory_table.COLUMNS))
    sources = [
        {"run": run.files.key.label, "kind": kind, "uri": _uri(path, result.root)}
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


def _uri(path: Path, root: Path) -> str:
    return f"bids:preprocessed:{path.relative_to(root).as_posix()}"


# ---------------------------------------------------------------- images
def _spatial(result: GroupResult) -> dict[str, object]:
    """Say where the voxels are, as BIDS asks for it."""
    sizes = np.sqrt((result.geometry.grid.matrix[:3, :3] ** 2).sum(axis=0))
    # The images decide where the voxels are; the validator asks for it even of templates.
    reference = next((run for run in result.runs if not run.resampled), result.runs[0])
    content: dict[str, object] = {"SpatialReference": _uri(reference.files.bold, result.root)}
    if result.res is not None:
        text = " × ".join(f"{size:.4g}" for size in sizes)
        content["Resolution"] = f"{text} mm voxels, as in the preprocessed images"
    return content


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
            **_spatial(result),
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
            **_spatial(result),
        },
    )


def _write_thresholded(
    tree: OutputTree, result: GroupResult, components: Components, thresholded: Thresholded
) -> None:
    """Write the maps without their background, signed, and as a soft atlas from 0 to 1."""
    rule = rule_in_words(parse_rule(result.settings.science.evidence.threshold))
    source = [f"bids::{result.file(components, 'components', '.nii.gz')}"]
    tree.write_image(
        result.file(components, "components", ".nii.gz", _THRESHOLDED),
        result.geometry.image(thresholded.maps),
    )
    tree.write_json(
        result.file(components, "components", ".json", _THRESHOLDED),
        {
            "Description": f"The maps of the components file: {rule}.",
            "Units": "arbitrary",
            "ComponentNames": list(components.names),
            "Thresholds": [
                {"Low": low, "High": high} if math.isfinite(high) else None
                for low, high in thresholded.limits.tolist()
            ],
            "Sources": source,
            **_spatial(result),
        },
    )
    positive = np.maximum(thresholded.maps, 0)
    largest = positive.max(axis=1, keepdims=True)
    positive /= np.where(largest == 0, 1, largest)
    tree.write_image(result.file(components, "probseg", ".nii.gz"), result.geometry.image(positive))
    tree.write_json(
        result.file(components, "probseg", ".json"),
        {
            "Description": f"Soft atlas: of each map of the components file {rule}, values below 0 "
            "set to 0, divided by the largest. Values are weights from 0 to 1, not probabilities "
            "that sum to 1.",
            "LabelMap": list(components.names),
            "Sources": source,
            **_spatial(result),
        },
    )


def _write_evidence(tree: OutputTree, result: GroupResult) -> None:
    """Write what is known of each component, and how decompositions compare."""
    options = result.settings.science.evidence
    references = read_references(result.geometry, result.space, options)
    for components in result.components:
        known = describe(components, result.geometry, references, options)
        _write_thresholded(tree, result, components, known.thresholded)
        _write_table(tree, result.file(components, "metrics", ".tsv"), METRICS, known.table)
        peaks = [
            {"component": components.names[peak.component_index], **asdict(peak)}
            for peak in known.peaks
        ]
        _write_table(tree, result.file(components, "peaks", ".tsv"), _PEAKS, peaks)
    _write_table(tree, STABILITY_TABLE, STABILITY, stability_table(result.components))
    _write_table(tree, MATCHING_TABLE, MATCHING, matching_table(result.components))


def _write_table(
    tree: OutputTree,
    path: PurePosixPath,
    columns: Mapping[str, tuple[str, str | None]],
    table: Sequence[Mapping[str, object]],
) -> None:
    """Write a table and the JSON that describes every column, with its unit where it has one."""
    tree.write_tsv(path, tuple(columns), table)
    described = {
        name: {"Description": text, **({"Units": unit} if unit else {})}
        for name, (text, unit) in columns.items()
    }
    tree.write_json(path.with_suffix(".json"), described)


def _masking(result: GroupResult) -> dict[str, object]:
    """Say which voxels; a mask that was given by its name and content, not by its whole path."""
    masking = result.settings.science.masking
    if masking.mask is None:
        return {"mask_threshold": masking.mask_threshold}
    digest = hashlib.sha256(Path(masking.mask).read_bytes()).hexdigest()
    return {"mask": Path(masking.mask).name, "mask_sha256": digest}


def _decomposition(result: GroupResult, components: Components) -> dict[str, object]:
    """Say everything that is needed to fit these maps again."""
    runs = result.runs
    fwhm = result.settings.science.denoising.smoothing_of(components.method)
    reduced = [record for record in result.reduced if record.smoothing_fwhm == fwhm]
    science = science_as_tables(result.settings.science)
    # Another method's settings would say that something was done that was not.
    fitting = {
        name: value
        for name, value in science["decomposition"].items()
        # All numbers of components together decide which runs are too short.
        if name in {"n_init", "random_seed", "n_components", "subspace_dims"}
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
