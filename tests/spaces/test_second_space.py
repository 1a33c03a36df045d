"""A group of runs on vertices goes through all steps: only its space and what makes it are new."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from ring_space import RingSpace, ring_space

from nidecomp import preflight
from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.science import (
    DecompositionOptions,
    Denoising,
    EvidenceOptions,
    ProjectionOptions,
    Science,
)
from nidecomp.config.settings import Settings
from nidecomp.core.inventory import Inventory
from nidecomp.core.records import RunFiles, RunKey, UsableRun
from nidecomp.outputs.report.panels import PANELS, Place
from nidecomp.outputs.report.pictures import Cut, MapPictures
from nidecomp.outputs.result import Outcome
from nidecomp.pipeline import run

SPACE = ring_space(400)
N_PARTICIPANTS, N_RUNS, N_VOLUMES, K = 6, 2, 60, 3
TR_S = 2.0
# Volumes of the first run of sub-02 in which the scanner gave nothing.
EMPTY = (0, 31, 32)


def planted() -> NDArray[np.float64]:
    """Patches of vertices that do not overlap: on the left, on the right, and on both sides."""
    maps = np.zeros((K, SPACE.n_features))
    n = SPACE.n_features // 2
    maps[0, 40:80] = 1
    maps[1, n + 220 : n + 270] = 1
    maps[2, 200:224] = maps[2, n + 60 : n + 90] = 1
    return maps


def write_run(folder: Path, participant: int, number: int) -> UsableRun:
    rng = np.random.default_rng(10 * participant + number)
    courses = rng.laplace(size=(N_VOLUMES, K)) * [5, 4, 3]
    noise = rng.standard_normal((N_VOLUMES, SPACE.n_features))
    series = 100 + courses @ planted() + noise
    if (participant, number) == (2, 1):
        series[list(EMPTY)] = 0
    key = RunKey((("sub", f"{participant:02d}"), ("task", "rest"), ("run", str(number))))
    path = folder / f"sub-{participant:02d}" / "func" / f"{key.label}_space-rings.func.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, SPACE.on_vertices(series, np.float32))
    return UsableRun(
        files=RunFiles(key, "rings", None, path, None, None),
        grid=SPACE.mesh,
        repetition_time_s=TR_S,
        start_time_s=None,
        n_volumes=N_VOLUMES,
        stored_bytes=4,
        kept=tuple(range(N_VOLUMES)),
        n_regressors=2,
        mean_fd_mm=None,
    )


def label_atlas(folder: Path) -> Path:
    """The patches that were planted, as labels with names."""
    labels = (planted() * np.arange(1, K + 1)[:, None]).sum(axis=0)
    path = folder / "atlas.npy"
    np.save(path, SPACE.on_vertices(labels, np.int32))
    rows = ["index\tname", "1\tLeft", "2\tRight", "3\tBoth"]
    path.with_name("atlas.npy.tsv").write_text("\n".join(rows) + "\n")
    return path


class RingPanels:
    """Draws maps as rows of pixels; the page's viewer cannot show them."""

    def __init__(self, place: Place) -> None:
        assert not place.is_mni

    def maps(self, path: Path) -> Iterator[NDArray[np.float32]]:
        yield from np.load(path)

    def sample(self, brain_map: NDArray) -> NDArray[np.float32]:
        return brain_map

    def pictures(self, brain_map: NDArray, cut: Cut) -> MapPictures:
        return MapPictures(self.figure(brain_map, cut))

    def figure(self, brain_map: NDArray, _: Cut) -> Image.Image:
        row = np.uint8(255 * np.abs(brain_map) / np.abs(brain_map).max())
        return Image.fromarray(np.repeat(row[None], 20, axis=0)).convert("RGB")

    def scene(self) -> None:
        return None


