"""What the documents say is what the program does."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from document_options import options_tables
from support import REPOSITORY

from nidecomp.bids.names import IGNORED_BY_THE_VALIDATOR
from nidecomp.cli import EXIT_CODES
from nidecomp.version import __version__

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_option_as_the_program_has_it() -> None:
    """To mend it: python tools/document_options.py prints what is to stand there."""
    assert options_tables("**{}**") in README


def test_the_readme_says_what_exit_codes_mean() -> None:
    """Those of signals stand in the help and in the documentation alone."""
    in_one_line = " ".join(README.split())
    told = [f"{code}: {meaning}" for code, meaning in EXIT_CODES.items() if code < 128]
    assert [text for text in told if text not in in_one_line] == []


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


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ("CITATION.cff", f"version: {__version__}"),
        ("CHANGES.md", f"## {__version__}"),
        ("Dockerfile", f"ARG VERSION={__version__}"),
    ],
)
def test_the_version_is_the_same_everywhere(document: str, line: str) -> None:
    """boutiques.json has a test of its own."""
    assert f"\n{line}" in (REPOSITORY / document).read_text(encoding="utf-8")


def test_zenodo_is_told_what_the_citation_says() -> None:
    """Zenodo looks at one of the two files alone."""
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    zenodo = json.loads((REPOSITORY / ".zenodo.json").read_text(encoding="utf-8"))
    assert f'title: "{zenodo["title"]}"' in citation
    assert f"license: {zenodo['license']}" in citation
    assert [f"name: {creator['name']}" in citation for creator in zenodo["creators"]] == [True]
    cited = {related["identifier"] for related in zenodo["related_identifiers"]}
    assert cited == set(re.findall(r"doi: (\S+)", citation))


def test_workflows_run_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    workflows = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
    called = [
        target
        for workflow in workflows
        for target in re.findall(r"\bmake ([a-z-]+)", workflow.read_text(encoding="utf-8"))
    ]
    assert {"test", "docs", "wheel", "check-container"} <= set(called) <= targets


def test_the_contributors_are_told_of_every_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    phony = makefile.partition(".PHONY:")[2].partition("\n\n")[0].replace("\\", " ").split()
    told = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    untold = {target for target in phony if f"| `make {target}` |" not in told}
    assert untold <= {"help", "clean", "bench-data"}


def test_what_the_validator_ignores_names_no_folder_with_a_slash() -> None:
    """With a trailing slash the validator does not ignore a folder."""
    assert not any(pattern.endswith("/") for pattern in IGNORED_BY_THE_VALIDATOR)
