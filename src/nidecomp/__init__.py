"""NiDecomp: group CanICA and dictionary learning on fMRIPrep outputs.

`decompose` runs the analysis from Python, like the command ``nidecomp``. `load_results` gives its
decompositions, with maps as images and time courses as data frames; `component_table` and
`group_table` read the tables of components and of the group. `CanICA` and `DictLearning` fit the
decompositions to arrays, without BIDS.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from nidecomp.version import __version__

if TYPE_CHECKING:
    import os

    from nidecomp.core.errors import NidecompError
    from nidecomp.decomposition.estimators import CanICA, DictLearning
    from nidecomp.outputs.load import Decomposition, load_results
    from nidecomp.outputs.read import component_table, group_table
    from nidecomp.outputs.result import Outcome


__all__ = [
    "CanICA",
    "Decomposition",
    "DictLearning",
    "NidecompError",
    "Outcome",
    "__version__",
    "component_table",
    "decompose",
    "group_table",
    "load_results",
]

# Imported on first access, to keep `import nidecomp` and `nidecomp --help` fast.
_MODULES = {
    "CanICA": "nidecomp.decomposition.estimators",
    "Decomposition": "nidecomp.outputs.load",
    "DictLearning": "nidecomp.decomposition.estimators",
    "NidecompError": "nidecomp.core.errors",
    "Outcome": "nidecomp.outputs.result",
    "component_table": "nidecomp.outputs.read",
    "group_table": "nidecomp.outputs.read",
    "load_results": "nidecomp.outputs.load",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def decompose(
    bids_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    analysis_level: Literal["participant", "group"] = "group",
    **options: Any,
) -> Outcome:
    """Decompose the fMRI data of a group of participants and write the maps as BIDS derivatives.

    Parameters
    ----------
    bids_dir : path
        The output folder of fMRIPrep, or a raw BIDS dataset with ``derivatives/fmriprep``.
    output_dir : path
        The folder for the results; created if needed.
    analysis_level : {"group", "participant"}
        ``"group"`` runs the complete analysis; ``"participant"`` only reduces the runs of the
        selected participants.
    **options
        The options of the command line, with underscores in their names, for example
        ``n_components=20, smoothing_fwhm=5, participant_label=["01", "02"]``. Further datasets are
        a mapping: ``datasets={"B": "other_fmriprep"}``, or with options of their own
        ``datasets={"B": {"path": "other_fmriprep", "task_id": "movie"}}``.

    Returns
    -------
    Outcome
        The runs that were used, refused and failed, and the folder of the results. `load_results`,
        `component_table` and `group_table` take it, or the folder.

    Raises
    ------
    nidecomp.core.errors.UsageError
        An option is unknown or its value is invalid.
    nidecomp.core.errors.NothingToDoError
        No run matches, too few runs are usable, or they have too few degrees of freedom for the
        number of components.
    NidecompError
        The analysis failed for another reason, given in the message. The other two are kinds of it.

    Notes
    -----
    Messages are logged by the logger ``nidecomp``. If neither it nor the root logger has a handler,
    they go to stderr; if the logger has no level, from INFO on (DEBUG with ``verbose=True``).
    ``logging.getLogger("nidecomp").setLevel("WARNING")`` leaves warnings and errors.

    Examples
    --------
    >>> import nidecomp
    >>> outcome = nidecomp.decompose("fmriprep", "networks", n_components=20)
    >>> canica, dictlearning = nidecomp.load_results(outcome)
    """
    # Imported here to keep `nidecomp --help` fast.
    from nidecomp.config.parse import settings_from_options  # noqa: PLC0415
    from nidecomp.start import carry_out  # noqa: PLC0415

    return carry_out(settings_from_options(bids_dir, output_dir, analysis_level, options))
