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
from nidecomp.core.inventory import RefusedRun
from nidecomp.core.records import RunFiles, RunKey, UsableRun
from nidecomp.runs.inspect import inspect_run
from nidecomp.runs.sidecars import sidecar_path

N_VOLUMES = 20
NONE = Denoising(denoise_strategy="none")
FROM_THE_HEADER = (
    "the repetition time was read from the header, because no sidecar has RepetitionTime"
)


class Run:
    """A small run on disk with 2 × 2 × 2 voxels, by default without sidecar and confounds."""

    def __init__(self, folder: Path) -> None:
        self.bold = folder / "sub-01_task-rest_space-MNI_desc-preproc_bold.nii.gz"
        self.confounds: Path | None = None
        self.sidecars: tuple[Path, ...] = ()
        self.desc: str | None = None
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
        return RunFiles(
            key, "MNI", None, self.bold, None, self.confounds, None, self.desc, self.sidecars
        )

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
    assert record.repetition_time_source == "sidecar"
    assert record.notes == ()


@pytest.mark.parametrize("sidecar", [None, {}, {"RepetitionTime": None}])
def test_the_headers_repetition_time_is_taken_with_a_note_where_the_sidecar_has_none(
    run: Run, sidecar: object
) -> None:
    if sidecar is not None:
        run.sidecar(sidecar)
    record = run.used()
    assert record.repetition_time_s == 2.0
    assert record.repetition_time_source == "header"
    assert record.notes == (FROM_THE_HEADER,)


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


@pytest.mark.parametrize(("said", "header"), [(2.0, 3.0), (0.8, 2.0), (2.0, 2.01), (50.0, 2.0)])
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


@pytest.mark.parametrize("unit", ["sec", "unknown"])
@pytest.mark.parametrize("header", [101.0, 720.0, 2000.0])
def test_milliseconds_taken_for_seconds_are_no_time_in_the_header_either(
    run: Run, header: float, unit: str
) -> None:
    run.image(repetition_time=header, unit=unit)
    assert run.reason() == (
        f"the repetition time in its header is {header:g} s, which is probably in milliseconds, "
        "and its sidecar has no RepetitionTime: add it, in seconds"
    )


@pytest.mark.parametrize("said", [101, 720, 2000.0])
def test_milliseconds_in_the_sidecar_are_named(run: Run, said: float) -> None:
    run.image(repetition_time=said / 1000)
    run.sidecar({"RepetitionTime": said})
    assert run.reason() == (
        f"RepetitionTime is {said!r} in its sidecar, which is probably in milliseconds: write it "
        "in seconds"
    )


def test_a_time_of_a_few_milliseconds_is_no_repetition_time(run: Run) -> None:
    run.sidecar({"RepetitionTime": 0.002})
    assert "RepetitionTime is 0.002 in its sidecar, which is too short" in run.reason()
    run.sidecar({})
    run.image(repetition_time=0.002)
    assert "in its header is 0.002 s, which is too short" in run.reason()


@pytest.mark.parametrize("said", [0.01, 100.0])
def test_the_limits_are_repetition_times(run: Run, said: float) -> None:
    run.image(repetition_time=said)
    run.sidecar({"RepetitionTime": said})
    assert run.used().repetition_time_s == said


@pytest.mark.parametrize(("said", "header"), [(2.0, 2000.0), (2.0, 0.002), (0.8, 0.0008)])
def test_a_header_whose_unit_is_wrong_is_noted_and_the_sidecar_counts(
    run: Run, said: float, header: float
) -> None:
    run.image(repetition_time=header)
    run.sidecar({"RepetitionTime": said})
    record = run.used()
    assert record.repetition_time_s == said
    assert record.notes == (
        "the repetition time in the header differs from RepetitionTime by a factor of 1,000, as if "
        "its unit were wrong; RepetitionTime counts",
    )


def test_the_one_second_that_fmriprep_wrote_is_noted_and_the_sidecar_counts(run: Run) -> None:
    run.image(repetition_time=1.0)
    run.sidecar({"RepetitionTime": 2.0})
    record = run.used()
    assert (record.repetition_time_s, record.repetition_time_source) == (2.0, "sidecar")
    assert record.notes == (
        "the repetition time in the header is 1 s, which some versions of fMRIPrep wrote whatever "
        "it was; RepetitionTime counts",
    )
    run.sidecar({"RepetitionTime": 1.0})
    assert run.used().notes == ()


def test_the_one_second_is_to_be_checked_where_no_sidecar_tells_another(run: Run) -> None:
    run.image(repetition_time=1.0)
    (note,) = run.used().notes
    assert note.startswith(FROM_THE_HEADER)
    assert "1 s, which some versions of fMRIPrep wrote whatever it was: check it" in note


# ---------------------------------------------------------------- onset times of the volumes
ONSETS = [round(0.8 * volume, 3) for volume in range(N_VOLUMES)]


@pytest.mark.parametrize("header", [0.0, 0.8])
@pytest.mark.parametrize("first", [0.0, 12.5])
def test_onset_times_of_volumes_tell_the_repetition_time(
    run: Run, header: float, first: float
) -> None:
    run.image(repetition_time=header)
    run.sidecar({"VolumeTiming": [first + onset for onset in ONSETS]})
    record = run.used()
    assert (record.repetition_time_s, record.repetition_time_source) == (0.8, "VolumeTiming")
    assert record.notes == ()


