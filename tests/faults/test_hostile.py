"""Whatever a file holds, its reader answers with what it read or with one sentence, soon."""

from __future__ import annotations

import csv
import gzip
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import fuzz
import hostile_files as hostile
import nibabel as nib
import numpy as np
import pytest
from support import FIXTURES, REPOSITORY, Finished, nidecomp, snapshot

SOURCE = FIXTURES / "no_res"
FAST = ("--n-components", "3", "--nprocs", "1", "--level", "minimal")
INPUTS = 14
# Each of them is small and stands for much: what it would take is in the test that uses it.
GIGABYTE = 1 << 30


def test_no_reader_crashes_on_changed_files() -> None:
    """A few inputs for each reader; ``make fuzz`` tries thousands."""
    words = [f"--inputs={INPUTS}", "--json", "--reader", *fuzz.READERS]
    done = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "fuzz.py", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    assert {one["reader"] for one in found} == set(fuzz.READERS)
    assert all(one["inputs"] >= INPUTS for one in found)
    assert {one["reader"]: one["crashes"] for one in found if one["crashes"]} == {}
    assert done.returncode == 0


# ---------------------------------------------------------------- bombs
def zeros(n_bytes: int) -> bytes:
    """Compress zeros: a thousandth of their size, in parts of one gigabyte at most."""
    part = gzip.compress(bytes(min(n_bytes, 1 << 26)), 9, mtime=0)
    return part * max(1, n_bytes >> 26)


def header(shape: tuple[int, ...], dtype: str = "int16") -> bytes:
    """Give the first 352 bytes of an image of this shape, which need not hold a voxel."""
    image = nib.Nifti1Image(np.zeros((1,) * len(shape), dtype=dtype), hostile.AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    content = bytearray(image.to_bytes()[:352])
    struct.pack_into(f"<{1 + len(shape)}h", content, 40, len(shape), *shape)
    return bytes(content)


def deep(opening: str, closing: str) -> str:
    return opening * 100_000 + closing * 100_000


# Bomb: what makes it of the files of a run, and what is said of the run.
def _claims_terabytes(files: dict[str, Path]) -> str:
    files["bold"].write_bytes(gzip.compress(header((30000, 30000, 30000, 30000))))
    return "more than any image of a brain"


def _claims_much_of_little(files: dict[str, Path]) -> str:
    files["bold"].write_bytes(gzip.compress(header((500, 500, 500, 66))))
    return "is smaller than the"


def _inflates_without_end(files: dict[str, Path]) -> str:
    content = files["bold"].read_bytes() + zeros(64 * GIGABYTE)
    files["bold"].write_bytes(content)
    return "continues long after"


def _mask_claims_much_of_little(files: dict[str, Path]) -> str:
    files["mask"].write_bytes(gzip.compress(header((500, 500, 500), "uint8")))
    return "is smaller than the"


def _mask_with_an_affine_of_nan(files: dict[str, Path]) -> str:
    content = bytearray(gzip.decompress(files["mask"].read_bytes()))
    content[280:328] = np.full(12, np.nan, "<f4").tobytes()
    content[256:280] = np.full(6, np.nan, "<f4").tobytes()
    files["mask"].write_bytes(gzip.compress(bytes(content)))
    return "has an invalid affine"


def _sidecar_of_a_gigabyte(files: dict[str, Path]) -> str:
    with files["sidecar"].open("r+b") as file:
        file.truncate(GIGABYTE)
    return "larger than 17 MB"


def _sidecar_nested(files: dict[str, Path]) -> str:
    files["sidecar"].write_text('{"RepetitionTime": 2.0, "a": ' + deep("[", "]") + "}")
    return "nested too deeply"


def _sidecar_with_a_number_of_a_million_digits(files: dict[str, Path]) -> str:
    files["sidecar"].write_text('{"RepetitionTime": ' + "9" * 1_000_000 + "}")
    return "a number of 1000000 digits"


def _sidecar_is_a_pipe(files: dict[str, Path]) -> str:
    files["sidecar"].unlink()
    os.mkfifo(files["sidecar"])
    return "is not a regular file"


def _image_is_a_pipe(files: dict[str, Path]) -> str:
    files["bold"].unlink()
    os.mkfifo(files["bold"])
    return "is not a regular file"


def _table_of_a_gigabyte_in_one_line(files: dict[str, Path]) -> str:
    with files["table"].open("r+b") as file:
        file.truncate(GIGABYTE)
    return "its size is 1074 MB"


def _table_with_nul(files: dict[str, Path]) -> str:
    content = files["table"].read_bytes()
    files["table"].write_bytes(content.replace(b"\t0.", b"\t\x00.", 5))
    return "has text in column"


def _table_with_words_for_a_shell_and_a_browser(files: dict[str, Path]) -> str:
    content = files["table"].read_text()
    name = "$(touch /tmp/x)<script>alert(1)</script>\x1b[2J"
    rows = content.splitlines()
    rows = [f"{rows[0]}\t{name}", *(f"{row}\tx" for row in rows[1:])]
    files["table"].write_text("\n".join(rows) + "\n")
    return "has text in column '$(touch"


BOMBS = (
    _claims_terabytes,
    _claims_much_of_little,
    _inflates_without_end,
    _mask_claims_much_of_little,
    _mask_with_an_affine_of_nan,
    _sidecar_of_a_gigabyte,
    _sidecar_nested,
    _sidecar_with_a_number_of_a_million_digits,
    _sidecar_is_a_pipe,
    _image_is_a_pipe,
    _table_of_a_gigabyte_in_one_line,
    _table_with_nul,
    _table_with_words_for_a_shell_and_a_browser,
)


def _files_of(source: Path, label: str) -> dict[str, Path]:
    func = source / f"sub-{label}" / "func"
    (bold,) = func.glob("*_bold.nii.gz")
    (mask,) = func.glob("*_mask.nii.gz")
    (table,) = func.glob("*_timeseries.tsv")
    return {"bold": bold, "mask": mask, "table": table, "sidecar": hostile.sidecar_of(bold)}


@pytest.fixture(scope="module")
def bombed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Finished, dict[str, str], Path, int]:
    """One dataset in which all participants but three have a bomb, and how the command takes it."""
    source = tmp_path_factory.mktemp("bombs") / "fmriprep"
    shutil.copytree(SOURCE, source)
    said = {}
    for number, bomb in enumerate(BOMBS, start=11):
        label = f"{number:02d}"
        for path in sorted((source / "sub-03" / "func").iterdir()):
            target = Path(str(path).replace("sub-03", f"sub-{label}"))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        said[label] = bomb(_files_of(source, label))
    before = snapshot(source)
    # It takes seconds.
    done = nidecomp(source, source.with_name("out"), "group", *FAST, fresh=True, timeout=120)
    assert snapshot(source) == before, "the input was touched"
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return done, said, source.with_name("out"), peak_mb


def test_bombs_cost_their_runs_and_nothing_else(bombed) -> None:
    done, said, output, peak_mb = bombed
    assert done.exit_code == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "The results of 3 runs are in" in done.stderr
    assert peak_mb < 2000
    assert "\x1b" not in done.stderr
    with (output / "logs" / "inventory.tsv").open(encoding="utf-8", newline="") as file:
        reasons = {row["run"]: row["reason"] for row in csv.DictReader(file, delimiter="\t")}
    for label, words in said.items():
        assert words in reasons[f"sub-{label}_task-rest"]
