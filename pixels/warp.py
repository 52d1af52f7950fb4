"""Pixels of layers on the grid of a tile: the level that suits it, the blocks that it touches, and no more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kartotek import fast, grids, sampling
from kartotek.errors import NotFound
from kartotek.grids import BLOCK, Grid
from kartotek.nodata import held, is_between, present
from kartotek.sampling import STEP, Lattice
from kartotek.stopwatch import Stopwatch
from pixels import foreign
from pixels.blocks import Block, Blocks
from pixels.directory import Directory

KEPT = 512 * 512
"""Pixels of a target up to which how it looks at files is kept, in up to 35 kB each: a tile."""

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
    as_they_are: bool = False
    """Whether a measurement's pixels are taken by the nearest one too."""

    @property
    def nearest(self) -> bool:
        """Whether no number is read that is not in the file."""
        return self.classes or self.as_they_are


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How a target grid looks at one level of a file: which blocks it touches, and how its pixels come from them."""

    level: int
    grid: Grid
    """Of the level."""
    of: tuple[int, int] | Lattice
    """Row and column of the level's pixel that is the target's first, where the pixels of the two coincide; elsewhere
    the lattice of the level's pixels."""
    numbers: tuple[int, ...]
    """The blocks, counted row by row."""
    rows: slice
    """The level's pixels that are needed, all of them in these blocks or not shown."""
    columns: slice


def read(blocks: Blocks, sources: Sequence[Source], target: Grid, watch: Stopwatch | None = None) -> list[Pixels]:
    """Layers' pixels on a target grid, all of them read at once.

    Bilinear for measurements and nearest for classes, from the coarsest level whose pixels are no larger than the
    target's. Where the target's pixels are the level's own they are copied. Raises as `files`, and BadRequest where a
    file that is none of ours lacks the overviews that this would take.
    """
    fast.load()  # the first tile waits for it: many will come
    watch = watch or Stopwatch()
    with blocks.at_work():
        with watch.stage("index"):
            known = files(blocks, sources)
            views = [view(target, source.grid, known[source.key].shapes, nearest=source.nearest) for source in sources]
            wanted = dict.fromkeys(
                Block(source.key, seen.level, number)
                for source, seen in zip(sources, views, strict=True)
                for number in seen.numbers
            )
            foreign.check(wanted, known)
        found = blocks.read(wanted, known, watch)
        with watch.stage("warp"):
            return _together(sources, views, known, target, found)


def _together(
    sources: Sequence[Source],
    views: Sequence[View],
    known: Mapping[str, Directory],
    target: Grid,
    found: Mapping[Block, NDArray[Any]],
) -> list[Pixels]:
    """Layers' pixels on the target, of those that are alike together: where they lie is worked out once."""
    alike: dict[tuple[View, np.dtype[Any], bool], list[int]] = {}
    for number, (source, seen) in enumerate(zip(sources, views, strict=True)):
        alike.setdefault((seen, known[source.key].data_type, source.nearest), []).append(number)
    placed: dict[int, Pixels] = {}
    for (seen, data_type, _), numbers in alike.items():
        some = [sources[number] for number in numbers]
        placed |= zip(numbers, _placed(some, data_type, seen, target, found), strict=True)
    return [placed[number] for number in range(len(sources))]


def files(blocks: Blocks, sources: Iterable[Source]) -> dict[str, Directory]:
    """Key → the directory of layers' files, all of them looked up at once.

    Raises NotFound where a file is not as its item describes it, or nobody can read it.
    """
    sources = list(sources)
    found = blocks.directories({source.key for source in sources})
    for source in sources:
        file = found[source.key]
        if file.levels[0].shape != source.grid.shape:
            rows, columns = file.levels[0].shape
            raise NotFound(
                f"{source.key}: has {columns} x {rows} pixels; its item's proj:shape says {source.grid.columns} x "
                f"{source.grid.rows}"
            )
        if source.band >= file.samples:
            raise NotFound(f"{source.key}: has {file.samples} bands; its item says that there are more")
    return found


def view(target: Grid, grid: Grid, shapes: tuple[tuple[int, int], ...], *, nearest: bool) -> View:
    """How a target looks at a file of a grid, whose levels have so many (rows, columns).

    Those of tiles are kept for other layers and dates.
    """
    found = _view if target.columns * target.rows <= KEPT else _view.__wrapped__
    return found(target, grid, shapes, nearest=nearest)


@lru_cache(maxsize=1024)
def _view(target: Grid, grid: Grid, shapes: tuple[tuple[int, int], ...], *, nearest: bool) -> View:
    return _same(target, grid, shapes) or _other(target, grid, shapes, nearest=nearest)


