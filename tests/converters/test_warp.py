import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from converters import delivered
from converters.convert import Recipe, convert
from converters.samples import jp2
from converters.sensors import read
from converters.warp import Placing
from kartotek import sampling
from kartotek.errors import BrokenProduct
from kartotek.grids import NATIONAL, SNAP
from kartotek.product import Kind

AT_18_EAST = 667_700, 6_646_500
"""Easting and northing in EPSG:3006, near 18 degrees east: where zone 33 ends and zone 34 begins."""


def at(scene, zone, centre=AT_18_EAST, **facts):
    """The scene moved to a place given in EPSG:3006 and into a zone, which may be far from it."""
    east, north = pyproj.Transformer.from_crs(3006, 32600 + zone, always_xy=True).transform(*centre)
    pixels = facts.get("pixels", scene.pixels)
    corner = {"left": round((east - 5 * pixels) / 60) * 60, "top": round((north + 5 * pixels) / 60) * 60}
    return dataclasses.replace(scene, zone=zone, tile=f"{zone}VXG", **corner, **facts)


def tif(converted, name):
    return converted.folder / converted.item.assets[name].href


def pixels(path):
    with rasterio.open(path) as file:
        return file.read()


def oracle(layer, grid):
    """GDAL's warper at its most exact, on our grid."""
    with (
        rasterio.open(layer.href) as source,
        WarpedVRT(
            source,
            crs=grid.crs,
            transform=Affine(*grid.transform),
            width=grid.columns,
            height=grid.rows,
            resampling=Resampling.nearest if layer.type.kind is Kind.CLASSES else Resampling.bilinear,
            tolerance=1e-6,
            XSCALE="1",
            YSCALE="1",
            src_nodata=layer.type.nodata,
            nodata=layer.type.nodata,
        ) as warped,
    ):
        return warped.read(1)


def place(raster, layer, crs, side=None):
    """The pixels on their grid, and that; made in squares of a side, or all at once."""
    placing = Placing(raster.grid, layer.type, crs)
    rows, columns = placing.grid.shape
    pixels = np.empty((len(raster.pixels), rows, columns), raster.pixels.dtype)
    for top in range(0, rows, side or rows):
        for left in range(0, columns, side or columns):
            window = slice(top, min(top + (side or rows), rows)), slice(left, min(left + (side or columns), columns))
            pixels[:, *window] = placing.block(raster.pixels, *window)
    return pixels, placing.grid


def agreement(layer, crs):
    """(valid pixels, pixels valid in one alone, share within 1 DN, share identical, farthest) against the oracle."""
    [mine], grid = place(delivered.read(layer), layer, crs)
    theirs = oracle(layer, grid)
    valid, other = mine != layer.type.nodata, theirs != layer.type.nodata
    off = np.abs(mine.astype(np.int64) - theirs)[valid & other]
    return valid.sum(), (valid != other).sum(), (off <= 1).mean(), (off == 0).mean(), off.max()


@pytest.mark.parametrize("name", ["33", "33 L1C", "33 before", "33 spring", "33 west", "swath"])
def test_zone_33_is_copied_pixel_for_pixel(conversion, sample, name):
    """Every band equals its JP2 in the window, and around it there is no data."""
    converted, product = conversion(name), read(sample(name))
    assert product.layers
    for layer in product.layers:
        with rasterio.open(layer.href) as source, rasterio.open(tif(converted, layer.name)) as file:
            wanted, found = source.read(), file.read()
            row = round((file.transform.f - source.transform.f) / source.transform.a)
            column = round((source.transform.c - file.transform.c) / source.transform.a)
            assert file.transform.a == source.transform.a
            assert (file.transform.c, file.transform.f) == (
                source.transform.c - column * source.transform.a,
                source.transform.f + row * source.transform.a,
            )
        window = np.s_[:, row : row + wanted.shape[1], column : column + wanted.shape[2]]
        assert np.array_equal(found[window], wanted), layer.name
        found[window] = layer.type.nodata
        assert (found == layer.type.nodata).all(), layer.name


