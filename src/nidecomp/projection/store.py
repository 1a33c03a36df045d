"""Store projections in the work folder, and read them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nidecomp.core.atomic import replace_atomically, writing
from nidecomp.core.hemispheres import all_there, of_hemisphere, side_in_name
from nidecomp.decomposition.components import Components
from nidecomp.projection.dual_regression import Noise, NoiseSummary, RunMaps
from nidecomp.projection.task import (
    STATISTICS,
    CombinedMaps,
    ProjectedRun,
    Projection,
    ProjectTask,
    Target,
)
from nidecomp.spaces.contract import FeatureSpace


def store_target(components: Components, smoothing_fwhm: float, work_dir: Path) -> Target:
    """Store a decomposition's maps where the worker processes read them.

    Parameters
    ----------
    components : Components
    smoothing_fwhm : float
        The smoothing of the data that the components were fitted to (full width at half maximum in
        mm).
    work_dir : Path

    Returns
    -------
    Target
    """
    maps = np.ascontiguousarray(components.maps, dtype=np.float32)
    digest = _digest(maps)
    path = work_dir / "projected" / f"maps_{digest[:20]}.npy"
    if not _holds(path, digest):
        with writing(path) as file:
            np.save(file, maps)
    return Target(path, digest, smoothing_fwhm)


def _digest(maps: NDArray[np.float32]) -> str:
    return hashlib.sha256(repr(maps.shape).encode() + maps.tobytes()).hexdigest()


def _holds(path: Path, digest: str) -> bool:
    """Return whether a file has these maps. If so it is kept, as another job may be reading it."""
    try:
        return _digest(np.load(path)) == digest
    except Exception:  # numpy raises various errors for a damaged file, which is written again
        return False


def find_projected(task: ProjectTask, stem: Path) -> ProjectedRun | None:
    """Return the stored projection of a run; None if it or one of its files is missing."""
    projections, space = [], task.cleaning.space
    try:
        # Opened here because numpy does not close a file that is not an archive.
        with stem.with_name(stem.name + ".npz").open("rb") as file, np.load(file) as content:
            for index in range(len(task.targets)):
                maps = {name: map_file(stem, index, name, space) for name in STATISTICS}
                wanted = list(maps.values()) if task.with_maps else []
                arrays = [array_file(stem, index, name) for name in task.arrays]
                wanted += arrays
                denoised = (
                    task.regressed_path(stem, index) if task.regressed_out_of(index) else None
                )
                if denoised is not None:
                    wanted.append(denoised)
                if not all_there(wanted) or not all(
                    is_whole(one) for one in arrays if one.suffix == ".npy"
                ):
                    return None
                projections.append(
                    Projection(
                        content[f"courses_{index}"],
                        float(content[f"explained_variance_{index}"]),
                        content[f"map_r_{index}"],
                        maps if task.with_maps else {},
                        from_array(content[f"noise_{index}"]) if task.with_maps else None,
                        denoised,
                    )
                )
            tsnr = float(content["tsnr"])
            empty, n_regressors = content["empty"].tolist(), int(content["n_regressors"])
    except Exception:  # numpy raises various errors for a damaged file, which is written again
        return None
    run = task.cleaning.run.without_volumes(empty, n_regressors)
    return ProjectedRun(run, stem, tsnr, tuple(projections))


def map_file(stem: Path, index: int, statistic: str, space: FeatureSpace) -> Path:
    """Return the path of a target's maps of one statistic; of a pair, that of the left file."""
    side = side_in_name(space.hemispheres)
    return stem.with_name(f"{stem.name}_{index}{side}_{statistic}{space.extensions.maps}")


def array_file(stem: Path, index: int, name: str) -> Path:
    """Return the path of an array, or of the arrays of the noise, that is stored for a target."""
    return stem.with_name(f"{stem.name}_{index}_{name}.{'npz' if name == 'noise' else 'npy'}")


def store_maps(own: RunMaps, stem: Path, index: int, space: FeatureSpace) -> None:
    """Store maps as the compressed images of the outputs, so that many processes compress them."""
    for name in STATISTICS:
        path = map_file(stem, index, name, space)
        for hemi in space.hemispheres:
            content = space.encode(getattr(own, name), hemi=hemi)
            with replace_atomically(of_hemisphere(path, hemi)) as temporary:
                temporary.write_bytes(content)


def store_array(values: NDArray[np.generic], stem: Path, index: int, name: str) -> Path:
    """Store an array of a target, and return its path."""
    path = array_file(stem, index, name)
    with writing(path) as file:
        np.save(file, values)
    return path


def is_whole(path: Path) -> bool:
    """Return whether an array is stored in a file that has not been cut."""
    try:
        np.load(path, mmap_mode="r")
    except Exception:  # numpy raises various errors for a damaged file, which is written again
        return False
    return True


def store_noise(noise: Noise, stem: Path, index: int) -> None:
    """Store the noise of a run, from which the runs of a participant are combined."""
    with writing(array_file(stem, index, "noise")) as file:
        np.savez(file, allow_pickle=False, **noise.arrays())


def load_effect(stem: Path, index: int) -> tuple[NDArray[np.float32], Noise]:
    """Return the effect and the noise of a run, which were stored."""
    with np.load(array_file(stem, index, "noise")) as content:
        noise = Noise.from_arrays(content)
    return np.load(array_file(stem, index, "effect")), noise


def as_array(summary: NoiseSummary) -> NDArray[np.float64]:
    """Return the numbers of a summary."""
    return np.array([summary.dof, summary.effective_dof, summary.autocorrelation])


def from_array(numbers: NDArray[np.float64]) -> NoiseSummary:
    """Return the summary that `as_array` made an array of."""
    dof, effective_dof, autocorrelation = numbers.tolist()
    return NoiseSummary(int(dof), effective_dof, autocorrelation)


def store_summary(summary: NoiseSummary, stem: Path, index: int) -> None:
    """Store what the z values of combined maps depend on; after their maps."""
    store_array(as_array(summary), stem, index, "summary")


def find_combined(stem: Path, index: int, space: FeatureSpace) -> CombinedMaps | None:
    """Return the stored combination of a participant's runs; None if it is not complete."""
    maps = {name: map_file(stem, index, name, space) for name in STATISTICS}
    if not all_there(maps.values()):
        return None
    try:
        return CombinedMaps(maps, from_array(np.load(array_file(stem, index, "summary"))))
    except Exception:  # numpy raises various errors for a damaged file, which is written again
        return None
