"""Every fault at every step; ``make check-faults`` runs this and prints how many were tried.

``EVERY=5`` tries every fifth step only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cases import Case, Undisturbed, contents, reasons
from injected import MESSAGE, READ, RENAME, WRITE, Fault
from served import Ended, Server
from support import results

EVERY = int(os.environ.get("EVERY", "1"))
RUN = "sub-01_task-nback"
ROOM = "64m"


def _steps(n_events: int) -> range:
    return range(1, n_events + 1, EVERY)


def _sweep(
    server: Server,
    whole: Undisturbed,
    folder: Path,
    faults: Iterable[Fault],
    codes: tuple[int, ...],
) -> None:
    """Try faults one by one, each on a new dataset and output folder; tell all that went wrong."""
    tried, wrong = 0, []
    for fault in faults:
        case = Case(server, folder / "case")
        done = case.run(fault)
        tried += 1
        try:
            _check(done, codes)
            if done.code == 0:
                assert results(case.output) == whole.results, "said to be done, but it is not"
            case.check_nothing_is_lost(whole)
            case.check_next_start_completes(whole)
        except AssertionError as error:
            wrong.append(f"{fault}: {error}")
        shutil.rmtree(folder / "case")
    print(f"{tried} tried, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)


def _check(done: Ended, codes: tuple[int, ...]) -> None:
    assert done.code in codes, done
    assert "Traceback" not in done.stderr, done.stderr


def _under(folder: Path) -> str:
    return str(folder / "case" / "out")


def test_killed_before_each_file_has_its_name(
    server: Server, whole: Undisturbed, tmp_path: Path
) -> None:
    faults = (
        Fault(RENAME, number, "kill", only=_under(tmp_path))
        for number in _steps(whole.events[RENAME])
    )
    _sweep(server, whole, tmp_path, faults, (-signal.SIGKILL,))


def test_terminated_before_each_file_has_its_name(
    server: Server, whole: Undisturbed, tmp_path: Path
) -> None:
    faults = (
        Fault(RENAME, number, "terminate", only=_under(tmp_path))
        for number in _steps(whole.events[RENAME])
    )
    _sweep(server, whole, tmp_path, faults, (143,))


@pytest.mark.parametrize(("does", "code"), [("kill", -signal.SIGKILL), ("terminate", 143)])
def test_ended_at_each_message(
    server: Server, whole: Undisturbed, tmp_path: Path, does: str, code: int
) -> None:
    faults = (Fault(MESSAGE, number, does) for number in _steps(whole.events[MESSAGE]))
    _sweep(server, whole, tmp_path, faults, (code,))


def test_killed_in_the_middle_of_files_of_every_size(
    server: Server, whole: Undisturbed, tmp_path: Path
) -> None:
    sizes = range(100, 20000, 700 * EVERY)
    faults = (Fault(largest_file=size, is_deadly=True) for size in sizes)
    _sweep(server, whole, tmp_path, faults, (-signal.SIGXFSZ, 0))


def test_the_disk_is_full_from_each_file_on(
    server: Server, whole: Undisturbed, tmp_path: Path
) -> None:
    faults = (
        Fault(WRITE, number, "ENOSPC", only=_under(tmp_path))
        for number in _steps(whole.events[WRITE])
    )
    # The last files tell what the steps took, which a run that is done with its results does
    # without, and says so.
    _sweep(server, whole, tmp_path, faults, (0, 1))


def test_a_quota_of_every_size(server: Server, whole: Undisturbed, tmp_path: Path) -> None:
    faults = (Fault(largest_file=size) for size in range(100, 20000, 700 * EVERY))
    _sweep(server, whole, tmp_path, faults, (0, 1))


def test_the_work_folder_is_deleted_at_each_message(
    server: Server, whole: Undisturbed, tmp_path: Path
) -> None:
    # Before the second message it is not there.
    faults = (
        Fault(MESSAGE, number, "delete", path=f"{_under(tmp_path)}/work")
        for number in _steps(whole.events[MESSAGE])
        if number > 1
    )
    _sweep(server, whole, tmp_path, faults, (0, 1))


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own needs root and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_disks_of_every_size_that_are_full(
    server: Server, whole: Undisturbed, tmp_path: Path
) -> None:
    """A real file system: writing fails wherever it is full, in the middle of files, too."""
    tried, wrong = 0, []
    with _small_disk(tmp_path / "disk") as disk:
        for kilobytes in range(8, 3000, 90 * EVERY):
            case = Case(server, tmp_path / "case")
            case.output = disk / "case" / "out"
            case.output.parent.mkdir()
            _resize(disk, f"{kilobytes}k")
            done = case.run()
            tried += 1
            try:
                _check(done, (0, 1))
                # Where links between input and output lead is another in another place.
                if done.code:
                    assert "No space left" in done.stderr or "the disk is full" in done.stderr
                else:
                    assert _but_links(results(case.output)) == _but_links(whole.results)
                assert contents(case.source) == case.before
                _resize(disk, ROOM)
                again = case.run()
                assert again.code == 0, again.stderr
                assert _but_links(results(case.output)) == _but_links(whole.results)
            except AssertionError as error:
                wrong.append(f"{kilobytes} kB: {error}")
            shutil.rmtree(tmp_path / "case")
            _resize(disk, ROOM)
            shutil.rmtree(disk / "case")
    print(f"{tried} tried, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)


def _resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def _but_links(hashes: dict[str, str]) -> dict[str, str]:
    own = {"dataset_description.json", "logs/manifest.tsv", "logs/manifest.json"}
    return {name: value for name, value in hashes.items() if name not in own}


@pytest.mark.parametrize("pattern", ["*_bold.nii.gz", "*_bold.json", "*_timeseries.tsv"])
@pytest.mark.parametrize("does", ["delete", "replace"])
def test_an_input_vanishes_or_changes_at_each_message(
    server: Server, whole: Undisturbed, tmp_path: Path, does: str, pattern: str
) -> None:
    """Its run fails or was done with before; the others go on; put back, all is as it was."""
    tried = 0
    for number in _steps(whole.events[MESSAGE]):
        case = Case(server, tmp_path / "case")
        path = case.file_of(f"{RUN}_{pattern}")
        kept = shutil.copy2(path, tmp_path / "kept")
        done = case.run(Fault(MESSAGE, number, does, path=str(path)))
        tried += 1
        _check(done, (0, 1))
        status, reason = reasons(case.output)[RUN]
        assert (status == "failed") == (done.code == 1), (number, status, done.stderr)
        assert status != "failed" or path.name in reason or "files changed" in reason, reason
        shutil.copy2(kept, path)
        case.check_next_start_completes(whole)
        shutil.rmtree(tmp_path / "case")
    print(f"{tried} tried")


def test_reading_fails_at_each_look_at_an_image(
    server: Server, whole: Undisturbed, tmp_path: Path
) -> None:
    tried = 0
    for number in range(1, 30, EVERY):
        case = Case(server, tmp_path / "case")
        path = case.file_of(f"{RUN}_*_bold.nii.gz")
        done = case.run(Fault(READ, number, "EIO", only=path.name))
        tried += 1
        _check(done, (0, 1))
        status, reason = reasons(case.output)[RUN]
        assert status == "used" or "Input/output error" in reason or path.name in reason
        case.check_next_start_completes(whole)
        shutil.rmtree(tmp_path / "case")
    print(f"{tried} tried")
