"""Numbers to pictures: physical values stretched between two limits, transparent where there is no data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from morecantile import Tile, TileMatrixSet
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from kartotek import grids, nodata
from kartotek.errors import NotFound
from kartotek.grids import Grid
from kartotek.product import usual_render
from kartotek.storage import MARKER
from pixels import warp
from pixels.blocks import Blocks
from pixels.warp import Source

VERSION = "1"
"""Of pictures; it changes when the same files would be shown by other pixels, so that nobody keeps the old ones."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a tile shows: layers as red, green and blue, or one as grey; each with the values of black and white."""

    sources: tuple[Source, ...]
    rescale: tuple[tuple[float, float], ...]
    """Physical values."""


def usual(collection: Mapping[str, Any]) -> str:
    """The name of the render that shows a collection's items: in true colour, else its first. NotFound without any."""
    found = usual_render(collection.get("renders") or {})
    if found is None:
        raise NotFound(f"collection {collection['id']!r} has no renders, so that no picture of its items can be drawn")
    return found


def picture(item: Mapping[str, Any], collection: Mapping[str, Any], name: str) -> Picture:
    """The picture that a render of the collection makes of an item.

    Raises NotFound where a layer is not there, or what a picture needs is left out or said in a way we don't know: any
    sensor may have made them.
    """
    renders = collection.get("renders") or {}
    if name not in renders:
        raise NotFound(f"no render {name!r} in collection {collection['id']!r}; there are: {', '.join(renders)}")
    try:
        return _picture(item["assets"], renders[name])
    except KeyError as error:
        reason = f"no {error.args[0]!r}"
    except (TypeError, ValueError, IndexError, AttributeError, ProjError) as error:
        reason = str(error)
    raise NotFound(f"item {item['id']!r} can't be shown by {name!r} of collection {collection['id']!r}: {reason}")


def _picture(assets: Mapping[str, Any], render: Mapping[str, Any]) -> Picture:
    names = render["assets"]
    if missing := [name for name in names if name not in assets]:
        raise ValueError(f"it has no {', '.join(missing)}")
    # A picture that the agency made is one file of three bands.
    bands = range(3) if len(names) == 1 and len(assets[names[0]].get("bands", ())) == 3 else range(1)
    sources = tuple(source(assets[name], band) for name in names for band in bands)
    if len(sources) not in (1, 3):
        raise ValueError(f"it is made of {len(sources)} layers, not of one or three")
    return Picture(sources, _limits(render["rescale"], len(sources)))


def _limits(rescale: Sequence[Any], count: int) -> tuple[tuple[float, float], ...]:
    """Black and white of each layer; one pair holds for all."""
    try:
        pairs = [(float(low), float(high)) for low, high in rescale]
    except (TypeError, ValueError):
        pairs = []
    if len(pairs) == 1:
        pairs *= count
    # More pairs than layers are let pass: collections of ours say three, also for one layer.
    if len(pairs) < count or any(low == high or not math.isfinite(high - low) for low, high in pairs):
        raise ValueError(f"its rescale is {rescale}, not a list of [lowest, highest]: one for all, or one a layer")
    return tuple(pairs[:count])


def source(asset: Mapping[str, Any], band: int = 0) -> Source:
    """A layer as its asset describes it: where its file lies, its grid, and what its numbers mean."""
    # What bands have in common may stand in the asset itself (STAC 1.1).
    facts = {**asset, **(asset["bands"][band] if asset.get("bands") else {})}
    if not str(asset["href"]).startswith(MARKER):
        raise ValueError(f"{asset['href']} is not one of our files")
    return Source(
        key=str(asset["href"]).removeprefix(MARKER),
        grid=_grid(asset),
        nodata=nodata.read(facts.get("nodata")),
        scale=float(facts.get("raster:scale", 1.0)),
        offset=float(facts.get("raster:offset", 0.0)),
        classes="classification:classes" in facts,
        band=band,
    )


def _grid(asset: Mapping[str, Any]) -> Grid:
    a, b, left, d, e, top = (float(number) for number in asset["proj:transform"][:6])
    rows, columns = (int(number) for number in asset["proj:shape"])
    if b or d or a != -e or a <= 0 or min(rows, columns) < 1:
        raise ValueError(f"its pixels are not north-up squares: {asset['proj:transform']}")
    grids.is_metric(asset["proj:code"])  # raises where PROJ knows no such CRS
    return Grid(crs=asset["proj:code"], left=left, top=top, resolution=a, columns=columns, rows=rows)


def tile_grid(tms: TileMatrixSet, z: int, x: int, y: int) -> Grid:
    """The pixels of a tile. Raises NotFound where the matrix set has no such tile."""
    matrices = {int(matrix.id): matrix for matrix in tms.tileMatrices}
    matrix = matrices.get(z)
    if matrix is None or not (0 <= x < matrix.matrixWidth and 0 <= y < matrix.matrixHeight):
        raise NotFound(f"no tile {z}/{x}/{y} in {tms.id}")
    # Easting first, also where the document of the set gives its origin as EPSG:3006 orders its axes.
    bounds = tms.xy_bounds(Tile(x, y, z))
    return Grid(
        crs=f"EPSG:{tms.crs.to_epsg()}",
        left=bounds.left,
        top=bounds.top,
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
    seen = [np.where(valid, channel, np.uint8(0)) for channel in channels] * (3 // len(channels))
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