@pytest.mark.parametrize("name", ["34", *(pytest.param(one, marks=pytest.mark.full) for one in ("32", "35"))])
def test_other_zones_are_as_gdal_warps_them(sample, name):
    """Within 1 DN for measurements and the same for classes, with data at the same pixels and no other."""
    worst = {}
    for layer in read(sample(name)).layers:
        valid, odd, within, same, farthest = agreement(layer, NATIONAL)
        assert valid > 5_000 and odd == 0, layer.name
        kind = "classes" if layer.type.kind is Kind.CLASSES else "measurements"
        worst[kind] = min(worst.get(kind, (1.0, 1.0)), (within, same))
        assert (same if kind == "classes" else within) >= 0.999, (layer.name, within, same, farthest)
    print(f"{name}: share within 1 DN, and identical: {worst}")


def test_the_edge_of_a_swath_is_where_gdal_has_it(scenes, sample):
    """In zone 34, with an edge through the picture: pixels are valid where the source pixel under their centre is."""
    scene = at(scenes["33"], 34, pixels=300, swath=((667_000, 6_645_000), (668_000, 6_648_000)))
    for layer in read(sample(scene)).layers:
        valid, odd, within, _, _ = agreement(layer, NATIONAL)
        size = (300 * 10 // layer.type.resolution) ** 2
        if layer.type.nodata == 0:
            assert 0.2 * size < valid < 0.9 * size, layer.name
        assert odd == 0 and within >= 0.999, layer.name


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "EPSG:3035"])
@pytest.mark.parametrize("name", ["33", "32"])
def test_any_crs_is_as_gdal_warps_it(scenes, sample, name, crs):
    scene = dataclasses.replace(scenes[name], pixels=96)
    for layer in read(sample(scene)).layers:
        if layer.name not in ("B02", "B09", "SCL"):
            continue
        valid, odd, within, same, _ = agreement(layer, crs)
        assert valid > 200 and odd == 0, layer.name
        assert (same if layer.type.kind is Kind.CLASSES else within) >= 0.999


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326"])
def test_another_crs_holds_the_whole_scene(scenes, sample, conversion, crs):
    scene = dataclasses.replace(scenes["33"], pixels=96)
    converted = conversion(scene, crs=crs)
    assert converted.item.properties["proj:code"] == crs and converted.squares == ()
    east, north = np.meshgrid(scene.left + 5 + 10 * np.arange(96), scene.top - 5 - 10 * np.arange(96))
    x, y = pyproj.Transformer.from_crs(scene.crs, crs, always_xy=True).transform(east, north)
    for name in ("B02", "SCL"):
        with rasterio.open(tif(converted, name)) as file:
            assert file.crs.to_string() == crs
            columns, rows = (x - file.transform.c) / file.transform.a, (y - file.transform.f) / file.transform.e
            assert columns.min() >= 0 and rows.min() >= 0
            assert columns.max() < file.width and rows.max() < file.height
            found = file.read(1)[rows.astype(int), columns.astype(int)]
        # Pixels along the rim may be those whose centre falls outside.
        assert (found[1:-1, 1:-1] > 0).all()


def test_native_keeps_the_zone_and_the_pixels(conversion, sample):
    converted = conversion("34", crs="native")
    assert converted.item.properties["proj:code"] == "EPSG:32634" and converted.squares == ()
    for layer in read(sample("34")).layers:
        with rasterio.open(layer.href) as source, rasterio.open(tif(converted, layer.name)) as file:
            assert file.crs.to_epsg() == 32634
            bounds = source.bounds
            window = file.window(*bounds).round_offsets().round_lengths()
            assert np.array_equal(file.read(window=window), source.read())
            assert file.transform.c % SNAP == 0 or layer.type.resolution == 60
        assert "kartotek:resampling" not in converted.item.assets[layer.name].extra_fields


@pytest.mark.parametrize("zone", ["33", "34"])
def test_blocks_change_no_pixel(sample, zone):
    layer = next(layer for layer in read(sample(zone)).layers if layer.name == "B02")
    raster = delivered.read(layer, threads=1)
    one, grid = place(raster, layer, NATIONAL)
    assert np.array_equal(place(raster, layer, NATIONAL, side=112)[0], one)
    places = sampling.Lattice.between(grid, raster.grid).expand(0, grid.rows)
    assert np.array_equal(sampling.bilinear(raster.pixels[0], *places, nodata=0, fill=0), one[0])


