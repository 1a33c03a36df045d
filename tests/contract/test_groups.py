"""The demo of two groups: the planted difference is found in its network, and in no other one."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import groups
import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from support import FIXTURES, group_file, nidecomp

LARGER = "larger in patients than in controls"
WORDS = ("--n-components", "10", "--methods", "canica", "--n-init", "2", "--n-splits", "2")
MODEL = ("--model", "group + age", "--test", "group")
FEW = ("--n-permutations", "500", "--n-tfce-permutations", "200")

Row = Mapping[str, str]


@dataclass(frozen=True)
class Compared:
    """The output folder, its table, and the name of the component that differs between groups."""

    output: Path
    rows: list[Row]
    component: str

    def image(self, kind: str) -> Any:
        """Return the maps of a kind of the component that differs."""
        (path,) = self.output.glob(f"tpl-*/func/*_contrast-group_stat-{kind}_statmap.nii.gz")
        names = [row["component"] for row in self.rows if row["compared"] == "1"]
        return nib.load(path).slicer[..., names.index(self.component)]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """Compare patients and controls, once."""
    output = tmp_path_factory.mktemp("groups") / "networks"
    done = nidecomp(FIXTURES / "groups", output, "group", *WORDS, *MODEL, *FEW, report=True)
    assert done.exit_code == 0, done.stderr
    names, networks, _ = groups.planted_difference()
    planted = networks.get_fdata()[..., names.index(groups.CHANGED)].ravel()
    maps = nib.load(group_file(output, "canica", "components", ".nii.gz")).get_fdata()
    similar = np.corrcoef(planted, maps.reshape(-1, maps.shape[3]).T)[0, 1:]
    assert similar.max() > 0.8
    rows = table(output / "comparisons.tsv")
    return Compared(output, rows, f"canica{similar.argmax() + 1:02d}")


def table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_planted_network_differs_and_no_other_one(compared: Compared) -> None:
    p = {row["component"]: float(row["map_p_tfce_all"]) for row in compared.rows}
    assert len(p) == 10
    assert p.pop(compared.component) <= 0.01
    assert min(p.values()) > 0.1


def test_it_differs_in_the_planted_direction(compared: Compared) -> None:
    (row,) = (row for row in compared.rows if row["component"] == compared.component)
    assert (row["label"], row["map_direction"]) == (groups.CHANGED, LARGER)
    assert float(row["map_peak"]) > 8


def test_what_is_found_of_it_is_where_patients_have_more(compared: Compared) -> None:
    log_p = compared.image("logp_desc-tfceall")
    found = log_p.get_fdata() > -np.log10(0.05)
    part = groups.new_part()
    assert found[part > 0.6].mean() > 0.7
    assert part[found].min() > 0.02
    (clusters,) = compared.output.glob("tpl-*/func/*_contrast-group_clusters.tsv")
    peaks = np.array([[float(row[axis]) for axis in "xyz"] for row in table(clusters)])
    assert {row["component"] for row in table(clusters)} == {compared.component}
    distances_mm = [
        np.linalg.norm(peaks - np.array(centre), axis=1) for centre in groups.HIPPOCAMPI_MM
    ]
    assert np.max(np.min(distances_mm, axis=1)) < 15
    assert np.allclose(
        apply_affine(log_p.affine, np.argwhere(found)).mean(0), (0, -20, -16), atol=8
    )


def test_everybody_is_in_the_model(compared: Compared) -> None:
    rows = table(compared.output / "design.tsv")
    ages = {row["participant_id"]: row for row in table(FIXTURES / "groups" / "participants.tsv")}
    assert [row["participant_id"] for row in rows] == sorted(ages)
    for row in rows:
        assert row["group"] == ages[row["participant_id"]]["group"]
        assert float(row["age"]) == float(ages[row["participant_id"]]["age"])


def test_the_report_says_it_in_a_sentence(compared: Compared) -> None:
    page = (compared.output / "report.html").read_text(encoding="utf-8")
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    found = re.findall(rf"(canica\d\d) \(\w[^)]*\)(?:, maps)?: {LARGER}, p [=<] 0", text)
    assert set(found) == {compared.component}
