"""The one writer of Cloud Optimized GeoTIFFs: 512 px blocks, packed by a profile, overviews down to one block.

The file is written here byte by byte (TIFF 6.0, OGC GeoTIFF 1.1, and GDAL's notes of block order and size), because no
stock writer takes overviews that are already there, computes the mode of classes, and gives the same bytes for the same
pixels. rio-cogeo's strict validation, GDAL and tifffile are its tests, and publishing validates each file again.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Protocol

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from converters.profiles import Profile
from kartotek import fast, tiff
from kartotek.errors import BadFile
from kartotek.grids import BLOCK, Grid
from kartotek.nodata import held, is_between, keep_apart, present
from kartotek.product import Kind, Layer, LayerType
from kartotek.tiff import LONG, SHORT, Tag

_GHOST = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n"
)
"""What GDAL may rely on: each block lies behind its size, and is followed by its last four bytes again."""


def pyramid(pixels: NDArray[Any], kind: LayerType, *, depth: int) -> list[NDArray[Any]]:
    """The pixels and their overviews, each half the size of the one before; shape (bands, rows, columns).

    Rows and columns must be multiples of 2^depth: of a whole image, or of a part of it whose edges are such multiples.
    A measurement's overview is the mean of the valid pixels that it covers at full resolution, halves rounded up; a
    class's is their mode, the lower code where two are as frequent.
    """
    bands, rows, columns = pixels.shape
    levels = [pixels, *(np.empty((bands, rows >> n, columns >> n), pixels.dtype) for n in range(1, depth + 1))]
    kernels, nothing = fast.kernels(pixels.dtype), held(kind.nodata, pixels.dtype)
    for band in range(bands):
        if not present(pixels[band], kind.nodata).any():  # beyond the edge of what was seen
            reduced = iter([np.full(level.shape[1:], kind.nodata, pixels.dtype) for level in levels[1:]])
        elif kind.kind is Kind.CLASSES:
            reduced = _modes(pixels[band], kind.nodata, depth)
        elif kernels is not None and nothing is not None:
            reduced = _fast_means(kernels, pixels[band], int(nothing), depth)
        else:
            reduced = _means(pixels[band], kind.nodata, depth)
        for level, found in zip(levels[1:], reduced, strict=True):
            level[band] = found
    return levels


def _quarters(band: NDArray[Any], kind: type[np.generic]) -> NDArray[Any]:
    """The sums of 2 x 2 pixels, in a type that is wide enough for them."""
    total: NDArray[Any] = np.add(band[0::2, 0::2], band[0::2, 1::2], dtype=kind)
    total += band[1::2, 0::2]
    total += band[1::2, 1::2]
    return total


def _means(band: NDArray[Any], nodata: float, depth: int) -> Iterator[NDArray[Any]]:
    """Overviews of a measurement."""
    whole = np.issubdtype(band.dtype, np.integer)
    wide: type[np.number[Any]] = np.float64
    if whole:
        # Twice the sum of 4^7 pixels of 16 bits is the largest number that is still below 2^32.
        wide = np.uint32 if band.dtype in (np.uint8, np.uint16) and depth <= 7 else np.int64
    valid = present(band, nodata)
    sums = band if nodata == 0 else np.where(valid, band, band.dtype.type(0))
    counts: NDArray[Any] = valid
    for _ in range(depth):
        sums, counts = _quarters(sums, wide), _quarters(counts, np.uint32)
        some = np.maximum(counts, 1)
        # Whole numbers stay whole, so that halves are rounded up without exception.
        mean = (2 * sums + some) // (2 * some) if whole else sums / some
        found = np.where(counts > 0, mean, nodata).astype(band.dtype)
        keep_apart(found, nodata, counts > 0)
        yield found


def _fast_means(kernels: ModuleType, band: NDArray[Any], nodata: int, depth: int) -> Iterator[NDArray[Any]]:
    """The same, compiled."""
    rows, columns = band.shape
    apart = is_between(nodata, band.dtype)
    finer: tuple[NDArray[Any], ...] = ()
    for level in range(1, depth + 1):
        shape = rows >> level, columns >> level
        sums, counts, found = np.empty(shape, np.int64), np.empty(shape, np.uint32), np.empty(shape, band.dtype)
        if finer:
            kernels.quartered(*finer, sums, counts)
        else:
            kernels.gathered(band, nodata, sums, counts)
        kernels.means(sums, counts, level, nodata, nodata, apart, found)
        finer = sums, counts
        yield found


def _modes(band: NDArray[Any], nodata: float, depth: int) -> Iterator[NDArray[Any]]:
    """Overviews of classes."""
    # Classes are mostly of 8 bits, and counting them needs no sorting.
    found = np.flatnonzero(np.bincount(band.reshape(-1))) if band.dtype == np.uint8 else np.unique(band)
    codes = [code for code in found if code != nodata]
    best = [np.full((band.shape[0] >> n, band.shape[1] >> n), nodata, band.dtype) for n in range(1, depth + 1)]
    most = [np.zeros(found.shape, np.uint32) for found in best]
    for code in codes:
        counts: NDArray[Any] = band == code
        for level in range(depth):
            counts = _quarters(counts, np.uint32)
            more = counts > most[level]
            best[level][more] = code
            most[level][more] = counts[more]
    yield from best


class Image(Protocol):
    """One resolution of a file, of which the blocks come compressed."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(bands, rows, columns)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its pixels."""

    def blocks(self, pool: ThreadPoolExecutor) -> Iterator[bytes]:
        """All blocks, row by row."""


