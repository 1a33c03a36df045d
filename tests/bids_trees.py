"""Small trees of empty files with fMRIPrep's names, and what is found in them."""

from __future__ import annotations

from pathlib import Path

from nidecomp.bids.index import FoundRuns, find_runs
from nidecomp.config.science import Selection

SPACE = "MNI152NLin2009cAsym"


def stem(sub: str = "01", ses: str | None = None, task: str | None = "rest", **more: str) -> str:
    """Return a run's path up to its space: ``sub-01/func/sub-01_task-rest``."""
    parts = {"sub": sub, "ses": ses, "task": task, **more}
    folder = f"sub-{sub}/ses-{ses}/func/" if ses else f"sub-{sub}/func/"
    return folder + "_".join(f"{name}-{label}" for name, label in parts.items() if label)


def bold(run: str, space: str = SPACE, res: str = "", desc: str = "preproc") -> str:
    return f"{run}_space-{space}{'_res-' * bool(res)}{res}_desc-{desc}_bold.nii.gz"


def mask(run: str, space: str = SPACE, res: str = "") -> str:
    return f"{run}_space-{space}{'_res-' * bool(res)}{res}_desc-brain_mask.nii.gz"


def confounds(run: str, suffix: str = "timeseries") -> str:
    return f"{run}_desc-confounds_{suffix}.tsv"


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def make_runs(root: Path, *runs: str, space: str = SPACE, res: str = "") -> Path:
    for run in runs:
        make(root, bold(run, space, res), mask(run, space, res), confounds(run))
    return root


def link_to_nothing(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("../../.git/annex/objects/not-fetched")


def search(root: Path, **selection: object) -> FoundRuns:
    return find_runs(root, Selection(**selection))  # type: ignore[arg-type]
