"""Cut-outs: the numbers or the picture of an area, on the files' own grid or on another one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kartotek import grids
from kartotek.errors import BadRequest, NotFound
from kartotek.grids import Grid
from kartotek.stopwatch import Stopwatch
from pixels import render
from pixels.areas import MAX_READ, Outline, windows
from pixels.blocks import Blocks
from pixels.coverage import Coverage
from pixels.field import Field
from pixels.files import Band, Raster

MAX_PIXELS = 4_000_000
"""Rows times columns of a cut-out."""
MAX_BYTES = 64_000_000
"""Of its numbers, all bands together: what is packed is held beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The grid that is asked for, where it is not the files' own."""

    resolution: float | None = None
    """Width and height of a pixel, in units of the CRS."""
    crs: str | None = None

    def grid(self, own: Grid) -> Grid:
        """A grid that goes on as far as is needed from some corner; its size means nothing.

        In the files' CRS, or one of the same pixels, it begins at their corner, so that pixels of their overviews are
        copied too. Raises BadRequest where the CRS is none for maps.
        """
        if self.crs is None or grids.same_pixels(self.crs, own.crs):
            return _grid(self.crs or own.crs, own.left, own.top, self.resolution or own.resolution)
        return _grid(self.crs, 0.0, 0.0, self.resolution or own.metres / grids.unit(self.crs))


def _grid(crs: str, left: float, top: float, resolution: float) -> Grid:
    return Grid(crs=crs, left=left, top=top, resolution=resolution, columns=1, rows=1)


def target(
    own: Grid, outline: Outline, frame: Frame, coverage: Coverage, size: int, *, effort: float = 1.0
) -> tuple[Grid, bool]:
    """The grid of a cut-out, and whether its pixels are the files' own or those of their overviews.

    `own` is the grid of the finest layer, `coverage` that of all, `size` is how many bytes a pixel has, `effort` how
    many times as long as to read it it takes to compute. Raises NotFound where the area lies outside of the files, and
    BadRequest where the cut-out would be too large; nothing is opened.
    """
    base = frame.grid(own)
    is_own = grids.same_pixels(base.crs, own.crs) and _is_level(base.resolution, own.resolution)
    left, bottom, right, top = outline.bounds(base.crs)
    if grids.same_pixels(base.crs, own.crs):
        box = own.bounds
        left, bottom = max(left, box.left), max(bottom, box.bottom)
        right, top = min(right, box.right), min(top, box.top)
    if not (left < right and bottom < top):  # NaN is outside too
        raise NotFound("the area lies outside of the files")
    # Pixels whose edges the area only touches are not in it, whatever the last digit of a coordinate says.
    first, last = (math.floor(far / base.resolution + 1e-9) for far in (left - base.left, base.top - top))
    columns = max(1, math.ceil((right - base.left) / base.resolution - 1e-9) - first)
    rows = max(1, math.ceil((base.top - bottom) / base.resolution - 1e-9) - last)
    made = Grid(
        crs=base.crs,
        left=base.left + first * base.resolution,
        top=base.top - last * base.resolution,
        resolution=base.resolution,
        columns=columns,
        rows=rows,
    )
    _check(made, coverage, size, effort)
    return made, is_own


def _is_level(resolution: float, own: float) -> bool:
    """Whether a resolution is that of the files or one of their overviews'."""
    ratio = resolution / own
    return ratio >= 1 and ratio == 2.0 ** round(math.log2(ratio))


def _check(made: Grid, coverage: Coverage, size: int, effort: float) -> None:
    pixels = made.rows * made.columns
    factor = max(pixels / MAX_PIXELS, pixels * size / MAX_BYTES)
    # Block by block only of what is no larger: there would be as many as somebody likes.
    read = effort * coverage.reads([made] if factor > 1 else (window for window, _, _ in windows(made)))
    factor = max(factor, read / MAX_READ)
    if factor <= 1:
        return
    raise BadRequest(
        f"{made.columns} x {made.rows} pixels, {pixels * size} bytes, of {read:.0f} pixels that are read or computed; "
        f"at most {MAX_PIXELS}, {MAX_BYTES} and {MAX_READ} will do: {_way(made, factor)}, or fewer bands and shorter "
        "formulas"
    )


def _way(made: Grid, factor: float) -> str:
    """What would do where so many times as much was asked for as may be."""
    return f"a resolution of {made.resolution * math.sqrt(factor) * 1.01:.3g} and more would do, or a smaller area"


def numbers(
    blocks: Blocks, asked: Field, grid: Grid, watch: Stopwatch, *, outline: Outline | None = None, own: bool = False
) -> Raster:
    """An area's numbers on a grid; as they are stored, or in float32 with NaN where they are computed.

    `own`: the grid's pixels are the files', which are copied; else measurements are taken between pixels as for tiles.
    Without an outline, all of the grid. Raises BadRequest where numbers turn out to be wider than `target` took them
    for: what type they have, only their files say.
    """
    found: NDArray[np.generic] | None = None
    valid = np.zeros(grid.shape, np.bool_)
    bands: tuple[Band, ...] = ()
    for window, (rows, columns), inside in windows(grid, outline):
        read = asked.read(blocks, asked.values, window, watch, smooth=not own)
        if found is None:
            kind = np.dtype(np.float32) if asked.computed else np.result_type(*(pixels.dtype for pixels, _ in read))
            bands = _bands(asked, kind)
            if (size := len(bands) * kind.itemsize * grid.rows * grid.columns) > MAX_BYTES:
                raise BadRequest(
                    f"{len(bands)} bands of {kind.name} are {size} bytes; at most {MAX_BYTES} will do: "
                    f"{_way(grid, size / MAX_BYTES)}, or fewer bands"
                )
            blank = [0 if band.nodata is None else band.nodata for band in bands]
            found = np.empty((len(bands), *grid.shape), kind)
            found[:] = np.array(blank, kind)[:, None, None]
        for place, (pixels, there) in zip(found[:, rows, columns], read, strict=True):
            there = there if inside is None else there & inside
            with np.errstate(over="ignore"):
                np.copyto(place, pixels, where=there, casting="unsafe")
            valid[rows, columns] |= there
    if found is None:
        raise NotFound("no pixel of the files lies in the area")
    return Raster(found, valid, grid, bands)


def _bands(asked: Field, kind: np.dtype[np.generic]) -> tuple[Band, ...]:
    bands = []
    for value in asked.values:
        scale, offset = asked.packing(value)
        bands.append(
            Band(name=value.name, nodata=asked.nodata(value, kind), scale=scale, offset=offset, unit=value.unit)
        )
    return tuple(bands)


def picture(draw: Callable[[Grid], render.Raster | None], grid: Grid, outline: Outline) -> render.Raster:
    """An area's picture on a grid, put together of parts that `draw` gives, as tiles show them; transparent outside."""
    valid = np.zeros(grid.shape, np.bool_)
    shades: NDArray[np.uint8] | None = None
    palette: NDArray[np.uint8] | None = None
    for window, (rows, columns), inside in windows(grid, outline):
        drawn = draw(window)
        if drawn is None:
            continue
        if shades is None:
            palette = drawn.palette
            blank = 0 if palette is None else int(np.argmin(palette[:, 3]))
            shades = np.full((*grid.shape, drawn.shades.shape[2]), blank, np.uint8)
        there = drawn.valid if inside is None else drawn.valid & inside
        np.copyto(shades[rows, columns], drawn.shades, where=there[..., None])
        valid[rows, columns] = there
    if shades is None:
        raise NotFound("no pixel of the files lies in the area")
    return render.Raster(shades, valid, palette)
