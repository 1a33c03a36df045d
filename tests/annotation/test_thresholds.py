"""Thresholds of maps: the null distribution, the values kept at each level, and the rules."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from nidecomp.annotation.background import Null, fit_null
from nidecomp.annotation.thresholds import (
    Rule,
    apply_rule,
    is_sparse,
    kept_in_words,
    parse_rule,
    rule_in_words,
    threshold_by_background,
    threshold_by_isotropy,
    threshold_by_p,
    threshold_by_ratio,
)

SEEDS = st.integers(0, 2**32 - 1)
RULES = st.sampled_from(
    [
        Rule("p", 0.001),
        Rule("p", 0.1),
        Rule("isotropy", 0.01),
        Rule("background", 0.05),
        Rule("ratio", 0.7),
    ]
)
GRID = (40, 44, 36)
few = settings(deadline=None, max_examples=25, derandomize=True, database=None)


def maps_of(seed, n_maps=4, n_voxels=3000):
    """Return maps with backgrounds of several centres and widths, and signal in a tenth of each."""
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((n_maps, n_voxels))
    maps[:, : n_voxels // 10] += rng.uniform(3, 8, (n_maps, n_voxels // 10))
    maps *= rng.choice([-1, 1], (n_maps, 1)) * rng.uniform(0.1, 10, (n_maps, 1))
    return (maps + rng.uniform(-1, 1, (n_maps, 1))).astype(np.float32)


def simulate(seed, share, fwhm_voxels=0.0, both_signs=False):
    """Return a map of smooth blobs in (smooth) noise of variance 1, and the mask of the blobs."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(GRID)
    if fwhm_voxels:
        # With other boundaries, noise would have more variance there, and not be normal overall.
        noise = ndimage.gaussian_filter(noise, fwhm_voxels / 2.355, mode="wrap")
        noise /= noise.std()
    blobs = ndimage.gaussian_filter(rng.standard_normal(GRID), 4, mode="wrap")
    height = np.abs(blobs) if both_signs else blobs
    signal = np.maximum(height - np.quantile(height, 1 - share), 0)
    signal *= 10 * np.sign(blobs) / max(signal.max(), 1e-30)
    return (noise + signal).ravel().astype(np.float32), (signal != 0).ravel()


def p_values(values):
    """Compute two-sided p-values under the null of a map, by scipy's normal distribution."""
    null = fit_null(np.sort(values))
    return 2 * stats.norm.sf(np.abs(values.astype(np.float64) - null.centre) / null.sd)


@few
@given(seed=SEEDS, centre=st.floats(-5, 5), sd=st.floats(1e-3, 1e3))
def test_null_of_a_normal_background_is_that_background(seed, centre, sd):
    values = centre + sd * np.random.default_rng(seed).standard_normal(40_000)
    null = fit_null(np.sort(values.astype(np.float32)))
    assert null.centre == pytest.approx(centre, abs=0.06 * sd)
    assert null.sd == pytest.approx(sd, rel=0.05)


@few
@given(seed=SEEDS)
def test_the_null_has_the_moments_of_the_values_in_its_window(seed):
    """This fixed point is checked with scipy's truncated normal distribution."""
    values = maps_of(seed, n_voxels=20_000)[0].astype(np.float64)
    null = fit_null(np.sort(values).astype(np.float32))
    inside = values[np.abs(values - null.centre) < 1.5 * null.sd]
    expected = stats.truncnorm(-1.5, 1.5, loc=null.centre, scale=null.sd)
    assert inside.mean() == pytest.approx(expected.mean(), abs=1e-3 * null.sd)
    assert inside.std() == pytest.approx(expected.std(), rel=1e-3)


@few
@given(seed=SEEDS, distance=st.floats(10, 1e6))
def test_the_strength_of_a_signal_does_not_change_the_null(seed, distance):
    rng = np.random.default_rng(seed)
    background = rng.standard_normal(20_000)
    signal = distance * rng.uniform(1, 2, 6000)
    with_signal = fit_null(np.sort(np.concatenate([background, signal]).astype(np.float32)))
    alone = fit_null(np.sort(background.astype(np.float32)))
    # The estimates start from different values, and there are several fixed points. These differ by
    # less than the uncertainty of the estimate.
    assert with_signal.centre == pytest.approx(alone.centre, abs=0.01)
    assert with_signal.sd == pytest.approx(alone.sd, abs=0.01)


@few
@given(seed=SEEDS, gain=st.floats(1e-6, 1e6), sign=st.sampled_from([-1, 1]))
def test_the_null_scales_with_the_map_and_its_sign(seed, gain, sign):
    values = maps_of(seed)[0]
    before = fit_null(np.sort(values))
    after = fit_null(np.sort(sign * np.float32(gain) * values))
    assert after.centre == pytest.approx(sign * gain * before.centre, abs=1e-4 * gain * before.sd)
    assert after.sd == pytest.approx(gain * before.sd, rel=1e-4)


