"""The command line interface: parse arguments, run the analysis, report errors and exit codes.

Modules that are slow to import are imported only after the arguments have been parsed.
"""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import Field
from types import FrameType
from typing import Any, NoReturn

from nidecomp.config.datasets import with_paths
from nidecomp.config.parse import read_config_file, settings_from_options
from nidecomp.config.settings import SECTIONS, Settings, declared_options
from nidecomp.core.errors import NidecompError, NothingToDoError, UsageError
from nidecomp.version import __version__

# 128 + the signal number, as reported by shells.
_HUNG_UP, _INTERRUPTED, _TERMINATED = 129, 130, 143
EXIT_CODES = {
    0: "success",
    NidecompError.exit_code: "the analysis failed, or some of the runs failed (see the message)",
    UsageError.exit_code: "invalid options or folders",
    NothingToDoError.exit_code: "no analysis is possible with the data (no matching run, too few "
    "usable runs, or more components than the degrees of freedom of the data)",
    _HUNG_UP: "terminated because the terminal was closed; repeat the command to resume",
    _INTERRUPTED: "interrupted by Ctrl-C; repeat the command to resume",
    _TERMINATED: "terminated by SIGTERM, for example by a batch system; repeat the command to "
    "resume",
}
_CODES = "\n".join(f"  {code:<4}{meaning}" for code, meaning in EXIT_CODES.items())
_EPILOG = f"""\
exit codes:
{_CODES}

examples:
  nidecomp /data/fmriprep /data/networks group --n-components 20
  nidecomp /data/fmriprep /data/networks group --n-components auto
  nidecomp /data/fmriprep /data/networks participant --participant-label 01 -w /scratch/work
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run NiDecomp from the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program name; by default those of this process.

    Returns
    -------
    int
        The exit code.
    """
    _open_missing_streams()
    # Commands started from a notebook inherit its matplotlib backend, which may not be installed
    # here, and the user's matplotlibrc may be invalid. Workers inherit these variables.
    os.environ.update(MPLBACKEND="agg", MATPLOTLIBRC=os.devnull)
    # Stop workers and remove temporary folders on these signals, as on Ctrl-C.
    with suppress(ValueError):  # signal handlers can be set in the main thread only
        signal.signal(signal.SIGTERM, _terminate)
        # Keep ignoring SIGHUP under nohup.
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            signal.signal(signal.SIGHUP, _terminate)
    words = sys.argv[1:] if argv is None else argv
    try:
        settings = parse(words)
        # Imported after parsing, so that --help answers at once.
        from nidecomp.start import carry_out  # noqa: PLC0415

        return carry_out(settings, ["nidecomp", *words]).exit_code
    except NidecompError as error:
        print(f"nidecomp: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        # For example a full disk or missing permissions: the system's message names the file.
        print(f"nidecomp: {error}", file=sys.stderr)  # noqa: T201
        return NidecompError.exit_code
    except MemoryError:
        print(  # noqa: T201
            "nidecomp: out of memory. Reduced runs are kept. Use --dry-run to see how much memory "
            "is needed, and --mem-mb to limit it.",
            file=sys.stderr,
        )
        return NidecompError.exit_code
    except (KeyboardInterrupt, _Terminated) as interruption:
        with suppress(OSError):  # the terminal may have been closed
            print(  # noqa: T201
                "nidecomp: interrupted. Reduced runs are kept; repeat the command to resume.",
                file=sys.stderr,
                flush=True,
            )
        return interruption.code if isinstance(interruption, _Terminated) else _INTERRUPTED


class _Terminated(BaseException):
    """Raised on SIGTERM (sent by batch systems before SIGKILL) and SIGHUP (terminal closed)."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated(number)


def _open_missing_streams() -> None:
    """Open standard streams that are closed, because libraries and workers need all three."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # It gets the lowest free descriptor, which is the stream's own; workers inherit it.
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123  left open
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def parse(argv: Sequence[str]) -> Settings:
    """Return the settings given by command line arguments.

    Parameters
    ----------
    argv : sequence of str
        The arguments after the program name.

    Returns
    -------
    Settings
        The command line takes precedence over ``--config-file``, and that over the defaults.

    Raises
    ------
    UsageError
        A value is invalid. (Unknown options end the program with code 2, as usual in argparse.)
    """
    given = vars(build_parser().parse_args([_with_hyphens(word) for word in argv]))
    bids_dir, output_dir = given.pop("bids_dir"), given.pop("output_dir")
    level = given.pop("analysis_level")
    config_file = given.pop("config_file", None)
    options = read_config_file(config_file) if config_file else {}
    for name, value in given.items():
        options[name] = value if name != "datasets" else with_paths(options.get(name, {}), value)
    return settings_from_options(bids_dir, output_dir, level, options)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser, made from the declared options.

    Returns
    -------
    argparse.ArgumentParser
        Its namespace has only the options that were given.
    """
    parser = _Parser(
        prog="nidecomp",
        description="NiDecomp: a BIDS App for group CanICA and dictionary learning on fMRIPrep "
        "outputs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "bids_dir",
        metavar="BIDS_DIR",
        help="the output folder of fMRIPrep, or a raw BIDS dataset with derivatives/fmriprep",
    )
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="the folder for the results")
    parser.add_argument(
        "analysis_level",
        choices=("participant", "group"),
        help="group: the complete analysis; participant: only reduce the runs of the selected "
        "participants, for a later group run (for example as one job of a cluster array)",
    )
    parser.add_argument("--version", action="version", version=f"nidecomp {__version__}")
    groups = {section: parser.add_argument_group(section) for section in SECTIONS}
    for section, declared in declared_options():
        _add_option(groups[section], declared)
    groups["execution"].add_argument(
        "--config-file",
        metavar="FILE",
        help="TOML file with options, such as logs/settings.toml of an earlier run; options on "
        "the command line take precedence",
    )
    return parser


class _Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without the usage summary."""

    def error(self, message: str) -> NoReturn:
        """Print the error with a hint and exit with code 2."""
        hint = ""
        if message.startswith("unrecognized arguments"):
            flags = [flag for action in self._actions for flag in action.option_strings]
            unknown = next((word for word in message.split() if word.startswith("-")), "")
            close = difflib.get_close_matches(unknown.split("=")[0], flags, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
        elif message.startswith("the following arguments are required"):
            hint = (
                " (Put BIDS_DIR OUTPUT_DIR {participant,group} before the options, because options "
                "that accept several values consume the arguments that follow.)"
            )
        self.exit(2, f"nidecomp: {message}.{hint} See nidecomp --help.\n")


def _add_option(group: argparse._ArgumentGroup, declared: Field[Any]) -> None:
    """Add a declared option to its argument group."""
    meta = declared.metadata
    flags = [flag for flag in (meta["short"], "--" + declared.name.replace("_", "-")) if flag]
    help_text = meta["help"].replace("%", "%%") + _default_note(declared)
    if isinstance(declared.default, bool):
        group.add_argument(*flags, dest=declared.name, action="store_true", help=help_text)
    else:
        group.add_argument(
            *flags,
            dest=declared.name,
            action="extend" if meta["adds_up"] else "store",
            nargs="+" if meta["many"] else None,
            metavar=meta["metavar"],
            help=help_text,
        )


def _default_note(declared: Field[Any]) -> str:
    default = declared.default
    if default is None or default in ((), "{}") or isinstance(default, bool):
        return ""
    if isinstance(default, tuple):
        default = " ".join(str(item) for item in default)
    elif isinstance(default, float):
        default = f"{default:g}"
    return f" (default: {default})"


def _with_hyphens(word: str) -> str:
    """Return an argument with underscores of the option name replaced by hyphens."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value
