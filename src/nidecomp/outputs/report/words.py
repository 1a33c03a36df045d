"""Numbers and lists as words of a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_METHODS = {"canica": "CanICA", "dictlearning": "dictionary learning", "given": "the maps given"}


def method_name(method: str) -> str:
    """Return a method as it is called in a sentence."""
    return _METHODS.get(method, method)


def listed(words: Iterable[str]) -> str:
    """Return words as a list: ``a, b and c``."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def numbered(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 run``, ``5,337 voxels``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def per_cent(share: float) -> str:
    """Return a share in per cent: ``12 %``, ``0.5 %``."""
    return f"{100 * share:.3g} %"


def paragraph(sentences: Sequence[str]) -> str:
    """Return the sentences that are not empty, one after the other."""
    return " ".join(sentence for sentence in sentences if sentence)
