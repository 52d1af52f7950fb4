"""Pixels of a layer on the grid of a tile: the level that suits it, the blocks that it touches, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kartotek import grids, sampling
from kartotek.grids import Grid
from kartotek.nodata import held, present
from pixels.blocks import Blocks, Directory

Pixels = tuple[NDArray[Any], NDArray[np.bool_]]
"""Numbers, and where they are data; (rows, columns) both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A layer in storage, as its item describes it."""

    key: str
    grid: Grid
    nodata: float | None
    scale: float
    offset: float
    classes: bool
    band: int = 0
    """Which of the file's bands, from 0 on."""


def read(blocks: Blocks, source: Source, target: Grid) -> Pixels:
    """A layer's pixels on a target grid.

    Bilinear for measurements and nearest for classes, from the coarsest level whose pixels are no larger than the
    target's. Where the target's pixels are the level's own they are copied.
    """
    file = blocks.directory(source.key)
    lattice = sampling.Lattice.between(target, source.grid)
    level = min(_level(lattice), len(file.levels) - 1)
    grid = source.grid.coarser(level)
    image = _Image(blocks, file, level, source.band, grid, held(source.nodata, file.data_type))
    shift = _shift(target, grid)
    if shift is None:
        numbers, inside = _resampled(image, lattice, classes=source.classes)
    else:
        numbers, inside = _copied(image, *shift, target)
    valid = inside & present(numbers, image.nodata)
    if numbers.dtype.kind == "f":
        valid &= ~np.isnan(numbers)  # such a pixel can't be shown, whatever nodata is
    return numbers, valid


@dataclass(frozen=True, slots=True)
class _Image:
    """A band of a file at one of its levels."""

    blocks: Blocks
    file: Directory
    level: int
    band: int
    grid: Grid
    nodata: float | None

    @property
    def fill(self) -> float:
        """What stands where there is no data."""
        return 0 if self.nodata is None else self.nodata

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:
        found: NDArray[Any] = self.blocks.window(self.file, self.level, rows, columns)[self.band]
        return found

    def blank(self, target: Grid) -> Pixels:
        """The target without any data."""
        return np.full(target.shape, self.fill, self.file.data_type), np.zeros(target.shape, np.bool_)


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
    # Along both axes of the target: pixels of a file in degrees are not as wide as they are high.
    ratios = []
    for axis in (0, 1):
        steps = np.hypot(np.diff(lattice.columns, axis=axis), np.diff(lattice.rows, axis=axis))
        finite = steps[np.isfinite(steps)]
        ratios.append(float(np.median(finite)) / sampling.STEP if finite.size else 1.0)
    return max(0, int(np.floor(np.log2(max(min(ratios), 1e-9)) + 1e-3)))


def _copied(image: _Image, row: int, column: int, target: Grid) -> Pixels:
    """Pixels taken over as they are, from a row and column of the image on."""
    numbers, inside = image.blank(target)
    top, left = max(0, row), max(0, column)
    bottom, right = min(image.grid.rows, row + target.rows), min(image.grid.columns, column + target.columns)
    if top < bottom and left < right:
        place = np.s_[top - row : bottom - row, left - column : right - column]
        numbers[place] = image.window(slice(top, bottom), slice(left, right))
        inside[place] = True
    return numbers, inside


def _resampled(image: _Image, lattice: sampling.Lattice, *, classes: bool) -> Pixels:
    """Pixels computed where the target's centres fall in the image."""
    height, width = image.grid.shape
    columns, rows = lattice.expand(0, lattice.target.rows)
    columns, rows = columns / 2**image.level, rows / 2**image.level
    near = np.isfinite(columns) & np.isfinite(rows)
    near &= (columns > -1) & (rows > -1) & (columns < width + 1) & (rows < height + 1)
    if not near.any():
        return image.blank(lattice.target)
    top, bottom = max(0, int(rows[near].min()) - 1), min(height, int(rows[near].max()) + 3)
    left, right = max(0, int(columns[near].min()) - 1), min(width, int(columns[near].max()) + 3)
    if top >= bottom or left >= right:
        return image.blank(lattice.target)
    window = image.window(slice(top, bottom), slice(left, right))
    # Places that PROJ can't transform must not become numbers.
    columns, rows = np.where(near, columns - left, -9.0), np.where(near, rows - top, -9.0)
    inside = sampling.inside(window.shape, columns, rows)
    if classes:
        return sampling.nearest(window, columns, rows, fill=image.fill), inside
    return sampling.bilinear(window, columns, rows, nodata=image.nodata, fill=image.fill), inside
