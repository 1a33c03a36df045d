"""The checks of a run's header, sidecar and confounds table, and the reasons for refusal."""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from nidecomp.config.science import Denoising
from nidecomp.core.records import RefusedRun, RunFiles, RunKey, UsableRun
from nidecomp.runs.inspect import inspect_run, sidecar_path

N_VOLUMES = 20
NONE = Denoising(denoise_strategy="none")


class Run:
    """A small run on disk with 2 × 2 × 2 voxels, by default without sidecar and confounds."""

    def __init__(self, folder: Path) -> None:
        self.bold = folder / "sub-01_task-rest_space-MNI_desc-preproc_bold.nii.gz"
        self.confounds: Path | None = None
        self.image()

    def image(
        self,
        n_volumes: int = N_VOLUMES,
        repetition_time: float = 2.0,
        unit: str = "sec",
    ) -> None:
        image = nib.Nifti1Image(np.zeros((2, 2, 2, n_volumes), np.int16), np.eye(4))
        image.header["pixdim"][4] = repetition_time
        image.header.set_xyzt_units("mm", unit)
        nib.save(image, self.bold)

    def sidecar(self, content: object) -> None:
        sidecar_path(self.bold).write_text(json.dumps(content), encoding="utf-8")

    def table(self, **columns: list[object]) -> None:
        """Write a confounds table, including a framewise displacement of 0."""
        columns = {"framewise_displacement": ["n/a", *[0.1] * (N_VOLUMES - 1)], **columns}
        lines = ["\t".join(columns)]
        lines += ["\t".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        self.text_table("\n".join(lines) + "\n")

    def text_table(self, text: str) -> None:
        self.confounds = self.bold.with_name("sub-01_task-rest_desc-confounds_timeseries.tsv")
        self.confounds.write_text(text, encoding="utf-8")

    def files(self) -> RunFiles:
        key = RunKey((("sub", "01"), ("task", "rest")))
        return RunFiles(key, "MNI", None, self.bold, None, self.confounds)

    def inspect(self, denoising: Denoising = NONE, n_rows: int = 2) -> UsableRun | RefusedRun:
        return inspect_run(self.files(), denoising, n_rows)

    def used(self, denoising: Denoising = NONE, n_rows: int = 2) -> UsableRun:
        record = self.inspect(denoising, n_rows)
        assert isinstance(record, UsableRun), record
        assert record.files == self.files()
        return record

    def reason(self, denoising: Denoising = NONE, n_rows: int = 2) -> str:
        """Return the reason why the run is refused, after checking the record."""
        record = self.inspect(denoising, n_rows)
        assert isinstance(record, RefusedRun), record
        assert (record.key, record.bold) == (self.files().key, self.bold)
        assert record.reason == " ".join(record.reason.split())
        return record.reason


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


# ---------------------------------------------------------------- repetition time
@pytest.mark.parametrize("header", [2.0, 2.0009, 0.0])
def test_the_sidecars_repetition_time_is_taken_where_the_header_does_not_object(
    run: Run, header: float
) -> None:
    run.image(repetition_time=header)
    run.sidecar({"RepetitionTime": 2})
    record = run.used()
    assert record.repetition_time_s == 2.0
    assert record.notes == ()


@pytest.mark.parametrize("sidecar", [None, {}, {"RepetitionTime": None}])
def test_the_headers_repetition_time_is_taken_with_a_note_where_the_sidecar_has_none(
    run: Run, sidecar: object
) -> None:
    if sidecar is not None:
        run.sidecar(sidecar)
    record = run.used()
    assert record.repetition_time_s == 2.0
    assert len(record.notes) == 1
    assert "2 s from the header" in record.notes[0]


@pytest.mark.parametrize("sidecar", [None, {}])
@pytest.mark.parametrize("header", [0.0, -2.0, math.nan, math.inf])
def test_a_repetition_time_that_nobody_tells_is_a_reason(
    run: Run, header: float, sidecar: object
) -> None:
    run.image(repetition_time=header)
    if sidecar is not None:
        run.sidecar(sidecar)
    assert "repetition time is unknown" in run.reason()
    assert "RepetitionTime" in run.reason()


@pytest.mark.parametrize(("said", "header"), [(2.0, 1.0), (0.8, 2.0), (2.0, 2.01), (2000 / 3, 2.0)])
def test_a_contradiction_is_a_reason_with_both_numbers(
    run: Run, said: float, header: float
) -> None:
    run.image(repetition_time=header)
    run.sidecar({"RepetitionTime": said})
    assert f"{said:g} s" in run.reason()
    assert f"{header:g} s" in run.reason()


@pytest.mark.parametrize("header", [2.0, 0.0])
@pytest.mark.parametrize("said", ["2.0", "", True, 0, -2.0, 2000, [2.0], {}, math.nan, math.inf])
def test_a_sidecars_repetition_time_that_is_no_time_is_a_reason(
    run: Run, said: object, header: float
) -> None:
    run.image(repetition_time=header)
    run.sidecar({"RepetitionTime": said})
    assert f"RepetitionTime is {said!r}" in run.reason()


@pytest.mark.parametrize("text", [b"", b"{", b'{"RepetitionTime": 2.0', b"\xff\xfe"])
def test_a_broken_sidecar_is_a_reason_that_names_it(run: Run, text: bytes) -> None:
    sidecar_path(run.bold).write_bytes(text)
    assert sidecar_path(run.bold).name in run.reason()


@pytest.mark.parametrize("sidecar", [[2.0], "2.0", 2.0, None])
def test_a_sidecar_that_is_no_object_is_a_reason(run: Run, sidecar: object) -> None:
    run.sidecar(sidecar)
    name = sidecar_path(run.bold).name
    assert run.reason() == f"its sidecar {name} does not contain a JSON object"


@pytest.mark.parametrize(("unit", "per_second"), [("sec", 1), ("msec", 1e3), ("usec", 1e6)])
def test_the_headers_unit_is_minded(run: Run, unit: str, per_second: float) -> None:
    run.image(repetition_time=0.8 * per_second, unit=unit)
    assert run.used().repetition_time_s == pytest.approx(0.8, rel=1e-6)
    run.sidecar({"RepetitionTime": 0.8})
    assert run.used().repetition_time_s == 0.8


def test_a_header_whose_fourth_dimension_is_no_time_tells_nothing(run: Run) -> None:
    run.image(unit="hz")
    assert "unknown" in run.reason()
    run.sidecar({"RepetitionTime": 0.8})
    assert run.used().repetition_time_s == 0.8


def test_milliseconds_taken_for_seconds_are_no_time_in_the_header_either(run: Run) -> None:
    """A value of 2000 is also refused in a header without a known unit of time."""
    run.image(repetition_time=2000.0, unit="unknown")
    assert "2000" in run.reason()


@pytest.mark.parametrize(
    ("image", "sidecar"),
    [("a_bold.nii.gz", "a_bold.json"), ("a_bold.nii", "a_bold.json"), ("v1.2.nii", "v1.2.json")],
)
def test_the_sidecar_has_the_images_name(image: str, sidecar: str) -> None:
    assert sidecar_path(Path("/x") / image) == Path("/x") / sidecar


# ---------------------------------------------------------------- start time
@pytest.mark.parametrize("start", [0, 0.5, 1, -0.25])
def test_the_start_time_is_the_sidecars(run: Run, start: float) -> None:
    run.sidecar({"RepetitionTime": 2.0, "StartTime": start})
    assert run.used().start_time_s == start


def test_a_start_time_that_nobody_tells_is_not_made_up(run: Run) -> None:
    run.sidecar({"RepetitionTime": 2.0})
    assert run.used().start_time_s is None


@pytest.mark.parametrize("start", [None, "0.5", [0.5], True, math.nan])
def test_a_start_time_that_is_no_time_is_not_taken(run: Run, start: object) -> None:
    run.sidecar({"RepetitionTime": 2.0, "StartTime": start})
    record = run.inspect()
    assert isinstance(record, RefusedRun) or record.start_time_s is None


# ---------------------------------------------------------------- volumes
@pytest.mark.parametrize("dummy_scans", [0, 1, 5])
def test_dummy_scans_are_dropped_at_the_start(run: Run, dummy_scans: int) -> None:
    record = run.used(Denoising(denoise_strategy="none", dummy_scans=dummy_scans))
    assert record.kept == tuple(range(dummy_scans, N_VOLUMES))
    assert (record.n_volumes, record.n_kept) == (N_VOLUMES, N_VOLUMES - dummy_scans)


@pytest.mark.parametrize("dummy_scans", [N_VOLUMES, N_VOLUMES + 1])
def test_a_run_of_dummy_scans_alone_is_refused(run: Run, dummy_scans: int) -> None:
    denoising = Denoising(denoise_strategy="none", dummy_scans=dummy_scans)
    assert f"all of its {N_VOLUMES} volumes were scrubbed or dropped" in run.reason(denoising)


def test_volumes_with_motion_above_the_threshold_are_dropped(run: Run) -> None:
    motion: list[object] = ["n/a", *[0.1] * (N_VOLUMES - 1)]
    motion[3], motion[4], motion[7] = 0.9, 0.5, 0.51
    run.table(framewise_displacement=motion)
    record = run.used(Denoising(denoise_strategy="none", fd_threshold=0.5))
    assert set(range(N_VOLUMES)) - set(record.kept) == {3, 7}
    assert record.mean_fd_mm == pytest.approx(np.mean([m for m in motion if m != "n/a"]))


def test_volumes_flagged_as_non_steady_are_dropped_with_dummy_scans(run: Run) -> None:
    for number in (0, 1):
        flags: list[object] = [int(volume == number) for volume in range(N_VOLUMES)]
        run.table(non_steady_state_outlier00=flags)
        record = run.used(Denoising(denoise_strategy="none", dummy_scans=1))
        assert record.kept == tuple(v for v in range(N_VOLUMES) if v not in {0, number})


def test_a_run_that_moves_too_much_on_average_is_refused(run: Run) -> None:
    run.table(framewise_displacement=["n/a", *[0.3] * (N_VOLUMES - 1)])
    assert "0.300 mm" in run.reason(Denoising(denoise_strategy="none", mean_fd_cutoff=0.2))
    assert run.used(Denoising(denoise_strategy="none", mean_fd_cutoff=0.4)).mean_fd_mm == (
        pytest.approx(0.3)
    )


@pytest.mark.parametrize("min_volumes", [1, N_VOLUMES - 4, N_VOLUMES - 3, N_VOLUMES, 1000])
def test_a_run_needs_the_volumes_asked_for(run: Run, min_volumes: int) -> None:
    denoising = Denoising(denoise_strategy="none", dummy_scans=4, min_volumes=min_volumes)
    if min_volumes <= N_VOLUMES - 4:
        assert run.used(denoising).n_kept == N_VOLUMES - 4
    else:
        reason = run.reason(denoising)
        assert f"{N_VOLUMES - 4} of its {N_VOLUMES} volumes" in reason
        assert f"--min-volumes {min_volumes}" in reason


@pytest.mark.parametrize("dummy_scans", [0, 6])
@pytest.mark.parametrize("n_rows", [2, 10, 12, 13, 14, 18, 19, 50])
def test_a_run_needs_a_volume_for_every_regressor_and_component(
    run: Run, n_rows: int, dummy_scans: int
) -> None:
    """Volumes kept minus regressors must be at least the number of components."""
    denoising = Denoising(denoise_strategy="none", dummy_scans=dummy_scans)
    regressors = run.used(denoising).n_regressors
    kept = N_VOLUMES - dummy_scans
    if kept - regressors >= n_rows:
        assert run.used(denoising, n_rows).n_regressors == regressors
    else:
        reason = run.reason(denoising, n_rows)
        assert "too short" in reason
        assert f"--n-components requires {n_rows}" in reason
        arithmetic = [kept, N_VOLUMES, regressors, kept - regressors, n_rows]
        assert [int(number) for number in re.findall(r"\d+", reason)][:5] == arithmetic


def test_confounds_and_filters_count_as_regressors(run: Run) -> None:
    rng = np.random.default_rng(0)
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    run.table(**{name: list(rng.normal(size=N_VOLUMES)) for name in names})
    strategy = json.dumps({"strategy": ["motion"], "motion": "basic"})
    constant_and_trend = run.used().n_regressors
    assert run.used(Denoising(denoise_strategy=strategy)).n_regressors == (
        constant_and_trend + len(names)
    )
    # The k-th cosine of a run of T seconds has k / 2T Hz: in 40 s, 4 are up to 0.05 Hz.
    filtered = run.used(Denoising(denoise_strategy="none", high_pass=0.051)).n_regressors
    assert filtered == constant_and_trend + 4


@pytest.mark.parametrize("n_volumes", [0, 1, 2])
def test_a_run_of_almost_no_volumes_is_refused(run: Run, n_volumes: int) -> None:
    run.image(n_volumes=n_volumes)
    assert str(n_volumes) in run.reason()


# ---------------------------------------------------------------- errors are recorded
def test_a_single_volume_is_no_run(run: Run) -> None:
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), run.bold)
    assert "3 dimensions" in run.reason()


