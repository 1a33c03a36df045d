"""Reading the tables of an output folder as data frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from nidecomp.core.errors import UsageError
from nidecomp.core.text import in_one_line, parse_json, read_text

if TYPE_CHECKING:
    import pandas as pd


GroupTable = Literal[
    "stability", "matching", "order", "datasets", "comparisons", "comparisons_edges", "amplitudes",
    "design",
]  # fmt: skip
# Those that stand in the output folder itself; others are in its logs.
_OF_COMPARISONS = ("comparisons", "comparisons_edges", "amplitudes", "design")


def component_table(output_dir: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the metrics of every component of every decomposition.

    Parameters
    ----------
    output_dir : path or Outcome
        An output folder of ``--level full``, or what `decompose` returned.

    Returns
    -------
    pandas.DataFrame
        A row for each component, with ``method``, ``scale`` and the columns of ``metrics.tsv``,
        which the JSON beside each of those files describes.

    Raises
    ------
    UsageError
        There are no such tables.
    """
    # `import nidecomp` must not wait for pandas.
    import pandas as pd  # noqa: PLC0415

    folder, frames = Path(output_dir), []
    for path in sorted(folder.glob("tpl-*/**/func/*_decomposition.json")):
        table = path.with_name(path.name.replace("_decomposition.json", "_metrics.tsv"))
        if not table.exists():
            continue
        method, scale = _method_and_scale(path)
        frame = read_frame(table)
        frame.insert(0, "method", method)
        frame.insert(1, "scale", scale)
        frames.append(frame)
    if not frames:
        raise UsageError(
            f"{folder} has no metrics of components: an output folder of nidecomp made with "
            "--level full is needed."
        )
    return pd.concat(frames, ignore_index=True)


def _method_and_scale(path: Path) -> tuple[str, int]:
    try:
        fitted = parse_json(read_text(path))
        if not isinstance(fitted, dict):
            raise ValueError("it holds no JSON object")
        return str(fitted["Method"]), int(fitted["NumberOfComponents"])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UsageError(
            f"{path} is damaged ({in_one_line(error)}): run nidecomp on that output folder again."
        ) from None


def group_table(output_dir: str | os.PathLike[str], name: GroupTable) -> pd.DataFrame:
    """Return a table about the whole group.

    Parameters
    ----------
    output_dir : path or Outcome
        An output folder, or what `decompose` returned.
    name : {"stability", "matching", "order", "datasets", "comparisons", …}
        How similar the maps of both halves of the participants are; which components of two
        decompositions match; how the number of components was chosen; what each of several
        datasets contributes to each component. Where participants were compared: what was found in
        each component (comparisons) and in each edge of connectomes (comparisons_edges), the
        amplitudes that were compared (amplitudes), and the model with the variables of each
        participant (design).

    Returns
    -------
    pandas.DataFrame
        With the columns that the JSON beside the file describes.

    Raises
    ------
    UsageError
        There is no such table; the message names those that there are.
    """
    folder = Path(output_dir)
    tables = {
        name: (folder if name in _OF_COMPARISONS else folder / "logs") / f"{name}.tsv"
        for name in get_args(GroupTable)
    }
    there_are = [name for name, path in tables.items() if path.exists()]
    if name not in there_are:
        raise UsageError(
            f"{folder} has no table {name!r}; its tables are: {', '.join(there_are) or 'none'}. "
            "stability and matching are written with --level full, order with --n-components auto, "
            "datasets with --datasets, and those of comparisons with --model."
        )
    return read_frame(tables[name])


def read_frame(path: Path) -> pd.DataFrame:
    """Return a table of an output folder as a data frame; n/a becomes NaN.

    Parameters
    ----------
    path : Path

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    UsageError
        The file cannot be read, or holds no table.
    """
    # `import nidecomp` must not wait for pandas.
    import pandas as pd  # noqa: PLC0415

    try:
        return pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read ({in_one_line(error)}): run nidecomp on that output folder "
            "again."
        ) from None
