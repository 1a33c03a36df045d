"""What is to be cited, as text and as BibTeX."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One publication.

    `authors` are surnames with initials, ``others`` at the end for those that are not named;
    `where` is the journal or the conference.
    """

    key: str
    authors: tuple[str, ...]
    title: str
    doi: str
    year: int | None = None
    where: str = ""
    volume: str = ""
    pages: str = ""

    @property
    def text(self) -> str:
        """As it stands in a list of references."""
        named = [name.strip("{}") for name in self.authors if name != "others"]
        authors = ", ".join(named[:-1]) + " & " + named[-1] if named[1:] else named[0]
        if "others" in self.authors:
            authors = f"{', '.join(named)} et al."
        year = f" ({self.year})" if self.year else ""
        number = " ".join(part for part in (self.where, self.volume) if part)
        source = ", ".join(part for part in (number, self.pages) if part)
        parts = [f"{authors}{year}", self.title, *([source] if source else [])]
        return f"{'. '.join(part.rstrip('.') for part in parts)}. doi:{self.doi}"

    @property
    def bibtex(self) -> str:
        """As an entry of BibTeX."""
        fields = {
            "author": " and ".join(self.authors),
            "title": f"{{{self.title}}}",
            "journal": self.where,
            "year": str(self.year or ""),
            "volume": self.volume,
            "pages": self.pages.replace("–", "--"),
            "doi": self.doi,
        }
        kind = "article" if self.where else "misc"
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])


REFERENCES = {
    "canica": Reference(
        key="varoquaux2010",
        authors=(
            "Varoquaux, G.",
            "Sadaghiani, S.",
            "Pinel, P.",
            "Kleinschmidt, A.",
            "Poline, J.-B.",
            "Thirion, B.",
        ),
        title="A group model for stable multi-subject ICA on fMRI datasets",
        doi="10.1016/j.neuroimage.2010.02.010",
        year=2010,
        where="NeuroImage",
        volume="51",
        pages="288–299",
    ),
    "dictlearning": Reference(
        key="mensch2016",
        authors=("Mensch, A.", "Varoquaux, G.", "Thirion, B."),
        title="Compressed online dictionary learning for fast resting-state fMRI decomposition",
        doi="10.1109/ISBI.2016.7493501",
        year=2016,
        where="IEEE International Symposium on Biomedical Imaging",
    ),
    "dual regression": Reference(
        key="nickerson2017",
        authors=("Nickerson, L. D.", "Smith, S. M.", "Öngür, D.", "Beckmann, C. F."),
        title=(
            "Using dual regression to investigate network shape and amplitude in functional "
            "connectivity analyses"
        ),
        doi="10.3389/fnins.2017.00115",
        year=2017,
        where="Frontiers in Neuroscience",
        volume="11",
        pages="115",
    ),
    "icasso": Reference(
        key="himberg2004",
        authors=("Himberg, J.", "Hyvärinen, A.", "Esposito, F."),
        title=(
            "Validating the independent components of neuroimaging time series via clustering and "
            "visualization"
        ),
        doi="10.1016/j.neuroimage.2004.03.027",
        year=2004,
        where="NeuroImage",
        volume="22",
        pages="1214–1222",
    ),
    "nilearn": Reference(
        key="nilearn",
        authors=("{Nilearn contributors}",),
        title="nilearn",
        doi="10.5281/zenodo.8397156",
    ),
    "pybids": Reference(
        key="yarkoni2019",
        authors=("Yarkoni, T.", "others"),
        title="PyBIDS: Python tools for BIDS datasets",
        doi="10.21105/joss.01294",
        year=2019,
        where="Journal of Open Source Software",
        volume="4",
        pages="1294",
    ),
}
