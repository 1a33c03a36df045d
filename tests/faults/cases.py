"""A small dataset, what an undisturbed run makes of it, and what must hold after a fault."""

from __future__ import annotations

import csv
import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from compare_trees import OF_THE_RUN
from injected import Fault
from served import Ended, Server
from support import FIXTURES, results

from nidecomp.core.kept import read_kept

DATASET = "several_tasks"
# Two participants with two runs each, so that runs are combined; everything but the report, whose
# pictures take ten times as long as all else and are written in the same way.
OPTIONS = (
    "group", "--participant-label", "01", "02", "--n-components", "3", "--n-init", "2",
    "--participant-maps", "--no-report", "--nprocs", "1", "--n-splits", "0",
)  # fmt: skip
# These tell of the run itself, grow while it runs, or say how far it came.
_GROWING = {*OF_THE_RUN, "logs/manifest.unfinished.tsv", "logs/inventory.tsv"}


@dataclass(frozen=True)
class Undisturbed:
    """What a run gives that nothing disturbs: content of the output, and of the work folder."""

    results: dict[str, str]
    everything: dict[str, str]
    events: dict[str, int]
    messages: tuple[str, ...]

    def number_of(self, text: str) -> int:
        """Return the number of the first message that contains a text, counted from 1."""
        return next(index for index, said in enumerate(self.messages, start=1) if text in said)


class Case:
    """One dataset and one output folder, which a fault is tried on."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.source, self.output = folder / "fmriprep", folder / "out"
        # Copied with its times, so that reduced runs have the names that they have undisturbed.
        shutil.copytree(FIXTURES / DATASET, self.source)
        self.before = contents(self.source)

    def run(self, fault: Fault | None = None, *more: object) -> Ended:
        """Run the command, with a fault or without."""
        words = (self.source, self.output, *OPTIONS, *more)
        return self.server.run(*words, fault=None if fault is None else asdict(fault))

    def file_of(self, pattern: str) -> Path:
        """Find the one file of the dataset that matches."""
        (path,) = self.source.rglob(pattern)
        return path

    def check_nothing_is_lost(self, undisturbed: Undisturbed) -> None:
        """Inputs as they were; no file under a final name but with its final content."""
        assert contents(self.source) == self.before, "the input was touched"
        whole = set(undisturbed.everything.values())
        for name, digest in hashes(self.output).items():
            is_temporary = Path(name).name.startswith(".") and name != ".bidsignore"
            if is_temporary or name in _GROWING:
                continue
            if Path(name).parts[:2] == ("work", "inspected"):
                # It has the times of the files, and its own checksum.
                assert read_kept(self.output / name) is not None, f"{name} is not whole"
            elif Path(name).parts[0] == "work":
                # Some names there depend on where the dataset lies.
                assert digest in whole, f"{name} is not whole"
            else:
                assert undisturbed.everything.get(name) == digest, f"{name} is not whole"

    def check_next_start_completes(self, undisturbed: Undisturbed) -> None:
        """The same command ends well, and with the bytes of a run that nothing disturbed."""
        done = self.run()
        assert done.code == 0, done.stderr
        assert results(self.output) == undisturbed.results
        assert contents(self.source) == self.before, "the input was touched"


def undisturbed(server: Server, folder: Path) -> Undisturbed:
    """Run once without a fault."""
    case = Case(server, folder)
    done = case.run(Fault(only=str(case.output)))
    assert done.code == 0, done.stderr
    # Each message has a number by which faults are placed.
    messages = [line[20:] for line in done.stderr.splitlines() if line[:2] == "20"]
    assert len(messages) == done.events["message"], done.stderr
    everything = hashes(case.output)
    return Undisturbed(results(case.output), everything, done.events, tuple(messages))


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """Give content and time of every file."""
    digests = hashes(folder)
    return {name: (digests[name], (folder / name).stat().st_mtime_ns) for name in digests}


def hashes(folder: Path) -> dict[str, str]:
    """Hash every file, those in the work folder, too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def reasons(output: Path) -> dict[str, tuple[str, str]]:
    """Read from the inventory what became of each run, and why."""
    with (output / "logs" / "inventory.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["run"]: (row["status"], row["reason"]) for row in rows}
