"""What is particular to dask's workers: where they come from, and what goes wrong."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import FIXTURES

from nidecomp.errors import NidecompError, UsageError
from nidecomp.execute.choose import check_executor, executor_for, worker_memory_mb
from nidecomp.settings import Execution

reason = "the extra nidecomp[dask] is not installed"
dask = pytest.importorskip("dask", reason=reason)
distributed = pytest.importorskip("distributed", reason=reason)
cloudpickle = pytest.importorskip("cloudpickle", reason=reason)

GOOD = """
jobqueue:
  slurm: {cores: 4, memory: 8GB}
distributed:
  adaptive: {maximum: 40}
"""
# What is wrong: (the file, what is said).
MISTAKES = {
    "no file": (None, "No such file"),
    "no YAML": ("jobqueue: [", "expected"),
    "nothing": ("", "holds no configuration"),
    "no system": ("distributed: {adaptive: {maximum: 4}}", "must be one of htcondor"),
    "two systems": (GOOD.replace("slurm: ", "pbs: {}\n  slurm: "), "is pbs, slurm"),
    "an unknown system": (GOOD.replace("slurm", "slurn"), "is slurn"),
    "an unknown name": (GOOD.replace("cores", "coers"), "knows no coers. Did you mean cores?"),
    "no cores": (GOOD.replace("cores: 4, ", ""), "jobqueue.slurm.cores is not there"),
    "workers of several threads": (GOOD.replace("8GB", "8GB, processes: 2"), "leave processes out"),
    "no memory": (GOOD.replace(", memory: 8GB", ""), "must be a size such as 4GB"),
    "a memory that is none": (GOOD.replace("8GB", "much"), "must be a size such as 4GB"),
    "no upper bound": (GOOD.replace("maximum", "minimum"), "adaptive.maximum is not there"),
    "bounds the wrong way round": (
        GOOD.replace("maximum: 40", "maximum: 2, minimum: 3"),
        "minimum 3 is above maximum 2",
    ),
}


def execution(**options: Any) -> Execution:
    return Execution(executor="dask", **options)


def square(number: int) -> int:
    return number * number


def slow(number: int) -> int:
    time.sleep(0.5)
    return number


# ---------------------------------------------------------------- the configuration of jobs
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_configuration_gets_a_sentence(mistake: str, tmp_path: Path) -> None:
    content, says = MISTAKES[mistake]
    path = tmp_path / "jobs.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        check_executor(execution(dask_config=str(path)))
    assert str(caught.value).startswith(f"--dask-config {path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_memory_of_a_job_is_that_of_its_workers_together(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert worker_memory_mb(execution(dask_config=str(path))) == 2000
    assert worker_memory_mb(execution(dask_scheduler="tcp://there:8786")) == math.inf
    assert worker_memory_mb(execution()) is None
    assert worker_memory_mb(Execution()) is None


def test_the_configuration_in_the_documents_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[2] / "docs" / "dask_slurm.yaml"
    assert worker_memory_mb(execution(dask_config=str(path))) == 2000
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="there is no sbatch on this machine"):
        check_executor(execution(dask_config=str(path)))


def test_workers_from_two_places_or_for_nobody_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(GOOD, encoding="utf-8")
    with pytest.raises(UsageError, match="give one"):
        check_executor(execution(dask_scheduler="tcp://there:1", dask_config=str(path)))
    with pytest.raises(UsageError, match=r"--dask-config .* is for --executor dask"):
        check_executor(Execution(dask_config=str(path)))
    with pytest.raises(UsageError, match=r"--dask-scheduler .* is for --executor dask"):
        check_executor(Execution(dask_scheduler="tcp://there:1"))


def test_ctrl_c_stays_what_it_was(tmp_path: Path) -> None:
    """dask-jobqueue makes it a silent end with exit code 0 when it is imported."""
    path = str(tmp_path / "jobs.yaml")
    program = (
        "import signal; from nidecomp.execute.choose import worker_memory_mb\n"
        "from nidecomp.settings import Execution\n"
        f"worker_memory_mb(Execution(executor='dask', dask_config={path!r}))\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "import sys; assert 'dask_jobqueue' in sys.modules"
    )
    Path(path).write_text(GOOD, encoding="utf-8")
    subprocess.run([sys.executable, "-c", program], check=True)


# ---------------------------------------------------------------- without the extra
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dask", "distributed", "dask_jobqueue", "yaml"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
from nidecomp.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    words = [str(FIXTURES / "no_res"), str(tmp_path / "out"), "group", "--executor", "dask"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "pip install 'nidecomp[dask]'" in done.stderr
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- somebody's scheduler
@pytest.fixture
def cluster() -> Iterator[Any]:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        distributed.LocalCluster(
            n_workers=0, threads_per_worker=2, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
    ):
        yield cluster


def test_a_scheduler_of_others_is_used_and_left_as_it_was(cluster: Any, tmp_path: Path) -> None:
    """Its workers have two threads here, of which one works at a time."""
    cluster.scale(1)
    where = execution(dask_scheduler=cluster.scheduler_address)
    for _ in range(2):
        with executor_for(where, tmp_path, 1) as workers:
            assert sorted(workers.map_unordered(square, range(5))) == [0, 1, 4, 9, 16]
    assert len(cluster.scheduler_info["workers"]) == 1


def test_workers_that_never_come_end_in_a_sentence(cluster: Any, tmp_path: Path) -> None:
    where = execution(dask_scheduler=cluster.scheduler_address, dask_patience=1)
    with (
        executor_for(where, tmp_path, 1) as workers,
        pytest.raises(NidecompError, match=r"No worker came within 1 s \(--dask-patience\)"),
    ):
        list(workers.map_unordered(square, range(5)))


def test_a_scheduler_that_is_lost_ends_in_a_sentence(cluster: Any, tmp_path: Path) -> None:
    cluster.scale(1)
    with executor_for(execution(dask_scheduler=cluster.scheduler_address), tmp_path, 1) as workers:
        results = workers.map_unordered(slow, range(5))
        next(results)
        cluster.close()
        with pytest.raises(NidecompError, match=r"was lost\. What is done is kept"):
            list(results)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere", "x://127.0.0.1:9", "tcp://:"])
def test_no_scheduler_at_an_address_is_a_mistake(address: str, tmp_path: Path) -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UsageError, match=f"--dask-scheduler {address}: "),
        executor_for(execution(dask_scheduler=address), tmp_path, 1),
    ):
        pass


def test_a_worker_with_other_versions_is_told_apart() -> None:
    from nidecomp.execute.dask_workers import _do, _versions

    payload = cloudpickle.dumps((square, 3))
    assert _do(payload, _versions()) == 9
    with pytest.raises(NidecompError, match=r"numpy .* where this process has 0\.1") as caught:
        _do(payload, {**_versions(), "numpy": "0.1"})
    assert os.uname().nodename in str(caught.value)
