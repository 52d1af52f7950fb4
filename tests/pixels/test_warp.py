"""Layers of all kinds, written by our own writer, on the grids of tiles."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from converters import cog
from kartotek import grids
from kartotek.grids import NATIONAL, Grid
from kartotek.product import Kind, Layer, LayerType
from kartotek.storage import FolderStorage
from pixels import render, warp
from pixels.blocks import Blocks

TILE = render.tile_grid(grids.tile_matrix_sets()["SWEREF99TM10"], 8, 117, 227)
"""Of 10 m pixels."""


@pytest.fixture
def layer(tmp_path):
    """Writes pixels as a COG into a storage; gives (blocks, source, path)."""

    def write(pixels, place, *, nodata=0, classes=False):
        kind = LayerType(
            name="x",
            kind=Kind.CLASSES if classes else Kind.MEASUREMENT,
            resolution=10,
            title="",
            data_type=str(pixels.dtype),
            nodata=nodata,
        )
        place = grids.padded(place)
        whole = np.full(place.shape, 0 if nodata is None else nodata, pixels.dtype)
        whole[: pixels.shape[0], : pixels.shape[1]] = pixels
        levels = cog.pyramid(whole[None], kind, depth=grids.levels(place.columns, place.rows))
        path = tmp_path / "x.tif"
        cog.write(path, levels, place, Layer(type=kind, file="", href="", grid=place))
        source = warp.Source(key="x.tif", grid=place, nodata=nodata, scale=1, offset=0, classes=classes)
        return Blocks(FolderStorage(tmp_path), memory=64 << 20), source, path

    return write


def by_gdal(path, target, *, nodata=0, classes=False, level=0):
    """What GDAL warps, with PROJ called for each pixel."""
    with (
        rasterio.open(path, **({"OVERVIEW_LEVEL": level - 1} if level else {})) as file,
        WarpedVRT(
            file, crs=target.crs, transform=rasterio.Affine(*target.transform), width=target.columns,
            height=target.rows, resampling=Resampling.nearest if classes else Resampling.bilinear, src_nodata=nodata,
            nodata=nodata, tolerance=1e-6, XSCALE="1", YSCALE="1",
        ) as warped,
    ):  # fmt: skip
        return warped.read(1)


def ground(rows, columns, seed=0):
    """Numbers from 1 on, with holes of 0."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 4000, (rows, columns), np.uint16)
    pixels[rng.random(pixels.shape) < 0.05] = 0
    return pixels


@pytest.mark.parametrize("crs", [NATIONAL, "EPSG:32633"])
@pytest.mark.parametrize(("east", "south"), [(0, 0), (5, 0), (0, 5), (5, 5), (3, 7)])
def test_pixels_are_copied_only_where_they_coincide_both_ways(layer, crs, east, south):
    """A file kept in zone 33's own CRS may lie between the pixels of the native set, in one direction or in both."""
    place = Grid(crs=crs, left=TILE.left + 300 + east, top=TILE.top - 200 - south, resolution=10, columns=600, rows=300)
    pixels = ground(300, 600)
    blocks, source, path = layer(pixels, place)
    found = warp.read(blocks, source, TILE)
    if east == south == 0:
        assert np.array_equal(found[20:320, 30:], pixels[:, : 512 - 30])
    wanted = by_gdal(path, TILE)
    # To GDAL zone 33 lies 0.1 mm off: where a centre falls on an edge, it takes the other pixel to hold it.
    both = (found > 0) & (wanted > 0)
    assert both.sum() > 100_000 and np.abs(found[both].astype(int) - wanted[both]).max() <= 1
