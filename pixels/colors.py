"""Colours of values: colour maps by name, and those of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from cmap import Colormap
from numpy.typing import NDArray

from kartotek.errors import BadRequest

COLOR_MAPS: Mapping[str, str] = MappingProxyType(
    {
        name.lower(): f"{family}:{name}"
        for family, names in (
            ("bids", "viridis plasma inferno magma"),
            ("cividis", "cividis"),
            ("google", "turbo"),
            ("matlab", "gray"),
            ("matplotlib", "terrain"),
            ("colorbrewer", "Greys Blues Greens Oranges Purples Reds YlGn YlGnBu YlOrBr YlOrRd"),
            ("colorbrewer", "BrBG PiYG PRGn PuOr RdBu RdYlBu RdYlGn Spectral"),
            ("cmocean", "algae deep dense haline ice matter rain speed tempo thermal turbid balance delta"),
        )
        for name in names.split()
    }
)
"""Name → the one in `cmap`'s catalogue; each can be had reversed, with `_r` behind its name."""

Table = NDArray[np.uint8]
"""(256, 4): red, green, blue and alpha of 256 values, from the lowest to the highest, or of as many classes."""


def color_map(name: str) -> Table:
    """The colours of a colour map, whatever capitals its name is written in. Raises BadRequest for an unknown name.

    >>> color_map("viridis")[0].tolist(), color_map("Viridis_R")[-1].tolist()
    ([68, 1, 84, 255], [68, 1, 84, 255])
    """
    wanted = name.lower()
    reverse = wanted.endswith("_r")
    known = COLOR_MAPS.get(wanted.removesuffix("_r"))
    if known is None:
        shown = repr(name if len(name) <= 40 else f"{name[:37]}...")
        raise BadRequest(f"no colour map {shown}; there are, each with _r too: {', '.join(sorted(COLOR_MAPS))}")
    return _table(known, reverse)


def known(name: str) -> str:
    """The name of a colour map as we write it. Raises as `color_map`."""
    color_map(name)
    return name.lower()


@cache  # no more than there are names
def _table(known: str, reverse: bool) -> Table:
    found: Table = np.rint(np.asarray(Colormap(known).lut(256)) * 255).astype(np.uint8)[:: -1 if reverse else 1]
    found.setflags(write=False)
    return found


def span(low: float, high: float) -> float:
    """From one limit of colours to the other; below zero where they are reversed. Raises BadRequest where that is
    nothing or not finite."""
    found = high - low
    if not math.isfinite(found) or found == 0:
        raise BadRequest(f"colours from {low} to {high}; two limits that are finite and differ will do")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassColor:
    """One code of a class layer and how it is shown."""

    value: int
    label: str
    color: tuple[int, int, int]
    """Red, green and blue."""


def class_colors(classes: Sequence[Mapping[str, Any]]) -> tuple[ClassColor, ...]:
    """The classes that are shown, of STAC's `classification:classes`; not those that mean no data.

    One without a `color_hint` has a colour of a qualitative map. Raises ValueError where a class is not as STAC's
    extension has it, or its code is beyond 255.

    >>> class_colors([{"value": 4, "description": "Vegetation", "color_hint": "00A000"}])
    (ClassColor(value=4, label='Vegetation', color=(0, 160, 0)),)
    """
    return tuple(_class_color(one) for one in classes if not one.get("nodata"))


def _class_color(one: Mapping[str, Any]) -> ClassColor:
    value = one.get("value")
    if not isinstance(value, int) or not 0 <= value <= 255:
        raise ValueError(f"class {value!r} is no whole number from 0 to 255")
    hint = one.get("color_hint")
    try:
        red, green, blue = bytes.fromhex(hint) if hint else _QUALITATIVE[value % len(_QUALITATIVE)]
    except (TypeError, ValueError):
        raise ValueError(f"color_hint of class {value} is {hint!r}, not six hexadecimal digits") from None
    label = one.get("title") or one.get("description") or one.get("name") or value
    return ClassColor(value=value, label=str(label), color=(red, green, blue))


_QUALITATIVE = [bytes.fromhex(color.hex[1:7]) for color in Colormap("colorbrewer:Paired_12").iter_colors()]


def class_table(classes: Sequence[ClassColor]) -> Table:
    """The colours of codes: transparent for those that are no class."""
    found = np.zeros((256, 4), np.uint8)
    for one in classes:
        found[one.value] = *one.color, 255
    return found
