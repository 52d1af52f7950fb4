"""Pixels of a layer as the agency delivered them, which come row of tiles by row of tiles, from north to south.

Files that are laid out as the agency's are cut at their tiles; GDAL reads all others, and says what is wrong with one.
"""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from converters import jp2
from kartotek import gdal, memory
from kartotek.errors import BrokenProduct
from kartotek.grids import Grid
from kartotek.product import Layer
from kartotek.stopwatch import Stopwatch

DRIVERS = ("JP2OpenJPEG", "GTiff")
"""What a band's file may be, whatever it is called."""
MAX_PIXELS = 600_000_000
"""Pixels of a band that are read; genuine ones have 10 980² (Sentinel-2), or 25 800 x 16 700 (Sentinel-1 IW GRDH)."""
ROWS = 512
"""Rows that GDAL reads at a time, at least."""
_ZIP = "/vsizip/{"


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels and where they lie."""

    pixels: NDArray[Any]
    """(bands, rows, columns)."""
    grid: Grid


def read(layer: Layer, *, threads: int = 2) -> Raster:
    """The layer's pixels, all of them. Raises what `opened` and `Scan.reach` do, but `jp2.Unusual`."""
    with ThreadPoolExecutor(threads) as pool:
        try:
            return _whole(layer, pool, cut=True)
        except jp2.Unusual:
            return _whole(layer, pool, cut=False)


def _whole(layer: Layer, pool: ThreadPoolExecutor, *, cut: bool) -> Raster:
    with opened(layer, pool, cut=cut) as scan:
        scan.reach(scan.grid.rows)
        return Raster(scan.pixels, scan.grid)


@contextmanager
def opened(
    layer: Layer, pool: ThreadPoolExecutor, watch: Stopwatch | None = None, *, cut: bool = True
) -> Iterator[Scan]:
    """The layer's pixels, to come. `cut` says whether its file may be cut at its tiles, which else GDAL reads.

    Raises BrokenProduct where the file can't be read, is of another type, or lies elsewhere than the metadata says;
    MemoryError where what can't be had is memory.
    """
    with ExitStack() as stack:
        with _in_our_words(layer):
            with _dataset(layer.href) as source:
                _check(layer, source)
                grid = _reconciled(layer, source)
                shape, step = (source.count, source.height, source.width), source.block_shapes[0][0]
            tiles = _tiles(layer, shape, stack) if cut else None
            scan = Scan(layer, grid, shape, tiles or _by_gdal(layer, shape, step), pool, watch or Stopwatch())
        try:
            yield scan
        finally:
            scan.stop()


Put = Callable[[NDArray[Any]], None]
"""Decodes some pixels, and puts them into the raster that it is given."""


