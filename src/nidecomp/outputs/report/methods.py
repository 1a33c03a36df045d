"""The methods paragraph for a paper, written from the settings: only what was done is mentioned."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence

from nidecomp.outputs.report.references import REFERENCES, Reference
from nidecomp.outputs.report.results import Results, WrittenDecomposition

_PAPER_OF_METHOD = {"canica": "varoquaux2010", "dictlearning": "mensch2016"}
_ICASSO, _DUAL_REGRESSION = "himberg2004", "nickerson2017"
_ALWAYS = ("nilearn", "yarkoni2019")


def methods_text(folder: Results) -> tuple[str, tuple[Reference, ...]]:
    """Return the methods paragraph and the references that belong to it.

    Parameters
    ----------
    folder : Results

    Returns
    -------
    paragraph : str
        Empty where nothing was fitted.
    references : tuple of Reference
        The publications to cite.
    """
    fits = folder.decompositions
    if not fits:
        return "", ()
    if folder.is_template:
        return _of_template_maps(folder), _cited([_DUAL_REGRESSION])
    sentences = [
        _who(fits[0]),
        _cleaning(_section(fits[0], "denoising"), fits[0].described.get("SmoothingFWHM")),
        _decomposition(fits),
        _order(fits[0]),
        _evidence(fits),
        _projection(fits[0]),
    ]
    methods = list(dict.fromkeys(one.method for one in fits if one.method in _PAPER_OF_METHOD))
    if "dictlearning" in methods and "canica" not in methods:
        methods.insert(0, "canica")
    used = [_PAPER_OF_METHOD[method] for method in methods]
    if _has_restarts(fits):
        used.append(_ICASSO)
    if fits[0].courses:
        used.append(_DUAL_REGRESSION)
    return " ".join(sentence for sentence in sentences if sentence), _cited(used)


def _cited(keys: Sequence[str]) -> tuple[Reference, ...]:
    return tuple(REFERENCES[key] for key in (*keys, *_ALWAYS))


def _of_template_maps(folder: Results) -> str:
    """Return the paragraph for template maps, to which nothing was fitted."""
    try:
        settings = tomllib.loads(folder.settings)
    except tomllib.TOMLDecodeError:
        settings = {}
    denoising = settings.get("denoising", {})
    n_runs = sum(row.get("status") == "used" for row in folder.runs)
    generated = folder.description.get("GeneratedBy")
    by = generated[0] if isinstance(generated, list) and generated else {}
    version = by.get("Version", "") if isinstance(by, dict) else ""
    numbers = _listed([str(one.scale) for one in folder.decompositions])
    sentences = [
        f"{n_runs} runs of {len(folder.participants)} participants, preprocessed by fMRIPrep, were "
        f"projected to {numbers} template maps by dual regression (NiDecomp {version}).",
        _cleaning(denoising, denoising.get("smoothing_fwhm")),
        _projection(folder.decompositions[0]),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _section(one: WrittenDecomposition, name: str) -> Mapping[str, object]:
    settings = one.described.get("Settings")
    found = settings.get(name) if isinstance(settings, dict) else None
    return found if isinstance(found, dict) else {}


def _who(one: WrittenDecomposition) -> str:
    described = one.described
    versions = described.get("SoftwareVersions")
    versions = versions if isinstance(versions, dict) else {}
    return (
        f"{described.get('NumberOfRuns', '?')} runs of "
        f"{described.get('NumberOfParticipants', '?')} participants, preprocessed by fMRIPrep, "
        f"were decomposed by NiDecomp {versions.get('nidecomp', '')} (nilearn "
        f"{versions.get('nilearn', '?')}, numpy {versions.get('numpy', '?')}) on "
        f"{_features(described)}."
    )


def _features(described: Mapping[str, object]) -> str:
    """Return how many features there are: ``NumberOfVoxels`` and the like say it."""
    units = {"Participants", "Runs", "Components"}
    for key, number in described.items():
        name = key.removeprefix("NumberOf")
        if name != key and name not in units:
            return f"{number} {name.lower()}"
    return "? voxels"


def _cleaning(denoising: Mapping[str, object], smoothing: object) -> str:
    if not denoising:
        return ""
    strategy = str(denoising.get("denoise_strategy", ""))
    parts = ["the mean and the linear trend"]
    if strategy and strategy != "none":
        shown = strategy if not strategy.startswith("{") else f"custom ({strategy})"
        parts.append(f"the confounds of nilearn's {shown} strategy")
    band = [
        f"{word} {denoising[name]:g} Hz"
        for name, word in (("high_pass", "below"), ("low_pass", "above"))
        if isinstance(denoising.get(name), int | float)
    ]
    if band:
        parts.append(f"frequencies {' and '.join(band)}")
    smoothed = (
        f"Images were smoothed with a Gaussian of {smoothing:g} mm full width at half maximum; "
        if isinstance(smoothing, int | float) and smoothing > 0
        else ""
    )
    removed = ", ".join(parts[:-1]) + (" and " if parts[:-1] else "") + parts[-1]
    sentence = (
        f"{removed} were removed from each voxel in a single regression, and voxels were "
        "standardised."
    )
    fd = denoising.get("fd_threshold")
    scrubbed = (
        f" Volumes with a framewise displacement above {fd:g} mm were excluded."
        if isinstance(fd, int | float)
        else ""
    )
    sentence = sentence if smoothed else sentence[0].upper() + sentence[1:]
    return smoothed + sentence + scrubbed


def _decomposition(fits: tuple[WrittenDecomposition, ...]) -> str:
    sentences = []
    ica = [one for one in fits if one.method == "canica"]
    learnt = [one for one in fits if one.method == "dictlearning"]
    numbers = _listed([str(scale) for scale in sorted({one.scale for one in fits})])
    first = (ica or learnt or fits)[0]
    n_init = _section(first, "decomposition").get("n_init", "?")
    sentences.append(
        f"The group subspace of {numbers} dimensions was computed from the leading principal "
        f"components of all runs, with equal weight for every participant, and decomposed by ICA "
        f"(CanICA; FastICA, best of {n_init} restarts)."
    )
    if learnt:
        support = _section(learnt[0], "decomposition").get("map_support")
        alpha = _section(learnt[0], "decomposition").get("alpha")
        penalty = (
            f"a sparsity penalty of {alpha:g}"
            if isinstance(alpha, int | float)
            else f"the sparsity penalty at which maps cover {100 * support:g} % of the voxels"
            if isinstance(support, int | float)
            else "a sparsity penalty"
        )
        sentences.append(
            f"Online dictionary learning was initialised with the ICA maps and used {penalty}."
        )
    return " ".join(sentences)


def _order(one: WrittenDecomposition) -> str:
    choice = one.described.get("OrderChoice")
    if not isinstance(choice, dict):
        return ""
    return f"The number of components was chosen automatically: {choice.get('Reason', '')}"


def _evidence(fits: tuple[WrittenDecomposition, ...]) -> str:
    evidence = fits[0].described.get("Evidence")
    if not isinstance(evidence, dict) or not evidence.get("Splits"):
        return ""
    traces = []
    for one in fits:
        own = one.described.get("Evidence")
        trace = own.get("Trace") if isinstance(own, dict) else None
        if isinstance(trace, int | float):
            traces.append(f"{trace:.2f} for {one.title}")
    together = (
        f"; the maps of both halves, matched one to one, had a mean |r| of {_listed(traces)}"
        if traces
        else ""
    )
    restarts = (
        " The stability of ICA components over restarts was assessed with the Icasso quality index."
        if _has_restarts(fits)
        else ""
    )
    return (
        f"The reproducibility of each component was assessed as the mean |r| between its maps in "
        f"random halves of the participants ({evidence['Splits']} splits){together}.{restarts}"
    )


def _has_restarts(fits: tuple[WrittenDecomposition, ...]) -> bool:
    return any(row.get("restart_stability") for one in fits for row in one.metrics)


def _projection(one: WrittenDecomposition) -> str:
    if not one.courses:
        return ""
    return (
        "The time courses of each run were computed by regressing each volume on all maps together "
        "(dual regression, stage 1)."
    )


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
