"""Install a subdataset of a DataLad superdataset, whose folder is empty before."""

from __future__ import annotations

import shutil
from pathlib import Path

from nidecomp.annex.git import repository_of, run_in
from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line


def is_not_installed(folder: Path) -> bool:
    """Return whether a folder is an empty one that stands for a subdataset.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    if not folder.is_dir() or any(folder.iterdir()):
        return False
    # Through links to the folder, which may lie in another repository or in none.
    folder = folder.resolve()
    top = repository_of(folder)
    modules = None if top is None else top / ".gitmodules"
    if top is None or modules is None or not modules.is_file():
        return False
    inside = folder.relative_to(top).as_posix()
    lines = modules.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.replace(" ", "").strip() == f"path={inside}" for line in lines)


def install(folder: Path) -> None:
    """Clone a subdataset into its folder, without the content of annexed files.

    Parameters
    ----------
    folder : Path
        See `is_not_installed`.

    Raises
    ------
    UsageError
        It cannot be cloned.
    """
    target = folder.resolve()
    top = repository_of(target)
    assert top is not None  # noqa: S101  as `is_not_installed` found
    datalad = shutil.which("datalad")
    command = (
        [datalad, "get", "--no-data", "--dataset", str(top), str(target)]
        if datalad
        else ["git", "submodule", "update", "--init", "--", str(target)]
    )
    done = run_in(top, command)
    if done.returncode or is_not_installed(folder):
        why = in_one_line((done.stderr or done.stdout).decode(errors="replace"))
        raise UsageError(f"--fetch: the subdataset {folder} could not be installed: {why}")


def make_installed(folder: Path, *, fetch: bool) -> None:
    """Install the subdataset that a folder, or the derivatives in it, is, if it is one.

    Parameters
    ----------
    folder : Path
        As given by the user.
    fetch : bool
        Whether it may be installed (``--fetch``).

    Raises
    ------
    UsageError
        It is not installed, and may not or cannot be.
    """
    for one in (folder, *folder.glob("derivatives/fmriprep*")):
        if not is_not_installed(one):
            continue
        if not fetch:
            raise UsageError(
                f"{one} is a DataLad subdataset that is not installed: try 'datalad get -n {one}', "
                "or --fetch, which also fetches the content of files as it is needed."
            )
        install(one)
