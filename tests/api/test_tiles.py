import io
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import orjson
import pyproj
import pytest
import rasterio
from fastapi.testclient import TestClient
from PIL import Image
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from api.app import create_app
from catalog.access import PUBLIC
from catalog.search import MAX_LIMIT, Search
from catalog.store import Catalog
from converters import cog
from kartotek import grids, indices, matrices
from kartotek.product import Kind, Layer, LayerType
from kartotek.settings import Settings
from kartotek.storage import MARKER, FolderStorage
from pixels import colors, render, style
from pixels.blocks import Blocks

MERCATOR = 20_037_508.342789244
SETS = {
    # CRS, left, top, metres a pixel at level 0, pixels of a tile, (columns, rows) at level 0, levels
    "WebMercatorQuad": (3857, -MERCATOR, MERCATOR, 2 * MERCATOR / 256, 256, (1, 1), 25),
    "SWEREF99TM": (3006, -1_200_000, 8_500_000, 4096, 256, (4, 4), 14),
    "SWEREF99TM10": (3006, 0, 7_864_320, 2560, 512, (1, 2), 9),
}
GRANULES = ("33VXG", "34VCM", "32VPK", "35WLP", "33VUC", "34WDA")
"""Zones 33, 34, 32 and 35, a swath's edge, and snow in the north."""
SOME = [pytest.param(name, marks=[] if name in ("34VCM", "33VUC") else pytest.mark.full) for name in GRANULES]
"""A zone that is warped and an edge each time, and the others among the full counts."""


@pytest.fixture(scope="module")
def items(demo):
    """Granule → its newest Level-2A item."""
    found = {}
    for content in demo.catalog.search(PUBLIC, Search(collections=("sentinel-2-l2a",), limit=MAX_LIMIT)).items:
        item = orjson.loads(content)
        found.setdefault(item["properties"]["grid:code"].removeprefix("MGRS-"), item)
    return found


@pytest.fixture(scope="module")
def local(demo):
    """HTTP without a network, on one file and a folder. `client` is on PostGIS and a bucket too."""
    return TestClient(create_app(demo.settings, demo.catalog, demo.storage))


@pytest.fixture(scope="module")
def stretch(demo):
    """(assets, low, high) of the true colour picture."""
    kind = orjson.loads(demo.catalog.collection(PUBLIC, "sentinel-2-l2a"))
    shown = kind["renders"]["true-colour"]
    [(low, high)] = {tuple(limits) for limits in shown["rescale"]}
    return shown["assets"], low, high


def address(item, tms, z, x, y):
    return f"/tiles/{item['collection']}/{item['id']}/{tms}/{z}/{x}/{y}.png"


def fetched(client, item, tms, z, x, y):
    """A tile's pixels, (rows, columns, 4)."""
    answer = client.get(address(item, tms, z, x, y))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (SETS[tms][4],) * 2
    return np.asarray(picture.convert("RGBA"))


def place(tms, z, x, y):
    """(left, top, metres a pixel) of a tile, by the set's definition alone."""
    _, left, top, first, size, _, _ = SETS[tms]
    metres = first / 2**z
    return left + x * size * metres, top - y * size * metres, metres


def over(item, tms, z):
    """Columns and rows of the tiles that the item's files touch."""
    code, left, top, first, size, *_ = SETS[tms]
    box = item["assets"]["B02"]["proj:bbox"]
    bounds = pyproj.Transformer.from_crs(3006, code, always_xy=True).transform_bounds(*box, densify_pts=50)
    side = first / 2**z * size
    return (
        range(math.floor((bounds[0] - left) / side), math.floor((bounds[2] - left) / side) + 1),
        range(math.floor((top - bounds[3]) / side), math.floor((top - bounds[1]) / side) + 1),
    )


def middle(item, tms, z):
    """The tile in which the middle of the item's bbox lies."""
    code, left, top, first, size, *_ = SETS[tms]
    west, south, east, north = item["bbox"]
    x, y = pyproj.Transformer.from_crs(4326, code, always_xy=True).transform((west + east) / 2, (south + north) / 2)
    side = first / 2**z * size
    return math.floor((x - left) / side), math.floor((top - y) / side)


