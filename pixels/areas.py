"""Areas of which numbers are asked: where a polygon lies among pixels, and which of them have their centre in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from kartotek import footprints
from kartotek.errors import BadRequest
from kartotek.grids import BLOCK, Grid
from pixels import filled

MAX_READ = 64_000_000
"""Pixels that one answer reads, over all layers."""
SPACING = 0.005
"""Degrees after which edges are broken before they are projected: GeoJSON's are straight in longitude and latitude, and
one of 300 m bends by less than a centimetre among pixels."""
MAX_DEGREES = 1_000
"""Of the outlines of an answer within the files; a scene is two degrees wide."""
MARGIN = 0.05
"""Degrees around the files by which polygons are cut, so that what lies far away is not projected."""

Place = tuple[slice, slice]
Window = tuple[Grid, Place, NDArray[np.bool_] | None]
"""Some pixels of a grid, their (rows, columns) in it, and which of them lie in the area; None for all."""


class Outline:
    """A polygon in longitude and latitude, as far as it lies near some files; one thread's at a time."""

    def __init__(self, polygon: BaseGeometry, sources: Iterable[Grid]) -> None:
        """`polygon` is a valid Polygon or MultiPolygon, `sources` are the grids of the files.

        Raises BadRequest where its outline is longer than any that means something.
        """
        seen = [footprint(grid) for grid in dict.fromkeys(sources)]
        west, south, east, north = shapely.total_bounds(seen)
        near = shapely.box(west - MARGIN, south - MARGIN, east + MARGIN, north + MARGIN)
        self._polygon = polygon
        self._near = polygon if near.contains(polygon) else _polygons(shapely.intersection(polygon, near))
        self.length: float = self._near.length
        """In degrees."""
        check_length([self])
        self._projected: dict[str, BaseGeometry] = {}
        self._touched: dict[Grid, list[Place]] = {}

    def projected(self, crs: str) -> BaseGeometry:
        """The polygon in a CRS of the pixels, ready to be asked about many windows; empty where it lies elsewhere."""
        if crs not in self._projected:
            found = footprints.to_projected(self._near, crs, spacing=SPACING)
            shapely.prepare(found)
            self._projected[crs] = found
        return self._projected[crs]

    def bounds(self, crs: str) -> tuple[float, float, float, float]:
        """Left, bottom, right and top; NaN where it is empty."""
        left, bottom, right, top = self.projected(crs).bounds
        return left, bottom, right, top

    def inside(self, grid: Grid) -> float:
        """The share of the polygon's area that lies on a grid, from 0 to 1."""
        place = footprint(grid)
        if place.contains(self._polygon):
            return 1.0
        whole = _area(self._polygon)
        return min(1.0, _area(shapely.intersection(self._polygon, place)) / whole) if whole else 0.0

    def mask(self, target: Grid) -> NDArray[np.bool_] | None:
        """Pixels whose centre lies in the polygon; None for all of them."""
        polygon, box = self.projected(target.crs), footprints.box(target.bounds)
        if polygon.contains_properly(box):
            return None
        return filled.inside(_clipped(polygon, target), target)

    def touched(self, grid: Grid) -> Iterator[Place]:
        """(rows, columns) of the parts of a grid's blocks that may have pixels in the polygon.

        They come one by one: whoever finds them too many need not know of all. They are found once.
        """
        if grid not in self._touched:
            found = []
            for place in self._parts(grid):
                found.append(place)
                yield place
            self._touched[grid] = found
        else:
            yield from self._touched[grid]

    def _parts(self, grid: Grid) -> Iterator[Place]:
        """The same, by halves, so that those of a large grid cost no more than there are of them."""
        polygon = self.projected(grid.crs)
        if polygon.is_empty or not np.isfinite(polygon.bounds).all():
            return
        left, bottom, right, top = polygon.bounds
        rows = _span((grid.top - top) / grid.resolution, (grid.top - bottom) / grid.resolution, grid.rows)
        columns = _span((left - grid.left) / grid.resolution, (right - grid.left) / grid.resolution, grid.columns)
        pending = [(rows, columns)]
        while pending:
            rows, columns = pending.pop()
            place = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
            if not (rows and columns and polygon.intersects(footprints.box(part(grid, place).bounds))):
                continue
            halves = [(down, right) for down in _halves(rows) for right in _halves(columns)]
            if len(halves) > 1:
                pending += reversed(halves)
            else:
                yield place


