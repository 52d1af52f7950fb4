import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from converters import cog
from converters.profiles import Profile
from converters.sensors.sentinel2 import LAYERS
from kartotek import grids
from kartotek.errors import BadFile
from kartotek.grids import BLOCK, NATIONAL, Grid
from kartotek.product import Band, ClassValue, Kind, Layer, LayerType
from kartotek.storage import FolderStorage
from pixels.blocks import Blocks

CODES = tuple(ClassValue(value=code, name=f"class_{code}", description="", color="000000") for code in range(12))
ROOT = Path(__file__).resolve().parents[2]


def layer(kind=Kind.MEASUREMENT, dtype="uint16", nodata=0, bands=1, unit=None, scale=1.0, offset=0.0):
    names = ("B02",) if bands == 1 else ("B04", "B03", "B02")
    return Layer(
        type=LayerType(
            name=names[0] if bands == 1 else "TCI",
            kind=kind,
            resolution=10,
            title="",
            data_type=dtype,
            nodata=nodata,
            bands=tuple(Band(name=name) for name in names),
            unit=unit,
            classes=CODES if kind is Kind.CLASSES else (),
        ),
        file="",
        href="",
        grid=grid(1, 1),
        scale=scale,
        offset=offset,
    )


def grid(columns, rows, resolution=10, crs=NATIONAL):
    return Grid(crs=crs, left=655_360, top=6_656_000, resolution=resolution, columns=columns, rows=rows)


