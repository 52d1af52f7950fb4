"""Pictures of several items at once: pixel by pixel the first that has something there, or the median of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kartotek.grids import Grid
from kartotek.stopwatch import Stopwatch
from pixels import render, stack
from pixels.blocks import Blocks
from pixels.render import Picture, Raster
from pixels.stack import Candidate, Channels, Layers, Origins


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A picture of several items."""

    raster: Raster | None
    """None where nothing is seen at all."""
    source: Origins
    """(rows, columns): the number of the item that each pixel comes from, -1 where nothing is seen. Of a median: how
    many items have something there."""
    opened: tuple[int, ...]
    """Numbers of the items whose files were opened, in that order."""
    unread: tuple[int, ...]
    """Numbers of those among them whose files can't be read."""


def composed(
    blocks: Blocks,
    candidates: Iterable[Candidate[Picture]],
    target: Grid,
    most: int,
    watch: Stopwatch,
    *,
    median: bool,
) -> Mosaic:
    """The picture on a target, of `most` items. Raises as `stack.first` and, of a median, as `stack.medians`."""
    return (_median if median else _first)(blocks, candidates, target, most, watch)


def _first(
    blocks: Blocks, candidates: Iterable[Candidate[Picture]], target: Grid, most: int, watch: Stopwatch
) -> Mosaic:
    """The first item of each pixel."""

    def read(shown: Picture, holes: NDArray[np.bool_]) -> tuple[Channels, NDArray[np.bool_]] | None:
        layers = _layers(shown).read(blocks, target, holes, watch)
        if layers is None:
            return None
        with watch.stage("render"):
            drawn = render.drawn(shown, layers)
        return (drawn.shades,), drawn.valid

    found = stack.first(blocks, candidates, target, most, read, watch)
    raster = None
    if found.channels is not None and found.base is not None:
        raster = Raster(found.channels[0], found.source >= 0, render.table(found.base))
    return Mosaic(raster, found.source, found.opened, found.unread)


def _median(
    blocks: Blocks, candidates: Iterable[Candidate[Picture]], target: Grid, most: int, watch: Stopwatch
) -> Mosaic:
    """What is shown of the median of each layer over the items."""
    found = stack.medians(blocks, candidates, target, most, _layers, watch)
    if found.base is None:
        return Mosaic(None, found.counts, found.opened, found.unread)
    with watch.stage("render"):
        shown = Picture(style=replace(found.base.style, mask=None), sources=found.sources)
        raster = render.drawn(shown, found.read)
    counts = np.where(raster.valid, found.counts, 0).astype(np.int16)
    return Mosaic(raster, counts, found.opened, found.unread)


def _layers(shown: Picture) -> Layers:
    style = shown.style
    return Layers(shown.sources, replace(style, mask=None).names, style.mask, style.keep)
