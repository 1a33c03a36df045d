"""The Boutiques descriptor describes the command line that there is."""

from __future__ import annotations

import json
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest
from make_boutiques import DESCRIPTOR, descriptor, descriptor_text

from nidecomp.cli import parse
from nidecomp.config.parse import settings_from_options


def bosh(*words: object) -> str:
    """Run Boutiques' command in a process of its own: it prints, and warns of its own imports."""
    command = Path(sysconfig.get_path("scripts")) / "bosh"
    done = subprocess.run(
        [command, *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def simulated(invocation: dict[str, object], folder: Path) -> list[str]:
    """Give the words that Boutiques would call nidecomp with."""
    file = folder / "invocation.json"
    file.write_text(json.dumps(invocation), encoding="utf-8")
    printed = bosh("exec", "simulate", DESCRIPTOR, "-i", file)
    (line,) = (line for line in printed.splitlines() if line.startswith("mkdir -p "))
    words = shlex.split(line.partition(";")[2])
    assert words[0] == "nidecomp"
    return words[1:]


@pytest.fixture
def needed(tmp_path: Path) -> dict[str, object]:
    """What has to be given in every invocation."""
    (tmp_path / "in").mkdir()
    return {
        "bids_dir": str(tmp_path / "in"),
        "output_dir": str(tmp_path / "out"),
        "analysis_level": "group",
    }


@pytest.fixture
def options(tmp_path: Path) -> dict[str, object]:
    """Give every option that the descriptor has a value that is possible."""
    file = tmp_path / "file.json"
    file.write_text("{}", encoding="utf-8")
    special = {"denoise_strategy": "motion+high_pass", "holdout": 0.5, "high_pass": 0.01}
    special |= {
        "datasets": "B=there",
        "low_pass": 0.1,
        "n_components": "20",
        "max_components": 30,
        "threshold": "p:0.01",
        "n_permutations": 1000,
        "cluster_threshold": 0.001,
        "nbs_threshold": 0.001,
    }
    of_type = {"Flag": True, "Number": 1, "String": "1", "File": str(file)}
    given: dict[str, object] = {}
    for entry in descriptor()["inputs"]:
        if "command-line-flag" not in entry or entry["id"] == "config_file":
            continue
        value = special.get(entry["id"], entry.get("value-choices", [of_type[entry["type"]]])[0])
        given[entry["id"]] = [value] if entry.get("list") else value
    return given | {"exclude_participant_label": ["2", "3"]}


def test_the_descriptor_is_that_of_the_command_line() -> None:
    """To mend it: python tools/make_boutiques.py."""
    assert DESCRIPTOR.read_text(encoding="utf-8") == descriptor_text()


def test_boutiques_takes_it_for_a_bids_app() -> None:
    assert "OK" in bosh("validate", "--bids", DESCRIPTOR)


def test_what_boutiques_calls_is_understood_as_it_was_meant(
    needed: dict[str, object], options: dict[str, object], tmp_path: Path
) -> None:
    words = simulated(needed | options, tmp_path)
    meant = settings_from_options(needed["bids_dir"], needed["output_dir"], "group", options)
    assert parse(words) == meant


def test_what_is_not_given_is_not_written(needed: dict[str, object], tmp_path: Path) -> None:
    """A default on the command line would win over the one of a config file."""
    assert simulated(needed, tmp_path) == list(needed.values())