def _same(target: Grid, grid: Grid, shapes: tuple[tuple[int, int], ...]) -> View | None:
    """The view where the target's pixels are those of a level, of which nothing has to be worked out; else None."""
    if not grids.same_pixels(target.crs, grid.crs):
        return None
    level = next((level for level in range(len(shapes)) if grid.resolution * 2**level == target.resolution), None)
    if level is None:
        return None
    place = _place(grid, level, shapes)
    exact = (place.rows << level, place.columns << level) == grid.shape
    if not exact or (shift := _shift(target, place)) is None:
        return None
    limits = zip(shift, target.shape, strict=True)
    return _seen(level, place, shift, _covered(*shift, target, place), [(low, low + count) for low, count in limits])


def _other(target: Grid, grid: Grid, shapes: tuple[tuple[int, int], ...], *, nearest: bool) -> View:
    """The view where pixels are resampled."""
    lattice = Lattice.between(target, grid)
    level = min(_level(lattice), len(shapes) - 1)
    place = _place(grid, level, shapes)
    # A level covers the whole file: where that has no multiple of 2^level pixels, as others' may, its own are a little
    # wider or narrower than that.
    lattice = lattice.scaled(place.columns / grid.columns, place.rows / grid.rows)
    touched = _touched(lattice, place, 0.0 if nearest else 0.5)
    return _seen(level, place, lattice, touched, [_around(lattice.rows), _around(lattice.columns)])


def _around(points: NDArray[np.float64]) -> tuple[int, int]:
    """The first pixel from which those at some places are computed, and the one behind the last."""
    finite = points[np.isfinite(points)]
    return (math.floor(float(finite.min())) - 1, math.floor(float(finite.max())) + 3) if finite.size else (0, 0)


def _place(grid: Grid, level: int, shapes: tuple[tuple[int, int], ...]) -> Grid:
    """A level's own grid."""
    rows, columns = shapes[level]
    return replace(grid.coarser(level), rows=rows, columns=columns)


