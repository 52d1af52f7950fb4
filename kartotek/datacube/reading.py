"""Pixels of items by odc-stac and its loader, in the old cube's numbers, and a word on each file that is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import odc.stac
import pystac
import xarray
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox, GeoboxTiles
from odc.loader import (
    RasterBandMetadata,
    RasterGroupMetadata,
    RasterLoadParams,
    RasterSource,
    RioDriver,
    RioReader,
    chunked_load,
    resolve_chunk_shape,
    resolve_load_cfg,
)
from odc.stac import ParsedItem
from rasterio.errors import RasterioError

from kartotek.datacube.products import Measurement, numbers
from kartotek.errors import OriginError

REFLECTANCE = 10_000
"""What a reflectance of 1 is in the old cube's numbers."""
THREADS = 8
"""Files read at a time without Dask: most of the time somebody waits for an answer."""
LARGEST = 4096
"""Rows and columns of what is read of a file at a time without Dask."""
GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "CPL_VSIL_CURL_USE_HEAD": "NO",
}
"""While a file is read, where nothing else is set: nothing is looked for beside it; its head comes in one request."""

Scaling = tuple[float, float]
"""What numbers are multiplied by, and what is added then."""


class Parser:
    """What odc-stac has to know of items: the assets that are wanted, and what makes the old numbers of theirs.

    It implements odc-loader's `MDParser`.
    """

    def __init__(self, measurements: Sequence[Measurement], *, native: bool) -> None:
        self._wanted = {one.asset: one for one in measurements}
        self._native = native

    def extract(self, md: pystac.Item) -> RasterGroupMetadata:
        """All that are wanted, whether this item has them or not."""
        # Dask must not take two kinds of numbers of one file for the same: this is of what it tells them apart by.
        kind = "as delivered" if self._native else f"reflectance x {REFLECTANCE}"
        bands = {
            (key, 1): RasterBandMetadata(data_type=one.dtype, nodata=one.nodata, units=one.units, driver_data=kind)
            for key, one in self._wanted.items()
        }
        return RasterGroupMetadata(bands, {}, {}, [])

    def driver_data(self, md: pystac.Item, band_key: tuple[str, int]) -> Scaling | None:
        """How the numbers of an asset become reflectance x 10 000; None where they stay as they are."""
        key, _ = band_key
        if self._native or not self._wanted[key].reflectance:
            return None
        said = numbers(md.assets[key].extra_fields)
        scale = said.get("raster:scale", said.get("scale"))
        if scale is None:
            return None
        offset = said.get("raster:offset", said.get("offset", 0.0))
        # Written as 0.0001 and -0.1: what they mean is 1 and -1000.
        found = round(scale * REFLECTANCE, 9), round(offset * REFLECTANCE, 6)
        return None if found == (1.0, 0.0) else found


class Reader(RioReader):
    """odc-loader's reader of one file, with the old numbers."""

    def __init__(self, source: RasterSource, ctx: Any, seen: set[str] | None) -> None:
        super().__init__(source, ctx)
        self._seen = seen

    def read(
        self,
        cfg: RasterLoadParams,
        dst_geobox: GeoBox,
        *,
        dst: NDArray[Any] | None = None,
        selection: Any = None,
    ) -> tuple[tuple[slice, slice], NDArray[Any]]:
        """The part of the grid that the file covers, and its pixels."""
        try:
            place, pixels = super().read(cfg, dst_geobox, dst=dst, selection=selection)
        except RasterioError as error:
            raise OriginError(
                f"{self._src.uri} can't be read ({error}); skip_broken_datasets=True loads what is left"
            ) from error
        if self._src.driver_data is not None:
            _rescale(pixels, self._src.driver_data, nodata=cfg.fill_value)
        if self._seen is not None:
            self._seen.add(self._src.uri)
        return place, pixels


class Driver(RioDriver):
    """odc-loader's own driver, whose readers are ours."""

    def __init__(self, parser: Parser, seen: set[str] | None = None) -> None:
        super().__init__(md_parser=parser)
        self._seen = seen

    def capture_env(self) -> dict[str, Any]:
        """GDAL's options for reading."""
        return {**GDAL, **super().capture_env()}

    def open(self, src: RasterSource, ctx: Any) -> Reader:
        """The reader of a file; it is opened when it is read."""
        return Reader(src, ctx, self._seen)


