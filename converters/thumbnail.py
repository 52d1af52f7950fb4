"""A scene at a glance: a PNG of at most 512 pixels, from overviews that are in memory anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from kartotek.nodata import present
from kartotek.product import Layer

SIZE = 512


def thumbnail(
    bands: Sequence[tuple[Layer, NDArray[Any]]], *, rescale: tuple[float, float] | Sequence[tuple[float, float]]
) -> bytes:
    """A PNG of three layers as red, green and blue, or of the first as grey; transparent where one has no data.

    Each band is (rows, columns) of the same ground. `rescale` are the physical values shown as black and white, of all
    bands or of each. Rows and columns without data are cut off at the edges, and the rest is thinned to `SIZE` pixels.
    """
    bands = bands[:3] if len(bands) >= 3 else bands[:1]
    limits = np.broadcast_to(np.asarray(rescale, np.float64), (len(bands), 2))
    shape = min((numbers.shape for _, numbers in bands), key=lambda shape: shape[0] * shape[1])
    same = [(layer, _thinned(numbers, shape)) for layer, numbers in bands]
    valid = np.logical_and.reduce([present(numbers, layer.type.nodata) for layer, numbers in same])
    channels = [_shades(numbers, layer, *pair) for (layer, numbers), pair in zip(same, limits, strict=True)]
    if len(channels) == 1:
        channels *= 3
    picture = np.dstack([*channels, np.where(valid, np.uint8(255), np.uint8(0))])
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if len(rows) and len(columns):
        picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    step = -(-max(picture.shape[:2]) // SIZE)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture[::step, ::step]), level=6))


def _thinned(numbers: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """As many rows and columns as `shape` says, of the same ground: the pixels that hold their centres."""
    if numbers.shape == shape:
        return numbers
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(shape, numbers.shape, strict=True)
    )
    return numbers[np.ix_(rows, columns)]


@np.errstate(invalid="ignore", over="ignore")  # numbers that mean no data may be NaN, or close to the largest
def _shades(numbers: NDArray[Any], layer: Layer, low: float, high: float) -> NDArray[np.uint8]:
    """8 bits: black at the lower physical value, white at the upper one."""
    physical = numbers * layer.scale + layer.offset
    shades: NDArray[np.uint8] = np.clip((physical - low) / (high - low) * 255 + 0.5, 0, 255).astype(np.uint8)
    return shades
