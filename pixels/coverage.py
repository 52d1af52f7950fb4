"""Where the pixels of one or several items lie, and how many of them are read for some place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import Geometry

from kartotek import footprints, grids
from kartotek.errors import BadRequest
from kartotek.grids import Bounds, Grid
from pixels import warp
from pixels.areas import MAX_READ
from pixels.blocks import Blocks
from pixels.warp import Source

REACH = 430.0
"""Metres along the equator by which a footprint may be inside of the pixels: ours are simplified by up to 150 m, which
are as many units of Mercator's, or as many degrees of longitude, at 69 degrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The grids of what is read."""

    items: tuple[tuple[Grid, ...], ...]
    """Those of each item's layers; of one item at least."""
    footprints: tuple[Geometry, ...] = ()
    """Of several items, in longitude and latitude; none of one that may be read for any place."""
    most: int = 1
    """Items that are read for one window."""
    sources: tuple[Source, ...] = ()
    """The layers, where they are those of one item."""

    @property
    def places(self) -> list[Grid]:
        """The grids of all layers, each once."""
        return list(dict.fromkeys(grid for item in self.items for grid in item))

    @property
    def grid(self) -> Grid:
        """That of the finest layer; of several items one over all of them, with the pixels of the first finest."""
        finest = [min(item, key=_metres) for item in self.items]
        base, step = (found := min(finest, key=_metres)), found.resolution
        if len(finest) == 1:
            return base
        bounds = [_bounds(grid, base.crs) for grid in finest]
        left, top = min(one.left for one in bounds), max(one.top for one in bounds)
        right, bottom = max(one.right for one in bounds), min(one.bottom for one in bounds)
        # Where their edges meet the last digits of a coordinate make no pixel.
        west, north = (math.floor(far / step + 1e-6) for far in (left - base.left, base.top - top))
        east, south = (math.ceil(far / step - 1e-6) for far in (right - base.left, base.top - bottom))
        return Grid(
            crs=base.crs,
            left=base.left + west * step,
            top=base.top - north * step,
            resolution=step,
            columns=east - west,
            rows=south - north,
        )

    def reads(self, windows: Iterable[Grid], *, least: int | None = None) -> float:
        """The most pixels of layers that are read for windows, all of one resolution; nothing is opened for that.

        With `least` windows may lie on each other, and any of them counts as so many at least.
        """
        windows = list(windows)
        counts = np.array([max(least or 0, window.rows * window.columns) for window in windows])
        once = least is None
        if not self.footprints or not windows:
            return _pixels(windows[0], self.items[0], counts.sum(), once=once) if windows else 0.0
        boxes = np.array([footprints.box(window.bounds) for window in windows])
        depth, total, far = np.zeros(len(windows), np.int64), 0.0, reach(windows[0])
        for outline, item in zip(self.footprints, self.items, strict=True):
            near = shapely.buffer(footprints.to_projected(outline, windows[0].crs), far, join_style="mitre")
            shapely.prepare(near)
            read = shapely.intersects(near, boxes) & (depth < self.most)
            depth += read
            total += _pixels(windows[0], item, counts[read].sum(), once=once)
        return total

    def check(self, blocks: Blocks, target: Grid, pixels: float) -> None:
        """Raise BadRequest where too much would be read for so many pixels of a target, once overviews are known.

        Our files have all that `reads` thinks of; others may lack them. Raises as `warp.files` too. Of several items
        each window is looked at when it is read.
        """
        if not self.sources:
            return
        known = warp.files(blocks, self.sources)
        read = _pixels(target, self.items[0], pixels, [len(known[source.key].levels) - 1 for source in self.sources])
        if read > MAX_READ:
            raise BadRequest(
                f"{read:.0f} pixels would be read, since not all of the item's files have overviews that are as coarse "
                f"as this; at most {MAX_READ} will do: ask for a smaller area, or for fewer layers"
            )


def reach(target: Grid) -> float:
    """How far footprints may be inside of the pixels that a target shows, and two of its own, in units of its CRS."""
    return REACH / grids.unit(target.crs) + 2 * target.resolution


def of(sources: Iterable[Source]) -> Coverage:
    """That of the layers of one item."""
    layers = tuple(sources)
    return Coverage(items=(tuple(source.grid for source in layers),), sources=layers)


def _pixels(
    target: Grid, layers: Sequence[Grid], count: float, levels: Sequence[int] | None = None, *, once: bool = True
) -> float:
    """How many pixels of layers are read for so many of a target; none of them twice if it is read `once`.

    `levels` are how many overviews each file has, where that is known; otherwise as many as ours have.
    """
    total = 0.0
    for grid, most_levels in zip(
        layers, levels or [grids.levels(grid.columns, grid.rows) for grid in layers], strict=True
    ):
        level = max(0, math.floor(math.log2(target.metres / grid.metres) + 1e-3))
        level = min(level, most_levels)
        # No more than the level has: the target may reach beyond it.
        most = grid.rows * grid.columns / 4**level if once else math.inf
        total += min(most, float(count) * (target.metres / (grid.metres * 2**level)) ** 2)
    return total


def _metres(grid: Grid) -> float:
    return grid.metres


def _bounds(grid: Grid, crs: str) -> Bounds:
    """Those of a grid in a CRS."""
    return grid.bounds if grids.same_pixels(grid.crs, crs) else grids.around(grid.bounds, grid.crs, crs)
