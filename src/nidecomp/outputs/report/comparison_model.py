"""How participants were compared, for the report: the model, permutations and who was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nidecomp.comparison.answers import ALPHA
from nidecomp.core.text import count, verb
from nidecomp.outputs.report.cautions import Ids
from nidecomp.outputs.report.comparison_pictures import design_picture
from nidecomp.outputs.report.comparison_results import (
    INFERENCES,
    WrittenComparison,
    is_compared,
    left_out,
    text_of,
    texts_of,
)
from nidecomp.outputs.report.comparison_words import family
from nidecomp.outputs.report.features import features_of
from nidecomp.outputs.report.results import Results
from nidecomp.outputs.report.words import listed


def model_of(folder: Results, comparison: WrittenComparison, ids: Ids) -> dict[str, object]:
    """Return how participants were compared, as the template shows it.

    Parameters
    ----------
    folder : Results
    comparison : WrittenComparison
    ids : mapping
        Of the components.

    Returns
    -------
    dict
    """
    described = comparison.described
    return {
        "formula": text_of(described.get("Formula")),
        "facts": _facts(folder, comparison),
        "left_out": left_out(comparison),
        "notes": texts_of(described.get("Notes")),
        "design": design_picture(comparison),
        "has_blocks": bool(comparison.blocks),
        "flagged": [
            (row["component"], ids.get((one.key, row["component"]), ""))
            for one in folder.decompositions
            for row in _first_test(comparison, one.label)
            if not is_compared(row)
        ],
        "cautions": _cautions(folder, comparison),
    }


def _first_test(comparison: WrittenComparison, decomposition: str) -> Sequence[Mapping[str, str]]:
    return comparison.rows_of(decomposition, comparison.tests[0]) if comparison.tests else ()


def permutations_in_words(comparison: WrittenComparison) -> str:
    """Return how many permutations there were, of which kind.

    Parameters
    ----------
    comparison : WrittenComparison

    Returns
    -------
    str
        Such as ``5,000 permutations of participants, drawn at random (seed 0)``; empty where it is
        not known.
    """
    said = comparison.described.get("Permutations")
    if not isinstance(said, dict) or not isinstance(number := said.get("Number"), int):
        return ""
    kinds = {
        "permutations": "permutations of participants",
        "sign flips": "changes of sign",
        "permutations and sign flips": "permutations of participants with changes of sign",
    }
    kind = kinds.get(text_of(said.get("Kind")), "permutations")
    if said.get("AllPossible") is True:
        return f"all {number:,} possible {kind}"
    return f"{number:,} {kind}, drawn at random (seed {said.get('Seed', 'unknown')})"


def n_tfce(comparison: WrittenComparison) -> int:
    """Return how many permutations there were for TFCE and clusters."""
    said = comparison.described.get("Permutations")
    number = said.get("NumberTFCE") if isinstance(said, dict) else None
    return number if isinstance(number, int) else 0


def _facts(folder: Results, comparison: WrittenComparison) -> list[tuple[str, str]]:
    described = comparison.described
    n_out = len(left_out(comparison))
    people = count(len(comparison.people), "participant")
    if n_out:
        people += f"; {n_out} {verb(n_out, 'was', 'were')} left out"
    facts = [("participants", people), ("model", text_of(described.get("Formula")))]
    if comparison.within:
        facts.append(("compared", f"the difference {comparison.within} of each participant"))
    permuted = permutations_in_words(comparison)
    number = n_tfce(comparison)
    if permuted and number and comparison.inference:
        permuted += f"; the first {number:,} for TFCE and clusters"
    facts.append(("permutations", permuted))
    if comparison.blocks:
        words = text_of(described.get("Blocks"))
        n_blocks = count(len(set(comparison.blocks)), "block")
        facts.append(("blocks", f"only within the same {words or 'block'} ({n_blocks})"))
    dof = sorted({row["dof"] for row in comparison.components if row.get("dof")})
    facts.append(("degrees of freedom", ", ".join(dof)))
    over = listed(dict.fromkeys(family(comparison, one.label) for one in folder.decompositions))
    if len(folder.decompositions) > 1:
        over = f"the components of a decomposition and all tests ({over})"
    many = features_of(folder.decompositions).many
    deciding = INFERENCES.get(comparison.inference)
    if deciding:
        facts.append(
            (
                "correction",
                f"for the family-wise error over all {many} of a map and {over}, by the largest "
                f"statistic of each permutation; what decides is {deciding}",
            )
        )
    facts.append(("called found", f"corrected p < {ALPHA}, two-sided"))
    return [(name, value) for name, value in facts if value]


def _cautions(folder: Results, comparison: WrittenComparison) -> list[str]:
    """Return what a reader has to know of the numbers."""
    found = []
    if comparison.inference:
        found.append(
            "The effect size of a map is that at its peak. The peak was chosen because it is "
            "strong, so that this effect size is too large on average, most so in small samples; "
            "its interval does not account for that."
        )
    science = folder.science
    if science is not None and comparison.inference and science.comparison.compare_stat == "z":
        found.append(
            "Compared were z values of dual regression. The time courses come from the same data "
            "with the group maps, so that z is biased towards the group map (it is circular); and "
            "z depends on the noise and the number of volumes of a participant, which can differ "
            "between groups without any difference in a network."
        )
    families = {(one.decomposition, one.measure, one.kind) for one in comparison.answers}
    if len(families) > 1:
        found.append(
            f"p values are corrected within each of {len(families)} sets of results (maps, "
            "amplitudes, each kind of connectome; of each decomposition), and not over all of "
            f"them: by chance alone, at least one of the {len(families)} has something found "
            f"in more than 1 of {round(1 / ALPHA)} studies."
        )
    if comparison.has_amplitudes or comparison.inference:
        found.append(
            "Where nothing is found, this does not show that participants are the same: the "
            "intervals say which differences are compatible with the data."
        )
    return found
