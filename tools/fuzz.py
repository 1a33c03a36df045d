"""Test all readers of files with damaged and malicious files.

``python tools/fuzz.py`` draws damaged files (``tests/faults/hostile_files.py``) for each reader in
a separate process with limited memory, and prints a table: inputs, crashes, peak memory and longest
time. A reader may return its result or raise its documented error; anything else is a crash. The
exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "faults"))

import hostile_files as hostile  # noqa: E402  it is found by the line above

from nidecomp.annotation.atlases import label_atlas  # noqa: E402
from nidecomp.annotation.template_maps import read_template_maps  # noqa: E402
from nidecomp.bids.dataset import read_description  # noqa: E402
from nidecomp.comparison.design import make_design  # noqa: E402
from nidecomp.comparison.participants import read_participants  # noqa: E402
from nidecomp.config.comparison import ComparisonOptions  # noqa: E402
from nidecomp.config.parse import read_config_file, settings_from_options  # noqa: E402
from nidecomp.config.science import Denoising  # noqa: E402
from nidecomp.core.errors import (  # noqa: E402
    FailedRunError,
    NidecompError,
    RefusedRunError,
    UsageError,
)
from nidecomp.core.inventory import RefusedRun  # noqa: E402
from nidecomp.core.records import RunFiles, RunKey, UsableRun  # noqa: E402
from nidecomp.core.reduced_runs import find_reduced  # noqa: E402
from nidecomp.execution.dask_config import read_jobs  # noqa: E402
from nidecomp.execution.dask_jobs import check_can_submit  # noqa: E402
from nidecomp.outputs.report.page import render  # noqa: E402
from nidecomp.outputs.report.results import read_results  # noqa: E402
from nidecomp.outputs.tree import OutputTree  # noqa: E402
from nidecomp.runs.inspect import inspect_run  # noqa: E402
from nidecomp.runs.inspected import run_as_json  # noqa: E402
from nidecomp.runs.nuisance import build_nuisance_model  # noqa: E402
from nidecomp.runs.sites import find_runs_of_site  # noqa: E402
from nidecomp.runs.task import FORMAT, cleaning_options  # noqa: E402
from nidecomp.spaces.brain_models import BrainModels, Structure, cortex_models  # noqa: E402
from nidecomp.spaces.cifti import open_cifti  # noqa: E402
from nidecomp.spaces.contract import FeatureSpace  # noqa: E402
from nidecomp.spaces.grayordinate_maps import describe_maps, map_names, read_values  # noqa: E402
from nidecomp.spaces.grayordinates import GrayordinateSpace  # noqa: E402
from nidecomp.spaces.grid import Grid  # noqa: E402
from nidecomp.spaces.headers import read_header  # noqa: E402
from nidecomp.spaces.images import read_mask  # noqa: E402
from nidecomp.spaces.surface_files import given_surface  # noqa: E402
from nidecomp.spaces.volumes import describe_image, stored_volumes  # noqa: E402
from nidecomp.spaces.voxels import VoxelSpace  # noqa: E402

# Limits of memory and time to read a file of some kilobytes.
MOST_MB = 1024
MOST_S = 10.0
_GRID = Grid(hostile.SHAPE, tuple(tuple(map(float, row)) for row in hostile.AFFINE))
_SPACE = VoxelSpace(_GRID, np.ones(hostile.SHAPE, dtype=bool), "X")
_BOX = np.stack(np.meshgrid([2, 3], [2, 3], [1, 2], indexing="ij"), -1).reshape(-1, 3)
_GRAYORDINATES = BrainModels(
    (
        *cortex_models(hostile.N_VERTICES).structures,
        Structure("CIFTI_STRUCTURE_THALAMUS_LEFT", _BOX, None),
    ),
    _GRID,
)
_CIFTI_SPACE = GrayordinateSpace(
    _GRAYORDINATES, np.ones(_GRAYORDINATES.n_numbers, dtype=bool), "X", None, "cifti"
)
_GIFTI_SPACE = GrayordinateSpace(
    cortex_models(hostile.N_VERTICES),
    np.ones(2 * hostile.N_VERTICES, dtype=bool),
    "X",
    None,
    "gifti",
)
_KEY = RunKey((("sub", "01"), ("task", "rest")))
_RUN = UsableRun(
    RunFiles(_KEY, "X", None, Path("bold.nii"), None, None),
    grid=Grid((1, 1, 1), tuple(tuple(row) for row in np.eye(4).tolist())),
    repetition_time_s=2.0,
    start_time_s=None,
    n_volumes=9,
    stored_bytes=4,
    kept=tuple(range(9)),
    n_regressors=1,
    mean_fd_mm=None,
)


class BadAnswerError(AssertionError):
    """Raised if a reader returns an invalid result or an unclear message."""


@dataclass(frozen=True)
class Reader:
    """A reader, its inputs, and the errors that it may raise."""

    read: Callable[[Path, Any], object]
    inputs: st.SearchStrategy[Any]
    may_raise: tuple[type[Exception], ...] = ()


# ---------------------------------------------------------------- the readers
def _image(folder: Path, drawn: tuple[str, bytes], name: str) -> Path:
    path = folder / f"{name}{drawn[0]}"
    path.write_bytes(drawn[1])
    return path


def _bold(folder: Path, drawn: tuple[str, bytes]) -> None:
    path = _image(folder, drawn, "bold")
    read_header(path)
    image = describe_image(path)
    for _ in stored_volumes(image, np.arange(image.n_volumes)):
        pass


def _grayordinates(folder: Path, drawn: tuple[str, bytes]) -> None:
    path = _image(folder, drawn, "bold")
    read_header(path)
    _read_run(path, _CIFTI_SPACE)


def _surfaces(folder: Path, drawn: tuple[bytes, bytes | None]) -> None:
    left = _pair(folder, drawn, "func")
    read_header(left)
    _read_run(left, _GIFTI_SPACE)


def _read_run(path: Path, space: FeatureSpace) -> None:
    n_volumes = read_header(path).n_volumes
    found = space.read_series(path, np.arange(min(n_volumes, hostile.N_VOLUMES)), (0.0,))
    if not np.isfinite(found.series[0]).all():
        raise BadAnswerError("a series that is not finite")
    for _ in space.open_run(path).volumes(np.arange(2)):
        pass


def _pair(folder: Path, drawn: tuple[bytes, bytes | None], kind: str) -> Path:
    """Write a changed left file, and a right one that is as it should be but where it is given."""
    left = folder / f"sub-01_task-rest_hemi-L_space-X_bold.{kind}.gii"
    left.write_bytes(drawn[0])
    valid = hostile.gifti_text(kind).replace("CortexLeft", "CortexRight").encode()
    of_right = valid if drawn[1] is None else drawn[1]
    left.with_name(left.name.replace("hemi-L", "hemi-R")).write_bytes(of_right)
    return left


def _with_mesh(space: GrayordinateSpace, folder: Path) -> GrayordinateSpace:
    for hemi, kind in product("LR", ("midthickness", "sphere")):
        (folder / f"tpl-X_hemi-{hemi}_{kind}.surf.gii").write_text(hostile.gifti_text("surf"))
    return replace(space, surfaces_dir=folder)


def _cifti_maps(folder: Path, drawn: tuple[str, bytes]) -> None:
    path = _image(folder, drawn, "maps")
    _read_maps(path, _with_mesh(_CIFTI_SPACE, folder))
    file = open_cifti(path)
    file.values_of_maps(np.arange(file.n_maps))


def _gifti_maps(folder: Path, drawn: tuple[bytes, bytes | None]) -> None:
    # An extension says little about what is inside.
    _read_maps(_pair(folder, drawn, "label"), _with_mesh(_GIFTI_SPACE, folder))


def _read_maps(path: Path, space: FeatureSpace) -> None:
    kind, n_maps = describe_maps(path)
    names = map_names(path)
    if names and len(names) != n_maps:
        raise BadAnswerError(f"{len(names)} names of {n_maps} maps")
    read_values(path, space.label)
    if kind == "labels":
        found = space.read_labels(path)
        if found.here.shape != (space.n_features,):
            raise BadAnswerError("labels that are not those of the features")
    elif not np.isfinite(space.read_maps(path, n_maps)).all():
        raise BadAnswerError("maps that are not finite")


def _atlas_of_grayordinates(folder: Path, drawn: tuple[str, bytes]) -> None:
    atlas = label_atlas(_image(folder, drawn, "atlas"), _with_mesh(_CIFTI_SPACE, folder))
    if not np.isfinite(atlas.maps).all() or len(atlas.names) != len(atlas.maps):
        raise BadAnswerError("an atlas that is not finite, or names that do not fit")


def _gifti_mesh(folder: Path, drawn: tuple[bytes, bytes, bytes]) -> None:
    for name, content in zip(
        ("midthickness.surf", "sphere.surf", "desc-nomedialwall_dparc.label"), drawn, strict=True
    ):
        (folder / f"tpl-X_hemi-L_{name}.gii").write_bytes(content)
    _use_mesh(folder)


def _freesurfer_mesh(folder: Path, drawn: tuple[bytes, bytes, bytes]) -> None:
    surf, label = folder / "X" / "surf", folder / "X" / "label"
    surf.mkdir(parents=True)
    label.mkdir()
    (surf / "lh.white").write_bytes(drawn[0])
    (surf / "lh.pial").write_bytes(drawn[1])
    (surf / "lh.sphere.reg").write_bytes(drawn[1])
    (label / "lh.cortex.label").write_bytes(drawn[2])
    _use_mesh(folder)


def _use_mesh(folder: Path) -> None:
    given = given_surface(folder, "X", hostile.N_VERTICES, "L")
    if given is None:
        return
    if not np.isfinite(given.coordinates).all() or given.wall.shape != (hostile.N_VERTICES,):
        raise BadAnswerError("a surface that is not finite, or a wall that does not fit")
    parts = given.alone()
    if not np.isfinite(parts.areas).all() or not np.isfinite(parts.sphere).all():
        raise BadAnswerError("areas or a sphere that are not finite")


def _mask(folder: Path, drawn: tuple[str, bytes]) -> None:
    mask = read_mask(_image(folder, drawn, "mask")).on(_GRID)
    if mask.shape != _GRID.shape or mask.dtype != bool:
        raise BadAnswerError(f"a mask of {mask.shape}, {mask.dtype}")


def _inspect(folder: Path, **changed: Any) -> None:
    bold = hostile.write_run(folder)
    if "bold" in changed:
        suffix, content = changed["bold"]
        bold.unlink()
        bold = bold.with_name(bold.name.removesuffix(".nii") + suffix)
        bold.write_bytes(content)
    if "sidecar" in changed:
        hostile.sidecar_of(bold).write_bytes(changed["sidecar"])
    table = next(folder.glob("*_timeseries.tsv"))
    for suffix in ("tsv", "json"):
        if suffix in changed:
            table.with_suffix(f".{suffix}").write_bytes(changed[suffix])
    files = RunFiles(_KEY, "X", None, bold, None, table)
    for strategy in changed.get("strategies", ("none",)):
        how = Denoising(denoise_strategy=strategy, min_volumes=2, high_pass=None)
        record = inspect_run(files, how, 1)
        if not isinstance(record, UsableRun | RefusedRun):
            raise BadAnswerError(f"{record!r} is no record")
        if isinstance(record, RefusedRun) and not _is_sentence(record.reason):
            raise BadAnswerError(f"{record.reason[:300]!r} is no sentence")


def _is_sentence(reason: str) -> bool:
    """Return whether a reason is one line of limited length without the name of an exception."""
    return (
        reason.isprintable()
        and len(reason) < 1000
        and not reason.partition(":")[0].endswith(("Error", "Exception"))
    )


def _sidecar(folder: Path, drawn: bytes) -> None:
    _inspect(folder, sidecar=drawn)


def _header(folder: Path, drawn: tuple[str, bytes]) -> None:
    _inspect(folder, bold=drawn)


def _confounds(folder: Path, drawn: tuple[bytes, str]) -> None:
    _inspect(folder, tsv=drawn[0], strategies=(drawn[1],))


def _design(folder: Path, drawn: tuple[bytes, bytes, dict[str, object]]) -> None:
    table = folder / "confounds.tsv"
    table.write_bytes(drawn[0])
    table.with_suffix(".json").write_bytes(drawn[1])
    design = build_nuisance_model(table, hostile.N_VOLUMES, 2.0, Denoising(**drawn[2]))
    if not np.isfinite(design.nuisance).all() or not np.isfinite(design.motion).all():
        raise BadAnswerError("a design that is not finite")


def _atlas(folder: Path, drawn: tuple[tuple[str, bytes], bytes | None]) -> None:
    path = _image(folder, drawn[0], "atlas")
    if drawn[1] is not None:
        (folder / "atlas.tsv").write_bytes(drawn[1])
    atlas = label_atlas(path, _SPACE)
    if not np.isfinite(atlas.maps).all() or len(atlas.names) != len(atlas.maps):
        raise BadAnswerError("an atlas that is not finite, or names that do not fit")


_STEM = "tpl-X_task-rest_atlas-A_seg-canica_scale-24"


def _maps(folder: Path, drawn: tuple[bytes, bytes, tuple[str, bytes]]) -> None:
    func = folder / "tpl-X" / "func"
    func.mkdir(parents=True)
    (func / f"{_STEM}_decomposition.json").write_bytes(drawn[0])
    (func / f"{_STEM}_components.json").write_bytes(drawn[1])
    (func / f"{_STEM}_components.nii.gz").write_bytes(drawn[2][1])
    for one in read_template_maps(folder, _SPACE):
        if not np.isfinite(one.maps).all() or len(one.names) != one.n_components:
            raise BadAnswerError("maps that are not finite, or names that do not fit")


def _config(folder: Path, drawn: bytes) -> None:
    path = folder / "config.toml"
    path.write_bytes(drawn)
    settings_from_options("in", "out", "group", read_config_file(path))


def _json_option(folder: Path, drawn: tuple[str, bytes]) -> None:
    path = folder / "option.json"
    path.write_bytes(drawn[1])
    options = {drawn[0]: str(path), "high_pass": None}
    made = settings_from_options("in", "out", "group", options)
    table = folder / "confounds.tsv"
    table.write_text(hostile.confounds_text())
    build_nuisance_model(table, hostile.N_VOLUMES, 2.0, made.science.denoising)


def _participants(folder: Path, drawn: bytes) -> None:
    path = folder / "participants.tsv"
    path.write_bytes(drawn)
    options = ComparisonOptions(model="group * age + C(site)", test=("group", "site"))
    _compare(options, path)


def _model_file(folder: Path, drawn: bytes) -> None:
    path, table = folder / "model.json", folder / "participants.tsv"
    path.write_bytes(drawn)
    table.write_text(_PEOPLE)
    _compare(ComparisonOptions(model_file=str(path)), table)


def _compare(options: ComparisonOptions, table: Path) -> None:
    keys = [RunKey((("sub", f"{label:02d}"), ("task", "rest"))) for label in range(12)]
    runs = [replace(_RUN, files=replace(_RUN.files, key=key)) for key in keys]
    design = make_design(options, read_participants(table), runs)
    if not np.isfinite(design.matrix).all() or len(design.people) + len(design.left_out) != 12:
        raise BadAnswerError("a design that is not finite, or of other people")


def _dask_jobs(folder: Path, drawn: bytes) -> None:
    path = folder / "jobs.yaml"
    path.write_bytes(drawn)
    (folder / "sbatch").touch(0o755)
    jobs = read_jobs(path)
    if not (math.isfinite(jobs.worker_mb) and jobs.worker_mb > 0):
        raise BadAnswerError(f"workers of {jobs.worker_mb} MB")
    with mock.patch.dict(os.environ, PATH=str(folder)):
        check_can_submit(jobs)


def _description(folder: Path, drawn: bytes) -> None:
    (folder / "dataset_description.json").write_bytes(drawn)
    if not isinstance(read_description(folder), dict):
        raise BadAnswerError("a description that is no object")


def _report(folder: Path, drawn: tuple[bytes, bytes, bytes, bytes]) -> None:
    func = folder / "tpl-X" / "func"
    func.mkdir(parents=True)
    (folder / "logs").mkdir()
    (func / f"{_STEM}_decomposition.json").write_bytes(drawn[0])
    (func / f"{_STEM}_components.json").write_bytes(drawn[1])
    (func / f"{_STEM}_components.nii.gz").write_bytes(b"")
    (func / f"{_STEM}_metrics.tsv").write_bytes(drawn[2])
    for name in ("participants.tsv", "logs/inventory.tsv", "logs/quality.tsv", "logs/matching.tsv"):
        (folder / name).write_bytes(drawn[2])
    (folder / "dataset_description.json").write_bytes(drawn[3])
    page = render(read_results(folder))
    if "<script>alert" in page or "<img src=x" in page:
        raise BadAnswerError("what a file says became a part of the page")


def _manifest(folder: Path, drawn: bytes) -> None:
    output, outside = folder / "out", folder / "outside.txt"
    (output / "logs").mkdir(parents=True)
    outside.write_text("precious")
    (output / "logs" / "manifest.tsv").write_bytes(drawn.replace(b"OUTSIDE", bytes(outside)))
    OutputTree(output).finish()
    if outside.read_text() != "precious":
        raise BadAnswerError("a file outside of the output folder was touched")


def _reduced(folder: Path, drawn: tuple[bytes, int, int]) -> None:
    """Find a reduced run after a byte of its file was changed, with any record."""
    path, volumes = folder / "run.npy", (np.ones((9, 2)), np.ones(9), np.ones((9, 1)))
    arrays = {f"array_{number}": one for number, one in enumerate(volumes)}
    structure = np.frombuffer(b'{"mapping": ' + drawn[0] + b"}", dtype=np.uint8)
    with path.open("wb") as file:
        np.save(file, np.ones((2, 5), dtype=np.float32))
        np.savez(file, structure=structure, **arrays)
    content = bytearray(path.read_bytes())
    content[drawn[1] % len(content)] ^= drawn[2]
    path.write_bytes(content)
    find_reduced(_RUN, path)


def _site(folder: Path, drawn: bytes) -> None:
    """Find the runs of a site whose reduced run says anything about itself."""
    path = folder / "reduced" / "sub-01_task-rest_0.npy"
    path.parent.mkdir()
    structure = b'{"mapping": {"about": {"mapping": ' + drawn + b"}}}"
    with path.open("wb") as file:
        np.save(file, np.ones((2, 5), dtype=np.float32))
        np.savez(file, structure=np.frombuffer(structure, dtype=np.uint8))
    settings = settings_from_options(
        folder, folder / "out", "group", {"mask": "m.nii", "n_components": 2, "space": "X"}
    )
    for run in find_runs_of_site(folder, settings).used:
        if "/" in run.label:
            raise BadAnswerError("a label that leads to another folder")


def _described_run(run: dict[str, object]) -> dict[str, object]:
    """Return what is said of a run as files of records have it."""
    return {
        name: {"list": list(value)}
        if isinstance(value, list | tuple) and name != "affine"
        else value
        for name, value in run.items()
    } | {"affine": {"list": [{"list": row} for row in np.eye(4).tolist()]}}


_DECOMPOSITION: dict[str, object] = {
    "Method": "canica", "NumberOfComponents": 24, "NumberOfRuns": 2, "NumberOfParticipants": 2,
    "Settings": {"decomposition": {"n_components": [24]}}, "Fit": {"Converged": True},
    "Software": {"numpy": "2.0"}, "ExplainedVariance": 0.5,
}  # fmt: skip
_COMPONENTS: dict[str, object] = {
    "ComponentNames": [f"canica{index:02d}" for index in range(1, 25)]
}
_METRICS = (
    "component\tlabel\tlabel_r\treproducibility\tflags\tpeak_x\n"
    + "".join(f"canica{index:02d}\tAuditory\t0.5\t0.9\tn/a\t3\n" for index in range(1, 25))
)  # fmt: skip
_RECORD: dict[str, object] = {
    "smoothing_fwhm": 6.0, "n_rows": 2, "n_voxels": 5, "total_variance": 9.0,
    "squared_singular_values": {"tuple": [4.0, 1.0]}, "n_nonfinite": 0, "n_constant": 0,
    "empty": {"tuple": []}, "checksum": zlib.crc32(np.ones(10, np.float32)), "n_regressors": 1,
    "about": {"mapping": {}},
    "volumes": {
        "record": "RunVolumes",
        "fields": {
            "rows": {"array": "array_0"}, "times_s": {"array": "array_1"},
            "motion": {"array": "array_2"},
        },
    },
}  # fmt: skip
_ABOUT: dict[str, object] = {
    "entities": {"list": [{"list": ["sub", "01"]}, {"list": ["task", "rest"]}]},
    "space": "X", "res": None, "cohort": None, "desc": "preproc",
    "run": {"mapping": _described_run(run_as_json(_RUN))},
    "settings": {
        "mapping": {
            "format": FORMAT, "geometry": "0", "smoothing_fwhm": 6.0, "n_rows": 4,
            "denoising": {"mapping": cleaning_options(Denoising())},
        }
    },
}  # fmt: skip
_STRATEGY: dict[str, object] = {
    "strategy": ["motion", "wm_csf", "high_pass", "scrub"], "motion": "basic", "scrub": 5,
    "fd_threshold": 0.5, "wm_csf": "basic",
}  # fmt: skip
_TOML = """\
[selection]
participant_label = ["01", "02"]
bids_filter_file = '{"bold": {"task": "rest"}}'
[denoising]
denoise_strategy = "simple"
smoothing_fwhm = 6.0
[decomposition]
n_components = [20, 40]
methods = ["canica"]
random_seed = 0
[execution]
nprocs = 2
"""
_JOBS = """\
jobqueue:
  slurm:
    cores: 2
    memory: 4GB
    walltime: "04:00:00"
    interface: lo
    job-extra-directives: ["--exclusive"]
    job-script-prologue: ["module load python"]
    scheduler-options: {port: 0}
