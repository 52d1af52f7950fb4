"""Where the pixels of a layer go on the grid of our files.

Zone 33 is copied, pixel for pixel. Other zones are resampled once: bilinear for measurements, nearest for classes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from kartotek import fast, footprints, grids, nodata, sampling
from kartotek.grids import Bounds, Grid
from kartotek.product import Kind, LayerType

BESIDE = 2
"""Rows of the source beside those that places fall into, which a bilinear value may need."""


def target(source: Grid, crs: str) -> Grid:
    """The grid that pixels of `source` get in `crs`: the same pixels where they can be copied, else nearby ones."""
    if copies(source, crs):
        if grids.aligned(source):
            return grids.snapped(crs, source.resolution, source.bounds)
        return grids.padded(source)
    size, moved = resolution(source, crs), outline(source, crs)
    # A pixel more, since the outline bends by up to a metre between its points.
    wide = Bounds(moved.left - size, moved.bottom - size, moved.right + size, moved.top + size)
    return grids.snapped(crs, size, wide)


def resolution(source: Grid, crs: str) -> float:
    """The pixel size of a warp to `crs`, in its units: the source's in metres, or as many degrees at the equator."""
    metres = max(1, round(source.resolution))
    return metres / grids.unit(crs)


def outline(source: Grid, crs: str) -> Bounds:
    """The bounds of `source` in `crs`; not finite where the CRS does not reach there."""
    edge = shapely.segmentize(footprints.box(source.bounds), 5_000)
    change = grids.transformer(source.crs, crs)
    moved = shapely.transform(edge, lambda x, y: change.transform(x, y), interleaved=False)
    return Bounds(*moved.bounds)


def copies(source: Grid, crs: str) -> bool:
    """Whether pixels go to `crs` unchanged."""
    return source.crs == crs or (grids.same_pixels(source.crs, crs) and grids.aligned(source))


@lru_cache(maxsize=1)
def _lattice(target: Grid, source: Grid) -> sampling.Lattice:
    """Shared by all layers of a resolution, which are converted one after the other."""
    return sampling.Lattice.between(target, source)


class Placing:
    """How pixels of a layer come onto their grid in a CRS, with nodata around them."""

    def __init__(self, source: Grid, kind: LayerType, crs: str) -> None:
        self.kind, self.grid, self.resampled = kind, target(source, crs), not copies(source, crs)
        self._source = source
        self._down = round((self.grid.top - source.top) / source.resolution)
        self._right = round((source.left - self.grid.left) / source.resolution)

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """The rows of the source, from the first to the one after the last, that some rows of the grid are made of."""
        if not self.resampled:
            return max(0, start - self._down), max(0, min(stop - self._down, self._source.rows))
        lattice, points = _lattice(self.grid, self._source), slice(*_points(slice(start, stop)))
        rows, columns = lattice.rows[points], lattice.columns[points]
        rows = rows[np.isfinite(rows) & _near(columns, self._source.columns)]
        if not rows.size:
            return 0, 0
        first, last = np.clip([rows.min() - BESIDE, rows.max() + BESIDE + 1], 0, self._source.rows)
        return int(first), int(last)

    def block(self, pixels: NDArray[Any], rows: slice, columns: slice) -> NDArray[Any]:
        """The pixels of a window of the grid, (bands, rows, columns), made of the source's; not to be written to.

        The window's left edge is a multiple of `sampling.STEP`.
        """
        if not self.resampled:
            return self._copied(pixels, rows, columns)
        lattice = _lattice(self.grid, self._source)
        points = slice(*_points(rows)), slice(*_points(columns))
        near = _near(lattice.columns[points], self._source.columns) & _near(lattice.rows[points], self._source.rows)
        down, across = _between(near, 0, rows), _between(near, 1, columns)
        found = self._sampled(pixels, lattice, down, across)
        if (down, across) == (rows, columns):
            return found
        result = np.full(
            (len(pixels), rows.stop - rows.start, columns.stop - columns.start), self.kind.nodata, pixels.dtype
        )
        part = slice(down.start - rows.start, down.stop - rows.start)
        result[:, part, across.start - columns.start : across.stop - columns.start] = found
        return result

    def _sampled(self, pixels: NDArray[Any], lattice: sampling.Lattice, rows: slice, columns: slice) -> NDArray[Any]:
        """Each pixel of a window of the grid."""
        result = np.empty((len(pixels), rows.stop - rows.start, columns.stop - columns.start), pixels.dtype)
        kernels = fast.kernels(pixels.dtype)
        if not result.size:
            return result
        held = nodata.held(self.kind.nodata, pixels.dtype)
        if kernels is not None and held is not None:
            nothing = int(held)
            where = lattice.columns, lattice.rows, rows.start, columns.start
            if self.kind.kind is Kind.CLASSES:
                for source, found in zip(pixels, result, strict=True):
                    kernels.nearest(source, *where, nothing, found)
            else:
                apart = np.full(len(pixels), nodata.is_between(nothing, pixels.dtype))
                without = np.full(len(pixels), nothing)
                kernels.bilinear(pixels, *where, without, without.astype(pixels.dtype), apart, result)
            return result
        places = lattice.expand(rows.start, rows.stop, columns.start, columns.stop)
        for source, found in zip(pixels, result, strict=True):
            if self.kind.kind is Kind.CLASSES:
                found[:] = sampling.nearest(source, *places, fill=self.kind.nodata)
            else:
                found[:] = sampling.bilinear(source, *places, nodata=self.kind.nodata, fill=self.kind.nodata)
        return result

    def _copied(self, pixels: NDArray[Any], rows: slice, columns: slice) -> NDArray[Any]:
        _, height, width = pixels.shape
        top, left = rows.start - self._down, columns.start - self._right
        bottom, right = rows.stop - self._down, columns.stop - self._right
        inner = np.s_[:, max(0, top) : max(0, min(bottom, height)), max(0, left) : max(0, min(right, width))]
        if top >= 0 and left >= 0 and bottom <= height and right <= width:
            return pixels[inner]
        result = np.full((len(pixels), bottom - top, right - left), self.kind.nodata, pixels.dtype)
        part = pixels[inner]
        row, column = max(0, -top), max(0, -left)
        result[:, row : row + part.shape[1], column : column + part.shape[2]] = part
        return result


def _points(window: slice) -> tuple[int, int]:
    """The control points of a window of the grid, from the first to the one after the last, along one axis."""
    return window.start // sampling.STEP, -(-window.stop // sampling.STEP) + 1


def _near(places: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Which control points are so near that places beside them may be in the source, which has so many columns or rows.

    No place is further from a control point beside it than these are from each other.
    """
    with np.errstate(invalid="ignore"):  # places that PROJ can't reach are infinite
        apart = sum(np.nanmax(np.abs(np.diff(places, axis=axis)), initial=0) for axis in (0, 1))
        near: NDArray[np.bool_] = (places >= -apart) & (places <= count + apart)
    return near


def _between(near: NDArray[np.bool_], axis: int, window: slice) -> slice:
    """The part of a window, along an axis, whose control points are near; of no pixels where none is."""
    found = np.flatnonzero(near.any(axis=1 - axis))
    if not found.size:
        return slice(window.start, window.start)
    first = window.start // sampling.STEP
    start, stop = (first + int(found[0])) * sampling.STEP, (first + int(found[-1]) + 1) * sampling.STEP
    return slice(min(max(window.start, start), window.stop), min(window.stop, stop))
