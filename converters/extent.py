"""The polygon of the pixels that have data, gathered band by band while a scene is converted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import rasterio.features
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from kartotek import footprints
from kartotek.grids import Grid
from kartotek.product import Product

PIXEL = 20
"""Metres: cells of the mask in which bands of 10, 20 and 60 m are brought together."""
LOSS = 0.006
"""Share of the area that is to be given away for a simple outline."""
MOST = 0.0085
"""Share of the area that may be given away: the promise is 1 %, and cells of 20 m along the rim cost some of it."""
SHIFT = 150
"""Metres that an edge is moved inwards at most: stairs of 60 m pixels are smoothed, and no more is given away."""
SPECK = 1e-4
"""Share of the area below which a hole or an island is overlooked."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a scene has data, whole: nothing is cut at 180 degrees or at a pole yet."""

    ring: BaseGeometry
    crs: str
    """Of the ring's coordinates: that of the scene's pixels."""
    spacing: float
    """Units of the CRS between points of an edge, where it becomes one of longitude and latitude."""

    def footprint(self) -> Polygon | MultiPolygon:
        """The same in longitude and latitude."""
        if self.ring.is_empty:
            return Polygon()
        return footprints.from_projected(self.ring, self.crs, spacing=self.spacing)


NOWHERE = Outline(Polygon(), "", 0)
"""Of a scene without data."""


STATED = 20_000
"""Metres between points of a stated edge: it bends by up to 20 m."""


def stated(product: Product) -> Outline | None:
    """Where the metadata says that a product has data; None where it tells of no pixels.

    The agency gives a whole granule by its four corners, which are straight lines in the CRS of its pixels, and up to
    500 m beside them in degrees: so corners alone are moved there. What lies beyond the pixels is cut off. Where the
    footprint is not told, is cut, or misses the pixels, these are all that is known.
    """
    if not product.layers:
        return None
    crs = product.layers[0].grid.crs
    pixels = shapely.union_all([footprints.box(layer.grid.bounds) for layer in product.layers])
    told = product.footprint
    if told is None or told.is_empty or footprints.is_cut(told):
        return Outline(pixels, crs, STATED)
    seen = shapely.make_valid(footprints.to_projected(told, crs, spacing=math.inf)) & pixels
    parts = [part for part in shapely.get_parts(seen) if isinstance(part, Polygon) and part.area > 0]
    return Outline(shapely.union_all(parts) if parts else pixels, crs, STATED)


@dataclass(slots=True)
class Extent:
    """Where all bands of a scene have data."""

    _mask: NDArray[np.bool_] | None = field(default=None)
    _grid: Grid | None = field(default=None)

    def add(self, valid: NDArray[np.bool_], grid: Grid) -> None:
        """Take into account where a band has data, (rows, columns); where it has none, the scene has none."""
        if grid.resolution < PIXEL and PIXEL % grid.resolution == 0:
            factor = int(PIXEL // grid.resolution)
            rows, columns = -(-grid.rows // factor) * factor, -(-grid.columns // factor) * factor
            if (rows, columns) != valid.shape:
                valid = np.pad(valid, ((0, rows - grid.rows), (0, columns - grid.columns)))
            cells = valid[0::factor, 0::factor].copy()
            for row in range(factor):
                for column in range(factor):
                    cells &= valid[row::factor, column::factor]
            valid = cells
            grid = _with_size(grid, PIXEL, cells.shape)
        elif grid.resolution > PIXEL and grid.resolution % PIXEL == 0:
            factor = int(grid.resolution // PIXEL)
            valid = valid.repeat(factor, axis=0).repeat(factor, axis=1)
            grid = _with_size(grid, PIXEL, valid.shape)
        if self._mask is None or self._grid is None:
            self._mask, self._grid = valid, grid
            return
        if grid.resolution != self._grid.resolution:
            return  # bands of odd resolutions lie on no common cells; the first one speaks for them
        down = round((self._grid.top - grid.top) / grid.resolution)
        right = round((grid.left - self._grid.left) / grid.resolution)
        covered = np.zeros_like(self._mask)
        mine, theirs = _overlap(covered.shape, valid.shape, down, right)
        covered[mine] = valid[theirs]
        self._mask &= covered

    def outline(self) -> Outline:
        """The outline: inside the valid pixels, and less than 1 % smaller than they are.

        Empty where no pixel is valid in all bands, or all that are lie in specks.
        """
        if self._mask is None or self._grid is None or not self._mask.any():
            return NOWHERE
        shapes = rasterio.features.shapes(
            self._mask.astype(np.uint8), mask=self._mask, transform=Affine(*self._grid.transform)
        )
        parts = [shapely.geometry.shape(shape) for shape, _ in shapes]
        area = sum(part.area for part in parts)
        parts = [_without_specks(part, area * SPECK) for part in parts if part.area > area * SPECK]
        if not parts:
            return NOWHERE
        outline = shapely.union_all(parts)
        # Stairs of pixels along a slanting edge would count as a long rim: measured without them.
        rim = shapely.simplify(outline, SHIFT).length
        tolerance = min(LOSS * outline.area / rim, SHIFT)
        # By less where many small steps cost more than a straight rim would.
        while (simple := _simplified(outline, tolerance)).area < (1 - MOST) * area and tolerance > 1:
            tolerance *= 0.85
        # An edge of d km bends by up to 0.05 d² metres between SWEREF 99 TM and degrees (at 68 N).
        spacing = 1000 * np.sqrt(tolerance / 4 / 0.05)
        return Outline(simple, self._grid.crs, float(spacing))


def _simplified(outline: BaseGeometry, tolerance: float) -> BaseGeometry:
    """The outline simplified, and shrunk first by as much as that and the bend may move an edge."""
    return shapely.simplify(shapely.buffer(outline, -1.25 * tolerance, join_style="mitre"), tolerance)


def _with_size(grid: Grid, resolution: int, shape: tuple[int, ...]) -> Grid:
    return Grid(crs=grid.crs, left=grid.left, top=grid.top, resolution=resolution, columns=shape[1], rows=shape[0])


def _overlap(
    mine: tuple[int, ...], theirs: tuple[int, ...], down: int, right: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The windows of two rasters in which they overlap; the second one's corner lies at (down, right) in the first."""
    top, left = max(0, down), max(0, right)
    bottom, edge = max(top, min(mine[0], down + theirs[0])), max(left, min(mine[1], right + theirs[1]))
    return (
        (slice(top, bottom), slice(left, edge)),
        (slice(top - down, bottom - down), slice(left - right, edge - right)),
    )


def _without_specks(part: Polygon, smallest: float) -> Polygon:
    """The polygon without holes that are smaller than an area."""
    return Polygon(part.exterior, [ring for ring in part.interiors if Polygon(ring).area >= smallest])
