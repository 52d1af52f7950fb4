"""GeoTIFFs of numbers, read back by GDAL and by tifffile."""

import io
from itertools import product

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.io import MemoryFile

from kartotek.grids import Grid
from pixels import files
from pixels.files import Band, Raster

KINDS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
SHAPES = ((1, 1, 1), (4, 101, 101), (3, 256, 300), (2, 513, 17))


@pytest.mark.parametrize(
    ("kind", "shape", "nodata"),
    [*product(KINDS, SHAPES, (0, None)), *product(("float32", "float64"), SHAPES, (float("nan"),))],
)
def test_a_geotiff_has_the_numbers_and_what_they_mean(kind, shape, nodata):
    chance, (count, rows, columns) = np.random.default_rng(1), shape
    pixels, valid = chance.normal(60, 9, shape).astype(kind), chance.random((rows, columns)) > 0.3
    bands = tuple(
        Band(name=f"B{number}<&\u00e4>", nodata=nodata, scale=0.1 if number else 1.0, offset=-0.3 * number, unit=unit)
        for number, unit in zip(range(count), (None, "m", None, "1"), strict=False)
    )
    grid = Grid(crs="EPSG:3006", left=480_000.5, top=6_600_000, resolution=2.5, columns=columns, rows=rows)
    content = files.geotiff(Raster(pixels, valid, grid, bands))
    with MemoryFile(content) as memory, memory.open() as file:
        assert np.array_equal(file.read(), pixels) and set(file.dtypes) == {kind}
        assert file.descriptions == tuple(band.name for band in bands)
        assert file.scales == tuple(band.scale for band in bands)
        assert file.offsets == tuple(band.offset for band in bands)
        assert file.units == tuple(band.unit for band in bands)
        assert file.crs.to_epsg() == 3006 and file.transform == rasterio.Affine(*grid.transform)
        if nodata is None:
            assert file.nodata is None
            assert all(np.array_equal(mask != 0, valid) for mask in file.read_masks())
        else:
            assert repr(float(nodata)) == repr(file.nodata)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert np.array_equal(file.pages[0].asarray().reshape(shape), pixels)


@pytest.mark.parametrize(("crs", "code"), [("EPSG:4326", 4326), ("OGC:CRS84", 4326), ("EPSG:3857", 3857)])
def test_longitude_comes_first_whatever_the_crs_says(crs, code):
    grid = Grid(crs=crs, left=17.25, top=60.5, resolution=0.25, columns=3, rows=2)
    band = Band(name="one", nodata=0)
    content = files.geotiff(Raster(np.ones((1, 2, 3), np.uint8), np.ones((2, 3), np.bool_), grid, (band,)))
    with MemoryFile(content) as memory, memory.open() as file:
        assert file.crs.to_epsg() == code and file.bounds == (17.25, 60, 18, 60.5)


@pytest.mark.parametrize("crs", ["EPSG:900913", "ESRI:102013", "OGC:CRS83", "EPSG:5845", "EPSG:32633", "EPSG:4937"])
def test_any_crs_comes_back_as_gdal_brings_it_back(crs):
    """Of which EPSG has no code, or none that a GeoTIFF can hold, and such as have heights."""
    grid = Grid(crs=crs, left=500_000, top=6_600_000, resolution=10, columns=3, rows=2)
    pixels = np.ones((1, 2, 3), np.uint8)
    content = files.geotiff(Raster(pixels, np.ones((2, 3), np.bool_), grid, (Band(name="one", nodata=0),)))
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=3,
            height=2,
            count=1,
            dtype="uint8",
            crs=crs,
            transform=rasterio.Affine(*grid.transform),
        ) as file:
            file.write(pixels)
        with memory.open() as file:
            wanted = file.crs
    with MemoryFile(content) as memory, memory.open() as file:
        assert file.crs == wanted and file.transform == rasterio.Affine(*grid.transform)
        assert np.array_equal(file.read(), pixels)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_numbers_that_are_none_come_back_bit_by_bit(kind):
    pixels = np.array([[[np.nan, np.inf, -np.inf], [-0.0, 0.0, np.finfo(kind).tiny]]], kind)
    grid = Grid(crs="EPSG:3006", left=0, top=0, resolution=10, columns=3, rows=2)
    nowhere = np.zeros((2, 3), np.bool_)
    content = files.geotiff(Raster(pixels, nowhere, grid, (Band(name="one", nodata=None),)))
    with MemoryFile(content) as memory, memory.open() as file:
        assert file.read().tobytes() == pixels.tobytes() and not file.read_masks().any()