class Results:
    """What was written."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome, self.root = outcome, outcome.output_dir

    def one(self, pattern: str) -> Path:
        (path,) = self.root.glob(pattern)
        return path

    def rows(self, pattern: str) -> list[Mapping[str, str]]:
        with self.one(pattern).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))

    def sidecar(self, pattern: str) -> Mapping[str, object]:
        return json.loads(self.one(pattern).read_text(encoding="utf-8"))

    def maps(self, pattern: str) -> NDArray[np.float32]:
        return np.load(self.one(pattern))[..., SPACE.vertices]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("rings")
    root = folder / "input"
    root.mkdir()
    description = {
        "Name": "rings",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "fMRIPrep", "Version": "24.0.0"}],
    }
    (root / "dataset_description.json").write_text(json.dumps(description))
    runs = tuple(
        write_run(root, participant, number)
        for participant in range(1, N_PARTICIPANTS + 1)
        for number in range(1, N_RUNS + 1)
    )
    settings = Settings(
        bids_dir=root,
        output_dir=folder / "out",
        analysis_level="group",
        science=Science(
            denoising=Denoising(denoise_strategy="none", smoothing_fwhm=3.0, high_pass=None),
            decomposition=DecompositionOptions(n_components=(K,), n_init=5),
            evidence=EvidenceOptions(n_splits=3, label_atlas=str(label_atlas(folder))),
            projection=ProjectionOptions(regress_out=("left",)),
        ),
        execution=Execution(nprocs=1, skip_bids_validation=True),
        extent=OutputOptions(participant_maps=True, figures=True),
    )

    def shared(inventory: Inventory, *_: object) -> tuple[RingSpace, Inventory]:
        return SPACE, inventory

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preflight, "find_runs_of_datasets", lambda *_: Inventory(runs))
        patch.setattr(preflight, "share_space", shared)
        patch.setitem(PANELS, SPACE.extensions.maps, RingPanels)
        return Results(run(settings))


FIT = "tpl-rings/func/*_seg-canica_scale-3"


def test_every_run_went_through(results: Results) -> None:
    assert results.outcome.exit_code == 0
    assert results.outcome.is_reported
    assert len(results.outcome.inventory.used) == N_PARTICIPANTS * N_RUNS
    assert results.sidecar(f"{FIT}_decomposition.json")["NumberOfVertices"] == SPACE.n_features


@pytest.mark.parametrize("method", ["canica", "dictlearning"])
def test_the_planted_maps_are_found(results: Results, method: str) -> None:
    found = results.maps(f"tpl-rings/func/*_seg-{method}_scale-3_components.maps.npy")
    r = np.abs(np.corrcoef(planted(), found)[:K, K:])
    assert sorted(r.argmax(axis=1)) == list(range(K))
    assert (r.max(axis=1) > 0.8).all()


def test_metrics_have_evidence_and_labels(results: Results) -> None:
    rows = results.rows(f"{FIT}_metrics.tsv")
    assert {row["atlas_label"] for row in rows} == {"Left", "Right", "Both"}
    assert {row["label"] for row in rows} == {"n/a"}, "no networks come with it"
    assert all(float(row["reproducibility"]) > 0.8 for row in rows)
    assert all(0 < float(row["dominance"]) < 1 for row in rows)
    assert {row["csf_share"] for row in rows} == {"n/a"}


def test_peaks_are_on_the_patches_with_their_areas(results: Results) -> None:
    rows = results.rows(f"{FIT}_peaks.tsv")
    assert "volume_mm3" not in rows[0]
    units = results.sidecar(f"{FIT}_peaks.json")["area_mm2"]
    assert units == {
        "Description": "Area of the cluster: vertices that share an edge and a sign",
        "Units": "mm^2",
    }
    sides = {"Left": {-50.0}, "Right": {50.0}, "Both": {-50.0, 50.0}}
    areas = planted() @ SPACE.sizes
    for row in results.rows(f"{FIT}_metrics.tsv"):
        own = [peak for peak in rows if peak["component"] == row["component"]]
        large = [one for one in own if float(one["area_mm2"]) > 8]
        assert {float(one["x"]) for one in large} == sides[row["atlas_label"]]
        planted_area = areas[["Left", "Right", "Both"].index(row["atlas_label"])]
        found = sum(float(one["area_mm2"]) for one in large)
        assert found == pytest.approx(planted_area, rel=0.35)


def test_regions_are_a_parcellation_with_its_table(results: Results) -> None:
    rows = results.rows(f"{FIT}_dseg.tsv")
    assert {row["hemisphere"] for row in rows} == {"L", "R"}
    labels = results.maps(f"{FIT}_dseg.labels.npy")
    for row in rows:
        area = SPACE.size_of(np.flatnonzero(labels == int(row["index"])))
        assert float(row["area_mm2"]) == pytest.approx(area, rel=1e-5)
    soft = results.maps(f"{FIT}_desc-regions_probseg.maps.npy")
    assert soft.shape == (len(rows), SPACE.n_features)
    about = results.sidecar(f"{FIT}_desc-regions_probseg.json")
    assert "thresholded networks: connected vertices" in str(about["Description"])
    assert "left with at least 8 mm^2" in str(about["Description"])


def test_each_run_has_its_courses_maps_and_quality(results: Results) -> None:
    courses = list(results.root.glob("sub-*/func/*_timeseries.tsv"))
    assert len(courses) == 2 * N_PARTICIPANTS * N_RUNS
    own = results.maps("sub-01/func/*run-1*_seg-canica_*_stat-z_components.maps.npy")
    group = results.maps(f"{FIT}_components.maps.npy")
    assert (np.diag(np.corrcoef(own, group)[:K, K:]) > 0.7).all()
    assert list(results.root.glob("sub-01/func/*_desc-fixedeffects_components.maps.npy"))
    quality = results.rows("logs/quality.tsv")
    assert len(quality) == 2 * N_PARTICIPANTS * N_RUNS
    assert all(float(row["map_r"]) > 0.7 for row in quality)


def test_volumes_without_signal_are_dropped_in_all_that_is_written(results: Results) -> None:
    name = "sub-02_task-rest_run-1"
    (used,) = [run for run in results.outcome.inventory.used if run.label == name]
    assert set(range(N_VOLUMES)) - set(used.kept) == set(EMPTY)
    for row in results.rows("logs/inventory.tsv"):
        expected = ("57", "empty 3") if row["run"] == name else ("60", "n/a")
        assert (row["n_volumes_kept"], row["dropped"]) == expected
        assert row["notes"].startswith("volumes without signal") == (row["run"] == name)
    for method in ("canica", "dictlearning"):
        courses = results.rows(f"sub-02/func/{name}_*_seg-{method}_*_timeseries.tsv")
        unknown = [index for index, row in enumerate(courses) if "n/a" in row.values()]
        assert (len(courses), unknown) == (N_VOLUMES, list(EMPTY))
    dropped = [int(row["dropped"]) for row in results.rows(f"sub-02/func/{name}_outliers.tsv")]
    assert np.flatnonzero(dropped).tolist() == list(EMPTY)
    quality = results.rows("logs/quality.tsv")
    assert {row["n_volumes_kept"] for row in quality if row["run"] == name} == {"57"}
    (participant,) = [
        row for row in results.rows("participants.tsv") if row["participant_id"] == "sub-02"
    ]
    assert participant["n_volumes_kept"] == "117"
    # They stay as they are in the image that a component was removed from.
    source = results.root.parent / f"input/sub-02/func/{name}_space-rings.func.npy"
    without = np.load(results.one(f"sub-02/func/{name}_*_desc-canica3nonaggr_bold.func.npy"))
    np.testing.assert_array_equal(without[list(EMPTY)], np.load(source)[list(EMPTY)])
    assert not np.array_equal(without, np.load(source))


def test_a_run_is_written_without_a_component(results: Results) -> None:
    source = results.root.parent / "input/sub-01/func/sub-01_task-rest_run-1_space-rings.func.npy"
    left = np.flatnonzero(planted()[0])
    own = np.load(source)[:, SPACE.vertices][:, left]
    without = results.maps("sub-01/func/*run-1*_desc-canica3nonaggr_bold.func.npy")[:, left]
    assert without.shape == own.shape
    assert without.std() < 0.6 * own.std()


def test_the_mask_and_the_words_are_those_of_vertices(results: Results) -> None:
    about = results.sidecar("tpl-rings/anat/tpl-rings_desc-brain_mask.json")
    assert str(about["Description"]).startswith("The vertices that were decomposed")
    assert about["Density"] == "400 vertices a ring"
    assert (results.maps("tpl-rings/anat/tpl-rings_desc-brain_mask.labels.npy") == 1).all()
    readme = (results.root / "README.md").read_text(encoding="utf-8")
    assert "*_components.maps.npy" in readme
    assert "voxel" not in readme
    assert "nii.gz" not in readme


def test_the_report_has_a_picture_of_each_component(results: Results) -> None:
    figures = {path.name for path in (results.root / "figures").glob("*.png")}
    for method in ("canica", "dictlearning"):
        assert f"overview_seg-{method}_scale-3.png" in figures
        assert {f"seg-{method}_scale-3_{method}0{index}.png" for index in (1, 2, 3)} <= figures
    page = (results.root / "report.html").read_text(encoding="utf-8")
    assert f"{SPACE.n_features} vertices" in page
    assert "is missing" not in page