def test_onset_times_may_be_rounded_to_milliseconds(run: Run) -> None:
    run.image(repetition_time=0.0)
    run.sidecar({"VolumeTiming": [round(volume * 0.7204, 3) for volume in range(N_VOLUMES)]})
    assert run.used().repetition_time_s == pytest.approx(0.7204, abs=1e-4)


@pytest.mark.parametrize(
    ("onsets", "reason"),
    [
        (ONSETS[:-1], "has 19 onset times, but its image has 20 volumes"),
        ([*ONSETS, 16.0], "has 21 onset times, but its image has 20 volumes"),
        ([*ONSETS[:-1], 15.203], "is not evenly spaced"),
        ([*ONSETS[:-1], "15.2"], "is not a list of numbers"),
        ([*ONSETS[:-1], None], "is not a list of numbers"),
        (0.8, "is not a list of numbers"),
        ({}, "is not a list of numbers"),
        ([1000 * onset for onset in ONSETS], "is 800.0 in its sidecar, which is probably in milli"),
        (ONSETS[::-1], "not a valid time"),
        ([0] * N_VOLUMES, "not a valid time"),
    ],
    ids=str,
)
def test_onset_times_that_tell_no_repetition_time_are_a_reason(
    run: Run, onsets: object, reason: str
) -> None:
    run.image(repetition_time=0.8)
    run.sidecar({"VolumeTiming": onsets})
    assert "VolumeTiming" in run.reason()
    assert reason in run.reason()


def test_onset_times_that_contradict_are_a_reason_with_both_numbers(run: Run) -> None:
    run.image(repetition_time=0.0)
    run.sidecar({"RepetitionTime": 2.0, "VolumeTiming": ONSETS})
    assert run.reason() == (
        "RepetitionTime is 2 s in its sidecar, but the spacing of VolumeTiming is 0.8 s: correct "
        "the wrong one"
    )
    run.sidecar({"RepetitionTime": 0.8, "VolumeTiming": ONSETS})
    assert run.used().repetition_time_source == "sidecar"
    run.image(repetition_time=3.0)
    run.sidecar({"VolumeTiming": ONSETS})
    assert "VolumeTiming is 0.8 s in its sidecar, but 3 s in its header" in run.reason()


# ---------------------------------------------------------------- inherited JSON files
def test_the_most_specific_json_file_counts_and_is_named(run: Run) -> None:
    general = run.bold.with_name("task-rest_bold.json")
    general.write_text(json.dumps({"RepetitionTime": 2.0, "StartTime": 0.25}), encoding="utf-8")
    run.sidecar({"StartTime": 0.5})
    run.sidecars = (general, sidecar_path(run.bold))
    record = run.used()
    assert record.repetition_time_s == 2.0
    assert record.repetition_time_source == "sidecar task-rest_bold.json"
    assert record.start_time_s == 0.5
    run.image(repetition_time=3.0)
    assert "is 2 s in its sidecar task-rest_bold.json, but 3 s in its header" in run.reason()
    run.sidecar({"RepetitionTime": 3.0})
    assert run.used().repetition_time_source == "sidecar"


def test_an_inherited_json_file_that_cannot_be_read_is_a_reason(run: Run) -> None:
    run.sidecars = (run.bold.with_name("task-rest_bold.json"),)
    assert run.reason().startswith("its sidecar task-rest_bold.json cannot be read: ")


def test_a_sidecar_whose_content_was_not_fetched_is_a_reason(run: Run) -> None:
    sidecar_path(run.bold).symlink_to(run.bold.with_name("annexed"))
    assert sidecar_path(run.bold).name in run.reason()


# ---------------------------------------------------------------- smoothing
@pytest.mark.parametrize("desc", ["denoisedSmoothed", "smoothAROMAnonaggr", "SMOOTH"])
def test_images_that_are_smoothed_twice_are_noted(run: Run, desc: str) -> None:
    run.desc = desc
    run.sidecar({"RepetitionTime": 2.0})
    assert run.used().notes == (
        f"the images (desc-{desc}) were smoothed before, and are smoothed again with 6 mm",
    )
    assert run.used(Denoising(denoise_strategy="none", smoothing_fwhm=0)).notes == ()
    run.desc = "preproc"
    assert run.used().notes == ()


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
    assert record.dropped == (("displacement", 2),)
    assert record.mean_fd_mm == pytest.approx(np.mean([m for m in motion if m != "n/a"]))


def test_volumes_flagged_as_non_steady_are_dropped_with_dummy_scans(run: Run) -> None:
    for number in (0, 1):
        flags: list[object] = [int(volume == number) for volume in range(N_VOLUMES)]
        run.table(non_steady_state_outlier00=flags)
        record = run.used(Denoising(denoise_strategy="none", dummy_scans=1))
        assert record.kept == tuple(v for v in range(N_VOLUMES) if v not in {0, number})
        # Each volume counts once.
        assert record.dropped == (("dummy", 1), ("non-steady state", 1))[: 1 + number]


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
    filtered = run.used(Denoising(denoise_strategy="none", high_pass=0.051))
    assert filtered.n_regressors == constant_and_trend + 4
    assert filtered.regressors == (("trend", 2), ("filter", 4))
    assert run.used(Denoising(denoise_strategy=strategy)).regressors == (
        ("trend", 2),
        ("motion", 6),
    )


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
