"""Results that several tests look at, computed once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support import FIXTURES, nidecomp

# A script that starts the tests in the background has them ignore SIGINT, and with them every
# process that they start; Ctrl-C is tested all the same.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def rest_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's results."""
    output = tmp_path_factory.mktemp("rest") / "networks"
    words = (FIXTURES / "rest", output, "group", "--n-components", "20", "--nprocs", "2")
    done = nidecomp(*words, fresh=True)
    assert done.exit_code == 0, done.stderr
    return output
