"""The columns of the metrics table."""

from __future__ import annotations

from nidecomp.spaces.contract import FeatureSpace

# Below this correlation, a map does not look like the most similar network, and it gets no label.
# The correlation itself is always written. The limit is a rule of thumb, which changes names only.
LEAST_LABEL_R = 0.3

# What is said wherever such maps are left out, continued by what they do not have.
AT_CHANCE = (
    "Maps that are no more reproducible between halves of the participants than chance (see the "
    "metrics file) are not interpreted"
)

# What both limits say.
_WHERE_TO_CUT = (
    "The limits are a rule for where to cut a map, not a test. Both are 0 for a map in which the "
    "sparsity penalty of dictionary learning has set more than half of the voxels to 0: no "
    "threshold is applied to it (except ratio)"
)

# Descriptions of the columns. They are in the JSON of the table and in the documentation.
METRICS: dict[str, str] = {
    "component": "Name of the component, whose map is volume `index` of the 4D images",
    "index": "Volume number of the component's map in the 4D images, counted from 0",
    "label": (
        "Name of the most similar network among NiDecomp's 14 resting-state networks (group ICA of "
        f"ABIDE); n/a if label_r is below {LEAST_LABEL_R:g}, if the map is no more reproducible "
        "between halves of the participants than chance, or if the maps are not in an MNI space"
    ),
    "label_r": "Correlation (Pearson's r over the mask) of the map with the most similar network",
    "second_label": (
        "Name of the second most similar network; n/a if the map is no more reproducible than "
        "chance"
    ),
    "second_label_r": (
        "Correlation (Pearson's r over the mask) of the map with the second most similar network"
    ),
    "atlas_label": (
        "Name of the most similar region or map of --label-atlas; n/a if atlas_label_r is below "
        f"{LEAST_LABEL_R:g}, or if the map is no more reproducible between halves of the "
        "participants than chance"
    ),
    "atlas_label_r": (
        "Correlation (Pearson's r over the mask) of the map with the most similar region or map of "
        "--label-atlas"
    ),
    "second_atlas_label": (
        "Name of the second most similar region or map of --label-atlas; n/a if the map is no more "
        "reproducible than chance"
    ),
    "second_atlas_label_r": (
        "Correlation (Pearson's r over the mask) of the map with the second most similar region or "
        "map of --label-atlas"
    ),
    "flags": (
        "Signs that the component is noise, separated by commas; n/a if there are none. Flags are "
        "recommendations: no component is left out because of them"
    ),
    "flag_reasons": "For each flag, the value that raised it and the limit that it exceeds",
    "reproducibility": (
        "|r| between the matching maps of two halves of the participants, which are fitted "
        "separately (at most the |r| of either with the group map); mean over random splits"
    ),
    "reproducibility_sd": "Standard deviation of the reproducibility over splits",
    "reproducibility_min": "Smallest reproducibility of all splits",
    "reproducibility_chance": (
        "Chance level of the reproducibility: what 95 % of the maps do not exceed in a single "
        "split if the group and its halves are fitted to runs that are as smooth as these and have "
        "no signal in common (surrogates with random phases of at most two runs of 40 "
        "participants, one start of the ICA). A map whose reproducibility is not above it may be "
        "noise"
    ),
    "bootstrap_r": (
        "|r| of the map with the matching map of a bootstrap sample of the participants; mean over "
        "samples (--n-bootstraps). Samples contain participants whom the map was fitted to, so "
        "that maps of pure noise reach 0.2 to 0.6: it shows how much a map depends on who took "
        "part, not whether other participants would have it, which reproducibility shows"
    ),
    "bootstrap_r_sd": "Standard deviation of this |r| over bootstrap samples",
    "restart_stability": (
        "Icasso's quality index of the component's cluster among the components of all ICA "
        "restarts: mean |r| within the cluster minus mean |r| between it and all other components. "
        "1 if every restart found this map; n/a for dictionary learning"
    ),
    "explained_variance": (
        "Share of the whole variance of the cleaned runs that a regression on this map alone "
        "explains in their leading principal components (those that were fitted: two for each map, "
        "or one with --pca-weighting unit); mean over participants. Overlapping maps explain some "
        "of the same variance"
    ),
    "explained_variance_other_half": (
        "Explained variance in participants that were not fitted: the same share as "
        "explained_variance, for the participants of one half and the matching map of the other "
        "half; mean over both halves of all splits"
    ),
    "explained_variance_holdout": (
        "Explained variance in the participants that --holdout left out of the fit: the same share "
        "as explained_variance, for these participants"
    ),
    "dominance": (
        "Share of the participant who contributes most to the variance that only this component "
        "explains, summed over participants; 1/n if all n participants contribute equally"
    ),
    "dominant_participant": "Participant who contributes most to that variance (see dominance)",
    "csf_share": (
        "Share of the map's weight (the squared values of its strong voxels) in cerebrospinal "
        "fluid, by ICA-AROMA's mask"
    ),
    "edge_share": "Share of the map's weight at the edge of the brain, by ICA-AROMA's mask",
    "outside_share": "Share of the map's weight outside the brain, by ICA-AROMA's mask",
    "edge_coverage": (
        "Of the voxels of the group mask at the edge of the brain or outside, the share in which "
        "the map is strong"
    ),
    "edge_limit": (
        "Limit for the sum of edge_share and outside_share; a larger sum raises the edge flag. It "
        "depends on the group mask, and is lower for maps with a large edge_coverage"
    ),
    "high_frequency_share": (
        "Share of the power of the component's time courses above 0.1 Hz; mean over participants. "
        "For this measure and motion_r, time courses are computed from the leading principal "
        "components of each run that were fitted (see explained_variance); those that are written "
        "are computed from the whole run"
    ),
    "motion_r": (
        "Largest |r| of the component's time course with a motion parameter or framewise "
        "displacement; mean over participants. Both are cleaned in the same way, so that motion "
        "parameters that were regressed out do not count. The displacement of a run's first "
        "volume, which is not defined, is taken to be that of the second"
    ),
    "peak_x": "First coordinate (RAS+, in the space of the maps) of the map's largest value",
    "peak_y": "Second coordinate (RAS+, in the space of the maps) of the map's largest value",
    "peak_z": "Third coordinate (RAS+, in the space of the maps) of the map's largest value",
    "peak_value": "The map's largest value; maps have a root mean square of 1 over the mask",
    "threshold_low": (
        "Values at or below this limit, except 0, are kept in the thresholded map; n/a if none is "
        f"kept. {_WHERE_TO_CUT}"
    ),
    "threshold_high": (
        "Values at or above this limit, except 0, are kept in the thresholded map; n/a if none is "
        f"kept. {_WHERE_TO_CUT}"
    ),
    "support": "Share of the mask's voxels in which the unthresholded map is not 0",
    "thresholded_support": (
        "Share of the mask's voxels in which the thresholded map is not 0. Maps of noise keep "
        "voxels, too: this is no evidence that a map is a network (see reproducibility)"
    ),
    "kurtosis": (
        "Excess kurtosis of the map's values over the mask; 0 for a Gaussian distribution, larger "
        "for maps with few strong voxels"
    ),
}

