"""matplotlib as the report needs it: the same whatever its user has set, which stays set.

A user sets it by files (``matplotlibrc``), by the environment (``MPLBACKEND``, which every command
that a notebook starts inherits) and, where NiDecomp is called from Python, in this very process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext, suppress
from pathlib import Path
from types import ModuleType

# matplotlib takes long to import: `--help` and runs without figures must not wait for it.
_FILE = Path("matplotlibrc")
# An empty file of settings, and no backend.
_NOTHING = {"MATPLOTLIBRC": os.devnull, "MPLBACKEND": ""}


@contextmanager
def own_settings(more: Mapping[str, object] | None = None) -> Iterator[None]:
    """Draw with Agg and matplotlib's defaults; all is as it was afterwards.

    Parameters
    ----------
    more : mapping, optional
        What to set beside the defaults.

    Yields
    ------
    None
    """
    _import_matplotlib()
    from matplotlib import rcParams, style  # noqa: PLC0415

    # Not through pyplot, which would load a backend and keep it. "Not chosen yet" is a value, too,
    # that only `_get` and `_set` do not take for a request to choose.
    backend = rcParams._get("backend")
    try:
        with style.context(["default", dict(more or {})]):
            rcParams["backend"] = "agg"
            yield
    finally:
        rcParams._set("backend", backend)


@contextmanager
def quiet_plotting() -> Iterator[ModuleType]:
    """Give nilearn's functions that draw, to be used within `own_settings`.

    They tell pyplot of all that they draw. It would load a backend for that, keep it as the user's
    and have it show the user's figures again; here it is not told.

    Yields
    ------
    module
        nilearn.plotting.
    """
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from nilearn import plotting  # noqa: PLC0415

    told = plt.draw_if_interactive
    plt.draw_if_interactive = lambda *_, **__: None
    try:
        yield plotting
    finally:
        plt.draw_if_interactive = told


def _import_matplotlib() -> None:
    """Import it, if nobody has, without what its user has set; then set that.

    While it is imported, a backend that it cannot find and a file that it cannot decode are
    errors, and the number of colours of its colour maps is fixed for good.
    """
    if "matplotlib" in sys.modules:
        return
    said = {name: os.environ.get(name) for name in _NOTHING}
    os.environ.update(_NOTHING)
    try:
        # A file in the current folder comes before all else that can be named.
        with chdir(Path(__file__).parent) if _FILE.exists() else nullcontext():
            import matplotlib as mpl  # noqa: PLC0415
    finally:
        for name, value in said.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    with suppress(OSError, ValueError):
        theirs = mpl.rc_params_from_file(mpl.matplotlib_fname(), use_default_template=False)
        for name in theirs:
            # What matplotlib starts with, and what it returns to.
            mpl.rcParams._set(name, theirs._get(name))
            mpl.rcParamsOrig._set(name, theirs._get(name))
    with suppress(ValueError):
        if said["MPLBACKEND"]:
            mpl.rcParams["backend"] = said["MPLBACKEND"]
