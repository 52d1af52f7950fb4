"""Pixels of a layer: read as delivered, and placed on the grid of our files.

Zone 33 is copied, pixel for pixel. Other zones are resampled once: bilinear for measurements, nearest for classes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from kartotek import footprints, grids, memory, sampling
from kartotek.errors import BrokenProduct
from kartotek.grids import Bounds, Grid
from kartotek.product import Kind, Layer, LayerType

DRIVERS = ("JP2OpenJPEG", "GTiff")
"""What a band's file may be, whatever it is called."""
MAX_PIXELS = 600_000_000
"""Pixels of a band that are read; genuine ones have 10 980² (Sentinel-2), or 25 800 x 16 700 (Sentinel-1 IW GRDH)."""
METRES_PER_DEGREE = 111_319.49
"""Of the equator."""
STRIP = 64
"""Rows that are warped at a time: what is needed beside the arrays themselves is in proportion to it."""


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels and where they lie."""

    pixels: NDArray[Any]
    """(bands, rows, columns)."""
    grid: Grid


def read(layer: Layer, *, threads: int = 2) -> Raster:
    """The layer's pixels as the agency delivered them.

    Raises BrokenProduct where the file can't be read, is of another type, or lies elsewhere than the metadata says;
    MemoryError where what can't be had is memory.
    """
    try:
        with _opened(layer.href) as source:
            if source.width * source.height > MAX_PIXELS:
                raise BrokenProduct(f"{layer.file}: {source.width} x {source.height} pixels; {MAX_PIXELS} at most")
            if source.count != max(1, len(layer.type.bands)):
                raise BrokenProduct(f"{layer.file}: {source.count} bands, expected {max(1, len(layer.type.bands))}")
            if source.dtypes[0] != layer.type.data_type:
                raise BrokenProduct(f"{layer.file}: pixels are {source.dtypes[0]}, expected {layer.type.data_type}")
            grid = _reconciled(layer, source)
            shape, step = (source.count, source.height, source.width), source.block_shapes[0][0]
        return Raster(_pixels(layer, shape, step, threads=threads), grid)
    except (RasterioError, OSError, ValueError) as error:
        if memory.ran_out(error):
            raise MemoryError(layer.file) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BrokenProduct(
            f"{layer.file}: can't be read ({reason}); fetch the product again, or leave the band out by --allow-partial"
        ) from error


def _pixels(layer: Layer, shape: tuple[int, int, int], step: int, *, threads: int) -> NDArray[Any]:
    """All pixels, read by rows of tiles in threads that each have the file open.

    GDAL's own threads would lose the error of a tile that can't be decoded, and give any pixels.
    """
    pixels = np.empty(shape, layer.type.data_type)
    starts = list(range(0, shape[1], step))

    def part(number: int) -> None:
        with rasterio.Env(GDAL_NUM_THREADS=1), _opened(layer.href) as source:
            for start in starts[number::threads]:
                rows = min(step, shape[1] - start)
                source.read(window=Window(0, start, shape[2], rows), out=pixels[:, start : start + rows])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, range(min(threads, len(starts)))))
    return pixels


def _opened(href: str) -> rasterio.DatasetReader:
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


def target(source: Grid, crs: str) -> Grid:
    """The grid that pixels of `source` get in `crs`: the same pixels where they can be copied, else nearby ones."""
    if copies(source, crs):
        if grids.aligned(source):
            return grids.snapped(crs, source.resolution, source.bounds)
        return grids.padded(source)
    size, moved = resolution(source, crs), outline(source, crs)
    # A pixel more, since the outline bends by up to a metre between its points.
    wide = Bounds(moved.left - size, moved.bottom - size, moved.right + size, moved.top + size)
    return grids.snapped(crs, size, wide)


def resolution(source: Grid, crs: str) -> float:
    """The pixel size of a warp to `crs`, in its units: the source's in metres, or as many degrees at the equator."""
    metres = max(1, round(source.resolution))
    return metres if grids.is_metric(crs) else metres / METRES_PER_DEGREE


def outline(source: Grid, crs: str) -> Bounds:
    """The bounds of `source` in `crs`; not finite where the CRS does not reach there."""
    edge = shapely.segmentize(footprints.box(source.bounds), 5_000)
    change = grids.transformer(source.crs, crs)
    moved = shapely.transform(edge, lambda x, y: change.transform(x, y), interleaved=False)
    return Bounds(*moved.bounds)


def copies(source: Grid, crs: str) -> bool:
    """Whether pixels go to `crs` unchanged."""
    return source.crs == crs or (grids.same_pixels(source.crs, crs) and grids.aligned(source))


def place(raster: Raster, kind: LayerType, crs: str, *, threads: int = 2) -> Raster:
    """The pixels on their grid in `crs`, with nodata around them.

    Beside source and result, memory is needed for `STRIP` rows per thread.
    """
    grid = target(raster.grid, crs)
    pixels = np.full((len(raster.pixels), *grid.shape), kind.nodata, raster.pixels.dtype)
    if copies(raster.grid, crs):
        column = round((raster.grid.left - grid.left) / grid.resolution)
        row = round((grid.top - raster.grid.top) / grid.resolution)
        pixels[:, row : row + raster.grid.rows, column : column + raster.grid.columns] = raster.pixels
        return Raster(pixels, grid)
    lattice = sampling.Lattice.between(grid, raster.grid)

    def strip(start: int) -> None:
        stop = min(start + STRIP, grid.rows)
        columns, rows = lattice.expand(start, stop)
        for source, result in zip(raster.pixels, pixels, strict=True):
            if kind.kind is Kind.CLASSES:
                result[start:stop] = sampling.nearest(source, columns, rows, fill=kind.nodata)
            else:
                result[start:stop] = sampling.bilinear(source, columns, rows, nodata=kind.nodata, fill=kind.nodata)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(strip, range(0, grid.rows, STRIP)))
    return Raster(pixels, grid)