@pytest.mark.parametrize("zone", ["33", "34", "32"])
def test_a_row_of_blocks_is_made_of_the_rows_that_it_says_it_needs(sample, zone):
    """All others may be let go, or not be there yet."""
    layer = next(layer for layer in read(sample(zone)).layers if layer.name == "B02")
    raster = delivered.read(layer)
    whole, grid = place(raster, layer, NATIONAL)
    placing = Placing(raster.grid, layer.type, NATIONAL)
    for top in range(0, grid.rows, 64):
        rows = slice(top, min(top + 64, grid.rows))
        first, last = placing.needs(rows.start, rows.stop)
        some = np.full_like(raster.pixels, 7)
        some[:, first:last] = raster.pixels[:, first:last]
        assert np.array_equal(placing.block(some, rows, slice(0, grid.columns)), whole[:, rows])
        assert last - first < 64 + 0.12 * raster.grid.columns + 50


# Where zones meet


@pytest.mark.parametrize(
    "line",
    [
        ((664_000, 6_645_000), (671_000, 6_648_000)),
        pytest.param(((664_500, 6_648_400), (670_800, 6_644_600)), marks=pytest.mark.full),
    ],
)
def test_a_line_across_18_east_has_no_step(scenes, conversion, line):
    """Found by its centre of light in the product of each zone, it lies where it was drawn, to half a pixel, and the
    two products put it at one place."""
    found = {}
    for zone in (33, 34):
        scene = at(scenes["33"], zone, line=line, clouds=0.0)
        converted = conversion(scene)
        with rasterio.open(tif(converted, "B02")) as file:
            bright = file.read(1).astype(float)
            left, top = file.transform.c, file.transform.f
        found[zone] = {}
        for column in range(0, bright.shape[1]):
            east = left + 10 * column + 5
            (x0, y0), (x1, y1) = line
            north = y0 + (east - x0) * (y1 - y0) / (x1 - x0)
            middle = (top - north) / 10
            rows = np.arange(int(middle) - 14, int(middle) + 15)
            if not (x0 + 500 < east < x1 - 500 and rows[0] >= 0 and rows[-1] < bright.shape[0]):
                continue
            lane = bright[rows, column]
            if (lane == 0).any():
                continue
            light = lane - np.median(lane)  # the lane on both sides of the line is open water
            light[light < 50] = 0
            found[zone][column * 10 + left] = top - 10 * ((rows + 0.5) * light).sum() / light.sum() - north
    for zone, offsets in found.items():
        assert len(offsets) > 400
        print(f"zone {zone}: the line lies {max(map(abs, offsets.values())):.2f} m off at most")
        assert max(map(abs, offsets.values())) < 5
    longitude, _ = pyproj.Transformer.from_crs(3006, 4326, always_xy=True).transform(*AT_18_EAST)
    assert abs(longitude - 18) < 0.02  # so that both sides of 18 degrees are in the picture
    both = found[33].keys() & found[34].keys()
    steps = [found[33][east] - found[34][east] for east in both]
    print(f"between the two: {np.mean(steps):+.2f} m on the average, {np.abs(steps).max():.2f} m at most")
    assert len(both) > 400 and np.abs(steps).max() < 5 and abs(np.mean(steps)) < 0.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")  # of odc-geo
@pytest.mark.parametrize("zones", [(32, 33, 34), pytest.param((33, 34, 35), marks=pytest.mark.full)])
def test_three_dates_of_three_zones_stack_without_resampling(scenes, conversion, zones):
    """odc-stac puts them on one set of coordinates in one call, and each slice is its COG's window, pixel for pixel."""
    odc_stac = pytest.importorskip("odc.stac")
    days = [(2021, "33 before"), (2022, "33"), (2023, "33 spring")]
    items, files = [], []
    for zone, (_, name) in zip(zones, days, strict=True):
        converted = conversion(at(scenes[name], zone, packing="SAFE", pixels=300))
        item = pystac.Item.from_dict(converted.item.to_dict(transform_hrefs=False))
        for asset in item.assets.values():
            asset.href = str(converted.folder / asset.href)
        items.append(item)
        files.append(converted)
    loaded = odc_stac.load(items, bands=["red", "nir", "B11", "SCL"], crs=NATIONAL, resolution=10)
    assert dict(loaded.sizes)["time"] == 3 and loaded.odc.crs.to_epsg() == 3006
    assert (
        loaded.x.dtype == float and ((loaded.x.values - 5) % 10 == 0).all() and ((loaded.y.values - 5) % 10 == 0).all()
    )
    assert (np.diff(loaded.x) == 10).all() and (np.diff(loaded.y) == -10).all()
    for band, name in (("red", "B04"), ("nir", "B08")):
        for number, converted in enumerate(files):
            with rasterio.open(tif(converted, name)) as file:
                row = round((loaded.y.values[0] + 5 - file.transform.f) / -10)
                column = round((file.transform.c - (loaded.x.values[0] - 5)) / -10)
                wanted = file.read(1, boundless=True, fill_value=0, window=rasterio.windows.Window(
                    column, row, loaded.sizes["x"], loaded.sizes["y"]
                ))  # fmt: skip
            found = loaded[band].isel(time=number).values
            assert found.dtype == np.uint16 and np.array_equal(found, wanted)
            assert np.count_nonzero(found) > 80_000
    # The same ground: where all three have data they show the same place.
    whole = (loaded.red.values > 0).all(axis=0)
    assert whole.sum() > 60_000


