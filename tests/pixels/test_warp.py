"""Layers of all kinds, written by our own writer, on the grids of tiles."""

import dataclasses
import itertools

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from converters import cog
from kartotek import fast, grids, matrices, sampling
from kartotek.grids import NATIONAL, Grid
from kartotek.product import ClassValue, Kind, Layer, LayerType
from kartotek.storage import FolderStorage
from pixels import layers, render, style, warp
from pixels.blocks import Blocks

TILE = render.tile_grid(matrices.served()["SWEREF99TM10"], 8, 117, 227)
"""Of 10 m pixels."""

CODES = tuple(ClassValue(value=code, name=f"class_{code}", description="", color="000000") for code in range(256))

BETWEEN = dataclasses.replace(TILE, left=TILE.left + 3.3, top=TILE.top - 1.2)
"""Its pixels lie between those of 10 m."""


@pytest.fixture(params=["NumPy", "Numba"], autouse=True)
def loops(request, monkeypatch):
    """All of it with NumPy's loops, and with the compiled ones."""
    if request.param == "NumPy":
        monkeypatch.setattr(fast, "_installed", lambda: None)
        monkeypatch.setattr(fast, "_kernels", None)
    else:
        fast.load()
        if fast.loaded() is None:
            pytest.skip("Numba is not installed (the extra `fast`)")
    warp._view.cache_clear()


@pytest.fixture
def layer(tmp_path):
    """Writes pixels as a COG into a storage; gives (blocks, source, path)."""

    def write(pixels, place, *, nodata=0, classes=False, around=None):
        kind = LayerType(
            name="x",
            kind=Kind.CLASSES if classes else Kind.MEASUREMENT,
            resolution=10,
            title="",
            data_type=str(pixels.dtype),
            nodata=0 if nodata is None else nodata,
            classes=CODES if classes else (),
        )
        place = grids.padded(place)
        whole = np.full(place.shape, (nodata or 0) if around is None else around, pixels.dtype)
        whole[: pixels.shape[0], : pixels.shape[1]] = pixels
        levels = cog.pyramid(whole[None], kind, depth=grids.levels(place.columns, place.rows))
        path = tmp_path / "x.tif"
        delivered = Grid(crs="EPSG:3006", left=0, top=0, resolution=10, columns=1, rows=1)  # not what is written
        cog.write(path, levels, place, Layer(type=kind, file="", href="", grid=delivered))
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
    [(found, valid)] = warp.read(blocks, [source], TILE)
    assert np.array_equal(valid, found > 0)
    if east == south == 0:
        assert np.array_equal(found[20:320, 30:], pixels[:, : 512 - 30])
    wanted = by_gdal(path, TILE)
    # To GDAL zone 33 lies 0.1 mm off: where a centre falls on an edge, it takes the other pixel to hold it.
    both = (found > 0) & (wanted > 0)
    assert both.sum() > 100_000 and np.abs(found[both].astype(int) - wanted[both]).max() <= 1


@pytest.mark.parametrize("target", [TILE, BETWEEN], ids=["copied", "resampled"])
@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("float32", np.nan), ("float32", -9999.0), ("float32", None), ("float64", np.nan), ("int16", -32_768),
     ("uint8", 255), ("int32", -2_147_483_648), ("float32", 9.969209968386869e36)],
)  # fmt: skip
def test_data_is_told_from_nodata_of_any_kind(layer, target, dtype, nodata):
    """Floats that name no nodata have NaN for it."""
    means_none = np.nan if nodata is None else nodata
    pixels = ground(300, 600).astype(dtype)
    pixels[pixels == means_none] = 1
    pixels[ground(300, 600) == 0] = means_none
    place = Grid(crs=NATIONAL, left=TILE.left + 300, top=TILE.top - 200, resolution=10, columns=600, rows=300)
    blocks, source, path = layer(pixels, place, nodata=nodata, around=means_none)
    [(found, valid)] = warp.read(blocks, [source], target)
    wanted = by_gdal(path, target, nodata=means_none)
    assert np.array_equal(valid, ~np.isnan(wanted) if np.isnan(means_none) else wanted != means_none)
    assert np.abs(found[valid].astype(float) - wanted[valid]).max() <= 1 and valid.sum() > 100_000


@pytest.mark.parametrize("target", [TILE, BETWEEN], ids=["copied", "resampled"])
@pytest.mark.parametrize("nodata", [None, -9999, 0.5, np.nan, 256])
def test_a_layer_in_which_all_is_data_has_none_beyond_its_edge(layer, target, nodata):
    """Where nodata is left out, and where it is a number that its pixels can't have."""
    place = Grid(crs=NATIONAL, left=TILE.left + 300, top=TILE.top - 200, resolution=10, columns=608, rows=304)
    blocks, source, _ = layer(np.zeros((304, 608), np.uint8), place, nodata=None)
    [(found, valid)] = warp.read(blocks, [dataclasses.replace(source, nodata=nodata)], target)
    assert not found.any()
    down, right = (target.top - place.top) / 10, (place.left - target.left) / 10
    rows, columns = slice(round(down), round(down) + 304), slice(round(right), None)
    assert valid[rows, columns].all() and valid.sum() == valid[rows, columns].size


