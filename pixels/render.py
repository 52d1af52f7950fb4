"""Numbers to pictures: physical values stretched between two limits, transparent where there is no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from morecantile import TileMatrixSet
from numpy.typing import NDArray

from kartotek import nodata
from kartotek.errors import NotFound
from kartotek.grids import Grid
from kartotek.storage import MARKER
from pixels import warp
from pixels.blocks import Blocks
from pixels.warp import Source


@dataclass(frozen=True, slots=True)
class Picture:
    """What a tile shows: layers as red, green and blue, each with the physical values of black and white."""

    sources: tuple[Source, ...]
    rescale: tuple[tuple[float, float], ...]


def picture(item: Mapping[str, Any], collection: Mapping[str, Any], name: str) -> Picture:
    """The picture that a render of the collection makes of an item. Raises NotFound where a layer is not there."""
    renders = collection.get("renders", {})
    if name not in renders:
        raise NotFound(f"no render {name!r} in collection {collection['id']!r}; there are: {', '.join(renders)}")
    render = renders[name]
    missing = [asset for asset in render["assets"] if asset not in item["assets"]]
    if missing:
        raise NotFound(f"item {item['id']!r} has no {', '.join(missing)}, which {name!r} needs")
    sources = tuple(source(item["assets"][asset]) for asset in render["assets"])
    return Picture(sources, tuple((float(low), float(high)) for low, high in render["rescale"]))


def source(asset: Mapping[str, Any]) -> Source:
    """A layer as its asset describes it: where its file lies, its grid, and what its numbers mean."""
    band = asset["bands"][0]
    a, _, left, _, _, top = asset["proj:transform"][:6]
    rows, columns = asset["proj:shape"]
    return Source(
        key=str(asset["href"]).removeprefix(MARKER),
        grid=Grid(crs=asset["proj:code"], left=left, top=top, resolution=a, columns=columns, rows=rows),
        nodata=nodata.read(band.get("nodata")),
        scale=band.get("raster:scale", 1.0),
        offset=band.get("raster:offset", 0.0),
        classes="classification:classes" in asset,
    )


def tile_grid(tms: TileMatrixSet, z: int, x: int, y: int) -> Grid:
    """The pixels of a tile. Raises NotFound where the matrix set has no such tile."""
    matrices = {int(matrix.id): matrix for matrix in tms.tileMatrices}
    matrix = matrices.get(z)
    if matrix is None or not (0 <= x < matrix.matrixWidth and 0 <= y < matrix.matrixHeight):
        raise NotFound(f"no tile {z}/{x}/{y} in {tms.id}")
    first, second = matrix.pointOfOrigin
    # The documents of EPSG:3006 give northing first, as its axes are ordered.
    left, top = (second, first) if tms._invert_axis else (first, second)
    code = tms.crs.to_epsg()
    return Grid(
        crs=f"EPSG:{code}",
        left=left + x * matrix.tileWidth * matrix.cellSize,
        top=top - y * matrix.tileHeight * matrix.cellSize,
        resolution=matrix.cellSize,
        columns=matrix.tileWidth,
        rows=matrix.tileHeight,
    )


def rgba(blocks: Blocks, shown: Picture, target: Grid) -> NDArray[np.uint8]:
    """The picture on a grid, (rows, columns, 4); transparent where a layer has no data."""
    pixels = [warp.read(blocks, layer, target) for layer in shown.sources]
    valid = np.logical_and.reduce([where for _, where in pixels])
    channels = [
        stretched(band, layer, limits)
        for (band, _), layer, limits in zip(pixels, shown.sources, shown.rescale, strict=True)
    ]
    alpha = np.where(valid, np.uint8(255), np.uint8(0))
    seen = [np.where(valid, channel, np.uint8(0)) for channel in channels]
    result: NDArray[np.uint8] = np.dstack([*seen, alpha])
    return result


def stretched(band: NDArray[Any], layer: Source, limits: Sequence[float]) -> NDArray[np.uint8]:
    """8 bits of a band: black at the lower physical value, white at the upper one."""
    low, high = limits
    if band.dtype.kind != "u" or band.dtype.itemsize > 2:
        return _shades(band * layer.scale + layer.offset, low, high)
    # Few enough numbers to compute each once.
    table = _shades(np.arange(2 ** (8 * band.dtype.itemsize)) * layer.scale + layer.offset, low, high)
    shades: NDArray[np.uint8] = table[band]
    return shades


@np.errstate(invalid="ignore", over="ignore")  # numbers that mean no data may be NaN, or close to the largest
def _shades(physical: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    shades: NDArray[np.uint8] = np.clip((physical - low) / (high - low) * 255 + 0.5, 0, 255).astype(np.uint8)
    return shades
