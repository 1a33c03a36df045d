"""The methods section: dual regression, connectomes and component regression."""

from __future__ import annotations

from pathlib import Path

from nidecomp.config.science import Science
from nidecomp.core.text import count
from nidecomp.outputs.report.features import features_of
from nidecomp.outputs.report.reading import read_json
from nidecomp.outputs.report.results import Results, WrittenDecomposition
from nidecomp.outputs.report.words import listed, method_name, paragraph


def about_template(folder: Results, science: Science) -> str:
    """Return the paragraph about template maps, to which nothing was fitted.

    Parameters
    ----------
    folder : Results
    science : Science

    Returns
    -------
    str
    """
    several = len(folder.decompositions) > 1
    numbers = listed(
        [
            f"{one.scale} ({method_name(one.method)})" if several else str(one.scale)
            for one in folder.decompositions
        ]
    )
    source = Path(science.projection.maps or "").name
    brought = (
        f"matched to the {features_of(folder.decompositions).many} of the runs"
        if features_of(folder.decompositions).has_vertices
        else "resampled to the grid of the runs"
    )
    return (
        f"No decomposition was fitted: runs were projected to {numbers} template maps ({source}), "
        f"which were {brought} and scaled to a root mean square of 1 in the mask."
    )


def about_projections(folder: Results, science: Science) -> str:
    """Return the paragraph about what was computed of each run.

    Parameters
    ----------
    folder : Results
    science : Science

    Returns
    -------
    str
        Empty where runs were not projected (``--level minimal``).
    """
    if not any(one.has_courses for one in folder.decompositions):
        return ""
    normalised = science.projection.normalise_time_courses
    sentences = [
        "The time courses of the components in each run were computed by regressing each cleaned "
        "volume on all maps together (dual regression, stage 1) [@nickerson2017].",
        "They were scaled to unit variance." if normalised else "",
        _connectomes(folder),
        _maps(folder),
        _component_regression(folder, science),
    ]
    return paragraph(sentences)


def _connectomes(folder: Results) -> str:
    kinds = [
        words
        for stat, words in (
            ("pearsoncorrelation", "Pearson's correlation"),
            ("partialcorrelation", "partial correlation"),
            (
                "tangent",
                "deviation of their covariance from the geometric mean of the participants' mean "
                "covariances, in the tangent space [@varoquaux2010b]",
            ),
        )
        if _has_matrix(folder, stat)
    ]
    if not kinds:
        return ""
    with_first = _has_matrix(folder, "pearsoncorrelation")
    which = "all but the first are" if with_first else "they are"
    shrunk = f"; {which} from shrunk covariances [@ledoit2004]" if kinds[with_first:] else ""
    averaged = (
        " The group's correlations are means over participants of Fisher's z, transformed back."
        if with_first or _has_matrix(folder, "partialcorrelation")
        else ""
    )
    return f"Connectivity of the time courses was computed as {listed(kinds)}{shrunk}.{averaged}"


def _has_matrix(folder: Results, stat: str) -> bool:
    return any(
        one.stem.with_name(f"{one.stem.name}_stat-{stat}_relmat.tsv").exists()
        for one in folder.decompositions
    )


def _maps(folder: Results) -> str:
    """Return how the maps of runs and participants were computed, where they are written."""
    if not _wrote(folder, "_stat-z_components.json"):
        return ""
    feature = features_of(folder.decompositions).one
    sentences = [
        f"The maps of each run were computed by regressing the series of each {feature} on all "
        f"time courses together (dual regression, stage 2). The noise of each {feature} was "
        "modelled as an "
        "autoregressive process of order 1: the least-squares estimates were kept, and their "
        "variances and degrees of freedom corrected for it [@worsley1995]. Student's t was "
        "converted to z values of the same probability."
    ]
    if _wrote(folder, "_desc-fixedeffects_components.json"):
        sentences.append(
            "The maps of the runs of a participant were combined as fixed effects: runs were "
            "weighted by the precision that their time courses give, and the residual variance "
            "and the degrees of freedom were pooled."
        )
    return " ".join(sentences)


def _wrote(folder: Results, ending: str) -> bool:
    return next(folder.root.glob(f"sub-*/**/func/*{ending}"), None) is not None


def _component_regression(folder: Results, science: Science) -> str:
    words = science.projection.regress_out
    if not words:
        return ""
    is_aggressive = science.projection.aggressive
    how = "aggressive" if is_aggressive else "non-aggressive"
    ending = "aggr" if is_aggressive else "nonaggr"
    removed = {one: _removed(folder, one, ending) for one in folder.decompositions}
    if not any(removed.values()):
        return (
            f"No component was selected as {' or '.join(words)}, so that none was regressed out of "
            "the runs."
        )
    named = listed(
        [
            names or f"none of {method_name(one.method)} with {count(one.scale, 'component')}"
            for one, names in removed.items()
        ]
    )
    left = (
        "all variance that their time courses explain was removed"
        if is_aggressive
        else "the variance that they share with other components was left"
    )
    return (
        f"The time courses of components selected as {listed(words)} ({named}) were "
        f"regressed out of the preprocessed image of each run; {left} ({how} regression). "
        "Confounds remain in these images, and dropped volumes are unchanged."
    )


def _removed(folder: Results, one: WrittenDecomposition, ending: str) -> str:
    """Return the names of the components that were regressed out; empty if none were."""
    of_one = f"sub-*/**/func/*_desc-{one.method}{one.scale}{ending}_bold.json"
    path = next(folder.root.glob(of_one), None)
    names = read_json(path).get("RemovedComponents") if path else None
    return listed(str(name) for name in names) if isinstance(names, dict) else ""
