"""Locate the fMRIPrep dataset, and check the input and output folders."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from nidecomp.bids.names import OLD_IMAGES, OLD_NAMES
from nidecomp.core.content import is_not_fetched, not_fetched
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.text import in_one_line, parse_json, read_text

DESCRIPTION = "dataset_description.json"
OUR_NAME = "NiDecomp"
# The first version of fMRIPrep whose grayordinates have the right surfaces.
_RIGHT_GRAYORDINATES = (20, 0, 3)


def locate_derivatives(bids_dir: Path, *, skip_validation: bool = False) -> Path:
    """Return the fMRIPrep output folder, given BIDS_DIR.

    Parameters
    ----------
    bids_dir : Path
        The output folder of fMRIPrep, a raw dataset with ``derivatives/fmriprep*``, or a folder
        with ``fmriprep`` (fMRIPrep's legacy layout, which has ``freesurfer`` beside it).
    skip_validation : bool
        Accept the folder whatever its ``dataset_description.json`` says.

    Returns
    -------
    Path
        The absolute path of the derivative dataset; symbolic links are kept as they are.

    Raises
    ------
    UsageError
        The folder does not exist.
    NothingToDoError
        The folder has no derivative dataset, or several.
    """
    if not bids_dir.is_dir():
        raise UsageError(f"BIDS_DIR {bids_dir} does not exist or is not a folder.")
    root = bids_dir.absolute()
    description, broken = _try_description(root)
    if description.get("DatasetType") == "derivative":
        return root
    inside, closed = _fmripreps_in(root / "derivatives", skip_validation=skip_validation)
    if not inside and not any(root.glob("sub-*")):
        # The legacy layout; work folders of fMRIPrep may have similar names.
        here, closed_here = _fmripreps_in(root, skip_validation=skip_validation)
        inside = [folder for folder in here if any(folder.glob("sub-*"))]
        closed = closed or closed_here
    if len(inside) == 1:
        return inside[0]
    if skip_validation and not inside:
        return root
    if inside:
        names = ", ".join(str(folder) for folder in inside)
        raise NothingToDoError(
            f"{root} contains several fMRIPrep outputs. Use one of them as BIDS_DIR: {names}."
        )
    if any(root.glob(f"sub-*/**/func/{OLD_IMAGES}")):
        raise NothingToDoError(f"{root}: {OLD_NAMES}.")
    has_images = any(
        any(root.glob(f"sub-*/**/func/*_{name}"))
        for name in ("desc-*_bold.nii*", "bold.dtseries.nii", "bold.func.gii")
    )
    if has_images or broken:
        wrong = (
            f"cannot be read: {broken}."
            if broken
            else 'does not describe a derivative dataset ("DatasetType": "derivative").'
        )
        hint = " If this is the output of fMRIPrep, use --skip-bids-validation."
        raise NothingToDoError(f"{root / DESCRIPTION} {wrong}{hint if has_images else ''}")
    if closed:
        raise NothingToDoError(
            f"{root} is not the output of fMRIPrep, and {closed} cannot be read."
        )
    raise NothingToDoError(
        f"{root} is not the output of fMRIPrep, and has no fmriprep or derivatives/fmriprep with a "
        f"{DESCRIPTION}. Use the output folder of fMRIPrep as BIDS_DIR."
    )


def _fmripreps_in(derivatives: Path, *, skip_validation: bool) -> tuple[list[Path], Path | None]:
    """Return the folders in a folder that may be fMRIPrep's, and one that cannot be read.

    The second value is None if all of them can be read.
    """
    found: list[Path] = []
    closed = None
    try:
        folders = sorted(derivatives.iterdir())
    except PermissionError:
        return found, derivatives
    except OSError:
        return found, closed
    for folder in folders:
        if not folder.name.startswith("fmriprep"):
            continue
        try:
            if not skip_validation:
                (folder / DESCRIPTION).stat()
            found.append(folder)
        except PermissionError:
            closed = folder
        except OSError:
            # The folder has no dataset_description.json.
            pass
    return found, closed


def read_description(root: Path) -> dict[str, Any]:
    """Return the content of dataset_description.json, empty if it is missing or invalid.

    Name and License are left out if they are not text, as required by BIDS.
    """
    return _try_description(root)[0]


def _try_description(root: Path) -> tuple[dict[str, Any], str | None]:
    """Return the content of dataset_description.json, and what is wrong with the file, if any."""
    if is_not_fetched(root / DESCRIPTION):
        return {}, not_fetched("the file", root / DESCRIPTION)
    try:
        content = parse_json(read_text(root / DESCRIPTION))
    except (FileNotFoundError, NotADirectoryError):
        return {}, None
    except OSError as error:
        return {}, in_one_line(error.strerror or error)
    except ValueError as error:
        return {}, in_one_line(error)
    if not isinstance(content, dict):
        return {}, "it does not contain a JSON object"
    no_text = {name for name in ("Name", "License") if not isinstance(content.get(name), str)}
    return {name: value for name, value in content.items() if name not in no_text}, None


def wrong_grayordinates(root: Path) -> str | None:
    """Return why the grayordinates of a dataset cannot be used, or None.

    Parameters
    ----------
    root : Path
        A derivative dataset. Before BIDS 1.4, its description had ``PipelineDescription``.

    Returns
    -------
    str or None
        A reason to refuse a run.
    """
    described = read_description(root)
    made_by = described.get("GeneratedBy") or described.get("PipelineDescription")
    for entry in made_by if isinstance(made_by, list) else [made_by]:
        if not isinstance(entry, dict) or not str(entry.get("Name")).lower().startswith("fmriprep"):
            continue
        version = re.match(r"(\d+)\.(\d+)\.(\d+)", str(entry.get("Version")))
        if version and tuple(map(int, version.groups())) < _RIGHT_GRAYORDINATES:
            return (
                f"it was written by fMRIPrep {version[0]}; before 20.0.3, the surfaces in "
                "grayordinates are wrong: run fMRIPrep again with a newer version"
            )
    return None


def is_ours(root: Path) -> bool:
    """Return whether the dataset in a folder was generated by NiDecomp."""
    made_by = read_description(root).get("GeneratedBy")
    return isinstance(made_by, list) and any(
        isinstance(entry, dict) and entry.get("Name") == OUR_NAME for entry in made_by
    )


def check_folders(bids_dir: Path, root: Path, output_dir: Path) -> None:
    """Check that the output folder is outside the input and holds no dataset of another program.

    Parameters
    ----------
    bids_dir : Path
        The input folder given by the user.
    root : Path
        The derivative dataset found in it.
    output_dir : Path
        The folder for the results.

    Raises
    ------
    UsageError
        The output folder cannot be used.
    """
    if _is_input(output_dir, bids_dir, root):
        raise UsageError(
            f"OUTPUT_DIR {output_dir} is inside the input dataset, which is never modified. Choose "
            "a folder outside, for example next to it."
        )
    _check_no_file_above(output_dir, "OUTPUT_DIR")
    if (output_dir / DESCRIPTION).exists() and not is_ours(output_dir):
        raise UsageError(
            f"OUTPUT_DIR {output_dir} contains a dataset that was not generated by NiDecomp (see "
            f"its {DESCRIPTION}). Choose another folder."
        )


def check_outside(bids_dir: Path, root: Path, folder: Path, option: str) -> None:
    """Check that a folder given by an option is outside the input and can be created.

    Raises
    ------
    UsageError
        It is inside the input, or a part of its path is a file.
    """
    _check_no_file_above(folder, option)
    if _is_input(folder, bids_dir, root):
        raise UsageError(
            f"{option} {folder} is inside the input dataset, which is never modified. Choose a "
            "folder outside."
        )


def _check_no_file_above(folder: Path, option: str) -> None:
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise UsageError(f"{option} {folder}: {part} is a file, not a folder.")


def _is_input(folder: Path, bids_dir: Path, root: Path) -> bool:
    """Return whether a folder is inside the preprocessed or the raw dataset.

    The derivatives folder of a raw dataset does not count, because outputs belong there.
    """
    target, raw, source = folder.resolve(), bids_dir.resolve(), root.resolve()
    in_derivatives = raw != source and raw / "derivatives" in target.parents
    return _lies_in(target, source) or (_lies_in(target, raw) and not in_derivatives)


def _lies_in(folder: Path, other: Path) -> bool:
    return folder == other or other in folder.parents


SETTINGS = PurePosixPath("logs/settings.toml")


def sources_of(output_dir: Path) -> dict[str, str]:
    """Return the inputs of the results in a folder: names and paths relative to it."""
    links = read_description(output_dir).get("DatasetLinks")
    return links if isinstance(links, dict) else {}
