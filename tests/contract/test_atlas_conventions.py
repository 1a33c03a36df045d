"""The atlases are read as other programs' conventions demand, from the demo's results."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nilearn.maskers import NiftiLabelsMasker, NiftiMapsMasker
from support import FIXTURES, group_file

METHODS = ("canica", "dictlearning")
BOLD = "sub-01/func/sub-01_task-rest_space-MNI152NLin2009cAsym_res-native_desc-preproc_bold.nii.gz"


def read_tsv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def regions_file(folder: Path, method: str, extension: str) -> Path:
    (path,) = folder.glob(f"tpl-*/func/*_seg-{method}_*_desc-regions_probseg{extension}")
    return path


@pytest.mark.parametrize("method", METHODS)
def test_the_parcellation_is_the_soft_atlas_where_it_weighs_most(
    rest_output: Path, method: str
) -> None:
    soft = np.asarray(nib.load(regions_file(rest_output, method, ".nii.gz")).dataobj)
    image = nib.load(group_file(rest_output, method, "dseg", ".nii.gz"))
    hard = np.asarray(image.dataobj)
    assert hard.dtype.kind == "i"
    assert 0 <= soft.min() <= soft.max() == 1
    expected = np.where(soft.any(axis=-1), soft.argmax(axis=-1) + 1, 0)
    np.testing.assert_array_equal(hard, expected)
    table = read_tsv(group_file(rest_output, method, "dseg", ".tsv"))
    names = [row["name"] for row in table]
    assert names == read_json(regions_file(rest_output, method, ".json"))["LabelMap"]
    assert [int(row["index"]) for row in table] == list(range(1, soft.shape[-1] + 1))
    voxel_mm3 = np.prod(image.header.get_zooms()[:3])
    for row in table:
        assert float(row["volume_mm3"]) == pytest.approx(
            voxel_mm3 * np.sum(hard == int(row["index"]))
        )
        inside = np.argwhere(hard == int(row["index"]))
        centre = apply_affine(image.affine, inside).mean(axis=0)
        assert [float(row[axis]) for axis in "xyz"] == pytest.approx(centre, abs=1e-3)
        assert float(row["volume_mm3"]) >= 1350
        assert row["hemisphere"] in {"L", "R", "B", "M"}
        if row["hemisphere"] in {"L", "R"}:
            assert (float(row["x"]) < 0) == (row["hemisphere"] == "L")


def test_regions_of_a_network_make_it_up(rest_output: Path) -> None:
    """Each lies in its network, and the largest of a left frontoparietal one on the left."""
    for method in METHODS:
        network = np.asarray(
            nib.load(group_file(rest_output, method, "probseg", ".nii.gz")).dataobj
        )
        soft = np.asarray(nib.load(regions_file(rest_output, method, ".nii.gz")).dataobj)
        sidecar = read_json(group_file(rest_output, method, "probseg", ".json"))
        of = {name: volume for volume, name in enumerate(sidecar["LabelMap"])}
        table = read_tsv(group_file(rest_output, method, "dseg", ".tsv"))
        for volume, row in enumerate(table):
            inside = soft[..., volume] > 0
            np.testing.assert_allclose(
                soft[..., volume][inside], network[..., of[row["network"]]][inside], rtol=1e-6
            )
        left = [row for row in table if row["network_label"] == "Left frontoparietal"]
        assert left[0]["hemisphere"] == "L"


@pytest.mark.parametrize("method", METHODS)
def test_nilearns_maskers_take_them_as_they_are(rest_output: Path, method: str) -> None:
    bold = nib.load(FIXTURES / "rest" / BOLD)
    soft = regions_file(rest_output, method, ".nii.gz")
    n_regions = nib.load(soft).shape[-1]
    maps = NiftiMapsMasker(str(soft), standardize=None).fit_transform(bold)
    assert maps.shape == (bold.shape[-1], n_regions)
    assert np.isfinite(maps).all()
    dseg = group_file(rest_output, method, "dseg", ".nii.gz")
    labels = NiftiLabelsMasker(str(dseg), standardize=None).fit_transform(bold)
    assert labels.shape == (bold.shape[-1], n_regions)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["labels", "lut"])
def test_nilearn_gives_regions_their_names(rest_output: Path, method: str, how: str) -> None:
    """Each signal has the name of the region whose voxels it is the mean of."""
    dseg = group_file(rest_output, method, "dseg", ".nii.gz")
    path = group_file(rest_output, method, "dseg", ".tsv")
    table = read_tsv(path)
    hard = np.asarray(nib.load(dseg).dataobj)
    assert np.unique(hard).tolist() == list(range(len(table) + 1))
    # In each region, its own index.
    signal = nib.Nifti1Image(hard[..., None].astype(np.float32), nib.load(dseg).affine)
    names = {
        "labels": {"labels": ["Background", *(row["name"] for row in table)]},
        "lut": {"lut": str(path)},
    }
    masker = NiftiLabelsMasker(str(dseg), standardize=None, **names[how])
    (means,) = np.atleast_2d(masker.fit_transform(signal))
    found = {masker.region_names_[column]: mean for column, mean in enumerate(means.tolist())}
    assert found == pytest.approx({row["name"]: float(row["index"]) for row in table})


@pytest.mark.parametrize("method", METHODS)
def test_xcp_d_finds_index_and_name_in_an_atlas_dataset(
    rest_output: Path, method: str, tmp_path: Path
) -> None:
    """A dataset of type atlas: a dseg in a space that it knows, beside it a table and a JSON."""
    label = "MyNetworks"
    folder = tmp_path / f"atlas-{label}"
    folder.mkdir()
    (tmp_path / "dataset_description.json").write_text(
        json.dumps({"Name": label, "BIDSVersion": "1.9.0", "DatasetType": "atlas"})
    )
    for extension in (".nii.gz", ".tsv", ".json"):
        source = group_file(rest_output, method, "dseg", extension)
        shutil.copy(source, folder / f"atlas-{label}_space-MNI152NLin2009cAsym_dseg{extension}")
    (image,) = folder.glob(f"atlas-{label}_space-*_dseg.nii.gz")
    table = read_tsv(image.with_name(image.name.replace(".nii.gz", ".tsv")))
    # Earlier releases look for label, later ones for name.
    assert {"index", "name", "label"} <= set(table[0])
    assert all(row["name"] == row["label"] for row in table)
    assert len({row["name"] for row in table}) == len(table)
    values = set(np.unique(np.asarray(nib.load(image).dataobj)).tolist()) - {0}
    assert values <= {int(row["index"]) for row in table}
    assert read_json(image.with_name(image.name.replace(".nii.gz", ".json")))


@pytest.mark.parametrize("method", METHODS)
def test_giga_connectome_finds_a_probseg_by_templateflows_names(
    rest_output: Path, method: str, tmp_path: Path
) -> None:
    """In a folder of its template: template, resolution, atlas, description, suffix."""
    config = {
        "name": "MyNetworks",
        "parameters": {
            "atlas": "MyNetworks",
            "template": "MNI152NLin2009cAsym",
            "resolution": "02",
            "suffix": "probseg",
        },
        "desc": [f"{method}20"],
        "templateflow_dir": str(tmp_path),
    }
    wanted = config["parameters"]
    folder = tmp_path / f"tpl-{wanted['template']}"
    folder.mkdir()
    name = (
        f"tpl-{wanted['template']}_res-{wanted['resolution']}_atlas-{wanted['atlas']}"
        f"_desc-{config['desc'][0]}_{wanted['suffix']}.nii.gz"
    )
    shutil.copy(group_file(rest_output, method, "probseg", ".nii.gz"), folder / name)
    pattern = re.compile(r"tpl-(\w+)_res-(\d+)_atlas-(\w+)_desc-(\w+)_probseg\.nii\.gz")
    (path,) = (path for path in folder.iterdir() if pattern.fullmatch(path.name))
    masker = NiftiMapsMasker(str(path), standardize=None, resampling_target="data")
    courses = masker.fit_transform(nib.load(FIXTURES / "rest" / BOLD))
    assert courses.shape[1] == 20


@pytest.mark.parametrize("method", METHODS)
def test_halfpipe_takes_signed_maps_of_one_4d_image(rest_output: Path, method: str) -> None:
    """In a space that it knows by the file's template, one volume a map, finite, named in order."""
    path = group_file(rest_output, method, "components", ".nii.gz")
    image = nib.load(path)
    assert image.ndim == 4
    assert path.name.startswith("tpl-MNI152NLin2009cAsym_")
    assert image.header["sform_code"] == 4
    data = np.asarray(image.dataobj)
    assert np.isfinite(data).all()
    assert (data.reshape(-1, image.shape[-1]).std(axis=0) > 0).all()
    assert (
        len(read_json(group_file(rest_output, method, "components", ".json"))["ComponentNames"])
        == image.shape[-1]
    )
