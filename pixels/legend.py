"""Legends: what colours mean, for programs as JSON and for people as PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kartotek.errors import BadRequest
from pixels.colors import ClassColor, color_map, span

MAX_TEXT = 48
"""Characters of a title or a label; what is longer is cut."""
MAX_CLASSES = 64
SCALES = (1, 2)
"""Pixels of the picture per pixel of a screen: 2 for fine ones."""

_ENTRIES = 9
_EDGE, _LINE, _BAR_WIDTH, _BAR_HEIGHT, _SWATCH = 8, 20, 320, 16, 14
_TEXT_SIZE = 14
_PAPER, _INK, _FRAME = (255, 255, 255), (32, 32, 32), (128, 128, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value and its colour."""

    value: float
    label: str
    color: tuple[int, int, int]
    """Red, green and blue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """What the colours of a picture mean."""

    title: str
    unit: str | None = None
    entries: tuple[Entry, ...]
    """Of a colour map some, equally far from each other; of classes all."""
    colors: str | None = None
    """The colour map, from the first entry's value to the last one's; None of classes."""
    gamma: float = 1.0
    """By which the colours between these are moved."""

    @property
    def strip(self) -> NDArray[np.uint8]:
        """RGBA of 256 values as far from each other, of a colour map."""
        places = np.linspace(0, 1, 256) ** (1 / self.gamma)
        found: NDArray[np.uint8] = color_map(str(self.colors))[np.rint(places * 255).astype(np.intp)]
        return found


def of_values(
    colors: str, low: float, high: float, *, title: str, unit: str | None = None, gamma: float = 1.0
) -> Legend:
    """The legend of values between two limits in the colours of a colour map, as `Style.gamma` moves them.

    Raises BadRequest for an unknown map, and for limits that `colors.span` refuses.
    """
    made = Legend(title=title, unit=unit, entries=(), colors=colors.lower(), gamma=gamma)
    table = made.strip
    step = span(low, high) / (_ENTRIES - 1)
    entries = []
    for number in range(_ENTRIES):
        # Twelve digits: 0.1125, and not 0.11249999999999999.
        value = float(f"{low + number * step:.12g}") if 0 < number < _ENTRIES - 1 else (low if number == 0 else high)
        red, green, blue = (int(channel) for channel in table[round(number * 255 / (_ENTRIES - 1)), :3])
        entries.append(Entry(value=value, label=_label(value, step), color=(red, green, blue)))
    return replace(made, entries=tuple(entries))


def _label(value: float, step: float) -> str:
    """A value with as many digits as its neighbours differ by.

    >>> _label(-0.25, 0.25), _label(0.1125, 0.0375), _label(12345.6, 3000), _label(2e-9, 1e-9)
    ('-0.25', '0.1125', '12346', '2e-09')
    """
    if not 1e-5 < abs(step) < 1e6:
        return f"{value:.4g}"
    decimals = max(0, 2 - math.floor(math.log10(abs(step))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def of_classes(classes: Sequence[ClassColor], *, title: str) -> Legend:
    """The legend of classes."""
    return Legend(
        title=title, entries=tuple(Entry(value=one.value, label=one.label, color=one.color) for one in classes)
    )


def to_dict(legend: Legend) -> dict[str, Any]:
    """The legend for JSON; colours as #rrggbb.

    >>> to_dict(of_classes([ClassColor(value=6, label="Water", color=(0, 0, 255))], title="Classes"))
    {'title': 'Classes', 'entries': [{'value': 6, 'label': 'Water', 'color': '#0000ff'}]}
    """
    found: dict[str, Any] = {"title": legend.title}
    if legend.unit:
        found["unit"] = legend.unit
    if legend.colors:
        found |= {"colors": legend.colors, "low": legend.entries[0].value, "high": legend.entries[-1].value}
        found |= {"gamma": legend.gamma} if legend.gamma != 1 else {}
    found["entries"] = [
        {"value": entry.value, "label": entry.label, "color": f"#{bytes(entry.color).hex()}"}
        for entry in legend.entries
    ]
    return found


def to_png(legend: Legend, *, scale: int = 1) -> bytes:
    """The legend as a PNG, dark on white; of a colour map a bar with five values below, of classes a line each.

    Raises BadRequest for another scale than those of `SCALES`, or for more than `MAX_CLASSES` classes.
    """
    if scale not in SCALES:
        raise BadRequest(f"legend at scale {scale}; {' or '.join(map(str, SCALES))} will do")
    if len(legend.entries) > MAX_CLASSES:
        raise BadRequest(f"legend of {len(legend.entries)} classes; at most {MAX_CLASSES} are drawn")
    draw = _bar if legend.colors else _list
    file = io.BytesIO()
    draw(legend, scale).save(file, "PNG", optimize=True)
    return file.getvalue()


def _bar(legend: Legend, scale: int) -> Image.Image:
    font = _font(scale)
    labels = [entry.label for entry in legend.entries[::2]]
    # Labels of the ends reach beyond the bar.
    beside = max(_EDGE * scale, *(int(font.getlength(label) / 2) + 2 * scale for label in (labels[0], labels[-1])))
    width, height = _BAR_WIDTH * scale, _BAR_HEIGHT * scale
    title = _cut(f"{legend.title} ({legend.unit})" if legend.unit else legend.title)
    across = max(width + 2 * beside, int(font.getlength(title)) + 2 * _EDGE * scale)
    top = (_EDGE + _LINE) * scale
    image, draw = _paper(across, top + height + (_LINE + _EDGE) * scale)
    left = (across - width) // 2
    draw.text((left, _EDGE * scale), title, fill=_INK, font=font)
    strip = Image.fromarray(legend.strip[None, :, :3]).resize((width, height), Image.Resampling.NEAREST)
    image.paste(strip, (left, top))
    draw.rectangle((left, top, left + width - 1, top + height - 1), outline=_FRAME, width=scale)
    for number, label in enumerate(labels):
        at = left + width * number / (len(labels) - 1)
        draw.text((at, top + height + 4 * scale), label, fill=_INK, font=font, anchor="ma")
    return image


def _list(legend: Legend, scale: int) -> Image.Image:
    font = _font(scale)
    title, labels = _cut(legend.title), [_cut(entry.label) for entry in legend.entries]
    indent = (_EDGE + _SWATCH + 6) * scale
    across = max(
        int(font.getlength(title)) + _EDGE * scale, *(int(font.getlength(label)) + indent for label in labels), 0
    )
    image, draw = _paper(across + _EDGE * scale, (2 * _EDGE + _LINE * (len(labels) + 1)) * scale)
    draw.text((_EDGE * scale, _EDGE * scale), title, fill=_INK, font=font)
    for number, (entry, label) in enumerate(zip(legend.entries, labels, strict=True), start=1):
        top = (_EDGE + _LINE * number) * scale
        box = (_EDGE * scale, top, (_EDGE + _SWATCH) * scale - 1, top + _SWATCH * scale - 1)
        draw.rectangle(box, fill=entry.color, outline=_FRAME, width=scale)
        draw.text((indent, top + _SWATCH * scale // 2), label, fill=_INK, font=font, anchor="lm")
    return image


def _paper(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height), _PAPER)
    return image, ImageDraw.Draw(image)


@cache
def _font(scale: int) -> ImageFont.FreeTypeFont:
    """Source Sans Pro: Pillow's own font lacks letters such as å."""
    files = resources.files("font_source_sans_pro")
    return ImageFont.truetype(io.BytesIO((files / "files/SourceSansPro-Regular.ttf").read_bytes()), _TEXT_SIZE * scale)


def _cut(text: str) -> str:
    """On one line, and not longer than there is room for."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."
