"""Numbers as files for programs: GeoTIFF, and NumPy's own."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from kartotek import gdal
from kartotek.errors import BadRequest
from kartotek.grids import Grid

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

    Where the bands have no nodata, its mask tells where there is no data.
    """
    bands, rows, columns = raster.pixels.shape
    profile = {
        "driver": "GTiff",
        "width": columns,
        "height": rows,
        "count": bands,
        "dtype": raster.pixels.dtype.name,
        "crs": raster.grid.crs,
        "transform": rasterio.Affine(*raster.grid.transform),
        "nodata": nodata(raster.bands),
        "compress": "DEFLATE",
        "zlevel": 1,
        "predictor": 3 if raster.pixels.dtype.kind == "f" else 2,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "interleave": "band",
        "photometric": "MINISBLACK",
    }
    with gdal.at_work(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(raster.pixels)
            for number, band in enumerate(raster.bands, 1):
                file.set_band_description(number, band.name)
                if band.unit:
                    file.set_band_unit(number, band.unit)
            file.scales = tuple(band.scale for band in raster.bands)
            file.offsets = tuple(band.offset for band in raster.bands)
            if profile["nodata"] is None and not raster.valid.all():
                file.write_mask(raster.valid)
        return bytes(memory.getbuffer())


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
