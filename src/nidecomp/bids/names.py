"""Make BIDS file names for the outputs.

Names follow BIDS 1.11.1, and the drafts BEP012 and BEP017 where the standard is incomplete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from nidecomp.core.hemispheres import Hemisphere
from nidecomp.core.records import RunKey

BIDS_VERSION = "1.11.1"

# The entities that identify a run, in the order of the standard: short name -> pybids name.
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
    "outliers.json",
    "*_peaks.*",
)

# In addition, where maps lie on surfaces: BIDS has no probabilistic atlases of them yet, and no
# runs of theirs with a description (desc-).
IGNORED_OF_SURFACES = ("*_probseg.*", "*_bold.*", "atlas-*_description.json")


# In addition, where participants were compared.
IGNORED_OF_COMPARISONS = (
    "*_statmap.*",
    "*_clusters.*",
    "design.*",
    "comparisons.*",
    "comparisons_edges.*",
    "amplitudes.*",
)

# Names of images before fMRIPrep 1.2, which BIDS Derivatives have replaced.
OLD_IMAGES = "*_bold_space-*_preproc.nii*"
OLD_NAMES = (
    "its images are named as by fMRIPrep before 1.2 (*_bold_space-…_preproc.nii.gz), which is too "
    "old: use the output of a newer version"
)
# The suffixes of images of a decomposition.
_IMAGES = frozenset({"components", "probseg", "dseg", "statmap"})
# The longest label of pooled tasks; names of files have at most 255 bytes.
_LONGEST_POOLED = 40


def pooled_task(tasks: Iterable[str]) -> str:
    """Return the label of data pooled over tasks, in alphabetical order, such as ``nback+rest``.

    Parameters
    ----------
    tasks : iterable of str
        May have repetitions.

    Returns
    -------
    str
        If it would have more than 40 characters, the number of tasks and a hash of their labels,
        such as ``20tasks+1f3a9c``. Sidecars list the tasks.
    """
    labels = sorted(set(tasks))
    joined = "+".join(labels)
    if len(labels) == 1 or len(joined) <= _LONGEST_POOLED:
        return joined
    return f"{len(labels)}tasks+{hashlib.sha256(joined.encode()).hexdigest()[:6]}"


def file_name(entities: Mapping[str, str | int | None], suffix: str, extension: str) -> str:
    """Return a BIDS file name; entities without a value are left out.

    Parameters
    ----------
    entities : mapping
        Short entity name to label, in the order of the file name.
    suffix : str
        For example ``components``.
    extension : str
        With the leading dot.

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
    """The labels shared by all file names of a decomposition.

    `hemi` is that of the left file where images are pairs, and `parcellation_folder` the folder
    that the parcellation is in: BIDS has those of surfaces with the anatomy. `contrast` is the test
    that compares participants.
    """

    space: str
    atlas: str
    method: str
    n_components: int
    res: str | None = None
    cohort: str | None = None
    den: str | None = None
    hemi: Hemisphere | None = None
    parcellation_folder: str = "func"
    contrast: str | None = None

    def entities(
        self, suffix: str, stat: str | None = None, desc: str | None = None
    ) -> dict[str, str | int | None]:
        """Return the entities after the space: the decomposition and the statistic."""
        return {
            "atlas": self.atlas,
            "seg": self.method,
            "scale": self.n_components,
            # Only images have a resolution or density.
            **({"res": self.res, "den": self.den} if suffix in _IMAGES else {}),
            "contrast": self.contrast,
            "stat": stat,
            "desc": desc,
        }

    def hemi_of(self, extension: str) -> Hemisphere | None:
        """Return the hemisphere in the name of a file; what describes a pair stands once."""
        return None if extension in {".json", ".tsv"} else self.hemi


def group_file(
    suffix: str,
    extension: str,
    labels: FileLabels,
    task: str,
    *,
    stat: str | None = None,
    desc: str | None = None,
) -> PurePosixPath:
    """Return the path of a file of a group decomposition.

    Parameters
    ----------
    suffix, extension : str
        The extension with the leading dot.
    labels : FileLabels
        The labels of the decomposition.
    task : str
    stat, desc : str, optional

    Returns
    -------
    PurePosixPath
        Relative to the output folder.
    """
    entities: dict[str, str | int | None] = {
        "tpl": labels.space,
        "cohort": labels.cohort,
        "task": task,
        "hemi": labels.hemi_of(extension),
        **labels.entities(suffix, stat, desc),
    }
    kind = labels.parcellation_folder if suffix == "dseg" else "func"
    folder = _template_folder(labels.space, labels.cohort) / kind
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
    """Return the path of a file with the projection of a decomposition to a run.

    Parameters
    ----------
    run : RunKey
        The run, or the entities shared by the runs of a participant.
    suffix, extension : str
        The extension with the leading dot.
    labels : FileLabels
        The labels of the decomposition.
    stat, desc : str, optional

    Returns
    -------
    PurePosixPath
        Relative to the output folder.
    """
    more = {"hemi": labels.hemi_of(extension), **_of_projection(suffix, labels, stat, desc)}
    return run_file(run, suffix, extension, more)


