"""Numbers as files for programs: GeoTIFF, and NumPy's own."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from kartotek import tiff
from kartotek.errors import BadRequest
from kartotek.grids import Grid
from kartotek.tiff import LONG, SHORT, Tag

TILE = 256
"""Pixels of a tile's side, at most."""
GEOTIFF = "image/tiff; application=geotiff"
NPY = "application/vnd.numpy.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What the numbers of one band mean."""

    name: str
    nodata: float | None
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """Numbers on a grid."""

    pixels: NDArray[Any]
    """(bands, rows, columns); nodata, or 0 where there is no such number, where there is no data."""
    valid: NDArray[np.bool_]
    """(rows, columns): where one of the bands has data, and the area lies that was asked for."""
    grid: Grid
    bands: tuple[Band, ...]


def geotiff(raster: Raster) -> bytes:
    """A GeoTIFF in tiles, with CRS, nodata, and each band's name, scale, offset and unit.

    Where the bands have no nodata, its mask tells where there is no data. Written here and packed by ISA-L, in a tenth
    of GDAL's time, which sets up a data set for it.
    """
    images = [_Image.of(raster.pixels)]
    tags = [
        *tiff.place(raster.grid),
        tiff.metadata(
            tiff.meaning(number, band.name, band.scale, band.offset, band.unit)
            for number, band in enumerate(raster.bands)
        ),
    ]
    nothing = nodata(raster.bands)
    if nothing is not None:
        tags.append(tiff.nodata(nothing))
    elif not raster.valid.all():
        images.append(_Image.of_mask(raster.valid))
    return b"".join([_head(images, tags), *(block for image in images for block in image.blocks)])


def _head(images: Sequence[_Image], tags: Sequence[Tag]) -> bytes:
    """All that stands before the blocks; `tags` are the first image's alone."""
    sizes = [[len(block) for block in image.blocks] for image in images]
    own = [[*image.tags, *(tags if image is images[0] else ())] for image in images]
    made = struct.pack("<2sHI", b"II", 42, 8)
    start = len(made) + sum(
        tiff.length([*some, *tiff.blocks(many, many)]) for some, many in zip(own, sizes, strict=True)
    )
    for image, some, many in zip(images, own, sizes, strict=True):
        places = tiff.blocks(list(accumulate(many[:-1], initial=start)), many)
        made += tiff.directory([*some, *places], len(made), last=image is images[-1])
        start += sum(many)
    return made


@dataclass(frozen=True, slots=True, eq=False)
class _Image:
    """Tiles of an image, packed, band by band."""

    tags: Sequence[Tag]
    blocks: Sequence[bytes]

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> _Image:
        """(bands, rows, columns) of numbers."""
        bands = len(pixels)
        tags = [
            (262, SHORT, [1]),  # black is the lowest
            (284, SHORT, [2]),  # band after band
            *tiff.numbers(pixels.dtype, bands),
            *_cut(pixels.shape[1:]),
        ]
        if bands > 1:
            tags.append((338, SHORT, [0] * (bands - 1)))  # the others are no colours
        return cls(tags, [_packed(tiff.predicted(part, axis=-1)) for band in pixels for part in _tiles(band)])

    @classmethod
    def of_mask(cls, valid: NDArray[np.bool_]) -> _Image:
        """(rows, columns): a bit for each pixel."""
        tags = [(254, LONG, [4]), (258, SHORT, [1]), (262, SHORT, [4]), (277, SHORT, [1]), (284, SHORT, [1])]
        return cls([*tags, *_cut(valid.shape)], [_packed(np.packbits(part, axis=-1)) for part in _tiles(valid)])


def _cut(shape: tuple[int, ...]) -> list[Tag]:
    """How an image of (rows, columns) is cut."""
    rows, columns = shape
    return tiff.image((rows, columns), (_side(rows), _side(columns)), 8)


def _side(pixels: int) -> int:
    """Of a tile, in pixels: a multiple of 16, as TIFF has it, and no longer than needed."""
    return min(TILE, -(-pixels // 16) * 16)


def _tiles(band: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A band's tiles; beyond its edge the last row and column go on, which costs few bytes."""
    rows, columns = band.shape
    down, right = _side(rows), _side(columns)
    for top, left in product(range(0, rows, down), range(0, columns, right)):
        part = band[top : top + down, left : left + right]
        high, wide = part.shape
        whole = np.empty((down, right), band.dtype)
        whole[:high, :wide] = part
        whole[high:, :wide] = part[-1]
        whole[:, wide:] = whole[:, wide - 1 : wide]
        yield whole


def _packed(part: NDArray[Any]) -> bytes:
    return isal_zlib.compress(part, 1)


def nodata(bands: tuple[Band, ...]) -> float | None:
    """The one number that means no data in all bands; a GeoTIFF has no more. Raises BadRequest where there are two."""
    found = {"nan" if band.nodata is not None and math.isnan(band.nodata) else band.nodata for band in bands}
    if len(found) > 1:
        raise BadRequest(
            f"{', '.join(band.name for band in bands)}: no data is {' and '.join(map(str, found))} in them, and a "
            "GeoTIFF has one number for it; ask for one at a time, or for .npy"
        )
    return bands[0].nodata


def npy(raster: Raster) -> bytes:
    """NumPy's format, (bands, rows, columns)."""
    made = io.BytesIO()
    np.save(made, raster.pixels, allow_pickle=False)
    return made.getvalue()


FORMS: Mapping[str, tuple[str, Callable[[Raster], bytes]]] = {"tif": (GEOTIFF, geotiff), "npy": (NPY, npy)}
"""Suffix → media type, and what writes numbers so."""
