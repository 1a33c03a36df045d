"""The files that document how the number of components was chosen: a table and a figure."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from nidecomp.decomposition.model_order_choice import RULE, ModelOrderChoice, ModelOrderEvidence
from nidecomp.outputs.report.model_order_curve import model_order_curve
from nidecomp.outputs.tree import MANIFEST, OutputTree
from nidecomp.spaces.records import Measure

MODEL_ORDER_TABLE = PurePosixPath("logs/order.tsv")
MODEL_ORDER_FIGURE = PurePosixPath("figures/order.svg")
MODEL_ORDER: dict[str, str] = {
    "n_components": "k: number of the shared dimension, and of the maps fitted to k dimensions",
    "canonical_r": (
        "k-th canonical correlation: root mean square over participants of the correlation of the "
        "k-th shared dimension with the subspace of each participant's reduced runs"
    ),
    "null_quantile": (
        "95 % quantile of canonical_r under the null hypothesis that participants share no k-th "
        "dimension: noise of the same smoothness, with as many rows"
    ),
    "held_out_r": (
        "As canonical_r, for participants that were not used to find the dimension: those of the "
        "other half; root mean square over splits"
    ),
    "held_out_sd": "Standard deviation of held_out_r over the halves of all splits",
    "overlap": (
        "Mean squared cosine of the principal angles between the k-dimensional subspaces of both "
        "halves, mean over splits"
    ),
    "supported": "Whether dimension k exceeds null_quantile and generalises to other participants",
    "map_r": (
        "Mean |r| between both halves' CanICA maps of the same component, over splits and k "
        "components; n/a where k maps were not fitted"
    ),
    "map_r_sd": "Standard deviation of map_r over the components",
    "least_map_r": "Smallest |r| at which a map counts as reproducible",
    "n_reproducible": "Number of the k maps that are reproducible",
}


def write_model_order(tree: OutputTree, choice: ModelOrderChoice, measure: Measure) -> None:
    """Write the table with its JSON, and the figure if there is a curve."""
    table = [_row(one) for one in choice.evidence]
    tree.write_table(MODEL_ORDER_TABLE, MODEL_ORDER, table, about=choice_in_words(choice, measure))
    if choice.evidence:
        tree.write_bytes(MODEL_ORDER_FIGURE, model_order_curve(choice))


def _row(one: ModelOrderEvidence) -> dict[str, object]:
    """Return a row of the table; two columns have kept an older name."""
    return {
        **asdict(one),
        "held_out_r": one.other_half_r,
        "held_out_sd": one.other_half_sd,
    }


def write_choice_alone(output_dir: Path, choice: ModelOrderChoice, measure: Measure) -> None:
    """Write the table and figure of a choice that found no components: there is nothing else.

    The journal that `OutputTree` leaves makes the next run remove these files. Complete results of
    an earlier run are not touched.
    """
    if not (output_dir / MANIFEST).exists():
        write_model_order(OutputTree(output_dir), choice, measure)


def choice_in_words(choice: ModelOrderChoice, measure: Measure) -> dict[str, object]:
    """Return how the number of components was chosen, as the JSON records it.

    Parameters
    ----------
    choice : ModelOrderChoice
    measure : Measure
        What features are called.

    Returns
    -------
    dict
    """
    return {
        "Rule": RULE,
        "Reason": choice.reason,
        "ChosenNumberOfComponents": choice.n_components,
        "SupportedDimensions": choice.n_dimensions,
        "NumberOfParticipants": choice.n_participants,
        "Splits": choice.n_splits,
        measure.features.capitalize(): choice.n_voxels,
        measure.in_words("EffectiveVoxels"): _known(choice.effective_voxels),
        "LeastHeldOutR": _known(choice.least_other_half_r),
    }


def _known(value: float) -> float | None:
    """Return a value that JSON can hold: null where it is unknown."""
    return value if math.isfinite(value) else None