def level_of(item, tms, z, x, y):
    """The overview whose pixels come nearest to the tile's from below, and how many of them a tile's pixel is wide.

    By metres on the ground in the tile's middle.
    """
    code, *_, size, _, _ = SETS[tms]
    left, top, metres = place(tms, z, x, y)
    middle = (left + size / 2 * metres, top - size / 2 * metres)
    to_files = pyproj.Transformer.from_crs(code, 3006, always_xy=True)
    (x0, y0), (x1, y1) = (to_files.transform(middle[0] + step * metres, middle[1]) for step in (0, 1))
    ratio = math.hypot(x1 - x0, y1 - y0) / 10
    deepest = grids.levels(*item["assets"]["B02"]["proj:shape"][::-1])
    level = min(deepest, max(0, math.floor(math.log2(ratio) + 1e-3)))
    return level, ratio / 2**level


def opened(demo, asset, level):
    path = demo.local.root / asset["href"].removeprefix(MARKER)
    return rasterio.open(path, **({"OVERVIEW_LEVEL": level - 1} if level else {}))


def shades(numbers, asset, low, high):
    """8 bits of a band's numbers."""
    band = asset["bands"][0]
    physical = numbers * band["raster:scale"] + band["raster:offset"]
    return np.clip((physical - low) / (high - low) * 255 + 0.5, 0, 255).astype(np.uint8)


def picture(item, stretch, read):
    """RGBA of three bands, each as `read` gives it."""
    assets, low, high = stretch
    bands = [read(item["assets"][name]) for name in assets]
    valid = np.logical_and.reduce([band != 0 for band in bands])
    channels = [np.where(valid, shades(band, item["assets"][name], low, high), 0)
                for name, band in zip(assets, bands, strict=True)]  # fmt: skip
    return np.dstack([*channels, np.where(valid, 255, 0)]).astype(np.uint8)


def by_gdal(demo, item, stretch, tms, z, x, y):
    """The tile as GDAL warps it, with PROJ called for each pixel."""
    code, *_, size, _, _ = SETS[tms]
    left, top, metres = place(tms, z, x, y)
    level, _ = level_of(item, tms, z, x, y)

    def read(asset):
        with (
            opened(demo, asset, level) as source,
            WarpedVRT(
                source, crs=f"EPSG:{code}", transform=rasterio.Affine(metres, 0, left, 0, -metres, top), width=size,
                height=size, resampling=Resampling.bilinear, src_nodata=0, nodata=0, tolerance=1e-6, XSCALE="1",
                YSCALE="1",
            ) as warped,
        ):  # fmt: skip
            return warped.read(1)

    return picture(item, stretch, read)


def alike(got, wanted):
    """(share of pixels whose transparency is equal, share of those that are seen and differ by 1 of 255 at most)."""
    same = got[..., 3] == wanted[..., 3]
    seen = (got[..., 3] == 255) & (wanted[..., 3] == 255)
    near = np.abs(got[..., :3].astype(int) - wanted[..., :3].astype(int)).max(axis=-1) <= 1
    return same.mean(), near[seen].mean() if seen.any() else 1.0


LEVELS = {
    "WebMercatorQuad": (4, 8, 10, 11, 12, 13, 15),
    "SWEREF99TM": (3, 6, 7, 8, 9, 12),
    "SWEREF99TM10": (0, 2, 4),
}


@pytest.mark.parametrize("granule", SOME)
@pytest.mark.parametrize("tms", SETS)
def test_tiles_are_what_gdal_warps(local, demo, items, stretch, tms, granule):
    """Within 1 of 255 on 99.9 % of the pixels that are seen, transparency alike on 99.9 %, of every tile.

    Colours are compared down to tiles whose pixels are twice as wide as those of the coarsest overview. Beyond, both
    pick one of many pixels, and a fiftieth of the tile's pixel, which is how far the lattice is off, picks another.
    """
    item = items[granule]
    seen = 0
    for z in LEVELS[tms]:
        columns, rows = over(item, tms, z)
        centre = middle(item, tms, z)
        near = {(columns[0], rows[0]), (columns[-1], rows[-1]), centre}
        for x, y in near:
            if x not in columns or y not in rows:
                continue
            got = fetched(local, item, tms, z, x, y)
            transparency, colours = alike(got, by_gdal(demo, item, stretch, tms, z, x, y))
            assert transparency >= 0.999, (z, x, y, transparency)
            assert colours >= 0.999 or level_of(item, tms, z, x, y)[1] > 2, (z, x, y, colours)
            seen += int((got[..., 3] == 255).sum())
    assert seen > 20_000 if tms != "SWEREF99TM10" else seen > 0


