"""Compile all inner loops into a folder that an image brings: ``compile_ahead.py FOLDER [TYPE …]``.

``NIDECOMP_COMPILED=FOLDER`` then makes NiDecomp use them. They are bound to the installed source
files (their place, size and time) and to the kind of processor, so this is run where NiDecomp is
installed for good. Whatever is not found there is compiled when it is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

# What images store; of anything else a run's first volume waits for the compiler.
STORED = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def main(folder: Path, stored: Sequence[str] = STORED) -> None:
    """Call everything that is compiled, with every kind of argument that it gets."""
    # Read when numba is imported.
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    import numpy as np  # noqa: PLC0415  after the variable

    from nidecomp import CanICA, DictLearning  # noqa: PLC0415
    from nidecomp.runs.reduce import warm_up  # noqa: PLC0415

    for name in stored:
        warm_up(name)
    rng = np.random.default_rng(0)
    # More voxels than one block has: parts of an array are another kind of argument.
    networks = rng.laplace(size=(3, 2500))
    runs = [
        (rng.standard_normal((20, 3)) @ networks + rng.standard_normal((20, 2500))).astype("f4")
        for _ in range(4)
    ]
    for estimator in (CanICA(n_components=3), DictLearning(n_components=3)):
        estimator.fit(runs)
    print(f"Compiled {len(list(folder.rglob('*.nbc')))} functions into {folder}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or STORED)
