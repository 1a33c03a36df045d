"""Whatever breaks: inputs untouched, no half file under a final name, and the next start completes.

The fast part; ``make check-faults`` runs `sweep_faults.py`, which tries every step.
"""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cases import OPTIONS, Case, Undisturbed, contents, reasons
from injected import MESSAGE, READ, RENAME, WRITE, Fault
from served import Server
from support import IN_WORKERS, REPOSITORY, nidecomp, results

RUN = "sub-01_task-nback"
SIGNALS = {"kill": -signal.SIGKILL, "terminate": 143, "hang up": 129}


# ---------------------------------------------------------------- the process ends
@pytest.mark.parametrize(
    ("share", "does"), [(0.1, "kill"), (0.35, "terminate"), (0.6, "kill"), (1.0, "hang up")]
)
def test_ended_before_a_file_has_its_name(
    case: Case, whole: Undisturbed, share: float, does: str
) -> None:
    number = 1 + round(share * (whole.events["rename"] - 1))
    done = case.run(Fault(RENAME, number, does, only=str(case.output)))
    assert done.code == SIGNALS[does]
    assert "Traceback" not in done.stderr
    case.check_nothing_is_lost(whole)
    case.check_next_start_completes(whole)


def test_killed_in_the_middle_of_a_file(case: Case, whole: Undisturbed) -> None:
    done = case.run(Fault(largest_file=2000, is_deadly=True))
    assert done.code == -signal.SIGXFSZ
    case.check_nothing_is_lost(whole)
    case.check_next_start_completes(whole)


# ---------------------------------------------------------------- the disk
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_full_disk_is_a_sentence(case: Case, whole: Undisturbed, share: float) -> None:
    number = 1 + round(share * (whole.events["write"] - 1))
    done = case.run(Fault(WRITE, number, "ENOSPC", only=str(case.output)))
    assert done.code == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    case.check_nothing_is_lost(whole)
    case.check_next_start_completes(whole)


def test_a_quota_is_a_sentence(case: Case, whole: Undisturbed) -> None:
    """Writing fails in the middle of a file, within numpy, compression and shutil."""
    done = case.run(Fault(largest_file=4000))
    assert done.code == 1
    assert "File too large" in done.stderr or "a quota is exceeded" in done.stderr
    assert "Traceback" not in done.stderr
    case.check_nothing_is_lost(whole)
    case.check_next_start_completes(whole)


@pytest.mark.parametrize("message", ["Fitting 3 components", "Projecting runs: 2 of 4"])
def test_a_work_folder_that_is_deleted_under_the_run(
    case: Case, whole: Undisturbed, message: str
) -> None:
    number = whole.number_of(message)
    done = case.run(Fault(MESSAGE, number, "delete", path=str(case.output / "work")))
    assert done.code in {0, 1}
    assert "Traceback" not in done.stderr
    case.check_nothing_is_lost(whole)
    case.check_next_start_completes(whole)


# ---------------------------------------------------------------- the input
@pytest.mark.parametrize("pattern", ["*_bold.nii.gz", "*_timeseries.tsv"])
def test_an_input_that_vanishes_costs_its_run(case: Case, whole: Undisturbed, pattern: str) -> None:
    path = case.file_of(f"{RUN}_{pattern}")
    kept = shutil.copy2(path, case.output.with_name("kept"))
    done = case.run(Fault(MESSAGE, whole.number_of("Peak memory"), "delete", path=str(path)))
    assert done.code == 1
    assert "Traceback" not in done.stderr
    status, reason = reasons(case.output)[RUN]
    assert status == "failed"
    assert path.name in reason
    shutil.copy2(kept, path)
    case.check_next_start_completes(whole)


@pytest.mark.parametrize("when", ["Peak memory", "Fitting 3 components"])
def test_an_input_that_changes_costs_its_run(case: Case, whole: Undisturbed, when: str) -> None:
    """Before it is reduced, and between that and its projection."""
    path = case.file_of(f"{RUN}_*_bold.nii.gz")
    kept = shutil.copy2(path, case.output.with_name("kept"))
    done = case.run(Fault(MESSAGE, whole.number_of(when), "replace", path=str(path)))
    assert done.code == 1
    assert "Traceback" not in done.stderr
    status, reason = reasons(case.output)[RUN]
    assert status == "failed"
    assert path.name in reason
    shutil.copy2(kept, path)
    case.check_next_start_completes(whole)


