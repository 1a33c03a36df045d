"""The columns of the metrics table."""

from __future__ import annotations

# A label is only given where the map looks like the network: with a smaller correlation than this
# the nearest network is a coincidence. The correlation is told in any case. A rule of thumb:
# nothing depends on it but the name.
LEAST_LABEL_R = 0.3

# Column to what it holds.
METRICS: dict[str, str] = {
    "component": "Name of the component: volume number `index` of the maps",
    "index": "Position of the map in the 4D images, counted from 0",
    "label": (
        "The most similar network of those that NiDecomp brings (14 networks of ABIDE), n/a where "
        f"its correlation is below {LEAST_LABEL_R:g} or the space is none of MNI's"
    ),
    "label_r": "Correlation of the map with the most similar network, over the mask",
    "second_label": "The second most similar network",
    "second_label_r": "Correlation of the map with the second most similar network",
    "atlas_label": "The most similar region or map of --label-atlas",
    "atlas_label_r": "Correlation of the map with it, over the mask",
    "second_atlas_label": "The second most similar region or map of --label-atlas",
    "second_atlas_label_r": "Correlation of the map with it, over the mask",
    "flags": (
        "What speaks for noise, separated by commas; n/a: nothing. A recommendation: no component "
        "is left out because of it"
    ),
    "flag_reasons": "The number behind each flag and the limit that it exceeds",
    "reproducibility": (
        "Mean over splits of the participants of |r| between what both halves found for this "
        "component (at most |r| of either with the map itself); the halves share no participant"
    ),
    "reproducibility_sd": "Standard deviation of it over splits",
    "reproducibility_min": "The smallest of the splits",
    "bootstrap_r": (
        "Mean |r| of the map with its match in groups drawn with replacement (--n-bootstraps)"
    ),
    "bootstrap_r_sd": "Standard deviation of it over these groups",
    "restart_stability": (
        "Icasso's quality index: mean |r| within the component's cluster of all ICA restarts' "
        "components less the mean |r| to all others; n/a for dictionary learning"
    ),
    "explained_variance": (
        "Share of the variance of the reduced runs that a regression on this map alone explains "
        "(overlapping maps share some of it)"
    ),
    "explained_variance_other_half": (
        "The same for participants that were not fitted: what this component of one half of them "
        "explains in the other half, mean over splits"
    ),
    "explained_variance_holdout": (
        "The same for the participants that --holdout left out, mean over them"
    ),
    "dominance": (
        "The largest share of one participant in what the component explains beside all others; "
        "1/n where all n participants have it alike"
    ),
    "dominant_participant": "The participant with that share",
    "csf_share": "Share of the map's weight in cerebrospinal fluid (ICA-AROMA's mask)",
    "edge_share": "Share of the map's weight at the brain's edge (ICA-AROMA's mask)",
    "outside_share": "Share of the map's weight outside of the brain (ICA-AROMA's mask)",
    "edge_coverage": ("Share of what is edge or outside, of the mask, in which the map is strong"),
    "edge_limit": (
        "How much may lie at the edge and outside together before it is flagged: it depends on the "
        "mask, and is lower where much of the edge is covered"
    ),
    "high_frequency_share": (
        "Share of the power of the time courses above 0.1 Hz, mean over participants"
    ),
    "motion_r": (
        "Largest |r| of the time courses with a motion parameter or framewise displacement, mean "
        "over participants, both cleaned: a parameter that was regressed out adds nothing"
    ),
    "peak_x": "Position of the map's largest value, first RAS+ coordinate of the space",
    "peak_y": "Position of the map's largest value, second RAS+ coordinate",
    "peak_z": "Position of the map's largest value, third RAS+ coordinate",
    "peak_value": "The map's largest value; maps have a root mean square of 1 over the mask",
    "threshold_low": "Values at or below this are kept in the thresholded map",
    "threshold_high": "Values at or above this are kept in the thresholded map",
    "support": "Share of the mask's voxels in which the unthresholded map is not 0",
    "thresholded_support": "Share of the mask's voxels that the threshold keeps",
    "kurtosis": (
        "Excess kurtosis of the map's values over the mask: how far its voxels are from a "
        "Gaussian distribution"
    ),
}


UNITS = dict.fromkeys(("peak_x", "peak_y", "peak_z"), "mm")
