"""Numbers to pictures: physical values stretched between limits, or classes in their colours; transparent elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from morecantile import Tile, TileMatrixSet
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from kartotek import fast, matrices
from kartotek.errors import NotFound
from kartotek.grids import Grid
from kartotek.stopwatch import Stopwatch
from pixels import colors, coverage, layers, warp
from pixels.blocks import Blocks
from pixels.coverage import Coverage
from pixels.formula import Formula
from pixels.style import Style
from pixels.warp import Pixels, Source

VERSION = "1"
"""Of pictures; it changes when the same files would be shown by other pixels, so that nobody keeps the old ones."""

Shades = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A style put to an item: the layers that are read, and what is made of them."""

    style: Style
    sources: Mapping[str, Source]
    """By the names that the style has for them."""
    palette: bytes | None = None
    """RGBA of 256 numbers, where classes are shown in their own colours."""

    @property
    def coverage(self) -> Coverage:
        """Where its layers lie."""
        return coverage.of(self.sources.values())

    @property
    def version(self) -> str:
        """Names what is shown of which files, and how by our own code: another name where anything of it differs."""
        return f"{VERSION}-{self._digest}"

    @cached_property
    def _digest(self) -> str:
        style = {field.name: getattr(self.style, field.name) for field in fields(self.style)}
        style["keep"] = sorted(self.style.keep)
        said = repr((style, list(self.sources.items()), self.palette))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Raster:
    """A picture's pixels."""

    shades: Shades
    """(rows, columns, channels): red, green and blue, or one of grey, or one of numbers of a palette."""
    valid: NDArray[np.bool_]
    """Where something is seen; shades elsewhere are 0, or a number that is transparent."""
    palette: NDArray[np.uint8] | None = None
    """RGBA of each number, (256, 4)."""

    @property
    def rgba(self) -> NDArray[np.uint8]:
        """(rows, columns, 4); transparent where nothing is seen."""
        if self.palette is not None:
            coloured: NDArray[np.uint8] = self.palette[self.shades[..., 0]]
            return coloured
        alpha = np.where(self.valid, np.uint8(255), np.uint8(0))
        return np.dstack([self.shades] * (3 // self.shades.shape[2]) + [alpha])


def picture(item: Mapping[str, Any], style: Style) -> Picture:
    """What a style makes of an item.

    Raises NotFound where a layer is not there, or is described in a way that we don't know: any sensor may have made
    it.
    """
    try:
        return _picture(item["assets"], style)
    except KeyError as error:
        reason = f"no {error.args[0]!r}"
    except (TypeError, ValueError, IndexError, AttributeError, ProjError) as error:
        reason = str(error)
    raise NotFound(f"item {item['id']!r} of collection {item.get('collection')!r} can't be shown so: {reason}")


def _picture(assets: Mapping[str, Any], style: Style) -> Picture:
    sources = layers.find(assets, style.names)
    first = style.values[0] if style.values else ""
    if len(style.values) == 1 and isinstance(first, str):
        asset = assets.get(first)
        if asset is not None and layers.count(asset) == 3:
            # A picture that the agency made is one file of three bands.
            names = tuple(f"{first}/{band}" for band in range(3))
            style = style.of_values(names)
            sources |= {name: layers.source(asset, band) for band, name in enumerate(names)}
            del sources[first]
        elif sources[first].classes and not style.rescale:
            palette = colors.class_table(colors.class_colors(_classes(asset or {})))
            return Picture(style=style, sources=sources, palette=palette.tobytes())
    if len(style.values) not in (1, 3):
        raise ValueError(f"it is made of {len(style.values)} layers, not of one or three")
    if len(style.limits) < len(style.values):
        raise ValueError(f"its rescale has {len(style.rescale)} pairs of limits for {len(style.values)} layers")
    return Picture(style=style, sources=sources)


def _classes(asset: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    bands = asset.get("bands") or [{}]
    found: Sequence[Mapping[str, Any]] = {**asset, **bands[0]}["classification:classes"]
    return found


def tile_grid(tms: TileMatrixSet, z: int, x: int, y: int) -> Grid:
    """The pixels of a tile. Raises NotFound where the matrix set has no such tile."""
    matrix = next((matrix for matrix in tms.tileMatrices if matrix.id == str(z)), None)
    if matrix is None or not (0 <= x < matrix.matrixWidth and 0 <= y < matrix.matrixHeight):
        raise NotFound(f"no tile {z}/{x}/{y} in {tms.id}")
    # Easting first, also where the document of the set gives its origin as EPSG:3006 orders its axes.
    bounds = tms.xy_bounds(Tile(x, y, z))
    return Grid(
        crs=matrices.code(tms),
        left=bounds.left,
        top=bounds.top,
        resolution=matrix.cellSize,
        columns=matrix.tileWidth,
        rows=matrix.tileHeight,
    )


def raster(blocks: Blocks, shown: Picture, target: Grid, watch: Stopwatch | None = None) -> Raster:
    """The picture on a grid."""
    watch = watch or Stopwatch()
    read = warp.read(blocks, tuple(shown.sources.values()), target, watch)
    with watch.stage("render"):
        return drawn(shown, dict(zip(shown.sources, read, strict=True)))


def drawn(shown: Picture, read: Mapping[str, Pixels]) -> Raster:
    """The picture of pixels that were read, by the names of its sources; also of such as were computed of several."""
    style = shown.style
    seen = None if style.mask is None else kept(*read[style.mask], style.keep)
    palette = table(shown)
    if shown.palette is not None and palette is not None:
        numbers, valid = read[style.names[0]]
        valid = valid & (numbers < 256) if seen is None else valid & (numbers < 256) & seen
        nothing = int(np.argmin(palette[:, 3]))  # a number of no class
        return Raster(np.where(valid, numbers, nothing).astype(np.uint8)[..., None], valid, palette)
    least = 0 if palette is None else 1
    shape = next(iter(read.values()))[0].shape
    shades = np.empty((*shape, len(style.values)), np.uint8)
    valid = np.ones(shape, np.bool_) if seen is None else seen
    if _painted(shown, read, least, shades, valid):
        return Raster(shades, valid, palette)
    for channel, (value, limits) in enumerate(zip(style.values, style.limits, strict=True)):
        if isinstance(value, str):
            numbers, has_data = read[value]
            shades[..., channel] = _stretched(numbers, shown.sources[value], limits, style.gamma, least)
            valid &= has_data
        else:
            physical = values(value, shown.sources, read, style.floor)
            shades[..., channel] = _shades(physical, limits, style.gamma, least)
            valid &= np.isfinite(physical)
    if not valid.all():
        shades[~valid] = 0
    return Raster(shades, valid, palette)


def _painted(shown: Picture, read: Mapping[str, Pixels], least: int, shades: Shades, valid: NDArray[np.bool_]) -> bool:
    """Puts all shades in at once, where they are of layers of few numbers and compiled loops are there; else False."""
    style = shown.style
    names = [value for value in style.values if isinstance(value, str)]
    kinds = {read[name][0].dtype for name in names}
    if len(names) < len(style.values) or len(kinds) > 1 or (kernels := fast.kernels(*kinds)) is None:
        return False
    [kind] = kinds
    tables = tuple(
        _table(kind.itemsize, shown.sources[name].scale, shown.sources[name].offset, limits, style.gamma, least)
        for name, limits in zip(names, style.limits, strict=True)
    )
    numbers, has_data = zip(*(read[name] for name in names), strict=True)
    kernels.painted(numbers, has_data, tables, shades, valid)
    return True


def table(shown: Picture) -> NDArray[np.uint8] | None:
    """RGBA of a picture's numbers, (256, 4); None where it is grey, or red, green and blue."""
    if shown.palette is not None:
        return np.frombuffer(shown.palette, np.uint8).reshape(256, 4)
    return None if shown.style.colors is None else _palette(shown.style.colors)


def values(
    formula: Formula, sources: Mapping[str, Source], read: Mapping[str, Pixels], floor: float | None
) -> NDArray[np.float64]:
    """What a formula gives of layers' pixels, in physical values; NaN where there is no data."""
    return formula.evaluate({name: physical(*read[name], sources[name]) for name in formula.names}, floor=floor)


def physical(numbers: NDArray[Any], valid: NDArray[np.bool_], source: Source) -> NDArray[np.float64]:
    """Numbers as what they measure; NaN where there is no data."""
    found: NDArray[np.float64] = numbers * np.float64(source.scale)
    found += source.offset
    if not valid.all():
        found[~valid] = np.nan
    return found


def kept(numbers: NDArray[Any], valid: NDArray[np.bool_], keep: frozenset[int]) -> NDArray[np.bool_]:
    """Where a class is one of those that a mask keeps."""
    return valid & np.isin(numbers, list(keep))


def _stretched(numbers: NDArray[Any], source: Source, limits: tuple[float, float], gamma: float, least: int) -> Shades:
    """Shades of a layer's numbers."""
    if numbers.dtype.kind != "u" or numbers.dtype.itemsize > 2:
        return _shades(numbers * source.scale + source.offset, limits, gamma, least)
    shades: Shades = _table(numbers.dtype.itemsize, source.scale, source.offset, limits, gamma, least)[numbers]
    return shades


@lru_cache(maxsize=256)
def _table(size: int, scale: float, offset: float, limits: tuple[float, float], gamma: float, least: int) -> Shades:
    """The shade of each whole number of so many bytes: few enough to compute each once."""
    return _shades(np.arange(2 ** (8 * size)) * scale + offset, limits, gamma, least)


@np.errstate(invalid="ignore", over="ignore")  # numbers that mean no data may be NaN, or close to the largest
def _shades(found: NDArray[np.float64], limits: tuple[float, float], gamma: float, least: int) -> Shades:
    """From the lowest shade at the lower limit to 255 at the upper one."""
    low, high = limits
    share = (found - low) / (high - low)
    if gamma != 1:
        share = np.clip(share, 0, 1) ** (1 / gamma)
    shades: Shades = np.clip(share * (255 - least) + (least + 0.5), least, 255).astype(np.uint8)
    return shades


@lru_cache(maxsize=64)
def _palette(name: str) -> NDArray[np.uint8]:
    """A colour map in 255 steps, after a number that is transparent."""
    table = np.zeros((256, 4), np.uint8)
    table[1:] = colors.color_map(name)[np.rint(np.linspace(0, 255, 255)).astype(np.intp)]
    return table