def test_levels_of_a_set_in_degrees_are_those_of_pixels_as_fine(demo, items, monkeypatch):
    usual = dict(matrices.served())
    monkeypatch.setattr(matrices, "_served", lambda: usual)
    settings = demo.settings.model_copy(update={"tile_matrix_sets": ["WGS1984Quad"]})
    world = TestClient(create_app(settings, demo.catalog, demo.storage))
    told = world.get(f"/tiles/sentinel-2-l2a/{items['34VCM']['id']}/WGS1984Quad/tilejson.json").json()
    # Of level 13 they have 8.6e-5 degrees, which are 9.6 m along the equator.
    assert told["maxzoom"] == 13 and 5 < told["minzoom"] < 13


@pytest.mark.parametrize(
    ("name", "code", "crs"),
    [
        ("EuropeanETRS89_LAEAQuad", 3035, "urn:ogc:def:crs:EPSG::3035"),
        # EPSG has no code for longitude before latitude.
        ("WorldCRS84Quad", 4326, "urn:ogc:def:crs:OGC:1.3:CRS84"),
    ],
)
def test_tiles_of_a_set_that_a_setting_names_are_what_gdal_warps(demo, items, stretch, monkeypatch, name, code, crs):
    item, usual = items["34VCM"], dict(matrices.served())
    monkeypatch.setattr(matrices, "_served", lambda: usual)
    settings = demo.settings.model_copy(update={"tile_matrix_sets": [name]})
    served = TestClient(create_app(settings, demo.catalog, demo.storage))
    first = matrices.find(name).tileMatrices[0]
    # Easting first, as everywhere; a set's own axes may be northing, easting.
    box = matrices.find(name).xy_bounds(0, 0, 0)
    size = first.matrixWidth, first.matrixHeight
    monkeypatch.setitem(SETS, name, (code, box.left, box.top, first.cellSize, 256, size, 16))
    seen = 0
    for z in (8, 10, 11, 13):
        tile = middle(item, name, z)
        got = fetched(served, item, name, z, *tile)
        transparency, colours = alike(got, by_gdal(demo, item, stretch, name, z, *tile))
        assert transparency >= 0.999 and colours >= 0.999, (z, transparency, colours)
        seen += int((got[..., 3] == 255).sum())
    assert seen > 50_000
    capabilities = served.get("/wmts?REQUEST=GetCapabilities").text
    assert name in capabilities and f"<ows:SupportedCRS>{crs}<" in capabilities
    assert served.get(f"/tileMatrixSets/{name}").json()["id"] == name
    listed = {one["id"]: one for one in served.get("/tileMatrixSets").json()["tileMatrixSets"]}
    assert pyproj.CRS.from_user_input(listed[name]["crs"]) == pyproj.CRS.from_user_input(crs)


@pytest.mark.parametrize("granule", SOME)
def test_tiles_are_the_same_bytes_wherever_database_and_files_are(client, local, items, granule):
    item = items[granule]
    for tms, levels in LEVELS.items():
        for z in levels:
            path = address(item, tms, z, *middle(item, tms, z))
            one, other = client.get(path), local.get(path)
            assert one.status_code == other.status_code == 200
            assert (one.content, one.headers["etag"]) == (other.content, other.headers["etag"])


@pytest.mark.parametrize("granule", SOME)
def test_tiles_of_the_native_set_are_the_pixels_of_the_files(local, demo, items, stretch, granule):
    """Exactly: level 8 is 10 m, level 7 the first overview, and so on."""
    item = items[granule]
    box, deepest = item["assets"]["B02"]["proj:bbox"], grids.levels(*item["assets"]["B02"]["proj:shape"])
    seen = 0
    for level in range(deepest + 1):
        z = 8 - level
        for x, y in itertools.product(*over(item, "SWEREF99TM10", z)):
            left, top, metres = place("SWEREF99TM10", z, x, y)
            column, row = (left - box[0]) / metres, (box[3] - top) / metres
            assert column.is_integer() and row.is_integer()

            def read(asset, level=level, row=row, column=column):
                with opened(demo, asset, level) as file:
                    return file.read(1, window=Window(column, row, 512, 512), boundless=True, fill_value=0)

            wanted = picture(item, stretch, read)
            np.testing.assert_array_equal(fetched(local, item, "SWEREF99TM10", z, x, y), wanted)
            seen += int((wanted[..., 3] == 255).sum())
    assert seen > 300_000


