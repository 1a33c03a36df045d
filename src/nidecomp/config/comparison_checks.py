"""Refuse options of the comparison that make no sense together.

They are checked before anything is done, and not when they are read: each is valid by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from nidecomp.config.comparison import ComparisonOptions, Measure
from nidecomp.config.science import Connectome, Science
from nidecomp.config.settings import Settings
from nidecomp.core.errors import UsageError

# Enough for three moments of the distribution that is fitted.
_FEWEST_FOR_TAIL = 100
# Tangent matrices have no edges.
KINDS_OF_EDGES: tuple[Connectome, ...] = ("correlation", "partial")


def measures_to_compare(science: Science) -> tuple[Measure, ...]:
    """Return what of ``--compare`` can be compared."""
    impossible = {
        "amplitudes": science.projection.normalise_time_courses,
        "connectomes": not set(science.projection.connectomes) & set(KINDS_OF_EDGES),
    }
    return tuple(one for one in science.comparison.compare if not impossible.get(one))


def check_comparison(settings: Settings) -> None:
    """Check that the options of the comparison fit together, and the other options.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    UsageError
    """
    options = settings.science.comparison
    if not options.is_asked:
        # Others would silently do nothing.
        if given := next(_changed(options), None):
            raise UsageError(
                f"{given} is for comparing participants, which needs --model, --model-file or "
                "--within."
            )
        return
    _check_model(options)
    _check_level(settings)
    _check_measures(settings)
    _check_numbers(options)


def _changed(options: ComparisonOptions) -> Iterator[str]:
    for declared in fields(ComparisonOptions):
        if getattr(options, declared.name) != declared.default:
            yield "--" + declared.name.replace("_", "-")


def _check_model(options: ComparisonOptions) -> None:
    if options.model_file is not None:
        if options.model is not None:
            raise UsageError("--model and --model-file cannot be combined: both give the model.")
        if options.test:
            raise UsageError(
                "--test and --model-file cannot be combined: the file has its contrasts."
            )


def _check_level(settings: Settings) -> None:
    if settings.extent.level == "minimal":
        raise UsageError(
            "Participants cannot be compared with --level minimal, which does not project the "
            "components to the runs: use --level full."
        )


def _check_measures(settings: Settings) -> None:
    options, science = settings.science.comparison, settings.science
    if not options.compare:
        raise UsageError("--compare needs at least one of maps, amplitudes and connectomes.")
    has_connectomes = any(kind in science.projection.connectomes for kind in KINDS_OF_EDGES)
    if options.compare == ("connectomes",) and not has_connectomes:
        raise UsageError(
            "--compare connectomes needs --connectomes correlation or partial: those of the kind "
            "tangent depend on all participants, and cannot be compared between them."
        )
    if options.nbs_threshold is not None and "connectomes" not in options.compare:
        raise UsageError("--nbs-threshold is for connectomes, which --compare does not have.")
    if "maps" not in options.compare and options.cluster_threshold is not None:
        raise UsageError("--cluster-threshold is for maps, which --compare does not have.")
    if options.compare == ("amplitudes",) and science.projection.normalise_time_courses:
        raise UsageError(
            "--compare amplitudes cannot be combined with --normalise-time-courses, with which "
            "all amplitudes are 1."
        )


def _check_numbers(options: ComparisonOptions) -> None:
    if options.n_tfce_permutations > options.n_permutations:
        raise UsageError(
            f"--n-tfce-permutations ({options.n_tfce_permutations}) must not be greater than "
            f"--n-permutations ({options.n_permutations}): they are the first of the same."
        )
    if options.cluster_threshold is not None and not options.n_tfce_permutations:
        raise UsageError("--cluster-threshold needs permutations: --n-tfce-permutations is 0.")
    if 0 < options.n_tfce_permutations < _FEWEST_FOR_TAIL:
        raise UsageError(
            f"--n-tfce-permutations ({options.n_tfce_permutations}) must be 0, or at least "
            f"{_FEWEST_FOR_TAIL}: small p values come from a distribution that is fitted to them."
        )
