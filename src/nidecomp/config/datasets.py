"""Further datasets whose participants take part, each with options of its own.

Only the standard library is imported here, to keep ``nidecomp --help`` fast.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

from nidecomp.config.option import converted, did_you_mean, option
from nidecomp.config.science import Denoising, Selection, as_plain
from nidecomp.core.errors import UsageError
from nidecomp.core.text import quoted

# The name that outputs give to BIDS_DIR, in links and in tables.
OF_BIDS_DIR = "preprocessed"
# One for all datasets: participants are named with the dataset's name, and maps have one space and
# one smoothness.
_SHARED = {
    "participant_label",
    "exclude_participant_label",
    "space",
    "smoothing_fwhm",
    "dictlearning_smoothing_fwhm",
}
# Names of files begin with it.
_LONGEST_NAME = 20
_OWN = {
    declared.name: declared
    for record in (Selection, Denoising)
    for declared in fields(record)
    if declared.name not in _SHARED
}


@dataclass(frozen=True)
class DatasetRequest:
    """A further dataset as it was asked for.

    `options` are those that differ from BIDS_DIR's: pairs of name and value, sorted.
    """

    name: str
    path: str
    options: tuple[tuple[str, object], ...] = ()

    def __lt__(self, other: DatasetRequest) -> bool:
        """Return whether this dataset comes first; two of one name are refused anyway."""
        return self.name < other.name

    def selection(self, shared: Selection) -> Selection:
        """Return how the runs of this dataset are selected."""
        return replace(shared, **self._of(Selection))

    def denoising(self, shared: Denoising) -> Denoising:
        """Return how the runs of this dataset are denoised."""
        return replace(shared, **self._of(Denoising))

    def as_table(self) -> dict[str, object]:
        """Return the options as a plain table; what is unset of BIDS_DIR's is ``none``."""
        return as_plain((name, "none" if value is None else value) for name, value in self.options)

    def _of(self, record: type) -> dict[str, Any]:
        names = {declared.name for declared in fields(record)}
        return {name: value for name, value in self.options if name in names}


def dataset(value: object) -> DatasetRequest:
    """Accept ``NAME=PATH``, or a name with a path or a table of a path and options."""
    if isinstance(value, DatasetRequest):
        return value
    name, content = _taken_apart(value)
    table = content if isinstance(content, Mapping) else {"path": content}
    path = table.get("path")
    given = f"--datasets {quoted(value if name is None or isinstance(value, str) else name)}"
    if not isinstance(name, str) or not name.isalnum() or not name.isascii():
        raise UsageError(f"{given}: must be NAME=PATH, where NAME has letters and digits only.")
    if len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{given}: must have a name of at most {_LONGEST_NAME} letters and digits."
        )
    if name.casefold() == OF_BIDS_DIR:
        raise UsageError(f"{given}: {OF_BIDS_DIR} is the name of BIDS_DIR; choose another one.")
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise UsageError(
            f"{given}: the path of dataset {name} is missing: give it with --datasets "
            f"{name}=PATH, or as path in the table [datasets.{name}] of --config-file."
        )
    own = {option_name: of for option_name, of in table.items() if option_name != "path"}
    return DatasetRequest(name, str(os.fspath(path)), _options(name, own))


def _taken_apart(value: object) -> tuple[object, object]:
    """Return the name of a dataset, and its path or table; None where they are missing."""
    if isinstance(value, str):
        name, equals, path = value.partition("=")
        return name, path if equals else None
    return value if isinstance(value, tuple) and len(value) == 2 else (None, None)


def _options(name: str, table: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    """Return the options of a dataset's own, checked."""
    for one in table:
        if one in _SHARED:
            raise UsageError(
                f"Dataset {name}: {one} is the same for all datasets; use --{_hyphens(one)}."
            )
        if one not in _OWN:
            raise UsageError(
                f"Dataset {name}: unknown option {quoted(one)}.{did_you_mean(one, _OWN)} A dataset "
                f"has a path, and may have of its own: {', '.join(sorted(_OWN))}."
            )
    try:
        read = {one: converted(_OWN[one], of) for one, of in table.items()}
    except UsageError as error:
        raise UsageError(f"Dataset {name}: {error}") from None
    return tuple(sorted(read.items()))


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


def as_items(value: object) -> list[object]:
    """Return datasets, given as a mapping of names, as a list or as one, as a list."""
    if isinstance(value, Mapping):
        return list(value.items())
    is_one = isinstance(value, str | DatasetRequest) or not isinstance(value, Iterable)
    return [value] if is_one else list(cast("Iterable[object]", value))


def with_paths(tables: object, words: Iterable[str]) -> list[object]:
    """Return the tables of a config file with the paths of the command line, which add to them.

    Parameters
    ----------
    tables : mapping
        Name of a dataset to its table.
    words : iterable of str
        Each NAME=PATH.

    Returns
    -------
    list
        For `dataset`.
    """
    named = dict(cast("Mapping[str, Any]", tables))
    added: list[object] = []
    for word in words:
        name, equals, path = word.partition("=")
        if equals and name in named:
            added.append((name, {**named.pop(name), "path": path}))
        else:
            added.append(word)
    return [*named.items(), *added]


@dataclass(frozen=True)
class DatasetOptions:
    """Which further datasets take part."""

    datasets: tuple[DatasetRequest, ...] = option(
        dataset,
        (),
        "Further datasets whose participants take part, each with a name of letters and digits: "
        "sub-01 of dataset A is called sub-A01. A dataset that cannot be used does not stop the "
        "others. The tables [datasets.NAME] of --config-file may have a path, and options for the "
        "selection and denoising of the dataset's runs.",
        metavar="NAME=PATH",
        many=True,
    )

    @cached_property
    def by_name(self) -> dict[str, DatasetRequest]:
        """The datasets by name."""
        return {one.name: one for one in self.datasets}


def check_names(datasets: Iterable[DatasetRequest]) -> None:
    """Check that no two datasets have the same name, also where case does not count in file names.

    Raises
    ------
    UsageError
    """
    names = sorted((one.name for one in datasets), key=lambda name: (name.casefold(), name))
    for one, other in pairwise(names):
        if one.casefold() == other.casefold():
            both = (
                f"{one} twice"
                if one == other
                else f"{one} and {other}, which some file systems take for the same"
            )
            raise UsageError(f"--datasets names {both}: give each dataset a name of its own.")
