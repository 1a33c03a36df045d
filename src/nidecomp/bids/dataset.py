"""The folders: where fMRIPrep's output is, and whether input and output may stand as they do."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from nidecomp.config.settings import Settings
from nidecomp.core.errors import NothingToDoError, UsageError
from nidecomp.core.text import in_one_line, parse_json, read_text

DESCRIPTION = "dataset_description.json"
OUR_NAME = "NiDecomp"


def locate_derivatives(bids_dir: Path, *, skip_validation: bool = False) -> Path:
    """Find fMRIPrep's output in the folder that the user named.

    Parameters
    ----------
    bids_dir : Path
        fMRIPrep's output folder, or a raw dataset with ``derivatives/fmriprep*`` inside.
    skip_validation : bool
        Take the folder as it is, whatever its ``dataset_description.json`` says.

    Returns
    -------
    Path
        The absolute path of the derivative dataset; symbolic links are kept as they are.

    Raises
    ------
    UsageError
        There is no such folder.
    NothingToDoError
        The folder holds no derivative dataset, or several.
    """
    if not bids_dir.is_dir():
        raise UsageError(f"BIDS_DIR {bids_dir}: there is no such folder.")
    root = bids_dir.absolute()
    description, broken = _try_description(root)
    if description.get("DatasetType") == "derivative":
        return root
    inside, closed = _fmripreps_in(root / "derivatives", skip_validation=skip_validation)
    if len(inside) == 1:
        return inside[0]
    if skip_validation and not inside:
        return root
    if inside:
        names = ", ".join(str(folder) for folder in inside)
        raise NothingToDoError(f"{root} holds several fMRIPrep outputs: name one of {names}.")
    has_images = any(root.glob("sub-*/**/func/*_desc-*_bold.nii*"))
    if has_images or broken:
        wrong = (
            f"cannot be read: {broken}."
            if broken
            else 'does not say that this is a derivative dataset ("DatasetType": "derivative").'
        )
        way_out = " If it is fMRIPrep's output all the same, add --skip-bids-validation."
        raise NothingToDoError(f"{root / DESCRIPTION} {wrong}{way_out if has_images else ''}")
    if closed:
        raise NothingToDoError(f"{root} is not fMRIPrep's output, and {closed} cannot be read.")
    raise NothingToDoError(
        f"{root} is not fMRIPrep's output, and no derivatives/fmriprep with a "
        f"{DESCRIPTION} is inside: name the folder that fMRIPrep wrote."
    )


def _fmripreps_in(derivatives: Path, *, skip_validation: bool) -> tuple[list[Path], Path | None]:
    """Find what may be fMRIPrep's in a raw dataset's derivatives, and one where we may not look."""
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
            # There is none.
            pass
    return found, closed


def read_description(root: Path) -> dict[str, Any]:
    """Read a dataset's description; an absent or broken one is an empty one.

    Name and licence that are no text, which BIDS wants them to be, are left out.
    """
    return _try_description(root)[0]


def _try_description(root: Path) -> tuple[dict[str, Any], str | None]:
    """Read a dataset's description; say why one that is there is an empty one."""
    try:
        content = parse_json(read_text(root / DESCRIPTION))
    except (FileNotFoundError, NotADirectoryError):
        return {}, None
    except OSError as error:
        return {}, in_one_line(error.strerror or error)
    except ValueError as error:
        return {}, in_one_line(error)
    if not isinstance(content, dict):
        return {}, "it holds no JSON object"
    no_text = {name for name in ("Name", "License") if not isinstance(content.get(name), str)}
    return {name: value for name, value in content.items() if name not in no_text}, None


def is_ours(root: Path) -> bool:
    """Tell whether NiDecomp made the dataset in this folder."""
    made_by = read_description(root).get("GeneratedBy")
    return isinstance(made_by, list) and any(
        isinstance(entry, dict) and entry.get("Name") == OUR_NAME for entry in made_by
    )


def check_folders(bids_dir: Path, root: Path, output_dir: Path) -> None:
    """Refuse an output folder that would touch the input or another dataset.

    Parameters
    ----------
    bids_dir : Path
        The folder that the user named.
    root : Path
        The derivative dataset found in it.
    output_dir : Path
        Where the results are to go.

    Raises
    ------
    UsageError
    """
    if _is_input(output_dir, bids_dir, root):
        raise UsageError(
            f"OUTPUT_DIR {output_dir} is the input or lies inside it: the input is never written "
            "to. Choose a folder outside, for example next to it."
        )
    _check_no_file_above(output_dir, "OUTPUT_DIR")
    if (output_dir / DESCRIPTION).exists() and not is_ours(output_dir):
        raise UsageError(
            f"OUTPUT_DIR {output_dir} already holds a dataset that NiDecomp did not make "
            f"(see its {DESCRIPTION}). Choose another folder."
        )


def check_outside(bids_dir: Path, root: Path, folder: Path, option: str) -> None:
    """Refuse a folder of ours inside the input, or where none can be made.

    Raises
    ------
    UsageError
        Naming the option.
    """
    _check_no_file_above(folder, option)
    if _is_input(folder, bids_dir, root):
        raise UsageError(f"{option} {folder} lies inside the input, which is never written to.")


def _check_no_file_above(folder: Path, option: str) -> None:
    for part in (folder, *folder.parents):
        if part.exists() and not part.is_dir():
            raise UsageError(f"{option} {folder}: {part} is a file, not a folder.")


def _is_input(folder: Path, bids_dir: Path, root: Path) -> bool:
    """Tell whether a folder is, or lies in, the preprocessed or the raw dataset.

    A raw dataset's own place for derivatives is where they belong.
    """
    target, raw, source = folder.resolve(), bids_dir.resolve(), root.resolve()
    in_derivatives = raw != source and raw / "derivatives" in target.parents
    return _lies_in(target, source) or (_lies_in(target, raw) and not in_derivatives)


def _lies_in(folder: Path, other: Path) -> bool:
    return folder == other or other in folder.parents


SETTINGS = PurePosixPath("logs/settings.toml")


def link_to(root: Path, settings: Settings) -> str:
    """Give the input's place relative to the output.

    An absolute path would leak user names and break when both are moved together.
    """
    return Path(os.path.relpath(root.resolve(), settings.output_dir.resolve())).as_posix()


def source_of(output_dir: Path) -> str | None:
    """Read from which input, relative to it, the results in a folder were made."""
    links = read_description(output_dir).get("DatasetLinks")
    return links.get("preprocessed") if isinstance(links, dict) else None