def test_an_input_that_vanishes_when_its_run_is_done_costs_nothing(
    case: Case, whole: Undisturbed
) -> None:
    """Runs of a participant are combined from what was stored."""
    path = case.file_of(f"{RUN}_*_bold.nii.gz")
    number = whole.number_of("Projecting runs: 1 of 4")
    done = case.run(Fault(MESSAGE, number, "delete", path=str(path)))
    assert done.code == 0, done.stderr
    assert not path.exists()
    assert results(case.output) == whole.results


def test_a_damaged_image_costs_its_run(case: Case, whole: Undisturbed) -> None:
    path = case.file_of(f"{RUN}_*_bold.nii.gz")
    kept = shutil.copy2(path, case.output.with_name("kept"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    case.before = contents(case.source)
    done = case.run()
    assert done.code == 1
    assert reasons(case.output)[RUN][0] == "failed"
    assert [status for status, _ in reasons(case.output).values()].count("used") == 3
    assert contents(case.source) == case.before
    shutil.copy2(kept, path)
    case.before = contents(case.source)
    case.check_next_start_completes(whole)


def test_a_disk_that_fails_while_an_image_is_read_costs_its_run(
    case: Case, whole: Undisturbed
) -> None:
    path = case.file_of(f"{RUN}_*_bold.nii.gz")
    for number in (1, 6):
        shutil.rmtree(case.output, ignore_errors=True)
        done = case.run(Fault(READ, number, "EIO", only=path.name))
        status, reason = reasons(case.output)[RUN]
        assert (done.code, status) == {1: (0, "refused"), 6: (1, "failed")}[number]
        assert "Input/output error" in reason
        assert "Traceback" not in done.stderr
    case.check_next_start_completes(whole)


# ---------------------------------------------------------------- memory
def test_runs_that_take_all_memory_cost_nothing_but_themselves(
    case: Case, whole: Undisturbed
) -> None:
    """The system kills the worker of one, and an allocation in the worker of another fails."""
    killed, starved = RUN, "sub-02_task-rest"
    path = case.file_of(f"{starved}_*_bold.nii.gz")
    kept = shutil.copy2(path, case.output.with_name("kept"))
    image = nib.load(path)
    larger = np.zeros((100, 112, 100, image.shape[3]), dtype=np.uint8)
    affine = image.affine @ np.diag([0.08, 0.08, 0.08, 1])
    path.write_bytes(gzip.compress(nib.Nifti1Image(larger, affine, image.header).to_bytes(), 1))
    words = [word if word != "1" else "2" for word in OPTIONS]
    done = nidecomp(
        case.source, case.output, *words, "--level", "minimal",
        PYTHONPATH=str(IN_WORKERS),
        NIDECOMP_TEST_KILLED=f"{killed}_space", NIDECOMP_TEST_STARVED=f"{starved}_space",
    )  # fmt: skip
    assert done.exit_code == 1, done.stderr
    assert "Traceback" not in done.stderr
    became = reasons(case.output)
    assert became[killed][0] == became[starved][0] == "failed"
    assert "was killed, probably because it ran out of memory" in became[killed][1]
    # Where even reporting it takes more than there is, the process ends.
    assert "memory" in became[starved][1]
    assert [status for status, _ in became.values()].count("used") == 2
    shutil.copy2(kept, path)
    case.check_next_start_completes(whole)


# ---------------------------------------------------------------- others at work, odd places
def test_two_at_once_share_a_work_folder(
    server: Server, whole: Undisturbed, tmp_path: Path
) -> None:
    case = Case(server, tmp_path)
    outputs = [tmp_path / "out", tmp_path / "other"]
    words = [(case.source, output, *OPTIONS, "-w", tmp_path / "work") for output in outputs]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda one: server.run(*one), words))
    assert [done.code for done in both] == [0, 0], both
    for output in outputs:
        assert results(output) == whole.results


def test_a_clock_that_runs_back_changes_no_byte(case: Case, whole: Undisturbed) -> None:
    for path in case.source.rglob("*_bold.json"):
        os.utime(path, (4e9, 4e9))
    case.before = contents(case.source)
    assert case.run(Fault(clock_runs_back=True)).code == 0
    assert results(case.output) == whole.results
    case.check_next_start_completes(whole)


def of_maps_and_tables(found: dict[str, str]) -> dict[str, str]:
    """Leave out the inventory, which lists folders without runs, and the manifest with its JSON."""
    others = {"logs/inventory.tsv", "logs/manifest.tsv", "logs/manifest.json"}
    return {name: digest for name, digest in found.items() if name not in others}


