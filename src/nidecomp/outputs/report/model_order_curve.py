"""The figure that shows how the number of components was chosen."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from nidecomp.core.text import count
from nidecomp.decomposition.model_order_choice import ModelOrderChoice
from nidecomp.outputs.report.plain import drawn_plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Of Okabe and Ito's palette, which people with any colour vision tell apart.
_FOUND, _LIMIT, _SECOND = "#0072B2", "#D55E00", "#009E73"
# A matter of looks, as are sizes below.
_SIZE_INCHES = (11.0, 3.8)


@drawn_plainly()
def model_order_curve(choice: ModelOrderChoice) -> bytes:
    """Draw what the number of components was chosen from.

    Parameters
    ----------
    choice : ModelOrderChoice
        With evidence.

    Returns
    -------
    bytes
        An SVG image: the same choice gives the same bytes. From left to right: each shared
        dimension against chance, the same with participants who had no part in finding it, and the
        maps that were fitted to the supported dimensions with what halves must agree by.
    """
    # `--help` and runs without figures must not wait for matplotlib.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context({"svg.hashsalt": "nidecomp", "font.size": 9, "axes.titlesize": 10}):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        shared, other_half, maps = figure.subplots(1, 3)
        _draw_shared(shared, choice)
        _draw_other_half(other_half, choice)
        _draw_maps(maps, choice)
        for axes in (shared, other_half, maps):
            axes.set_ylim(0, 1.02)
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(_title(choice), fontsize=11)
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None, "Title": _title(choice)})
        return image.getvalue()


def _title(choice: ModelOrderChoice) -> str:
    chosen = count(choice.n_components, "component") if choice.n_components else "no components"
    participants = count(choice.n_participants, "participant")
    splits = count(choice.n_splits, "split")
    return f"--n-components auto: {chosen} ({participants}, {splits} into halves)"


def _draw_shared(axes: Axes, choice: ModelOrderChoice) -> None:
    order = [one.n_components for one in choice.evidence]
    axes.plot(order, [one.canonical_r for one in choice.evidence], color=_FOUND, label="found")
    axes.plot(
        order,
        [one.null_quantile for one in choice.evidence],
        color=_LIMIT,
        linestyle="--",
        label="unrelated participants (95 %)",
    )
    _mark(axes, choice, f"{choice.n_dimensions} supported")
    axes.set(
        title="Dimensions that participants share",
        xlabel="dimension k",
        ylabel="canonical correlation",
    )
    axes.legend(frameon=False)


def _draw_other_half(axes: Axes, choice: ModelOrderChoice) -> None:
    order = [one.n_components for one in choice.evidence]
    axes.errorbar(
        order,
        [one.other_half_r for one in choice.evidence],
        yerr=[one.other_half_sd for one in choice.evidence],
        color=_FOUND,
        elinewidth=0.8,
        label="dimension k, with the other half's\nparticipants (± sd of halves)",
    )
    axes.axhline(choice.least_other_half_r, color=_LIMIT, linestyle="--", label="asked for")
    axes.plot(
        order,
        [one.overlap for one in choice.evidence],
        color=_SECOND,
        linestyle=":",
        label="overlap of both halves' first k\n(mean squared cosine)",
    )
    _mark(axes, choice)
    axes.set(title="Dimensions in other halves", xlabel="dimension k", ylabel="correlation")
    axes.legend(frameon=False)


def _draw_maps(axes: Axes, choice: ModelOrderChoice) -> None:
    last = choice.evidence[choice.n_dimensions - 1] if choice.n_dimensions else None
    axes.set(title="Maps that halves find again", ylabel="|r| between halves")
    if last is None or last.n_reproducible is None:
        axes.set_xticks([])
        text = "no dimension is supported" if last is None else "the ICA broke down"
        axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
        return
    colours = _colours(last.n_reproducible, len(last.map_rs))
    axes.bar(range(1, len(last.map_rs) + 1), last.map_rs, color=colours)
    axes.axhline(last.least_map_r, color=_LIMIT, linestyle="--", label="asked for")
    axes.set_xlabel(f"CanICA's map, of {last.n_components} fitted, the best first")
    axes.legend(frameon=False)


def _colours(n_reproducible: int, n_maps: int) -> list[str]:
    """Colour what is found again, and leave the rest grey."""
    return [_FOUND] * n_reproducible + ["0.75"] * (n_maps - n_reproducible)


def _mark(axes: Axes, choice: ModelOrderChoice, text: str = "") -> None:
    """Mark the last supported dimension."""
    if choice.n_dimensions:
        axes.axvline(choice.n_dimensions, color="0.5", linewidth=0.8)
        axes.annotate(
            text,
            (choice.n_dimensions, 1.0),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            color="0.35",
        )
