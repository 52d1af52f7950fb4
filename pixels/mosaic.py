"""Pictures of several items at once: pixel by pixel the first that has something there, or the median of them.

It is given items in the order that is wanted, and opens no more of them than it takes to leave no hole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from kartotek import footprints
from kartotek.errors import BadRequest, NotFound
from kartotek.grids import Grid
from kartotek.stopwatch import Stopwatch
from pixels import render, warp
from pixels.blocks import Blocks
from pixels.render import Picture, Raster

CELL = 32
"""Pixels on a side of the squares by which holes are compared with footprints."""
REACH = 400.0
"""Units of the tile's CRS by which a footprint may be inside of the pixels: ours are simplified by up to 150 m, which
are 350 units of Mercator's at 65 degrees."""
_ROWS = 64
"""Rows of a tile whose median is computed at a time."""

Numbers = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An item that may have something to show."""

    number: int
    """By which the pixels that come of it are known."""
    footprint: Geometry
    """Longitude and latitude."""
    picture: Callable[[], Picture]
    """Gives what is shown of it. Raises NotFound where it lacks a layer."""


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A picture of several items."""

    raster: Raster | None
    """None where nothing is seen at all."""
    source: Numbers
    """(rows, columns): the number of the item that each pixel comes from, -1 where nothing is seen. Of a median: how
    many items have something there."""
    opened: tuple[int, ...]
    """Numbers of the items whose files were opened, in that order."""


def first(blocks: Blocks, candidates: Iterable[Candidate], target: Grid, most: int, watch: Stopwatch) -> Mosaic:
    """The first item of each pixel: until there is no hole, or `most` items are opened.

    Items whose footprints are away from all holes are passed over; of one that is masked the bands are read where its
    mask fills a hole. Raises NotFound where none of the items can be shown so, and BadRequest where they are shown in
    different ways.
    """
    source = np.full(target.shape, -1, np.int16)
    base: Raster | None = None
    shades: list[NDArray[np.uint8]] = []
    opened: list[int] = []
    for candidate, picture in _shown(candidates, target, source):
        if len(opened) == most:
            break
        opened.append(candidate.number)
        raster = _raster(blocks, picture, target, source < 0, watch)
        if raster is None:
            continue
        with watch.stage("render"):
            if base is None:
                base, shades = raster, [channel.copy() for channel in raster.shades]
            if len(shades) != len(raster.shades):
                raise BadRequest("what is shown is one value of some items and three of others; choose other layers")
            fills = raster.valid & (source < 0)
            for channel, other in zip(shades, raster.shades, strict=True):
                np.copyto(channel, other, where=fills)
            source[fills] = candidate.number
        if (source >= 0).all():
            break
    if base is None:
        return Mosaic(None, source, tuple(opened))
    return Mosaic(Raster(tuple(shades), source >= 0, base.palette), source, tuple(opened))


def median(blocks: Blocks, candidates: Iterable[Candidate], target: Grid, most: int, watch: Stopwatch) -> Mosaic:
    """The median of each layer's physical values over the items that have data there, and what is shown of that.

    Of an even number of values it is the mean of the middle two. `most` items are read; layer by layer, so that one
    layer of all of them is in memory at a time. Raises as `first`, and BadRequest where classes are shown.
    """
    chosen: list[tuple[Candidate, Picture]] = []
    for found in _shown(candidates, target, np.full(target.shape, -1, np.int16)):
        if len(chosen) == most:
            break
        chosen.append(found)
    opened = tuple(candidate.number for candidate, _ in chosen)
    pictures = [picture for _, picture in chosen]
    if not pictures:
        return Mosaic(None, np.zeros(target.shape, np.int16), opened)
    shown = pictures[0]
    names = replace(shown.style, mask=None).names
    if any(picture.sources.keys() != shown.sources.keys() for picture in pictures):
        raise BadRequest("what is shown is one value of some items and three of others; choose other layers")
    if shown.palette is not None or any(shown.sources[name].classes for name in names):
        raise BadRequest("order: classes have no median; newest, oldest or clearest would do")
    kept = [_kept(blocks, picture, target, watch) for picture in pictures]
    read, counts = {}, np.zeros(target.shape, np.int16)
    for name in names:
        values, counted = _middle(blocks, pictures, name, kept, target, watch)
        read[name], counts = (values, counted > 0), np.maximum(counts, counted)
    with watch.stage("render"):
        # The values are physical already.
        units = {name: replace(shown.sources[name], scale=1.0, offset=0.0, nodata=None) for name in names}
        raster = render.drawn(Picture(style=replace(shown.style, mask=None), sources=units), read)
    return Mosaic(raster, np.where(raster.valid, counts, 0).astype(np.int16), opened)


