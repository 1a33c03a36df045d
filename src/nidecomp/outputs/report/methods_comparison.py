"""The methods section: how participants were compared."""

from __future__ import annotations

from nidecomp.comparison.answers import ALPHA
from nidecomp.comparison.describe import formula_in_words
from nidecomp.comparison.tails import LARGEST_TAIL_P, least_tail_p
from nidecomp.config.science import Science
from nidecomp.core.text import verb
from nidecomp.outputs.report.comparison_model import n_tfce, permutations_in_words
from nidecomp.outputs.report.comparison_results import (
    WrittenComparison,
    WrittenTest,
    is_compared,
    kind_in_words,
    left_out,
    text_of,
)
from nidecomp.outputs.report.features import Features, features_of
from nidecomp.outputs.report.results import Results
from nidecomp.outputs.report.words import listed, numbered, paragraph

_FREEDMAN = (
    "Residuals of the model without what is tested were transformed (the method of Freedman and "
    "Lane) [@freedman1983; @winkler2014] by {transformations}"
)
_SYMMETRIC = ", which assume that errors are independent and symmetric"


def about_comparison(folder: Results, science: Science) -> str:
    """Return the paragraph about the comparison of participants.

    Parameters
    ----------
    folder : Results
    science : Science

    Returns
    -------
    str
        Empty where participants were not compared.
    """
    comparison = folder.comparison
    if comparison is None:
        return ""
    features = features_of(folder.decompositions)
    has_maps = bool(comparison.inference)
    sentences = [
        _model(comparison),
        _compared(comparison, science, features),
        _family(comparison),
        _tests(comparison),
        _permutations(comparison),
        _tfce(comparison, features) if comparison.inference == "tfce" else "",
        _clusters(comparison, science, features),
        _correction(comparison, features),
        _tail(comparison) if has_maps else "",
        _networks(comparison, science),
        _effect_sizes(comparison),
    ]
    return paragraph(sentences)


def _effect_sizes(comparison: WrittenComparison) -> str:
    if not comparison.components:
        return ""
    is_f = any(test.statistic == "F" for test in comparison.tests)
    f_tests = ", for F tests partial eta squared" if is_f else ""
    peaks = "; those of maps are at the peak" if comparison.inference else ""
    return (
        "Effect sizes are partial correlations with 95 % confidence intervals by Fisher's z"
        f"{f_tests}{peaks}. What has a corrected p below {ALPHA:g} is reported as found."
    )


def _model(comparison: WrittenComparison) -> str:
    people = numbered(len(comparison.people), "participant")
    dof = sorted({row["dof"] for row in comparison.components if row.get("dof")})
    degrees = f", with {listed(dof)} residual degrees of freedom" if dof else ""
    formula = formula_in_words(text_of(comparison.described.get("Formula")))
    told = f"{people} were compared in the linear model {formula}{degrees}."
    if out := len(left_out(comparison)):
        told += f" {numbered(out, 'other')} could not be in it (design.json has the reasons)."
    return told


def _compared(comparison: WrittenComparison, science: Science, features: Features) -> str:
    """Return what of the participants was compared."""
    kinds = [kind_in_words(kind) for kind in comparison.edge_kinds]
    stat = {"effect": "regression coefficients", "z": "z values"}[science.comparison.compare_stat]
    measures = [
        f"their maps of dual regression ({stat}), at each {features.one} [@nickerson2017]"
        if comparison.inference
        else "",
        "the amplitudes of components (the standard deviations of their time courses)"
        if comparison.has_amplitudes
        else "",
        f"the edges of their connectomes (Fisher's z of {listed(kinds)})" if kinds else "",
    ]
    of_runs = "Runs of a participant were combined first"
    if comparison.within:
        of_runs = f"Of each participant, the difference {comparison.within} was compared"
    told = listed(one for one in measures if one)
    return f"What was compared were {told}. {of_runs}." if told else ""


def _family(comparison: WrittenComparison) -> str:
    flagged = {
        (row["decomposition"], row["component"])
        for row in comparison.components
        if not is_compared(row)
    }
    if not flagged:
        return ""
    return (
        f"{numbered(len(flagged), 'component')} with signs of noise (flags), which were set "
        f"without looking at the comparison, {verb(len(flagged), 'was', 'were')} left out."
    )


def _tests(comparison: WrittenComparison) -> str:
    tests = [_test(comparison, test) for test in comparison.tests]
    return f"Tested {verb(len(tests), 'was', 'were')} {listed(tests)}." if tests else ""


