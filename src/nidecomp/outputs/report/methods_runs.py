"""The methods section: which runs and voxels were used, and how runs were cleaned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nidecomp.bids.dataset import OUR_NAME
from nidecomp.config.science import Denoising, Science
from nidecomp.config.values import STRATEGY_PRESETS
from nidecomp.core.text import verb
from nidecomp.outputs.description import programs_before
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results
from nidecomp.outputs.report.words import listed, method_name, numbered, paragraph, per_cent
from nidecomp.runs.strategy import argument_of, is_full_aroma, resolve_strategy, scrubbing_of

# The reasons for dropping volumes in the table of runs, as they stand in a sentence.
_REASONS = {
    "dummy": "as dummy scans",
    "non-steady state": "which fMRIPrep marked as non-steady state",
    "displacement": "for their displacement",
    "DVARS": "for their DVARS",
    "short segments": "in short segments",
    "empty": "without signal",
}
# What the models of load_confounds add to signals.
_MODELS = {
    "basic": "",
    "derivatives": " and their derivatives",
    "power2": " and their squares",
    "full": ", their derivatives and the squares of both",
}
_SIGNALS = {
    "motion": "the six motion parameters",
    "wm_csf": "the mean signals of white matter and CSF",
    "global_signal": "the global signal",
}


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
    selection = science.selection
    res = f"res-{selection.res}, " if selection.res else ""
    sentences = [
        f"{numbered(len(used), 'run')} of {numbered(len(participants), 'participant')}, "
        f"{_preprocessed(folder)}, {'was' if len(used) == 1 else 'were'} found with PyBIDS "
        f"[@yarkoni2019] and analysed with {_software(folder)}.",
        f"The images were those in the space {selection.space} ({res}desc-{selection.desc_label}).",
        f"{numbered(n_unused, 'further run')} could not be used." if n_unused else "",
        _masked(folder, science),
        _resampled(used),
        _without_data(used),
    ]
    return paragraph(sentences)


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
    features = _features(folder.decompositions[0].described)
    masking = science.masking
    if masking.mask is not None:
        return f"The analysis was restricted to the {features} of the mask {_name(masking.mask)}."
    return (
        f"The analysis was restricted to the {features} that lie in the brain masks of at least "
        f"{per_cent(masking.mask_threshold)} of the participants."
    )


def _features(described: Mapping[str, object]) -> str:
    """Return how many features there are: ``NumberOfVoxels`` and the like say it."""
    units = {"Participants", "Runs", "Components"}
    for key, value in described.items():
        name = key.removeprefix("NumberOf")
        if name != key and name not in units and isinstance(value, int):
            return f"{value:,} {name.lower()}"
    # Template maps have no description of a fit.
    return "voxels"


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


def _without_data(used: list[Row]) -> str:
    """Return what became of values that are no numbers, and of voxels without signal."""
    n_nonfinite = sum(number(row.get("n_nonfinite_voxels")) > 0 for row in used)
    n_constant = sum(number(row.get("n_constant_voxels")) > 0 for row in used)
    sentences = [
        f"In {numbered(number_of_runs, 'run')}, {what} were set to 0."
        for number_of_runs, what in (
            (n_nonfinite, "values that are not finite"),
            (n_constant, "voxels without signal"),
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
    denoising = science.denoising
    sentences = [
        _scrubbed(denoising),
        _dropped(_used(folder)),
        _excluded(denoising),
        _smoothed(folder, denoising),
        _aroma(denoising),
        _regressed(denoising),
    ]
    return paragraph(sentences)


def _scrubbed(denoising: Denoising) -> str:
    sentences = []
    if denoising.dummy_scans:
        first = "volume" if denoising.dummy_scans == 1 else f"{denoising.dummy_scans} volumes"
        sentences.append(
            f"The first {first} of each run {verb(denoising.dummy_scans, 'was', 'were')} dropped."
        )
    rule = scrubbing_of(denoising)
    if rule is not None:
        limits = [f"a framewise displacement above {rule.fd_mm:g} mm"]
        if rule.std_dvars is not None:
            limits.append(f"a standardised DVARS above {rule.std_dvars:g}")
        segments = (
            f", and so were segments of fewer than {rule.fewest_volumes} volumes between them"
            if rule.fewest_volumes > 1
            else ""
        )
        sentences.append(
            f"Volumes with {' or '.join(limits)} were dropped{segments} (scrubbing) [@power2014]."
        )
    return " ".join(sentences)


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


def _excluded(denoising: Denoising) -> str:
    """Return which runs were excluded for their motion or length."""
    rules = []
    if denoising.min_volumes > 1:
        rules.append(f"fewer than {denoising.min_volumes} volumes left")
    if denoising.mean_fd_cutoff is not None:
        rules.append(f"a mean framewise displacement above {denoising.mean_fd_cutoff:g} mm")
    return f"Runs with {' or '.join(rules)} were excluded." if rules else ""


def _smoothed(folder: Results, denoising: Denoising) -> str:
    methods = [one.method for one in folder.decompositions]
    if not folder.is_template:
        # Dictionary learning is initialised with CanICA's maps, written or not.
        methods.insert(0, "canica")
    fwhm = {method_name(name): denoising.smoothing_of(name) for name in methods}
    if not any(fwhm.values()):
        return ""
    first, *others = fwhm.values()
    widths = (
        f"{first:g} mm"
        if all(other == first for other in others)
        else listed([f"{each:g} mm for {name}" for name, each in fwhm.items()])
    )
    return f"Images were smoothed with a Gaussian kernel (full width at half maximum: {widths})."


def _aroma(denoising: Denoising) -> str:
    arguments = resolve_strategy(denoising)
    if arguments is None or not is_full_aroma(arguments):
        return ""
    return "The images had been denoised by ICA-AROMA, non-aggressively [@pruim2015]."


def _regressed(denoising: Denoising) -> str:
    band = [
        f"{word} {cutoff:g} Hz"
        for word, cutoff in (("below", denoising.high_pass), ("above", denoising.low_pass))
        if cutoff is not None
    ]
    removed = ["the mean", "the linear trend"]
    if band:
        removed.append(f"frequencies {' and '.join(band)} (discrete cosines)")
    confounds = _confounds(denoising)
    if confounds:
        removed.append(confounds)
    return (
        f"From the series of each voxel, {listed(removed)} were removed in a single regression on "
        "the volumes kept [@lindquist2019], and series were scaled to unit variance."
    )


def _confounds(denoising: Denoising) -> str:
    """Return the confounds of a strategy in words."""
    arguments = resolve_strategy(denoising)
    if arguments is None:
        return ""
    parts = [_part(part, arguments) for part in arguments["strategy"]]
    named = "; ".join(part for part in parts if part)
    if not named:
        return ""
    name = denoising.denoise_strategy
    if name in STRATEGY_PRESETS:
        return f"the confounds of nilearn's strategy {name} ({named})"
    return f"confounds chosen with nilearn ({named})"


def _part(part: str, arguments: Mapping[str, Any]) -> str:
    """Return one part of a strategy in words; empty if it adds no regressors."""
    if part in _SIGNALS:
        model = _MODELS[argument_of(arguments, part)]
        return _SIGNALS[part] + (
            model.replace("their", "its") if part == "global_signal" else model
        )
    if part == "high_pass":
        return "fMRIPrep's cosines, a high-pass filter at 1/128 Hz"
    if part == "compcor":
        most = argument_of(arguments, "n_compcor")
        how_many = "all" if most == "all" else f"the first {most}"
        kind = argument_of(arguments, "compcor")
        return f"{how_many} CompCor components of the kind {kind} [@behzadi2007]"
    if part == "ica_aroma" and not is_full_aroma(arguments):
        return "the motion components of ICA-AROMA [@pruim2015]"
    return ""
