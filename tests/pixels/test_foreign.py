"""Rasters of other makers, in a folder and in a bucket, against what GDAL makes of them."""

import dataclasses
import random
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from converters import cog
from kartotek import grids, matrices
from kartotek.errors import BadRequest, NotFound, StorageError
from kartotek.grids import BLOCK, NATIONAL, Grid
from kartotek.product import Kind, Layer, LayerType
from kartotek.stopwatch import Stopwatch
from kartotek.storage import FolderStorage, open_storage
from pixels import areas, cut, points, render, statistics, warp
from pixels.areas import Outline
from pixels.blocks import Blocks
from pixels.directory import GDAL
from pixels.numbers import Numbers, Value
from pixels.stored import NAME, Pages, Stored
from pixels.tally import Wanted
from pixels.warp import Source

SIDE, LEFT, TOP = 1024, 600_000, 6_700_000
GRID = Grid(crs=NATIONAL, left=LEFT, top=TOP, resolution=10, columns=SIDE, rows=SIDE)
TIFF = {"driver": "GTiff"}
TILED = {**TIFF, "tiled": True, "blockxsize": 256, "blockysize": 256}
JP2 = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
PROFILES = {
    "strips": TIFF,
    "strips of 64 rows, LZW": {**TIFF, "compress": "lzw", "blockysize": 64},
    "blocks of 256 pixels": {**TILED, "compress": "deflate"},
    "blocks of 1024 pixels": {**TILED, "blockxsize": 1024, "blockysize": 1024, "compress": "deflate"},
    "blocks of 512 pixels, LZW": {**TILED, "blockxsize": 512, "blockysize": 512, "compress": "lzw"},
    "blocks of 112 x 48 pixels": {**TILED, "blockxsize": 112, "blockysize": 48, "compress": "zstd"},
    "ZSTD": {**TILED, "compress": "zstd", "predictor": 2},
    "no compression": {**TILED, "blockxsize": 512, "blockysize": 512},
    "big-endian": {**TILED, "ENDIANNESS": "BIG"},
    "BigTIFF": {**TILED, "BIGTIFF": "YES", "compress": "lzw"},
    "COG of 256 pixels": {"driver": "COG", "BLOCKSIZE": 256, "compress": "lzw"},
    "JPEG 2000, a tile": JP2,
    "JPEG 2000, tiles of 1024 pixels": {**JP2, "BLOCKXSIZE": 1024, "BLOCKYSIZE": 1024, "RESOLUTIONS": 4},
}


class Counted(FolderStorage):
    """A folder that notes which files are read, and may fail."""

    def __init__(self, root):
        super().__init__(root)
        self.keys_read, self.patience = [], 10**9

    def read(self, key, start=0, length=None):
        self._note(key)
        return super().read(key, start, length)

    def ranges(self, key, places):
        self._note(key)
        return super().ranges(key, places)

    def size(self, key):
        self._note(key)
        return super().size(key)

    def _note(self, key):
        self.keys_read.append(key)
        if len(self.keys_read) > self.patience:
            raise StorageError("the disk is on fire")


def ground(rows=SIDE, columns=SIDE, seed=0):
    """Numbers from 1 on, smooth enough for JPEG 2000 to be small, with holes of 0."""
    rng = np.random.default_rng(seed)
    pixels = (1000 + np.arange(rows)[:, None] + np.arange(columns) + rng.integers(0, 300, (rows, columns))).astype(
        np.uint16
    )
    pixels[rows // 3 : rows // 3 + 40, : columns // 2] = 0
    return pixels


def write(path, pixels, grid=GRID, overviews=(), **profile):
    """A raster of (rows, columns) or (bands, rows, columns)."""
    pixels = pixels.reshape(-1, *pixels.shape[-2:])
    size = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], "dtype": str(pixels.dtype)}
    place = {"crs": grid.crs, "transform": rasterio.Affine(*grid.transform)}
    # GDAL goes by the name, and writes bare codestreams without a place where it is not this one.
    written = path.with_suffix(".jp2") if profile["driver"] == "JP2OpenJPEG" else path
    with rasterio.open(written, "w", **size, **place, **profile) as file:
        file.write(pixels)
    written.rename(path)
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(overviews, Resampling.average)
    return path


