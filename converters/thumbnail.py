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


def thumbnail(bands: Sequence[tuple[Layer, NDArray[Any]]], *, rescale: tuple[float, float]) -> bytes:
    """A PNG of three layers as red, green and blue; transparent where one of them has no data.

    Each band is (rows, columns) of the same shape; `rescale` are the physical values shown as black and white. Rows and
    columns without data are cut off at the edges, and the rest is thinned to `SIZE` pixels.
    """
    valid = np.logical_and.reduce([present(numbers, layer.type.nodata) for layer, numbers in bands])
    channels = []
    low, high = rescale
    for layer, numbers in bands:
        physical = numbers * layer.scale + layer.offset
        channels.append(np.clip((physical - low) / (high - low) * 255 + 0.5, 0, 255).astype(np.uint8))
    picture = np.dstack([*channels, np.where(valid, np.uint8(255), np.uint8(0))])
    rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
    if len(rows) and len(columns):
        picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    step = -(-max(picture.shape[:2]) // SIZE)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture[::step, ::step]), level=6))