@pytest.mark.parametrize("fwhm_voxels", [0.0, 3.0])
@pytest.mark.parametrize("both_signs", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
def test_in_a_normal_background_the_false_positive_rate_is_at_most_the_level(
    share, both_signs, fwhm_voxels
):
    """Signal in the window lowers the rate, the more so the more signal there is."""
    rates, shares = [], []
    for seed in range(6):
        values, on = simulate(seed, share, fwhm_voxels, both_signs)
        kept = threshold_by_p(values[None], 0.001).maps[0] != 0
        rates.append(kept[~on].mean())
        kept = threshold_by_background(values[None], 0.05).maps[0] != 0
        shares.append((kept & ~on).sum() / kept.sum())
        # The slopes of blobs are below the noise, their peaks are not.
        assert kept[on].mean() > 0.15
    assert 0.0003 < np.mean(rates) < 0.00115
    assert 0.01 < np.mean(shares) < 0.055


@pytest.mark.parametrize("fwhm_voxels", [0.0, 3.0])
def test_normal_noise_keeps_a_share_of_p_and_almost_nothing_by_background(fwhm_voxels):
    maps = np.stack([simulate(seed, 0, fwhm_voxels)[0] for seed in range(10)])
    rate = np.mean(threshold_by_p(maps, 0.001).maps != 0)
    assert rate == pytest.approx(0.001, rel=0.2)
    discovered = threshold_by_background(maps, 0.05)
    assert np.count_nonzero(discovered.maps) <= 3
    assert np.isnan(discovered.limits).any(axis=1).sum() >= 8


@few
@given(seed=SEEDS, p=st.floats(1e-6, 0.5))
def test_a_p_keeps_the_values_with_at_most_that_p(seed, p):
    maps = maps_of(seed)
    kept = threshold_by_p(maps, p)
    for before, after in zip(maps, kept.maps, strict=True):
        np.testing.assert_array_equal(after, np.where(p_values(before) <= p, before, 0))


@few
@given(seed=SEEDS, q=st.floats(1e-3, 0.9))
def test_the_cut_is_that_of_scipys_benjamini_hochberg(seed, q):
    maps = maps_of(seed)
    kept = threshold_by_background(maps, q)
    for before, after in zip(maps, kept.maps, strict=True):
        adjusted = stats.false_discovery_control(p_values(before), method="bh")
        np.testing.assert_array_equal(after, np.where(adjusted <= q, before, 0))


@few
@given(seed=SEEDS, n_empty=st.integers(1, 1400))
def test_voxels_without_data_are_not_counted_as_tests(seed, n_empty):
    values = maps_of(seed, n_maps=1)[0]
    padded = np.concatenate([values, np.zeros(n_empty, np.float32)])
    for rule in (Rule("p", 0.01), Rule("background", 0.05)):
        alone, together = (apply_rule(one[None], rule) for one in (values, padded))
        np.testing.assert_array_equal(together.maps[0, : values.size], alone.maps[0])
        np.testing.assert_array_equal(together.limits, alone.limits)


@few
@given(seed=SEEDS, n_maps=st.integers(1, 30), n_voxels=st.integers(5, 200))
def test_a_ratio_of_one_keeps_each_maps_share_of_the_voxels(seed, n_maps, n_voxels):
    maps = np.random.default_rng(seed).standard_normal((n_maps, n_voxels)).astype(np.float32)
    # Maps with large values must not take the voxels of maps with small ones.
    maps *= 10.0 ** np.arange(n_maps)[:, None].astype(np.float32) / 10.0**15
    for before, after in zip(maps, threshold_by_ratio(maps).maps, strict=True):
        inside = after != 0
        assert np.count_nonzero(inside) == max(1, n_voxels // n_maps)
        np.testing.assert_array_equal(after[inside], before[inside])
        if not inside.all():
            assert np.abs(before[inside]).min() >= np.abs(before[~inside]).max()


def test_the_isotropy_null_is_exact_without_signal_and_conservative_with_it():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1, 400_000)).astype(np.float32)
    kept = np.mean(threshold_by_isotropy(noise, 0.01).maps != 0)
    assert kept == pytest.approx(0.01, rel=0.05)
    signal = noise.copy()
    signal[:, :40_000] += 2
    wrong = np.mean(threshold_by_isotropy(signal, 0.01).maps[:, 40_000:] != 0)
    assert 0 < wrong < 0.005
    limits = threshold_by_isotropy(signal, 0.01).limits
    expected = stats.norm.isf(0.005) * np.sqrt(np.mean(signal.astype(float) ** 2))
    np.testing.assert_allclose(limits, [[-expected, expected]], rtol=1e-6)