def test_files_of_all_zones_share_one_grid(conversion):
    for name in ("32", "33", "34", "35", "swath"):
        for layer in conversion(name).item.assets.values():
            if "proj:transform" not in layer.extra_fields:
                continue
            a, b, c, d, e, f = layer.extra_fields["proj:transform"]
            assert (b, d, e) == (0, 0, -a) and a in (10, 20, 60)
            assert c % max(SNAP, 512 * a) == 0 and f % max(SNAP, 512 * a) == 0


# Files lie


@pytest.fixture
def spoilt(scenes, sample, tmp_path):
    """Gives a small product, one of whose bands is replaced by what a function writes."""

    def make(write, *, of="34", band="B04_10m"):
        scene = dataclasses.replace(scenes[of], pixels=96, packing="SAFE")
        path = tmp_path / f"{scene.name}.SAFE"
        shutil.copytree(sample(scene), path)
        [file] = path.rglob(f"*_{band}.jp2")
        with rasterio.open(file) as source:
            profile, values = source.profile, source.read()
        file.unlink()
        write(file, values, profile)
        return path

    return make


def layer_of(path, name="B04"):
    return next(layer for layer in read(path).layers if layer.name == name)


def as_tiff(file, values, profile):
    with rasterio.open(
        file, "w", driver="GTiff", width=96, height=96, count=1, dtype="uint16", crs=profile["crs"],
        transform=profile["transform"],
    ) as target:  # fmt: skip
        target.write(values)


def without_crs(file, values, _):
    with rasterio.open(
        file, "w", driver="JP2OpenJPEG", width=96, height=96, count=1, dtype="uint16", QUALITY=100, REVERSIBLE="YES",
        GMLJP2="NO", GeoJP2="NO", NBITS=15,
    ) as target:  # fmt: skip
        target.write(values)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_jp2_without_crs_lies_where_the_metadata_says(spoilt, scenes, sample):
    path = spoilt(without_crs)
    with rasterio.open(layer_of(path).href) as file:
        assert file.crs is None
    raster = delivered.read(layer_of(path))
    whole = delivered.read(layer_of(sample(dataclasses.replace(scenes["34"], pixels=96))))
    assert raster.grid == whole.grid and np.array_equal(raster.pixels, whole.pixels)
    assert type(raster.grid.resolution) is int


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("write", [without_crs, as_tiff])
def test_no_pixel_moves_for_it(spoilt, conversion, scenes, tmp_path, write):
    """A product with a JP2 without CRS, or a GeoTIFF called .jp2, becomes what the sound product becomes."""
    sound = conversion(dataclasses.replace(scenes["34"], pixels=96))
    folder = tmp_path / "converted"
    folder.mkdir()
    converted = convert(read(spoilt(write)), folder, Recipe())
    assert (folder / "B04.tif").read_bytes() == tif(sound, "B04").read_bytes()
    assert converted.item.to_dict() == sound.item.to_dict()


@pytest.fixture(scope="session")
def tiled(sample):
    """A band of four JPEG 2000 tiles, as bytes, and its layer."""
    layer = layer_of(sample("swath"))
    with rasterio.open(layer.href) as file:
        assert file.shape == (1098, 1098) and file.block_shapes == [(1024, 1024)]
    return layer, Path(layer.href).read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("share", [0.3, 0.66, 0.95, 0.999])
