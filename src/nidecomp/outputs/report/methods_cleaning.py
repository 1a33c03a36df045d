"""The methods section: the sentences that follow from the options of denoising alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nidecomp.config.science import Denoising
from nidecomp.config.values import STRATEGY_PRESETS
from nidecomp.core.text import verb
from nidecomp.outputs.report.features import VOXELS, Features
from nidecomp.outputs.report.words import listed
from nidecomp.runs.strategy import argument_of, is_full_aroma, resolve_strategy, scrubbing_of

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


@dataclass(frozen=True)
class CleaningSentences:
    """What was done to the runs that are cleaned by the same options; empty: it was not done."""

    dummies: str
    scrubbed: str
    excluded: str
    aroma: str
    regressed: str


def cleaning_sentences(denoising: Denoising, features: Features = VOXELS) -> CleaningSentences:
    """Return the sentences about the cleaning of runs.

    Parameters
    ----------
    denoising : Denoising
    features : Features, optional
        What series are those of.

    Returns
    -------
    CleaningSentences
    """
    return CleaningSentences(
        dummies=_dummies(denoising),
        scrubbed=_scrubbed(denoising),
        excluded=_excluded(denoising),
        aroma=_aroma(denoising),
        regressed=_regressed(denoising, features),
    )


def _dummies(denoising: Denoising) -> str:
    n = denoising.dummy_scans
    first = "volume" if n == 1 else f"{n} volumes"
    return f"The first {first} of each run {verb(n, 'was', 'were')} dropped." if n else ""


def _scrubbed(denoising: Denoising) -> str:
    rule = scrubbing_of(denoising)
    if rule is None:
        return ""
    limits = [f"a framewise displacement above {rule.fd_mm:g} mm"]
    if rule.std_dvars is not None:
        limits.append(f"a standardised DVARS above {rule.std_dvars:g}")
    segments = (
        f", and so were segments of fewer than {rule.fewest_volumes} volumes between them"
        if rule.fewest_volumes > 1
        else ""
    )
    return f"Volumes with {' or '.join(limits)} were dropped{segments} (scrubbing) [@power2014]."


def _excluded(denoising: Denoising) -> str:
    """Return which runs were excluded for their motion or length."""
    rules = []
    if denoising.min_volumes > 1:
        rules.append(f"fewer than {denoising.min_volumes} volumes left")
    if denoising.mean_fd_cutoff is not None:
        rules.append(f"a mean framewise displacement above {denoising.mean_fd_cutoff:g} mm")
    return f"Runs with {' or '.join(rules)} were excluded." if rules else ""


def _aroma(denoising: Denoising) -> str:
    arguments = resolve_strategy(denoising)
    if arguments is None or not is_full_aroma(arguments):
        return ""
    return "The images had been denoised by ICA-AROMA, non-aggressively [@pruim2015]."


def _regressed(denoising: Denoising, features: Features) -> str:
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
        f"From the series of each {features.one}, {listed(removed)} were removed in a single "
        "regression on the volumes kept [@lindquist2019], and series were scaled to unit variance."
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
