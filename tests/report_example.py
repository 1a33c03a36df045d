"""An output folder with one decomposition of two components, and what the report says of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from nidecomp.outputs.report.drawing import Drawn
from nidecomp.outputs.report.page import render
from nidecomp.outputs.report.results import read_results

METRICS = (
    "component", "label", "label_r", "reproducibility", "reproducibility_chance", "flags",
    "flag_reasons", "peak_x",
)  # fmt: skip


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_tsv(path: Path, header: tuple[str, ...], *rows: tuple[str, ...]) -> None:
    write(path, "\n".join("\t".join(row) for row in (header, *rows)) + "\n")


def make(root: Path, name: str = "Study", label: str = "Auditory", **described: object) -> Path:
    """An output folder with one decomposition of two components, without images."""
    func = root / "tpl-MNI152NLin2009cAsym" / "func"
    stem = "tpl-MNI152NLin2009cAsym_task-rest_atlas-A_seg-canica_scale-2"
    write(root / "dataset_description.json", json.dumps({"Name": name}))
    content = {
        "Method": "canica",
        "NumberOfComponents": 2,
        "NumberOfRuns": 4,
        "NumberOfParticipants": 3,
        "NumberOfVoxels": 100,
        "SmoothingFWHM": 6.0,
        "ExplainedVariance": 0.5,
        "Fit": {"Converged": True},
        "Evidence": {"Splits": 5, "Trace": 0.61, "SubspaceOverlap": 0.5},
        "Settings": {"denoising": {"denoise_strategy": "simple"}, "decomposition": {"n_init": 7}},
        "SoftwareVersions": {"nidecomp": "9.9", "nilearn": "0.14", "numpy": "2"},
        **described,
    }
    write(func / f"{stem}_decomposition.json", json.dumps(content))
    write(func / f"{stem}_res-2_components.nii.gz", "")
    names = {"ComponentNames": ["canica01", "canica02"]}
    write(func / f"{stem}_res-2_components.json", json.dumps(names))
    write_tsv(
        func / f"{stem}_metrics.tsv",
        METRICS,
        ("canica01", label, "0.81234", "0.9", "0.1", "n/a", "n/a", "10"),
        ("canica02", "n/a", "0.1", "0.05", "0.1", "motion", "It correlates.", "n/a"),
    )
    write_tsv(
        root / "logs" / "inventory.tsv",
        ("run", "status", "reason"),
        ("sub-01_task-rest", "used", "n/a"),
        ("sub-02_task-rest", "refused", f"it is {label}"),
    )
    write_tsv(root / "participants.tsv", ("participant_id", "outlier"), ("sub-01", "n/a"))
    for table in ("quality", "stability", "matching"):
        write_tsv(root / "logs" / f"{table}.tsv", ("method",))
    write_tsv(
        root / "logs" / "quality_components.tsv",
        ("run", "method", "scale", "component", "map_r", "amplitude"),
        ("sub-01_task-rest", "canica", "2", "canica01", "0.5", "1.5"),
        ("sub-03_task-rest", "canica", "2", "canica01", "n/a", "2.5"),
    )
    write(root / "logs" / "settings.toml", "# settings\n")
    return root


def page_of(root: Path, drawn: Drawn | None = None) -> str:
    return render(read_results(root), drawn)


def data_of(page: str, name: str = "data") -> Any:
    """What the page's scripts read."""
    found = re.search(f'id="ui-{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def components_of(page: str) -> list[dict[str, Any]]:
    return [one for each in data_of(page)["decompositions"] for one in each["components"]]