def noise(rows, columns, dtype="uint16", nodata=0, bands=1, seed=0):
    """Smooth ground with noise, holes, and a swath's edge slanting through it; in floats the holes are NaN."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    smooth = 90 * np.sin(x / 50) * np.cos(y / 70)
    values = smooth + rng.normal(100, 20, (bands, rows, columns))
    if dtype == "uint8":
        values = np.clip(values, 1, 254)
    if dtype == "uint16":
        values = np.clip(values * 100, 1, 65_535)
    values = values.astype(dtype)
    if nodata is not None:
        values[:, (x < y * 0.4) | (rng.random((rows, columns)) < 0.1)] = nodata
    return values


def write(path, pixels, place, kind, threads=2):
    depth = grids.levels(place.columns, place.rows)
    levels = cog.pyramid(pixels, kind.type, depth=depth)
    cog.write(path, levels, place, kind, threads=threads)
    return levels


CASES = {
    "one block": ((60, 100), "uint16", 0, 1),
    "just one block": ((512, 512), "uint16", 0, 1),
    "one overview": ((514, 300), "uint16", 0, 1),
    "three overviews": ((1064, 2400), "uint16", 0, 1),
    "8 bits": ((700, 1024), "uint8", 255, 1),
    "a picture": ((700, 1024), "uint8", 0, 3),
    "16 bits with a sign": ((1100, 600), "int16", -32_768, 1),
    "floats with NaN": ((1100, 600), "float32", float("nan"), 1),
    "a picture of 16 bits": ((600, 600), "uint16", 0, 3),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """A file of each kind: path, the levels that were written, grid and layer."""
    (rows, columns), dtype, nodata, bands = CASES[request.param]
    kind = layer(dtype=dtype, nodata=nodata, bands=bands, kind=Kind.PICTURE if bands == 3 else Kind.MEASUREMENT)
    place = grids.padded(grid(columns, rows))
    pixels = noise(*place.shape, dtype, nodata, bands)
    path = tmp_path / "x.tif"
    return path, write(path, pixels, place, kind), place, kind


def test_rio_cogeo_finds_neither_error_nor_warning(case):
    cog.validate(case[0])


def test_gdal_reads_the_pixels_of_every_level(case):
    path, levels, place, kind = case
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 3006 and tuple(file.transform)[:6] == place.transform
        assert np.array_equal(file.read(), levels[0], equal_nan=levels[0].dtype.kind == "f")
        # Exact: readers take the pixel size of an overview from its count of pixels.
        assert [file.overviews(band) for band in file.indexes] == [[2**k for k in range(1, len(levels))]] * file.count
        nodata = kind.type.nodata
        assert file.nodata is nodata or file.nodata == nodata or (np.isnan(file.nodata) and np.isnan(nodata))
        assert file.block_shapes == [(BLOCK, BLOCK)] * file.count
        assert file.interleaving.value == "PIXEL" if file.count > 1 else True
    for number, level in enumerate(levels[1:]):
        with rasterio.open(path, overview_level=number) as file:
            assert file.shape == (place.rows >> number + 1, place.columns >> number + 1)
            assert file.transform.a == place.resolution * 2 ** (number + 1) == -file.transform.e
            assert np.array_equal(file.read(), level, equal_nan=level.dtype.kind == "f")


def test_tifffile_reads_the_pixels_of_every_level(case):
    path, levels, _, _ = case
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == len(levels) and len(file.series[0].levels) == len(levels)
        for page, level in zip(file.pages, levels, strict=True):
            found = page.asarray()
            wanted = level[0] if len(level) == 1 else np.moveaxis(level, 0, -1)
            assert found.dtype == wanted.dtype
            assert np.array_equal(found, wanted, equal_nan=level.dtype.kind == "f")


def test_overviews_come_before_the_pixels_and_no_block_is_left_out(case):
    """A reader that fetches the head of the file has the coarse picture; some can't read sparse blocks."""
    path, levels, _, _ = case
    with tifffile.TiffFile(path) as file:
        starts = [page.dataoffsets for page in file.pages]
        assert all(size > 0 for page in file.pages for size in page.databytecounts)
        assert [min(offsets) for offsets in starts] == sorted((min(offsets) for offsets in starts), reverse=True)
        for page, level in zip(file.pages, levels, strict=True):
            assert len(page.dataoffsets) == -(-level.shape[1] // BLOCK) * -(-level.shape[2] // BLOCK)
            assert list(page.dataoffsets) == sorted(page.dataoffsets)


def test_gdal_trusts_the_layout(case):
    """Each block lies behind its size, so that GDAL reads a block by one request and none for its length."""
    path = case[0]
    content = path.read_bytes()
    assert content[8:].startswith(b"GDAL_STRUCTURAL_METADATA_SIZE=")
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
                assert int.from_bytes(content[offset - 4 : offset], "little") == size
                assert content[offset + size : offset + size + 4] == content[offset + size - 4 : offset + size]
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_scale_offset_unit_and_name_are_in_the_file(tmp_path):
    kind = layer(unit="%", scale=1 / 10_000, offset=-0.1)
    place = grid(600, 400)
    write(tmp_path / "x.tif", noise(400, 600), grids.padded(place), kind)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert (file.scales, file.offsets) == ((1 / 10_000,), (-0.1,))
        assert (file.units, file.descriptions, file.nodata) == (("%",), ("B02",), 0)
        assert file.profile["dtype"] == "uint16" and file.profile["compress"] == "deflate"


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint16", 0),
        ("uint16", 0.0),
        ("int16", -32_768),
        ("int32", -2_147_483_648),
        ("int32", 16_777_217.0),
        ("uint32", 4_294_967_295),
        ("float32", 9.969209968386869e36),
        ("float32", -3.4028234663852886e38),
        ("float64", 0.1),
        ("float64", 1 / 3),
        ("float32", math.nan),
        ("float32", -math.inf),
    ],
)
def test_nodata_is_in_the_file_to_the_last_digit(tmp_path, dtype, nodata):
    pixels = np.full((1, 64, 64), nodata, dtype)
    pixels[0, :30] = 7
    cog.write(tmp_path / "x.tif", [pixels], grid(64, 64), layer(dtype=dtype, nodata=nodata))
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.nodata == nodata or (math.isnan(file.nodata) and math.isnan(nodata))
        assert np.array_equal(file.read_masks(1) > 0, pixels[0] == 7)


def test_a_name_that_xml_would_choke_on_is_written_whole(tmp_path):
    kind = layer(unit='<W/m²> & "more"')
    write(tmp_path / "x.tif", noise(60, 60), grid(60, 60), kind)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.units == ('<W/m²> & "more"',)