def sidecar_of_all(suffix: str, labels: FileLabels, *, stat: str | None = None) -> PurePosixPath:
    """Return the path of the JSON with what is the same for the projections to all runs.

    By the inheritance principle, it describes all files of `projected_file` with this suffix, these
    labels and this statistic. Group files have no space in their names and are not concerned.

    Parameters
    ----------
    suffix : str
    labels : FileLabels
        The labels of the decomposition.
    stat : str, optional

    Returns
    -------
    PurePosixPath
        In the output folder itself.
    """
    return PurePosixPath(file_name(_of_projection(suffix, labels, stat, None), suffix, ".json"))


def sidecar_of_run(run: RunKey, suffix: str, labels: FileLabels) -> PurePosixPath:
    """Return the path of the JSON that describes a run's projections to all decompositions."""
    return run_file(run, suffix, ".json", _place(labels))


def ambiguous_runs(runs: Iterable[RunKey]) -> frozenset[RunKey]:
    """Return the runs whose entities are a part of those of another run, or the other way round.

    A JSON with the entities of one of them would describe the files of the other, too.

    Parameters
    ----------
    runs : iterable of RunKey

    Returns
    -------
    frozenset of RunKey
    """
    by_participant: dict[str, list[RunKey]] = {}
    for run in runs:
        by_participant.setdefault(run.participant, []).append(run)
    return frozenset(
        one
        for own in by_participant.values()
        for run in own
        for other in own
        if set(run.entities) < set(other.entities)
        for one in (run, other)
    )


def _place(labels: FileLabels) -> dict[str, str | int | None]:
    """Return the entities of the space of a run's files."""
    return {"space": labels.space, "cohort": labels.cohort}


def _of_projection(
    suffix: str, labels: FileLabels, stat: str | None, desc: str | None
) -> dict[str, str | int | None]:
    """Return the entities of a projection that are not the run's."""
    return {**_place(labels), **labels.entities(suffix, stat, desc)}


def mask_file(labels: FileLabels, suffix: str, extension: str) -> PurePosixPath:
    """Return the path of the group mask (or its sidecar), relative to the output folder.

    Parameters
    ----------
    labels : FileLabels
        Of any decomposition.
    suffix : str
        ``mask``, or ``dseg`` where BIDS has no masks.
    extension : str

    Returns
    -------
    PurePosixPath
    """
    entities = {
        "tpl": labels.space,
        "cohort": labels.cohort,
        "hemi": labels.hemi_of(extension),
        "res": labels.res,
        "den": labels.den,
        "desc": "brain",
    }
    folder = _template_folder(labels.space, labels.cohort) / "anat"
    return folder / file_name(entities, suffix, extension)


def _template_folder(space: str, cohort: str | None) -> PurePosixPath:
    folder = PurePosixPath(f"tpl-{space}")
    return folder / f"cohort-{cohort}" if cohort else folder


def run_file(
    run: RunKey,
    suffix: str,
    extension: str,
    more: Mapping[str, str | int | None] | None = None,
) -> PurePosixPath:
    """Return the path of a file of a run, relative to the output folder, with `more` entities."""
    session = run.get("ses")
    folders = [f"sub-{run.participant}", *([f"ses-{session}"] if session else []), "func"]
    entities: dict[str, str | int | None] = {**dict(run.entities), **(more or {})}
    return PurePosixPath(*folders, file_name(entities, suffix, extension))


def regressed_file(
    run: RunKey, extension: str, labels: FileLabels, *, aggressive: bool
) -> PurePosixPath:
    """Return the path of a run's image after component regression, or of its sidecar."""
    how = "aggr" if aggressive else "nonaggr"
    more = {
        "hemi": labels.hemi_of(extension),
        "space": labels.space,
        "cohort": labels.cohort,
        "res": labels.res,
        "den": labels.den,
        "desc": f"{labels.method}{labels.n_components}{how}",
    }
    return run_file(run, "bold", extension, more)


def shared_key(runs: Sequence[RunKey]) -> RunKey:
    """Return the entities that some runs of a participant have in common.

    Parameters
    ----------
    runs : sequence of RunKey

    Returns
    -------
    RunKey
        Different tasks are joined, because the task is required.
    """
    first = runs[0].entities
    shared = [pair for pair in first if all(pair in run.entities for run in runs)]
    task = ("task", pooled_task(run.task for run in runs))
    entities = dict([*shared, task])
    of_all = tuple((name, entities[name]) for name in RUN_ENTITIES if name in entities)
    return RunKey(of_all, runs[0].dataset)


def atlas_description_file(atlas: str) -> PurePosixPath:
    """Return the path of the atlas description, relative to the output folder."""
    return PurePosixPath(f"atlas-{atlas}_description.json")
