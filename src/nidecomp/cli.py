"""The command line: words in, settings out; errors become a sentence and an exit code.

Nothing that takes long to import is imported before the words have been understood.
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

from nidecomp.config.parse import read_config_file, settings_from_options
from nidecomp.config.settings import SECTIONS, Settings, declared_options
from nidecomp.core.errors import NidecompError, NothingToDoError, UsageError
from nidecomp.version import __version__

# 128 + the signal's number, as a shell reports it.
_HUNG_UP, _INTERRUPTED, _TERMINATED = 129, 130, 143
EXIT_CODES = {
    0: "done",
    NidecompError.exit_code: "the run failed, or some runs failed (the message says which)",
    UsageError.exit_code: "wrong usage",
    NothingToDoError.exit_code: "nothing to do could be built (no matching run, too few usable "
    "ones, more components than the data hold)",
    _HUNG_UP: "ended because its terminal was closed; the same command goes on from there",
    _INTERRUPTED: "interrupted by Ctrl-C; the same command goes on from there",
    _TERMINATED: "ended by SIGTERM, as batch systems do; the same command goes on from there",
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
        The words after the program's name; those of this process by default.

    Returns
    -------
    int
        The exit code.
    """
    _open_missing_streams()
    # A notebook's backend, which its commands inherit, may not be there for us, and what a user set
    # for matplotlib not be fit to be read; workers inherit these.
    os.environ.update(MPLBACKEND="agg", MATPLOTLIBRC=os.devnull)
    # So that workers are ended and temporary folders removed, as after Ctrl-C.
    with suppress(ValueError):  # in a thread of a user's program there are no signals
        signal.signal(signal.SIGTERM, _terminate)
        # Not where nohup has it ignored.
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            signal.signal(signal.SIGHUP, _terminate)
    words = sys.argv[1:] if argv is None else argv
    try:
        settings = parse(words)
        # Imported after parsing: numpy, nilearn and pybids take seconds.
        from nidecomp.pipeline import carry_out  # noqa: PLC0415

        return carry_out(settings, ["nidecomp", *words]).exit_code
    except NidecompError as error:
        print(f"nidecomp: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        # A full disk, a folder without permission: the system's own words say what and where.
        print(f"nidecomp: {error}", file=sys.stderr)  # noqa: T201
        return NidecompError.exit_code
    except MemoryError:
        print(  # noqa: T201
            "nidecomp: there was not enough memory. Reduced runs are kept; --mem-mb says how much "
            "may be used, and --dry-run how much it takes.",
            file=sys.stderr,
        )
        return NidecompError.exit_code
    except (KeyboardInterrupt, _Terminated) as interruption:
        with suppress(OSError):  # the terminal may be what is gone
            print(  # noqa: T201
                "nidecomp: interrupted. Reduced runs are kept; the same command goes on from here.",
                file=sys.stderr,
                flush=True,
            )
        return interruption.code if isinstance(interruption, _Terminated) else _INTERRUPTED


class _Terminated(BaseException):
    """SIGTERM, as a cluster sends it before it kills, or SIGHUP of a terminal that is closed."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated(number)


def _open_missing_streams() -> None:
    """Open what was closed when this was started: libraries and workers rely on all three."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # It gets the lowest free number, the stream's own, which workers must have, too.
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123  left open
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def parse(argv: Sequence[str]) -> Settings:
    """Understand the words of a command line.

    Parameters
    ----------
    argv : sequence of str
        The words after the program's name.

    Returns
    -------
    Settings
        Command line over ``--config-file`` over defaults.

    Raises
    ------
    UsageError
        A value is impossible. (Unknown words end the program with code 2, as argparse does.)
    """
    given = vars(build_parser().parse_args([_with_hyphens(word) for word in argv]))
    bids_dir, output_dir = given.pop("bids_dir"), given.pop("output_dir")
    level = given.pop("analysis_level")
    config_file = given.pop("config_file", None)
    options = read_config_file(config_file) if config_file else {}
    for name, value in given.items():
        options[name] = value
    return settings_from_options(bids_dir, output_dir, level, options)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser from the declared options.

    Returns
    -------
    argparse.ArgumentParser
        Options that were not given are absent from what it returns.
    """
    parser = _Parser(
        prog="nidecomp",
        description="Group CanICA and dictionary learning on fMRIPrep's outputs (a BIDS App).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "bids_dir",
        metavar="BIDS_DIR",
        help="fMRIPrep's output folder, or a raw BIDS dataset with derivatives/fmriprep inside",
    )
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="where the results go")
    parser.add_argument(
        "analysis_level",
        choices=("participant", "group"),
        help="group: everything; participant: only reduce the runs of the participants named "
        "(one job of a cluster array), for a later group run to find",
    )
    parser.add_argument("--version", action="version", version=f"nidecomp {__version__}")
    groups = {section: parser.add_argument_group(section) for section in SECTIONS}
    for section, declared in declared_options():
        _add_option(groups[section], declared)
    groups["execution"].add_argument(
        "--config-file",
        metavar="FILE",
        help="TOML file with options, such as logs/settings.toml of an earlier run; what stands "
        "on the command line wins",
    )
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that answers a mistake with a sentence rather than with all there is."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and a hint."""
        hint = ""
        if message.startswith("unrecognized arguments"):
            flags = [flag for action in self._actions for flag in action.option_strings]
            unknown = next((word for word in message.split() if word.startswith("-")), "")
            close = difflib.get_close_matches(unknown.split("=")[0], flags, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
        elif message.startswith("the following arguments are required"):
            hint = (
                " (BIDS_DIR OUTPUT_DIR {participant,group} stand before the options: an option "
                "that takes several values swallows what follows it.)"
            )
        self.exit(2, f"nidecomp: {message}.{hint} See nidecomp --help.\n")


def _add_option(group: argparse._ArgumentGroup, declared: Field[Any]) -> None:
    """Add one declared option to its group of the help."""
    meta = declared.metadata
    flags = [flag for flag in (meta["short"], "--" + declared.name.replace("_", "-")) if flag]
    help_text = meta["help"].replace("%", "%%") + _default_note(declared)
    if isinstance(declared.default, bool):
        group.add_argument(*flags, dest=declared.name, action="store_true", help=help_text)
    else:
        group.add_argument(
            *flags,
            dest=declared.name,
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
    """Accept ``--n_components`` for ``--n-components``; leave values alone."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value
