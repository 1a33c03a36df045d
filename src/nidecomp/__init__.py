"""NiDecomp: group CanICA and dictionary learning on what fMRIPrep wrote.

``nidecomp.decompose(...)`` does from Python what the command ``nidecomp`` does; `CanICA` and
`DictLearning` are its engine on arrays, without BIDS; `component_table` reads what results say of
each component, `group_table` what they say of the group.
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
    # Imported when asked for, so that `nidecomp --help` does not wait for scikit-learn.
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
    """Find the networks of a group of participants and write them as BIDS derivatives.

    Parameters
    ----------
    bids_dir : path
        fMRIPrep's output folder, or a raw BIDS dataset with ``derivatives/fmriprep`` inside.
    output_dir : path
        Where the results go; made if it is not there.
    analysis_level : {"group", "participant"}
        ``"group"`` does everything; ``"participant"`` only reduces the named participants' runs.
    **options
        The options of the command line by their names with underscores, for example
        ``n_components=20, smoothing_fwhm=5, participant_label=["01", "02"]``.

    Returns
    -------
    Outcome
        What was used, refused and failed, and where the results are.

    Raises
    ------
    nidecomp.core.errors.UsageError
        An option is unknown or its value impossible.
    nidecomp.core.errors.NothingToDoError
        No run matches, too few are usable, or more components were asked for than they hold.
    nidecomp.core.errors.NidecompError
        The run failed for any other reason that the message tells.

    Examples
    --------
    >>> import nidecomp
    >>> nidecomp.decompose("fmriprep", "networks", n_components=20)  # doctest: +SKIP
    """
    # Imported here so that `nidecomp --help` does not wait for numpy and nilearn.
    from nidecomp.config.parse import settings_from_options  # noqa: PLC0415
    from nidecomp.pipeline import carry_out  # noqa: PLC0415

    return carry_out(settings_from_options(bids_dir, output_dir, analysis_level, options))
