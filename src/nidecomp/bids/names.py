"""What files are called: the only place that knows BIDS names, ours and fMRIPrep's entities.

Names follow BIDS 1.11.1 with the drafts BEP012 and BEP017 where the standard has no word yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from nidecomp.core.records import RunKey

BIDS_VERSION = "1.11.1"

# The entities that make a run a run, in the order of the standard: short name -> pybids name.
RUN_ENTITIES = {
    "sub": "subject",
    "ses": "session",
    "task": "task",
    "acq": "acquisition",
    "ce": "ceagent",
    "rec": "reconstruction",
    "dir": "direction",
    "run": "run",
    "echo": "echo",
    "part": "part",
    "chunk": "chunk",
}

IGNORED_BY_THE_VALIDATOR = (
    "*.html",
    "figures",
    "work",
    "*_components.*",
    "*_mixing.*",
    "*_timeseries.*",
    "*_decomposition.json",
    "*_relmat.*",
    "*_metrics.*",
    "*_outliers.*",
    "*_peaks.*",
)


def pooled_task(tasks: Iterable[str]) -> str:
    """Name the task of data pooled over several: ``nback+rest``, in alphabetical order."""
    return "+".join(sorted(set(tasks)))


def file_name(entities: Mapping[str, str | int | None], suffix: str, extension: str) -> str:
    """Join entities and suffix to a file name; entities without a value are left out.

    Parameters
    ----------
    entities : mapping
        Short entity name to label, in the order in which they are to stand.
    suffix : str
        What the file is, for example ``components``.
    extension : str
        With its dot.

    Returns
    -------
    str

    Examples
    --------
    >>> file_name({"tpl": "MNI152NLin6Asym", "res": None, "desc": "brain"}, "mask", ".nii.gz")
    'tpl-MNI152NLin6Asym_desc-brain_mask.nii.gz'
    """
    parts = [f"{name}-{value}" for name, value in entities.items() if value is not None]
    return "_".join([*parts, suffix]) + extension


@dataclass(frozen=True)
class FileLabels:
    """What all files of one decomposition have in their names.

    `res` and `cohort` may be None.
    """

    space: str
    atlas: str
    method: str
    n_components: int
    res: str | None = None
    cohort: str | None = None

    def entities(
        self, suffix: str, stat: str | None = None, desc: str | None = None
    ) -> dict[str, str | int | None]:
        """Give what follows the space: which decomposition, which statistic of it."""
        return {
            "atlas": self.atlas,
            "seg": self.method,
            "scale": self.n_components,
            # Tables and descriptions have no voxels, hence no resolution.
            "res": self.res if suffix in {"components", "probseg", "dseg"} else None,
            "stat": stat,
            "desc": desc,
        }


def group_file(
    suffix: str,
    extension: str,
    labels: FileLabels,
    task: str,
    *,
    stat: str | None = None,
    desc: str | None = None,
) -> PurePosixPath:
    """Place one file of a group decomposition below the output folder.

    Parameters
    ----------
    suffix, extension : str
        What the file is; the extension with its dot.
    labels : Labels
        Which decomposition.
    task, stat, desc : str
        Labels; ``stat`` and ``desc`` may be None.

    Returns
    -------
    PurePosixPath
        Relative to the output folder.
    """
    entities: dict[str, str | int | None] = {
        "tpl": labels.space,
        "cohort": labels.cohort,
        "task": task,
        **labels.entities(suffix, stat, desc),
    }
    folder = _template_folder(labels.space, labels.cohort) / "func"
    return folder / file_name(entities, suffix, extension)


def projected_file(
    run: RunKey,
    suffix: str,
    extension: str,
    labels: FileLabels,
    *,
    stat: str | None = None,
    desc: str | None = None,
) -> PurePosixPath:
    """Place one file that a run (or a participant's runs together) has of a decomposition.

    Parameters
    ----------
    run : RunKey
        Whose it is.
    suffix, extension : str
        What the file is; the extension with its dot.
    labels : Labels
        Which decomposition.
    stat, desc : str, optional

    Returns
    -------
    PurePosixPath
        Relative to the output folder.
    """
    where = {"space": labels.space, "cohort": labels.cohort}
    return run_file(run, suffix, extension, {**where, **labels.entities(suffix, stat, desc)})


def mask_file(
    space: str, res: str | None, extension: str, cohort: str | None = None
) -> PurePosixPath:
    """Place the group's brain mask (or its sidecar) below the output folder."""
    entities = {"tpl": space, "cohort": cohort, "res": res, "desc": "brain"}
    return _template_folder(space, cohort) / "anat" / file_name(entities, "mask", extension)


def _template_folder(space: str, cohort: str | None) -> PurePosixPath:
    folder = PurePosixPath(f"tpl-{space}")
    return folder / f"cohort-{cohort}" if cohort else folder


def run_file(
    run: RunKey,
    suffix: str,
    extension: str,
    more: Mapping[str, str | int | None] | None = None,
) -> PurePosixPath:
    """Place one file of one run below the output folder: with the run's own name, and `more`."""
    session = run.get("ses")
    folders = [f"sub-{run.participant}", *([f"ses-{session}"] if session else []), "func"]
    entities: dict[str, str | int | None] = {**dict(run.entities), **(more or {})}
    return PurePosixPath(*folders, file_name(entities, suffix, extension))


def regressed_file(
    run: RunKey, extension: str, labels: FileLabels, *, aggressive: bool
) -> PurePosixPath:
    """Place a run's image without some components of one decomposition, or its sidecar."""
    how = "aggr" if aggressive else "nonaggr"
    more = {
        "space": labels.space,
        "cohort": labels.cohort,
        "res": labels.res,
        "desc": f"{labels.method}{labels.n_components}{how}",
    }
    return run_file(run, "bold", extension, more)


def shared_key(runs: Sequence[RunKey]) -> RunKey:
    """Name some runs of one participant together: by the entities that they agree in.

    Parameters
    ----------
    runs : sequence of RunKey

    Returns
    -------
    RunKey
        Tasks that differ are pooled, because every name has a task.
    """
    first = runs[0].entities
    shared = [pair for pair in first if all(pair in run.entities for run in runs)]
    task = ("task", pooled_task(run.task for run in runs))
    entities = dict([*shared, task])
    return RunKey(tuple((name, entities[name]) for name in RUN_ENTITIES if name in entities))


def atlas_description_file(atlas: str) -> PurePosixPath:
    """Place the atlas's card below the output folder."""
    return PurePosixPath(f"atlas-{atlas}_description.json")
