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
    def text(self) -> str:
        """As it stands in a list of references."""
        said = self.fields
        names = said["author"].split(" and ")
        named = [name for name in names if name != "others"]
        authors = ", ".join(named[:-1]) + " & " + named[-1] if named[1:] else named[0]
        if named != names:
            authors = f"{', '.join(named)} et al."
        year = f" ({said['year']})" if "year" in said else ""
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
