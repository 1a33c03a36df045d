"""A place is named after a network or region only where that is strong there."""

from __future__ import annotations

import numpy as np
import pytest

from nidecomp.annotation.atlases import Reference
from nidecomp.annotation.describe import ReferenceMaps
from nidecomp.annotation.place_names import label_at
from nidecomp.outputs.comparison_tables import peaks_of

NETWORKS = Reference(
    ("Visual", "Salience"), np.array([[2.5, 5.0, 1.0, 0.0], [1.0, 4.9, 8.0, 0.0]], np.float32)
)
ATLAS = Reference(("Hippocampus", "Insula"), np.array([[80, 1, 0, 9], [0, 0, 40, 9.9]], np.float32))


@pytest.mark.parametrize(
    ("feature", "of_both", "of_networks", "of_atlas"),
    [
        # Weakly in a network, well in a region.
        (0, "Hippocampus", None, "Hippocampus"),
        (1, "Visual", "Visual", None),
        (2, "Salience", "Salience", "Insula"),
        # Of the values there, the larger one is nearly a quarter of its map's maximum.
        (3, None, None, None),
    ],
)
def test_a_name_needs_a_strong_map(
    feature: int, of_both: str | None, of_networks: str | None, of_atlas: str | None
) -> None:
    assert label_at(feature, ReferenceMaps(NETWORKS, None, ATLAS)) == of_both
    assert label_at(feature, ReferenceMaps(NETWORKS)) == of_networks
    assert label_at(feature, ReferenceMaps(atlas=ATLAS)) == of_atlas
    assert label_at(feature, ReferenceMaps()) is None


def test_the_peak_is_the_strongest_of_the_kind_with_the_strongest_evidence() -> None:
    """TFCE values of vertices (mm²) and of voxels have units of their own."""
    on_surface = np.array([True, True, False, False])
    tfce = np.array([[900, 800, 5, -9], [900, 800, 5, -9], [900, 800, 5, 9]], np.float32)
    t = np.array([[4, 3, 5, -4], [4, 6, 5, -4], [4, 3, 5, 4]], np.float32)
    p = np.array([[1e-4, 1e-4, 1e-4, 1e-4]] * 2 + [[0.01, 0.02, 0.03, 0.04]], np.float32)
    np.testing.assert_array_equal(peaks_of(tfce, p, t, on_surface), [3, 0, 0])
