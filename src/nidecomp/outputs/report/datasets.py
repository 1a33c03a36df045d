"""What the report says of several datasets: their table, and sentences of the methods text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

from nidecomp.annotation.noise_flags import DATASET_SHARE_LIMIT, WITHOUT_DATASET_LIMIT
from nidecomp.config.science import Science
from nidecomp.core.text import verb
from nidecomp.outputs.report.features import Features, features_of
from nidecomp.outputs.report.methods_cleaning import cleaning_sentences
from nidecomp.outputs.report.methods_runs import images_sentence
from nidecomp.outputs.report.payload import table
from nidecomp.outputs.report.results import Results, WrittenDecomposition
from nidecomp.outputs.report.words import listed, numbered, paragraph, per_cent

# Options that choose runs, as they are called in a sentence.
_SELECTED_BY = {
    "task_id": ("task", "tasks"),
    "session_label": ("session", "sessions"),
    "run_id": ("run index", "run indices"),
}
# What is said of a dataset whose runs lack a step of cleaning that all others have.
_NOT_DONE = {
    "dummies": "No volumes were dropped as dummy scans.",
    "scrubbed": "There was no scrubbing.",
    "excluded": "No run was excluded for its motion or length.",
    "aroma": "Images denoised by ICA-AROMA were not used.",
}


def table_of_datasets(
    folder: Results, one: WrittenDecomposition, links: Mapping[str, str]
) -> dict[str, object] | None:
    """Return the table of components by datasets.

    Parameters
    ----------
    folder : Results
    one : WrittenDecomposition
    links : mapping
        Name of a component to what it links to.

    Returns
    -------
    dict or None
        As `payload.table` makes it; None where there is a single dataset.
    """
    rows = [
        row
        for row in folder.datasets
        if (row.get("method"), row.get("scale")) == (one.method, str(one.scale))
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(row.get("dataset", "") for row in rows))
    columns = {"component": "component", "flags": "flags"}
    columns |= {f"share {name}": f"share of {name}" for name in names}
    columns |= {f"without {name}": f"|r| without {name}" for name in names}
    flags = {row["component"]: row.get("flags", "") for row in one.metrics}
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        component, name = row.get("component", ""), row.get("dataset", "")
        of_component = cells.setdefault(
            component, {"component": component, "flags": flags.get(component, "")}
        )
        of_component[f"share {name}"] = row.get("share", "")
        of_component[f"without {name}"] = row.get("r_without", "")
    return table(columns, list(cells.values()), links)


# ---------------------------------------------------------------- methods
def about_datasets(folder: Results) -> str:
    """Return the paragraph about several datasets; empty where there is one.

    Parameters
    ----------
    folder : Results

    Returns
    -------
    str
    """
    people: dict[str, set[str]] = {}
    n_runs: Counter[str] = Counter()
    for row in folder.runs:
        if row.get("status") == "used" and row.get("dataset"):
            people.setdefault(row["dataset"], set()).add(row.get("run", "").partition("_")[0])
            n_runs[row["dataset"]] += 1
    if not people:
        return ""
    parts = [
        f"{name} ({numbered(len(labels), 'participant')}, {numbered(n_runs[name], 'run')})"
        for name, labels in sorted(people.items())
    ]
    number = "a single dataset" if len(parts) == 1 else f"{len(parts)} datasets"
    return paragraph(
        [
            f"The runs are from {number}: {listed(parts)}.",
            _left_out(folder),
        ]
    )


def about_own_options(folder: Results, science: Science) -> list[str]:
    """Return a paragraph for each dataset that was selected or cleaned by other options.

    Parameters
    ----------
    folder : Results
    science : Science
        What holds for all others.

    Returns
    -------
    list of str
    """
    used = {row.get("dataset") for row in folder.runs if row.get("status") == "used"}
    features = features_of(folder.decompositions)
    paragraphs = []
    for name, own in sorted(folder.own_science.items()):
        sentences = _differences(own, science, features)
        if name in used and sentences:
            paragraphs.append(
                f"Dataset {name} differs from what is said above in the following. "
                + paragraph(sentences)
            )
    return paragraphs


def _differences(own: Science, shared: Science, features: Features) -> list[str]:
    """Return what is to be said of a dataset's runs that is not true of all others."""
    selection, others = own.selection, shared.selection
    sentences = [
        f"The runs were those of the {verb(len(labels), one, several)} {listed(labels)}."
        if (labels := getattr(selection, option))
        else f"The runs of all {several} were used."
        for option, (one, several) in _SELECTED_BY.items()
        if getattr(selection, option) != getattr(others, option)
    ]
    if selection.bids_filter_file != others.bids_filter_file:
        sentences.append("Files were selected by entities of their own (bids_filter_file).")
    if (images := images_sentence(selection)) != images_sentence(others):
        sentences.append(images)
    cleaned = asdict(cleaning_sentences(own.denoising, features))
    of_others = asdict(cleaning_sentences(shared.denoising, features))
    sentences += [
        sentence or _NOT_DONE[step]
        for step, sentence in cleaned.items()
        if sentence != of_others[step]
    ]
    return sentences


def _left_out(folder: Results) -> str:
    if not any(row.get("r_without") for row in folder.datasets):
        return ""
    return (
        "To see which components depend on a single dataset, the group was also fitted without "
        "each dataset in turn, and the maps were matched one to one with those of all datasets. "
        f"A component was flagged where its match without a dataset had |r| below "
        f"{WITHOUT_DATASET_LIMIT:g} and this dataset had more than "
        f"{per_cent(DATASET_SHARE_LIMIT)} of what the component explains."
    )