def test_an_image_that_vanished_is_a_reason(run: Run) -> None:
    run.bold.unlink()
    assert run.bold.name in run.reason()


@pytest.mark.parametrize("content", [b"", b"no image", b"\x1f\x8b" + bytes(100), bytes(400)])
def test_a_file_that_is_no_image_is_a_reason(run: Run, content: bytes) -> None:
    run.bold.write_bytes(content)
    assert run.bold.name in run.reason()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_an_image_cut_off_in_its_header_is_a_reason(run: Run, share: float) -> None:
    content = run.bold.read_bytes()
    run.bold.write_bytes(content[: int(len(content) * share)])
    assert run.bold.name in run.reason()


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        pytest.param(70, "<h", 0, id="datatype 0"),
        pytest.param(70, "<h", 32000, id="datatype unheard of"),
        pytest.param(108, "<f", 3.0, id="voxels inside the header"),
        pytest.param(108, "<f", math.nan, id="voxels nowhere"),
        pytest.param(123, "<B", 255, id="unit unheard of"),
        pytest.param(48, "<h", -5, id="negative number of volumes"),
        pytest.param(42, "<h", -5, id="negative number of voxels"),
        pytest.param(40, "<h", 9, id="nine dimensions"),
    ],
)
def test_a_header_that_makes_no_sense_is_a_reason_not_a_crash(
    tmp_path: Path, offset: int, form: str, value: float
) -> None:
    """A single damaged file must not stop the analysis of the others.

    nibabel corrects some of these headers; such runs may be used.
    """
    run = Run(tmp_path)
    image = nib.load(run.bold)
    run.bold = run.bold.with_suffix("")
    nib.save(image, run.bold)
    content = bytearray(run.bold.read_bytes())
    struct.pack_into(form, content, offset, value)
    run.bold.write_bytes(bytes(content))
    assert isinstance(run.inspect(), RefusedRun | UsableRun)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "framewise_displacement\n0.1\n",
        "framewise_displacement\n" + "word\n" * N_VOLUMES,
        "a\tb\n" + "1\t2\n" * 5 + "1\t2\t3\t4\n" + "1\t2\n" * 14,
    ],
    ids=["empty", "blank", "short", "words", "ragged"],
)
def test_a_broken_confounds_table_is_a_reason_of_one_line_that_names_it(
    run: Run, text: str
) -> None:
    run.text_table(text)
    assert run.confounds is not None
    assert run.confounds.name in run.reason()


def test_a_strategy_without_its_table_is_a_reason_that_names_the_option(run: Run) -> None:
    assert "--denoise-strategy simple" in run.reason(Denoising())
    assert "framewise displacement" in run.reason(
        Denoising(denoise_strategy="none", fd_threshold=0.5)
    )
