"""Statistics of areas: each value's numbers, pixel by pixel of the files, block by block."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from kartotek import grids
from kartotek.errors import BadRequest
from kartotek.grids import BLOCK, Grid
from kartotek.stopwatch import Stopwatch
from pixels import areas, tally
from pixels.areas import MAX_READ, Outline, Place, windows
from pixels.blocks import Blocks
from pixels.field import Field, Group, Value
from pixels.tally import Counted, Measured, Tally, Wanted

LEAST = 1 << 12
"""Pixels that a part of a block counts as at least: so many take no longer than to look at it at all."""


def of_areas(
    blocks: Blocks, asked: Field, polygons: Sequence[BaseGeometry], wanted: Wanted, watch: Stopwatch
) -> list[list[dict[str, Any]]]:
    """The statistics of each value in each polygon, as JSON tells them.

    A pixel counts if its centre lies in the polygon. Each value is looked at on the grid of its finest layer, or on
    that of an overview, 2^n times as wide, where all polygons together would read more than `MAX_READ` pixels. Raises
    BadRequest where no overview is coarse enough, or files that are not ours have none; nothing is opened before the
    first is known.
    """
    with watch.stage("index"):
        groups = asked.groups()
        places = list(dict.fromkeys(grid for group in groups for grid in group.coverage.places))
        outlines = [Outline(polygon, places) for polygon in polygons]
        areas.check_length(outlines)
        level = _level(asked, groups, outlines)
        for group in groups:
            grid = group.grid.coarser(level)
            touched = {_block(place) for outline in outlines for place in outline.touched(grid)}
            group.coverage.check(blocks, grid, len(touched) * BLOCK**2)
        # One after the other in the order in which they lie, so that neighbours find their blocks decoded.
        order = sorted(range(len(outlines)), key=lambda number: _corner(outlines[number], groups[0].grid))
    found: dict[int, list[dict[str, Any]]] = {}
    for number in order:
        told: dict[str, dict[str, Any]] = {}
        for group in groups:
            told |= _of_area(blocks, asked, group, outlines[number], level, wanted, watch)
        found[number] = [told[value.name] for value in asked.values]
    return [found[number] for number in range(len(outlines))]


def _level(asked: Field, groups: Sequence[Group], outlines: Sequence[Outline]) -> int:
    """The first level at which all that is read, and all that is counted, is no more than may be."""
    for level in range(1 + max(grids.levels(group.grid.columns, group.grid.rows) for group in groups)):
        if (work := sum(_work(asked, group, outlines, level) for group in groups)) <= MAX_READ:
            return level
    what = f"{work:.0f} pixels" if math.isfinite(work) else "too many pixels"
    raise BadRequest(
        f"{what} would be read or counted at the coarsest overview; at most {MAX_READ} will do: ask for fewer areas or "
        "bands at a time"
    )


def _work(asked: Field, group: Group, outlines: Sequence[Outline], level: int) -> float:
    """How many pixels are read, or counted if these are more; infinite where it need not be known how many.

    Whole blocks are read once for all areas, but in a mosaic the items of each place are put together for each of them.
    """
    grid, counted = group.grid.coarser(level), 0.0
    touched: dict[tuple[int, int], Grid] = {}
    parts: list[Grid] = []
    for outline in outlines:
        for place in outline.touched(grid):
            number, window = _block(place), areas.part(grid, place)
            touched.setdefault(number, areas.block(grid, *number))
            counted += len(group.values) * max(LEAST, window.rows * window.columns)
            if counted > MAX_READ:
                return math.inf
            parts.append(window)
    whole, each = group.coverage.reads(touched.values()), group.coverage.reads(parts, least=LEAST)
    return max(counted, whole, each * asked.effort)


def _block(place: Place) -> tuple[int, int]:
    """The (row, column) of the block that some pixels are of."""
    rows, columns = place
    return rows.start // BLOCK, columns.start // BLOCK


def _corner(outline: Outline, grid: Grid) -> tuple[int, int]:
    left, _, _, top = outline.bounds(grid.crs)
    if not np.isfinite([left, top]).all():
        return 0, 0
    return int((grid.top - top) / grid.resolution // BLOCK), int((left - grid.left) / grid.resolution // BLOCK)


def _of_area(
    blocks: Blocks,
    asked: Field,
    group: Group,
    outline: Outline,
    level: int,
    wanted: Wanted,
    watch: Stopwatch,
) -> Mapping[str, dict[str, Any]]:
    """Value's name → its statistics in one polygon."""
    grid, pixels = group.grid.coarser(level), 0
    tallies: dict[str, Tally] = {}
    for window, _, inside in windows(grid, outline):
        pixels += window.rows * window.columns if inside is None else int(inside.sum())
        read = asked.read(blocks, group.values, window, watch)
        with watch.stage("render"):
            for value, (numbers, valid) in zip(group.values, read, strict=True):
                if value.name not in tallies:
                    tallies[value.name] = _tally(asked, value, numbers.dtype)
                tallies[value.name].add(numbers, valid if inside is None else valid & inside)
    share = outline.inside(group.grid)
    with watch.stage("render"):
        return {
            value.name: {
                "name": value.name,
                "unit": value.unit,
                "resolution": grid.resolution,
                "overview": level,
                "pixels": pixels,
                **_told(value, tallies.get(value.name) or Measured(0, np.asarray), pixels, share, wanted),
            }
            for value in group.values
        }


def _tally(asked: Field, value: Value, data_type: np.dtype[Any]) -> Tally:
    if data_type.kind in "iu" and data_type.itemsize <= 2:
        return Counted(data_type, *asked.packing(value))
    return Measured(tally.FITS // len(asked.values), partial(asked.physical, value))


def _told(value: Value, found: Tally, pixels: int, share: float, wanted: Wanted) -> dict[str, Any]:
    head = {"count": found.count, "valid_share": found.count / pixels * share if pixels else 0.0}
    if not value.classes:
        return {**head, **tally.told(found, wanted)}
    # A mean of codes means nothing.
    counts = found.codes if isinstance(found, Counted) else {}
    names = dict(value.classes)
    classes = [
        {"code": code, "name": names.get(code), "count": count, "share": count / found.count}
        for code, count in counts.items()
    ]
    return {**head, "classes": classes}
