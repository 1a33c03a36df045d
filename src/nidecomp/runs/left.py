"""Say in words what is left of a run."""

from __future__ import annotations

from nidecomp.core.text import count, verb


def volumes_left(n_kept: int, n_volumes: int) -> str:
    """Return how many volumes are left: ``35 of its 50 volumes are left``."""
    return f"{n_kept} of its {count(n_volumes, 'volume')} {verb(n_kept, 'is', 'are')} left"


def degrees_left(n_regressors: int, n_degrees: int) -> str:
    """Return how many degrees of freedom remain after subtracting the regressors."""
    degrees = f"{count(n_degrees, 'degree')} of freedom {verb(n_degrees, 'remains', 'remain')}"
    return f"minus {count(n_regressors, 'regressor')}, {degrees}"