@pytest.mark.parametrize("granule", ["33VXG", "34VCM"])
@pytest.mark.parametrize(("tms", "z"), [("WebMercatorQuad", 13), ("WebMercatorQuad", 11), ("SWEREF99TM", 9)])
def test_no_seam_is_seen_between_neighbouring_tiles(local, demo, items, tms, z, granule):
    """Four tiles put together are the picture that is drawn of all four at once."""
    item = items[granule]
    x, y = middle(item, tms, z)
    four = np.vstack([np.hstack([fetched(local, item, tms, z, x + i, y + j) for i in (0, 1)]) for j in (0, 1)])
    left, top, metres = place(tms, z, x, y)
    grid = grids.Grid(crs=f"EPSG:{SETS[tms][0]}", left=left, top=top, resolution=metres, columns=512, rows=512)
    kind = orjson.loads(demo.catalog.collection(PUBLIC, item["collection"]))
    blocks = Blocks(demo.storage, memory=64 << 20)
    whole = render.raster(blocks, render.picture(item, style.of_render(kind, "true-colour")), grid).rgba
    transparency, colours = alike(four, whole)
    assert transparency >= 0.9999 and colours >= 0.9999, (transparency, colours)
    for seam in (np.s_[:, 254:258], np.s_[254:258, :]):
        transparency, colours = alike(four[seam], whole[seam])
        assert transparency >= 0.999 and colours >= 0.999, (transparency, colours)


def test_a_tile_beside_the_item_is_transparent(client, items):
    item = items["33VXG"]
    for tms, z, x, y in (
        ("WebMercatorQuad", 10, 0, 0),
        ("WebMercatorQuad", 24, 2**24 - 1, 2**24 - 1),
        ("SWEREF99TM", 13, 0, 0),
        ("SWEREF99TM", 9, 2047, 2047),
        ("SWEREF99TM10", 8, 0, 0),
        ("SWEREF99TM10", 8, 255, 511),
    ):
        assert not fetched(client, item, tms, z, x, y).any()


def test_the_whole_world_shows_the_item_only_where_it_is(client, items):
    """Far from the projection's meridian places fold over; nothing must appear there."""
    for z in (0, 1, 2):
        for item in (items["33VXG"], items["34WDA"]):
            centre = middle(item, "WebMercatorQuad", z)
            for x, y in itertools.product(range(2**z), repeat=2):
                if (x, y) != centre:
                    assert not fetched(client, item, "WebMercatorQuad", z, x, y).any(), (z, x, y)


def test_any_tile_comes_alike_from_many_threads(client, items):
    wanted = [address(items[granule], "WebMercatorQuad", 12, *middle(items[granule], "WebMercatorQuad", 12))
              for granule in GRANULES]  # fmt: skip
    alone = [client.get(path).content for path in wanted]
    with client, ThreadPoolExecutor(8) as pool:  # one event loop for all of them, as a server has
        answers = list(pool.map(lambda path: client.get(path).content, wanted * 5))
    assert answers == alone * 5, {answer[:200] for answer in answers if answer not in alone}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("Unknown/0/0/0", 404),
        ("webmercatorquad/0/0/0", 404),
        ("WebMercatorQuad/0/1/0", 404),
        ("WebMercatorQuad/0/0/1", 404),
        ("WebMercatorQuad/25/0/0", 404),
        ("SWEREF99TM/0/4/0", 404),
        ("SWEREF99TM/0/0/4", 404),
        ("SWEREF99TM/14/0/0", 404),
        ("SWEREF99TM10/0/1/0", 404),
        ("SWEREF99TM10/0/0/2", 404),
        ("SWEREF99TM10/9/0/0", 404),
        ("SWEREF99TM10/8/256/0", 404),
        ("WebMercatorQuad/0/-1/0", 400),
        ("WebMercatorQuad/x/0/0", 400),
        ("WebMercatorQuad/0/0/1.5", 400),
        ("WebMercatorQuad/31/0/0", 400),
        (f"WebMercatorQuad/3/{'9' * 50}/0", 404),
        (f"WebMercatorQuad/3/{'9' * 5000}/0", 400),
    ],
)
def test_what_is_no_tile_is_told(client, items, path, status):
    item = items["33VXG"]
    answer = client.get(f"/tiles/{item['collection']}/{item['id']}/{path}.png")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]


