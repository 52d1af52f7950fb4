"""Pictures as files for browsers and map clients."""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray


def png(picture: NDArray[np.uint8]) -> bytes:
    """A PNG of (rows, columns, 4); packed lightly, since a tile is made for one look."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(picture), level=1))
