"""NiDecomp's exceptions and their exit codes.

Each takes a single message, so that it can be pickled when it is raised in a worker process (an
exception with other arguments cannot be unpickled and breaks the process pool).
"""

from __future__ import annotations


class NidecompError(Exception):
    """Base class of errors whose message is shown to the user without a traceback."""

    exit_code = 1


class UsageError(NidecompError):
    """Raised if an option or a folder is invalid, or if options contradict each other."""

    exit_code = 2


class NothingToDoError(NidecompError):
    """Raised if the options are valid, but the input has no data that they can be applied to."""

    exit_code = 70


class RefusedRunError(NidecompError):
    """Raised if a run cannot be used, as found by checking its files before reading voxel data."""


class FailedRunError(NidecompError):
    """Raised if processing of a run's data fails."""
