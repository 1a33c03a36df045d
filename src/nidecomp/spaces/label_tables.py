"""Tables of labels as GIFTI and CIFTI hold them: numbers, names and colours."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

# Neighbouring numbers get colours that are far apart: the golden section of the colour circle.
_TURN = 0.61803398875
_SATURATIONS, _BRIGHTNESSES = (0.85, 0.55), (0.95, 0.7)


@dataclass(frozen=True)
class Label:
    """A label of a parcellation.

    Parameters
    ----------
    key : int
        Its number in the file.
    name : str
    colour : tuple of float
        Red, green and blue, from 0 to 1.
    """

    key: int
    name: str
    colour: tuple[float, float, float]


def label_table(names: Sequence[str]) -> tuple[Label, ...]:
    """Return labels from 1 with their names, and colours that tell them apart.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    tuple of Label
    """
    return tuple(
        Label(
            key,
            name,
            colorsys.hsv_to_rgb(
                key * _TURN % 1, _SATURATIONS[key % 2], _BRIGHTNESSES[key // 2 % 2]
            ),
        )
        for key, name in enumerate(names, start=1)
    )


def as_xml(labels: Sequence[Label]) -> str:
    """Return the element of a table of labels, with 0 for what has none."""
    rows = ['<Label Key="0" Red="1" Green="1" Blue="1" Alpha="0">???</Label>']
    for one in labels:
        red, green, blue = (f"{part:.6g}" for part in one.colour)
        rows.append(
            f'<Label Key="{one.key}" Red="{red}" Green="{green}" Blue="{blue}" Alpha="1">'
            f"{escaped(one.name)}</Label>"
        )
    return f"<LabelTable>{''.join(rows)}</LabelTable>"


def escaped(text: str) -> str:
    """Return text as it stands in XML."""
    return quoteattr(text, {'"': "&quot;"})[1:-1]
