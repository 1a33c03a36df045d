"""Compile all inner loops ahead of time for a container: ``compile_ahead.py FOLDER [TYPE …]``.

NiDecomp uses the compiled code if ``NIDECOMP_COMPILED=FOLDER``. It is valid only for the installed
source files (their paths, sizes and times) and the type of processor, so that this must be run in
the final installation. Code that is not found is compiled when it is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Data types of images; for others, loops are compiled when the first volume is read.
STORED = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def main(folder: Path, stored: Sequence[str] = STORED) -> None:
    """Call all compiled functions with all types of arguments."""
    # numba reads this variable on import.
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    import numpy as np  # noqa: PLC0415  after the variable
    from scipy.sparse import csr_array  # noqa: PLC0415

    from nidecomp import CanICA, DictLearning  # noqa: PLC0415
    from nidecomp.annotation.random_walk import walk_to_seeds  # noqa: PLC0415
    from nidecomp.core.packed import PackedSeries  # noqa: PLC0415
    from nidecomp.runs.reduce import warm_up  # noqa: PLC0415
    from nidecomp.spaces.geodesic import (  # noqa: PLC0415
        block_diagonal,
        geodesic_graph,
        surface_kernel,
    )
    from nidecomp.spaces.grayordinate_series import smooth_rows  # noqa: PLC0415
    from nidecomp.spaces.meshes import template_mesh  # noqa: PLC0415
    from nidecomp.spaces.seeds import local_maxima_of_graph  # noqa: PLC0415

    for name in stored:
        warm_up(name)
    rng = np.random.default_rng(0)
    # More voxels than one block has, because slices of an array are another type of argument; and
    # fewer.
    networks = rng.laplace(size=(3, 2500))
    runs = [
        (rng.standard_normal((20, 3)) @ networks + rng.standard_normal((20, 2500))).astype("f4")
        for _ in range(4)
    ]
    for estimator in (CanICA(n_components=3), DictLearning(n_components=3)):
        estimator.fit(runs)
        estimator.fit([run[:, :500] for run in runs])
    chain = csr_array(np.eye(4, k=1) + np.eye(4, k=-1))
    mesh = template_mesh("fsaverage3", 642, "L")
    kernel = surface_kernel(mesh, np.arange(642), 6.0)
    # As it is mapped from the work folder.
    whole = block_diagonal([kernel])
    parts = [whole.indptr, whole.indices, whole.data]
    for one in parts:
        one.flags.writeable = False
    series = np.ones((642, 2), np.float32)
    smooth_rows(*parts, series, 0, np.empty_like(series))
    PackedSeries(2, 642).put_block(0, np.ones((2, 642), np.float32), np.arange(2))
    local_maxima_of_graph(np.ones(642), geodesic_graph(mesh), mesh.coordinates)
    # Neighbours of voxels, and those of vertices.
    for kind in ("i4", "i8"):
        chain.indptr, chain.indices = chain.indptr.astype(kind), chain.indices.astype(kind)
        walk_to_seeds(np.ones(4, np.float32), np.array([1, 0, 0, 2]), chain, 1.0)
    compile_comparison()
    print(f"Compiled {len(list(folder.rglob('*.nbc')))} functions into {folder}.")


def compile_comparison() -> None:
    """Call the compiled functions of a comparison of participants, as it does."""
    import numpy as np  # noqa: PLC0415  after the variable
    from scipy.sparse import csr_array  # noqa: PLC0415

    from nidecomp.comparison.clusters import cluster_extents  # noqa: PLC0415
    from nidecomp.comparison.enhancement import enhance  # noqa: PLC0415
    from nidecomp.comparison.features import FeatureKind  # noqa: PLC0415
    from nidecomp.comparison.glm import (  # noqa: PLC0415
        largest_statistics,
        linear_test,
        statistic_maps,
    )
    from nidecomp.comparison.largest_enhancement import largest_enhancement  # noqa: PLC0415
    from nidecomp.comparison.network_edges import largest_networks  # noqa: PLC0415
    from nidecomp.comparison.records import Contrast, Design, Measured  # noqa: PLC0415
    from nidecomp.comparison.transformations import draw_transformations  # noqa: PLC0415

    rng = np.random.default_rng(0)
    matrix = np.column_stack([np.ones(12), rng.standard_normal((12, 2))])
    contrast = Contrast("x", "x", np.array([[0.0, 1.0, 0.0]]))
    people = tuple(Measured(f"{number}", ()) for number in range(12))
    design = Design("x", people, matrix, ("1", "x", "y"), (contrast,))
    drawn = draw_transformations(design, 100, 0)
    test = linear_test(design, contrast, drawn.kind)
    # More features than one block has, and fewer.
    for n_features in (2500, 500):
        residuals = test.residuals(rng.standard_normal((12, n_features))).astype("f4")
        largest_statistics(test, residuals, drawn)
        maps = statistic_maps(test, residuals, drawn, slice(0, 2))
    chain = csr_array(np.eye(500, k=1) + np.eye(500, k=-1))
    neighbours = chain.indptr.astype("i4"), chain.indices.astype("i4")
    kind = FeatureKind(np.arange(500), True, *neighbours, np.ones(500))
    enhance(maps, kind)
    largest_enhancement(maps, kind)
    cluster_extents(maps, 1.0, kind)
    largest_networks(np.ones((1, 3)), 0.5, np.ones(3, dtype=bool))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or STORED)