@few
@given(seed=SEEDS, ratio=st.floats(1e-3, 10))
def test_a_ratio_keeps_that_many_voxels_of_each_map(seed, ratio):
    maps = maps_of(seed, n_maps=5, n_voxels=997)
    kept = threshold_by_ratio(maps, ratio).maps
    n_kept = min(max(1, math.floor(ratio * 997 / 5)), 997)
    for before, after in zip(maps, kept, strict=True):
        inside = after != 0
        assert np.count_nonzero(inside) == n_kept
        if not inside.all():
            assert np.abs(before[inside]).min() > np.abs(before[~inside]).max()


@few
@given(seed=SEEDS, rule=RULES)
def test_the_limits_separate_kept_from_other_values(seed, rule):
    maps = maps_of(seed)
    kept = apply_rule(maps, rule)
    assert kept.maps.dtype == np.float32
    assert kept.limits.dtype == np.float64
    lower, upper = kept.limits[:, :1], kept.limits[:, 1:]
    np.testing.assert_array_equal(kept.maps, np.where((maps <= lower) | (maps >= upper), maps, 0))


@few
@given(seed=SEEDS, rule=RULES)
def test_the_threshold_of_a_map_does_not_depend_on_other_maps(seed, rule):
    maps = maps_of(seed)
    together = apply_rule(maps, rule)
    louder = maps.copy()
    louder[1:] *= 1e6
    others = apply_rule(louder, rule)
    np.testing.assert_array_equal(others.maps[0], together.maps[0])
    np.testing.assert_array_equal(others.limits[0], together.limits[0])
    backwards = apply_rule(maps[::-1], rule)
    np.testing.assert_array_equal(backwards.maps[::-1], together.maps)


@few
@given(
    seed=SEEDS, rule=RULES, power=st.integers(-20, 20), sign=st.sampled_from([np.float32(1), -1])
)
def test_thresholds_scale_with_the_map_and_its_sign(seed, rule, power, sign):
    maps = maps_of(seed)
    # A power of two, so that no value is rounded.
    gain = np.float32(sign * 2.0**power)
    before, after = apply_rule(maps, rule), apply_rule(gain * maps, rule)
    np.testing.assert_array_equal(after.maps != 0, before.maps != 0)
    np.testing.assert_array_equal(after.maps, gain * before.maps)
    np.testing.assert_allclose(
        np.sort(after.limits), np.sort(gain * before.limits), rtol=1e-4, atol=1e-4 * abs(gain)
    )


@few
@given(
    seed=SEEDS,
    kind=st.sampled_from(["p", "background", "ratio"]),
    levels=st.tuples(st.floats(1e-6, 0.99), st.floats(1e-6, 0.99)),
)
def test_a_more_lenient_level_keeps_all_that_a_stricter_one_keeps(seed, kind, levels):
    maps = maps_of(seed)
    strict, lax = (apply_rule(maps, Rule(kind, level)).maps != 0 for level in sorted(levels))
    assert not (strict & ~lax).any()


@few
@given(seed=SEEDS, rule=RULES)
def test_the_input_maps_are_not_changed(seed, rule):
    maps = maps_of(seed)
    copy = maps.copy()
    apply_rule(maps, rule)
    np.testing.assert_array_equal(maps, copy)


@few
@given(seed=SEEDS, n_values=st.integers(1, 499), kind=st.sampled_from(["p", "background"]))
def test_a_sparse_map_keeps_every_value(seed, n_values, kind):
    """If more than half of the values are 0, a sparsity penalty has selected the others."""
    maps = np.zeros((1, 1000), dtype=np.float32)
    rng = np.random.default_rng(seed)
    maps[0, rng.permutation(1000)[:n_values]] = rng.standard_normal(n_values) + 1e-3
    kept = apply_rule(maps, Rule(kind, 0.01))
    np.testing.assert_array_equal(kept.maps, maps)
    np.testing.assert_array_equal(kept.limits, [[0.0, 0.0]])


@pytest.mark.parametrize("rule", ["p", "background", "ratio"])
@pytest.mark.parametrize("n_voxels", [1, 2, 5, 1000])
def test_an_empty_map_stays_empty(n_voxels, rule):
    kept = apply_rule(np.zeros((3, n_voxels), dtype=np.float32), parse_rule(rule))
    assert not kept.maps.any()
    assert np.isnan(kept.limits).all()


@pytest.mark.parametrize("rule", ["p", "background"])
@pytest.mark.parametrize("value", [1.0, -3e20, 1e-40, 0.1])
def test_a_constant_map_keeps_no_value(value, rule):
    maps = np.full((1, 100), value, dtype=np.float32)
    kept = apply_rule(maps, parse_rule(rule))
    assert not kept.maps.any()
    assert np.isnan(kept.limits).all()
    maps[0, 7] = 2 * value
    np.testing.assert_array_equal(np.flatnonzero(apply_rule(maps, parse_rule(rule)).maps), [7])