def _test(comparison: WrittenComparison, test: WrittenTest) -> str:
    name = f"the {test.text}" if comparison.within and test.text == "mean" else test.text
    return f"{name} ({'F test' if test.statistic == 'F' else 'two-sided t test'})"


def _permutations(comparison: WrittenComparison) -> str:
    number = permutations_in_words(comparison)
    if not number:
        return ""
    told = _FREEDMAN.format(transformations=number)
    said = comparison.described.get("Permutations")
    if isinstance(said, dict) and "sign flips" in text_of(said.get("Kind")):
        told += _SYMMETRIC
    if comparison.blocks:
        blocks = text_of(comparison.described.get("Blocks"))
        told += f". Participants were exchanged only within blocks of the same {blocks}"
    return f"{told}. All components and tests had the same ones."


def _tfce(comparison: WrittenComparison, features: Features) -> str:
    """Return how maps were enhanced."""
    voxels = "E = 0.5, H = 2, voxels that share a face"
    vertices = "E = 1, H = 2, areas of vertices as extent"
    how = {
        (False, True): voxels,
        (True, False): vertices,
        (True, True): f"on surfaces {vertices}; of voxels {voxels}",
    }[features.has_vertices, features.has_voxels]
    return (
        f"Maps of the statistic were enhanced by threshold-free cluster enhancement (TFCE) "
        f"[@smith2009] ({how}), as the exact integral over all heights, in the first "
        f"{n_tfce(comparison):,} of these."
    )


def _clusters(comparison: WrittenComparison, science: Science, features: Features) -> str:
    threshold = science.comparison.cluster_threshold
    row = comparison.components[0] if comparison.components else {}
    if threshold is None or "map_p_cluster" not in row:
        return ""
    size = listed(
        word
        for word, is_there in (("area", features.has_vertices), ("volume", features.has_voxels))
        if is_there
    )
    return (
        f"Clusters of {features.many}, formed at an uncorrected p of {threshold:g}, were also "
        f"tested by their extent ({size})."
    )


def _correction(comparison: WrittenComparison, features: Features) -> str:
    """Return what p values were corrected for."""
    tests = " and all tests" if len(comparison.tests) > 1 else ""
    told = (
        "p values were corrected for the family-wise error by the distribution of the largest "
        "value of each transformation"
    )
    over = listed(
        word
        for word, is_there in (
            ("all components", comparison.has_amplitudes),
            ("all edges of a kind", bool(comparison.edges)),
        )
        if is_there
    )
    if not comparison.inference:
        return f"{told}, over {over}{tests}." if over else ""
    what = listed(
        word
        for word, is_there in (
            ("amplitudes", comparison.has_amplitudes),
            ("edges", bool(comparison.edges)),
        )
        if is_there
    )
    likewise = f" Those of {what} were corrected over {over}{tests}." if what else ""
    return (
        f"{told}: over the {features.many} of a map, and over all components of a "
        f"decomposition{tests} together. For the latter, maps were first put on a common scale, "
        "−log of the p value under a gamma distribution that fits the largest values of a map in "
        "all transformations; it is the same for all of them, which keeps the test exact."
        f"{likewise}"
    )


def _tail(comparison: WrittenComparison) -> str:
    """Return where small p values come from; TFCE of all possible permutations has counted ones."""
    said = comparison.described.get("Permutations")
    known = said if isinstance(said, dict) else {}
    is_exhaustive = known.get("AllPossible") is True and known.get("Number") == n_tfce(comparison)
    row = comparison.components[0]
    enhanced = "TFCE" if comparison.inference == "tfce" else ""
    kinds = [one for one in (enhanced, "clusters" if "map_p_cluster" in row else "") if one]
    if not kinds or is_exhaustive:
        return ""
    least = f"{round(least_tail_p(n_tfce(comparison)), 5):.5f}".rstrip("0")
    return (
        f"For {listed(kinds)}, p values below {LARGEST_TAIL_P:g} are those of a gamma distribution "
        "fitted to the largest values of the transformations [@winkler2016], but not below "
        f"{least}; the others are counted."
    )


def _networks(comparison: WrittenComparison, science: Science) -> str:
    threshold = science.comparison.nbs_threshold
    if threshold is None or not comparison.edges or "network_p" not in comparison.edges[0]:
        return ""
    tests = " and all tests" if len(comparison.tests) > 1 else ""
    return (
        "Connected sets of edges, formed at an uncorrected p of "
        f"{threshold:g}, were tested by the number of their edges (network-based statistic), "
        f"corrected over all sets{tests} [@zalesky2010]."
    )
