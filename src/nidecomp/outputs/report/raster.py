"""Pictures made of arrays: text, and the formats of files."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
INK, SOFT, PAPER = (27, 31, 36), (96, 104, 114), (255, 255, 255)


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return matplotlib's font, which has the letters of many languages, without importing it."""
    found = find_spec("matplotlib")
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            # The simple layout is the same wherever libraqm is not installed.
            return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


def width_of(text: str, size: int) -> int:
    """Return the width of a line of text in pixels."""
    return int(font(size).getlength(text)) + 1


def shortened(text: str, size: int, width: int) -> str:
    """Return a text that is no wider than a number of pixels."""
    if width_of(text, size) <= width:
        return text
    while text and width_of(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def write(
    picture: Image.Image,
    place: tuple[float, float],
    text: str,
    *,
    size: int = 13,
    colour: Colour = INK,
    anchor: str = "la",
) -> None:
    """Write a line of text on a picture; `anchor` as Pillow has it, ``la`` for left and top."""
    ImageDraw.Draw(picture).text(place, text, fill=colour, font=font(size), anchor=anchor)


def written_upwards(text: str, size: int, colour: Colour = INK) -> Image.Image:
    """Return a picture of a line of text that runs upwards, white on black where it is inked."""
    flat = Image.new("RGB", (width_of(text, size), size + 4), PAPER)
    write(flat, (0, 1), text, size=size, colour=colour)
    return flat.transpose(Image.Transpose.ROTATE_90)


def as_png(picture: Image.Image) -> bytes:
    """Return a PNG file without anything but its pixels."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def as_webp(picture: Image.Image) -> bytes:
    """Return a WebP file for the page."""
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80, method=2)
    return file.getvalue()
