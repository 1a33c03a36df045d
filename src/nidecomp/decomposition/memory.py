"""Memory that the group fit takes."""

from __future__ import annotations

from nidecomp.config.science import Science
from nidecomp.decomposition.fastica import MAX_COMPONENTS_OF_MOMENTS, MAX_COMPONENTS_OF_THREADS
from nidecomp.decomposition.gather import subspace_keys
from nidecomp.decomposition.model_order_data import ModelOrderSettings
from nidecomp.decomposition.reproducibility import MOST_VOXELS, sample_dims
from nidecomp.execution.memory import BLOCKS_MB, IMAGE_COPIES, INTERPRETER_MB, MB, row_mb

# float32 copies of the components in the group fit: float64 subspace, centred, whitened and maps.
_ICA_COPIES = 8.0
# The same at the end of it: float64 maps and those in order; then copies of one image and its
# bytes.
_MAP_COPIES = 5.0
# Maps that are held beside a decomposition's own while it is described: thresholded, scaled, and
# the networks and tissues that NiDecomp brings.
_DESCRIBED_COPIES = 3.0
_REFERENCE_MAPS = 17


def count_maps(science: Science) -> int:
    """Count the maps of all decompositions together."""
    decomposition = science.decomposition
    model_orders = decomposition.model_orders or (decomposition.largest_model_order,)
    return sum(model_orders) * len(decomposition.methods)


def count_subspaces(science: Science) -> int:
    """Count the group's subspaces at one number of components: the canonical one, and the scaled.

    Each smoothing at which a method is fitted has a scaled one.
    """
    canonical, scaled = subspace_keys(science)
    return len({canonical, *scaled.values()})


def group_fit_mb(
    n_runs: int, n_features: int, n_stored: int, science: Science, n_threads: int, at_once: int
) -> float:
    """Memory of the group fit at its largest moment; `n_stored` numbers of a map are written."""
    k = science.decomposition.largest_model_order
    n_dims = min(science.decomposition.kept_dims(k), n_runs * k)
    n_subspaces = count_subspaces(science)
    # Subspaces that are finished, those that are gathered (held twice), and a run's rows.
    gathering = 3 * k + n_dims * max(
        finished + 2 * min(at_once, n_subspaces - finished)
        for finished in range(0, n_subspaces, at_once)
    )
    canica = n_subspaces * n_dims + _ICA_COPIES * k
    pairs = 0.0
    if k <= MAX_COMPONENTS_OF_MOMENTS:
        pairs = (
            8
            * (k * (k + 1) / 2) ** 2
            / MB
            * (n_threads + 2 if k <= MAX_COMPONENTS_OF_THREADS else 2)
        )
    # The voxels' rows beside each other, for dictionary learning.
    learning = n_subspaces * n_dims + n_dims + (_MAP_COPIES + 4) * k
    n_maps = k * len(science.decomposition.methods)
    image = 4 * n_stored * k / MB
    described = (_DESCRIBED_COPIES * k + _REFERENCE_MAPS) * row_mb(n_features)
    writing = _MAP_COPIES * n_maps * row_mb(n_features) + IMAGE_COPIES * image + described
    rows = max(gathering, canica, learning) * row_mb(n_features)
    fitting = max(rows, _choosing_mb(n_features, science)) + pairs + BLOCKS_MB * n_threads
    return INTERPRETER_MB + max(fitting, writing)


def _choosing_mb(n_features: int, science: Science) -> float:
    """Memory of the choice of the number of components: see `model_order.estimate_model_order`."""
    if not science.decomposition.is_auto:
        return 0.0
    how = ModelOrderSettings(max_components=science.decomposition.largest_model_order)
    n_voxels = min(n_features, how.most_voxels)
    streams = 16 * (2 * how.n_splits + 1) * how.max_components * n_voxels / MB
    return streams + how.max_components * row_mb(n_features)


def count_samples_at_once(n_features: int, science: Science, group_mb: float) -> int:
    """Count the halves and bootstraps that fit into what the group fit takes in any case.

    A pair of halves at least.
    """
    n_maps = science.decomposition.largest_model_order * len(science.decomposition.methods)
    room_mb = group_mb - INTERPRETER_MB - n_maps * row_mb(n_features)
    n_samples = 2 * science.evidence.n_splits + science.evidence.n_bootstraps
    return min(max(2, int(room_mb // _sample_mb(n_features, science))), n_samples)


def _sample_mb(n_features: int, science: Science) -> float:
    """Memory of one half of the group: its subspaces, which are held twice, on some voxels."""
    n_dims = sample_dims(science.decomposition.largest_model_order)
    n_voxels = min(n_features, MOST_VOXELS)
    return 2 * count_subspaces(science) * n_dims * 4 * n_voxels / MB
