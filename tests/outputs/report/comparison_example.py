"""A comparison of participants, as its files stand in an output folder, made up from nothing.

The components of the folder are compared in `N_PEOPLE` participants who are not in it: patients
have more of one component in its map and in its amplitude, one edge is weaker in them, and nothing
goes with age. Statistics of amplitudes and edges are computed; the others are made up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import stats

from nidecomp.config.comparison import ComparisonOptions
from nidecomp.core.tsv import table_text
from nidecomp.outputs.report.results import WrittenDecomposition, read_decompositions

N_PEOPLE = 26
# The component that patients have more of.
PLANTED = 1
LEFT_OUT = (("sub-27", "participants.tsv has no age"), ("sub-28", "no run could be used"))
NOTES = ("The reference of group is controls: it comes first in the alphabet.",)


@dataclass(frozen=True, eq=False)
class Example:
    """What is compared, and how.

    `names` are those of components, where they are not those of the folder.
    """

    formula: str = "group + age + mean_fd"
    within: str = ""
    blocks: str = ""
    measures: tuple[str, ...] = ("maps", "amplitudes", "connectomes")
    names: tuple[str, ...] = ()
    n_permutations: int = 5000
    n_tfce: int = 500
    is_exhaustive: bool = False
    has_clusters: bool = False
    has_networks: bool = False
    has_effect: bool = True
    three_groups: bool = False
    tests: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = LEFT_OUT

    @property
    def inference(self) -> str:
        return "tfce" if self.n_tfce else "voxel"


def of_options(options: ComparisonOptions, names: tuple[str, ...]) -> Example:
    """What is compared with some options, as far as the text about methods depends on them."""
    return Example(
        formula=options.model or "1",
        within=options.within or "",
        blocks=options.blocks or "",
        measures=options.compare,
        names=names,
        n_permutations=options.n_permutations,
        n_tfce=options.n_tfce_permutations,
        has_clusters=options.cluster_threshold is not None,
        has_networks=options.nbs_threshold is not None,
        tests=options.test,
    )


def add_comparison(root: Path, example: Example | None = None) -> Path:
    """Add the files of a comparison to a finished output folder."""
    example = example or Example()
    decompositions = read_decompositions(root, [])
    design = _design(example)
    _write_design(root, example, design)
    rng = np.random.default_rng(3)
    rows: list[dict[str, object]] = []
    edges: list[dict[str, object]] = []
    amplitudes: list[dict[str, object]] = []
    for one in decompositions:
        compared = [row["component"] for row in one.metrics if not row.get("flags")]
        compared = list(example.names) or compared
        label = f"{one.method}{one.scale}"
        values = rng.normal(size=(N_PEOPLE, len(compared))) + (0 if example.within else 3)
        if example.has_effect and len(compared) > PLANTED:
            values[:, PLANTED] += 2.2 * design.is_patient + 0.05 * (design.age - 40)
        for place, name in enumerate(compared):
            amplitudes += [
                {"participant_id": person, "decomposition": label, "component": name,
                 "amplitude": round(float(value), 5)}
                for person, value in zip(design.people, values[:, place], strict=True)
            ]  # fmt: skip
        for test, weights in design.tests.items():
            if example.tests and test not in example.tests:
                continue
            planted = PLANTED if example.has_effect and test != "age" else None
            rows += _rows(one, label, compared, values, design, test, weights, planted, example)
            if "connectomes" in example.measures:
                edges += _edges(rng, label, compared, design, test, weights, planted, example)
            if "maps" in example.measures and one.maps is not None and one.maps.stat().st_size:
                _write_maps(rng, one, compared, test, weights, planted, example)
    _table(root / "comparisons.tsv", rows)
    if edges:
        _table(root / "comparisons_edges.tsv", edges)
    if "amplitudes" in example.measures:
        _table(root / "amplitudes.tsv", amplitudes)
    return root


@dataclass(frozen=True, eq=False)
class _Design:
    people: list[str]
    is_patient: np.ndarray
    age: np.ndarray
    groups: list[str]
    columns: list[str]
    matrix: np.ndarray
    tests: Mapping[str, list[list[float]]]


def _design(example: Example) -> _Design:
    rng = np.random.default_rng(1)
    people = [f"sub-{index + 1:02d}" for index in range(N_PEOPLE)]
    is_patient = np.arange(N_PEOPLE) % 2 == 1
    age = np.round(rng.uniform(20, 70, N_PEOPLE))
    mean_fd = rng.gamma(4, 0.04, N_PEOPLE)
    groups = np.where(is_patient, "patients", "controls").tolist()
    dummies = {"group[T.patients]": is_patient.astype(float)}
    tests: dict[str, list[list[float]]] = {"group": [[0, 1, 0, 0]], "age": [[0, 0, 1, 0]]}
    if example.three_groups:
        groups = [("controls", "patients", "siblings")[index % 3] for index in range(N_PEOPLE)]
        is_patient = np.array([one == "patients" for one in groups])
        dummies = {
            f"group[T.{level}]": np.array([one == level for one in groups], dtype=float)
            for level in ("patients", "siblings")
        }
        tests = {
            "group": [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]],
            "patientsMinusSiblings": [[0, 1, -1, 0, 0]],
        }
    columns = {"Intercept": np.ones(N_PEOPLE), **dummies, "age": age, "mean_fd": mean_fd}
    matrix = np.stack(list(columns.values()), axis=1)
    if example.within:
        tests = {"mean": [matrix.mean(axis=0).tolist()]}
    return _Design(people, is_patient, age, groups, list(columns), matrix, tests)


_WORDS = {
    "group": ("group", "larger in patients", "smaller in patients", "group"),
    "age": ("age", "increases with age", "decreases with age", "age"),
    "mean": (
        "mean", "larger in ses-post than in ses-pre", "smaller in ses-post than in ses-pre", "",
    ),
    "patientsMinusSiblings": (
        "patients - siblings", "larger in patients than in siblings",
        "smaller in patients than in siblings", "group",
    ),
}  # fmt: skip


def _write_design(root: Path, example: Example, design: _Design) -> None:
    contrasts: dict[str, Any] = {}
    for name, weights in design.tests.items():
        if example.tests and name not in example.tests:
            continue
        text, positive, negative, variable = _WORDS[name]
        is_f = len(weights) > 1
        contrasts[name] = {
            "Test": text,
            "Weights": weights,
            "Statistic": "F" if is_f else "t",
            "Positive": "" if is_f else positive,
            "Negative": "" if is_f else negative,
            "Variable": variable,
        }
    described = {
        "Description": "The model that participants are compared in.",
        "Formula": example.formula,
        "MatrixColumns": design.columns,
        "Contrasts": contrasts,
        "Permutations": {
            "Kind": "sign flips" if example.within else "permutations",
            "Number": example.n_permutations,
            "NumberTFCE": example.n_tfce,
            "AllPossible": example.is_exhaustive,
            "Seed": 0,
        },
        "Compared": list(example.measures),
        "Within": example.within or None,
        "Blocks": example.blocks or None,
        "LeftOut": [{"participant_id": one, "reason": reason} for one, reason in example.left_out],
        "Notes": list(NOTES),
    }
    (root / "design.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
    sites = [f"site{index % 4}" for index in range(N_PEOPLE)]
    head = ["participant_id", *design.columns, *(["block"] if example.blocks else []), "group"]
    lines = ["\t".join(head)]
    for index, person in enumerate(design.people):
        numbers = [f"{value:.8g}" for value in design.matrix[index]]
        block = [sites[index]] if example.blocks else []
        lines.append("\t".join([person, *numbers, *block, design.groups[index]]))
    (root / "design.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _statistic(
    values: np.ndarray, design: _Design, weights: Sequence[Sequence[float]]
) -> tuple[np.ndarray, int]:
    """t or F of each column."""
    x, c = design.matrix, np.array(weights)
    beta = np.linalg.lstsq(x, values, rcond=None)[0]
    dof = len(x) - x.shape[1]
    variance = ((values - x @ beta) ** 2).sum(axis=0) / dof
    effect = c @ beta
    spread = c @ np.linalg.inv(x.T @ x) @ c.T
    if len(c) == 1:
        return effect[0] / np.sqrt(variance * spread[0, 0]), dof
    f = np.einsum("iv,ij,jv->v", effect, np.linalg.inv(spread), effect) / len(c) / variance
    return f, dof


def _p(statistic: np.ndarray, dof: int, n_rows: int) -> np.ndarray:
    if n_rows > 1:
        return stats.f.sf(statistic, n_rows, dof)
    return 2 * stats.t.sf(np.abs(statistic), dof)


def _sizes(prefix: str, statistic: float, dof: int, n_rows: int) -> dict[str, object]:
    if n_rows > 1:
        size = n_rows * statistic / (n_rows * statistic + dof)
        return {f"{prefix}effect_size": size, f"{prefix}effect_size_low": None,
                f"{prefix}effect_size_high": None}  # fmt: skip
    size = statistic / np.sqrt(statistic**2 + dof)
    low, high = np.tanh(np.arctanh(size) + np.array([-1.96, 1.96]) / np.sqrt(dof - 1))
    return {f"{prefix}effect_size": size, f"{prefix}effect_size_low": low,
            f"{prefix}effect_size_high": high}  # fmt: skip


def _direction(statistic: float, test: str, n_rows: int) -> str | None:
    return None if n_rows > 1 else _WORDS[test][1 if statistic > 0 else 2]


def _rows(
    one: WrittenDecomposition,
    label: str,
    compared: Sequence[str],
    values: np.ndarray,
    design: _Design,
    test: str,
    weights: list[list[float]],
    planted: int | None,
    example: Example,
) -> list[dict[str, object]]:
    statistic, dof = _statistic(values, design, weights)
    p = _p(statistic, dof, len(weights))
    p_all = np.minimum(1, p * len(compared) * len(design.tests))
    found = []
    for row in one.metrics if not example.names else [{"component": name} for name in compared]:
        name = row["component"]
        is_compared = name in compared
        written: dict[str, object] = {
            "decomposition": label, "component": name, "label": row.get("label") or None,
            "compared": int(is_compared), "contrast": test, "test": _WORDS[test][0],
            "n": N_PEOPLE, "statistic": "F" if len(weights) > 1 else "t", "dof": dof,
        }  # fmt: skip
        place = compared.index(name) if is_compared else 0
        maps = _map_columns(place, planted, dof, test, len(weights), example)
        own: dict[str, object] = {}
        if "amplitudes" in example.measures:
            size = float(statistic[place])
            own = {
                "amplitude_statistic": size, "amplitude_p": p[place],
                "amplitude_p_all": p_all[place],
                **_sizes("amplitude_", size, dof, len(weights)),
                "amplitude_direction": _direction(size, test, len(weights)),
            }  # fmt: skip
        both = {**maps, **own}
        found.append(written | (both if is_compared else dict.fromkeys(both)))
    return found


def _map_columns(
    place: int, planted: int | None, dof: int, test: str, n_rows: int, example: Example
) -> dict[str, object]:
    if "maps" not in example.measures:
        return {}
    is_planted = place == planted
    peak = 6.1 if is_planted else -3.2 - place / 50
    peak = peak**2 / 2 if n_rows > 1 else peak
    p, p_all = (0.0011, 0.0124) if is_planted else (0.31 + place / 50, 0.87)
    columns: dict[str, object] = {"map_peak": peak, "map_x": -4, "map_y": 22, "map_z": 30}
    for kind in ("tfce", "voxel"):
        if kind == "voxel" or example.inference == "tfce":
            columns |= {f"map_p_{kind}": p, f"map_p_{kind}_all": p_all}
    if example.has_clusters:
        columns |= {"map_p_cluster": p, "map_p_cluster_all": p_all}
    return columns | {
        "n_features_found": 40 if is_planted else 0,
        **_sizes("map_", peak, dof, n_rows),
        "map_direction": _direction(peak, test, n_rows),
    }


def _edges(
    rng: np.random.Generator,
    label: str,
    compared: Sequence[str],
    design: _Design,
    test: str,
    weights: list[list[float]],
    planted: int | None,
    example: Example,
) -> list[dict[str, object]]:
    first, second = np.triu_indices(len(compared), 1)
    found = []
    for kind in ("correlation", "partial"):
        values = rng.normal(size=(N_PEOPLE, len(first)))
        if planted is not None and len(first) and kind == "correlation":
            values[:, -1] -= 2.4 * design.is_patient
        statistic, dof = _statistic(values, design, weights)
        p = _p(statistic, dof, len(weights))
        p_all = np.minimum(1, p * len(first) * len(design.tests))
        for place, (one, other) in enumerate(zip(first, second, strict=True)):
            size = float(statistic[place])
            found.append(
                {
                    "decomposition": label, "contrast": test, "kind": kind,
                    "component_1": compared[one], "component_2": compared[other],
                    "statistic": size, "dof": dof, "p": p[place], "p_all": p_all[place],
                    **_sizes("", size, dof, len(weights)),
                    "direction": _direction(size, test, len(weights)),
                }
            )  # fmt: skip
            if example.has_networks:
                found[-1]["network_p"] = 0.03 if p[place] < 0.01 else None
    return found


def _write_maps(
    rng: np.random.Generator,
    one: WrittenDecomposition,
    compared: Sequence[str],
    test: str,
    weights: list[list[float]],
    planted: int | None,
    example: Example,
) -> None:
    """Statistics and p values on the grid of the components, with a blob where one is planted."""
    assert one.maps is not None
    maps = _read(one.maps)
    inside = (maps != 0).any(axis=0)
    statistic = np.where(inside, rng.normal(size=(len(compared), maps.shape[1])), 0)
    logp = np.where(inside, 0.05, 0) * np.ones((len(compared), 1))
    if planted is not None:
        own = maps[one.names.index(compared[planted])]
        strong = own > np.quantile(own[inside], 0.93)
        statistic[planted] = np.where(inside, 0.5 * statistic[planted] + 3 * own / own.std(), 0)
        logp[planted, strong] = 1.9
    if len(weights) > 1:
        statistic = np.abs(statistic)
    stat = "F" if len(weights) > 1 else "t"
    for entities, values in (
        (f"contrast-{test}_stat-{stat}", statistic),
        (f"contrast-{test}_stat-logp_desc-{example.inference}all", logp),
    ):
        path = one.maps.with_name(one.maps.name.replace("_components", f"_{entities}_statmap"))
        _write_like(one.maps, path, values.astype(np.float32))
        name = path.name.partition(".")[0]
        sidecar = path.with_name(f"{name.replace('_hemi-L', '', 1)}.json")
        sidecar.write_text(json.dumps({"ComponentNames": list(compared)}), encoding="utf-8")
    found = [] if planted is None else [compared[planted]]
    rows = [
        {"component": name, "cluster": 1 + index, "x": -4, "y": 22 - 40 * index, "z": 30,
         "value": 6.1 - index, "p_all": 0.0124, "direction": _direction(1, test, len(weights)),
         "label": ("Salience", None)[index], "volume_mm3": 20480 - 10240 * index}
        for name in found for index in range(2)
    ]  # fmt: skip
    _table(one.stem.with_name(f"{one.stem.name}_contrast-{test}_clusters.tsv"), rows, _CLUSTERS)


_CLUSTERS = (
    "component", "cluster", "x", "y", "z", "value", "p_all", "direction", "label", "volume_mm3",
)  # fmt: skip


def _read(path: Path) -> np.ndarray:
    """The maps of a file, one a row."""
    if path.name.endswith(".func.gii"):
        sides = [nib.load(path.with_name(path.name.replace("hemi-L", f"hemi-{hemi}")))
                 for hemi in "LR"]  # fmt: skip
        return np.concatenate([np.stack([one.data for one in each.darrays]) for each in sides], 1)
    values = np.asarray(nib.load(path).dataobj)
    return values if path.name.endswith(".dscalar.nii") else values.reshape(-1, values.shape[3]).T


def _write_like(path: Path, to: Path, values: np.ndarray) -> None:
    """Write maps as those of a file lie."""
    if path.name.endswith(".func.gii"):
        for hemi, half in zip("LR", np.split(values, 2, axis=1), strict=True):
            arrays = [nib.gifti.GiftiDataArray(one, datatype="NIFTI_TYPE_FLOAT32") for one in half]
            name = to.name.replace("hemi-L", f"hemi-{hemi}")
            nib.save(nib.gifti.GiftiImage(darrays=arrays), to.with_name(name))
        return
    image = nib.load(path)
    if path.name.endswith(".dscalar.nii"):
        axis = nib.cifti2.ScalarAxis([f"map {index}" for index in range(len(values))])
        nib.save(nib.Cifti2Image(values, (axis, image.header.get_axis(1))), to)
        return
    nib.save(nib.Nifti1Image(values.T.reshape(*image.shape[:3], -1), image.affine), to)


def _table(path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> None:
    path.write_text(table_text(columns or list(rows[0]), rows), encoding="utf-8")
