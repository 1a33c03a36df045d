"""The methods section: which runs and voxels were used, and how runs were cleaned."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from nidecomp.bids.dataset import OUR_NAME
from nidecomp.config.science import Science, Selection
from nidecomp.core.text import verb
from nidecomp.outputs.description import programs_before
from nidecomp.outputs.report.features import Features, features_of
from nidecomp.outputs.report.methods_cleaning import cleaning_sentences
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results
from nidecomp.outputs.report.words import listed, method_name, numbered, paragraph, per_cent

# The reasons for dropping volumes in the table of runs, as they stand in a sentence.
_REASONS = {
    "dummy": "as dummy scans",
    "non-steady state": "which fMRIPrep marked as non-steady state",
    "displacement": "for their displacement",
    "DVARS": "for their DVARS",
    "short segments": "in short segments",
    "empty": "without signal",
}

_GIVEN, _OURS = (
    "midthickness surface that was given, weighted by the areas of vertices",
    "template's midthickness surface, weighted by the mean areas of vertices in people (HCP "
    "Pipelines) [@glasser2013]",
)


# ---------------------------------------------------------------- runs and voxels
def about_runs(folder: Results, science: Science) -> str:
    """Return the paragraph about runs, images, mask and software.

    Parameters
    ----------
    folder : Results
    science : Science

    Returns
    -------
    str
    """
    used = _used(folder)
    participants = {row.get("run", "").partition("_")[0] for row in used}
    n_unused = sum(row.get("status") in {"refused", "failed"} for row in folder.runs)
    sentences = [
        f"{numbered(len(used), 'run')} of {numbered(len(participants), 'participant')}, "
        f"{_preprocessed(folder)}, {'was' if len(used) == 1 else 'were'} found with PyBIDS "
        f"[@yarkoni2019] and analysed with {_software(folder)}.",
        images_sentence(science.selection),
        f"{numbered(n_unused, 'further run')} could not be used." if n_unused else "",
        _masked(folder, science),
        _resampled(used),
        _without_data(used, features_of(folder.decompositions)),
    ]
    return paragraph(sentences)


def images_sentence(selection: Selection) -> str:
    """Return which images, or files of surfaces, of the runs were used."""
    more = [
        f"{short}-{label}"
        for short, label in (
            ("res", selection.res),
            ("den", selection.den),
            ("desc", selection.desc_in(selection.space)),
        )
        if label
    ]
    in_brackets = f" ({', '.join(more)})" if more else ""
    what = "files" if selection.is_of_surfaces else "images"
    return f"The {what} were those in the space {selection.space}{in_brackets}."


def _used(folder: Results) -> list[Row]:
    return [row for row in folder.runs if row.get("status") == "used"]


def _preprocessed(folder: Results) -> str:
    """Return by which programs the input was made, as its own description says."""
    others = [
        f"{one['Name']} {one.get('Version') or ''}".rstrip()
        for one in programs_before(folder.description)
        if one["Name"] != OUR_NAME
    ]
    if not others:
        return "preprocessed by a program that the dataset does not name"
    return f"preprocessed with {' and '.join(dict.fromkeys(others))}"


def _software(folder: Results) -> str:
    """Return the programs with their versions, as far as they are known."""
    versions = folder.decompositions[0].described.get("SoftwareVersions")
    known = versions if isinstance(versions, dict) else {}
    generated = folder.description.get("GeneratedBy")
    by = generated[0] if isinstance(generated, list) and generated else {}
    own = known.get("nidecomp") or (by.get("Version", "") if isinstance(by, dict) else "")
    nilearn = f"nilearn {known.get('nilearn', '')}".rstrip()
    return f"NiDecomp {own}".rstrip() + f", which uses {nilearn} [@nilearn]"


def _masked(folder: Results, science: Science) -> str:
    kind = features_of(folder.decompositions)
    number_of_them = folder.decompositions[0].described.get(f"NumberOf{kind.many.capitalize()}")
    # Template maps have no description of a fit.
    features = kind.count(number_of_them) if isinstance(number_of_them, int) else kind.many
    masking = science.masking
    if masking.mask is not None:
        return f"The analysis was restricted to the {features} of the mask {_name(masking.mask)}."
    of = "" if masking.structures == "all" else f" of the {masking.structures}"
    lie = "have signal in" if science.selection.is_of_surfaces else "lie in the brain masks of"
    return (
        f"The analysis was restricted to the {features}{of} that {lie} at least "
        f"{per_cent(masking.mask_threshold)} of the participants{_without_wall(kind)}."
    )


def _without_wall(features: Features) -> str:
    return "; the medial wall was left out" if features.has_vertices else ""


def _name(path: str) -> str:
    """Return a file's name: its folder is nobody else's business."""
    return Path(path).name


def _resampled(used: list[Row]) -> str:
    n_resampled = sum(row.get("resampled") == "true" for row in used)
    if not n_resampled:
        return ""
    were = verb(n_resampled, "was", "were")
    return (
        f"{numbered(n_resampled, 'run')} on another voxel grid {were} resampled to that of most "
        "runs, by cubic splines."
    )


def _without_data(used: list[Row], features: Features) -> str:
    """Return what became of values that are no numbers, and of features without signal."""
    n_nonfinite = sum(number(row.get("n_nonfinite_voxels")) > 0 for row in used)
    n_constant = sum(number(row.get("n_constant_voxels")) > 0 for row in used)
    sentences = [
        f"In {numbered(number_of_runs, 'run')}, {what} were set to 0."
        for number_of_runs, what in (
            (n_nonfinite, "values that are not finite"),
            (n_constant, f"{features.many} without signal"),
        )
        if number_of_runs
    ]
    return " ".join(sentences)


# ---------------------------------------------------------------- cleaning
def about_cleaning(folder: Results, science: Science) -> str:
    """Return the paragraph about dropped volumes, smoothing, and what was regressed out.

    Parameters
    ----------
    folder : Results
    science : Science

    Returns
    -------
    str
    """
    said = cleaning_sentences(science.denoising, features_of(folder.decompositions))
    sentences = [
        said.dummies,
        said.scrubbed,
        _dropped(_used(folder)),
        said.excluded,
        _smoothed(folder, science),
        said.aroma,
        said.regressed,
    ]
    return paragraph(sentences)


def _dropped(used: list[Row]) -> str:
    """Return how many volumes of all runs were dropped, and for which reasons."""
    n_volumes = sum(int(row["n_volumes"]) for row in used if row.get("n_volumes", "").isdecimal())
    if not n_volumes:
        return ""
    counts: Counter[str] = Counter()
    for row in used:
        counts.update(dropped_volumes(row.get("dropped", "")))
    total = counts.total()
    if not total:
        return f"None of the {numbered(n_volumes, 'volume')} was dropped."
    named = [f"{counts[reason]:,} {words}" for reason, words in _REASONS.items() if counts[reason]]
    first = "; a volume with several reasons counts for the first of them" if named[1:] else ""
    return (
        f"Of {numbered(n_volumes, 'volume')}, {total:,} ({per_cent(total / n_volumes)}) "
        f"{verb(total, 'was', 'were')} dropped: {listed(named)}{first}."
    )


def dropped_volumes(cell: str) -> dict[str, int]:
    """Return the counts in a cell of the table of runs: ``DVARS 72, short segments 91``.

    Parameters
    ----------
    cell : str

    Returns
    -------
    dict
        Reason to number of volumes. What is no count is left out.
    """
    parts = (part.rpartition(" ") for part in cell.split(", "))
    return {reason: int(digits) for reason, _, digits in parts if digits.isdecimal()}


def _smoothed(folder: Results, science: Science) -> str:
    methods = [one.method for one in folder.decompositions]
    if not folder.is_template:
        # Dictionary learning is initialised with CanICA's maps, written or not.
        methods.insert(0, "canica")
    fwhm = {method_name(name): science.denoising.smoothing_of(name) for name in methods}
    if not any(fwhm.values()):
        return ""
    first, *others = fwhm.values()
    widths = (
        f"{first:g} mm"
        if all(other == first for other in others)
        else listed([f"{each:g} mm for {name}" for name, each in fwhm.items()])
    )
    kernel = f"were smoothed with a Gaussian kernel (full width at half maximum: {widths})"
    features = features_of(folder.decompositions)
    if not features.has_vertices:
        return f"Images {kernel}."
    surface = _GIVEN if science.masking.surfaces_dir else _OURS
    below = ", and within each structure below it" if features.has_voxels else ""
    return (
        f"Data {kernel} along the cortex, by geodesic distances on the {surface}, without values "
        f"of the medial wall{below}."
    )
