"""What each run holds of the group's maps: files, names, numbers that belong together."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
from collections import defaultdict
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids import BIDSLayout, BIDSLayoutIndexer
from numpy.typing import NDArray
from support import FIXTURES, group_file, metadata, nidecomp, results, validator_issues

REST = FIXTURES / "rest"
METHODS = ("canica", "dictlearning")
CONNECTOMES = ("--connectomes", "correlation", "partial", "tangent")
OPTIONS = ("group", "--n-components", "20", "--participant-maps", *CONNECTOMES)


@pytest.fixture(scope="module")
def output(rest_output: Path) -> Path:
    """The demo's results with each run's own maps; what is reduced already is found."""
    folder = rest_output.with_name("with_maps")
    done = nidecomp(REST, folder, *OPTIONS, "--work-dir", rest_output / "work")
    assert done.exit_code == 0, done.stderr
    return folder


def read_tsv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def runs(output: Path) -> list[str]:
    return [row["run"] for row in read_tsv(output / "logs" / "inventory.tsv")]


def of_run(output: Path, run: str, method: str, ending: str) -> Path:
    (path,) = output.glob(f"sub-*/**/func/{run}_space-*_seg-{method}_*{ending}")
    return path


def courses(output: Path, run: str, method: str) -> NDArray[np.float64]:
    table = read_tsv(of_run(output, run, method, "_timeseries.tsv"))
    values = [[float(cell.replace("n/a", "nan")) for cell in row.values()] for row in table]
    return np.array(values)


def matrix(path: Path) -> NDArray[np.float64]:
    table = read_tsv(path)
    assert [row.pop("Node") for row in table] == list(table[0])
    return np.array([[float(cell) for cell in row.values()] for row in table])


def names(output: Path, method: str) -> list[str]:
    return read_json(group_file(output, method, "components", ".json"))["ComponentNames"]


# ---------------------------------------------------------------- files
def test_the_tree_is_valid(output: Path, rest_output: Path) -> None:
    assert validator_issues(output) == []
    assert validator_issues(rest_output) == []


def test_pybids_reads_what_the_inheritance_principle_says(output: Path, tmp_path: Path) -> None:
    """And files of the group inherit nothing that describes those of runs."""
    entities = {"scale": "_scale-([0-9]+)", "stat": "_stat-([a-z]+)", "tpl": "tpl-([a-zA-Z0-9]+)"}
    config = tmp_path / "entities.json"
    patterns = [{"name": name, "pattern": pattern} for name, pattern in entities.items()]
    config.write_text(json.dumps({"name": "more", "entities": patterns}))
    layout = BIDSLayout(
        output, validate=False, config=["bids", "derivatives", str(config)], is_derivative=True,
        indexer=BIDSLayoutIndexer(ignore=[re.compile("work|logs|figures")], validate=False),
    )  # fmt: skip
    keys: dict[str, set[str]] = defaultdict(set)
    for file in layout.get(extension=[".tsv", ".nii.gz"]):
        path = Path(file.path)
        said = metadata(path, output)
        # Beside these there are JSON files of more general names, of which pybids takes any.
        if not re.match("tpl-.*_desc-.*_(components|probseg)", path.name):
            assert file.get_metadata() == said, path.name
        if "_desc-" in path.name or path.name.startswith("tpl-"):
            assert said == read_json(path.with_name(f"{path.name.partition('.')[0]}.json"))
        elif path.name.startswith("sub-"):
            kind = re.sub(".*?(_stat-[a-z]+)?_([a-z]+)[.].*", r"\2\1", path.name)
            keys[kind] |= set(said)
    of_maps = {"Description", "Units", "ComponentNames", "Maps", "Mask", "Sources"}
    of_maps |= {"SpatialReference", "Resolution"}
    of_z = {"NoiseModel", "Limitation"}
    of_z |= {"DegreesOfFreedom", "EffectiveDegreesOfFreedom", "Autocorrelation"}
    matrix_keys = {"Measure", "MeasureDescription", "Weighted", "Directed", "Sources"}
    kinds = ("pearsoncorrelation", "partialcorrelation", "tangent")
    assert keys == {
        "outliers": {"Description", "dropped", "Sources"},
        "timeseries": {
            *("Description", "Units", "Maps", "SamplingFrequency", "StartTime", "Regressors"),
            "Sources",
        },
        "components_stat-effect": of_maps,
        "components_stat-z": of_maps | of_z,
        **{f"relmat_stat-{kind}": matrix_keys for kind in kinds},
    }


@pytest.mark.parametrize("method", METHODS)
def test_every_run_has_time_courses_named_after_the_components(output: Path, method: str) -> None:
    for run in runs(output):
        path = of_run(output, run, method, "_timeseries.tsv")
        table = read_tsv(path)
        assert list(table[0]) == names(output, method)
        dropped = [
            row["dropped"] == "1" for row in read_tsv(next(output.rglob(f"{run}_outliers.tsv")))
        ]
        assert [row[names(output, method)[0]] == "n/a" for row in table] == dropped
        sidecar = metadata(path, output)
        source = next(REST.rglob(f"{run}_space-*_desc-preproc_bold.json"))
        described = read_json(source)
        assert sidecar["SamplingFrequency"] == pytest.approx(1 / described["RepetitionTime"])
        assert sidecar["StartTime"] == described["StartTime"]
        (bold, confounds) = sidecar["Sources"]
        for uri in (bold, confounds):
            assert (REST / uri.removeprefix("bids:preprocessed:")).exists()
        assert (output / sidecar["Maps"].removeprefix("bids::")).exists()


@pytest.mark.parametrize("method", METHODS)
def test_connectomes_are_those_of_the_time_courses(output: Path, method: str) -> None:
    kinds = ("pearsoncorrelation", "partialcorrelation", "tangent")
    of_participants: dict[str, list[NDArray[np.float64]]] = {}
    for run in runs(output):
        found = {
            kind: matrix(of_run(output, run, method, f"_stat-{kind}_relmat.tsv")) for kind in kinds
        }
        kept = courses(output, run, method)
        kept = kept[np.isfinite(kept).all(axis=1)]
        expected = np.corrcoef(kept.T)
        np.testing.assert_allclose(found["pearsoncorrelation"], expected, atol=1e-4)
        for one in found.values():
            np.testing.assert_allclose(one, one.T, atol=1e-5)
        z = np.arctanh(found["pearsoncorrelation"] - np.eye(len(expected)))
        of_participants.setdefault(run[:6], []).append(z)
    mean = np.tanh(np.mean([np.mean(own, axis=0) for own in of_participants.values()], axis=0))
    mean += np.eye(len(mean))
    for kind in kinds:
        path = next(output.glob(f"tpl-*/func/*_seg-{method}_*_stat-{kind}_relmat.tsv"))
        group = matrix(path)
        assert read_json(path.with_suffix(".json"))["Directed"] is False
        if kind == "pearsoncorrelation":
            np.testing.assert_allclose(group, mean, atol=1e-4)


@pytest.mark.parametrize(("method", "stat"), list(product(METHODS, ("effect", "z"))))
def test_a_runs_own_maps_lie_where_the_groups_do(output: Path, method: str, stat: str) -> None:
    group = nib.load(group_file(output, method, "components", ".nii.gz"))
    (mask,) = output.glob("tpl-*/anat/*_mask.nii.gz")
    inside = np.asarray(nib.load(mask).dataobj) > 0
    for run in runs(output):
        path = of_run(output, run, method, f"_stat-{stat}_components.nii.gz")
        image = nib.load(path)
        assert image.shape == group.shape
        np.testing.assert_array_equal(image.affine, group.affine)
        data = np.asarray(image.dataobj)
        assert np.isfinite(data).all()
        assert np.all(data[~inside] == 0)
        sidecar = metadata(path, output)
        assert sidecar["ComponentNames"] == names(output, method)


def test_participants_with_several_runs_have_maps_over_all_of_them(output: Path) -> None:
    several = {run[:6] for run in runs(output) if "_ses-" in run}
    assert several
    found = {
        path.name[:6] for path in output.glob("sub-*/func/*_desc-fixedeffects_components.json")
    }
    assert found == several
    for path in output.glob("sub-*/func/*_desc-fixedeffects_components.json"):
        assert "_ses-" not in path.name
        sidecar = read_json(path)
        assert len(sidecar["CombinedRuns"]) == len(sidecar["Sources"]) == 2
        if "_stat-z_" in path.name:
            assert 0 < sidecar["EffectiveDegreesOfFreedom"] <= sidecar["DegreesOfFreedom"]
            assert "biased towards the group map" in sidecar["Limitation"]


def test_maps_are_written_only_where_they_were_asked_for(rest_output: Path, output: Path) -> None:
    assert not list(rest_output.glob("sub-*/**/*_components.*"))
    before, after = results(rest_output), results(output)
    # The methods section and the settings tell the maps and connectomes, too.
    others = ("manifest", "CITATION", "settings.toml")
    shared = {name for name in before if name in after and not any(one in name for one in others)}
    assert set(before) <= set(after)
    assert all(before[name] == after[name] for name in shared if not name.endswith(".json"))


# ---------------------------------------------------------------- whose they are
def run_maps(output: Path, method: str) -> dict[str, NDArray[np.float64]]:
    maps = {}
    for run in runs(output):
        data = nib.load(of_run(output, run, method, "_stat-z_components.nii.gz"))
        maps[run] = np.asarray(data.dataobj).ravel()
    return maps


@pytest.mark.parametrize("method", METHODS)
def test_sessions_of_a_participant_identify_each_other(output: Path, method: str) -> None:
    """And with names shuffled they do not: it is the maps that say so.

    Three of four have a probability of 0.5 % by chance. In one, another participant is as similar.
    """
    maps = run_maps(output, method)
    r = np.corrcoef(list(maps.values()))
    np.fill_diagonal(r, -1)

    def identified(order: list[str]) -> list[bool]:
        whose = [run[:6] for run in order]
        several = [index for index, name in enumerate(whose) if whose.count(name) > 1]
        return [whose[int(r[index].argmax())] == whose[index] for index in several]

    order = list(maps)
    assert len(identified(order)) == 4
    assert sum(identified(order)) >= 3
    shuffled = order[1:] + order[:1]
    assert sum(identified(shuffled)) <= 1


# ---------------------------------------------------------------- quality
def test_quality_is_told_for_every_run_and_participant(output: Path) -> None:
    table = read_tsv(output / "logs" / "quality.tsv")
    assert len(table) == 2 * len(runs(output))
    for row in table:
        assert 0 < float(row["explained_variance"]) < 1
        assert 0 < float(row["map_r_min"]) <= float(row["map_r"]) < 1
        assert float(row["tsnr"]) > 10
    participants = read_tsv(output / "participants.tsv")
    outliers = {row["participant_id"]: row["outlier"] for row in participants}
    motion = {row["participant_id"]: float(row["mean_fd"]) for row in participants}
    restless = max(motion, key=lambda name: motion[name])
    assert "mean_fd" in outliers.pop(restless)
    assert set(outliers.values()) == {"n/a"}
    described = read_json(output / "participants.json")
    assert set(participants[0]) <= set(described)
    means = [float(row["map_r"]) for row in table if row["run"].startswith("sub-01_")]
    found = next(row for row in participants if row["participant_id"] == "sub-01")
    assert math.isclose(float(found["map_r"]), np.mean(means), rel_tol=1e-4)


def test_a_run_that_cannot_be_projected_is_told_and_the_rest_is_there(
    rest_output: Path, tmp_path: Path
) -> None:
    """Its image is damaged between the two passes: what was reduced of it is still found."""
    source, work = shutil.copytree(REST, tmp_path / "in"), tmp_path / "work"
    options = ("--work-dir", work, "--n-components", "5")
    first = nidecomp(source, tmp_path / "out", "participant", *options)
    assert first.exit_code == 0, first.stderr
    bold = next(source.rglob("sub-02_*_bold.nii.gz"))
    content, times = bold.read_bytes(), bold.stat()
    middle = len(content) // 2
    # The ends and the time stay: the reduce step's work is taken for that of this file.
    bold.write_bytes(content[:middle] + bytes(100) + content[middle + 100 :])
    os.utime(bold, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = nidecomp(source, tmp_path / "out", "group", *options, "--methods", "canica")
    assert done.exit_code == 1, done.stderr
    assert "1 run could not be projected" in done.stderr
    assert "Traceback" not in done.stderr
    inventory = {row["run"]: row for row in read_tsv(tmp_path / "out" / "logs" / "inventory.tsv")}
    lost = [row for row in inventory.values() if row["status"] == "failed"]
    assert [row["run"] for row in lost] == ["sub-02_task-rest"]
    assert lost[0]["reason"].startswith("not projected: ")
    found = list((tmp_path / "out").glob("sub-*/**/*_timeseries.tsv"))
    assert len(found) == len(inventory) - 1
