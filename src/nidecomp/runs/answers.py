"""What nilearn answered, so that worker processes need not ask it again.

Importing nilearn takes a second, which every worker would spend before its first run. The process
that inspects the runs asks nilearn about presets, defaults and the columns of confounds tables; the
tasks of workers have its answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

Answer = TypeVar("Answer")
# Runs of a study usually have a few different tables. Where each run has another one, as for
# CompCor components, workers ask nilearn themselves: each task would have the answers for all runs.
_MOST = 64
_ANSWERS: dict[str, object] = {}


def answer_to(question: str, ask: Callable[[], Answer]) -> Answer:
    """Return the answer to a question, which is asked once.

    Parameters
    ----------
    question : str
        With everything that the answer depends on.
    ask : callable
        Its answer must not be modified. Errors are not kept.

    Returns
    -------
    object
    """
    if question not in _ANSWERS:
        _know(question, ask())
    return cast(Answer, _ANSWERS[question])


def answers() -> dict[str, object]:
    """Return the questions that this process asked last, with their answers."""
    return dict(_ANSWERS)


def learn(told: Mapping[str, object]) -> None:
    """Keep answers of another process with the same libraries."""
    for question, answer in told.items():
        if question not in _ANSWERS:
            _know(question, answer)


def _know(question: str, answer: object) -> None:
    if len(_ANSWERS) >= _MOST:
        del _ANSWERS[next(iter(_ANSWERS))]
    _ANSWERS[question] = answer
