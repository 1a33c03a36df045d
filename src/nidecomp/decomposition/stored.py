"""Store decompositions in the work folder, and find them."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nidecomp.config.science import Science
from nidecomp.core.kept import digest
from nidecomp.core.record_files import load_record, store_record
from nidecomp.core.records import ReducedRun
from nidecomp.decomposition.components import (
    Components,
    DatasetEvidence,
    Evidence,
    HoldoutEvidence,
    ParticipantEvidence,
    Split,
    SplitHalfEvidence,
)
from nidecomp.decomposition.model_order_choice import ModelOrderChoice, ModelOrderEvidence
from nidecomp.spaces.contract import FeatureSpace
from nidecomp.version import code_digest, numerical_versions


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was fitted to a group.

    Parameters
    ----------
    components : tuple of Components
    choice : ModelOrderChoice or None
        None where the number of components was given.
    warnings : tuple of str
        What was logged about the fit, for those who find it.
    """

    components: tuple[Components, ...]
    choice: ModelOrderChoice | None
    warnings: tuple[str, ...]


_RECORDS = (
    Fitted, Components, DatasetEvidence, Evidence, HoldoutEvidence, ParticipantEvidence, Split,
    SplitHalfEvidence, ModelOrderChoice, ModelOrderEvidence,
)  # fmt: skip


def fitted_file(
    work_dir: Path,
    fitted: Sequence[ReducedRun],
    held_out: Sequence[ReducedRun],
    science: Science,
    space: FeatureSpace,
    *,
    is_judged: bool,
) -> Path:
    """Return the path of what is fitted to some reduced runs, whose name has a hash of all inputs.

    Parameters
    ----------
    work_dir : Path
    fitted, held_out : sequence of ReducedRun
        The runs that the components are fitted to, and those that they are compared with.
    science : Science
    space : FeatureSpace
    is_judged : bool
        Whether there is evidence about the maps.

    Returns
    -------
    Path
    """
    identity = {
        "code": code_digest(),
        "versions": [numerical_versions(), platform.python_version()],
        # Their names have hashes of their inputs.
        "fitted": _names(fitted),
        "held_out": _names(held_out),
        "datasets": sorted((run.path.name, run.key.dataset) for run in fitted),
        "settings": [asdict(science.decomposition), asdict(science.evidence), is_judged],
        "smoothing": science.smoothings_fwhm,
        "space": [space.label, space.digest],
    }
    return work_dir / "fitted" / f"{digest(identity)}.npz"


def _names(runs: Iterable[ReducedRun]) -> list[str]:
    return sorted(run.path.name for run in runs)


def store_fitted(path: Path, fitted: Fitted, *, replaces_others: bool = False) -> Fitted:
    """Write what was fitted, and return it as it is read back.

    Arrays in another order in memory give sums that are rounded in another way: with those of the
    file, an interrupted analysis ends with the same bytes as any other.

    Parameters
    ----------
    path : Path
        See `fitted_file`.
    fitted : Fitted
    replaces_others : bool
        Whether to remove what was fitted to other runs, which nobody else uses.

    Returns
    -------
    Fitted
    """
    store_record(path, fitted)
    for other in path.parent.glob("[!.]*.npz") if replaces_others else ():
        if other != path:
            other.unlink(missing_ok=True)
    return find_fitted(path) or fitted


def find_fitted(path: Path) -> Fitted | None:
    """Return what was fitted earlier to the same runs with the same settings, or None."""
    found = load_record(path, _RECORDS)
    return found if isinstance(found, Fitted) else None
