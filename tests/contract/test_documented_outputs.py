"""The page of output files names every file that there can be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "outputs.md"
# What the page abbreviates, as a regular expression; any other <word> is a label.
ABBREVIATIONS = {
    "[ses-*/]": "(ses-[^/]+/)?",
    "[non]": "(non)?",
    "_res-<r>": "(_res-[^_]+)?",
    "_D": "_atlas-[^_]+_seg-[^_]+_scale-[0-9]+",
    "<run>": "sub-[^/]+",
    "*": "[^/]*",
}
_OF_GROUP = "tpl-MNI/func/tpl-MNI_task-rest_atlas-A_seg-canica_scale-20"
LABEL = "[0-9A-Za-z+]+"
SHORT = re.compile(r"(\[ses-\*/\]|\[non\]|_res-<r>|_D(?=_)|(?<=-)T(?=[_/])|<[^>]+>|\*)")


def pattern(name: str) -> re.Pattern[str]:
    """Turn a name as the page has it into a regular expression."""
    whole = name.replace("…", "tpl-T/func/tpl-T_task-<task>")
    if whole.startswith("<run>"):
        whole = "sub-*/[ses-*/]func/" + whole
    # Every second part is an abbreviation.
    parts = [
        ABBREVIATIONS.get(part, LABEL) if index % 2 else re.escape(part)
        for index, part in enumerate(SHORT.split(whole))
    ]
    return re.compile("".join(parts) + (".*" if name.endswith("/") else ""))


def documented() -> list[re.Pattern[str]]:
    """Read the first cells of the table; an extension alone stands for the name before it."""
    names: list[str] = []
    for row in re.findall(r"^\| (`.+?) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", row.replace("\\|", "|")):
            is_extension = name in {".tsv", ".json"}
            names.append(names[-1].removesuffix(".nii.gz") + name if is_extension else name)
    return [pattern(name) for name in names]


def files_of(folder: Path) -> set[str]:
    """List all files but JSON beside a data file."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    data = {name.removesuffix(".nii.gz").removesuffix(".tsv") for name in names}
    return {
        name
        for name in names
        if not (name.endswith(".json") and name.removesuffix(".json") in data)
    }


def test_every_file_of_the_demo_stands_in_the_page(rest_output: Path) -> None:
    patterns = documented()
    unknown = [
        name
        for name in sorted(files_of(rest_output))
        if not any(known.fullmatch(name) for known in patterns)
    ]
    assert unknown == []


@pytest.mark.parametrize(
    "name",
    [
        "sub-01/ses-1/func/sub-01_ses-1_task-rest_space-MNI_res-2_desc-canica20nonaggr_bold.nii.gz",
        "sub-01/func/sub-01_task-rest_space-MNI_atlas-A_seg-canica_scale-20_timeseries.tsv",
        "tpl-MNI/func/tpl-MNI_task-rest_atlas-A_seg-canica_scale-20_dseg.tsv",
        "figures/seg-canica_scale-20_canica01.png",
        f"{_OF_GROUP}_res-2_contrast-patientsMinusControls_stat-t_statmap.nii.gz",
        f"{_OF_GROUP}_contrast-age_stat-logp_desc-tfceall_statmap.nii.gz",
        f"{_OF_GROUP}_contrast-age_clusters.tsv",
        *("comparisons.tsv", "comparisons_edges.tsv", "amplitudes.tsv", "design.tsv"),
    ],
)
def test_a_name_is_read_as_it_is_meant(name: str) -> None:
    assert any(known.fullmatch(name) for known in documented())


def test_a_name_that_is_not_there_is_noticed() -> None:
    assert not any(known.fullmatch("logs/new.tsv") for known in documented())
