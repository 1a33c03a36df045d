"""The outputs that numbers are recomputed from, and the table of differences."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import FIXTURES, made_once, nidecomp

from recomputed.atlas import atlas_path
from recomputed.published import LARGEST, Published


@pytest.fixture(scope="session")
def demo(rest_output: Path) -> Published:
    """The demo: 20 components, everything at default."""
    return Published(FIXTURES / "rest", rest_output)


@pytest.fixture(scope="session")
def detailed(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Results of the demo's dataset with all that is written on request, for few components."""

    def make(output: Path) -> None:
        done = nidecomp(
            FIXTURES / "rest", output, "group", "--n-components", 5, "--holdout", 0.25,
            "--n-bootstraps", 3, "--n-splits", 2, "--participant-maps", "--no-report",
            "--label-atlas", atlas_path(output),
            "--connectomes", "correlation", "partial", "tangent",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr

    return Published(FIXTURES / "rest", made_once(tmp_path_factory, "detailed", make))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the largest differences (`make recomputed` runs these tests in one process)."""
    if LARGEST and terminalreporter.config.getoption("verbose") > 0:
        terminalreporter.section("largest differences from a recomputation")
        for quantity, difference in sorted(LARGEST.items()):
            terminalreporter.write_line(f"{difference:9.2g}  {quantity}")
