"""What will be done is said before the work begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_examples import run_of

from nidecomp.config.parse import settings_from_options
from nidecomp.config.request import Request
from nidecomp.core.records import RunKey
from nidecomp.outputs.request_in_words import request_as_lines

RUNS = [
    run_of(RunKey((("sub", sub), ("task", task)))) for sub in ("01", "02") for task in ("a", "b")
]


def lines(runs: list = RUNS, **options: object) -> list[str]:
    settings = settings_from_options("in", Path("out"), "group", options)
    return request_as_lines(runs, Request(settings, settings.science))


def test_defaults() -> None:
    denoising, decomposition = lines(RUNS[:1])
    assert denoising == (
        "Denoising: strategy simple, no further filter, no scrubbing, smoothing 6 mm"
    )
    assert decomposition == (
        "Decomposition: CanICA and dictionary learning with 20 components (--n-components auto "
        "chooses their number), from 1 run of 1 participant; task a"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"high_pass": 0.01, "low_pass": 0.1}, "high-pass filter 0.01 Hz, low-pass filter 0.1 Hz"),
        ({"fd_threshold": 0.3}, "scrubbing above 0.3 mm"),
        ({"denoise_strategy": "scrubbing"}, "scrubbing above 0.5 mm"),
        ({"dictlearning_smoothing_fwhm": 2}, "smoothing 6 mm (2 mm for dictionary learning)"),
        ({"n_components": "auto"}, "the number of components will be chosen, from 4 runs"),
        ({"n_components": [5, 10], "methods": ["canica"]}, "CanICA with 5 and 10 components"),
        ({"maps": "atlas.nii.gz"}, "Template maps: atlas.nii.gz, from 4 runs of 2 participants"),
        ({}, "tasks pooled: a, b"),
    ],
)
def test_what_is_asked_for_is_said(options: dict[str, object], said: str) -> None:
    assert said in "\n".join(lines(**options))
