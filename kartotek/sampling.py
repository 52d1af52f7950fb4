"""Sampling a raster at places between its pixels: where each pixel of one grid falls in another, and what lies there.

Conversion and tiles resample by these functions alone. A sampled pixel is valid where the source pixel that holds it is
valid; a bilinear value weighs the valid ones of the four nearest pixel centres, as GDAL's warper does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kartotek import grids
from kartotek.grids import Grid
from kartotek.nodata import keep_apart, present

STEP = 16
"""Pixels between exactly transformed control points. Between UTM zones the coordinates bend by less than 1e-4 pixels
over that distance at 10 m, so that interpolating them moves no value by a digital number."""

EDGE = 1e-9
"""Pixels by which a place may lie before an edge and yet belong to the pixel behind it, as in GDAL: the last digit of a
coordinate must not decide where centres fall on edges, as those of 4 m pixels do among pixels of 10 m."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Where the pixel centres of a target grid fall in a source grid, exact at every 16th pixel."""

    columns: NDArray[np.float64]
    """Source columns (0 is the left edge of the first pixel) at the control points."""
    rows: NDArray[np.float64]
    """Source rows (0 is the top edge of the first pixel) at the control points."""
    target: Grid

    @classmethod
    def between(cls, target: Grid, source: Grid) -> Lattice:
        """The lattice from a target grid into a source grid, through PROJ where their CRS differ."""
        ends = [
            np.append(np.arange(0, count, STEP), -(-count // STEP) * STEP) for count in (target.columns, target.rows)
        ]
        east = target.left + (ends[0] + 0.5) * target.resolution
        north = target.top - (ends[1] + 0.5) * target.resolution
        x, y = np.meshgrid(east, north)
        if not grids.same_pixels(target.crs, source.crs):
            x, y = grids.transformer(target.crs, source.crs).transform(x, y)
        return cls((x - source.left) / source.resolution, (source.top - y) / source.resolution, target)

    def scaled(self, columns: float, rows: float) -> Lattice:
        """The lattice into other pixels of the same source, of which it has so many times as many."""
        return Lattice(self.columns * columns, self.rows * rows, self.target)

    def moved(self, rows: int, columns: int) -> Lattice:
        """The lattice into a part of the source that begins at a row and a column."""
        return Lattice(self.columns - columns, self.rows - rows, self.target)

    def expand(
        self, start: int, stop: int, left: int = 0, right: int | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(columns, rows) in the source of every pixel in the target's rows from start to stop.

        Of the columns from left, a multiple of `STEP`, to right only, where these are given.
        """
        right = self.target.columns if right is None else right
        first, last = start // STEP, -(-stop // STEP)
        window = np.s_[first : last + 1, left // STEP : -(-right // STEP) + 1]
        wanted = np.arange(start, stop) - first * STEP
        return (
            _refine(self.columns[window], wanted, right - left),
            _refine(self.rows[window], wanted, right - left),
        )


@np.errstate(invalid="ignore")  # places that PROJ can't reach are infinite; they get no data
def _refine(points: NDArray[np.float64], rows: NDArray[np.int64], columns: int) -> NDArray[np.float64]:
    """Control points interpolated linearly to single pixels, first down, then across."""
    whole, part = np.divmod(rows, STEP)
    # The last wanted row may be a control point itself: its lower neighbour then weighs nothing.
    below = np.minimum(whole + 1, len(points) - 1)
    weight = (part / STEP)[:, None]
    down = points[whole] * (1 - weight) + points[below] * weight
    slope = np.diff(down, axis=1) / STEP
    fine = down[:, :-1, None] + slope[:, :, None] * np.arange(STEP)
    refined: NDArray[np.float64] = fine.reshape(len(rows), -1)[:, :columns]
    return refined


def nearest(
    source: NDArray[Any], columns: NDArray[np.float64], rows: NDArray[np.float64], *, fill: float
) -> NDArray[Any]:
    """The pixels that hold the places; `fill` outside. `source` is (rows, columns)."""
    i, j, held = _holders(source.shape, columns, rows)
    found = source[i, j]
    found[~held] = fill
    return found


@np.errstate(invalid="ignore", over="ignore")
def bilinear(
    source: NDArray[Any],
    columns: NDArray[np.float64],
    rows: NDArray[np.float64],
    *,
    nodata: float | None,
    fill: float,
) -> NDArray[Any]:
    """Values between the four nearest pixel centres, of the source's type; `fill` where the holder has no data.

    Pixels that are `nodata` or lie outside weigh nothing, and the weights of the others are raised to sum to one. A
    value that comes out as `nodata` by chance becomes the next number.
    """
    height, width = source.shape
    i, j, held = _holders(source.shape, columns, rows)
    usable = held if nodata is None else held & present(source[i, j], nodata)
    x, y = columns - 0.5, rows - 0.5
    left, upper = np.floor(x), np.floor(y)
    # 32 bits hold all the digits of 16 bits, at half the memory; not those of wider numbers.
    narrow = source.dtype.itemsize <= 2 or source.dtype == np.float32
    kind: type[np.floating[Any]] = np.float32 if narrow else np.float64
    across, down = (x - left).astype(kind), (y - upper).astype(kind)
    left, upper = left.astype(np.int32), upper.astype(np.int32)
    total = np.zeros(columns.shape, kind)
    weights = np.zeros(columns.shape, kind)
    flat = source.reshape(-1)
    for dy, weight_y in ((0, 1 - down), (1, down)):
        for dx, weight_x in ((0, 1 - across), (1, across)):
            r, c = upper + dy, left + dx
            value = flat[np.clip(r, 0, height - 1) * width + np.clip(c, 0, width - 1)]
            weight = weight_x * weight_y
            weight[(r < 0) | (r >= height) | (c < 0) | (c >= width)] = 0
            if nodata is not None:
                missing = ~present(value, nodata)
                weight[missing] = 0
                if not np.isfinite(nodata):
                    value[missing] = 0  # NaN or infinity times no weight would be NaN
            total += weight * value
            weights += weight
    total /= np.maximum(weights, kind(1e-6))
    if np.issubdtype(source.dtype, np.integer):
        total = np.floor(total + kind(0.5))
    found = total.astype(source.dtype)
    keep_apart(found, nodata, usable)
    found[~usable] = fill
    return found


def inside(shape: tuple[int, ...], columns: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a raster has a pixel that holds the place."""
    with np.errstate(invalid="ignore"):
        within = (columns >= -EDGE) & (columns < shape[1] - EDGE)
        return within & (rows >= -EDGE) & (rows < shape[0] - EDGE)


def _holders(
    shape: tuple[int, ...], columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """Row and column of the pixel that holds each place, and whether there is one."""
    held = inside(shape, columns, rows)
    i, j = (np.where(held, places + EDGE, 0).astype(np.int32) for places in (rows, columns))
    return i, j, held
