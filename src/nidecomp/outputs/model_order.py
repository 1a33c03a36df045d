"""How the number of components was chosen, as files: the curve as a table and as a figure."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from nidecomp.decomposition.order_choice import RULE, OrderChoice
from nidecomp.outputs.report.order_curve import order_curve
from nidecomp.outputs.tree import MANIFEST, OutputTree

ORDER_TABLE = PurePosixPath("logs/order.tsv")
ORDER_FIGURE = PurePosixPath("figures/order.svg")
ORDER: dict[str, str] = {
    "n_components": "k: the number of the dimension, and of the maps that are fitted to k of them",
    "canonical_r": (
        "Root mean square, over participants, of the k-th shared dimension's correlation with what "
        "each participant's reduced runs span: the k-th canonical correlation"
    ),
    "null_quantile": (
        "95 % quantile of canonical_r where participants have no k-th dimension in common, for "
        "noise as smooth as theirs and as many rows"
    ),
    "held_out_r": (
        "As canonical_r with participants who had no part in finding the dimension: those of the "
        "other half, root mean square over splits"
    ),
    "held_out_sd": "Standard deviation of it over the splits' halves",
    "overlap": (
        "Mean squared cosine of the principal angles between the k dimensions of both halves, mean "
        "over splits"
    ),
    "supported": "Whether dimension k is above chance, and held by other participants",
    "map_r": (
        "Mean |r| between both halves' CanICA maps of the same component, over splits and k "
        "components; n/a where k maps were not fitted"
    ),
    "map_r_sd": "Standard deviation of it over the components",
    "least_map_r": "The |r| from which on a map counts as found again",
    "n_reproducible": "How many of k maps are found again",
}


def write_order(tree: OutputTree, choice: OrderChoice) -> None:
    """Write the table with its JSON, and the figure where there is anything to draw."""
    table = [asdict(one) for one in choice.evidence]
    tree.write_table(ORDER_TABLE, ORDER, table, about=choice_in_words(choice))
    if choice.evidence:
        tree.write_bytes(ORDER_FIGURE, order_curve(choice))


def write_choice_alone(output_dir: Path, choice: OrderChoice) -> None:
    """Write how nothing was chosen, where nothing else can be written.

    The journal that `OutputTree` leaves tells the next run to take it away. Complete results of an
    earlier run, if they are there, are left as they are.
    """
    if not (output_dir / MANIFEST).exists():
        write_order(OutputTree(output_dir), choice)


def choice_in_words(choice: OrderChoice) -> dict[str, object]:
    """Say in a sidecar's words how the number of components was chosen."""
    return {
        "Rule": RULE,
        "Reason": choice.reason,
        "ChosenNumberOfComponents": choice.n_components,
        "SupportedDimensions": choice.n_dimensions,
        "NumberOfParticipants": choice.n_participants,
        "Splits": choice.n_splits,
        "Voxels": choice.n_voxels,
        "EffectiveVoxels": _known(choice.effective_voxels),
        "LeastHeldOutR": _known(choice.least_held_out_r),
    }


def _known(value: float) -> float | None:
    """Give JSON null for what is not known."""
    return value if math.isfinite(value) else None
