"""The evidence by dataset: what each contributes, and which maps are found without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import FIXTURES, made_once, nidecomp

from recomputed.groups import (
    N_COMPONENTS,
    Run,
    canica,
    dictlearning,
    maps_of,
    matches,
    over_participants,
    r_of_each,
    runs_of,
)
from recomputed.published import Published, agree, numbers, recomputes
from recomputed.test_evidence import METHODS, METRICS, unique

DATASETS = "logs/datasets.tsv"
# The demo's participants with one run each, as if they were of two datasets.
PEOPLE = {"": ("01", "02", "04"), "B": ("05", "07", "08")}


def link(source: Path, target: Path, label: str, named: str) -> None:
    """Link a participant's files to another folder, under another label."""
    for path in (source / f"sub-{label}" / "func").iterdir():
        linked = (
            target / f"sub-{named}" / "func" / path.name.replace(f"sub-{label}", f"sub-{named}")
        )
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.symlink_to(path)


@pytest.fixture(scope="session")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Results of two datasets; `dataset` has the files under the names that outputs have."""
    folder, source = tmp_path_factory.mktemp("of_two"), FIXTURES / "rest"
    for dataset, labels in PEOPLE.items():
        root = folder / f"data{dataset}"
        for label in labels:
            link(source, root, label, label)
            link(source, folder / "named", label, dataset + label)
        (root / "dataset_description.json").symlink_to(source / "dataset_description.json")

    def make(output: Path) -> None:
        done = nidecomp(
            folder / "data", output, "group", "--datasets", f"B={folder / 'dataB'}",
            "--n-components", N_COMPONENTS, "--n-splits", 0, "--connectomes", "none",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr

    return Published(folder / "named", made_once(tmp_path_factory, "two_datasets", make))


def others(runs: tuple[Run, ...], dataset: str) -> list[str]:
    own = {f"sub-{dataset}{label}" for label in PEOPLE[dataset]}
    return sorted({run.participant for run in runs} - own)


@pytest.mark.parametrize("method", METHODS)
@recomputes(DATASETS, "participants", "explained_variance", "share", "r_without")
@recomputes(METRICS, "reproducibility_other_datasets")
def test_evidence_by_dataset_is_that_of_its_participants_and_of_a_fit_without_it(
    of_two: Published, method: str
) -> None:
    runs, maps = runs_of(of_two, "fitted"), maps_of(of_two, method)
    rows = [row for row in of_two.table(DATASETS) if row["method"] == method]
    explained, without = [], []
    for dataset, labels in PEOPLE.items():
        published = [row for row in rows if row["dataset"] == (dataset or "preprocessed")]
        assert {row["participants"] for row in published} == {str(len(labels))}
        own = [run for run in runs if run.participant not in others(runs, dataset)]
        explained.append(over_participants([unique(maps, run) for run in own], own).mean(axis=0))
        agree(
            f"datasets: explained_variance, {method}",
            numbers(published, "explained_variance"),
            explained[-1],
            1e-5,
        )
        people = others(runs, dataset)
        left = canica(runs, people) if method == "canica" else dictlearning(of_two, runs, people)
        without.append(r_of_each(maps, left[matches(maps, left)]))
        agree(f"datasets: r_without, {method}", numbers(published, "r_without"), without[-1], 1e-5)
    shares = np.array(explained) / np.sum(explained, axis=0)
    agree(f"datasets: share, {method}", numbers(rows, "share"), shares.T.ravel(), 1e-5)
    metrics = of_two.table(f"tpl-*/func/*_seg-{method}_{METRICS}")
    # As there are no halves, no map is at chance.
    is_flagged = ((np.array(without) < 0.3) & (shares > 0.6)).any(axis=0)
    assert ["single-dataset" in row["flags"] for row in metrics] == is_flagged.tolist()
    agree(
        f"metrics: reproducibility_other_datasets, {method}",
        numbers(metrics, "reproducibility_other_datasets"),
        np.min(without, axis=0),
        1e-5,
    )