distributed:
  adaptive:
    minimum: 0
    maximum: 40
  worker:
    memory: {target: 0.5}
array: {}
"""
# YAML syntax that is not in JSON.
_YAML = st.sampled_from(
    ["", "-2GB", "1e400GB", "2020-13-45", "12:30:99", "!!bool x", "!!int ''", "!!timestamp x",
     "!!binary é", "&a [*a]", "&a {b: *a}", "*a", "<<", "{? [1]: 2}", "{5: 3}", "{<<: {a: 1}}",
     "!!set {a, b}", "- x", "|", "[" * 3000, "!!python/object:os.system x", "nosuch0"]
)  # fmt: skip
_COMPCOR = {"Method": "aCompCor", "Mask": "combined", "Retained": True, "SingularValue": 9.5}
_PEOPLE = "participant_id\tgroup\tage\tsite\n" + "".join(
    f"sub-{place:02d}\t{'ab'[place % 2]}\t{20 + place * place % 31}\t{place % 3}\n"
    for place in range(12)
)
_MODEL: dict[str, object] = {
    "Name": "m",
    "Nodes": [
        {
            "Level": "Dataset",
            "GroupBy": ["contrast"],
            "Transformations": {
                "Instructions": [
                    {"Name": "Factor", "Input": ["group"]},
                    {"Name": "Scale", "Input": ["age"], "Output": ["age"]},
                ]
            },
            "Model": {"Type": "glm", "X": [1, "group.a", "age"]},
            "Contrasts": [
                {"Name": "a", "ConditionList": ["group.a"], "Weights": [1], "Test": "t"},
                {"Name": "b", "ConditionList": ["age", 1], "Weights": [[1, 0]], "Test": "F"},
            ],
            "DummyContrasts": {"Test": "t", "Contrasts": ["age"]},
        }
    ],
}
_STRATEGIES = st.sampled_from(["none", "simple", "scrubbing", "motion+high_pass", "compcor"])
_DENOISING = st.fixed_dictionaries(
    {"denoise_strategy": _STRATEGIES, "min_volumes": st.just(2), "high_pass": st.just(None)},
    optional={"fd_threshold": st.just(0.2), "mean_fd_cutoff": st.just(1.0)},
)
_MANIFEST = "path\tsize\tsha256\n../outside.txt\t8\t0\nOUTSIDE\t8\t0\nlogs/a\t1\t0\n"


@st.composite
def _changed_text(draw: st.DrawFn, text: str, change: Callable[[st.DrawFn, str], str]) -> bytes:
    """Draw a text with up to two lines and possibly some bytes changed."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(0, 2))):
        index = draw(st.integers(0, len(lines) - 1))
        lines[index] = change(draw, lines[index])
    return draw(hostile.changed_bytes("\n".join(lines).encode("utf-8", "surrogatepass")))