_NO_EDGE = (
    "n/a: the cortex has no edge, and in structures below it, it does not tell noise from networks"
)
# What is otherwise where features are vertices, or voxels of structures.
_AT_GRAYORDINATES: dict[str, str] = {
    "component": "Name of the component, whose map is number `index` in the files of maps",
    "index": "Number of the component's map in the files of maps, counted from 0",
    "label": (
        "Name of the most similar network among NiDecomp's 14 resting-state networks (group ICA of "
        "ABIDE; on the cortex alone, without that of the cerebellum); n/a if label_r is below "
        f"{LEAST_LABEL_R:g}, or if the map is no more reproducible between halves of the "
        "participants than chance"
    ),
    "reproducibility_chance": METRICS["reproducibility_chance"].replace(
        "surrogates with random phases of",
        "surrogates, on a cortex that is turned at random and with random phases below it, of",
    ),
    "csf_share": METRICS["csf_share"] + ". The cortex has none: n/a on the cortex alone",
    "edge_share": _NO_EDGE,
    "outside_share": "n/a: nothing is outside the brain",
    "edge_coverage": _NO_EDGE,
    "edge_limit": _NO_EDGE,
}
_GRAYORDINATES = {"cortex", "grayordinates", "subcortex"}


def metrics_columns(space: FeatureSpace) -> dict[str, str]:
    """Return the columns of the table of a space, with their descriptions.

    Parameters
    ----------
    space : FeatureSpace

    Returns
    -------
    dict
        Those of `METRICS`, which are for voxels.
    """
    others = _AT_GRAYORDINATES if space.references in _GRAYORDINATES else {}
    return {name: space.measure.in_words(text) for name, text in (METRICS | others).items()}


# Columns that there are with several datasets only.
OF_DATASETS: dict[str, str] = {
    "reproducibility_other_datasets": (
        "With several datasets: |r| of the map with the matching map of a fit without one "
        "dataset, the smallest of all datasets that were left out in turn; n/a where less than a "
        "third of the participants, or less than two, would be left"
    ),
}
UNITS = dict.fromkeys(("peak_x", "peak_y", "peak_z"), "mm")