def write(
    path: Path,
    levels: Sequence[NDArray[Any] | Image],
    grid: Grid,
    layer: Layer,
    *,
    threads: int = 2,
    profile: Profile = Profile.STANDARD,
) -> None:
    """Write one COG: `levels` are the pixels and their overviews as `pyramid` gives them.

    The first one's blocks are taken before the overviews are looked at, and kept in a file beside until these are
    written: overviews may be made meanwhile. `profile` is that of their blocks where they come compressed. The same
    arguments give the same bytes, whatever the count of threads.
    Raises OSError where the disk is full.
    """
    with ThreadPoolExecutor(threads) as pool:
        write_in(pool, path, levels, grid, layer, profile)


def write_in(
    pool: ThreadPoolExecutor,
    path: Path,
    levels: Sequence[NDArray[Any] | Image],
    grid: Grid,
    layer: Layer,
    profile: Profile,
) -> None:
    """The same, in threads that are there already."""
    images: list[Image] = [_InMemory(level, profile) if isinstance(level, np.ndarray) else level for level in levels]
    with tempfile.TemporaryFile(dir=path.parent) as beside:
        sizes = [[_put(beside, block) for block in images[0].blocks(pool)]]
        with path.open("wb") as file:
            geo = _geo_tags(grid, layer)
            start = len(_header(images, geo, None, profile))
            file.write(b"\0" * start)
            # The smallest overview first: a reader that takes the head of the file has the coarse picture at once.
            for image in reversed(images[1:]):
                sizes.insert(1, [_put(file, block) for block in image.blocks(pool)])
            beside.seek(0)
            shutil.copyfileobj(beside, file, 1 << 20)
            if file.tell() >= 2**32:
                raise BadFile(f"{path.name}: {file.tell()} bytes; a classic TIFF ends at 4 GiB")
            file.seek(0)
            file.write(_header(images, geo, _places(start, sizes), profile))


def _put(file: IO[bytes], block: bytes) -> int:
    """Write a block between its leader and its trailer; its size."""
    file.write(struct.pack("<I", len(block)))
    file.write(block)
    file.write(block[-4:])
    return len(block)


def _places(start: int, sizes: list[list[int]]) -> list[_Places]:
    """Where the blocks of each image lie, the last image's first."""
    places: list[_Places] = []
    for counts in reversed(sizes):
        offsets = list(accumulate((size + 8 for size in counts), initial=start))
        places.insert(0, ([offset + 4 for offset in offsets[:-1]], counts))
        start = offsets[-1]
    return places


