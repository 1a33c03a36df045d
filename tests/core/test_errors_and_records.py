"""Exceptions and records can be pickled, and records are immutable."""

import dataclasses
import inspect
import pickle
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from nidecomp.config.execution import Execution, OutputOptions
from nidecomp.config.science import Denoising, Science
from nidecomp.config.settings import Settings
from nidecomp.core import errors, records
from nidecomp.core.inventory import FailedRun, Inventory, LostDataset, RefusedRun, UnmatchedFolder
from nidecomp.core.records import EMPTY_NOTE, ReducedRun, RunFiles, RunKey, StoredRows, UsableRun
from nidecomp.decomposition import components as components_module
from nidecomp.decomposition.components import (
    Components,
    DatasetEvidence,
    Evidence,
    HoldoutEvidence,
    ParticipantEvidence,
    Restart,
    Split,
    SplitHalfEvidence,
)
from nidecomp.execution.executor import WorkerDied
from nidecomp.forecast import Forecast
from nidecomp.outputs.result import Outcome
from nidecomp.runs.nuisance import NuisanceModel
from nidecomp.runs.task import ReduceTask
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import Header
from nidecomp.spaces.voxels import VoxelSpace


def classes_of(module):
    return [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and not getattr(value, "_is_protocol", False)
    ]


KEY = RunKey((("sub", "01"), ("ses", "2"), ("task", "rest"), ("run", "1")))
GRID = Grid((2, 3, 4), tuple(tuple(row) for row in np.eye(4).tolist()))
FILES = RunFiles(KEY, "MNI152NLin2009cAsym", "2", Path("b.nii.gz"), Path("m.nii.gz"), None)
USABLE = UsableRun(
    files=FILES,
    grid=GRID,
    repetition_time_s=2.0,
    start_time_s=None,
    n_volumes=5,
    stored_bytes=2,
    kept=(1, 2, 4),
    n_regressors=1,
    mean_fd_mm=0.1,
    notes=("a note",),
)
REFUSED = RefusedRun(KEY, Path("b.nii.gz"), "why")
FAILED = FailedRun(KEY, Path("b.nii.gz"), "how")
COMPONENTS = Components(
    method="canica",
    maps=np.arange(6, dtype=np.float32).reshape(2, 3),
    names=("canica01", "canica02"),
    explained_variance=np.array([0.2, 0.1]),
    total_explained_variance=0.25,
    fit={"Converged": True},
)
UNMATCHED = UnmatchedFolder("sub-03", Path("sub-03"), "why not")
LOST = LostDataset("B", Path("there"), "why not")
INVENTORY = Inventory((USABLE,), (REFUSED,), (FAILED,), (UNMATCHED,), (LOST,))
SPACE = VoxelSpace(GRID, np.ones(GRID.shape, dtype=bool), "MNI152NLin2009cAsym")
HALVES = SplitHalfEvidence(
    reproducibility=np.ones((1, 2)),
    bootstrap=np.ones((0, 2)),
    other_half_variance=np.ones((2, 2)),
    total_variances=np.ones((2, 2)),
    trace=np.ones(1),
    overlap=np.ones(1),
    n_voxels=3,
)
SPLIT = Split(1, ("01",), ("02",))
PARTICIPANTS = ParticipantEvidence(("01",), np.ones((1, 2)), np.ones(2), np.ones(2))
HOLDOUT = HoldoutEvidence(("02",), np.ones(2), 0.2)
DATASETS = DatasetEvidence(("", "B"), (2, 1), np.ones((2, 2)), np.ones((2, 2)))
EXAMPLES = [
    KEY,
    GRID,
    FILES,
    USABLE,
    REFUSED,
    UNMATCHED,
    FAILED,
    ReducedRun(USABLE, Path("r.npy"), 6.0, 2, 3, 10.0, (8.0, 1.0), 0, 1),
    Restart(7, 12, True, 3.5, np.eye(2)),
    COMPONENTS,
    HALVES,
    PARTICIPANTS,
    SPLIT,
    HOLDOUT,
    DATASETS,
    Evidence(HALVES, HOLDOUT, DATASETS),
    LOST,
    StoredRows(6.0, "0a1b", Path("r.npy")),
    INVENTORY,
    Outcome(INVENTORY, Path("out"), 1),
    Header(GRID, 5, 2, None),
    NuisanceModel(np.array([0, 2]), np.ones((2, 1)), 0.1, np.zeros((2, 7))),
    SPACE,
    Denoising(high_pass=0.01),
    Settings(
        Path("in"), Path("out"), "group", Science(), Execution(nprocs=2), OutputOptions("minimal")
    ),
    Forecast(300.0, 500.0, 20.0, 2, 4, 3, 2),
    ReduceTask(USABLE, SPACE, Denoising(), (6.0, 2.0), 40, 20, Path("work")),
    WorkerDied(FILES),
]
by_name = pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: type(one).__name__)