def _seen(
    level: int,
    place: Grid,
    of: tuple[int, int] | Lattice,
    touched: set[tuple[int, int]],
    limits: Iterable[tuple[int, int]],
) -> View:
    """What is read of a level: blocks, as (row, column), and the pixels in them within (first, end) of both axes."""
    if not touched:
        return View(level, place, of, (), slice(0), slice(0))
    across = -(-place.columns // BLOCK)
    spans = []
    for axis, (most, (low, high)) in enumerate(zip(place.shape, limits, strict=True)):
        held = [pair[axis] for pair in touched]
        first, last = min(held) * BLOCK, min(most, (max(held) + 1) * BLOCK)
        spans.append(slice(max(first, low), min(last, high)))
    return View(level, place, of, tuple(row * across + column for row, column in sorted(touched)), *spans)


@np.errstate(invalid="ignore")
def _level(lattice: Lattice) -> int:
    """The level whose pixels come nearest to the target's from below, as GDAL chooses overviews."""
    # Along both axes of the target: pixels of a file in degrees are not as wide as they are high.
    ratios = []
    for axis in (0, 1):
        steps = np.hypot(np.diff(lattice.columns, axis=axis), np.diff(lattice.rows, axis=axis))
        finite = steps[np.isfinite(steps)]
        ratios.append(float(np.median(finite)) / STEP if finite.size else 1.0)
    return max(0, int(np.floor(np.log2(max(min(ratios), 1e-9)) + 1e-3)))


def _shift(target: Grid, grid: Grid) -> tuple[int, int] | None:
    """Row and column of the target's first pixel in a grid of as large ones; None where the two do not coincide."""
    down, right = (grid.top - target.top) / grid.resolution, (target.left - grid.left) / grid.resolution
    row, column = round(down), round(right)
    # Half a pixel off in one direction alone is off: a file kept in its own CRS may lie between our pixels.
    return (row, column) if max(abs(down - row), abs(right - column)) < 1e-9 else None


def _covered(row: int, column: int, target: Grid, grid: Grid) -> set[tuple[int, int]]:
    """(row, column) of the blocks from which pixels are copied."""
    rows = range(max(0, row), min(grid.rows, row + target.rows))
    columns = range(max(0, column), min(grid.columns, column + target.columns))
    if not rows or not columns:
        return set()
    return {
        (down, across)
        for down in range(rows[0] // BLOCK, rows[-1] // BLOCK + 1)
        for across in range(columns[0] // BLOCK, columns[-1] // BLOCK + 1)
    }


@np.errstate(invalid="ignore")  # places that PROJ can't reach are infinite
def _touched(lattice: Lattice, grid: Grid, reach: float) -> set[tuple[int, int]]:
    """(row, column) of the blocks that hold the pixels from which the target's are computed.

    Those are the ones within `reach` of each place, in pixels. Cells of the lattice that lie in one block are taken
    whole; in the others each place is looked at, so that no block is read of which nothing is shown.
    """
    touched = np.zeros((-(-grid.rows // BLOCK), -(-grid.columns // BLOCK)), np.bool_)
    if (kernels := fast.loaded()) is not None:
        sizes = grid.columns, grid.rows, lattice.target.columns, lattice.target.rows
        kernels.touched(lattice.columns, lattice.rows, *sizes, reach, BLOCK.bit_length() - 1, touched)
        return {(int(row), int(column)) for row, column in np.argwhere(touched)}
    (north, south), (west, east) = _hull(lattice.rows), _hull(lattice.columns)
    seen = np.isfinite(north + south + west + east)
    seen &= (south >= 0) & (north < grid.rows) & (east >= 0) & (west < grid.columns)
    within = seen & (north >= 0) & (south < grid.rows) & (west >= 0) & (east < grid.columns)
    first, last = _held(north - reach, west - reach, grid), _held(south + reach, east + reach, grid)
    whole = within & np.all(first == last, axis=0)
    touched[tuple(first[:, whole])] = True
    if (parted := seen & ~whole).any():
        rows, columns = _centres(lattice, parted)
        inside = sampling.inside(grid.shape, columns, rows)
        rows, columns = rows[inside], columns[inside]
        steps = (-reach, reach) if reach else (0.0,)
        for down, across in product(steps, steps):
            touched[tuple(_held(rows + down, columns + across, grid))] = True
    return {(int(row), int(column)) for row, column in np.argwhere(touched)}


def _centres(lattice: Lattice, cells: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rows, columns) of all places in some cells of a lattice, but for those beyond the target."""
    steps = np.arange(STEP)
    top, left = np.nonzero(cells)
    held = (STEP * top[:, None] + steps < lattice.target.rows)[:, :, None]
    held = held & (STEP * left[:, None] + steps < lattice.target.columns)[:, None, :]
    down, across = (steps / STEP)[None, :, None], (steps / STEP)[None, None, :]
    found = []
    for points in (lattice.rows, lattice.columns):
        corners = [points[top + i, left + j][:, None, None] for i in (0, 1) for j in (0, 1)]
        upper, lower = (one + (other - one) * across for one, other in (corners[:2], corners[2:]))
        found.append((upper + (lower - upper) * down)[held])
    return found[0], found[1]


def _hull(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest of the four corners of each cell."""
    corners = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, :-1], points[1:, 1:]])
    return corners.min(axis=0), corners.max(axis=0)


@np.errstate(invalid="ignore")  # places that PROJ can't reach are none of those that are looked at
def _held(rows: NDArray[np.float64], columns: NDArray[np.float64], grid: Grid) -> NDArray[np.int64]:
    """(row, column) of the block that holds each place, or is next to it; (2, ...)."""
    limits = ((rows, grid.rows), (columns, grid.columns))
    blocks: NDArray[np.int64] = np.stack([np.clip(at, 0, most - 1) for at, most in limits]).astype(np.int64) // BLOCK
    return blocks


def _placed(
    sources: Sequence[Source],
    data_type: np.dtype[Any],
    seen: View,
    target: Grid,
    found: Mapping[Block, NDArray[Any]],
) -> list[Pixels]:
    """The pixels of layers that are alike on the target."""
    nothing = [held(source.nodata, data_type) for source in sources]
    fill = [0 if number is None else number for number in nothing]
    if not seen.numbers:
        nowhere = np.zeros(target.shape, np.bool_)
        return [(np.full(target.shape, number, data_type), nowhere) for number in fill]
    if not isinstance(seen.of, Lattice):
        copied: Sequence[NDArray[Any]]
        if len(seen.numbers) == 1:
            copied = _views(sources, seen, found)
        else:
            copied = list(_windows(sources, seen, found, fill, data_type))
        return [
            _copied(window, seen, seen.of, target, number, blank)
            for window, number, blank in zip(copied, nothing, fill, strict=True)
        ]
    windows = _windows(sources, seen, found, fill, data_type)
    lattice = seen.of.moved(seen.rows.start, seen.columns.start)
    return _resampled(windows, lattice, nothing, fill, nearest=sources[0].nearest)


def _views(sources: Sequence[Source], seen: View, found: Mapping[Block, NDArray[Any]]) -> list[NDArray[Any]]:
    """The level's pixels that are needed, where they lie in one block: parts of it, which are not to be changed."""
    [number] = seen.numbers
    down, right = (BLOCK * place for place in divmod(number, -(-seen.grid.columns // BLOCK)))
    part = np.s_[seen.rows.start - down : seen.rows.stop - down, seen.columns.start - right : seen.columns.stop - right]
    return [found[Block(source.key, seen.level, number)][source.band][part] for source in sources]


def _windows(
    sources: Sequence[Source],
    seen: View,
    found: Mapping[Block, NDArray[Any]],
    fill: Sequence[float],
    data_type: np.dtype[Any],
) -> NDArray[Any]:
    """The level's pixels that are needed, (layers, rows, columns); what is not in one of the blocks is not shown."""
    rows, columns, across = seen.rows, seen.columns, -(-seen.grid.columns // BLOCK)
    windows = np.empty((len(sources), rows.stop - rows.start, columns.stop - columns.start), data_type)
    corners = (rows.start // BLOCK, columns.start // BLOCK, (rows.stop - 1) // BLOCK, (columns.stop - 1) // BLOCK)
    whole = (corners[2] - corners[0] + 1) * (corners[3] - corners[1] + 1) == len(seen.numbers)
    for source, blank, window in zip(sources, fill, windows, strict=True):
        if not whole:
            window[:] = blank
        for number in seen.numbers:
            down, right = (BLOCK * place for place in divmod(number, across))
            top, left = max(rows.start, down), max(columns.start, right)
            bottom, end = min(rows.stop, down + BLOCK), min(columns.stop, right + BLOCK)
            window[top - rows.start : bottom - rows.start, left - columns.start : end - columns.start] = found[
                Block(source.key, seen.level, number)
            ][source.band, top - down : bottom - down, left - right : end - right]
    return windows


def _copied(
    window: NDArray[Any], seen: View, shift: tuple[int, int], target: Grid, nothing: float | None, fill: float
) -> Pixels:
    """Pixels taken over as they are."""
    if window.shape == target.shape:
        return window, _valid(window, nothing)
    numbers, valid = np.full(target.shape, fill, window.dtype), np.zeros(target.shape, np.bool_)
    top, left = seen.rows.start - shift[0], seen.columns.start - shift[1]
    place = np.s_[top : top + window.shape[0], left : left + window.shape[1]]
    numbers[place], valid[place] = window, _valid(window, nothing)
    return numbers, valid


def _resampled(
    windows: NDArray[Any], lattice: Lattice, nothing: Sequence[float | None], fill: Sequence[float], *, nearest: bool
) -> list[Pixels]:
    """Pixels computed where the target's centres fall in the windows."""
    kernels = fast.kernels(windows.dtype)
    numbers = [number for number in nothing if number is not None]
    if kernels is not None and len(numbers) == len(nothing):
        found = np.empty((len(windows), *lattice.target.shape), windows.dtype)
        where = lattice.columns, lattice.rows, 0, 0
        if nearest:
            for window, result, number in zip(windows, found, numbers, strict=True):
                kernels.nearest(window, *where, int(number), result)
        else:
            apart = np.array([is_between(number, windows.dtype) for number in numbers])
            kernels.bilinear(
                windows, *where, np.array(numbers, np.int64), np.array(numbers, windows.dtype), apart, found
            )
        return [(result, _valid(result, number)) for result, number in zip(found, numbers, strict=True)]
    columns, rows = lattice.expand(0, lattice.target.rows)
    inside = sampling.inside(windows.shape[1:], columns, rows)
    # Places that lie elsewhere, or that PROJ can't transform, must not become numbers.
    columns, rows = np.where(inside, columns, -9.0), np.where(inside, rows, -9.0)
    pixels = []
    for window, without, blank in zip(windows, nothing, fill, strict=True):
        if nearest:
            result = sampling.nearest(window, columns, rows, fill=blank)
        else:
            result = sampling.bilinear(window, columns, rows, nodata=without, fill=blank)
        pixels.append((result, _valid(result, without) & inside))
    return pixels


def _valid(numbers: NDArray[Any], nothing: float | None) -> NDArray[np.bool_]:
    """Where numbers are data."""
    valid = present(numbers, nothing)
    if numbers.dtype.kind == "f":
        valid &= ~np.isnan(numbers)  # such a pixel can't be shown, whatever nodata is
    return valid
