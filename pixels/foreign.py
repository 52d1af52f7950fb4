"""Rasters that are no COGs of ours: GDAL reads them, in blocks as if they were, and from our storage alone."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby, product
from threading import Lock
from typing import Any

import numpy as np
import rasterio
from cachetools import LRUCache
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from kartotek import gdal
from kartotek.errors import BadRequest, NotFound
from kartotek.grids import BLOCK
from kartotek.storage import Storage
from pixels.directory import GDAL, Directory, Level
from pixels.stored import NAME, Pages, Stored

DRIVERS = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}
"""What files begin with (TIFF 6.0, BigTIFF, ISO 15444-1) → the driver that reads them. No others are tried: of some
formats a file names other files."""
MAX_BYTES = 64 << 20
"""Of the blocks that one picture needs; of our COGs it needs less, since these have overviews."""
MAX_PART = 32 << 20
"""Bytes of a strip or a block of a file, which is unpacked whole."""
MAX_BLOCKS = 1 << 20
"""Of a file at full resolution: 524 288 pixels on each side."""
_CACHE = 32
"""Megabytes that GDAL keeps of what it has unpacked: few, since it is asked once for whole strips and blocks."""
_FILES = 16
"""Of which the parts that GDAL reads again and again are kept, in 2 MB each at most."""

# Items say where pixels lie.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


class Files:
    """Reads files by GDAL; safe to share between threads, each of which opens them anew."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._pages: LRUCache[str, Pages] = LRUCache(_FILES)
        self._lock = Lock()

    def directory(self, key: str) -> Directory:
        """What a reader has to know of a file: its full resolution, and overviews by powers of two as far as they go.

        Raises NotFound where GDAL can't read it, or not in parts.
        """
        stored, levels = self._stored(key), list[Level]()
        nowhere = np.empty(0, np.uint32)
        with _opened(stored, key) as first:
            kinds = {*first.dtypes}
            if len(kinds) != 1 or (data_type := np.dtype(first.dtypes[0])).kind not in "iuf":
                raise NotFound(f"{key}: its pixels are {', '.join(sorted(kinds))}; whole numbers or floats of one type")
            count, samples = len(first.overviews(1)), first.count
            for level in range(1 + count):
                with contextlib.nullcontext(first) if level == 0 else _opened(stored, key, level) as image:
                    found = Level(image.width, image.height, nowhere, nowhere)
                    _check_parts(key, image, data_type)
                if levels and not found.is_half(levels[0], level):
                    break
                levels.append(found)
        return Directory(key, tuple(levels), data_type, samples, GDAL)

    def read(self, file: Directory, level: int, numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Blocks of a level, (samples, 512, 512) each, 0 beyond its edge; `numbers` count them row by row, and ascend.

        Others come with them, that lie in the same blocks or strips of the file, since these are unpacked whole. Raises
        NotFound where GDAL can't read them.
        """
        image, stored = file.levels[level], self._stored(file.key)
        with _opened(stored, file.key, level) as dataset:
            tall, wide = _unit(dataset, file)
            for down, some in groupby(numbers, lambda number: number // image.across // tall):
                columns = [number % image.across for number in some]
                first, last = min(columns) // wide * wide, min(image.across, (max(columns) // wide + 1) * wide)
                top, bottom = down * tall, min(image.down, (down + 1) * tall)
                rows = slice(top * BLOCK, min(image.rows, bottom * BLOCK))
                place = slice(first * BLOCK, min(image.columns, last * BLOCK))
                pixels = dataset.read(window=Window.from_slices(rows, place))
                stored.check(file.key)
                for row, column in product(range(top, bottom), range(first, last)):
                    y, x = (row - top) * BLOCK, (column - first) * BLOCK
                    part = pixels[:, y : y + BLOCK, x : x + BLOCK]
                    block = np.zeros((file.samples, BLOCK, BLOCK), file.data_type)
                    block[:, : part.shape[1], : part.shape[2]] = part
                    yield row * image.across + column, block

    def _stored(self, key: str) -> Stored:
        with self._lock:
            return Stored(self._pages.setdefault(key, Pages(self._storage, key)))


@contextlib.contextmanager
def _opened(stored: Stored, key: str, level: int = 0) -> Iterator[rasterio.DatasetReader]:
    """A level of a file. Raises NotFound for what goes wrong in GDAL, and what the storage raised."""
    head = stored.pages.read(0, 12)
    driver = next((name for start, name in DRIVERS.items() if head.startswith(start)), None)
    if driver is None:
        raise NotFound(f"{key}: is no GeoTIFF and no JPEG 2000")
    options = {"OVERVIEW_LEVEL": level - 1} if level else {}
    try:
        # Threads of GDAL's own would not find the file.
        with (
            gdal.at_work(GDAL_NUM_THREADS="1", GDAL_CACHEMAX=_CACHE),
            rasterio.open(NAME, driver=driver, opener=stored, **options) as dataset,
        ):
            stored.check(key)
            yield dataset
    except (RasterioError, ValueError) as error:
        stored.check(key, error)


def check(wanted: Collection[tuple[str, int, int]], files: Mapping[str, Directory]) -> None:
    """Raise BadRequest where more blocks of files that are not ours are wanted than one picture may need."""
    sizes = {
        key: BLOCK * BLOCK * file.samples * file.data_type.itemsize
        for key, file in files.items()
        if file.compression == GDAL
    }
    if not sizes:
        return
    total = sum(sizes.get(key, 0) for key, _, _ in wanted)
    if total > MAX_BYTES:
        raise BadRequest(
            f"{total} bytes of pixels would be read, at most {MAX_BYTES} will do: {', '.join(sorted(sizes))} have no "
            "overviews that are as coarse as this; ask for finer pixels, or for fewer layers"
        )


def _check_parts(key: str, image: rasterio.DatasetReader, data_type: np.dtype[Any]) -> None:
    """Raise NotFound where a level of a file can't be read in parts."""
    if -(-image.width // BLOCK) * -(-image.height // BLOCK) > MAX_BLOCKS:
        raise NotFound(f"{key}: {image.width} x {image.height} pixels; {MAX_BLOCKS} blocks of {BLOCK} at most")
    rows, columns = image.block_shapes[0]
    # Of bands that lie pixel by pixel, all are unpacked.
    size = rows * columns * image.count * data_type.itemsize
    if size > MAX_PART:
        raise NotFound(
            f"{key}: its blocks or strips are {columns} x {rows} pixels, {size} bytes, and can't be read in part; at "
            f"most {MAX_PART}: write it anew in blocks of {BLOCK}, as a COG"
        )


def _unit(image: rasterio.DatasetReader, file: Directory) -> tuple[int, int]:
    """Rows and columns of our blocks that are unpacked at once; one where that would be too many."""
    sizes = [
        -(-size // BLOCK) if own >= size else max(1, own // BLOCK)
        for own, size in zip(image.block_shapes[0], image.shape, strict=True)
    ]
    total = sizes[0] * sizes[1] * BLOCK * BLOCK * file.samples * file.data_type.itemsize
    return (sizes[0], sizes[1]) if total <= MAX_PART else (1, 1)
