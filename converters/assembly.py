"""A layer's way from the agency's tiles to the blocks of its COG: each block is placed, reduced and compressed at once.

Threads decode the next tiles while others finish the blocks of those before. Of the pixels only some rows are in
memory at a time; the overviews stay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import cog, delivered, extent, jp2
from converters.delivered import Scan
from converters.profiles import Profile
from converters.warp import Placing
from kartotek import fast, grids, nodata
from kartotek.errors import UnsupportedProduct
from kartotek.grids import BLOCK, Grid
from kartotek.product import Layer
from kartotek.stopwatch import Stopwatch

DEEPEST = 9
"""Overviews that a block holds whole pixels of; the largest image is 2^18 pixels wide."""
SMALL = 1 << 20
"""Pixels of a layer that is kept in memory as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What is left in memory of a layer that was written."""

    grid: Grid
    delivered: float
    """Pixel size of the file that it was made of."""
    resampled: bool
    levels: list[NDArray[Any] | None]
    """The pixels, if they were to be kept or are few, and the overviews; (bands, rows, columns)."""
    valid: NDArray[np.bool_]
    """Where the first band has data, or (finer than 20 m) where all of 2 x 2 pixels have."""
    valid_grid: Grid


def assemble(
    layer: Layer,
    path: Path,
    crs: str,
    *,
    keep: bool,
    profile: Profile = Profile.STANDARD,
    threads: int = 2,
    watch: Stopwatch | None = None,
) -> Assembled:
    """Read, place and write a layer. `crs` is an authority code, or "native"; `keep` says whether the pixels stay.

    Raises BrokenProduct, MemoryError, OSError, UnsupportedProduct; there is no file at the path then.
    """
    watch = watch or Stopwatch()
    fast.load(layer.grid.columns * layer.grid.rows)
    with ThreadPoolExecutor(threads) as pool:
        for cut in (True, False):
            try:
                with delivered.opened(layer, pool, watch, cut=cut) as scan:
                    line = _Line(scan, crs, watch, profile, keep=keep)
                    cog.write_in(pool, path, [line, *line.overviews], line.placing.grid, layer, profile)
                    return line.assembled()
            except jp2.Unusual:
                continue
    raise AssertionError("GDAL raises its own errors")


class _Line:
    """The image of full resolution: its blocks are made as they are asked for, and the overviews with them."""

    def __init__(self, scan: Scan, crs: str, watch: Stopwatch, profile: Profile, *, keep: bool) -> None:
        kind = scan.layer.type
        self._scan, self._kind, self._watch, self._profile = scan, kind, watch, profile
        self.placing = Placing(scan.grid, kind, scan.grid.crs if crs == "native" else crs)
        grid = self.placing.grid
        self._depth = grids.levels(grid.columns, grid.rows)
        if self._depth > DEEPEST:
            raise UnsupportedProduct(
                f"{scan.layer.file}: would get {grid.columns} x {grid.rows} pixels; at most {BLOCK << DEEPEST} in a row"
            )
        self.dtype = scan.pixels.dtype
        self.shape = bands, rows, columns = (len(scan.pixels), *grid.shape)
        self.overviews = [
            np.empty((bands, rows >> level, columns >> level), self.dtype) for level in range(1, self._depth + 1)
        ]
        self._pixels = np.empty(self.shape, self.dtype) if keep or rows * columns <= SMALL else None
        self._halved = self._depth > 0 and grid.resolution * 2 <= extent.PIXEL
        self._valid = np.empty(grid.coarser(self._halved).shape, np.bool_)

    def blocks(self, pool: ThreadPoolExecutor) -> Iterator[bytes]:
        """All blocks, compressed, row by row."""
        _, rows, columns = self.shape
        starts = range(0, rows, BLOCK)
        needs = [self.placing.needs(start, min(start + BLOCK, rows)) for start in starts]
        under_way: deque[tuple[int, list[Any]]] = deque()
        for number, start in enumerate(starts):
            self._scan.reach(needs[number][1])
            made = [pool.submit(self._block, start, left) for left in range(0, columns, BLOCK)]
            under_way.append((number, made))
            if len(under_way) > 1:
                yield from self._finished(*under_way.popleft(), needs)
        while under_way:
            yield from self._finished(*under_way.popleft(), needs)

    def _finished(self, number: int, made: list[Any], needs: list[tuple[int, int]]) -> Iterator[bytes]:
        """A row of blocks; what only it needed of the tiles is let go."""
        for one in made:
            yield one.result()
        self._scan.leave(min((first for first, _ in needs[number + 1 :]), default=self._scan.grid.rows))

    def _block(self, top: int, left: int) -> bytes:
        """A block, compressed."""
        rows = slice(top, min(top + BLOCK, self.shape[1]))
        columns = slice(left, min(left + BLOCK, self.shape[2]))
        with self._watch.stage("warp"):
            part = self.placing.block(self._scan.pixels, rows, columns)
        with self._watch.stage("encode"):
            for level, found in enumerate(cog.pyramid(part, self._kind, depth=self._depth)[1:], 1):
                whole = self.overviews[level - 1]
                whole[:, top >> level : rows.stop >> level, left >> level : columns.stop >> level] = found
            if self._pixels is not None:
                self._pixels[:, rows, columns] = part
            by = int(self._halved)
            self._valid[top >> by : -(-rows.stop >> by), left >> by : -(-columns.stop >> by)] = self._has_data(part[0])
            return cog.encode(part, self._profile)

    def _has_data(self, part: NDArray[Any]) -> NDArray[np.bool_]:
        """Where a block has data, at the resolution that is kept of it."""
        if not self._halved:
            return nodata.present(part, self._kind.nodata)
        kernels, nothing = fast.kernels(part.dtype), nodata.held(self._kind.nodata, part.dtype)
        if kernels is not None and nothing is not None:
            found = np.empty((part.shape[0] // 2, part.shape[1] // 2), np.bool_)
            kernels.whole(part, int(nothing), found)
            return found
        valid = nodata.present(part, self._kind.nodata)
        upper, lower = valid[0::2], valid[1::2]
        both: NDArray[np.bool_] = upper[:, 0::2] & upper[:, 1::2] & lower[:, 0::2] & lower[:, 1::2]
        return both

    def assembled(self) -> Assembled:
        """What stays, once all blocks are made."""
        grid = self.placing.grid
        return Assembled(
            grid=grid,
            delivered=self._scan.grid.resolution,
            resampled=self.placing.resampled,
            levels=[self._pixels, *self.overviews],
            valid=self._valid,
            valid_grid=grid.coarser(int(self._halved)),
        )