def _toml_line(draw: st.DrawFn, line: str) -> str:
    return f"{line.partition(' = ')[0]} = {draw(hostile.values())}"


def _yaml_line(draw: st.DrawFn, line: str) -> str:
    name, _, value = line.partition(":")
    match draw(st.sampled_from(["value", "value", "value", "name", "nothing"])):
        case "value":
            return f"{name}: {draw(hostile.values() | _YAML)}"
        case "name":
            odd = draw(st.sampled_from((*hostile.NUMBERS, *hostile.TEXTS)))
            indent = " " * (len(name) - len(name.lstrip()))
            return f"{indent}{odd}:{value}"
        case _:
            return ""


READERS: dict[str, Reader] = {
    "BOLD image": Reader(_bold, hostile.images(4), (FailedRunError,)),
    "grayordinates": Reader(_grayordinates, hostile.grayordinates("dtseries"), (FailedRunError,)),
    "surfaces": Reader(
        _surfaces,
        st.tuples(hostile.giftis("func"), st.none() | hostile.giftis("func")),
        (FailedRunError,),
    ),
    "maps of grayordinates": Reader(
        _cifti_maps, hostile.grayordinates("dscalar", "dlabel"), (FailedRunError,)
    ),
    "maps of surfaces": Reader(
        _gifti_maps,
        st.sampled_from(["func", "label"]).flatmap(
            lambda kind: st.tuples(hostile.giftis(kind), st.none() | hostile.giftis(kind))
        ),
        (FailedRunError,),
    ),
    "atlas of grayordinates": Reader(
        _atlas_of_grayordinates, hostile.grayordinates("dscalar", "dlabel"), (UsageError,)
    ),
    "mesh in GIFTI files": Reader(
        _gifti_mesh,
        st.tuples(hostile.giftis("surf"), hostile.giftis("surf"), hostile.giftis("label")),
        (FailedRunError,),
    ),
    "mesh in FreeSurfer's files": Reader(
        _freesurfer_mesh,
        st.tuples(
            hostile.freesurfer_surfaces(),
            hostile.freesurfer_surfaces(),
            hostile.changed_bytes(b"#!ascii label\n2\n0 1 2 3 0\n1 4 5 6 0\n"),
        ),
        (FailedRunError,),
    ),
    "run's header": Reader(_header, hostile.images(4)),
    "run's sidecar": Reader(
        _sidecar, hostile.json_files({"RepetitionTime": 2.0, "StartTime": 0.0, "TaskName": "rest"})
    ),
    "run's confounds": Reader(
        _confounds, st.tuples(hostile.tables(hostile.confounds_text()), _STRATEGIES)
    ),
    "confounds and their JSON": Reader(
        _design,
        st.tuples(
            hostile.tables(hostile.confounds_text()),
            hostile.json_files({"a_comp_cor_00": _COMPCOR, "a_comp_cor_01": _COMPCOR}),
            _DENOISING,
        ),
        (RefusedRunError, UsageError),
    ),
    "brain mask": Reader(_mask, hostile.images(3), (FailedRunError,)),
    "atlas of labels": Reader(
        _atlas,
        st.tuples(
            hostile.images(3),
            st.none() | hostile.tables("index\tname\n" + "".join(f"{i}\tA{i}\n" for i in range(7))),
        ),
        (UsageError,),
    ),
    "atlas of maps": Reader(
        _atlas,
        st.tuples(
            hostile.images(4),
            st.none() | hostile.tables("name\n" + "".join(f"A{i}\n" for i in range(24))),
        ),
        (UsageError,),
    ),
    "results as --maps": Reader(
        _maps,
        st.tuples(
            hostile.json_files(_DECOMPOSITION),
            hostile.json_files(_COMPONENTS),
            hostile.images(4),
        ),
        (UsageError,),
    ),
    "config file": Reader(_config, _changed_text(_TOML, _toml_line), (UsageError,)),
    "JSON of an option": Reader(
        _json_option,
        st.tuples(
            st.sampled_from(["denoise_strategy", "bids_filter_file"]),
            hostile.json_files(_STRATEGY),
        ),
        (UsageError, RefusedRunError),
    ),
    "table of participants": Reader(_participants, hostile.tables(_PEOPLE), (NidecompError,)),
    "BIDS Stats Model": Reader(_model_file, hostile.json_files(_MODEL), (NidecompError,)),
    "dask configuration": Reader(_dask_jobs, _changed_text(_JOBS, _yaml_line), (UsageError,)),
    "dataset_description": Reader(
        _description, hostile.json_files({"Name": "a", "DatasetType": "derivative"})
    ),
    "output folder for the report": Reader(
        _report,
        st.tuples(
            hostile.json_files(_DECOMPOSITION),
            hostile.json_files(_COMPONENTS),
            hostile.tables(_METRICS),
            hostile.json_files({"Name": "a", "GeneratedBy": [{"Name": "NiDecomp"}]}),
        ),
    ),
    "manifest": Reader(_manifest, hostile.tables(_MANIFEST)),
    "reduced run": Reader(
        _reduced,
        st.tuples(hostile.json_files(_RECORD), st.integers(0, 4000), st.integers(0, 255)),
    ),
    "reduced run of a site": Reader(_site, hostile.json_files(_ABOUT), (NidecompError,)),
}


