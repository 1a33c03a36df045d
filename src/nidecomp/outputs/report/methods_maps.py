"""The methods section: how maps were fitted, judged, thresholded and described."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nidecomp.annotation.columns import LEAST_LABEL_R
from nidecomp.annotation.thresholds import parse_rule, rule_in_words
from nidecomp.config.science import DecompositionOptions, Science
from nidecomp.outputs.report.features import features_of
from nidecomp.outputs.report.reading import number, read_json
from nidecomp.outputs.report.results import Results, WrittenDecomposition
from nidecomp.outputs.report.words import listed, method_name, numbered, paragraph, per_cent

# A map is sparse if less of it than this is not 0: see `annotation.thresholds.is_sparse`.
_SPARSE = 0.5


# ---------------------------------------------------------------- fit
def about_fit(folder: Results, science: Science) -> str:
    """Return the paragraph about the decompositions and their number of components.

    Parameters
    ----------
    folder : Results
    science : Science

    Returns
    -------
    str
    """
    fits, options = folder.decompositions, science.decomposition
    sentences = [
        _held_out(fits[0], science),
        _order(fits[0], options),
        _subspace(folder, options),
        f"For CanICA [@varoquaux2010], {_norm_for_canica(options)}the leading dimensions of the "
        "group, one for each component, were rotated to independent maps by FastICA with a cubic "
        f"nonlinearity. {_restarts(options)}",
        _dictionary(fits, options),
        "Maps were scaled to a root mean square of 1, with the sign that makes their largest "
        f"absolute value positive. The random seed was {options.random_seed}.",
    ]
    return paragraph(sentences)


def _held_out(one: WrittenDecomposition, science: Science) -> str:
    """Return which runs the maps were fitted to."""
    described = one.described
    evidence = described.get("Evidence")
    out = evidence.get("HeldOutParticipants") if isinstance(evidence, dict) else None
    fitted = "Maps were fitted to " + " of ".join(
        numbered(value, noun) if isinstance(value, int) else f"{noun}s"
        for value, noun in (
            (described.get("NumberOfRuns"), "run"),
            (described.get("NumberOfParticipants"), "participant"),
        )
    )
    share = science.evidence.holdout
    if not share:
        return f"{fitted}."
    n_out = f"the {len(out)} others" if isinstance(out, list) and len(out) > 1 else "the others"
    return f"{fitted}; {n_out} ({per_cent(share)}), drawn at random, were held out."


def _order(one: WrittenDecomposition, options: DecompositionOptions) -> str:
    choice = one.described.get("OrderChoice")
    if not options.is_auto or not isinstance(choice, dict):
        return ""
    return (
        "The number of components was chosen from the data, of at most "
        f"{options.max_components}, as the number of maps that halves of the participants "
        f"reproduce: {choice.get('Reason', '')}"
    )


def _subspace(folder: Results, options: DecompositionOptions) -> str:
    """Return how runs were put together."""
    scales = sorted({one.scale for one in folder.decompositions})
    numbers = listed([str(options.rows_of_run(scale)) for scale in scales])
    kept = listed([str(options.kept_dims(scale)) for scale in scales])
    again = " (separately for each number)" if len(scales) > 1 else ""
    if options.pca_weighting == "unit":
        reduced, weighted = f"{numbers} principal components, one", ""
    else:
        reduced = f"{numbers} principal components (or all, if it has fewer), two"
        weighted = (
            "weighted by the square root of their singular value, scaled to equal variance for all "
            "runs, "
        )
    return (
        f"Each run was reduced to its leading {reduced} for each component of the "
        f"decomposition{again}. They were {weighted}divided by the square root of the number of "
        f"the participant's runs{_equal(folder)} had the same weight, and combined by a "
        "singular value decomposition, to which runs were added one after another while the "
        f"leading {kept} dimensions were kept."
    )


def _equal(folder: Results) -> str:
    """Return what has the same weight, after the first number that rows are divided by."""
    if folder.options and folder.options.datasets_weigh_the_same:
        return " and of that of the dataset's participants, so that every dataset"
    return ", so that every participant"


def _norm_for_canica(options: DecompositionOptions) -> str:
    return "principal components had unit norm, and " if options.pca_weighting == "unit" else ""


def _restarts(options: DecompositionOptions) -> str:
    if options.n_init == 1:
        return "It was started once, from a random matrix."
    return (
        f"Of {options.n_init} random starts, the one was used whose maps have the smallest sum of "
        "L1 norms, among those that converged."
    )


def _dictionary(fits: tuple[WrittenDecomposition, ...], options: DecompositionOptions) -> str:
    if not any(one.method == "dictlearning" for one in fits):
        return ""
    features = features_of(fits)
    penalty = (
        f"the sparsity penalty was {options.alpha:g}"
        if options.alpha is not None
        else "the sparsity penalty was chosen such that a map covers "
        f"{per_cent(options.map_support)} of the {features.many} on average"
    )
    own = (
        "For it, principal components were scaled by their singular values, with equal variance "
        "for all runs, and the kept"
        if options.pca_weighting == "unit"
        else "For it, all kept"
    )
    return (
        f"Dictionary learning [@mensch2016] started from these maps. {own} "
        "dimensions of the group were decomposed in batches of "
        f"{features.count(options.batch_size)}, with at most "
        f"{options.n_epochs} {'pass' if options.n_epochs == 1 else 'passes'} over the "
        f"{features.many}; {penalty}."
    )


# ---------------------------------------------------------------- evidence
def about_evidence(folder: Results, science: Science) -> str:
    """Return the paragraph about reproducibility, restarts, bootstrap samples and held-out people.

    Parameters
    ----------
    folder : Results
    science : Science

    Returns
    -------
    str
        Empty where there is no evidence (``--level minimal``).
    """
    fits = folder.decompositions
    return paragraph(
        [
            _halves(fits),
            _bootstraps(fits, science),
            _restarted(fits),
            _explained(fits),
            _holdout(fits),
        ]
    )


def _halves(fits: tuple[WrittenDecomposition, ...]) -> str:
    evidence = fits[0].described.get("Evidence")
    if not isinstance(evidence, dict) or not evidence.get("Splits"):
        return ""
    n_splits = evidence["Splits"]
    is_sparse = any(one.method == "dictlearning" for one in fits)
    penalty = " and the group's sparsity penalty" if is_sparse else ""
    times = "once" if n_splits == 1 else f"{n_splits} times"
    text = (
        "To assess how reproducible components are, the participants were split into random halves "
        f"{times}, and each half was fitted as the group was, {_fitted_on(fits[0], evidence)}with "
        f"three dimensions kept for each component (at least 60){penalty}. The group's maps were "
        "matched one to one with those of each half. The reproducibility of a component is |r| "
        "between its matches in both halves, at most the |r| of either match with the group's map, "
        f"averaged over splits. Components are sorted by it.{_chance(fits)}"
    )
    traces = [f"{trace:.2f} for {title}" for title, trace in _evidence(fits, "Trace")]
    if not traces:
        return text
    return (
        f"{text} The maps of both halves, matched with each other one to one, had a mean |r| of "
        f"{listed(traces)}."
    )


def _evidence(fits: tuple[WrittenDecomposition, ...], key: str) -> list[tuple[str, float]]:
    """Return the title of each decomposition whose evidence has a number of this key, and it."""
    found = []
    for one in fits:
        evidence = one.described.get("Evidence")
        value = evidence.get(key) if isinstance(evidence, dict) else None
        if isinstance(value, int | float):
            found.append((_title(one), value))
    return found


def _chance(fits: tuple[WrittenDecomposition, ...]) -> str:
    levels = [
        f"{level:.2f} for {title}" for title, level in _evidence(fits, "ReproducibilityChance")
    ]
    if not levels:
        return ""
    return (
        f" Its chance level is {listed(levels)}: the 95 % quantile of single splits when the group "
        "and its halves are fitted to surrogates of the runs (at most two runs of 40 participants, "
        f"with one random start of the ICA), whose principal components {_randomised(fits)}. Maps "
        "that do not exceed it were not labelled, and have no regions and no peaks."
    )


def _randomised(fits: tuple[WrittenDecomposition, ...]) -> str:
    """Return how surrogates were made of principal components."""
    features = features_of(fits)
    phases = "the same power spectra and random spatial phases [@theiler1992]"
    if not features.has_vertices:
        return f"have {phases}"
    rotated = "were rotated on the sphere of the cortex at random [@alexanderbloch2018]"
    return f"{rotated} and have {phases} below it" if features.has_voxels else rotated


def _fitted_on(one: WrittenDecomposition, evidence: Mapping[str, object]) -> str:
    """Return on which features halves were fitted; empty if on all of them."""
    features = features_of([one])
    n_features = evidence.get(f"Split{features.many.capitalize()}")
    if not isinstance(n_features, int) or n_features in one.described.values():
        return ""
    return f"on {features.count(n_features)} evenly spaced in the mask and "


def _title(one: WrittenDecomposition) -> str:
    return f"{method_name(one.method)} with {numbered(one.scale, 'component')}"


def _bootstraps(fits: tuple[WrittenDecomposition, ...], science: Science) -> str:
    if not science.evidence.n_bootstraps or not _has(fits, "bootstrap_r"):
        return ""
    return (
        "The maps were also matched with those of "
        f"{numbered(science.evidence.n_bootstraps, 'bootstrap sample')} of the participants, which "
        "were fitted in the same way."
    )


def _restarted(fits: tuple[WrittenDecomposition, ...]) -> str:
    if not _has(fits, "restart_stability"):
        return ""
    return (
        "The stability of the ICA over its random starts was assessed with the quality index of "
        "Icasso [@himberg2004]."
    )


def _explained(fits: tuple[WrittenDecomposition, ...]) -> str:
    shares = [
        f"{per_cent(share)} ({_title(one)})"
        for one in fits
        if isinstance(share := one.described.get("ExplainedVariance"), int | float)
    ]
    if not shares:
        return ""
    return (
        f"All maps together explain {listed(shares)} of the variance of the cleaned runs (mean "
        "over participants), looked for in the leading principal components of each run that were "
        "fitted."
    )


def _holdout(fits: tuple[WrittenDecomposition, ...]) -> str:
    shares = [
        f"{per_cent(share)} ({title})"
        for title, share in _evidence(fits, "ExplainedVarianceHoldout")
    ]
    if not shares:
        return ""
    return (
        f"In the participants that were held out, the maps explain {listed(shares)} of this "
        "variance."
    )


def _has(fits: tuple[WrittenDecomposition, ...], column: str) -> bool:
    """Return whether a column of metrics has a value anywhere."""
    return any(row.get(column) for one in fits for row in one.metrics)


# ---------------------------------------------------------------- description of maps
def about_maps(folder: Results, science: Science) -> str:
    """Return the paragraph about thresholds, regions, labels and flags.

    Parameters
    ----------
    folder : Results
    science : Science

    Returns
    -------
    str
    """
    fits = folder.decompositions
    sentences = [_thresholded(fits, science), _regions(fits), _labels(fits, science), _flags(fits)]
    return paragraph(sentences)


def _thresholded(fits: tuple[WrittenDecomposition, ...], science: Science) -> str:
    if not any(one.thresholded for one in fits):
        return ""
    rule = parse_rule(science.evidence.threshold)
    supports = [number(row.get("support")) for one in fits for row in one.metrics]
    are_sparse = [support < _SPARSE for support in supports if rule.kind != "ratio"]
    words = rule_in_words(rule, features_of(fits).many).replace(
        "Benjamini and Hochberg", "Benjamini and Hochberg [@benjamini1995]"
    )
    sentences = []
    if any(are_sparse):
        sentences.append(
            "Sparse maps, as those of dictionary learning are, kept all values that are not 0: "
            "the sparsity penalty has selected them."
        )
    if not are_sparse or not all(are_sparse):
        maps = "Other maps were" if any(are_sparse) else "Each map was"
        sentences.append(f"{maps} thresholded to keep {words}.")
    return " ".join(sentences)


def _regions(fits: tuple[WrittenDecomposition, ...]) -> str:
    """Return how thresholded maps were split into regions, as the sidecars of regions say it."""
    rules: dict[str, str] = {}
    for one in fits:
        for path in sorted(one.stem.parent.glob(f"{one.stem.name}_*desc-regions_probseg.json")):
            rule = read_json(path).get("Rule")
            if isinstance(rule, str):
                rules[method_name(one.method)] = rule
    if not rules:
        return ""
    of_methods = "; ".join(f"for {name}, {rule}" for name, rule in rules.items())
    return (
        "The positive parts of thresholded maps were split into regions: "
        f"{of_methods.replace('^2', '²').replace('^3', '³')}."
    )


def _labels(fits: tuple[WrittenDecomposition, ...], science: Science) -> str:
    sources = []
    if _has(fits, "label_r"):
        sources.append(
            f"{_n_networks(fits)} networks of a group ICA of ABIDE (doi:10.5281/zenodo.15100690)"
        )
    if science.evidence.label_atlas is not None and _has(fits, "atlas_label_r"):
        sources.append(f"the regions of {Path(science.evidence.label_atlas).name}")
    if not sources:
        return ""
    return (
        f"Components were labelled by the largest spatial correlation with {listed(sources)}, "
        f"if it is at least {LEAST_LABEL_R:g}."
    )


def _n_networks(fits: tuple[WrittenDecomposition, ...]) -> int:
    """Return how many networks there are: that of the cerebellum has no vertices."""
    return 14 if features_of(fits).has_voxels else 13


def _flags(fits: tuple[WrittenDecomposition, ...]) -> str:
    signs = [
        words
        for column, words in (
            (
                "csf_share",
                "the overlap of their maps with the tissue masks of ICA-AROMA [@pruim2015]",
            ),
            ("high_frequency_share", "the frequencies of their time courses"),
            ("motion_r", "the correlation of their time courses with head motion"),
            ("dominance", "the share of a single participant"),
        )
        if any(number(row.get(column)) >= 0 for one in fits for row in one.metrics)
    ]
    if not signs:
        return ""
    return f"Components were flagged as probable noise by {listed(signs)}; none was removed for it."
