"""Polygons as pixels: those whose centres lie inside, found line by line of pixels where the outline crosses it.

rasterio has this of GDAL, but sets GDAL up for each polygon, and where AWS's keys are in the environment has boto3 look
at them each time, which takes 10 ms and more.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from kartotek.grids import Grid

MOST = 1 << 18
"""Crossings that are worked out at a time."""


def inside(polygon: Geometry, target: Grid) -> NDArray[np.bool_]:
    """(rows, columns) of a target: whether a pixel's centre lies in a polygon or several, in the target's CRS.

    By the even-odd rule, so that holes are none of it. Of a centre on an outline itself the last digit decides.
    """
    rows, columns = target.shape
    rings = shapely.get_rings(shapely.get_parts(polygon))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    # In pixels from the first centre.
    x = (points[:, 0] - target.left) / target.resolution - 0.5
    y = (target.top - points[:, 1]) / target.resolution - 0.5
    there = np.isfinite(x) & np.isfinite(y)  # places that PROJ can't reach have no outline
    edge = np.flatnonzero((ring[1:] == ring[:-1]) & there[1:] & there[:-1])
    # The lines from each edge's upper end to its lower one: one that ends in a line is not in it.
    upper, lower = np.minimum(y[edge], y[edge + 1]), np.maximum(y[edge], y[edge + 1])
    first, last = np.clip(np.ceil(upper), 0, rows).astype(np.intp), np.clip(np.ceil(lower), 0, rows).astype(np.intp)
    counts = last - first
    crossed = np.zeros((rows, columns + 1), np.bool_)  # an odd number of times just before each pixel
    for part in np.split(np.arange(len(edge)), np.searchsorted(np.cumsum(counts), np.arange(MOST, counts.sum(), MOST))):
        many, begin = counts[part], first[part]
        line = np.arange(many.sum()) + np.repeat(begin - np.cumsum(many) + many, many)
        one = np.repeat(edge[part], many)
        across = x[one] + (line - y[one]) * ((x[one + 1] - x[one]) / (y[one + 1] - y[one]))
        # From the first centre at or beyond it on it is the other way round.
        at = np.clip(np.ceil(across), 0, columns).astype(np.intp)
        np.logical_xor.at(crossed.reshape(-1), line * (columns + 1) + at, True)
    # As bytes, which takes half the time.
    found: NDArray[np.bool_] = np.bitwise_xor.accumulate(crossed[:, :-1].view(np.uint8), axis=1).view(np.bool_)
    return found