@dataclass(frozen=True, slots=True)
class _InMemory:
    """An image whose pixels are there."""

    pixels: NDArray[Any]
    profile: Profile

    @property
    def shape(self) -> tuple[int, int, int]:
        bands, rows, columns = self.pixels.shape
        return bands, rows, columns

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pixels.dtype

    def blocks(self, pool: ThreadPoolExecutor) -> Iterator[bytes]:
        _, rows, columns = self.pixels.shape
        corners = [(row, column) for row in range(0, rows, BLOCK) for column in range(0, columns, BLOCK)]
        return pool.map(lambda corner: encode(self._part(*corner), self.profile), corners)

    def _part(self, row: int, column: int) -> NDArray[Any]:
        return self.pixels[:, row : row + BLOCK, column : column + BLOCK]


def encode(part: NDArray[Any], profile: Profile = Profile.STANDARD) -> bytes:
    """One block, compressed; beyond the image's edge its last row and column go on, which costs few bytes."""
    kernels = fast.kernels(part.dtype)
    if kernels is not None and len(part) == 1 and part.flags.writeable:  # they are compiled for such arrays alone
        shaped = np.empty((BLOCK, BLOCK), part.dtype)
        kernels.differences(part[0], shaped)
        return profile.pack(shaped)
    missing = ((0, 0), (0, BLOCK - part.shape[1]), (0, BLOCK - part.shape[2]))
    block = np.ascontiguousarray(np.moveaxis(np.pad(part, missing, mode="edge"), 0, -1))
    return profile.pack(tiff.predicted(block, axis=-2))


_Places = tuple[list[int], list[int]]
"""Offsets and sizes of an image's blocks."""


def _header(images: Sequence[Image], geo: list[Tag], places: list[_Places] | None, profile: Profile) -> bytes:
    """All that stands before the first block; of the same length before and after the places are known."""
    ghost = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n" % len(_GHOST) + _GHOST
    start = 8 + len(ghost) + len(ghost) % 2
    result = bytearray(struct.pack("<2sHI", b"II", 42, start) + ghost)
    result += b" " * (start - len(result))
    for position, image in enumerate(images):
        tags = _image_tags(image, places[position] if places else None, profile, overview=position > 0)
        tags += geo if position == 0 else [tag for tag in geo if tag[0] == 42113]
        result += tiff.directory(tags, len(result), last=position == len(images) - 1)
    return bytes(result)


def _image_tags(image: Image, places: _Places | None, profile: Profile, *, overview: bool) -> list[Tag]:
    bands, rows, columns = image.shape
    blank = [0] * (-(-rows // BLOCK) * -(-columns // BLOCK))
    return [
        (254, LONG, [int(overview)]),
        (262, SHORT, [2 if bands == 3 else 1]),
        (284, SHORT, [1]),
        *tiff.image((rows, columns), (BLOCK, BLOCK), profile.compression),
        *tiff.numbers(image.dtype, bands),
        *tiff.blocks(*(places or (blank, blank))),
    ]


def _geo_tags(grid: Grid, layer: Layer) -> list[Tag]:
    """Where the pixels lie, and what they mean. Raises BadFile for a CRS that an item could not name by a code."""
    if tiff.epsg(grid.crs) is None:
        raise BadFile(f"{grid.crs}: has no EPSG code, which our files need")
    names = [band.name for band in layer.type.bands] or [layer.type.name]
    meanings = (
        tiff.meaning(sample, name, layer.scale, layer.offset, layer.type.unit) for sample, name in enumerate(names)
    )
    return [*tiff.place(grid), tiff.nodata(layer.type.nodata), tiff.metadata(meanings)]


def validate(path: Path) -> None:
    """Raise BadFile where rio-cogeo's strict validation finds an error or a warning, or the file's end is missing."""
    from rio_cogeo.cogeo import cog_validate

    try:
        _, errors, warnings = cog_validate(path, strict=True, quiet=True)
        with rasterio.open(path, driver="GTiff") as file:
            # rio-cogeo takes tiles that are as wide as the file, or as an overview, for strips.
            if file.block_shapes[0] == (BLOCK, BLOCK):
                errors = [error for error in errors if "not tiled" not in error]
            file.read(1, window=((file.height - 1, file.height), (file.width - 1, file.width)))  # in the last block
    except RasterioError as error:
        raise BadFile(f"{path.name}: can't be read back: {error}") from error
    if errors or warnings:
        raise BadFile(f"{path.name}: not a Cloud Optimized GeoTIFF: {'; '.join([*errors, *warnings])}")
