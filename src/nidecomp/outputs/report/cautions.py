"""What a reader has to be careful about, with where to look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nidecomp.core.inventory import group_by_text
from nidecomp.core.text import count, verb
from nidecomp.outputs.inventory import NOT_USED, split_notes
from nidecomp.outputs.report.comparison_results import WrittenComparison, left_out
from nidecomp.outputs.report.component_facts import few, naming
from nidecomp.outputs.report.reading import Row, number
from nidecomp.outputs.report.results import Results, WrittenDecomposition

# More links than this are not read.
_MOST_LINKS = 12
PARTICIPANTS, RUNS, MODEL = "part-participants", "part-runs", "part-compared-model"
# Key of a decomposition and name of a component to its id in the page.
Ids = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Caution:
    """A sentence, and links to what it is about: their text and the id that they lead to."""

    text: str
    links: tuple[tuple[str, str], ...] = ()
    n_more: int = 0


def cautions(folder: Results, ids: Ids) -> list[Caution]:
    """Return what stands at the top of the report.

    Parameters
    ----------
    folder : Results
    ids : mapping
        Of the components.

    Returns
    -------
    list of Caution
        The most important first.
    """
    found = [Caution(text) for text in folder.missing]
    found += [
        Caution(f"Dataset {row.get('dataset')} was not used: {row.get('reason')}")
        for row in folder.runs
        if row.get("status") == NOT_USED
    ]
    for one in folder.decompositions:
        found += _of_decomposition(one, ids)
    found += _of_participants(folder.participants)
    found += _of_comparison(folder.comparison)
    return [*found, *_of_runs(folder.runs)]


def _of_decomposition(one: WrittenDecomposition, ids: Ids) -> list[Caution]:
    found = []
    fit = one.described.get("Fit")
    if isinstance(fit, dict) and fit.get("Converged") is False:
        found.append(Caution(f"{one.title}: the fit did not converge: its maps may be unreliable."))
    evidence = one.described.get("Evidence")
    if isinstance(evidence, dict) and (why := evidence.get("Reproducibility")):
        text = f"{one.title}: whether others would find these components again was {why}."
        found.append(Caution(text))
    if low := [row for row in one.metrics if naming(row).is_at_chance]:
        chance = number(low[0].get("reproducibility_chance"))
        text = (
            f"{one.title}: {count(len(low), 'component')} {verb(len(low), 'is', 'are')} no more "
            "reproducible between halves of the participants than maps of noise of the same "
            "smoothness "
            f"(reproducibility of at most {chance:.2f}). Do not interpret them:"
        )
        found.append(_linked(text, one, low, ids))
    # What is said of the others at chance is enough.
    told = [naming(row) for row in one.metrics]
    pairs = zip(one.metrics, told, strict=True)
    if flagged := [row for row, named in pairs if named.flags and not named.is_at_chance]:
        text = (
            f"{one.title}: {count(len(flagged), 'reproducible component')} "
            f"{verb(len(flagged), 'has', 'have')} signs of noise (flags); look at their maps "
            "before you use them:"
        )
        found.append(_linked(text, one, flagged, ids))
    return found


def _linked(text: str, one: WrittenDecomposition, rows: Sequence[Row], ids: Ids) -> Caution:
    names = [row["component"] for row in rows]
    links = tuple((name, ids[one.key, name]) for name in names[:_MOST_LINKS])
    return Caution(text, links, len(names) - len(links))


def _of_participants(rows: Sequence[Row]) -> list[Caution]:
    apart = [row["participant_id"] for row in rows if row.get("outlier")]
    if not apart:
        return []
    text = f"Participants that stand apart from the others in data quality: {few(apart)}."
    return [Caution(text, (("See the participants", PARTICIPANTS),))]


def _of_comparison(comparison: WrittenComparison | None) -> list[Caution]:
    names = [] if comparison is None else [name for name, _ in left_out(comparison)]
    if not names:
        return []
    were = verb(len(names), "was", "were")
    text = f"{count(len(names), 'participant')} {were} left out of the comparison: {few(names)}."
    return [Caution(text, (("See why", MODEL),))]


def _of_runs(rows: Sequence[Row]) -> list[Caution]:
    status = Counter(row.get("status", "") for row in rows)
    table = (("See the runs", RUNS),)
    found = []
    if n_unused := status["refused"] + status["failed"]:
        n_runs = n_unused + status["used"]
        were = verb(n_unused, "was", "were")
        found.append(Caution(f"{n_unused} of {count(n_runs, 'run')} {were} not used.", table))
    if status["not matched"]:
        without = count(status["not matched"], "folder")
        text = f"{without} of participants without a run that matches the selection."
        found.append(Caution(text, table))
    if notes := notes_of(rows):
        text = f"{count(len(notes), 'kind')} of notes on runs that were used:"
        most = "; ".join(f"{one['note']} ({count(int(one['n_runs']), 'run')})" for one in notes[:3])
        found.append(Caution(f"{text} {most}{' …' if len(notes) > 3 else '.'}", table))
    return found


def notes_of(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return the notes on runs that were used, with the number and the names of the runs.

    Parameters
    ----------
    rows : sequence of mapping
        The table of runs.

    Returns
    -------
    list of dict
    """
    named = (
        (row.get("run", ""), note)
        for row in rows
        if row.get("status") == "used"
        for note in split_notes(row.get("notes", ""))
    )
    return [
        {"note": note, "n_runs": str(len(names)), "runs": few(names)}
        for note, names in group_by_text(named)
    ]
