"""What the documents say is what the program does."""

from __future__ import annotations

import tomllib
from dataclasses import Field
from typing import Any

import pytest
from support import REPOSITORY

from nidecomp.bids.names import IGNORED_BY_THE_VALIDATOR
from nidecomp.cli import _default_note
from nidecomp.settings import SECTIONS, declared_options
from nidecomp.version import __version__

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def option_row(declared: Field[Any]) -> str:
    """The line of README's table for one option."""
    flag = "--" + declared.name.replace("_", "-")
    short = f"`{declared.metadata['short']}`, " if declared.metadata["short"] else ""
    metavar = declared.metadata["metavar"]
    value = f" {metavar}" + (" …" if declared.metadata["many"] else "") if metavar else ""
    text = declared.metadata["help"].replace("|", "\\|") + _default_note(declared)
    return f"| {short}`{flag}{value}` | {text} |"


def options_table() -> str:
    """All of README's tables of options, a heading for each section."""
    parts = []
    for section in SECTIONS:
        rows = [option_row(declared) for name, declared in declared_options() if name == section]
        parts.append(
            "\n".join([f"**{section.capitalize()}**", "", "| option | |", "|---|---|", *rows])
        )
    return "\n\n".join(parts)


def test_the_readme_lists_every_option_as_the_program_has_it() -> None:
    """To mend it: python -c "import test_documentation as t; print(t.options_table())"."""
    assert options_table() in README


def test_the_readme_names_every_kind_of_output() -> None:
    for kind in (
        "_components.nii.gz", "_probseg.nii.gz", "_metrics.tsv", "_decomposition.json",
        "_mask.nii.gz", "_outliers.tsv", "participants.tsv", "_description.json",
        "logs/settings.toml", "logs/inventory.tsv", "logs/sources.tsv", "logs/manifest.tsv",
        "logs/nidecomp.log",
    ):  # fmt: skip
        assert kind in README, kind


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    reasons = (REPOSITORY / "docs" / "decisions" / "0001-dependencies.md").read_text()
    wanted = project["project"]["dependencies"] + [
        entry
        for groups in (project["dependency-groups"], project["project"]["optional-dependencies"])
        for group in groups.values()
        for entry in group
    ]
    for requirement in wanted:
        name = requirement.split(">")[0].split("=")[0].strip()
        assert f"| {name} |" in reasons, name


@pytest.mark.parametrize("document", ["CITATION.cff", "CHANGES.md"])
def test_the_version_is_the_same_everywhere(document: str) -> None:
    assert __version__ in (REPOSITORY / document).read_text(encoding="utf-8")


def test_what_the_validator_ignores_names_no_folder_with_a_slash() -> None:
    """With a trailing slash the validator does not ignore a folder."""
    assert not any(pattern.endswith("/") for pattern in IGNORED_BY_THE_VALIDATOR)
