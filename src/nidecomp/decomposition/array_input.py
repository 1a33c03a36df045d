"""What the estimators take, and what is said about anything else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nidecomp.config.science import DecompositionOptions
from nidecomp.config.values import Convert, integer
from nidecomp.core.text import count

Runs = ArrayLike | Sequence[ArrayLike]

# The command line has the same parameters; `n_components` has no "auto" here, and may be 1.
_CONVERT: dict[str, Convert] = {
    **{declared.name: declared.metadata["convert"] for declared in fields(DecompositionOptions)},
    "n_components": integer(1),
    "n_threads": integer(1),
}
_MAY_BE_NONE = {"alpha", "subspace_dims"}
_MAY_BE_TEXT = {"pca_weighting"}


def check_parameters(parameters: Mapping[str, object]) -> None:
    """Check the parameters of an estimator.

    Parameters
    ----------
    parameters : mapping

    Raises
    ------
    ValueError
        It names the parameter, its value and what the value must be.
    """
    for name, value in parameters.items():
        if name not in _CONVERT or (value is None and name in _MAY_BE_NONE):
            continue
        try:
            if isinstance(value, str) and name not in _MAY_BE_TEXT:
                raise ValueError("must be a number, not text")
            _CONVERT[name](value)
        except ValueError as error:
            raise ValueError(f"{name}={value!r} {error}.") from None


def split_runs(X: Runs, estimator: str) -> tuple[list[ArrayLike], bool]:
    """Return the runs in what was given to an estimator, and whether they were in a list.

    Parameters
    ----------
    X : array-like, or a list or tuple of them
    estimator : str
        Its name, for messages.

    Returns
    -------
    list of array-like
        One array is the only run. They have at most two dimensions, and hold no text.
    bool

    Raises
    ------
    TypeError
        Something is no array: an image, the name of a file, a generator.
    ValueError
        There is no run, one has too many dimensions, or one has text in place of numbers.
    """
    is_list = isinstance(X, list | tuple) and (len(X) == 0 or any(map(_is_run, X)))
    runs: list[ArrayLike] = list(X) if is_list else [X]  # type: ignore[arg-type, list-item]
    if not runs:
        raise ValueError(f"X is an empty list: {estimator} needs at least one run.")
    for index, run in enumerate(runs):
        _check_kind(run, name_of(index, is_list=is_list), estimator)
    return runs, is_list


def name_of(index: int, *, is_list: bool) -> str:
    """Return how messages name a run."""
    return f"Run {index} of X" if is_list else "X"


def check_finite(run: NDArray[np.floating], name: str) -> None:
    """Raise ValueError where a run has NaN or infinite values."""
    n_features = int(np.count_nonzero(~np.isfinite(run).all(axis=0)))
    if n_features:
        raise ValueError(
            f"{name} has NaN or infinite values in {n_features} of "
            f"{count(run.shape[1], 'feature')}: leave "
            "these features out of all runs, or replace the values."
        )


def check_not_constant(run: NDArray[np.floating], name: str) -> None:
    """Raise ValueError where all samples of a run are the same."""
    # Two samples tell most runs from constant ones, without comparing all.
    if (run[0] == run[-1]).all() and (run == run[0]).all():
        raise ValueError(f"{name} is constant: all of its samples are the same.")


def centred(run: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a run without the mean of each feature, in the same precision."""
    # The sum of many volumes far from 0 would lose digits in single precision.
    mean = run.mean(axis=0, dtype=np.float64)
    return np.asarray(run - mean.astype(run.dtype))


def _is_run(value: object) -> bool:
    """Return whether an entry of a list is a run (or meant as one), and not a row of an array."""
    if _is_image(value) or isinstance(value, str | os.PathLike):
        return True
    try:
        return np.ndim(value) >= 2  # type: ignore[arg-type]
    except ValueError:  # rows of unequal length
        return True


def _is_image(value: object) -> bool:
    # nibabel's images have the first attribute, nilearn's surface images the other two.
    return hasattr(value, "dataobj") or (hasattr(value, "mesh") and hasattr(value, "data"))


def _check_kind(run: object, name: str, estimator: str) -> None:
    """Raise an error where a run cannot be one; what its numbers are is not looked at."""
    takes = f"{estimator} takes arrays of shape (n_samples, n_features), one or a list of them"
    masked = (
        "use a masker such as nilearn's NiftiMasker to make arrays of images, or "
        "nidecomp.decompose for a folder of fMRIPrep"
    )
    if _is_image(run):
        raise TypeError(f"{takes}; {name} is an image: {masked}.")
    if isinstance(run, str | os.PathLike):
        raise TypeError(f"{takes}; {name} is {run!r}: {masked}.")
    if isinstance(run, Iterator):
        raise TypeError(f"{takes}; {name} is of type {type(run).__name__}: make a list of it.")
    # Sparse matrices, which scikit-learn refuses, have a shape alone.
    if not (isinstance(run, Sequence) or hasattr(run, "__array__") or hasattr(run, "shape")):
        what = "None" if run is None else f"of type {type(run).__name__}"
        raise TypeError(f"{takes}; {name} is {what}.")
    shape = tuple(getattr(run, "shape", ()))
    if len(shape) > 2:
        raise ValueError(
            f"{takes}; {name} has shape {shape}: give several runs as a list; for images, {masked}."
        )
    if isinstance(run, np.ndarray) and run.dtype.kind in "US":
        raise ValueError(f"{name} has text in place of numbers: {run.ravel()[:1].tolist()}.")
