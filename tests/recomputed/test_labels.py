"""Labels of networks and of an atlas, the place of maps, and the flags that follow from numbers."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.image import new_img_like, resample_img
from numpy.typing import NDArray

from recomputed.atlas import atlas_names, atlas_path
from recomputed.published import ROOT, Published, agree, numbers, recomputes

METHODS = ("canica", "dictlearning")
OUTPUTS = ("demo", "detailed")
SHIPPED = ROOT / "src" / "nidecomp" / "annotation" / "data"
LEAST_R = 0.3
# Files hold float32, and programs round the places where they interpolate in different ways.
OF_R, OF_SHARE = 2e-5, 2e-5
# Limits of the flags, as docs/decisions/0011-evidence.md and the reasons of flags give them.
CSF, OUTSIDE, HIGH_FREQUENCY, MOTION = 0.40, 0.60, 0.50, 0.35
ODDS, ODDS_IF_COVERED, COVERED, LEAST_EDGE = 7.0, 2.0, 0.12, 1 / 3
STRONG, OF_PEAK = 2.0, 0.5


@pytest.fixture(params=OUTPUTS)
def published(request: pytest.FixtureRequest) -> Published:
    return request.getfixturevalue(request.param)


def at_voxels(
    published: Published, path: Path, how: str = "linear", beyond: float = 0.0
) -> NDArray[np.float64]:
    """Interpolate an image at the voxels of the group mask with nilearn."""
    image = nib.load(path)
    image = new_img_like(image, np.asarray(image.dataobj, dtype=np.float32))
    with warnings.catch_warnings():
        # That shares of 0 and 1 are interpolated is meant.
        warnings.simplefilter("ignore", UserWarning)
        there = resample_img(
            image,
            target_affine=published.affine,
            target_shape=published.mask.shape,
            interpolation=how,
            fill_value=beyond,
            force_resample=True,
            copy_header=True,
        )
    return np.asarray(there.dataobj, dtype=np.float64)[published.mask].T


def check_labels(
    published: Published,
    method: str,
    prefix: str,
    references: NDArray[np.float64],
    names: list[str],
) -> None:
    maps = published.maps(method)
    rows = published.table(f"tpl-*/func/*_seg-{method}_*_metrics.tsv")
    r = np.corrcoef(maps, references)[: len(maps), len(maps) :]
    order = np.argsort(-r, axis=1, kind="stable")
    best, second = (np.take_along_axis(r, order[:, [which]], 1)[:, 0] for which in (0, 1))
    agree(f"{prefix}label_r", numbers(rows, f"{prefix}label_r"), best, OF_R)
    agree(f"second_{prefix}label_r", numbers(rows, f"second_{prefix}label_r"), second, OF_R)
    named = (best >= LEAST_R) & ~published.at_chance(method)
    expected = [
        names[index] if is_named else "n/a"
        for index, is_named in zip(order[:, 0], named, strict=True)
    ]
    assert [row[f"{prefix}label"] for row in rows] == expected
    assert [row[f"second_{prefix}label"] for row in rows] == [
        "n/a" if is_noise else names[index]
        for index, is_noise in zip(order[:, 1], published.at_chance(method), strict=True)
    ]


@pytest.mark.parametrize("method", METHODS)
@recomputes("*_metrics.tsv", "label", "label_r", "second_label", "second_label_r")
def test_the_most_similar_networks(published: Published, method: str) -> None:
    lines = (SHIPPED / "networks.tsv").read_text(encoding="utf-8").splitlines()
    names = [line.split("\t")[1] for line in lines[1:]]
    references = at_voxels(published, SHIPPED / "networks.nii.gz")
    check_labels(published, method, "", references, names)


@pytest.mark.parametrize("method", METHODS)
@recomputes(
    *("*_metrics.tsv", "atlas_label", "atlas_label_r"),
    *("second_atlas_label", "second_atlas_label_r"),
)
def test_the_most_similar_regions_of_the_atlas(detailed: Published, method: str) -> None:
    labels = at_voxels(detailed, atlas_path(detailed.output), "nearest")
    names = atlas_names()
    references = np.array([labels == number for number in range(1, len(names) + 1)], dtype=float)
    check_labels(detailed, method, "atlas_", references, names)


@pytest.mark.parametrize("method", METHODS)
@recomputes(
    *("*_metrics.tsv", "csf_share", "edge_share", "outside_share", "edge_coverage", "edge_limit")
)
def test_the_weight_of_maps_where_no_network_is(published: Published, method: str) -> None:
    maps = published.maps(method)
    rows = published.table(f"tpl-*/func/*_seg-{method}_*_metrics.tsv")
    csf, edge = (at_voxels(published, SHIPPED / f"{name}.nii.gz") for name in ("csf", "edge"))
    out = at_voxels(published, SHIPPED / "out.nii.gz", beyond=1.0)
    size = np.abs(maps)
    rms, largest = np.sqrt((maps**2).mean(axis=1)), size.max(axis=1)
    strong = (size > 0) & (size >= np.minimum(STRONG * rms, OF_PEAK * largest)[:, None])
    weight = np.where(strong, maps**2, 0)
    weight /= weight.sum(axis=1, keepdims=True)
    for name, tissue in (("csf", csf), ("edge", edge), ("outside", out)):
        agree(f"{name}_share", numbers(rows, f"{name}_share"), weight @ tissue, OF_SHARE)
    border = edge + out
    coverage = strong @ border / border.sum()
    agree("edge_coverage", numbers(rows, "edge_coverage"), coverage, OF_SHARE)
    # The share at which the odds of the map are that many times those of the mask's voxels.
    mask_odds = border.mean() / (1 - border.mean())
    odds = np.where(coverage > COVERED, ODDS_IF_COVERED, ODDS) * mask_odds
    limit = np.maximum(LEAST_EDGE, odds / (1 + odds))
    agree("edge_limit", numbers(rows, "edge_limit"), limit, OF_SHARE)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


@pytest.mark.parametrize("method", METHODS)
@recomputes("*_metrics.tsv", "flags", "flag_reasons")
def test_flags_follow_from_the_numbers_and_give_them(published: Published, method: str) -> None:
    rows = published.table(f"tpl-*/func/*_seg-{method}_*_metrics.tsv")
    about = published.json(f"tpl-*/func/*_seg-{method}_*_decomposition.json")
    n_participants = int(str(about["NumberOfParticipants"]))
    seen = set()
    for row in rows:
        one = {
            name: float(row[name].replace("n/a", "nan"))
            for name in ("csf_share", "edge_share", "outside_share", "edge_limit", "edge_coverage",
                         "high_frequency_share", "motion_r", "dominance")
        }  # fmt: skip
        border = one["edge_share"] + one["outside_share"]
        alone = 1 / np.sqrt(n_participants)
        rules = {
            "csf": (one["csf_share"], CSF, percent),
            "edge": (border, one["edge_limit"], percent),
            "outside": (one["outside_share"], OUTSIDE, percent),
            "high-frequency": (one["high_frequency_share"], HIGH_FREQUENCY, percent),
            "motion": (one["motion_r"], MOTION, "{:.2f}".format),
            "single-participant": (
                one["dominance"] if n_participants >= 4 else np.nan, alone, percent,
            ),
        }  # fmt: skip
        raised = [flag for flag, (value, limit, _) in rules.items() if value > limit]
        assert row["flags"] == (",".join(raised) or "n/a")
        reasons = row["flag_reasons"].split(". ") if raised else []
        assert len(reasons) == len(raised)
        for flag, reason in zip(raised, reasons, strict=True):
            value, limit, shown = rules[flag]
            before, _, after = reason.partition("; the limit is ")
            assert shown(value) in before
            assert after.startswith(shown(limit))
        if "edge" in raised:
            assert f"covers {percent(one['edge_coverage'])} of both" in row["flag_reasons"]
        assert raised or row["flag_reasons"] == "n/a"
        seen |= set(raised)