def test_names_that_are_no_utf8(server: Server, whole: Undisturbed, tmp_path: Path) -> None:
    case = Case(server, Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff\xfe'\"<b>&$(id)")))
    (case.source / os.fsdecode(b"sub-0\xff")).mkdir()
    (case.source / "sub-01" / "func" / os.fsdecode(b"sub-01_\xff_bold.nii.gz")).write_bytes(b"")
    done = case.run()
    assert done.code == 0, done.stderr
    assert of_maps_and_tables(results(case.output)) == of_maps_and_tables(whole.results)


def test_links_that_lead_in_circles_are_passed_by(case: Case, whole: Undisturbed) -> None:
    (case.source / "sub-98").symlink_to("sub-98")
    (case.source / "sub-01" / "func" / "again").symlink_to("..")
    (case.source / "sub-01" / "ses-1").symlink_to("..")
    func = case.source / "sub-99" / "func"
    func.mkdir(parents=True)
    loop = (
        func
        / f"{RUN.replace('sub-01', 'sub-99')}_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz"
    )
    loop.symlink_to(loop.name)
    done = case.run()
    assert done.code == 0, done.stderr
    assert of_maps_and_tables(results(case.output)) == of_maps_and_tables(whole.results)
    assert [reasons(case.output)[name][0] for name in ("sub-98", "sub-99")] == ["not selected"] * 2


def test_nothing_is_written_through_a_link_that_leads_into_the_input(
    case: Case, whole: Undisturbed
) -> None:
    case.output.mkdir()
    (case.output / "sub-01").symlink_to(case.source / "sub-01")
    done = case.run()
    assert done.code == 2
    assert "leads out of the output folder" in done.stderr
    case.check_nothing_is_lost(whole)
    (case.output / "sub-01").unlink()
    case.check_next_start_completes(whole)


# ---------------------------------------------------------------- permissions
@cache
def _another_user() -> list[str]:
    """Words before a command that make it somebody else's: an interpreter of its own may import."""
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    words = words if os.geteuid() == 0 else []
    check = [*words, sys.executable, "-c", "import nidecomp.pipeline"]
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="nidecomp-") as name:
        Path(name).chmod(0o777)
        environment = {**os.environ, "HOME": name}
        if subprocess.run(check, check=False, capture_output=True, env=environment).returncode:
            pytest.skip(f"another user cannot run what lies in {REPOSITORY}")
    return words


@pytest.fixture
def as_another_user(compiled_ahead: Path) -> Iterator[tuple[list[str], Path]]:
    """Words before a command that make it somebody else's, and a folder that all can reach.

    Machine code lies there, too: others cannot write where it is kept, and would compile it again.
    """
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="nidecomp-") as name:
        Path(name).chmod(0o777)
        shutil.copytree(compiled_ahead, Path(name) / "compiled")
        (Path(name) / "compiled").chmod(0o755)
        yield _another_user(), Path(name)


def _run_as(words: list[str], case: Case, *more: object) -> subprocess.CompletedProcess[str]:
    command = [*words, sys.executable, "-m", "nidecomp", case.source, case.output, *OPTIONS, *more]
    return subprocess.run(
        list(map(str, command)),
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "HOME": str(case.output.parent),
            "NIDECOMP_COMPILED": str(case.output.parent / "compiled"),
        },
    )


def test_a_file_that_may_not_be_read_costs_its_run(
    server: Server, as_another_user: tuple[list[str], Path]
) -> None:
    words, folder = as_another_user
    case = Case(server, folder)
    closed = {
        "sub-01_task-nback": "*_bold.nii.gz",
        "sub-02_task-nback": "*_bold.json",
        "sub-03_task-nback": "*_mask.nii.gz",
        "sub-03_task-rest": "*_timeseries.tsv",
    }
    for run, pattern in closed.items():
        case.file_of(f"{run}_{pattern}").chmod(0)
    everybody = ("--participant-label", "01", "02", "03")
    done = _run_as(words, case, *everybody, "--level", "minimal", "--methods", "canica")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    became = reasons(case.output)
    for run in closed:
        assert became[run][0] == "refused"
        assert "Permission denied" in became[run][1]
    assert [status for status, _ in became.values()].count("used") == 2
    if os.geteuid() == 0:
        assert contents(case.source) == case.before


def test_an_output_folder_without_permission_is_a_sentence(
    server: Server, as_another_user: tuple[list[str], Path]
) -> None:
    words, folder = as_another_user
    case = Case(server, folder)
    case.output.mkdir()
    case.output.chmod(0o555)
    done = _run_as(words, case)
    assert done.returncode in {1, 2}
    assert "Permission denied" in done.stderr
    assert str(case.output) in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) < 3
    assert not list(case.output.iterdir())
    assert contents(case.source) == case.before