def source(key="x.tif", grid=GRID, **facts):
    return Source(**{"key": key, "grid": grid, "nodata": 0, "scale": 1, "offset": 0, "classes": False, **facts})


def by_gdal(path, target, *, classes=False, level=0):
    """What GDAL warps, with PROJ called for each pixel."""
    with (
        rasterio.open(path, **({"OVERVIEW_LEVEL": level - 1} if level else {})) as file,
        WarpedVRT(
            file, crs=target.crs, transform=rasterio.Affine(*target.transform), width=target.columns,
            height=target.rows, resampling=Resampling.nearest if classes else Resampling.bilinear, src_nodata=0,
            nodata=0, tolerance=1e-6, XSCALE="1", YSCALE="1",
        ) as warped,
    ):  # fmt: skip
        return warped.read(1)


def agree(found, valid, wanted):
    """Nearly all pixels within one number of GDAL's, and there where GDAL has some."""
    assert (valid == (wanted > 0)).mean() >= 0.999 and valid.any()
    both = valid & (wanted > 0)
    assert (np.abs(found[both].astype(float) - wanted[both]) <= 1).mean() >= 0.999


def tile(grid=GRID, tms="WebMercatorQuad", z=13, east=0.5, south=0.5):
    """The tile that holds a place in a grid."""
    x, y = grid.left + east * grid.columns * grid.resolution, grid.top - south * grid.rows * grid.resolution
    matrix_set = matrices.find(tms)
    if not grids.same_pixels(grid.crs, crs := matrices.code(matrix_set)):
        x, y = grids.transformer(grid.crs, crs).transform(x, y)
    world = render.tile_grid(matrix_set, z, 0, 0)
    side = world.resolution * world.columns
    return render.tile_grid(matrix_set, z, int((x - world.left) // side), int((world.top - y) // side))


@pytest.fixture(params=["folder", "bucket"])
def stored(request, tmp_path):
    """Puts files into a storage, and gives it."""
    place = str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("bucket")

    def put(*paths):
        storage = open_storage(place)
        for path in paths:
            storage.create(path.name, path)
        return storage

    return put


@pytest.mark.parametrize("profile", PROFILES)
def test_blocks_of_a_foreign_file_are_what_gdal_reads(stored, tmp_path, profile):
    path = write(tmp_path / "x.tif", ground(700, 1101), **PROFILES[profile])
    blocks = Blocks(stored(path), memory=64 << 20)
    file = blocks.directory("x.tif")
    assert file.compression == GDAL and file.samples == 1 and file.data_type == np.uint16
    for level, image in enumerate(file.levels):
        with rasterio.open(path, **({"OVERVIEW_LEVEL": level - 1} if level else {})) as oracle:
            assert image.shape == oracle.shape
            whole = oracle.read()
        assert np.array_equal(blocks.window(file, level, slice(0, image.rows), slice(0, image.columns)), whole)
        # Alone, and with others that were kept on the way.
        last = slice(image.rows - 5, image.rows), slice(image.columns - 1, image.columns)
        for rows, columns in ((slice(0, 3), slice(5, 9)), last):
            fresh = Blocks(stored(), memory=64 << 20)
            assert np.array_equal(fresh.window(file, level, rows, columns), whole[:, rows, columns])


TYPES = ["uint8", "int8", "int16", "int32", "uint32", "float32", "float64"]


@pytest.mark.parametrize("data_type", TYPES)
def test_numbers_of_all_types_and_of_several_bands_are_read(tmp_path, data_type):
    pixels = (np.random.default_rng(1).normal(0, 30, (3, 700, 600))).astype(data_type)
    for interleave in ("pixel", "band"):
        write(tmp_path / "x.tif", pixels, **TILED, interleave=interleave)
        blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
        found = blocks.window(blocks.directory("x.tif"), 0, slice(0, 700), slice(0, 600))
        assert found.dtype == data_type and np.array_equal(found, pixels)


def test_jpeg_in_a_tiff_is_read_as_gdal_reads_it(tmp_path):
    pixels = np.stack([ground(600, 700, seed) // 20 for seed in range(3)]).astype(np.uint8)
    write(tmp_path / "x.tif", pixels, **TILED, compress="jpeg", photometric="ycbcr")
    blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
    found = blocks.window(blocks.directory("x.tif"), 0, slice(0, 600), slice(0, 700))
    with rasterio.open(tmp_path / "x.tif") as oracle:
        assert np.array_equal(found, oracle.read())


CRS = {
    NATIONAL: GRID,
    "EPSG:32634": dataclasses.replace(GRID, crs="EPSG:32634", left=300_005),
    "EPSG:4326": Grid(crs="EPSG:4326", left=16.8, top=60.45, resolution=1e-4, columns=SIDE, rows=SIDE),
    "EPSG:3857": dataclasses.replace(GRID, crs="EPSG:3857", left=1_900_000, top=8_400_000),
}


PLACES = [*product(CRS, ("strips", "blocks of 256 pixels")), ("EPSG:32634", "JPEG 2000, tiles of 1024 pixels")]


@pytest.mark.parametrize(("crs", "profile"), PLACES)
def test_tiles_of_foreign_files_equal_gdals(tmp_path, crs, profile):
    grid = CRS[crs]
    path = write(tmp_path / "x.tif", ground(), grid, **PROFILES[profile])
    blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
    for target in (tile(grid, z=14), tile(grid, z=13, east=0.02), tile(grid, "SWEREF99TM", 11)):
        for classes in (False, True):
            [(found, valid)] = warp.read(blocks, [source(grid=grid, classes=classes)], target)
            agree(found, valid, by_gdal(path, target, classes=classes))


SIZES = {"a multiple": (1024, 2048), "none": (1301, 1043)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("profile", ["blocks of 256 pixels", "COG of 256 pixels", "COG as ours", "JPEG 2000, a tile"])
def test_overviews_are_taken_as_gdal_takes_them(tmp_path, size, profile):
    """Of 1043 columns the second overview has 261 or 260, neither of them of 40 m."""
    rows, columns = SIZES[size]
    grid = dataclasses.replace(GRID, rows=rows, columns=columns)
    as_ours = {"driver": "COG", "BLOCKSIZE": 512, "compress": "deflate", "predictor": 2}
    made = {**PROFILES, "COG as ours": as_ours}[profile]
    halves = (2, 4, 8) if made["driver"] == "GTiff" else ()
    path = write(tmp_path / "x.tif", ground(rows, columns), grid, halves, **made)
    blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
    file = blocks.directory("x.tif")
    assert (file.compression == GDAL) == (profile != "COG as ours") and len(file.levels) > 2
    x, y = grids.transformer(NATIONAL, "EPSG:32632").transform(LEFT + 10 * columns, TOP - 5 * rows)
    for level in range(len(file.levels)):
        resolution = 11 * 2**level
        corner = {"left": x - 150 * resolution, "top": y + 20 * resolution}
        target = Grid(crs="EPSG:32632", resolution=resolution, columns=200, rows=180, **corner)
        [(found, valid)] = warp.read(blocks, [source(grid=grid)], target)
        agree(found, valid, by_gdal(path, target, level=level))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_tile_of_a_foreign_file_is_that_of_our_own_file(tmp_path, profile):
    pixels = ground()
    write(tmp_path / "x.tif", pixels, **PROFILES[profile])
    kind = LayerType(name="x", kind=Kind.MEASUREMENT, resolution=10, title="", data_type="uint16", nodata=0)
    levels = cog.pyramid(pixels[None], kind, depth=grids.levels(SIDE, SIDE))
    cog.write(tmp_path / "own.tif", levels, GRID, Layer(type=kind, file="", href="", grid=GRID))
    blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
    assert blocks.directory("own.tif").compression != GDAL == blocks.directory("x.tif").compression
    for target in (tile(z=14), tile(tms="SWEREF99TM10", z=8), tile(tms="SWEREF99TM", z=10, east=0)):
        [(one, seen)], [(other, also)] = (warp.read(blocks, [source(key)], target) for key in ("x.tif", "own.tif"))
        assert np.array_equal(one, other) and np.array_equal(seen, also) and seen.any()


def numbers(*sources, **more):
    """All of each file, as it is stored."""
    names = [str(number) for number in range(len(sources))]
    values = tuple(Value(name=name, of=name) for name in names)
    return Numbers(values=values, sources=dict(zip(names, sources, strict=True)), **more)


def outline(grid, top, left, bottom, right):
    """A rectangle of pixels in longitude and latitude."""
    place = Grid(
        crs=grid.crs, left=grid.left + left * grid.resolution, top=grid.top - top * grid.resolution,
        resolution=grid.resolution, columns=right - left, rows=bottom - top,
    )  # fmt: skip
    return areas.footprint(place)


@pytest.mark.parametrize("profile", ["strips", "big-endian", "JPEG 2000, tiles of 1024 pixels"])
def test_a_point_a_crop_and_statistics_are_numpys(stored, tmp_path, profile):
    pixels = ground()
    blocks = Blocks(stored(write(tmp_path / "x.tif", pixels, **PROFILES[profile])), memory=64 << 20)
    asked, watch = numbers(source()), Stopwatch()
    for row, column in ((0, 0), (700, 1000), (SIDE - 1, SIDE - 1), (520, 3)):
        x, y = LEFT + 10 * column + 5, TOP - 10 * row - 5
        [told] = points.at(blocks, asked, x, y, NATIONAL, watch)
        assert told["number"] == (pixels[row, column] or None)
    area = outline(GRID, 400, 300, 900, 900)
    seen = Outline(area, [GRID])
    target, own = cut.target(GRID, seen, cut.Frame(), asked.coverage, 2)
    raster = cut.numbers(blocks, asked, target, watch, outline=seen, own=own)
    row, column = round((GRID.top - target.top) / 10), round((target.left - GRID.left) / 10)
    whole = pixels[row : row + target.rows, column : column + target.columns]
    inside = raster.valid
    assert own and np.array_equal(raster.pixels[0][inside], whole[inside]) and inside.sum() > 200_000
    with rasterio.open(tmp_path / "x.tif") as file:
        polygon = seen.projected(NATIONAL)
        mask = rasterio.features.geometry_mask([polygon], file.shape, file.transform, invert=True)
    [[told]] = statistics.of_areas(blocks, asked, [area], Wanted(), watch)
    wanted = pixels[mask & (pixels > 0)].astype(float)
    assert (told["count"], told["min"], told["max"]) == (wanted.size, wanted.min(), wanted.max())
    assert told["mean"] == pytest.approx(wanted.mean()) and told["median"] == np.median(wanted)
    assert told["overview"] == 0 and np.array_equal(inside, (mask & (pixels > 0))[
        row : row + target.rows, column : column + target.columns
    ])  # fmt: skip


def test_many_threads_read_foreign_files_at_once(tmp_path):
    whole = {}
    for number, profile in enumerate(("strips", "ZSTD", "JPEG 2000, tiles of 1024 pixels")):
        whole[f"{number}.tif"] = ground(seed=number)
        write(tmp_path / f"{number}.tif", whole[f"{number}.tif"], **PROFILES[profile])
    blocks = Blocks(FolderStorage(tmp_path), memory=1 << 20)  # so small that nothing is kept for long

    def read(seed):
        chance = random.Random(seed)
        for _ in range(8):
            key, rows, columns = chance.choice([*whole]), *(sorted(chance.sample(range(SIDE), 2)) for _ in range(2))
            found = blocks.window(blocks.directory(key), 0, slice(*rows), slice(*columns))
            assert np.array_equal(found[0], whole[key][slice(*rows), slice(*columns)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))


def test_what_is_unpacked_on_the_way_is_kept(tmp_path):
    write(tmp_path / "x.tif", ground(), **PROFILES["strips"])
    storage = Counted(tmp_path)
    blocks = Blocks(storage, memory=64 << 20)
    file = blocks.directory("x.tif")
    blocks.window(file, 0, slice(0, 10), slice(0, 10))
    before = len(storage.keys_read)
    assert blocks.window(file, 0, slice(0, BLOCK), slice(0, SIDE)).any() and len(storage.keys_read) == before
    small = Blocks(storage, memory=0)
    assert np.array_equal(small.window(file, 0, slice(0, BLOCK), slice(0, SIDE))[0], ground()[:BLOCK])


def test_a_file_whose_directory_stands_at_its_end_is_read(tmp_path):
    """As libtiff writes them where it does not know their size; farther from the start than we look for it."""
    pixels = np.random.default_rng(1).integers(0, 60_000, (1600, 1600), np.uint16)
    path = write(tmp_path / "x.tif", pixels, **TIFF, compress="lzw", overviews=(2, 4))
    with rasterio.open(path, "r+") as file:
        file.update_tags(what="its directory is written anew")
    (start,) = struct.unpack_from("<I", path.read_bytes(), 4)
    assert start > 4 << 20
    blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
    file = blocks.directory("x.tif")
    assert len(file.levels) == 3
    assert np.array_equal(blocks.window(file, 0, slice(900, 1600), slice(0, 1600))[0], pixels[900:])


# --- nothing else is opened


VRT = """<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>
</VRTRasterBand></VRTDataset>"""


@pytest.mark.parametrize("relative", [0, 1])
def test_a_vrt_is_refused_and_what_it_names_is_not_opened(tmp_path, relative):
    secret = write(tmp_path / "secret.tif", ground(), **TIFF)
    name = secret.name if relative else secret
    (tmp_path / "x.tif").write_text(VRT.format(side=SIDE, relative=relative, name=name))
    storage = Counted(tmp_path)
    with pytest.raises(NotFound, match=r"x\.tif: is no GeoTIFF and no JPEG 2000"):
        warp.read(Blocks(storage, memory=0), [source()], tile())
    assert {*storage.keys_read} == {"x.tif"}


def test_files_beside_a_file_are_not_opened(tmp_path):
    """Neither overviews, nor masks, nor what GDAL keeps of a file; GDAL itself would take them."""
    pixels = ground()
    path = write(tmp_path / "x.tif", pixels, **TIFF)
    (tmp_path / "x.tif.ovr").write_text(VRT.format(side=SIDE // 2, relative=1, name="secret.tif"))
    (tmp_path / "x.tif.msk").write_bytes(path.read_bytes())
    (tmp_path / "x.tif.aux.xml").write_text("<PAMDataset><Metadata><MDI key='x'>1</MDI></Metadata></PAMDataset>")
    (tmp_path / "x.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    storage = Counted(tmp_path)
    blocks = Blocks(storage, memory=0)
    file = blocks.directory("x.tif")
    assert len(file.levels) == 1
    assert np.array_equal(blocks.window(file, 0, slice(0, SIDE), slice(0, SIDE))[0], pixels)
    assert {*storage.keys_read} == {"x.tif"}


def test_what_gdal_is_given_has_one_file_to_read_and_nothing_to_change(tmp_path):
    write(tmp_path / "x.tif", ground(), **TIFF)
    stored = Stored(Pages(FolderStorage(tmp_path), "x.tif"))
    for name in ("x.tif", "/etc/passwd", "../x.tif", f"{NAME}.ovr", "http://example.org"):
        with pytest.raises(FileNotFoundError):
            stored.open(name, "rb")
        assert not stored.isfile(name) and not stored.isdir(name)
    with pytest.raises(PermissionError):
        stored.rm(NAME)
    for mode in ("wb", "r+b", "ab"):
        with pytest.raises(FileNotFoundError):
            stored.open(NAME, mode)


# --- what can't be read


@pytest.mark.parametrize(
    "content",
    [b"", b"II*\0", b"\x89PNG\r\n\x1a\n" + bytes(99), b"{}", b"II*\0" + bytes(500), b"\0\0\0\x0cjP  \r\n\x87\n" * 9],
    ids=["nothing", "too little", "PNG", "JSON", "TIFF of zeros", "JPEG 2000 of signatures"],
)
def test_what_is_no_raster_is_told_by_name(tmp_path, content):
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(NotFound, match=r"^x\.tif: "):
        warp.read(Blocks(FolderStorage(tmp_path), memory=0), [source()], tile())


@pytest.mark.parametrize("profile", PROFILES)
def test_a_file_that_is_cut_short_is_told_by_name(tmp_path, profile):
    """JPEG 2000 too, of which OpenJPEG would make pixels of what is left."""
    path = write(tmp_path / "x.tif", ground(), **PROFILES[profile])
    content = path.read_bytes()
    for share in (0.001, 0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
        with pytest.raises(NotFound, match=r"^x\.tif: can't be read"):
            blocks.window(blocks.directory("x.tif"), 0, slice(0, SIDE), slice(0, SIDE))
        assert not blocks._blocks._coming


@pytest.mark.parametrize("profile", ["strips of 64 rows, LZW", "ZSTD", "JPEG 2000, tiles of 1024 pixels"])
def test_a_file_with_changed_bytes_is_read_or_refused(tmp_path, profile):
    path = write(tmp_path / "x.tif", ground(600, 600), **PROFILES[profile])
    content, chance = path.read_bytes(), random.Random(1)
    for _ in range(40):
        changed = bytearray(content)
        for _ in range(chance.randrange(1, 20)):
            changed[chance.choice([chance.randrange(400), chance.randrange(len(content))])] = chance.randrange(256)
        path.write_bytes(changed)
        blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
        try:
            file = blocks.directory("x.tif")
            if file.levels[0].shape == (600, 600):
                assert blocks.window(file, 0, slice(0, 600), slice(0, 600)).shape == (file.samples, 600, 600)
        except NotFound as error:
            assert "x.tif" in str(error)


def test_a_storage_that_does_not_answer_is_not_the_files_fault(tmp_path):
    """Wherever it happens: GDAL calls all of them I/O errors."""
    write(tmp_path / "x.tif", ground(), **TILED, compress="lzw")
    whole = Counted(tmp_path)
    warp.read(Blocks(whole, memory=0), [source()], tile())
    for patience in range(len(whole.keys_read)):
        storage = Counted(tmp_path)
        storage.patience = patience
        blocks = Blocks(storage, memory=0)
        with pytest.raises(StorageError, match="on fire"):
            warp.read(blocks, [source()], tile())
        storage.patience = 10**9
        [(_, valid)] = warp.read(blocks, [source()], tile())
        assert valid.any() and not blocks._blocks._coming


@pytest.mark.parametrize(
    ("pixels", "facts", "reason"),
    [
        (ground(900, SIDE), {}, "has 1024 x 900 pixels; its item's proj:shape says 1024 x 1024"),
        (ground(), {"band": 1}, "has 1 bands"),
        (ground().astype("complex64"), {}, "its pixels are complex64"),
    ],
)
def test_a_file_that_is_not_as_its_item_says_is_told_so(tmp_path, pixels, facts, reason):
    write(tmp_path / "x.tif", pixels, **TILED)
    blocks, asked = Blocks(FolderStorage(tmp_path), memory=64 << 20), source(**facts)
    for ask in (
        lambda: warp.read(blocks, [asked], tile()),
        lambda: points.at(blocks, numbers(asked), LEFT + 5, TOP - 5, NATIONAL, Stopwatch()),
        lambda: cut.numbers(blocks, numbers(asked), tile(), Stopwatch()),
    ):
        with pytest.raises(NotFound, match=reason) as told:
            ask()
        assert "x.tif" in str(told.value)


def test_our_own_files_have_the_size_that_their_items_say_too(tmp_path):
    kind = LayerType(name="x", kind=Kind.MEASUREMENT, resolution=10, title="", data_type="uint16", nodata=0)
    levels = cog.pyramid(ground()[None], kind, depth=2)
    cog.write(tmp_path / "x.tif", levels, GRID, Layer(type=kind, file="", href="", grid=GRID))
    wider = dataclasses.replace(GRID, columns=SIDE + 512)
    with pytest.raises(NotFound, match=r"x\.tif: has 1024 x 1024"):
        warp.read(Blocks(FolderStorage(tmp_path), memory=0), [source(grid=wider)], tile())


# --- what would cost too much


def sparse(path, side, **profile):
    """A huge file, of which next to nothing is written."""
    grid = dataclasses.replace(GRID, rows=side, columns=side)
    size = {"count": 1, "height": side, "width": side, "dtype": "uint16", "SPARSE_OK": True}
    with rasterio.open(path, "w", **size, crs=grid.crs, transform=rasterio.Affine(*grid.transform), **profile):
        pass
    return grid


def test_a_picture_that_would_need_overviews_which_are_not_there_is_refused(tmp_path):
    grid = sparse(tmp_path / "x.tif", 10_980, **TILED, compress="deflate")
    storage = Counted(tmp_path)
    blocks = Blocks(storage, memory=64 << 20)
    [(found, _)] = warp.read(blocks, [source(grid=grid)], tile(grid, z=10))
    assert not found.any()
    before = len(storage.keys_read)
    for z in (6, 7, 8):
        with pytest.raises(BadRequest, match=r"at most 67108864 will do: x\.tif have no overviews"):
            warp.read(blocks, [source(grid=grid)], tile(grid, z=z))
    assert len(storage.keys_read) == before


def test_an_area_that_would_need_overviews_which_are_not_there_is_refused(tmp_path):
    """A small area is answered as ever; one of all the file would read it four times over for the overview's pixels."""
    grid = sparse(tmp_path / "x.tif", 10_980, **TILED, compress="deflate")
    blocks, asked, watch = Blocks(FolderStorage(tmp_path), memory=64 << 20), numbers(source(grid=grid)), Stopwatch()
    small, large = outline(grid, 0, 0, 100, 100), outline(grid, 0, 0, 10_980, 10_980)
    [[told]] = statistics.of_areas(blocks, asked, [small], Wanted(), watch)
    assert told["count"] == 0 and told["pixels"] > 9_000
    with pytest.raises(BadRequest, match="not all of the item's files have overviews"):
        statistics.of_areas(blocks, asked, [large], Wanted(), watch)
    seen = Outline(large, [grid])
    target, _ = cut.target(grid, seen, cut.Frame(resolution=80), asked.coverage, 2)
    with pytest.raises(BadRequest, match="not all of the item's files have overviews"):
        asked.coverage.check(blocks, target, target.rows * target.columns)


@pytest.mark.parametrize(
    ("side", "profile", "reason"),
    [
        (8_192, {**TIFF, "blockysize": 8_192, "compress": "lzw"}, "strips are 8192 x 8192 pixels, 134217728 bytes"),
        (600_000, {**TILED, "blockxsize": 4_096, "blockysize": 4_000}, "600000 x 600000 pixels; 1048576 blocks"),
    ],
)
def test_a_file_that_can_not_be_read_in_parts_is_refused_before_that(tmp_path, side, profile, reason):
    grid = sparse(tmp_path / "x.tif", side, **profile)
    corner = tile(grid, z=14, east=0.001, south=0.001)
    with pytest.raises(NotFound, match=reason):
        warp.read(Blocks(FolderStorage(tmp_path), memory=0), [source(grid=grid)], corner)


# --- genuine ones


def test_genuine_jpeg_2000_is_read(tmp_path):
    """As the agency delivers it: at 120 m, and with 15 bits."""
    data = Path(__file__).resolve().parents[3] / "shared" / "data"
    files = [*sorted(data.glob("mapchete-eo/full_products/**/B04.*"))[:1], *data.glob("sentinelhub-py/img-15bit.jp2")]
    if not files:
        pytest.skip("no genuine products beside the project")
    for path in files:
        shutil.copy(path, tmp_path / "x.jp2")
        blocks = Blocks(FolderStorage(tmp_path), memory=64 << 20)
        file = blocks.directory("x.jp2")
        assert file.compression == GDAL and len(file.levels) > 1
        for level, image in enumerate(file.levels):
            with rasterio.open(path, **({"OVERVIEW_LEVEL": level - 1} if level else {})) as oracle:
                found = blocks.window(file, level, slice(0, image.rows), slice(0, image.columns))
                assert np.array_equal(found, oracle.read())
