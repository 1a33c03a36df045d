"""Results that several tests look at, computed once."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np  # noqa: F401  with scipy's, the libraries whose threads are bounded below
import pytest
import scipy.linalg  # noqa: F401
from support import FIXTURES, nidecomp
from threadpoolctl import threadpool_limits

# A script that starts the tests in the background has them ignore SIGINT, and with them every
# process that they start; Ctrl-C is tested all the same.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Matrices of the tests are so small that threads of linear algebra only wait for each other. What
# the tests start keeps the machine's defaults: no variable is set.
threadpool_limits(limits=1)


@pytest.fixture(scope="session")
def rest_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's results."""
    output = tmp_path_factory.mktemp("rest") / "networks"
    words = (FIXTURES / "rest", output, "group", "--n-components", "20", "--nprocs", "2")
    done = nidecomp(*words, fresh=True)
    assert done.exit_code == 0, done.stderr
    return output
