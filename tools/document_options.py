"""Write the tables of options in Markdown, for README.md and the documentation site.

``python tools/document_options.py`` prints the tables for README.md.
"""

from __future__ import annotations

from dataclasses import Field
from typing import Any

from nidecomp.cli import _default_note
from nidecomp.config.settings import SECTIONS, declared_options


def main() -> None:
    """Print the tables for README.md."""
    print(options_tables("**{}**"))


def options_tables(heading: str) -> str:
    """Return a table for each section of options.

    Parameters
    ----------
    heading : str
        The heading of each table, with ``{}`` for the section.

    Returns
    -------
    str
        Markdown.
    """
    return "\n\n".join(
        "\n".join([heading.format(section.capitalize()), "", *_table(section)])
        for section in SECTIONS
    )


def _table(section: str) -> list[str]:
    rows = [_row(declared) for name, declared in declared_options() if name == section]
    return ["| option | |", "|---|---|", *rows]


def _row(declared: Field[Any]) -> str:
    """Return the table row of an option."""
    flag = "--" + declared.name.replace("_", "-")
    short = f"`{declared.metadata['short']}`, " if declared.metadata["short"] else ""
    metavar = declared.metadata["metavar"]
    value = f" {metavar}" + (" …" if declared.metadata["many"] else "") if metavar else ""
    text = declared.metadata["help"].replace("|", "\\|") + _default_note(declared)
    return f"| {short}`{flag}{value}` | {text} |"


if __name__ == "__main__":
    main()