def read(
    items: Sequence[pystac.Item],
    measurements: Sequence[Measurement],
    box: GeoBox,
    *,
    day: Callable[[pystac.Item], Hashable] | None,
    resampling: dict[str, str] | str,
    chunks: dict[str, int | Literal["auto"]] | None,
    native: bool,
    skip_broken: bool,
    progress: Callable[[int, int], object] | None,
) -> xarray.Dataset:
    """The measurements as an xarray.Dataset of (time, y, x), called by their assets.

    Items of one `day`, or of one instant, are one image, the first by time and id on top. With `chunks` they are Dask's
    and nothing is read yet; `progress` is told nothing then.
    """
    assets = list(dict.fromkeys(one.asset for one in measurements))
    files = {asset.href for item in items for key, asset in item.assets.items() if key in assets}
    seen: set[str] | None = set() if progress is not None and chunks is None else None
    parser = Parser(measurements, native=native)
    driver = Driver(parser, seen)
    parsed = list(odc.stac.parse_items(items, md_plugin=parser))
    kind = parsed[0].collection
    params = resolve_load_cfg(kind.resolve_bands(assets), resampling, fail_on_error=not skip_broken)
    images = _images(items, parsed, day)
    if chunks is None:
        tiles = GeoboxTiles(box, _whole(box))
    else:
        _, rows, columns = resolve_chunk_shape(len(images), box, chunks, cfg=params)
        tiles = GeoboxTiles(box, (rows, columns))
    return chunked_load(
        params,
        kind.meta_for(assets),
        [one.resolve_bands(assets) for one in parsed],
        dict(_sources(images, parsed, tiles)),
        tiles,
        [parsed[image[0]].nominal_datetime.replace(tzinfo=None) for image in images],
        driver.capture_env(),
        driver,
        chunks=chunks,
        pool=THREADS if chunks is None else None,
        progress=None if seen is None or progress is None else _Told(progress, seen, len(files)),
    )


def _images(
    items: Sequence[pystac.Item], parsed: Sequence[ParsedItem], day: Callable[[pystac.Item], Hashable] | None
) -> list[list[int]]:
    """The numbers of the items of each image, both in the order of time and id."""
    found: dict[Hashable, list[int]] = {}
    for number in sorted(range(len(items)), key=lambda n: (parsed[n].nominal_datetime, parsed[n].id)):
        key = parsed[number].nominal_datetime if day is None else day(items[number])
        found.setdefault(key, []).append(number)
    return list(found.values())


def _whole(box: GeoBox) -> tuple[int, int]:
    """The grid in one piece, or in few alike: what lies across an edge is decoded once more on its other side."""
    rows, columns = (math.ceil(size / math.ceil(size / LARGEST)) for size in box.shape.yx)
    return rows, columns


def _sources(
    images: Sequence[Sequence[int]], parsed: Sequence[ParsedItem], tiles: GeoboxTiles
) -> Iterator[tuple[tuple[int, int, int], list[int]]]:
    """(image, row, column) of each piece that something reaches into, and the numbers of the items that do."""
    for place, image in enumerate(images):
        found: dict[tuple[int, int], list[int]] = {}
        for number in image:
            outline = parsed[number].safe_geometry(tiles.base.crs)
            for row, column in () if outline is None else tiles.tiles(outline):
                found.setdefault((row, column), []).append(number)
        for (row, column), reaching in found.items():
            yield (place, row, column), reaching


class _Told:
    """Tells how many files are read, each time that odc-stac is through with a part; from the caller's own thread."""

    def __init__(self, progress: Callable[[int, int], object], seen: set[str], files: int) -> None:
        self._progress, self._seen, self._files = progress, seen, files

    def __call__(self, work: Iterable[Any]) -> Iterator[Any]:
        told = 0
        for part in work:
            yield part
            while told < len(self._seen):
                told += 1
                self._progress(told, self._files)
        while told < self._files:  # those that only seemed to reach into the area
            told += 1
            self._progress(told, self._files)


def _rescale(pixels: NDArray[Any], scaling: Scaling, *, nodata: float | None) -> None:
    """Turn numbers into the old ones, in place: what is no data stays, and nothing else becomes it.

    Whole numbers end where their type does; those of a reflectance of zero and below are 1 where 0 is no data, as the
    agency wrote them before baseline 04.00.
    """
    factor, shift = scaling
    empty = np.isnan(pixels) if nodata is None or np.isnan(nodata) else pixels == nodata
    if np.issubdtype(pixels.dtype, np.floating):
        np.copyto(pixels, pixels * factor + shift, where=~empty)
        return
    ends = np.iinfo(pixels.dtype)
    low = ends.min + 1 if nodata == ends.min else ends.min
    found = pixels.astype(np.int32)
    if factor != 1.0:
        found = np.rint(found * factor + shift)
    else:
        found += np.int32(shift)
    np.copyto(pixels, np.clip(found, low, ends.max).astype(pixels.dtype), where=~empty)