@pytest.mark.parametrize("name", list(LAYERS))
def test_every_layer_of_sentinel_2_is_told_by_its_file(tmp_path, name):
    scale, offset = (1.0, 0.0) if name == "SCL" else (1e-4, -0.1)
    kind = Layer(type=LAYERS[name], file="", href="", grid=grid(1, 1), scale=scale, offset=offset)
    bands = max(1, len(kind.type.bands))
    write(tmp_path / "x.tif", noise(64, 64, kind.type.data_type, kind.type.nodata, bands), grid(64, 64), kind)
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.nodata == kind.type.nodata and file.dtypes == (kind.type.data_type,) * bands
        assert file.descriptions == (tuple(band.name for band in kind.type.bands) or (name,))
        assert file.units == (kind.type.unit,) * bands and file.offsets == (offset,) * bands
    cog.validate(tmp_path / "x.tif")


@pytest.mark.parametrize(
    ("crs", "left", "top", "size"),
    [("EPSG:32634", 300_000, 6_700_020, 10), ("EPSG:3857", 2e6, 8e6, 10), ("EPSG:4326", 17.5, 60.1, 9e-5),
     ("EPSG:32756", 200_000, 6_700_000, 250.1)],
)  # fmt: skip
def test_any_crs_with_a_code_is_written(tmp_path, crs, left, top, size):
    place = Grid(crs=crs, left=left, top=top, resolution=size, columns=640, rows=320)
    write(tmp_path / "x.tif", noise(320, 640), place, layer())
    with rasterio.open(tmp_path / "x.tif") as file:
        assert file.crs == rasterio.CRS.from_string(crs)
        assert tuple(file.transform)[:6] == pytest.approx(place.transform, rel=1e-15)
    cog.validate(tmp_path / "x.tif")


def test_a_crs_without_a_code_is_refused(tmp_path):
    place = Grid(crs="+proj=laea +lat_0=60 +lon_0=15", left=0, top=0, resolution=10, columns=64, rows=64)
    with pytest.raises(BadFile, match="EPSG"):
        write(tmp_path / "x.tif", noise(64, 64), place, layer())


# Overviews against brute force


def blocks(band, level):
    """Each pixel of the overview with the pixels that it covers at full resolution."""
    factor = 2**level
    rows, columns = band.shape[0] // factor, band.shape[1] // factor
    return band.reshape(rows, factor, columns, factor).swapaxes(1, 2).reshape(rows, columns, -1)