class Scan:
    """A layer's pixels: rows are asked for from north to south, and let go when they are not needed any more."""

    def __init__(
        self,
        layer: Layer,
        grid: Grid,
        shape: tuple[int, int, int],
        parts: list[tuple[int, list[Put]]],
        pool: ThreadPoolExecutor,
        watch: Stopwatch,
    ) -> None:
        """`parts` are the rows of tiles: where each ends, and what decodes it."""
        self.layer, self.grid = layer, grid
        self._parts, self._pool, self._watch = parts, pool, watch
        data_type = np.dtype(layer.type.data_type)
        count = math.prod(shape)
        # Memory of the system's own: it is taken when a row is written, and given back row by row.
        self._memory = mmap.mmap(-1, max(1, count * data_type.itemsize), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.pixels: NDArray[Any] = np.frombuffer(self._memory, data_type, count).reshape(shape)
        """(bands, rows, columns) of the whole; of use only in the rows that were asked for and not let go."""
        self._begun: list[list[Future[None]]] = []
        self._left = 0

    def reach(self, row: int) -> None:
        """Wait until the rows before one are there, while the next row of tiles is decoded already.

        Raises BrokenProduct where they can't be read, MemoryError, and `jp2.Unusual` where GDAL has to read the file,
        from its beginning.
        """
        needed = sum(begin < row for begin in [0, *(stop for stop, _ in self._parts[:-1])])
        for _, puts in self._parts[len(self._begun) : needed + 1]:
            self._begun.append([self._pool.submit(self._decode, put) for put in puts])
        with _in_our_words(self.layer):
            for part in self._begun[:needed]:
                while part:
                    part[-1].result()
                    part.pop()

    def leave(self, row: int) -> None:
        """Let go the rows before one: their memory is the system's again."""
        bands, rows, columns = self.pixels.shape
        width, page = columns * self.pixels.itemsize, mmap.PAGESIZE
        for band in range(bands):
            start, stop = (band * rows + self._left) * width, (band * rows + min(row, rows)) * width
            first, last = -(-start // page) * page, stop // page * page
            if last > first:
                self._memory.madvise(mmap.MADV_DONTNEED, first, last - first)
        self._left = max(self._left, row)

    def stop(self) -> None:
        """End what is under way: what has not begun never does."""
        left = [future for part in self._begun for future in part]
        for future in left:
            future.cancel()
        wait(left)

    def _decode(self, put: Put) -> None:
        with self._watch.stage("decode"):
            put(self.pixels)


def _tiles(layer: Layer, shape: tuple[int, int, int], stack: ExitStack) -> list[tuple[int, list[Put]]] | None:
    """How the file is decoded tile by tile; None where it is not laid out as the agency's are."""
    try:
        descriptor = stack.enter_context(_bytes(layer.href))
        read, size = jp2.reader(descriptor), os.fstat(descriptor).st_size
        stream = jp2.parse(read, size)
    except (jp2.Unusual, OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        return None
    if (stream.bands, stream.rows, stream.columns) != shape or stream.data_type != layer.type.data_type:
        return None

    def put(number: int) -> Put:
        def decode(pixels: NDArray[Any]) -> None:
            pixels[:, *stream.window(number)] = stream.decode(number, read)

        return decode

    return [
        (min(stop, stream.rows), [put(number) for number in range(first, first + stream.across)])
        for stop, first in zip(
            range(stream.height, stream.rows + stream.height, stream.height),
            range(0, stream.count, stream.across),
            strict=True,
        )
    ]


@contextmanager
def _bytes(href: str) -> Iterator[int]:
    """A file to be read at any place: one in a zip is unpacked beside, where nobody sees it."""
    with ExitStack() as stack:
        if not href.startswith(_ZIP):
            yield stack.enter_context(open(href, "rb")).fileno()  # noqa: PTH123  it may be any name of GDAL's
            return
        archive, _, name = href.removeprefix(_ZIP).partition("}/")
        file = stack.enter_context(tempfile.TemporaryFile())
        with zipfile.ZipFile(archive) as packed, packed.open(name) as entry:
            shutil.copyfileobj(entry, file, 1 << 20)
        file.flush()
        yield file.fileno()


def _by_gdal(layer: Layer, shape: tuple[int, int, int], step: int) -> list[tuple[int, list[Put]]]:
    """How GDAL decodes the file by rows of tiles, in threads that each have the file open.

    Its own threads would lose the error of a tile that can't be decoded, and give any pixels.
    """
    step *= -(-ROWS // step)

    def put(start: int) -> Put:
        def decode(pixels: NDArray[Any]) -> None:
            rows = min(step, shape[1] - start)
            with gdal.at_work(GDAL_NUM_THREADS=1), _dataset(layer.href) as source:
                source.read(window=Window(0, start, shape[2], rows), out=pixels[:, start : start + rows])

        return decode

    return [(min(start + step, shape[1]), [put(start)]) for start in range(0, shape[1], step)]


@contextmanager
def _in_our_words(layer: Layer) -> Iterator[None]:
    """Errors of reading the layer's file, in our words."""
    try:
        yield
    except (RasterioError, OSError, ValueError) as error:
        if memory.ran_out(error):
            raise MemoryError(layer.file) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BrokenProduct(
            f"{layer.file}: can't be read ({reason}); fetch the product again, or leave the band out by --allow-partial"
        ) from error


def _check(layer: Layer, source: rasterio.DatasetReader) -> None:
    """Raise BrokenProduct where the file is of another type or size than a band."""
    bands = max(1, len(layer.type.bands))
    if source.width * source.height > MAX_PIXELS:
        raise BrokenProduct(f"{layer.file}: {source.width} x {source.height} pixels; {MAX_PIXELS} at most")
    if source.count != bands:
        raise BrokenProduct(f"{layer.file}: {source.count} bands, expected {bands}")
    if source.dtypes[0] != layer.type.data_type:
        raise BrokenProduct(f"{layer.file}: pixels are {source.dtypes[0]}, expected {layer.type.data_type}")


def _dataset(href: str) -> rasterio.DatasetReader:
    """The file, by one of our drivers; the error is the first one's, since files are mostly what they are called."""
    try:
        return rasterio.open(href, driver=DRIVERS[0])
    except RasterioError as error:
        try:
            return rasterio.open(href, driver=DRIVERS[1])
        except RasterioError:
            raise error from None


def _reconciled(layer: Layer, source: rasterio.DatasetReader) -> Grid:
    """Where the file's pixels lie: by its own georeferencing where it has one, by the metadata where it has none."""
    stated, transform = layer.grid, source.transform
    crs, left, top = stated.crs, stated.left, stated.top
    # The file covers the granule as a whole, at whatever resolution it was delivered.
    resolution = stated.resolution * stated.columns / source.width
    if source.crs is not None and not transform.is_identity:
        if transform.b or transform.d or abs(transform.a + transform.e) > 1e-6 * transform.a:
            raise BrokenProduct(f"{layer.file}: pixels are not north-up squares: {tuple(transform)[:6]}")
        crs, left, top, resolution = f"EPSG:{source.crs.to_epsg()}", transform.c, transform.f, transform.a
    found = Grid(
        crs=crs,
        left=left,
        top=top,
        resolution=int(resolution) if float(resolution).is_integer() else resolution,
        columns=source.width,
        rows=source.height,
    )
    corner = max(abs(left - stated.left), abs(top - stated.top))
    # Coarser pixels than the agency's may not fit into the granule a whole number of times.
    opposite = max(abs(found.bounds.right - stated.bounds.right), abs(found.bounds.bottom - stated.bounds.bottom))
    elsewhere = crs != stated.crs or corner > resolution / 2 or opposite > max(resolution, stated.resolution)
    if elsewhere or resolution < 0.999 * stated.resolution:  # finer than the agency's there is none
        raise BrokenProduct(
            f"{layer.file}: {_told(found)}, but the metadata says {_told(stated)}; fetch the product again, or leave "
            "the band out by --allow-partial"
        )
    return found


def _told(grid: Grid) -> str:
    """A grid in words."""
    size = f"{grid.columns} x {grid.rows} pixels of {grid.resolution:g} m"
    return f"{size} at ({grid.left:.10g}, {grid.top:.10g}) in {grid.crs}"