def test_a_picture_of_floats_is_transparent_where_they_are_not_numbers(layer):
    pixels = np.linspace(0, 1, 512 * 512, dtype=np.float32).reshape(512, 512)
    pixels[100:200, 100:200] = np.nan
    blocks, source, _ = layer(pixels, TILE, nodata=np.nan)
    shown = style.Style(values=("x", "x", "x"), rescale=((0, 1),))
    found = render.raster(blocks, render.Picture(style=shown, sources={"x": source}), TILE).rgba
    assert np.array_equal(found[..., 3] == 0, np.isnan(pixels)) and not found[100:200, 100:200].any()
    seen = ~np.isnan(pixels)
    assert np.array_equal(found[..., 0][seen], np.floor(pixels[seen] * 255 + 0.5))


def test_nodata_is_read_as_stac_writes_it():
    asset = {"href": "storage:///x.tif", "proj:code": NATIONAL, "proj:shape": [4, 4], "proj:transform": TILE.transform}
    assert np.isnan(layers.source({**asset, "bands": [{"nodata": "nan"}]}).nodata)
    assert layers.source({**asset, "bands": [{"nodata": -9999}]}).nodata == -9999
    assert layers.source({**asset, "bands": [{}]}).nodata is None


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize(
    ("tms", "z", "resolution"),
    [("SWEREF99TM", 10, 10), ("SWEREF99TM", 9, 10), ("SWEREF99TM", 8, 10), ("SWEREF99TM", 12, 10),
     ("SWEREF99TM", 9, 20), ("SWEREF99TM", 7, 20), ("SWEREF99TM10", 6, 60), ("SWEREF99TM10", 8, 60)],
)  # fmt: skip
def test_a_centre_on_an_edge_belongs_to_the_pixel_behind_it(layer, tms, z, resolution, classes):
    """As in GDAL, for each of them: a tenth of the centres of 4 m pixels fall on edges of 10 m pixels."""
    left, top = (583_680, 6_727_680) if resolution == 60 else (593_920, 6_717_440)
    place = Grid(crs=NATIONAL, left=left, top=top, resolution=resolution, columns=1500, rows=1400)
    pixels = ground(1400, 1500) % 200 if classes else ground(1400, 1500)
    blocks, source, path = layer(pixels.astype(np.uint16), place, classes=classes)
    matrix_set = matrices.served()[tms]
    world = render.tile_grid(matrix_set, z, 0, 0)
    side = world.resolution * world.columns
    x, y = (left + 700 * resolution - world.left) // side, (world.top - top + 700 * resolution) // side
    target = render.tile_grid(matrix_set, z, int(x), int(y))
    level = max(0, int(np.log2(target.resolution / resolution)))
    [(found, valid)] = warp.read(blocks, [source], target)
    wanted = by_gdal(path, target, classes=classes, level=level)
    assert np.array_equal(valid, wanted > 0) and valid.any()
    assert np.abs(found.astype(int) - wanted).max() <= (0 if classes else 1)


def test_pixels_that_are_narrower_than_high_are_not_taken_from_too_coarse_a_level(layer):
    """At 60 degrees north pixels of a file in degrees are half as wide as they are high."""
    place = Grid(crs="EPSG:4326", left=16.8, top=60.45, resolution=9e-5, columns=2048, rows=1024)
    blocks, source, path = layer(ground(1024, 2048), place)
    target = Grid(crs=NATIONAL, left=602_000, top=6_700_000, resolution=13, columns=256, rows=256)
    [(found, valid)] = warp.read(blocks, [source], target)
    wanted = by_gdal(path, target, level=0)
    assert (valid == (wanted > 0)).mean() > 0.999 and valid.mean() > 0.9
    both = valid & (wanted > 0)
    assert (np.abs(found[both].astype(int) - wanted[both]) <= 1).mean() > 0.999


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("resolution", [10, 20, 60])
def test_no_block_is_read_but_those_that_hold_what_is_shown(resolution, classes):
    """As each pixel alone says where its neighbours lie."""
    place = Grid(crs=NATIONAL, left=573_440, top=6_717_440, resolution=resolution, columns=3040, rows=2976)
    world_set = matrices.served()["WebMercatorQuad"]
    shapes = tuple(place.coarser(level).shape for level in range(4))
    seen = 0
    for z in range(7, 15):
        corner = world_set.tile(16.4, 60.5, z)
        for right, down in ((0, 0), (1, 0), (0, 1), (2, 1)):
            found = warp.view(
                render.tile_grid(world_set, z, corner.x + right, corner.y + down), place, shapes, nearest=classes
            )
            assert isinstance(found.of, sampling.Lattice)
            columns, rows = found.of.expand(0, 256)
            inside = sampling.inside(found.grid.shape, columns, rows)
            steps = (0,) if classes else (-0.5, 0.5)
            wanted = set()
            for i, j in itertools.product(steps, steps):
                at = np.clip(np.floor(rows[inside] + i), 0, found.grid.rows - 1) // 512
                beside = np.clip(np.floor(columns[inside] + j), 0, found.grid.columns - 1) // 512
                wanted |= set((at * -(-found.grid.columns // 512) + beside).astype(int))
            assert set(found.numbers) == wanted
            seen += len(wanted)
    assert seen > 20
