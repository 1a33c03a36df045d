"""NiDecomp: group CanICA and dictionary learning on fMRIPrep outputs.

`decompose` runs the analysis from Python, like the command ``nidecomp``. `CanICA` and
`DictLearning` fit the decompositions to arrays or images, without BIDS. `component_table` and
`group_table` read the tables of components and of the group from the results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from nidecomp.version import __version__

if TYPE_CHECKING:
    import os

    from nidecomp.decomposition.estimators import CanICA, DictLearning
    from nidecomp.outputs.read import component_table, group_table
    from nidecomp.outputs.result import Outcome


__all__ = ["CanICA", "DictLearning", "__version__", "component_table", "decompose", "group_table"]


def __getattr__(name: str) -> Any:
    # Imported on first access, to keep `nidecomp --help` fast.
    if name in {"CanICA", "DictLearning"}:
        from nidecomp.decomposition import estimators  # noqa: PLC0415

        return getattr(estimators, name)
    if name in {"component_table", "group_table"}:
        from nidecomp.outputs import read as tables  # noqa: PLC0415

        return getattr(tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
        ``n_components=20, smoothing_fwhm=5, participant_label=["01", "02"]``.

    Returns
    -------
    Outcome
        The runs that were used, refused and failed, and the folders of the results.

    Raises
    ------
    nidecomp.core.errors.UsageError
        An option is unknown or its value is invalid.
    nidecomp.core.errors.NothingToDoError
        No run matches, too few runs are usable, or they have too few degrees of freedom for the
        number of components.
    nidecomp.core.errors.NidecompError
        The analysis failed for another reason, given in the message.

    Examples
    --------
    >>> import nidecomp
    >>> nidecomp.decompose("fmriprep", "networks", n_components=20)  # doctest: +SKIP
    """
    # Imported here to keep `nidecomp --help` fast.
    from nidecomp.config.parse import settings_from_options  # noqa: PLC0415
    from nidecomp.start import carry_out  # noqa: PLC0415

    return carry_out(settings_from_options(bids_dir, output_dir, analysis_level, options))