def _shown(candidates: Iterable[Candidate], target: Grid, source: Numbers) -> Iterator[tuple[Candidate, Picture]]:
    """Candidates that may fill one of the holes that there are by then, and what is shown of them."""
    wrong: NotFound | None = None
    some, holes, left = False, _cells(target, source), int((source < 0).sum())
    for candidate in candidates:
        if (now := int((source < 0).sum())) != left:
            holes, left = _cells(target, source), now
        outline = footprints.to_projected(candidate.footprint, target.crs)
        if not shapely.intersects(outline, holes).any():
            continue
        try:
            picture = candidate.picture()
        except NotFound as error:
            wrong = wrong or error
            continue
        some = True
        yield candidate, picture
    if wrong is not None and not some:
        raise wrong


def _cells(target: Grid, source: Numbers) -> NDArray[np.object_]:
    """Squares of the tile that have a hole, as boxes in its CRS that reach a little further."""
    rows, columns = (-(-count // CELL) for count in target.shape)
    padded = np.zeros((rows * CELL, columns * CELL), np.bool_)
    padded[: target.rows, : target.columns] = source < 0
    down, right = np.nonzero(padded.reshape(rows, CELL, columns, CELL).any(axis=(1, 3)))
    side, reach = CELL * target.resolution, REACH + 2 * target.resolution
    left, top = target.left + right * side, target.top - down * side
    boxes: NDArray[np.object_] = shapely.box(left - reach, top - side - reach, left + side + reach, top + reach)
    return boxes


def _raster(
    blocks: Blocks, picture: Picture, target: Grid, holes: NDArray[np.bool_], watch: Stopwatch
) -> Raster | None:
    """The picture of one item; None where its mask fills no hole."""
    mask = picture.style.mask
    if mask is None:
        return render.raster(blocks, picture, target, watch)
    [masked] = warp.read(blocks, [picture.sources[mask]], target, watch)
    if not (render.kept(*masked, picture.style.keep) & holes).any():
        return None
    names = [name for name in picture.sources if name != mask]
    read = warp.read(blocks, [picture.sources[name] for name in names], target, watch)
    with watch.stage("render"):
        return render.drawn(picture, {**dict(zip(names, read, strict=True)), mask: masked})


def _kept(blocks: Blocks, picture: Picture, target: Grid, watch: Stopwatch) -> NDArray[np.bool_] | None:
    """Where a picture's mask shows something; None without a mask."""
    if picture.style.mask is None:
        return None
    [masked] = warp.read(blocks, [picture.sources[picture.style.mask]], target, watch)
    return render.kept(*masked, picture.style.keep)


def _middle(
    blocks: Blocks,
    pictures: Sequence[Picture],
    name: str,
    kept: Sequence[NDArray[np.bool_] | None],
    target: Grid,
    watch: Stopwatch,
) -> tuple[NDArray[np.float32], Numbers]:
    """The median of one layer, 0 where no item has data, and how many have."""
    stack = np.empty((len(pictures), *target.shape), np.float32)
    for layer, picture, seen in zip(stack, pictures, kept, strict=True):
        source = picture.sources[name]
        [(numbers, valid)] = warp.read(blocks, [source], target, watch)
        with watch.stage("render"):
            layer[:] = render.physical(numbers, valid if seen is None else valid & seen, source)
    found = np.zeros(target.shape, np.float32)
    counts = np.zeros(target.shape, np.int16)
    with watch.stage("render"):
        for start in range(0, target.rows, _ROWS):
            rows = slice(start, start + _ROWS)
            part = np.sort(stack[:, rows], axis=0)  # NaN last
            count = np.isfinite(part).sum(axis=0)
            lower, upper = (
                np.take_along_axis(part, np.maximum(at, 0)[None], axis=0)[0] for at in ((count - 1) // 2, count // 2)
            )
            found[rows] = np.where(count > 0, (lower + upper) / 2, 0)
            counts[rows] = count
    return found, counts
