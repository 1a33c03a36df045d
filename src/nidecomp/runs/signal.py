"""Where a run on surfaces has a signal, which is found out once for each of its images.

Surfaces have no brain masks, so that all of a run has to be read to know it. Therefore the work
folder keeps what was found under the identity of the images, and the brain models that it refers
to, so that neither the next start nor a run whose images were removed needs them.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nidecomp.annex.fetched import all_at_hand
from nidecomp.core.errors import FailedRunError
from nidecomp.core.kept import digest, keep, read_kept
from nidecomp.core.records import RunFiles, UsableRun
from nidecomp.runs.known_images import image_identity, known_header, remember_image
from nidecomp.spaces.brain_models import BrainModels, Grayordinates, Structure
from nidecomp.spaces.grayordinate_series import read_brain_models, usable_features
from nidecomp.spaces.grid import Grid
from nidecomp.spaces.images import Header

# Where the work folder has it, beside group masks.
MASK_FOLDER = "mask"
# Part of the names of files: increase it whenever what has a signal is defined anew.
_FORMAT = 2


@dataclass(frozen=True)
class SignalTask:
    """A run whose signal is to be found and kept."""

    run: UsableRun
    folder: Path
    work_dir: Path


def keep_signal(task: SignalTask) -> None:
    """Find out where a run has a signal, and keep it; what is wrong is told by who needs it."""
    with suppress(FailedRunError):
        Signals(task.folder, task.work_dir).of(task.run)


class Signals:
    """Where runs have a signal, read or as kept in the work folder.

    Parameters
    ----------
    folder : Path or None
        Where it is kept; None keeps nothing.
    work_dir : Path or None
        Where it is remembered of images that are not there any more what they are.
    """

    def __init__(self, folder: Path | None, work_dir: Path | None) -> None:
        self._folder = folder if work_dir is not None else None
        self._work_dir = work_dir or Path()
        self._models: dict[str, BrainModels] = {}

    def of(self, run: UsableRun) -> tuple[NDArray[np.bool_], BrainModels]:
        """Return which grayordinates of a run have a signal.

        Parameters
        ----------
        run : UsableRun
            Whose grid is `Grayordinates`.

        Returns
        -------
        signal : ndarray of bool, shape (n_numbers,)
        models : BrainModels
            Those of the run, in whose order the signal is.

        Raises
        ------
        FailedRunError
            An image cannot be read or fetched.
        """
        files = run.files
        sampling = cast(Grayordinates, run.grid)
        if not files.is_fetched_when_read:
            return self._kept_or_read(files, sampling)
        if known_header(files, self._work_dir) is not None:
            kept = self._kept(self._signal_file(files, sampling), sampling)
            if kept is not None:
                return kept
        with all_at_hand(files.images):
            return self._kept_or_read(files, sampling)

    def keep_of_image(self, files: RunFiles, header: Header) -> None:
        """Keep where a run has a signal, as its image was fetched to read its header.

        Parameters
        ----------
        files : RunFiles
        header : Header
            That of the image, which is there.

        Raises
        ------
        FailedRunError
            An image cannot be read.
        """
        if isinstance(header.grid, Grayordinates) and self._folder is not None:
            self._kept_or_read(files, header.grid)

    def _kept_or_read(
        self, files: RunFiles, sampling: Grayordinates
    ) -> tuple[NDArray[np.bool_], BrainModels]:
        file = self._signal_file(files, sampling)
        kept = self._kept(file, sampling)
        if kept is not None:
            return kept
        path = files.bold
        if files.image_is_gone:
            raise FailedRunError(f"{path.name} is not there")
        signal, models = usable_features(path), read_brain_models(path)
        is_as_before = models.digest == sampling.digest and len(signal) == sampling.n_numbers
        # Only what was there before and after it was read has this signal.
        if not is_as_before or file != self._signal_file(files, sampling):
            raise FailedRunError(f"{path.name} was replaced while it was read: run it again")
        models = self._models.setdefault(models.digest, models)
        if file is not None:
            # A folder that cannot be written to is reported when results are written.
            with suppress(OSError):
                # So that they need not be read to know what they are.
                remember_image(files, sampling, self._work_dir)
                keep(_packed(signal), file)
                if not (of_models := _models_file(file.parent, models.digest)).exists():
                    keep(_models_as_json(models), of_models)
        return signal, models

    def _kept(
        self, file: Path | None, sampling: Grayordinates
    ) -> tuple[NDArray[np.bool_], BrainModels] | None:
        """Return what is kept of a run, or None if something is missing."""
        if file is None:
            return None
        text = read_kept(file)
        signal, models = _unpacked(text, sampling.n_numbers), self._models.get(sampling.digest)
        if signal is not None and models is None:
            models = _kept_models(_models_file(file.parent, sampling.digest))
        if signal is None or models is None or models.digest != sampling.digest:
            return None
        return signal, self._models.setdefault(models.digest, models)

    def _signal_file(self, files: RunFiles, sampling: Grayordinates) -> Path | None:
        """Return the file of what images have now, or None if nothing is kept."""
        if self._folder is None:
            return None
        name = digest([_FORMAT, image_identity(files, self._work_dir), sampling.digest])
        return self._folder / f"signal-{name}.json"


def _kept_models(file: Path) -> BrainModels | None:
    try:
        return _read_models(file, file.stat().st_mtime_ns)
    except OSError:
        return None


# It takes 0.2 s, and most runs of a dataset have the same.
@lru_cache(maxsize=8)
def _read_models(file: Path, modified_ns: int) -> BrainModels | None:
    """Return the brain models in a file that was modified at some time."""
    del modified_ns
    return _models_from_json(read_kept(file))


def _models_file(folder: Path, of: str) -> Path:
    return folder / f"models-{of[:20]}.json"


def _packed(signal: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(signal).tobytes()).decode()


def _unpacked(text: object, number: int) -> NDArray[np.bool_] | None:
    """Return what was packed, or None if it is missing or of another length."""
    if not isinstance(text, str):
        return None
    try:
        packed = np.frombuffer(base64.b64decode(text), dtype=np.uint8)
    except ValueError:
        return None
    if len(packed) != (number + 7) // 8:
        return None
    return np.unpackbits(packed, count=number).astype(np.bool_)


def _models_as_json(models: BrainModels) -> dict[str, object]:
    return {
        "structures": [
            [one.name, one.places.tolist(), one.n_vertices] for one in models.structures
        ],
        "grid": models.grid and [models.grid.shape, models.grid.affine],
    }


def _as_places(numbers: Any, n_vertices: int | None) -> NDArray[Any]:
    """Return vertices, or voxels, of which there may be none."""
    places = np.array(numbers, dtype=np.int32)
    return places if n_vertices is not None else places.reshape(-1, 3)


def _models_from_json(content: Any) -> BrainModels | None:
    try:
        structures = tuple(
            Structure(name, _as_places(places, n_vertices), n_vertices)
            for name, places, n_vertices in content["structures"]
        )
        grid = content["grid"]
        if grid is None:
            return BrainModels(structures)
        (i, j, k), affine = grid
        return BrainModels(structures, Grid((i, j, k), tuple(map(tuple, affine))))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