@pytest.mark.parametrize("nodata", [0, 255])
@pytest.mark.parametrize("codes", [(4, 5, 6), tuple(range(12)), (0, 9), (7,)])
def test_an_overview_of_classes_is_their_mode(codes, nodata):
    """Of ties the lower code; pixels without data don't count, even where they are most."""
    rng = np.random.default_rng(len(codes))
    band = rng.choice(np.array(codes, np.uint8), (128, 192))
    band[:, :40] = rng.choice(np.array([0, 0, 0, 4], np.uint8), (128, 40))
    found = cog.pyramid(band[None], layer(Kind.CLASSES, "uint8", nodata).type, depth=5)
    for level in range(1, 6):
        covered = blocks(band, level)
        counts = np.stack([(covered == code).sum(axis=2) for code in range(12)])
        if nodata == 0:
            counts[nodata] = 0
        wanted = np.where(counts.max(axis=0) > 0, counts.argmax(axis=0), nodata)
        assert np.array_equal(found[level][0], wanted) and found[level].dtype == np.uint8


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 0),
        ("uint8", 255),
        ("uint16", 0),
        ("int16", -32_768),
        ("int16", 0),
        ("uint16", 65_535),
    ],
)
def test_an_overview_of_a_measurement_is_the_mean_of_the_valid_pixels(dtype, nodata):
    """Halves are rounded up, in swath edges too, and each level is made of the full resolution."""
    band = noise(128, 192, dtype, nodata)[0]
    assert (band == nodata).any()
    found = cog.pyramid(band[None], layer(dtype=dtype, nodata=nodata).type, depth=5)
    for level in range(1, 6):
        covered = blocks(band, level).astype(np.int64)
        valid = covered != nodata
        count = valid.sum(axis=2)
        total = np.where(valid, covered, 0).sum(axis=2)
        # floor(mean + 1/2), in whole numbers
        wanted = np.where(count > 0, (2 * total + count) // np.maximum(2 * count, 1), nodata)
        assert np.array_equal(found[level][0], wanted) and found[level].dtype == dtype


def test_halves_are_rounded_up_and_not_to_even():
    band = np.array([[1, 2, 2, 3], [1, 2, 2, 3]], np.uint16)
    assert cog.pyramid(band[None], layer().type, depth=1)[1].tolist() == [[[2, 3]]]
    below = np.array([[-1, -2, -2, -3], [-1, -2, -2, -3]], np.int16)
    assert cog.pyramid(below[None], layer(dtype="int16", nodata=0).type, depth=1)[1].tolist() == [[[-1, -2]]]


def test_an_overview_of_floats_is_the_mean_of_the_numbers():
    band = noise(128, 192, "float32", np.nan)[0]
    found = cog.pyramid(band[None], layer(dtype="float32", nodata=np.nan).type, depth=5)
    for level in range(1, 6):
        covered = blocks(band, level).astype(np.float64)
        none = np.isnan(covered).all(axis=2)
        wanted = np.full(none.shape, np.nan)
        wanted[~none] = np.nanmean(covered[~none], axis=1)
        np.testing.assert_allclose(found[level][0], wanted, rtol=1e-6)


def test_the_largest_numbers_do_not_overflow():
    band = np.full((1, 256, 256), 65_535, np.uint16)
    assert all((level == 65_535).all() for level in cog.pyramid(band, layer().type, depth=8))


def test_the_value_of_a_pixel_in_an_overview_never_becomes_nodata_by_rounding():
    """The mean of a probability of 255 and 254 would be 255 with 255 counted; it is not."""
    band = np.array([[255, 254], [254, 255]], np.uint8)
    kind = LAYERS["CLD"]
    assert cog.pyramid(band[None], kind, depth=1)[1].tolist() == [[[254]]]


@pytest.mark.parametrize(
    ("dtype", "nodata", "values"), [("int16", 0, (-1, 1)), ("float32", 0.0, (-1, 1)), ("uint8", 100, (99, 101))]
)
def test_the_mean_of_data_in_an_overview_never_becomes_nodata_by_chance(dtype, nodata, values):
    band = np.array([values * 2, values * 2], dtype)
    band[:, 2:] = nodata
    found = cog.pyramid(band[None], layer(dtype=dtype, nodata=nodata).type, depth=1)[1][0, 0]
    assert found[0] != nodata and abs(found[0] - nodata) <= 1 and found[1] == nodata


# The same bytes


def written(path, threads):
    place = grids.padded(grid(1100, 1300))
    write(path, noise(*place.shape, seed=3), place, layer(scale=1e-4, offset=-0.1), threads=threads)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_pixels_give_the_same_bytes_whatever_the_threads_and_the_process(tmp_path):
    first = written(tmp_path / "1.tif", 1)
    assert written(tmp_path / "2.tif", 2) == first and written(tmp_path / "7.tif", 7) == first
    script = (
        "import importlib.util, sys; from pathlib import Path\n"
        "spec = importlib.util.spec_from_file_location('tests', sys.argv[1])\n"
        "tests = importlib.util.module_from_spec(spec); spec.loader.exec_module(tests)\n"
        "print(tests.written(Path(sys.argv[2]), 2))\n"
    )
    command = [sys.executable, "-c", script, __file__, tmp_path / "other.tif"]
    run = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "1"}, capture_output=True, text=True)
    assert run.stdout.strip() == first, run.stderr


