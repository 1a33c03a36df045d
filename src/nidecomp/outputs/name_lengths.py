"""Check that the names of all files that an analysis will write are short enough."""

from __future__ import annotations

from dataclasses import replace

from nidecomp.bids.names import FileLabels, projected_file, regressed_file
from nidecomp.config.settings import Settings
from nidecomp.core.atomic import LONGEST_PREFIX
from nidecomp.core.hemispheres import is_pair
from nidecomp.core.inventory import Inventory, RefusedRun
from nidecomp.core.records import UsableRun

# The limit of Linux's and macOS's file systems, in bytes.
_LONGEST_NAME = 255
# Hashes and endings that the work folder adds to the name of a run.
_IN_WORK_FOLDER = "_" + 20 * "x" + "_10_bold_" + 12 * "x" + ".dtseries.nii"


def refuse_long_names(inventory: Inventory, settings: Settings) -> Inventory:
    """Refuse runs for which a file would have a name that is too long, before any work is done.

    Parameters
    ----------
    inventory : Inventory
    settings : Settings

    Returns
    -------
    Inventory
    """
    fits: list[UsableRun] = []
    refused = list(inventory.refused)
    lengths: dict[tuple[object, ...], int] = {}
    for run in inventory.used:
        # Labels that are as long make names that are as long.
        alike = (len(run.label.encode()), run.files.space, run.files.res, run.files.cohort)
        length = lengths.get(alike) or lengths.setdefault(alike, _longest_name(run, settings))
        if length <= _LONGEST_NAME:
            fits.append(run)
        else:
            reason = (
                f"its name is too long: files of its results would have names of {length} bytes, "
                f"but file systems allow {_LONGEST_NAME}; shorten the labels in its file names, or "
                "--atlas-label"
            )
            refused.append(RefusedRun(run.key, run.files.bold, reason))
    refused.sort(key=lambda run: run.key.label)
    return replace(inventory, used=tuple(fits), refused=tuple(refused))


def _longest_name(run: UsableRun, settings: Settings) -> int:
    """Return the length in bytes of the longest name of a file made for a run."""
    science = settings.science
    labels = FileLabels(
        space=run.files.space,
        atlas=science.decomposition.atlas_label,
        method=max(science.decomposition.methods, key=len),
        n_components=10**4,
        res=run.files.res,
        cohort=run.files.cohort,
        den=run.files.den,
        hemi="L" if is_pair(run.files.bold) else None,
    )
    key, extension = run.key, max(".nii.gz", f".{run.files.bold.name.partition('.')[2]}", key=len)
    names = [
        projected_file(key, "relmat", ".tsv", labels, stat="pearsoncorrelation").name,
        projected_file(
            key, "components", extension, labels, stat="effect", desc="fixedeffects"
        ).name,
        regressed_file(key, extension, labels, aggressive=False).name,
        run.label + _IN_WORK_FOLDER,
    ]
    return LONGEST_PREFIX + max(len(name.encode()) for name in names)