def test_an_item_or_a_collection_that_is_not_there_has_no_tiles(client, items):
    for collection, item in (("sentinel-2-l2a", "no-such"), ("no-such", items["33VXG"]["id"])):
        assert client.get(f"/tiles/{collection}/{item}/WebMercatorQuad/0/0/0.png").status_code == 404


def test_who_has_the_tile_need_not_fetch_it_again(client, items):
    item = items["33VXG"]
    x, y = middle(item, "WebMercatorQuad", 12)
    path = address(item, "WebMercatorQuad", 12, x, y)
    tag = client.get(path).headers["etag"]
    assert tag == client.get(path).headers["etag"] and tag.startswith('"')
    for given in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = client.get(path, headers={"If-None-Match": given})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    others = [
        address(item, "WebMercatorQuad", 12, x + 1, y),
        address(item, "WebMercatorQuad", 13, x, y),
        address(items["34VCM"], "WebMercatorQuad", 12, x, y),
    ]
    for other in others:
        assert client.get(other, headers={"If-None-Match": tag}).status_code == 200


def test_who_has_the_tile_of_an_older_version_fetches_the_new_one(client, items, monkeypatch):
    item = items["33VXG"]
    path = address(item, "WebMercatorQuad", 12, *middle(item, "WebMercatorQuad", 12))
    with monkeypatch.context() as older:
        older.setattr(render, "VERSION", "0")
        tag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


@cache
def matrix_sets():
    return matrices.served()


@pytest.mark.parametrize("name", SETS)
def test_the_tile_matrix_sets_are_as_defined(name):
    code, left, top, first, size, (columns, rows), count = SETS[name]
    assert list(matrix_sets()) == list(SETS)
    document = orjson.loads(matrix_sets()[name].model_dump_json(exclude_none=True))
    assert pyproj.CRS.from_user_input(matrix_sets()[name].crs.to_epsg()).to_epsg() == code
    assert len(document["tileMatrices"]) == count
    if code == 3006:
        # As EPSG orders the axes; with E, N QGIS draws nothing.
        assert document["orderedAxes"] == ["N", "E"]
    for z, matrix in enumerate(document["tileMatrices"]):
        assert matrix["id"] == str(z)
        assert matrix["cellSize"] == pytest.approx(first / 2**z, rel=1e-12)
        assert matrix["scaleDenominator"] == pytest.approx(first / 2**z / 0.00028, rel=1e-9)
        assert (matrix["tileWidth"], matrix["tileHeight"]) == (size, size)
        assert (matrix["matrixWidth"], matrix["matrixHeight"]) == (columns * 2**z, rows * 2**z)
        origin = [top, left] if code == 3006 else [left, top]
        assert matrix["pointOfOrigin"] == pytest.approx(origin, abs=1e-6)
        grid = render.tile_grid(matrix_sets()[name], z, 0, 0)
        assert (grid.left, grid.top, grid.resolution) == pytest.approx((left, top, first / 2**z), rel=1e-12)
        assert grid.crs == f"EPSG:{code}"


def test_tiles_of_the_native_set_lie_on_the_blocks_of_all_files(items):
    """512 pixels of 10 m, from (0, 7 864 320): a tile's edge at level 8 is a block's edge in every file."""
    for item in items.values():
        for name in ("B02", "B05", "B01"):
            left, _, _, top = item["assets"][name]["proj:bbox"]
            metres = item["assets"][name]["raster:spatial_resolution"]
            step = max(20_480, 512 * metres)
            assert left % step == top % step == 0
            assert (7_864_320 - top) % step == 0


# Other sensors: what their collections and items say, and what they leave out


@pytest.fixture(scope="module")
def radar(tmp_path_factory, make_item, make_collection):
    """Gives a client on one item, of one layer of floats, of a collection with what is given; and the item's tile."""
    folder = tmp_path_factory.mktemp("radar")
    grid = render.tile_grid(matrices.served()["SWEREF99TM10"], 8, 117, 227)
    kind = LayerType(
        name="VV", kind=Kind.MEASUREMENT, resolution=10, title="", data_type="float32", nodata=math.nan, unit="dB"
    )
    pixels = np.linspace(-25, 5, 512 * 512, dtype=np.float32).reshape(1, 512, 512)
    pixels[0, :100] = np.nan
    (folder / "generated" / "item").mkdir(parents=True)
    cog.write(folder / "generated" / "item" / "vv.tif", [pixels], grid, Layer(type=kind, file="", href="", grid=grid))
    asset = {
        "href": f"{MARKER}generated/item/vv.tif",
        "proj:code": grid.crs,
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "bands": [{"name": "VV", "data_type": "float32", "nodata": "nan"}],
    }
    made = []

    def client(*, without=(), **collection):
        catalog = Catalog(f"sqlite:///{folder / str(len(made))}.db")
        made.append(catalog)
        catalog.migrate()
        assets = {"VV": {name: value for name, value in asset.items() if name not in without}}
        catalog.publish(make_item(assets=assets), collection=make_collection(**collection))
        app = create_app(Settings(url="http://catalog.test"), catalog, FolderStorage(folder))
        return TestClient(app).get("/tiles/generated/item/SWEREF99TM10/8/117/227.png")

    yield client, pixels[0]
    for catalog in made:
        catalog.close()


