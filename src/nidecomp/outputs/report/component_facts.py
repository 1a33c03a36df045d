"""What is said of a component: its name, how sure it is, and its numbers by question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nidecomp.outputs.report.reading import Row, number

# Question to the columns that answer it, with what they are called and how they are written.
QUESTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Would others find it again?": {
        "reproducibility": ("|r| between halves of the participants (reproducibility)", "r"),
        "reproducibility_chance": ("its chance level", "r"),
        "reproducibility_sd": ("its standard deviation over splits", "r"),
        "reproducibility_min": ("the smallest of all splits", "r"),
        "reproducibility_other_datasets": ("smallest |r| with fits without one dataset", "r"),
        "bootstrap_r": ("|r| with bootstrap samples of the participants", "r"),
        "bootstrap_r_sd": ("its standard deviation over samples", "r"),
        "restart_stability": ("stability over restarts of the ICA", "r"),
        "explained_variance": ("explained share of the runs' variance", "%"),
        "explained_variance_other_half": ("explained share in the other half", "%"),
        "explained_variance_holdout": ("explained share in held-out participants", "%"),
    },
    "What is it?": {
        "label_r": ("r with the most similar network", "r"),
        "second_label": ("second most similar network", ""),
        "second_label_r": ("r with that network", "r"),
        "atlas_label": ("most similar region of the atlas", ""),
        "atlas_label_r": ("r with that region", "r"),
        "second_atlas_label": ("second most similar region", ""),
        "second_atlas_label_r": ("r with that second region", "r"),
    },
    "Is it noise?": {
        "flag_reasons": ("reasons for its flags", ""),
        "motion_r": ("|r| of its time courses with motion", "r"),
        "high_frequency_share": ("power above 0.1 Hz", "%"),
        "csf_share": ("weight in cerebrospinal fluid", "%"),
        "edge_share": ("weight at the edge of the brain", "%"),
        "outside_share": ("weight outside the brain", "%"),
        "dominance": ("largest share of one participant", "%"),
        "dominant_participant": ("this participant", ""),
        "kurtosis": ("excess kurtosis of the map", "n"),
    },
    "Where is it?": {
        "peak": ("largest value at (right, anterior, superior)", ""),
        "peak_value": ("largest value, in units of the map's root mean square", "n"),
        "thresholded_support": ("share of the mask after thresholding", "%"),
        "support": ("share of the mask before thresholding", "%"),
        "threshold_high": ("values at or above this are kept", "n"),
        "threshold_low": ("values at or below this are kept", "n"),
    },
}


@dataclass(frozen=True)
class Naming:
    """What a component may be called.

    Parameters
    ----------
    label : str
        The network or region that it is most similar to; empty where it is similar to none.
    label_r : float
        The correlation with it, NaN where it is unknown.
    is_sure : bool
        Whether the label may stand as its name: similar enough, reproducible and without flags.
    is_at_chance : bool
        Whether it is no more reproducible than noise.
    flags : tuple of str
    """

    label: str
    label_r: float
    is_sure: bool
    is_at_chance: bool
    flags: tuple[str, ...]


def naming(row: Row) -> Naming:
    """Return what a component may be called.

    Parameters
    ----------
    row : mapping
        Of the metrics table, which has no label where the correlation is below its limit.

    Returns
    -------
    Naming
    """
    prefix = "" if row.get("label") or not row.get("atlas_label") else "atlas_"
    label, label_r = row.get(f"{prefix}label", ""), number(row.get(f"{prefix}label_r"))
    flags = tuple(part.strip() for part in row.get("flags", "").split(",") if part.strip())
    at_chance = number(row.get("reproducibility")) <= number(row.get("reproducibility_chance"))
    return Naming(label, label_r, bool(label) and not flags and not at_chance, at_chance, flags)


def title(row: Row) -> str:
    """Return a line that names a component and says how far to trust it."""
    named, reproducibility = naming(row), number(row.get("reproducibility"))
    parts = [row["component"]]
    if named.label:
        parts.append(
            f"{'' if named.is_sure else 'similar to '}{named.label} (r = {named.label_r:.2f})"
        )
    if math.isfinite(reproducibility):
        parts.append(f"reproducibility {reproducibility:.2f}")
    if named.is_at_chance:
        parts.append("at chance")
    if named.flags:
        parts.append(f"flags: {', '.join(named.flags)}")
    return " · ".join(parts)


def short_name(row: Row) -> str:
    """Return the name of a component, with its label where that is sure and a sign of its flags."""
    named = naming(row)
    parts = (row["component"], named.label if named.is_sure else "", "⚑" if named.flags else "")
    return " ".join(part for part in parts if part)


def peak_of(row: Row) -> tuple[float, float, float]:
    """Return the position of a map's peak in mm; the origin where it is unknown."""
    x, y, z = (number(row.get(f"peak_{axis}")) for axis in "xyz")
    return (x, y, z) if all(map(math.isfinite, (x, y, z))) else (0.0, 0.0, 0.0)


def facts(row: Row) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the numbers of a component by question, as text for people.

    Parameters
    ----------
    row : mapping
        Of the metrics table; what it does not have is left out.

    Returns
    -------
    list of (str, list of (str, str))
        Questions with names and values.
    """
    place = [row.get(f"peak_{axis}", "") for axis in "xyz"]
    known = {**row, "peak": f"{', '.join(rounded(one) for one in place)} mm" if all(place) else ""}
    found = []
    for question, columns in QUESTIONS.items():
        answers = [
            (words, _written(known[name], kind))
            for name, (words, kind) in columns.items()
            if known.get(name)
        ]
        if answers:
            found.append((question, answers))
    return found


def _written(value: str, kind: str) -> str:
    found = number(value)
    if not kind or not math.isfinite(found):
        return value
    return {"r": f"{found:.2f}", "%": f"{100 * found:.3g} %"}.get(kind, rounded(value))


def rounded(value: object) -> str:
    """Return a number with three significant digits; integers and words stay as they are."""
    text = str(value)
    found = number(text)
    if not math.isfinite(found) or text.lstrip("-").isdigit():
        return text
    return f"{found:.3g}"


def few(names: Sequence[str], most: int = 6) -> str:
    """Return the first names of a list and how many there are besides."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
