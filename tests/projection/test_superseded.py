"""The work folder keeps the projections that can be used again, and nothing of earlier fits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from nidecomp.projection.all_runs import Projections
from nidecomp.projection.superseded import remove_superseded

NOW, BEFORE = "0123456789abcdef0123", "fedcba98765432100123"


def files_of(digest: str) -> list[str]:
    return [
        f"maps_{digest}.npy",
        f"sub-01_ses-a_task-rest_{digest}.npz",
        f"sub-01_ses-a_task-rest_{digest}_0_z.nii.gz",
        f"sub-01_ses-a_task-rest_{digest}_10_noise.npz",
        f"sub-01_{digest}_0_z.nii.gz",
        f"sub-01_{digest}_0_summary.npy",
    ]


def test_files_of_earlier_fits_are_removed_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "projected"
    folder.mkdir()
    strange = ["notes.txt", f".12-0123abcd-maps_{BEFORE}.npy", "sub-01_task-rest.npz"]
    for name in (*files_of(NOW), *files_of(BEFORE), *strange):
        (folder / name).write_text("content")
    run = SimpleNamespace(stem=folder / f"sub-01_ses-a_task-rest_{NOW}")
    combined = SimpleNamespace(maps={"z": folder / f"sub-01_{NOW}_0_z.nii.gz"})
    now = Projections(
        runs=(run,),  # type: ignore[arg-type]
        paths=(folder / f"maps_{NOW}.npy",),
        combined={"01": (combined,)},  # type: ignore[dict-item]
    )
    assert remove_superseded(now, tmp_path) == len(files_of(BEFORE))
    assert {path.name for path in folder.iterdir()} == {*files_of(NOW), *strange}
    assert remove_superseded(now, tmp_path / "other") == 0


def test_what_was_compared_stays_and_what_was_compared_before_goes(tmp_path: Path) -> None:
    """Of runs that are combined to be compared, too."""
    names = {
        f"projected/sub-01_{NOW}_0_effect.npy": True,
        f"projected/sub-02_{BEFORE}_0_effect.npy": False,
        f"compared/{NOW}.npz": True,
        f"compared/{BEFORE}.npz": False,
        "compared/.12-0123abcd-temporary.npz": True,
        "compared/notes.txt": True,
    }
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("content")
    kept = [tmp_path / f"compared/{NOW}.npz", tmp_path / f"projected/sub-01_{NOW}_0_effect.npy"]
    assert remove_superseded(Projections(), tmp_path, kept) == 2
    assert {name for name in names if (tmp_path / name).exists()} == {
        name for name, stays in names.items() if stays
    }