def test_a_jp2_of_several_tiles_that_is_cut_off_is_refused(tiled, tmp_path, share, threads):
    """However many threads decode it: GDAL's own lose the error, and give any pixels."""
    layer, content = tiled
    path = tmp_path / "cut.jp2"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BrokenProduct, match=re.escape(layer.file)):
        delivered.read(dataclasses.replace(layer, href=str(path)), threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_jp2_with_a_tile_of_rubbish_is_refused(tiled, tmp_path, threads):
    layer, content = tiled
    path = tmp_path / "rubbish.jp2"
    last = content.rindex(b"\xff\x93")  # where the data of the last tile begin
    path.write_bytes(content[: last + 2] + b"\xff" * (len(content) - last - 4) + content[-2:])
    with pytest.raises(BrokenProduct, match=re.escape(layer.file)):
        delivered.read(dataclasses.replace(layer, href=str(path)), threads=threads)


def test_a_jp2_in_another_zone_than_the_metadata_says_is_refused(spoilt):
    def write(file, values, profile):
        jp2.encode(values, file, 32633, left=profile["transform"].c, top=profile["transform"].f, resolution=10, bits=15)

    with pytest.raises(BrokenProduct, match=r"B04_10m\.jp2.*EPSG:32633.*the metadata says.*EPSG:32634"):
        delivered.read(layer_of(spoilt(write)))


@pytest.mark.parametrize(("east", "north"), [(10, 0), (0, -10), (-100_000, 0)])
def test_a_jp2_elsewhere_than_the_metadata_says_is_refused(spoilt, east, north):
    def write(file, values, profile):
        left, top = profile["transform"].c + east, profile["transform"].f + north
        jp2.encode(values, file, 32634, left=left, top=top, resolution=10, bits=15)

    with pytest.raises(BrokenProduct, match=r"B04_10m\.jp2.*the metadata says"):
        delivered.read(layer_of(spoilt(write)))


def test_a_band_of_another_type_or_count_is_refused(spoilt):
    def bytes_(file, values, profile):
        jp2.encode((values >> 8).astype(np.uint8), file, 32634, left=profile["transform"].c, top=profile["transform"].f,
                   resolution=10)  # fmt: skip

    def three(file, values, profile):
        jp2.encode(np.repeat(values, 3, axis=0), file, 32634, left=profile["transform"].c, top=profile["transform"].f,
                   resolution=10)  # fmt: skip

    for write, said in ((bytes_, "uint8"), (three, "3 bands")):
        path = spoilt(write)
        with pytest.raises(BrokenProduct, match=f"B04_10m.*{said}"):
            delivered.read(layer_of(path))
        shutil.rmtree(path)


def test_pixels_that_are_no_north_up_squares_are_refused(spoilt):
    for transform in (Affine(10, 1, 326_700, 0, -10, 6_649_560), Affine(10, 0, 326_700, 0, -12, 6_649_560)):
        path = spoilt(lambda file, values, profile, to=transform: as_tiff(file, values, {**profile, "transform": to}))
        with pytest.raises(BrokenProduct, match="north-up"):
            delivered.read(layer_of(path))
        shutil.rmtree(path)


def test_a_file_that_claims_to_be_huge_is_refused_before_its_pixels_are_in_memory(spoilt):
    """A GeoTIFF of a few kilobytes with 30 000 x 30 000 pixels, all of them sparse: 1.8 GB in memory."""

    def write(file, values, profile):
        with rasterio.open(
            file, "w", driver="GTiff", width=30_000, height=30_000, count=1, dtype="uint16", crs=profile["crs"],
            transform=profile["transform"], tiled=True, SPARSE_OK="TRUE",
        ):  # fmt: skip
            pass

    path = spoilt(write)
    before = peak()
    with pytest.raises(BrokenProduct, match=r"B04_10m\.jp2.*30000"):
        delivered.read(layer_of(path))
    assert peak() - before < 256 << 20


def peak():
    """The most bytes that this process had in memory at once."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("driver", ["PNG", "VRT"])
def test_no_other_driver_opens_a_band(spoilt, tmp_path, driver):
    """A band may not be a file that leads GDAL elsewhere."""

    def write(file, values, _):
        if driver == "PNG":
            with rasterio.open(file, "w", driver="PNG", width=96, height=96, count=1, dtype="uint16") as target:
                target.write(values)
        else:
            file.write_text(
                '<VRTDataset rasterXSize="96" rasterYSize="96"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
                f"<SourceFilename>{tmp_path}/secret.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
            )

    as_tiff(
        tmp_path / "secret.tif", np.ones((1, 96, 96), np.uint16), {"crs": "EPSG:32634", "transform": Affine.identity()}
    )
    with pytest.raises(BrokenProduct, match="B04_10m"):
        delivered.read(layer_of(spoilt(write)))
