"""What is to be cited, as text and as BibTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)


@dataclass(frozen=True)
class Reference:
    """One publication: its entry in BibTeX, a field a line, as in ``references.bib``."""

    bibtex: str

    @property
    def key(self) -> str:
        """The name by which papers cite it."""
        return self.bibtex.partition("{")[2].partition(",")[0]

    @property
    def fields(self) -> dict[str, str]:
        """What the entry says, without TeX's braces and dashes."""
        return {
            name: value.strip("{}").replace("--", "–")
            for name, value in _FIELD.findall(self.bibtex)
        }

    @property
    def short(self) -> str:
        """As it stands in a sentence: ``Nickerson et al. 2017``."""
        said = self.fields
        names = [name.partition(",")[0].strip("{}") for name in said["author"].split(" and ")]
        authors = f"{names[0]} et al." if len(names) > 2 or "others" in names else " & ".join(names)
        return f"{authors} {self.year}".rstrip()

    @property
    def year(self) -> str:
        """The year with the letter at the end of the key: ``2010b``; empty if it is unknown."""
        letter = re.search(r"[a-z]*$", self.key)
        return (
            f"{self.fields['year']}{letter[0] if letter else ''}" if "year" in self.fields else ""
        )

    @property
    def text(self) -> str:
        """As it stands in a list of references."""
        said = self.fields
        names = said["author"].split(" and ")
        named = [name for name in names if name != "others"]
        authors = ", ".join(named[:-1]) + " & " + named[-1] if named[1:] else named[0]
        if named != names:
            authors = f"{', '.join(named)} et al."
        year = f" ({self.year})" if self.year else ""
        number = " ".join(said[name] for name in ("journal", "volume") if name in said)
        source = ", ".join(part for part in (number, said.get("pages", "")) if part)
        parts = [f"{authors}{year}", said["title"], *([source] if source else [])]
        return f"{'. '.join(part.rstrip('.') for part in parts)}. doi:{said['doi']}"


def _read() -> dict[str, Reference]:
    text = (files(__package__) / "references.bib").read_text(encoding="utf-8")
    entries = [Reference(entry) for entry in text.rstrip().split("\n\n")]
    return {entry.key: entry for entry in entries}


# By their keys in the file.
REFERENCES = _read()
# Where a sentence cites: ``[@nilearn]``, or several keys with semicolons between them.
_CITED = re.compile(r"\[@(\w+(?:; @\w+)*)\]")


def with_citations(text: str) -> tuple[str, tuple[Reference, ...]]:
    """Return a text with authors and years, and the references that it cites.

    Parameters
    ----------
    text : str
        It cites as ``[@nickerson2017]`` or ``[@nilearn; @yarkoni2019]``.

    Returns
    -------
    text : str
        With ``(Nickerson et al. 2017)`` in these places.
    references : tuple of Reference
        In the order in which the text cites them.
    """
    cited: dict[str, Reference] = {}

    def said(found: re.Match[str]) -> str:
        keys = found[1].split("; @")
        if not REFERENCES.keys() >= set(keys):
            # No citation of ours: a file's name may look like one.
            return found[0]
        cited.update((key, REFERENCES[key]) for key in keys)
        return f"({'; '.join(REFERENCES[key].short for key in keys)})"

    return _CITED.sub(said, text), tuple(cited.values())
