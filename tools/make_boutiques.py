"""Write boutiques.json, which describes how platforms such as CBRAIN call NiDecomp's container.

``python tools/make_boutiques.py`` writes it from the options of the command line; a test checks
that it is up to date. The format is that of https://boutiques.github.io, schema 0.5, as required
for BIDS Apps (``bosh validate --bids``).
"""

from __future__ import annotations

import argparse
import json
import types
from pathlib import Path
from typing import Any, get_args, get_type_hints

from nidecomp.cli import EXIT_CODES, build_parser
from nidecomp.config.settings import SECTIONS
from nidecomp.version import __version__

DESCRIPTOR = Path(__file__).resolve().parents[1] / "boutiques.json"

# In BIDS Apps, these two follow the positional arguments.
_FIRST = ("participant_label", "session_label")
# Options with an existing file or folder, which the platform must provide; other folders (DIR) are
# created if needed.
_FILES = {"FILE", "PATH"}


def main() -> None:
    """Write the descriptor."""
    DESCRIPTOR.write_text(descriptor_text(), encoding="utf-8")


def descriptor_text() -> str:
    """Return the descriptor as text."""
    return json.dumps(descriptor(), indent=2, ensure_ascii=False) + "\n"


def descriptor() -> dict[str, Any]:
    """Return the descriptor of the command line.

    Returns
    -------
    dict
        Following Boutiques' schema. Defaults are given in descriptions only, because Boutiques
        writes its defaults to the command line, where they override ``--config-file``.
    """
    parser = build_parser()
    positional = {action.dest: action for action in parser._actions if not action.option_strings}
    options = [_option(action) for action in _options(parser)]
    keys = " ".join(option["value-key"] for option in options)
    return {
        "name": "NiDecomp",
        "description": parser.description,
        "author": "The NiDecomp developers",
        "url": "https://github.com/nidecomp/nidecomp",
        "tool-version": __version__,
        "schema-version": "0.5",
        "tags": {"domain": ["neuroinformatics", "bids-app", "fmri"]},
        "container-image": {"type": "docker", "image": f"nidecomp/nidecomp:{__version__}"},
        "command-line": "mkdir -p [OUTPUT_DIR]; nidecomp [BIDS_DIR] [OUTPUT_DIR] [ANALYSIS_LEVEL] "
        + keys,
        "inputs": [*_positionals(positional), *options],
        "groups": [
            {
                "id": "output_folder",
                "name": "Output folder",
                "description": "The name of a new folder, or an existing folder.",
                "members": ["output_dir", "existing_output_dir"],
                "mutually-exclusive": True,
                "one-is-required": True,
            }
        ],
        "output-files": [
            {
                "id": "results",
                "name": "Results",
                "description": "The output folder, a BIDS-Derivatives dataset.",
                "path-template": "[OUTPUT_DIR]",
                "optional": False,
            }
        ],
        "error-codes": [
            {"code": code, "description": meaning} for code, meaning in EXIT_CODES.items() if code
        ],
    }


def _positionals(actions: dict[str, argparse.Action]) -> list[dict[str, Any]]:
    """Return the positional arguments; in BIDS Apps the output folder is given twice."""
    bids_dir, output_dir, level = (
        {"description": actions[name].help, "value-key": f"[{name.upper()}]"}
        for name in ("bids_dir", "output_dir", "analysis_level")
    )
    return [
        {"id": "bids_dir", "name": "BIDS_DIR", **bids_dir, "type": "File"},
        {
            "id": "output_dir",
            "name": "OUTPUT_DIR (new)",
            **output_dir,
            "type": "String",
            "optional": True,
        },
        {
            "id": "existing_output_dir",
            "name": "OUTPUT_DIR (existing)",
            **output_dir,
            "description": "an output folder of earlier jobs, to which results are added",
            "type": "File",
            "optional": True,
        },
        {
            "id": "analysis_level",
            "name": "Analysis level",
            **level,
            "type": "String",
            "value-choices": list(actions["analysis_level"].choices or ()),
        },
    ]


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return all options of a job, in the order of the command line."""
    found = [
        action
        for action in parser._actions
        if action.option_strings and action.dest not in {"help", "version"}
    ]
    return sorted(found, key=lambda action: action.dest not in _FIRST)


def _option(action: argparse.Action) -> dict[str, Any]:
    """Return the description of an option."""
    flag = action.option_strings[-1]
    return {
        "id": action.dest,
        "name": flag.removeprefix("--").replace("-", " ").capitalize(),
        "description": (action.help or "").replace("%%", "%"),
        "value-key": f"[{action.dest.upper()}]",
        "command-line-flag": flag,
        **_value(action),
        **({"list": True} if action.nargs == "+" else {}),
        "optional": True,
    }


def _value(action: argparse.Action) -> dict[str, Any]:
    """Return the type of an option's value."""
    kinds = _kinds(_TYPES.get(action.dest, str))
    if kinds == {bool}:
        return {"type": "Flag"}
    if kinds <= {int, float}:
        return {"type": "Number", **({"integer": True} if kinds == {int} else {})}
    if all(isinstance(kind, str) for kind in kinds):
        return {"type": "String", "value-choices": sorted(kinds)}
    return {"type": "File" if action.metavar in _FILES else "String"}


_TYPES = {
    name: annotation
    for record in SECTIONS.values()
    for name, annotation in get_type_hints(record).items()
}


def _kinds(annotation: object) -> set[Any]:
    """Return all types and literals in an annotation, such as {int, "auto"}."""
    parts = get_args(annotation)
    if not parts:
        return set() if annotation in {types.NoneType, ...} else {annotation}
    return set().union(*map(_kinds, parts))


if __name__ == "__main__":
    main()