def check_length(outlines: Iterable[Outline]) -> None:
    """Raises BadRequest where outlines are longer, together, than any that mean something."""
    if (length := sum(outline.length for outline in outlines)) > MAX_DEGREES:
        raise BadRequest(f"outlines of {length:.0f} degrees within the files; at most {MAX_DEGREES} will do, together")


def windows(grid: Grid, outline: Outline | None = None) -> Iterator[Window]:
    """The parts of a grid that have pixels in an area, block by block; all of the grid without one."""
    if outline is None:
        for place in _blocks(range(grid.rows), range(grid.columns)):
            yield part(grid, place), place, None
        return
    for place in outline.touched(grid):
        window = part(grid, place)
        inside = outline.mask(window)
        if inside is None or inside.any():
            yield window, place, inside


@lru_cache(maxsize=1024)
def footprint(grid: Grid) -> BaseGeometry:
    """A grid's rectangle in longitude and latitude."""
    return footprints.from_projected(footprints.box(grid.bounds), grid.crs)


def _span(first: float, last: float, count: int) -> range:
    return range(max(0, math.floor(first)), min(count, math.ceil(last)))


def _halves(span: range) -> list[range]:
    """Pixels cut in two where a block ends; one part where they are of one block."""
    first, last = span[0] // BLOCK, span[-1] // BLOCK
    if first == last:
        return [span]
    middle = BLOCK * ((first + last + 1) // 2)
    return [range(span.start, middle), range(middle, span.stop)]


def _blocks(rows: range, columns: range) -> Iterator[Place]:
    """A rectangle of pixels, cut where blocks end."""
    for top, bottom in _cut(rows):
        for left, right in _cut(columns):
            yield slice(top, bottom), slice(left, right)


def _cut(span: range) -> Sequence[tuple[int, int]]:
    if not span:
        return []
    first, last = span[0] // BLOCK, span[-1] // BLOCK
    return [(max(span[0], n * BLOCK), min(span[-1] + 1, (n + 1) * BLOCK)) for n in range(first, last + 1)]


def block(grid: Grid, row: int, column: int) -> Grid:
    """A whole block of a grid, which may reach beyond it."""
    return part(grid, (slice(row * BLOCK, (row + 1) * BLOCK), slice(column * BLOCK, (column + 1) * BLOCK)))


def part(grid: Grid, place: Place) -> Grid:
    """Some of a grid's pixels."""
    rows, columns = place
    return Grid(
        crs=grid.crs,
        left=grid.left + columns.start * grid.resolution,
        top=grid.top - rows.start * grid.resolution,
        resolution=grid.resolution,
        columns=columns.stop - columns.start,
        rows=rows.stop - rows.start,
    )


def _clipped(polygon: BaseGeometry, target: Grid) -> MultiPolygon:
    """What lies around a window, so that an outline of many positions is not followed for each."""
    bounds, step = target.bounds, target.resolution
    around = bounds.left - step, bounds.bottom - step, bounds.right + step, bounds.top + step
    try:
        found = shapely.clip_by_rect(polygon, *around)
    except ShapelyError:  # a polygon whose edges have come to cross in the CRS
        found = polygon
    return _polygons(found)


def _polygons(area: BaseGeometry) -> MultiPolygon:
    """The polygons among what an area has come to be."""
    return MultiPolygon([part for part in shapely.get_parts(area) if isinstance(part, Polygon)])


def _area(polygon: BaseGeometry) -> float:
    """In a cylindrical equal-area projection of the sphere; good for shares."""
    dense = footprints.dense(polygon, max(0.1, polygon.length / 100_000))
    moved = shapely.transform(dense, lambda x, y: (x, np.degrees(np.sin(np.radians(y)))), interleaved=False)
    return float(moved.area)
