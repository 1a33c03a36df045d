"""Estimate the time and memory that a comparison of participants takes."""

from __future__ import annotations

from nidecomp.comparison.maps import MAPS_AT_ONCE
from nidecomp.config.comparison import ComparisonOptions
from nidecomp.execution.memory import BLOCKS_MB, INTERPRETER_MB, MB, row_mb

# Seconds of one core, measured with benchmarks/comparison.py on a processor of 2022 with AVX-512:
# of a multiplication of a person's value, of a number of the product in which the largest is
# found, and of a feature of a map that is enhanced.
_MULTIPLICATION_S = 2.2e-11
_PRODUCT_S = 1.0e-9
_ENHANCEMENT_S = 2.5e-7
# Reading the maps of one person, for each feature.
_READING_S = 4.0e-8
# Products for each transformation: a contrast and three covariates, as in many models.
_ROWS = 4
# Memory of the max-tree for each feature: heights, parents and sizes of clusters. And that of the
# neighbours, which are selected from those of all features.
_BYTES_OF_TREE = 80
_BYTES_OF_NEIGHBOURS = 150
# Maps of each component and contrast: statistic, effect, TFCE; p values of voxels and of TFCE, of
# the map and of all, those of TFCE also counted; and the same of clusters.
_MAPS, _MAPS_OF_CLUSTERS = 9, 4


def comparison_minutes(
    n_people: int,
    n_components: int,
    n_features: int,
    n_contrasts: int,
    options: ComparisonOptions,
    n_processes: int,
) -> float:
    """Return about how long it takes to compare participants' maps, in minutes.

    From the number of operations, for a model with four columns beside the intercept. Processors
    differ by a factor of two or more.

    Parameters
    ----------
    n_people : int
    n_components : int
        The components of all decompositions together.
    n_features : int
    n_contrasts : int
    options : ComparisonOptions
        What is compared, and the numbers of permutations.
    n_processes : int

    Returns
    -------
    float
        0 where maps are not compared: amplitudes and edges take seconds.
    """
    if "maps" not in options.compare:
        return 0.0
    products = options.n_permutations * _ROWS
    of_feature = (
        products * (n_people * _MULTIPLICATION_S + _PRODUCT_S)
        + options.n_tfce_permutations * _ENHANCEMENT_S
        + n_people * _READING_S
    )
    # Components are worked on in rounds of as many as there are processes.
    n_rounds = -(-n_components // max(1, n_processes))
    return n_rounds * n_contrasts * n_features * of_feature / 60


def comparison_mb(
    n_people: int, n_features: int, n_contrasts: int, options: ComparisonOptions
) -> float:
    """Return the peak memory of a process that compares maps, in MB.

    Each holds the maps of all people of one component, and a few permuted ones.

    Parameters
    ----------
    n_people, n_features, n_contrasts : int
    options : ComparisonOptions

    Returns
    -------
    float
    """
    # In and out of the enhancement, and what is found.
    n_maps = 2 * MAPS_AT_ONCE + 4 * n_contrasts if options.n_tfce_permutations else n_contrasts
    tree = (_BYTES_OF_TREE + _BYTES_OF_NEIGHBOURS) * n_features / MB
    transformations = 5 * n_people * options.n_permutations / MB
    rows = (n_people + n_maps) * row_mb(n_features)
    return INTERPRETER_MB + BLOCKS_MB + rows + tree + transformations


def compared_mb(
    n_components: int, n_features: int, n_contrasts: int, options: ComparisonOptions
) -> float:
    """Return the memory of the results, which one process holds until they are written, in MB.

    Parameters
    ----------
    n_components : int
        Of all decompositions together.
    n_features, n_contrasts : int
    options : ComparisonOptions

    Returns
    -------
    float
    """
    n_maps = _MAPS if options.cluster_threshold is None else _MAPS + _MAPS_OF_CLUSTERS
    return n_components * n_contrasts * n_maps * row_mb(n_features)