def test_one_layer_of_another_sensor_is_shown_in_grey_by_its_first_render(radar):
    client, pixels = radar
    answer = client(renders={"vv": {"assets": ["VV"], "rescale": [[-25, 5]]}, "other": {"assets": ["VH"]}})
    assert answer.status_code == 200, answer.text
    found = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    assert not found[:100].any() and (found[100:, :, 3] == 255).all()
    wanted = (pixels[100:] + 25) / 30 * 255
    assert np.abs(found[100:, :, :3] - wanted[..., None]).max() <= 1


@pytest.mark.parametrize(
    ("collection", "without"),
    [
        ({}, ()),
        ({"renders": {}}, ()),
        ({"renders": {"vh": {"assets": ["VH"], "rescale": [[0, 1]]}}}, ()),
        ({"renders": {"vv": {"assets": ["VV"]}}}, ()),
        ({"renders": {"vv": {}}}, ()),
        ({"renders": {"vv": None}}, ()),
        *(({"renders": {"vv": {"assets": ["VV"], "rescale": [[0, 1]]}}}, (name,))
          for name in ("proj:code", "proj:shape", "proj:transform")),
    ],
)  # fmt: skip
def test_what_can_not_be_shown_is_not_found_and_the_reason_told(radar, collection, without):
    answer = radar[0](without=without, **collection)
    assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
    assert "generated" in answer.json()["detail"]


# What a tile shows


def shown(client, item, query, *, tms="SWEREF99TM10", z=8, form="png"):
    """A tile of the item's middle as it is asked for: (answer, its pixels)."""
    x, y = middle(item, tms, z)
    path = address(item, tms, z, x, y).removesuffix("png") + form
    answer = client.get(f"{path}?{query}")
    assert answer.status_code == 200, answer.text
    return answer, np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA")).astype(int)


def reflectance(demo, item, name):
    """A band where the middle tile of the native set lies, as NumPy computes it; NaN without data."""
    asset = item["assets"][name]
    left, top, metres = place("SWEREF99TM10", 8, *middle(item, "SWEREF99TM10", 8))
    row, column = (asset["proj:bbox"][3] - top) / metres, (left - asset["proj:bbox"][0]) / metres
    with opened(demo, asset, 0) as file:
        numbers = file.read(1, window=Window(column, row, 512, 512), boundless=True, fill_value=0)
    band = asset["bands"][0]
    return np.where(numbers == 0, np.nan, numbers * band["raster:scale"] + band["raster:offset"])


def colours(name):
    """A colour map's colours in 255 steps."""
    return colors.color_map(name)[np.rint(np.linspace(0, 255, 255)).astype(int)].astype(int)


def test_an_index_is_shown_in_its_range_and_colours_of_reflectance(local, demo, items):
    for granule in ("33VXG", "33VUC"):  # and at the swath's edge, where there is none
        item = items[granule]
        nir, red = (np.maximum(reflectance(demo, item, name), 0) for name in ("B08", "B04"))
        with np.errstate(invalid="ignore", divide="ignore"):
            wanted = (nir - red) / (nir + red)
        _, found = shown(local, item, "index=ndvi")
        index = indices.INDICES["ndvi"]
        seen = np.isfinite(wanted)
        assert np.array_equal(found[..., 3] == 255, seen) and seen.any()
        steps = (wanted[seen] - index.low) / (index.high - index.low) * 254
        table = colours(index.colors)[:, :3]
        sure = np.abs(steps - np.floor(steps) - 0.5) > 1e-6
        assert np.array_equal(found[seen][sure][:, :3], table[np.clip(np.floor(steps[sure] + 0.5), 0, 254).astype(int)])