@few
@given(
    values=st.lists(
        st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, 1.0]), min_size=1
    ),
    rule=RULES,
)
def test_every_finite_map_gives_finite_values(values, rule):
    kept = apply_rule(np.array([values], dtype=np.float32), rule)
    assert np.isfinite(kept.maps).all()
    assert np.isfinite(kept.limits).all() == kept.maps.any()


def test_the_quartiles_are_used_if_the_window_contains_one_value_only():
    values = np.sort(np.concatenate([np.linspace(-10, 10, 1000), np.full(900, 0.5)]))
    null = fit_null(values.astype(np.float32))
    n_values = len(values)
    low, high = values[(n_values - 1) // 4], values[-1 - (n_values - 1) // 4]
    assert null.centre == 0.5
    assert null.sd == pytest.approx((high - low) / (2 * stats.norm.ppf(0.75)))


def test_limits_of_a_null_are_its_quantiles():
    lower, upper = Null(2.0, 3.0).limits(0.05)
    assert (lower, upper) == pytest.approx(stats.norm.interval(0.95, loc=2.0, scale=3.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thresholded_maps_are_float32(dtype):
    maps = maps_of(3).astype(dtype)
    for text in ("p", "background", "ratio"):
        assert apply_rule(maps, parse_rule(text)).maps.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("p", Rule("p", 0.001)),
        ("background", Rule("background", 0.05)),
        ("ratio", Rule("ratio", 1.0)),
        ("p:1e-5", Rule("p", 1e-5)),
        ("background:0.1", Rule("background", 0.1)),
        ("ratio:2.5", Rule("ratio", 2.5)),
    ],
)
def test_rules_are_read_as_they_are_written(text, rule):
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "z",
        "p:",
        "p:0",
        "p:1",
        "p:-0.1",
        "p:nan",
        "p:x",
        "background:5",
        "ratio:0",
        "ratio:inf",
        "P",
        ":",
    ],
)
def test_an_invalid_rule_is_refused_with_the_valid_ones(text):
    with pytest.raises(ValueError, match=r"background:0\.05|a number above 0"):
        parse_rule(text)


def test_the_description_names_the_level_and_its_measure():
    assert rule_in_words(Rule("ratio", 1.0), "voxels").startswith(
        "only the n_voxels / n_components largest absolute values of each map. "
    )
    assert "the 0.5 × n_voxels / n_components largest" in rule_in_words(
        Rule("ratio", 0.5), "voxels"
    )
    assert "two-sided p of at most 0.001, not corrected" in rule_in_words(
        Rule("p", 0.001), "voxels"
    )
    assert "Hochberg keeps at a level of 0.05, with" in rule_in_words(
        Rule("background", 0.05), "voxels"
    )


@pytest.mark.parametrize("kind", ["background", "p", "isotropy", "ratio"])
def test_every_description_says_that_it_is_no_test(kind):
    words = rule_in_words(Rule(kind, 0.1), "voxels")
    assert words.startswith("only ")
    assert not words.endswith(".")
    assert "a rule for where to cut a map, not a test: maps of pure noise keep voxels" in words
    for claim in ("false discovery", "false positive", "control", "improbable", "significant"):
        assert claim not in words


def test_the_rule_is_not_described_where_a_penalty_did_its_work():
    rule = Rule("background", 0.05)
    sparse = is_sparse(np.array([[0, 0, 0, 1], [0, 0, 1, 2], [0, 0, 0, 0]], dtype=np.float32))
    assert sparse.tolist() == [True, False, True]
    none, all_of_them = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
    assert kept_in_words(rule, none, "voxels") == rule_in_words(rule, "voxels")
    words = kept_in_words(rule, all_of_them, "vertices")
    assert words.startswith("all values that are not 0; the sparsity penalty has already set ")
    assert words.endswith("half of the vertices to 0, and no threshold is applied")
    both = kept_in_words(rule, sparse, "voxels")
    assert both.startswith("all values that are not 0 of maps that are sparse; the sparsity ")
    assert both.endswith(f"threshold is applied; of other maps, {rule_in_words(rule, 'voxels')}")
    assert kept_in_words(Rule("ratio", 1), all_of_them, "voxels") == rule_in_words(
        Rule("ratio", 1), "voxels"
    )


@pytest.mark.parametrize("text", ["fdr", "fdr:0.1", "fdr:"])
def test_the_former_name_is_refused_with_the_present_one(text):
    """In settings files that are used again."""
    with pytest.raises(ValueError, match="is now called background") as refused:
        parse_rule(text)
    assert text.replace("fdr", "background") in str(refused.value)
