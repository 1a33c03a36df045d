"""Results that several tests look at, computed once."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import FIXTURES, nidecomp


@pytest.fixture(scope="session")
def rest_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's results."""
    output = tmp_path_factory.mktemp("rest") / "networks"
    done = nidecomp(FIXTURES / "rest", output, "group", "--n-components", "20", "--nprocs", "2")
    assert done.exit_code == 0, done.stderr
    return output
