"""A scene at a glance: a PNG of at most 512 pixels, from overviews that are in memory anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from kartotek.grids import Grid
from kartotek.nodata import present
from kartotek.product import Layer

SIZE = 512


@dataclass(frozen=True, slots=True)
class Shown:
    """A band of a layer at some resolution."""

    layer: Layer
    numbers: NDArray[Any]
    """(rows, columns)."""
    grid: Grid


def thumbnail(bands: Sequence[Shown], *, rescale: tuple[float, float] | Sequence[tuple[float, float]]) -> bytes:
    """A PNG of three bands as red, green and blue, or of the first as grey; transparent where one has no data.

    `rescale` are the physical values shown as black and white, of all bands or of each. What not all bands cover is cut
    off, rows and columns without data too, and the rest is thinned to `SIZE` pixels.
    """
    bands = bands[:3] if len(bands) >= 3 else bands[:1]
    limits = np.broadcast_to(np.asarray(rescale, np.float64), (len(bands), 2))
    same = _same_ground(bands)
    valid = np.logical_and.reduce(
        [present(numbers, band.layer.type.nodata) for band, numbers in zip(bands, same, strict=True)]
    )
    channels = [_shades(numbers, band.layer, *pair) for band, numbers, pair in zip(bands, same, limits, strict=True)]
    if len(channels) == 1:
        channels *= 3
    picture = np.dstack([*channels, np.where(valid, np.uint8(255), np.uint8(0))])
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if len(rows) and len(columns):
        picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    step = -(-max(picture.shape[:2]) // SIZE)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture[::step, ::step]), level=6))


def _same_ground(bands: Sequence[Shown]) -> list[NDArray[Any]]:
    """The bands' numbers where the centres of the coarsest one's pixels lie that all cover.

    Files of different resolutions begin at different corners, and end where they will.
    """
    coarsest = max((band.grid for band in bands), key=lambda grid: grid.resolution)
    east = coarsest.left + (np.arange(coarsest.columns) + 0.5) * coarsest.resolution
    north = coarsest.top - (np.arange(coarsest.rows) + 0.5) * coarsest.resolution
    for bounds in (band.grid.bounds for band in bands):
        east = east[(east >= bounds.left) & (east < bounds.right)]
        north = north[(north <= bounds.top) & (north > bounds.bottom)]
    found = []
    for band in bands:
        columns = ((east - band.grid.left) / band.grid.resolution).astype(np.int64)
        rows = ((band.grid.top - north) / band.grid.resolution).astype(np.int64)
        found.append(band.numbers[np.ix_(rows, columns)])
    return found


@np.errstate(invalid="ignore", over="ignore")  # numbers that mean no data may be NaN, or close to the largest
def _shades(numbers: NDArray[Any], layer: Layer, low: float, high: float) -> NDArray[np.uint8]:
    """8 bits: black at the lower physical value, white at the upper one."""
    physical = numbers * layer.scale + layer.offset
    shades: NDArray[np.uint8] = np.clip((physical - low) / (high - low) * 255 + 0.5, 0, 255).astype(np.uint8)
    return shades
