"""Estimate the memory that the group fit takes."""

from __future__ import annotations

from nidecomp.config.science import Science
from nidecomp.decomposition.chance import most_samples
from nidecomp.decomposition.fastica import MAX_COMPONENTS_OF_MOMENTS, MAX_COMPONENTS_OF_THREADS
from nidecomp.decomposition.gather import subspace_keys
from nidecomp.decomposition.model_order_data import ModelOrderSettings
from nidecomp.decomposition.samples import MOST_VOXELS, sample_dims
from nidecomp.execution.memory import BLOCKS_MB, IMAGE_COPIES, INTERPRETER_MB, MB, row_mb

# Memory of the ICA in float32 copies of the maps: subspace, centred, whitened and maps in float64.
_ICA_COPIES = 8.0
# The same when maps are finished and written: float64 maps before and after sorting, then copies of
# one image and its bytes.
_MAP_COPIES = 5.0
# Maps in memory while a decomposition is described, besides its own: thresholded and scaled ones,
# and NiDecomp's reference networks and tissue maps.
_DESCRIBED_COPIES = 3.0
_REFERENCE_MAPS = 17


def count_maps(science: Science) -> int:
    """Return the number of maps of all decompositions together."""
    decomposition = science.decomposition
    model_orders = decomposition.model_orders or (decomposition.largest_model_order,)
    return sum(model_orders) * len(decomposition.methods)


def count_subspaces(science: Science) -> int:
    """Return the number of the group's subspaces at one number of components.

    There is the one that the ICA is fitted to, and those of the methods if they differ.
    """
    for_ica, own_keys = subspace_keys(science)
    return len({for_ica, *own_keys.values()})


def group_fit_mb(
    n_runs: int, n_features: int, n_stored: int, science: Science, n_threads: int, at_once: int
) -> float:
    """Return the peak memory of the group fit, in MB.

    Parameters
    ----------
    n_runs : int
    n_features : int
        Voxels of the group mask.
    n_stored : int
        Numbers that are written of one map, such as the voxels of the whole grid.
    science : Science
    n_threads : int
    at_once : int
        The number of subspaces that are computed in one pass over the reduced runs.

    Returns
    -------
    float
    """
    k = science.decomposition.largest_model_order
    n_rows = science.decomposition.largest_rows
    n_dims = min(science.decomposition.kept_dims(k), n_runs * n_rows)
    n_subspaces = count_subspaces(science)
    # Finished subspaces, those being computed (held twice), and the rows of one run.
    gathering = 3 * n_rows + n_dims * max(
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
    # Dictionary learning holds a transposed copy of its subspace's rows.
    learning = n_subspaces * n_dims + n_dims + (_MAP_COPIES + 4) * k
    n_maps = k * len(science.decomposition.methods)
    image = 4 * n_stored * k / MB
    described = (_DESCRIBED_COPIES * k + _REFERENCE_MAPS) * row_mb(n_features)
    writing = _MAP_COPIES * n_maps * row_mb(n_features) + IMAGE_COPIES * image + described
    rows = max(gathering, canica, learning) * row_mb(n_features)
    fitting = max(rows, _choosing_mb(n_features, science)) + pairs + BLOCKS_MB * n_threads
    return INTERPRETER_MB + max(fitting, writing)


def _choosing_mb(n_features: int, science: Science) -> float:
    """Return the peak memory of `model_order.estimate_model_order`, in MB."""
    if not science.decomposition.is_auto:
        return 0.0
    how = ModelOrderSettings(max_components=science.decomposition.largest_model_order)
    n_voxels = min(n_features, how.most_voxels)
    streams = 16 * (2 * how.n_splits + 1) * how.max_components * n_voxels / MB
    return streams + how.max_components * row_mb(n_features)


def count_samples_at_once(
    n_features: int, science: Science, group_mb: float, n_datasets: int = 1
) -> int:
    """Return how many samples fit into the memory of the group fit, at least a pair of halves.

    Parameters
    ----------
    n_features : int
        Voxels of the group mask.
    science : Science
        Numbers of halves and of bootstrap samples.
    group_mb : float
        The peak memory of the group fit.
    n_datasets : int
        The group is also fitted without each of several.

    Returns
    -------
    int
        At most the number of samples that there are.
    """
    n_maps = science.decomposition.largest_model_order * len(science.decomposition.methods)
    room_mb = group_mb - INTERPRETER_MB - n_maps * row_mb(n_features)
    n_samples = 2 * science.evidence.n_splits + science.evidence.n_bootstraps
    n_samples += n_datasets if n_datasets > 1 else 0
    # Each batch reads the runs again, and makes their surrogates again.
    n_samples = max(n_samples, most_samples())
    return min(max(2, int(room_mb // _sample_mb(n_features, science))), n_samples)


def _sample_mb(n_features: int, science: Science) -> float:
    """Return the memory of one half of the group, in MB: its subspaces on a subset of the voxels.

    Subspaces are held twice.
    """
    n_dims = sample_dims(science.decomposition.largest_model_order)
    n_voxels = min(n_features, MOST_VOXELS)
    return 2 * count_subspaces(science) * n_dims * 4 * n_voxels / MB
