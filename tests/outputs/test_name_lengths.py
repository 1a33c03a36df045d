"""Runs whose results would have names that are too long are refused before any work is done."""

from __future__ import annotations

import pytest
from option_examples import build
from run_examples import run_of

from nidecomp.core.atomic import LONGEST_PREFIX
from nidecomp.core.inventory import Inventory
from nidecomp.core.records import RunKey
from nidecomp.outputs.name_lengths import refuse_long_names


def key_of(n_characters: int) -> RunKey:
    return RunKey((("sub", "01"), ("task", "t" * n_characters)))


@pytest.mark.parametrize(("n_characters", "fits"), [(4, True), (70, True), (200, False)])
def test_a_name_that_would_be_too_long_is_refused(n_characters: int, fits: bool) -> None:
    runs = (run_of(key_of(n_characters)), run_of(key_of(5)))
    found = refuse_long_names(Inventory(runs), build())
    assert found.used == (runs if fits else runs[1:])
    for run in found.refused:
        assert "but file systems allow 255; shorten the labels" in run.reason


def test_the_longest_name_counts_with_its_temporary_prefix() -> None:
    """A long label of the study makes every name too long."""
    runs = (run_of(key_of(4)),)
    settings = build(atlas_label="a" * 150)
    (refused,) = refuse_long_names(Inventory(runs), settings).refused
    assert "--atlas-label" in refused.reason
    stem = "sub-01_task-tttt_space-MNI152NLin2009cAsym_atlas-" + "a" * 150
    statistic = "scale-10000_stat-effect_desc-fixedeffects"
    longest = f"{stem}_seg-dictlearning_{statistic}_components.nii.gz"
    assert f"names of {len(longest) + LONGEST_PREFIX} bytes" in refused.reason
