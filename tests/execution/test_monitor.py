"""The resources of steps are measured for all processes, also if a step fails."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from nidecomp.execution.monitor import watching

MEGABYTES = 200
HOLD = f"held = bytearray({MEGABYTES} * 10**6); import time; time.sleep(1)"
WORK = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"


def test_steps_are_told_in_order_with_their_time() -> None:
    with watching(["a", "word"]) as monitor:
        with monitor.step("short"):
            pass
        with monitor.step("long"):
            time.sleep(0.3)
    assert monitor.command == ("a", "word")
    short, long = monitor.used
    assert (short.step, long.step) == ("short", "long")
    assert short.seconds < long.seconds
    assert long.seconds >= 0.3
    assert long.cpu_seconds < 0.3, "it slept"


def test_memory_and_work_of_other_processes_count() -> None:
    with watching() as monitor:
        with monitor.step("alone"):
            time.sleep(0.3)
        with monitor.step("holding"):
            subprocess.run([sys.executable, "-c", HOLD], check=True)
        with monitor.step("working"):
            subprocess.run([sys.executable, "-c", WORK], check=True)
    alone, holding, working = monitor.used
    # Half of it, because the system may reclaim pages of this process in the meantime.
    assert holding.peak_memory_mb > alone.peak_memory_mb + 0.5 * MEGABYTES
    assert working.peak_memory_mb < holding.peak_memory_mb, "a peak belongs to its step"
    assert working.cpu_seconds >= 0.5


def test_a_step_that_fails_is_told() -> None:
    with watching() as monitor:
        with pytest.raises(ValueError, match="broken"), monitor.step("broken"):
            raise ValueError("broken")
        assert [one.step for one in monitor.used] == ["broken"]
