"""Pixels of a layer on the grid of a tile: the level that suits it, the blocks that it touches, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kartotek import grids, sampling
from kartotek.grids import Grid
from pixels.blocks import Blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A layer in storage, as its item describes it."""

    key: str
    grid: Grid
    nodata: float | None
    scale: float
    offset: float
    classes: bool


def read(blocks: Blocks, source: Source, target: Grid) -> NDArray[Any]:
    """A layer's numbers on a target grid, (rows, columns) of its first band; nodata (or 0) where it has none.

    Bilinear for measurements and nearest for classes, from the coarsest level whose pixels are no larger than the
    target's. Where the target's pixels are the level's own they are copied.
    """
    fill = 0 if source.nodata is None else source.nodata
    file = blocks.directory(source.key)
    lattice = sampling.Lattice.between(target, source.grid)
    level = min(_level(lattice), len(file.levels) - 1)
    grid = source.grid.coarser(level)
    height, width = grid.rows, grid.columns
    if shift := _shift(target, grid):
        return _copied(blocks, file, level, *shift, target, fill, (height, width))
    columns, rows = lattice.expand(0, target.rows)
    columns, rows = columns / 2**level, rows / 2**level
    near = np.isfinite(columns) & np.isfinite(rows)
    near &= (columns > -1) & (rows > -1) & (columns < width + 1) & (rows < height + 1)
    if not near.any():
        return np.full(target.shape, fill, file.data_type)
    top, bottom = max(0, int(rows[near].min()) - 1), min(height, int(rows[near].max()) + 3)
    left, right = max(0, int(columns[near].min()) - 1), min(width, int(columns[near].max()) + 3)
    if top >= bottom or left >= right:
        return np.full(target.shape, fill, file.data_type)
    window = blocks.window(file, level, slice(top, bottom), slice(left, right))[0]
    # Places that PROJ can't transform must not become numbers.
    columns, rows = np.where(near, columns - left, -9.0), np.where(near, rows - top, -9.0)
    if source.classes:
        return sampling.nearest(window, columns, rows, fill=fill)
    return sampling.bilinear(window, columns, rows, nodata=source.nodata, fill=fill)


def _shift(target: Grid, grid: Grid) -> tuple[int, int] | None:
    """Row and column in a grid of the target's first pixel; None where the pixels of the two do not coincide."""
    if not grids.same_pixels(target.crs, grid.crs) or target.resolution != grid.resolution:
        return None
    down, right = (grid.top - target.top) / grid.resolution, (target.left - grid.left) / grid.resolution
    row, column = round(down), round(right)
    # Half a pixel off in one direction alone is off: a file kept in its own CRS may lie between our pixels.
    return (row, column) if max(abs(down - row), abs(right - column)) < 1e-9 else None


@np.errstate(invalid="ignore")  # places that PROJ can't reach are infinite
def _level(lattice: sampling.Lattice) -> int:
    """The level whose pixels come nearest to the target's from below, as GDAL chooses overviews."""
    across = np.hypot(np.diff(lattice.columns, axis=1), np.diff(lattice.rows, axis=1))
    finite = across[np.isfinite(across)]
    ratio = float(np.median(finite)) / sampling.STEP if finite.size else 1.0
    return max(0, int(np.floor(np.log2(max(ratio, 1e-9)) + 1e-3)))


def _copied(
    blocks: Blocks, file: Any, level: int, row: int, column: int, target: Grid, fill: float, shape: tuple[int, int]
) -> NDArray[Any]:
    """Pixels taken over as they are, with fill where the file ends."""
    result = np.full(target.shape, fill, file.data_type)
    top, left = max(0, row), max(0, column)
    bottom, right = min(shape[0], row + target.rows), min(shape[1], column + target.columns)
    if top < bottom and left < right:
        window = blocks.window(file, level, slice(top, bottom), slice(left, right))[0]
        result[top - row : bottom - row, left - column : right - column] = window
    return result
