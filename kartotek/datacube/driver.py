"""How a file's numbers become the old cube's while it is read: the reader that odc-stac is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.loader import (
    RasterBandMetadata,
    RasterGroupMetadata,
    RasterLoadParams,
    RasterSource,
    RioDriver,
    RioReader,
)
from rasterio.errors import RasterioError

from kartotek.datacube.products import Measurement, numbers
from kartotek.errors import OriginError

REFLECTANCE = 10_000
"""What a reflectance of 1 is in the old cube's numbers."""
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
            rescale(pixels, self._src.driver_data, nodata=cfg.fill_value)
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


def rescale(pixels: NDArray[Any], scaling: Scaling, *, nodata: float | None) -> None:
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