def test_a_formula_of_common_names_is_what_the_index_of_it_is(local, items):
    item = items["33VXG"]
    _, index = shown(local, item, "index=NDVI")
    formula = "expression=(max(nir,0)-max(red,0))/(max(nir,0)%2Bmax(red,0))"
    kind = indices.INDICES["ndvi"]
    _, found = shown(local, item, f"{formula}&rescale={kind.low},{kind.high}&colormap_name={kind.colors}")
    assert np.array_equal(found, index)


def test_bands_are_shown_as_they_are_asked_for(local, demo, items):
    item = items["33VXG"]
    _, grey = shown(local, item, "assets=nir&rescale=0,0.5")
    wanted = np.clip(reflectance(demo, item, "B08") / 0.5 * 255 + 0.5, 0, 255)
    seen = np.isfinite(wanted)
    assert np.array_equal(grey[..., 0][seen], wanted[seen].astype(int)) and np.array_equal(grey[..., 3] == 255, seen)
    _, false = shown(local, item, "render=false-colour")
    _, named = shown(local, item, "assets=B08,B04,B03")
    assert np.array_equal(false[..., 3], named[..., 3])  # true colour's limits are those of B04 and B03
    _, pairs = shown(local, item, "assets=B08,B04,B03&rescale=0,0.5,0,0.4,0,0.4")
    assert np.array_equal(pairs[..., 0], grey[..., 0]) and not np.array_equal(pairs, false)
    _, lighter = shown(local, item, "assets=nir&rescale=0,0.5&gamma=2")
    assert (lighter[..., 0] >= grey[..., 0])[seen].all() and lighter.sum() > grey.sum()
    _, coloured = shown(local, item, "assets=nir&rescale=0,0.5&colormap_name=viridis")
    steps = np.clip(reflectance(demo, item, "B08")[seen] / 0.5 * 254 + 0.5, 0, 254)
    assert np.array_equal(coloured[seen][:, :3], colours("viridis")[np.floor(steps).astype(int), :3])


def test_classes_have_their_own_colours_and_none_is_nothing(local, demo, items):
    item = items["33VXG"]
    classes = {one["value"]: one for one in item["assets"]["SCL"]["classification:classes"]}
    asset = item["assets"]["SCL"]
    left, top, metres = place("SWEREF99TM10", 7, *middle(item, "SWEREF99TM10", 7))
    with opened(demo, asset, 0) as file:
        row, column = (asset["proj:bbox"][3] - top) / metres, (left - asset["proj:bbox"][0]) / metres
        codes = file.read(1, window=Window(column, row, 512, 512), boundless=True, fill_value=0)
    _, found = shown(local, item, "assets=SCL", z=7)
    for code in np.unique(codes):
        here = found[codes == code]
        if code == 0:
            assert not here[:, 3].any()
        else:
            assert (here == [*bytes.fromhex(classes[int(code)]["color_hint"]), 255]).all()
    assert len(np.unique(codes)) > 2


def test_a_mask_leaves_out_what_its_classes_hide(local, items):
    item = items["33VXG"]
    _, whole = shown(local, item, "", z=7)
    _, clear = shown(local, item, "mask=clear", z=7)
    _, scl = shown(local, item, "assets=SCL", z=7)
    codes = {one["value"]: (*bytes.fromhex(one["color_hint"]), 255)
             for one in item["assets"]["SCL"]["classification:classes"]}  # fmt: skip
    of = {colour: code for code, colour in codes.items()}
    numbers = np.array([of.get(tuple(pixel), 0) for pixel in scl.reshape(-1, 4)]).reshape(512, 512)
    kept = np.isin(numbers, (4, 5, 6, 11)) & (whole[..., 3] == 255)
    assert np.array_equal(clear[..., 3] == 255, kept) and 0 < kept.sum() < (whole[..., 3] == 255).sum()
    assert np.array_equal(clear[kept], whole[kept])
    _, water = shown(local, item, "mask=6", z=7)
    assert np.array_equal(water[..., 3] == 255, (numbers == 6) & (whole[..., 3] == 255))


