"""The demo finds the networks that were planted, and denoising is why."""

from __future__ import annotations

from pathlib import Path

import generate
import nibabel as nib
import numpy as np
import pytest
from support import FIXTURES, group_maps, matched_correlations, nidecomp


def planted(output: Path) -> np.ndarray:
    """The planted networks within the group mask of some results."""
    (mask,) = output.glob("tpl-*/anat/*_desc-brain_mask.nii.gz")
    _, image = generate.planted_networks()
    return np.asarray(image.dataobj)[np.asarray(nib.load(mask).dataobj) > 0].T


def test_canica_finds_every_planted_network(rest_output: Path) -> None:
    matched = matched_correlations(planted(rest_output), group_maps(rest_output, "canica"))
    assert np.median(matched) >= 0.8
    assert matched.min() >= 0.5


def test_dictionary_learning_finds_the_planted_networks(rest_output: Path) -> None:
    matched = matched_correlations(planted(rest_output), group_maps(rest_output, "dictlearning"))
    assert np.median(matched) >= 0.8


@pytest.mark.parametrize("method", ["canica", "dictlearning"])
def test_without_denoising_the_networks_are_found_worse(
    method: str, rest_output: Path, undenoised_output: Path
) -> None:
    """Motion, physiology and drift cost at least 0.15 of the median matched correlation."""
    truth = planted(rest_output)
    with_denoising = matched_correlations(truth, group_maps(rest_output, method))
    without = matched_correlations(
        planted(undenoised_output), group_maps(undenoised_output, method)
    )
    assert np.median(with_denoising) - np.median(without) >= 0.15


@pytest.fixture(scope="module")
def undenoised_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's results without any confound removed."""
    output = tmp_path_factory.mktemp("undenoised") / "networks"
    options = ("--denoise-strategy", "none", "--level", "minimal")
    done = nidecomp(FIXTURES / "rest", output, "group", *options)
    assert done.exit_code == 0, done.stderr
    return output
