"""What befalls a worker process at a certain file; Python reads this when it starts.

A folder on PYTHONPATH is all it takes: workers are started by a library and know nothing of tests.
Where ``NIDECOMP_TEST_KILLED`` is in its path, the worker is killed, as the system does for want of
memory; where ``NIDECOMP_TEST_STARVED`` is, it has 8 MB more to take. Before a file has a name with
``NIDECOMP_TEST_HELD`` in it, the worker makes the file ``NIDECOMP_TEST_HOLDS`` and waits.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

_KILLED = os.environ.get("NIDECOMP_TEST_KILLED", "")
_STARVED = os.environ.get("NIDECOMP_TEST_STARVED", "")
_HELD = os.environ.get("NIDECOMP_TEST_HELD", "")
_MORE_BYTES = 8 << 20


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not isinstance(arguments[0], str | os.PathLike):
        return
    name = os.fspath(arguments[0])
    if not isinstance(name, str) or not name.endswith("_bold.nii.gz"):
        return
    if _KILLED in name:
        os.kill(os.getpid(), signal.SIGKILL)
    elif _STARVED not in name:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + _MORE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _hold(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "os.rename" and _HELD in str(arguments[1]):
        Path(os.environ["NIDECOMP_TEST_HOLDS"]).touch()
        time.sleep(600)


_STARTED_BY = " ".join(sys.orig_argv)
if _KILLED and "loky" in _STARTED_BY:
    sys.addaudithook(_audit)
# Of dask, too.
if _HELD and ("loky" in _STARTED_BY or "multiprocessing.spawn" in _STARTED_BY):
    sys.addaudithook(_hold)
