"""The output is a valid BIDS-Derivatives dataset, and right where the validator does not look."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from compare_trees import OF_THE_RUN
from support import FIXTURES, group_file, nidecomp, small, validator_issues

METHODS = ("canica", "dictlearning")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def read_tsv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_validator_finds_nothing(rest_output: Path) -> None:
    assert validator_issues(rest_output) == []


def test_several_orders_stand_side_by_side_and_are_valid(tmp_path: Path) -> None:
    output = tmp_path / "networks"
    done = nidecomp(
        FIXTURES / "raw_root", output, "group", "--n-components", "2", "4", "--nprocs", "1",
        "--n-init", "2", "--methods", "canica", "--atlas-label", "MyStudy",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    names = {path.name for path in output.glob("tpl-*/func/*_res-native_components.nii.gz")}
    assert len(names) == 2
    assert all("_atlas-MyStudy_seg-canica_scale-" in name for name in names)
    shares = {}
    for path in output.glob("tpl-*/func/*_decomposition.json"):
        content = read_json(path)
        assert content["ComponentsPerRun"] == 2 * content["NumberOfComponents"]
        assert content["Settings"]["decomposition"]["n_components"] == [2, 4]
        shares[content["NumberOfComponents"]] = content["ReducedVarianceShare"]
    assert 0 < shares[2] < shares[4] < 1
    assert validator_issues(output) == []


def test_a_run_has_eight_files_and_one_where_little_is_written(
    small_output: Path, tmp_path: Path
) -> None:
    assert n_files_of_a_run(small_output) == (8, 2)
    done = nidecomp(*small(tmp_path / "out", "--level", "minimal"))
    assert done.exit_code == 0, done.stderr
    assert n_files_of_a_run(tmp_path / "out") == (1, 1)


def n_files_of_a_run(output: Path) -> tuple[int, int]:
    """Count the files of a run in the output folder and in its work folder."""
    found = [path.relative_to(output).parts[0] for path in output.rglob("sub-01_task-nback*")]
    assert set(found) == {"sub-01", "work"}
    return found.count("sub-01"), found.count("work")


@pytest.mark.parametrize("method", METHODS)
def test_the_soft_atlas_lies_between_0_and_1_and_names_every_volume(
    method: str, rest_output: Path
) -> None:
    image = nib.load(group_file(rest_output, method, "probseg", ".nii.gz"))
    data = np.asarray(image.dataobj)
    assert data.min() >= 0
    assert np.allclose(data.reshape(-1, data.shape[-1]).max(axis=0), 1)
    sidecar = read_json(group_file(rest_output, method, "probseg", ".json"))
    assert len(sidecar["LabelMap"]) == len(set(sidecar["LabelMap"])) == data.shape[-1] == 20


@pytest.mark.parametrize("method", METHODS)
def test_maps_have_a_positive_peak_and_unit_root_mean_square(
    method: str, rest_output: Path
) -> None:
    (mask,) = rest_output.glob("tpl-*/anat/*_desc-brain_mask.nii.gz")
    inside = np.asarray(nib.load(mask).dataobj) > 0
    image = nib.load(group_file(rest_output, method, "components", ".nii.gz"))
    data = np.asarray(image.dataobj)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert np.all(data[~inside] == 0)
    for volume in range(data.shape[-1]):
        values = data[..., volume][inside]
        assert np.abs(values).max() == values.max()
        assert np.isclose(np.sqrt(np.mean(values.astype(float) ** 2)), 1, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_metrics_describe_every_column_and_agree_with_the_maps(
    method: str, rest_output: Path
) -> None:
    table = read_tsv(group_file(rest_output, method, "metrics", ".tsv"))
    described = read_json(group_file(rest_output, method, "metrics", ".json"))
    assert set(table[0]) == set(described)
    assert all(entry["Description"] for entry in described.values())
    names = read_json(group_file(rest_output, method, "components", ".json"))["ComponentNames"]
    assert [row["component"] for row in table] == names
    order = [
        (round(float(row["reproducibility"]), 2), float(row["explained_variance"])) for row in table
    ]
    # What lies half-way between two decimals is rounded the other way in the table's six digits.
    assert order == sorted(order, reverse=True)
    image = nib.load(group_file(rest_output, method, "components", ".nii.gz"))
    data = np.asarray(image.dataobj)
    for row in table:
        position = np.array([float(row[f"peak_{axis}"]) for axis in "xyz"])
        voxel = np.round(nib.affines.apply_affine(np.linalg.inv(image.affine), position)).astype(
            int
        )
        volume = data[..., int(row["index"])]
        assert volume[tuple(voxel)] == volume.max()
        assert np.isclose(float(row["peak_value"]), volume.max(), rtol=1e-5)


def test_columns_of_every_table_at_the_root_are_described(rest_output: Path) -> None:
    for name in ("participants", "logs/inventory", "logs/stability", "logs/matching"):
        table = rest_output / f"{name}.tsv"
        assert set(read_tsv(table)[0]) <= set(read_json(table.with_suffix(".json")))


@pytest.mark.parametrize("method", METHODS)
def test_every_planted_network_is_named_reproduced_and_not_flagged(
    method: str, rest_output: Path
) -> None:
    """The demo holds 14 networks; six components are left for what nobody shares."""
    table = read_tsv(group_file(rest_output, method, "metrics", ".tsv"))
    networks = [row for row in table if row["label"] != "n/a"]
    assert len({row["label"] for row in networks}) == 14
    first = table[:13]
    assert all(row["label"] != "n/a" and float(row["reproducibility"]) > 0.6 for row in first)
    assert all(float(row["reproducibility"]) < 0.3 for row in table[14:])
    assert sum(row["flags"] != "n/a" for row in first) == 0
    for row in table:
        assert (row["flags"] == "n/a") == (row["flag_reasons"] == "n/a")
        assert float(row["explained_variance_other_half"]) < 1.2 * float(row["explained_variance"])
        assert 1 / 8 <= float(row["dominance"]) < 1
        assert row["dominant_participant"].startswith("sub-")


@pytest.mark.parametrize("method", METHODS)
def test_thresholded_maps_are_the_maps_beyond_the_thresholds_that_the_table_gives(
    method: str, rest_output: Path
) -> None:
    whole = group_file(rest_output, method, "components", ".nii.gz")
    maps = np.asarray(nib.load(whole).dataobj)
    name = whole.name.replace("_components", "_desc-thresholded_components")
    kept = np.asarray(nib.load(whole.with_name(name)).dataobj)
    for row in read_tsv(group_file(rest_output, method, "metrics", ".tsv")):
        volume, values = (data[..., int(row["index"])] for data in (kept, maps))
        inside = volume != 0
        np.testing.assert_array_equal(volume[inside], values[inside])
        if inside.any() and method == "canica":
            low, high = float(row["threshold_low"]), float(row["threshold_high"])
            # The table has six digits.
            beyond = (values <= low - 1e-4) | (values >= high + 1e-4)
            within = (values > low + 1e-4) & (values < high - 1e-4)
            assert inside[beyond].all()
            assert not inside[within].any()


def test_components_of_both_methods_are_matched_one_to_one(rest_output: Path) -> None:
    table = read_tsv(rest_output / "logs" / "matching.tsv")
    assert len(table) == 20
    assert len({row["component"] for row in table}) == 20
    assert len({row["other_component"] for row in table}) == 20
    assert sum(float(row["r"]) > 0.8 for row in table) >= 13
    halves = read_tsv(rest_output / "logs" / "stability.tsv")
    assert len(halves) == 10
    for row in halves:
        assert float(row["explained_variance_other_half"]) < float(row["explained_variance_fitted"])


@pytest.mark.parametrize("method", METHODS)
def test_peaks_lie_where_the_thresholded_map_is_strongest(method: str, rest_output: Path) -> None:
    peaks = read_tsv(group_file(rest_output, method, "peaks", ".tsv"))
    described = read_json(group_file(rest_output, method, "peaks", ".json"))
    assert set(peaks[0]) | {"Description"} == set(described)
    image = nib.load(group_file(rest_output, method, "components", ".nii.gz"))
    names = read_json(group_file(rest_output, method, "components", ".json"))["ComponentNames"]
    for row in peaks:
        position = [float(row[axis]) for axis in "xyz"]
        voxel = np.round(nib.affines.apply_affine(np.linalg.inv(image.affine), position))
        value = image.dataobj[(*voxel.astype(int), names.index(row["component"]))]
        assert np.isclose(value, float(row["value"]), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_decomposition_says_how_to_do_it_again(method: str, rest_output: Path) -> None:
    content = read_json(group_file(rest_output, method, "decomposition", ".json"))
    assert content["NumberOfRuns"] == 10
    assert content["NumberOfParticipants"] == 8
    assert content["NumberOfComponents"] == 20
    assert 0 < content["ExplainedVariance"] <= 1
    assert content["Fit"]["Converged"] is True
    assert content["Settings"]["denoising"]["denoise_strategy"] == "simple"
    assert content["Settings"]["decomposition"]["random_seed"] == 0
    assert content["Settings"]["decomposition"]["pca_weighting"] == "sqrt"
    assert content["ComponentsPerRun"] == 40
    assert "square root of its singular value" in content["Weighting"]
    assert {"nidecomp", "numpy", "numba"} <= set(content["SoftwareVersions"])
    if method == "canica":
        assert len(content["Fit"]["Restarts"]) == 10
        norms = [one["L1Norm"] for one in content["Fit"]["Restarts"] if one["Converged"]]
        chosen = content["Fit"]["Restarts"][content["Fit"]["ChosenRestart"]]
        assert chosen["L1Norm"] == min(norms)
        assert "map_support" not in content["Settings"]["decomposition"]
    else:
        # The penalty that was found gives the support that was asked for.
        assert content["Settings"]["decomposition"]["map_support"] == 0.15
        assert abs(content["Fit"]["MapSupport"] / 0.15 - 1) < 0.05
        assert content["Fit"]["Alpha"] > 0
        assert content["Fit"]["EmptyMaps"] == 0


def test_the_subspace_says_what_it_left_out(rest_output: Path) -> None:
    subspace = read_json(group_file(rest_output, "canica", "decomposition", ".json"))["Fit"][
        "SharedSubspace"
    ]
    # 10 runs of 40 rows, merged 100 at a time. What was left out is noise: in as many dimensions as
    # there are rows (--subspace-dims 400) the networks are the same.
    assert subspace["Rows"] == 400
    assert subspace["Dimensions"] == 100
    assert 0.5 < subspace["VarianceShare"] < 1
    assert subspace["LargestRelativeError"] >= 0


def bids_uris(content: object) -> list[str]:
    """Every BIDS URI in a JSON value."""
    if isinstance(content, dict):
        return [uri for value in content.values() for uri in bids_uris(value)]
    if isinstance(content, list):
        return [uri for value in content for uri in bids_uris(value)]
    return [content] if isinstance(content, str) and content.startswith("bids:") else []


def test_every_bids_uri_leads_to_a_file(rest_output: Path) -> None:
    links = read_json(rest_output / "dataset_description.json")["DatasetLinks"]
    assert all(not Path(link).is_absolute() for link in links.values())
    uris = [
        uri
        for path in rest_output.rglob("*.json")
        if "work" not in path.relative_to(rest_output).parts
        for uri in bids_uris(read_json(path))
    ]
    uris += [row["uri"] for row in read_tsv(rest_output / "logs" / "sources.tsv")]
    assert len(uris) > 30
    for uri in uris:
        dataset, _, path = uri.removeprefix("bids:").partition(":")
        root = rest_output / links[dataset] if dataset else rest_output
        assert (root / path).exists(), uri


def test_the_manifest_lists_every_file_with_its_hash(rest_output: Path) -> None:
    listed = {row["path"]: row for row in read_tsv(rest_output / "logs" / "manifest.tsv")}
    there = {
        str(path.relative_to(rest_output))
        for path in rest_output.rglob("*")
        if path.is_file() and path.relative_to(rest_output).parts[0] != "work"
    }
    assert set(listed) == there - {"logs/manifest.tsv", *OF_THE_RUN}
    for name, row in listed.items():
        content = (rest_output / name).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert int(row["size"]) == len(content)


def test_no_output_holds_an_absolute_path(rest_output: Path) -> None:
    """They leak user names, and break when the data move; the command is told as it was given."""
    for path in rest_output.rglob("*"):
        if str(path.relative_to(rest_output)) in OF_THE_RUN:
            continue
        if path.suffix in {".json", ".tsv", ".toml", ".md"} and "work" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"""(^|[\s"'=(])/\w+/""", text, re.MULTILINE), path


def test_no_temporary_file_is_left(rest_output: Path) -> None:
    hidden = [path.name for path in rest_output.rglob(".*")]
    assert hidden == [".bidsignore"]


def test_stale_results_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    """When a task is gone from the input, files named after the old pool must not stay."""
    source = tmp_path / "fmriprep"
    _copy_tree(FIXTURES / "several_tasks", source)
    output = tmp_path / "networks"
    words = (source, output, "group", "--n-components", "3", "--n-init", "2", "--level", "minimal")
    assert nidecomp(*words).exit_code == 0
    assert list(output.rglob("*task-nback+rest*"))
    for path in source.rglob("*_task-nback_*"):
        path.unlink()
    assert nidecomp(*words).exit_code == 0
    assert not list(output.glob("tpl-*/func/*task-nback+rest*"))
    assert list(output.glob("tpl-*/func/*task-rest_*"))
    assert validator_issues(output) == []


def _copy_tree(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target)


def test_evidence_does_not_depend_on_the_other_numbers_of_components(
    small_output: Path, tmp_path: Path
) -> None:
    """Runs then have more rows stored, and only two for each map are used: also for the maps."""
    done = nidecomp(*small(tmp_path / "both", "--n-components", 3, 5))
    assert done.exit_code == 0, done.stderr
    kinds = {"metrics.tsv", "components.nii.gz"}
    found = {path for kind in kinds for path in small_output.glob(f"tpl-*/func/*_scale-3_*{kind}")}
    assert len(found) >= 2 * len(METHODS)
    for alone in found:
        beside = tmp_path / "both" / alone.relative_to(small_output)
        assert beside.read_bytes() == alone.read_bytes(), alone.name