def contents(value):
    """Return the fields of a record as plain values, so that arrays can be compared."""
    if dataclasses.is_dataclass(value):
        return type(value), {
            one.name: contents(getattr(value, one.name)) for one in dataclasses.fields(value)
        }
    return [contents(one) for one in value] if isinstance(value, tuple) else value


def test_every_record_has_an_example_here():
    assert set(classes_of(records)) | set(classes_of(components_module)) <= {
        type(one) for one in EXAMPLES
    }


@by_name
@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=lambda one: one.__name__)
def test_record_survives_the_trip_to_another_process(example, pickler):
    back = pickle.loads(pickler.dumps(example))  # noqa: S301  made one line before
    np.testing.assert_equal(contents(back), contents(example))


@by_name
def test_record_cannot_be_changed(example):
    name = dataclasses.fields(example)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(example, name, None)


@pytest.mark.parametrize("kind", classes_of(errors), ids=lambda one: one.__name__)
def test_exception_survives_the_trip_and_keeps_message_and_exit_code(kind):
    error = kind("it is --mem-mb 5, × and –")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  made one line before
    assert type(back) is kind
    assert str(back) == str(error) == "it is --mem-mb 5, × and –"
    assert back.exit_code == error.exit_code
    assert isinstance(back, errors.NidecompError)


def test_exit_codes_are_those_that_are_documented():
    codes = {kind.__name__: kind.exit_code for kind in classes_of(errors)}
    assert codes == {
        "NidecompError": 1,
        "UsageError": 2,
        "NothingToDoError": 70,
        "RefusedRunError": 1,
        "FailedRunError": 1,
    }


def test_key_gives_its_entities_by_name_and_joins_them_in_order():
    assert KEY.label == "sub-01_ses-2_task-rest_run-1"
    assert (KEY.participant, KEY.task) == ("01", "rest")
    assert [KEY.get(name) for name in ("ses", "run", "acq")] == ["2", "1", None]
    assert KEY.label.count("_") == len(KEY.entities) - 1


def test_keys_and_grids_can_be_counted():
    """Equal records have equal hashes: runs and grids are compared by value."""
    assert len({KEY, RunKey(KEY.entities), RunKey(KEY.entities[:2])}) == 2
    moved = Grid(GRID.shape, tuple(tuple(row) for row in (2 * np.eye(4)).tolist()))
    assert len({GRID, Grid(GRID.shape, GRID.affine), moved}) == 2


def test_grid_gives_its_affine_as_an_array_of_its_own():
    matrix = GRID.matrix
    matrix[0, 0] = 99.0
    np.testing.assert_array_equal(GRID.matrix, np.eye(4))


def test_counts_follow_the_contents():
    assert USABLE.n_kept == 3
    assert COMPONENTS.n_components == 2


def test_a_reduced_run_knows_what_share_its_leading_components_hold():
    run = ReducedRun(USABLE, Path("r.npy"), 6.0, 2, 3, 10.0, (8.0, 1.0), 0, 1)
    assert [run.variance_share(n) for n in (1, 2, 9)] == pytest.approx([0.8, 0.9, 0.9])
    assert dataclasses.replace(run, total_variance=0.0).variance_share(1) == 0.0


def test_a_run_without_empty_volumes_says_what_it_lost():
    run = dataclasses.replace(
        USABLE, kept=(2, 3, 5, 7), dropped=(("DVARS", 4),), notes=("known before",), n_regressors=3
    )
    less = run.without_volumes((3, 4, 7), 2)
    assert (less.kept, less.n_regressors) == ((2, 5), 2)
    assert less.dropped == (("DVARS", 4), ("empty", 2))
    assert less.notes == ("known before", EMPTY_NOTE)
    # Volumes that are not kept in any case change nothing, nor does doing it again.
    assert run.without_volumes((4, 9), 1) is run
    assert run.without_volumes((), 1) is run
    assert less.without_volumes((3, 4, 7), 1) is less


def test_an_inventory_takes_what_became_known_of_its_runs():
    known = dataclasses.replace(USABLE, kept=(0,))
    key = RunKey((("sub", "02"), ("task", "rest")))
    other = dataclasses.replace(USABLE, files=dataclasses.replace(FILES, key=key))
    inventory = dataclasses.replace(INVENTORY, used=(other, USABLE))
    assert inventory.with_used([known]).used == (other, known)
    assert inventory.with_used([]) == inventory


def test_a_restart_that_broke_down_has_no_maps():
    assert Restart(7, 0, False, np.inf).unmixing is None


def test_outcome_fails_exactly_where_a_run_or_a_dataset_failed():
    """A refused run was reported by the checks and does not count as a failure."""
    assert Outcome(INVENTORY, Path("out")).exit_code == 1
    assert Outcome(dataclasses.replace(INVENTORY, failed=()), Path("out")).exit_code == 1
    assert Outcome(dataclasses.replace(INVENTORY, lost=()), Path("out")).exit_code == 1
    whole = dataclasses.replace(INVENTORY, failed=(), lost=())
    assert Outcome(whole, Path("out")).exit_code == 0
