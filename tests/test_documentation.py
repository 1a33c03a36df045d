"""What the documents say is what the program does."""

from __future__ import annotations

import tomllib

import pytest
from document_options import options_tables
from support import REPOSITORY

from nidecomp.bids.names import IGNORED_BY_THE_VALIDATOR
from nidecomp.version import __version__

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_option_as_the_program_has_it() -> None:
    """To mend it: python tools/document_options.py prints what is to stand there."""
    assert options_tables("**{}**") in README


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
