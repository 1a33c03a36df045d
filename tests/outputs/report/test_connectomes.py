"""Components that go together stand side by side; matrices that are not there cost nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from report_example import data_of, make, page_of, write

from nidecomp.outputs.report.connectomes import order_of, read_connectome
from nidecomp.outputs.report.drawing import Drawn
from nidecomp.outputs.report.page import render
from nidecomp.outputs.report.results import read_results

STEM = "tpl-MNI152NLin2009cAsym_task-rest_atlas-A_seg-canica_scale-2_stat"


def write_relmat(root: Path, stat: str, matrix: NDArray[np.float64]) -> None:
    names = [f"canica{index + 1:02d}" for index in range(len(matrix))]
    rows = [
        "\t".join([name, *(f"{value:.4g}" for value in row)])
        for name, row in zip(names, matrix, strict=True)
    ]
    folder = root / "tpl-MNI152NLin2009cAsym" / "func"
    write(folder / f"{STEM}-{stat}_relmat.tsv", "\n".join(["\t".join(["Node", *names]), *rows]))


def test_groups_that_were_mixed_stand_together_again() -> None:
    rng = np.random.default_rng(3)
    groups = rng.permutation(np.repeat(np.arange(4), 5))
    courses = rng.standard_normal((4, 200))[groups] + rng.standard_normal((20, 200))
    order = order_of(np.corrcoef(courses))
    assert sorted(order) == list(range(20))
    assert np.count_nonzero(np.diff(groups[list(order)])) == 3


def test_neighbours_correlate_more_than_in_the_order_of_the_files() -> None:
    rng = np.random.default_rng(4)
    r = np.corrcoef(rng.standard_normal((30, 12)))
    order = list(order_of(r))
    assert r[order[:-1], order[1:]].sum() > np.diag(r, 1).sum()
    assert order[0] < order[-1]
    reverse = order_of(r[::-1, ::-1])
    assert tuple(order) in {tuple(29 - one for one in each) for each in (reverse, reverse[::-1])}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_components_and_unknown_values_are_ordered(n: int) -> None:
    assert sorted(order_of(np.full((n, n), np.nan))) == list(range(n))


def test_the_page_has_both_matrices_in_hundredths_and_one_order(tmp_path: Path) -> None:
    root = make(tmp_path)
    write_relmat(root, "pearsoncorrelation", np.array([[1, 0.256], [0.256, 1]]))
    write_relmat(root, "partialcorrelation", np.array([[1, -0.1], [-0.1, 1]]))
    folder = read_results(root)
    (one,) = folder.decompositions
    found = read_connectome(one)
    assert found is not None
    page = render(folder, Drawn(connectomes={one.key: found}))
    (shown,) = data_of(page)["decompositions"]
    assert shown["connectome"] == {
        "kinds": [
            {"words": "correlation", "r": [[100, 26], [26, 100]]},
            {"words": "partial correlation", "r": [[100, -10], [-10, 100]]},
        ],
        "order": [0, 1],
    }
    assert 'data-connectome="seg-canica_scale-2"' in page


def test_partial_correlations_alone_are_shown(tmp_path: Path) -> None:
    root = make(tmp_path)
    write_relmat(root, "partialcorrelation", np.eye(2))
    found = read_connectome(read_results(root).decompositions[0])
    assert found is not None
    assert found.words == "partial correlation"


@pytest.mark.parametrize("size", [0, 3])
def test_without_matrices_of_these_components_there_is_no_connectome(
    tmp_path: Path, size: int
) -> None:
    """None was wanted, or the tangent space alone; or the table is that of other components."""
    root = make(tmp_path)
    write_relmat(root, "tangent", np.eye(2))
    if size:
        write_relmat(root, "pearsoncorrelation", np.eye(size))
    assert read_connectome(read_results(root).decompositions[0]) is None
    page = page_of(root)
    assert data_of(page)["decompositions"][0]["connectome"] is None
    assert "data-connectome=" not in page
