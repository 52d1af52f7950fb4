"""Statistics of areas: each value's numbers, pixel by pixel of the files, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from kartotek import grids
from kartotek.errors import BadRequest
from kartotek.grids import BLOCK, Grid
from kartotek.stopwatch import Stopwatch
from pixels import areas, tally
from pixels.areas import MAX_READ, Outline, windows
from pixels.blocks import Blocks
from pixels.field import Field, Group, Value
from pixels.tally import Counted, Measured, Tally, Wanted


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
        level = _level(groups, outlines)
        for group in groups:
            grid = group.grid.coarser(level)
            group.coverage.check(blocks, grid, len(_touched(grid, outlines)) * BLOCK**2)
        # One after the other in the order in which they lie, so that neighbours find their blocks decoded.
        order = sorted(range(len(outlines)), key=lambda number: _corner(outlines[number], groups[0].grid))
    found: dict[int, list[dict[str, Any]]] = {}
    for number in order:
        told: dict[str, dict[str, Any]] = {}
        for group in groups:
            told |= _of_area(blocks, asked, group, outlines[number], level, wanted, watch)
        found[number] = [told[value.name] for value in asked.values]
    return [found[number] for number in range(len(outlines))]


def _level(groups: Sequence[Group], outlines: Sequence[Outline]) -> int:
    """The first level at which all that is read, and all that is counted, is no more than may be."""
    for level in range(1 + max(grids.levels(group.grid.columns, group.grid.rows) for group in groups)):
        read = counted = 0.0
        for group in groups:
            grid = group.grid.coarser(level)
            touched = _touched(grid, outlines)
            counted += sum(touched.values()) * len(group.values)
            read += group.coverage.reads([areas.block(grid, *place) for place in touched])
        if max(read, counted) <= MAX_READ:
            return level
    raise BadRequest(
        f"{read:.0f} pixels would be read and {counted:.0f} counted at the coarsest overview; at most {MAX_READ} will "
        "do: ask for fewer areas or bands at a time"
    )


def _touched(grid: Grid, outlines: Sequence[Outline]) -> Counter[tuple[int, int]]:
    """(row, column) of the blocks of a grid in which outlines lie → the pixels that are looked at in it."""
    found: Counter[tuple[int, int]] = Counter()
    for outline in outlines:
        for rows, columns in outline.touched(grid):
            size = (rows.stop - rows.start) * (columns.stop - columns.start)
            found[rows.start // BLOCK, columns.start // BLOCK] += size
    return found


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
                seen = numbers[valid if inside is None else valid & inside]
                if isinstance(tallies[value.name], Measured):
                    seen = asked.physical(value, seen)
                tallies[value.name].add(seen)
    share = outline.inside(group.grid)
    with watch.stage("render"):
        return {
            value.name: {
                "name": value.name,
                "unit": value.unit,
                "resolution": grid.resolution,
                "overview": level,
                "pixels": pixels,
                **_told(value, tallies.get(value.name, Measured(0)), pixels, share, wanted),
            }
            for value in group.values
        }


def _tally(asked: Field, value: Value, data_type: np.dtype[Any]) -> Tally:
    if data_type.kind in "iu" and data_type.itemsize <= 2:
        return Counted(data_type, *asked.packing(value))
    return Measured(tally.FITS // len(asked.values))


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
