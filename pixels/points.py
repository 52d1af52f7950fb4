"""The numbers at a place: of each layer the pixel of full resolution that holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import Point

from kartotek import grids
from kartotek.errors import NotFound
from kartotek.grids import BLOCK, Grid
from kartotek.nodata import held, present
from kartotek.stopwatch import Stopwatch
from pixels import warp
from pixels.blocks import Block, Blocks
from pixels.composite import Composite
from pixels.field import Value
from pixels.numbers import Numbers
from pixels.warp import Pixels, Source


def at(blocks: Blocks, numbers: Numbers, x: float, y: float, crs: str, watch: Stopwatch) -> list[dict[str, Any]]:
    """What each value is at a place, as JSON tells it; easting or longitude first, whatever the CRS says.

    All layers are read at once, a block of each. Raises NotFound where the place lies in none of the files, and as
    `warp.files`.
    """
    names = numbers.names(numbers.values)
    with watch.stage("index"):
        places = {name: _pixel(numbers.sources[name], x, y, crs) for name in names}
        if not any(places.values()):
            raise NotFound(f"{x:.9g},{y:.9g} in {crs} lies outside of the item's files")
        wanted = {
            name: Block(numbers.sources[name].key, 0, _block(numbers.sources[name], *place))
            for name, place in places.items()
            if place is not None
        }
        known = warp.files(blocks, (numbers.sources[name] for name in wanted))
    with blocks.at_work():
        found = blocks.read(dict.fromkeys(wanted.values()), known, watch)
    with watch.stage("render"):
        read: dict[str, Pixels] = {}
        for name, place in places.items():
            source = numbers.sources[name]
            if place is None:
                read[name] = np.zeros(1), np.zeros(1, np.bool_)
                continue
            row, column = place
            block = found[wanted[name]]
            number = block[source.band, row % BLOCK, column % BLOCK].reshape(1)
            read[name] = number, _valid(number, source)
        pixels = numbers.measured(numbers.values, read)
        return [_told(numbers, value, *one) for value, one in zip(numbers.values, pixels, strict=True)]


def in_degrees(x: float, y: float, crs: str) -> Point:
    """A place in longitude and latitude. Raises NotFound where PROJ can't reach it."""
    x, y = grids.transformer(crs, "EPSG:4326").transform(x, y)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise NotFound("the place has no longitude and latitude")
    return Point(x, y)


def of_several(
    blocks: Blocks, composite: Composite, x: float, y: float, crs: str, watch: Stopwatch
) -> tuple[list[dict[str, Any]], int]:
    """What each value of a mosaic is at a place, and of which item, by its number, -1 where none has all values there;
    of medians, of how many items they are. Raises NotFound where PROJ can't reach the place."""
    own = composite.grid
    if not grids.same_pixels(crs, own.crs):
        x, y = grids.transformer(crs, own.crs).transform(x, y)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise NotFound("the place lies outside of the mosaic's files")
    # One pixel around the place, in which the files' own are those that hold it.
    half = own.resolution / 2
    pixel = Grid(crs=own.crs, left=x - half, top=y + half, resolution=own.resolution, columns=1, rows=1)
    read, source = composite.sourced(blocks, composite.values, pixel, watch)
    told = []
    for value, (found, valid) in zip(composite.values, read, strict=True):
        one: dict[str, Any] = {"name": value.name, "value": None, "unit": value.unit}
        if valid.any():
            one["value"] = float(found[0, 0])
        if value.classes:
            one["class"] = dict(value.classes).get(int(found[0, 0])) if valid.any() else None
        told.append(one)
    return told, int(source[0, 0])


def _valid(number: NDArray[Any], source: Source) -> NDArray[np.bool_]:
    valid = present(number, held(source.nodata, number.dtype))
    return valid & ~np.isnan(number) if number.dtype.kind == "f" else valid


def _pixel(source: Source, x: float, y: float, crs: str) -> tuple[int, int] | None:
    """(row, column) of the pixel that holds a place; None outside of the file, and where PROJ can't reach it."""
    grid = source.grid
    if not grids.same_pixels(crs, grid.crs):
        x, y = grids.transformer(crs, grid.crs).transform(x, y)
    row, column = (grid.top - y) / grid.resolution, (x - grid.left) / grid.resolution
    if not (0 <= row < grid.rows and 0 <= column < grid.columns):  # infinity and NaN are outside too
        return None
    return math.floor(row), math.floor(column)


def _block(source: Source, row: int, column: int) -> int:
    return row // BLOCK * -(-source.grid.columns // BLOCK) + column // BLOCK


def _told(numbers: Numbers, value: Value, found: Any, valid: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"name": value.name, "value": None, "unit": value.unit}
    if isinstance(value.of, str):
        told |= {"number": None, "resolution": numbers.sources[value.of].grid.resolution}
    if value.classes:
        told["class"] = None
    if not valid[0]:
        return told
    if isinstance(value.of, str):
        told["number"] = found[0].item()
    told["value"] = float(numbers.physical(value, found)[0])
    if value.classes:
        labels: Mapping[int, str] = dict(value.classes)
        told["class"] = labels.get(int(found[0]))
    return told