# ---------------------------------------------------------------- running them
@dataclass
class Tried:
    """The results of a reader."""

    reader: str
    inputs: int = 0
    answers: int = 0
    crashes: dict[str, str] = field(default_factory=dict)
    peak_mb: float = 0.0
    longest_s: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether there was no crash and no limit was exceeded."""
        return not self.crashes and self.peak_mb <= MOST_MB and self.longest_s <= MOST_S


def try_reader(name: str, n_inputs: int, seed_number: int) -> Tried:
    """Run one reader in this process."""
    reader, tried = READERS[name], Tried(name)
    own_mb = _peak_mb()

    @seed(seed_number)
    @settings(
        max_examples=n_inputs, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(reader.inputs)
    def feed(drawn: Any) -> None:
        tried.inputs += 1
        with tempfile.TemporaryDirectory(prefix="nidecomp-fuzz-") as folder:
            started = time.monotonic()
            try:
                reader.read(Path(folder), drawn)
                tried.answers += 1
            except NidecompError as error:
                if not isinstance(error, reader.may_raise):
                    _note(tried, error, drawn)
                elif not _is_sentence(" ".join(str(error).split()).replace(folder, "")):
                    bad = BadAnswerError(f"{str(error)[:300]!r} is no sentence")
                    bad.__cause__ = error
                    _note(tried, bad, drawn)
            except Exception as error:  # whatever it is, it is what is looked for
                _note(tried, error, drawn)
            tried.longest_s = max(tried.longest_s, time.monotonic() - started)

    feed()
    tried.peak_mb = _peak_mb() - own_mb
    return tried


def _note(tried: Tried, error: Exception, drawn: object) -> None:
    """Record the first crash of each type and place."""
    # An invalid answer is located by the error that caused it.
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    inside = [frame for frame in frames if "/nidecomp/" in frame.filename] or frames
    place = f"{type(error).__name__} at {Path(inside[-1].filename).name}:{inside[-1].lineno}"
    shown = repr(drawn)
    tried.crashes.setdefault(place, f"{str(error)[:300]} from {shown[:600]}")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _bound_memory() -> None:
    """Limit the memory of this process, so that larger allocations fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MOST_MB * 1024**2
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _in_own_process(name: str, n_inputs: int, seed_number: int) -> Tried:
    words = ["--reader", name, "--inputs", str(n_inputs), "--seed", str(seed_number), "--json"]
    done = subprocess.run(  # noqa: S603  our own script
        [sys.executable, __file__, *words], capture_output=True, text=True, check=False
    )
    if done.returncode not in {0, 1} or not done.stdout:
        return Tried(name, crashes={f"exit code {done.returncode}": done.stderr[-600:]})
    (found,) = json.loads(done.stdout)
    return Tried(**found)


def main() -> int:
    """Run the given readers in this process, or all of them in separate processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", nargs="*", choices=READERS, help="in this process")
    parser.add_argument("--inputs", type=int, default=5000, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    words = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if words.reader:
        warnings.simplefilter("ignore")
        _bound_memory()
        found = [try_reader(name, words.inputs, words.seed) for name in words.reader]
    else:
        found = [_in_own_process(name, words.inputs, words.seed) for name in READERS]
    if words.json:
        print(json.dumps([vars(one) for one in found]))
    else:
        _print_table(found)
    return 0 if all(one.is_well for one in found) else 1


def _print_table(found: list[Tried]) -> None:
    print("| reader | inputs | accepted | crashes | peak memory | longest time |")
    print("|---|---|---|---|---|---|")
    for one in found:
        print(
            f"| {one.reader} | {one.inputs:,} | {one.answers:,} | {len(one.crashes)} "
            f"| {one.peak_mb:.0f} MB | {one.longest_s:.2f} s |"
        )
    for one in found:
        for place, what in one.crashes.items():
            print(f"\n{one.reader}: {place}: {what}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
