"""Every exception that NiDecomp raises on purpose, each with the exit code that it ends in.

All of them take one message and nothing else, so that they survive the trip from a worker
process (an exception with a richer signature cannot be unpickled and breaks the pool).
"""

from __future__ import annotations


class NidecompError(Exception):
    """What the user is told: what is wrong, where, and what to do about it."""

    exit_code = 1


class UsageError(NidecompError):
    """Options or folders that make no sense, alone or together."""

    exit_code = 2


class NothingToDoError(NidecompError):
    """The request is clear and the input holds nothing that it could be done with."""

    exit_code = 70


class RefusedRunError(NidecompError):
    """One run cannot be used, for a reason that its files show before any voxel is read."""


class FailedRunError(NidecompError):
    """One run broke while its data were processed."""
