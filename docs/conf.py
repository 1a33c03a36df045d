"""How Sphinx makes the documentation site of these pages: ``make docs``.

What the code or another document says is not repeated in a page but put where it has a comment:
``<!-- insert options -->`` the tables of `INSERTS`, ``<!-- insert README.md: What it costs -->`` a
section of a document. Links that lead out of this folder are made to lead to the page that holds
the document, or to the file in the repository.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent
sys.path.insert(0, str(REPOSITORY / "tools"))

from document_options import options_tables  # noqa: E402  the path above is needed
from document_tables import columns_of_tables, exit_codes  # noqa: E402

from nidecomp.version import __version__  # noqa: E402

project = "NiDecomp"
author = "The NiDecomp developers"
copyright = author  # noqa: A001  Sphinx's name for it
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["*.py"]
html_theme = "furo"
# It would make a dash of the hyphens of an option.
smartquotes = False
html_title = f"NiDecomp {release}"
html_show_copyright = html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"source_repository": "https://github.com/nidecomp/nidecomp"}
# Code blocks without a language are commands and what they print.
highlight_language = "text"
# Headings down to this level can be linked to, as on GitHub.
myst_heading_anchors = 3
# Names of parameters stand in the descriptions; types that another project documents are no links.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# Members stand where a page asks for them.
numpydoc_show_class_members = False

IN_THE_REPOSITORY = "https://github.com/nidecomp/nidecomp/blob/main/"
# Documents outside this folder that have a page.
PAGES = {
    "benchmarks/README.md": "benchmarks.md",
    "CHANGES.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "docs/decisions": "decisions/index.md",
}
INSERTS: dict[str, Callable[[], str]] = {
    "options": lambda: options_tables("## {}"),
    "columns": columns_of_tables,
    "exit codes": exit_codes,
}
_INSERT = re.compile(r"^<!-- insert (.+?) -->$", re.MULTILINE)
_LINK = re.compile(r"(\]\(|src=\")([^)\"#:\s]+)(#[^)\"\s]+)?(\)|\")")


def setup(app: Sphinx) -> None:
    """Have pages completed as they are read."""
    app.connect("source-read", complete)


def complete(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put in what a page only names, and mend links that lead out of this folder."""
    page = PurePosixPath("docs", name).parent
    own = _with_links(source[0], page, page)
    source[0] = _INSERT.sub(lambda found: _inserted(found[1], page), own)


def _inserted(what: str, page: PurePosixPath) -> str:
    """Give a table, a document or one of its sections."""
    if what in INSERTS:
        return INSERTS[what]()
    document, _, section = what.partition(": ")
    if not (REPOSITORY / document).is_file():
        raise ExtensionError(f"There is no {document!r} to insert in a page in {page}.")
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    return _with_links(_section(text, section), PurePosixPath(document).parent, page)


def _section(text: str, title: str) -> str:
    """Give what stands below a heading, or above all of them (top); without a title, everything."""
    if not title:
        return text
    if title == "top":
        return text.partition("\n## ")[0]
    _, heading, rest = text.partition(f"\n## {title}\n")
    if not heading:
        raise ExtensionError(f"There is no section {title!r} to insert.")
    return rest.partition("\n## ")[0]


def _with_links(text: str, written_in: PurePosixPath, read_in: PurePosixPath) -> str:
    """Make links of a text written in one folder right for a page in another one."""

    def mend(found: re.Match[str]) -> str:
        before, target, anchor, after = found.groups()
        path = os.path.normpath(written_in / target)
        if not (REPOSITORY / path).exists():
            raise ExtensionError(f"{target}, which a text in {written_in} links to, is not there.")
        if path in PAGES:
            path = f"docs/{PAGES[path]}"
        if path.startswith("docs/") and not path.endswith(".py"):
            new = os.path.relpath(path, read_in)
        else:
            new = IN_THE_REPOSITORY + path
        return f"{before}{new}{anchor or ''}{after}"

    return _LINK.sub(mend, text)