@pytest.mark.parametrize("columns", [512, 1024])
def test_a_file_as_wide_as_a_block_is_a_cog_too(tmp_path, columns):
    """rio-cogeo takes its tiles for strips."""
    pixels = noise(1536, columns)
    levels = cog.pyramid(pixels, layer().type, depth=2)
    cog.write(tmp_path / "x.tif", levels, grid(columns, 1536), layer())
    cog.validate(tmp_path / "x.tif")
    with rasterio.open(tmp_path / "x.tif") as file:
        assert np.array_equal(file.read(), pixels) and file.block_shapes == [(512, 512)]


# A full disk


def test_a_full_disk_raises(tmp_path):
    """The limit of a process's file size stands for the disk's, wherever in the file it is met."""
    script = (
        "import importlib.util, resource, sys; from pathlib import Path\n"
        "spec = importlib.util.spec_from_file_location('tests', sys.argv[1])\n"
        "tests = importlib.util.module_from_spec(spec); spec.loader.exec_module(tests)\n"
        "for room in (0, 100, 3000, 100_000, 1_000_000, resource.RLIM_INFINITY):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))\n"
        "    try: tests.written(Path(sys.argv[2]), 2)\n"
        "    except OSError as error: print(error.strerror)\n"
        "    else: print('whole')\n"
    )
    command = [sys.executable, "-c", script, __file__, tmp_path / "x.tif"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.splitlines() == ["File too large"] * 5 + ["whole"], run.stderr
    cog.validate(tmp_path / "x.tif")


def test_a_disk_that_is_full_from_the_first_byte_raises():
    with pytest.raises(OSError):
        write(Path("/dev/full"), noise(600, 600), grid(600, 600), layer())


# The check before publishing


def test_a_file_that_is_cut_or_changed_is_refused(tmp_path):
    place = grids.padded(grid(1100, 1300))
    path = tmp_path / "x.tif"
    write(path, noise(*place.shape), place, layer())
    whole = path.read_bytes()
    for content in (whole[:-500], whole[: len(whole) // 2], whole[:1000], b"", b"x" * 1000):
        path.write_bytes(content)
        with pytest.raises(BadFile, match=r"x\.tif"):
            cog.validate(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_tiff_that_is_no_cog_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", noise(1100, 1300)[0])
    with pytest.raises(BadFile, match=r"x\.tif"):
        cog.validate(tmp_path / "x.tif")


@pytest.mark.parametrize("profile", Profile)
def test_every_profile_is_read_by_gdal_and_tifffile_and_by_our_own_tiles(tmp_path, case, profile):
    _, levels, place, kind = case
    path = tmp_path / f"{profile}.tif"
    cog.write(path, levels, place, kind, profile=profile)
    cog.validate(path)
    blocks = Blocks(FolderStorage(tmp_path), memory=0)
    directory = blocks.directory(path.name)
    with tifffile.TiffFile(path) as file:
        for page, level in zip(file.pages, levels, strict=True):
            assert page.compression == profile.compression
            assert np.array_equal(np.moveaxis(np.atleast_3d(page.asarray()), -1, 0), level, equal_nan=True)
    for number, level in enumerate(levels):
        with rasterio.open(path, **({"overview_level": number - 1} if number else {})) as file:
            assert np.array_equal(file.read(), level, equal_nan=True)
        found = blocks.window(directory, number, slice(0, level.shape[1]), slice(0, level.shape[2]))
        assert np.array_equal(found, level, equal_nan=True)


def test_compact_files_are_smaller_and_the_same_each_time(tmp_path):
    pixels, place = noise(1024, 1024), grid(1024, 1024)
    levels = cog.pyramid(pixels[:1], layer().type, depth=1)
    sizes = {}
    for profile in Profile:
        for threads in (1, 3):
            cog.write(tmp_path / f"{profile}{threads}.tif", levels, place, layer(), threads=threads, profile=profile)
        first, again = ((tmp_path / f"{profile}{threads}.tif").read_bytes() for threads in (1, 3))
        assert first == again
        sizes[profile] = len(first)
    assert sizes[Profile.COMPACT] < 0.95 * sizes[Profile.STANDARD]