def test_other_forms_show_the_same(local, items):
    item = items["33VUC"]
    answer, png = shown(local, item, "")
    assert answer.headers["content-type"] == "image/png"
    for form, kind in (("webp", "image/webp"), ("jpg", "image/jpeg"), ("jpeg", "image/jpeg")):
        answer, found = shown(local, item, "", form=form)
        assert answer.headers["content-type"] == kind
        seen = png[..., 3] == 255
        assert np.abs(found[seen][:, :3] - png[seen][:, :3]).mean() < 12
        if form == "webp":
            assert np.array_equal(found[..., 3] == 255, seen)
        else:
            assert found[~seen][:, :3].mean() > 240  # white
    for query in ("index=ndvi", "assets=SCL", "assets=B04"):
        for form in ("webp", "jpg"):
            shown(local, item, query, form=form)


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("index=nope", 400, "ndvi"),
        ("assets=B04,B03", 400, "one or three"),
        ("assets=nope", 400, "rescale"),
        ("assets=nope&rescale=0,1", 404, "nope"),
        ("assets=AOT", 400, "rescale"),
        ("assets=B04&index=ndvi", 400, "one of these"),
        ("assets=", 400, "layers"),
        ("render=nope", 404, "true-colour"),
        ("expression=nir", 400, "rescale"),
        ("expression=nir/nope&rescale=0,1", 404, "nope"),
        ("expression=nir/&rescale=0,1", 400, "formula"),
        ("expression=__import__('os')&rescale=0,1", 400, "formula"),
        ("rescale=1,1", 400, "rescale"),
        ("rescale=0,nan", 400, "rescale"),
        ("rescale=0,1,2", 400, "rescale"),
        ("gamma=0", 400, "gamma"),
        ("gamma=nan", 400, "gamma"),
        ("index=ndvi&colormap_name=nope", 400, "viridis"),
        ("mask=x", 400, "mask"),
        ("mask=70000", 400, "mask"),
        ("empty=404", 400, "empty"),
    ],
)
def test_what_can_not_be_shown_is_told_with_what_would_do(local, items, query, status, word):
    item = items["33VXG"]
    path = address(item, "SWEREF99TM10", 8, *middle(item, "SWEREF99TM10", 8))
    answer = local.get(f"{path}?{query}")
    assert answer.status_code == status, answer.text
    assert word in answer.text and answer.headers["content-type"] == "application/problem+json"


def test_a_form_that_is_none_is_told(local, items):
    item = items["33VXG"]
    answer = local.get(address(item, "SWEREF99TM10", 8, *middle(item, "SWEREF99TM10", 8)).replace(".png", ".gif"))
    assert answer.status_code == 404 and "webp" in answer.text


def test_where_nothing_is_seen_there_may_be_no_body(local, items):
    path = address(items["33VXG"], "SWEREF99TM10", 8, 0, 0)
    assert local.get(path).status_code == 200
    answer = local.get(f"{path}?empty=204")
    assert (answer.status_code, answer.content) == (204, b"")
    there = address(items["33VXG"], "SWEREF99TM10", 8, *middle(items["33VXG"], "SWEREF99TM10", 8))
    assert local.get(f"{there}?empty=204").status_code == 200


def test_each_stage_of_a_tile_tells_its_time(local, items):
    answer, _ = shown(local, items["33VXG"], "index=ndmi&mask=clear")
    stages = [part.partition(";dur=") for part in answer.headers["server-timing"].split(", ")]
    assert {name for name, _, _ in stages} >= {"index", "read", "warp", "render", "encode"}
    assert all(float(ms) >= 0 for _, _, ms in stages)


def test_head_is_answered_without_a_body(local, items):
    path = address(items["33VXG"], "SWEREF99TM10", 8, *middle(items["33VXG"], "SWEREF99TM10", 8))
    answer, whole = local.head(path), local.get(path)
    assert answer.status_code == 200 and not answer.content
    assert answer.headers["etag"] == whole.headers["etag"]
    assert answer.headers["content-length"] == str(len(whole.content))


def test_no_header_of_a_file_is_read_for_what_was_published(demo, items):
    """Where the blocks lie stands in the catalog."""
    reads = []

    class Counted(FolderStorage):
        def read(self, key, start=0, length=None):
            reads.append((key, start, length))
            return super().read(key, start, length)

        def ranges(self, key, places):
            reads.extend((key, *one) for one in places)
            return super().ranges(key, places)

    client = TestClient(create_app(demo.settings, demo.catalog, Counted(demo.local.root)))
    shown(client, items["33VXG"], "")
    assert len(reads) == 3 and all(start > 0 for _, start, _ in reads)
    shown(client, items["33VXG"], "assets=B04,B03,B02&gamma=2")
    assert len(reads) == 3  # they are kept decoded
