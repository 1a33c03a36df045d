"""Labels of components: the named maps that they are most similar to."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nidecomp.annotation.network_labels import NetworkLabel, label_components

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("a", "b", "c", "d")
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)


def maps_and_references(seed, n_maps=6, n_voxels=300):
    """Return maps that are mixtures of the references and noise, and the references."""
    rng = np.random.default_rng(seed)
    references = rng.laplace(size=(len(NAMES), n_voxels)) + rng.normal(size=(len(NAMES), 1))
    weights = rng.normal(size=(n_maps, len(NAMES)))
    maps = weights @ references + rng.normal(size=(n_maps, n_voxels))
    return maps.astype(np.float32), references.astype(np.float32)


def correlations(maps, references):
    return np.corrcoef(maps.astype(np.float64), references.astype(np.float64))[
        : len(maps), len(maps) :
    ]


@few
@given(seed=SEEDS)
def test_labels_are_the_two_largest_of_numpy_s_correlations(seed):
    maps, references = maps_and_references(seed)
    for label, row in zip(
        label_components(maps, references, NAMES), correlations(maps, references), strict=True
    ):
        best, second = np.argsort(-row)[:2]
        assert (label.name, label.second) == (NAMES[best], NAMES[second])
        assert label.r == pytest.approx(row[best], abs=1e-9)
        assert label.second_r == pytest.approx(row[second], abs=1e-9)


@few
@given(seed=SEEDS, gain=st.floats(1e-20, 1e6), shift=st.floats(-10, 10))
def test_scale_and_offset_do_not_matter(seed, gain, shift):
    maps, references = maps_and_references(seed)
    before = label_components(maps, references, NAMES)
    after = label_components(
        maps.astype(np.float64) * gain, (references + shift) * np.float64(3.0), NAMES
    )
    for one, other in zip(before, after, strict=True):
        assert (one.name, one.second) == (other.name, other.second)
        assert one.r == pytest.approx(other.r, abs=1e-5)


@few
@given(seed=SEEDS, order=st.permutations(range(4)))
def test_the_order_of_the_references_does_not_matter(seed, order):
    maps, references = maps_and_references(seed)
    before = label_components(maps, references, NAMES)
    after = label_components(maps, references[order], [NAMES[index] for index in order])
    for one, other in zip(before, after, strict=True):
        assert (one.name, one.second) == (other.name, other.second)
        assert one.r == pytest.approx(other.r, abs=1e-12)


def test_a_negated_network_does_not_get_its_label():
    """Its r with that network is -1, which is the largest |r|."""
    _, references = maps_and_references(1)
    (label,) = label_components(-references[:1], references, NAMES)
    assert label.name != NAMES[0]
    assert label.r > -1


def test_a_reference_gets_its_own_label():
    _, references = maps_and_references(2)
    labels = label_components(references, references, NAMES)
    assert tuple(label.name for label in labels) == NAMES
    assert [label.r for label in labels] == pytest.approx([1.0] * 4, abs=1e-12)
    assert all(label.r <= 1 for label in labels)


def test_empty_and_constant_components_get_no_label():
    maps, references = maps_and_references(3)
    maps[2] = 0.0
    maps[4] = 0.1
    labels = label_components(maps, references, NAMES)
    for index in (2, 4):
        assert (labels[index].name, labels[index].second) == ("", "")
        assert math.isnan(labels[index].r)
        assert math.isnan(labels[index].second_r)
    others = label_components(np.delete(maps, [2, 4], 0), references, NAMES)
    assert [labels[index] for index in (0, 1, 3, 5)] == list(others)


def test_references_without_variance_correlate_0():
    _, references = maps_and_references(4)
    references[0] = 0.0
    references[1] = 0.3
    (label,) = label_components(-references[2:3] - references[3:4], references, NAMES)
    assert label == NetworkLabel("a", 0.0, "b", 0.0)


def test_with_one_reference_there_is_no_second():
    maps, references = maps_and_references(5)
    for label, row in zip(
        label_components(maps, references[:1], NAMES[:1]),
        correlations(maps, references),
        strict=True,
    ):
        assert (label.name, label.second) == ("a", "")
        assert label.r == pytest.approx(row[0], abs=1e-9)
        assert math.isnan(label.second_r)


def test_the_first_of_equal_references_is_used():
    maps, references = maps_and_references(6)
    twice = np.vstack([references, references])
    for label, index in zip(
        label_components(maps, twice, [*NAMES, *"efgh"]), range(len(maps)), strict=True
    ):
        assert label.name in NAMES, index
        assert label.second == "efgh"[NAMES.index(label.name)]


def test_large_offsets_do_not_reduce_precision():
    """Sums of squares without centring would lose it."""
    maps, references = maps_and_references(7)
    far = references.astype(np.float64) + 1e7
    for one, other in zip(
        label_components(maps, references, NAMES),
        label_components(maps, far, NAMES),
        strict=True,
    ):
        assert one.r == pytest.approx(other.r, abs=1e-7)


def test_blocks_of_voxels_add_up(monkeypatch):
    maps, references = maps_and_references(8)
    whole = label_components(maps, references, NAMES)
    # `blocks` bound its default when it was defined: patching the constant has no effect.
    monkeypatch.setattr("nidecomp.core.linalg.blocks.__defaults__", (17,))
    for one, other in zip(whole, label_components(maps, references, NAMES), strict=True):
        assert (one.name, one.second) == (other.name, other.second)
        assert one.r == pytest.approx(other.r, abs=1e-12)
