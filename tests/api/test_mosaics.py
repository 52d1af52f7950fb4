"""Mosaics of the samples, whose ground, clouds and places are known, against NumPy on what rasterio reads."""

import io
import math
import os
import shutil
import threading

import anyio
import httpx
import numpy as np
import orjson
import pyproj
import pytest
import rasterio
from fastapi.testclient import TestClient
from PIL import Image
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from api import limits, wmts
from api.app import create_app
from catalog import documents
from catalog.access import PUBLIC
from catalog.search import MAX_LIMIT, Search
from catalog.store import Catalog
from kartotek.settings import Settings
from kartotek.storage import MARKER, FolderStorage

L2A = "sentinel-2-l2a"
CLEAR = {4, 5, 6, 11}
NATIVE = (0, 7_864_320, 2560, 512)
"""Left, top, metres a pixel of level 0, pixels of a tile."""


class Counted(FolderStorage):
    """A folder that notes which files are read."""

    def __init__(self, root):
        super().__init__(root)
        self.opened = set()

    def read(self, key, start=0, length=None):
        self.opened.add(key)
        return super().read(key, start, length)

    def ranges(self, key, places):
        self.opened.add(key)
        return super().ranges(key, places)


@pytest.fixture(scope="module")
def items(demo):
    """Id → Level-2A item."""
    found = demo.catalog.search(PUBLIC, Search(collections=(L2A,), limit=MAX_LIMIT)).items
    return {item["id"]: item for item in map(orjson.loads, found)}


@pytest.fixture(scope="module")
def local(demo):
    return TestClient(create_app(demo.settings, demo.catalog, demo.storage))


def of(items, *granules):
    """Ids of the items of granules, newest first, ties by id."""
    found = [item for item in items.values() if item["properties"]["grid:code"].removeprefix("MGRS-") in granules]
    found.sort(key=lambda item: item["id"])
    return [one["id"] for one in sorted(found, key=lambda one: one["properties"]["datetime"], reverse=True)]


def middle(item, z, tms=NATIVE):
    """The tile in which the middle of an item lies, in SWEREF99TM10."""
    left, top, first, size = tms
    west, south, east, north = item["bbox"]
    x, y = pyproj.Transformer.from_crs(4326, 3006, always_xy=True).transform((west + east) / 2, (south + north) / 2)
    side = first / 2**z * size
    return math.floor((x - left) / side), math.floor((top - y) / side)


def mercator(item, z):
    """The same in WebMercatorQuad."""
    west, south, east, north = item["bbox"]
    longitude, latitude = (west + east) / 2, math.radians((south + north) / 2)
    return (
        math.floor((longitude + 180) / 360 * 2**z),
        math.floor((1 - math.asinh(math.tan(latitude)) / math.pi) / 2 * 2**z),
    )


def band(demo, item, name, z, x, y):
    """A layer's numbers on a tile of SWEREF99TM10 at 10 m, as GDAL has them, and where they are data."""
    left, top, first, size = NATIVE
    metres = first / 2**z
    transform = rasterio.Affine(metres, 0, left + x * size * metres, 0, -metres, top - y * size * metres)
    path = demo.local.root / item["assets"][name]["href"].removeprefix(MARKER)
    how = Resampling.nearest if name == "SCL" else Resampling.bilinear
    options = {"tolerance": 1e-6, "XSCALE": "1", "YSCALE": "1"}
    with rasterio.open(path) as file, WarpedVRT(
        file, crs=3006, transform=transform, width=size, height=size, resampling=how, nodata=0, **options
    ) as view:  # fmt: skip
        numbers = view.read(1)
    return numbers, numbers != 0


def register(client, **definition):
    answer = client.post("/mosaics", json={"collections": [L2A], **definition})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def sources(client, address, **query):
    """(Ids, array) of a tile as `.json` tells them."""
    answer = client.get(f"{address}.json", params=query)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return [one["id"] for one in told["items"]], np.array(told.get("pixels", told.get("counts")))


def rgba(client, address, **query):
    answer = client.get(f"{address}.png", params=query)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def expected(demo, items, ids, z, x, y, *, masked):
    """Of each pixel the first of some items that has something there, as its place in `ids`; -1 where none has."""
    found = np.full((512, 512), -1)
    for number, name in enumerate(ids):
        valid = np.logical_and.reduce([band(demo, items[name], one, z, x, y)[1] for one in ("B04", "B03", "B02")])
        if masked:
            valid &= np.isin(band(demo, items[name], "SCL", z, x, y)[0], list(CLEAR))
        found[(found < 0) & valid] = number
    return found


def named(ids, numbers):
    return np.array([*ids, ""])[numbers]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("granules", [("33VXG", "34VCM"), ("34WFU", "35WLP"), ("32VPK", "33VUE")])
def test_each_pixel_is_of_the_first_item_that_is_clear_there(demo, local, items, granules, order, masked):
    """Over overlapping granules of two zones, dates and orbits, clouds left out or not."""
    kind = orjson.loads(demo.catalog.collection(PUBLIC, L2A))
    assert set(kind["kartotek:mask"]["clear"]) == CLEAR
    ids = of(items, *granules)
    if order == "oldest":
        ids = sorted(sorted(ids), key=lambda name: items[name]["properties"]["datetime"])
    z = 8
    x, y = middle(items[ids[0]], z)
    name = register(local, order=order, **({"mask": "clear"} if masked else {}))
    address = f"/mosaics/{name}/tiles/SWEREF99TM10/{z}/{x}/{y}"
    told, numbers = sources(local, address)
    wanted = expected(demo, items, ids, z, x, y, masked=masked)
    assert (wanted >= 0).any()
    assert np.mean(named(told, numbers) == named(ids, wanted)) >= 0.999
    picture = rgba(local, address)
    assert np.array_equal(picture[..., 3] > 0, numbers >= 0)
    # Each pixel is the same as in its own item's tile.
    for at, one in enumerate(told):
        own = rgba(local, f"/tiles/{L2A}/{one}/SWEREF99TM10/{z}/{x}/{y}")
        assert np.array_equal(picture[numbers == at], own[numbers == at])


def test_no_cloud_is_taken_where_any_date_is_clear(demo, local, items):
    """The mask of what is shown, pixel by pixel."""
    ids = of(items, "33VXG", "34VCM")
    x, y = middle(items[ids[0]], 8)
    name = register(local, mask="clear")
    told, numbers = sources(local, f"/mosaics/{name}/tiles/SWEREF99TM10/8/{x}/{y}")
    classes = {one: band(demo, items[one], "SCL", 8, x, y)[0] for one in ids}
    anywhere = np.logical_or.reduce([np.isin(one, list(CLEAR)) for one in classes.values()])
    assert (~anywhere).sum() < anywhere.sum()
    assert np.mean((numbers >= 0) == anywhere) >= 0.999
    for at, one in enumerate(told):
        assert np.isin(classes[one][numbers == at], list(CLEAR)).mean() >= 0.999 if (numbers == at).any() else True
    assert any(not np.isin(one, list(CLEAR)).all() for one in classes.values())  # there are clouds to be avoided


def test_the_clearest_lies_on_top_and_a_time_narrows(local, items):
    ids = of(items, "33VXG", "34VCM")
    x, y = middle(items[ids[0]], 8)
    name = register(local, order="clearest")
    address = f"/mosaics/{name}/tiles/SWEREF99TM10/8/{x}/{y}"
    told, _ = sources(local, address)
    clouds = {one: items[one]["properties"]["eo:cloud_cover"] for one in ids}
    assert told[0] in ids and clouds[told[0]] <= max(clouds.values())
    day = items[ids[-1]]["properties"]["datetime"][:10]
    told, _ = sources(local, address, datetime=day)
    assert {items[one]["properties"]["datetime"][:10] for one in told} == {day}
    answer = local.get(f"{address}.png", params={"datetime": "1999-01-01/1999-12-31", "empty": "204"})
    assert answer.status_code == 204 and answer.headers["x-kartotek-items"] == "0 of 0"


@pytest.mark.parametrize("order", ["newest", "oldest", "clearest", "median"])
def test_mosaics_are_alike_wherever_database_and_files_are(demo_on_postgis, local, items, order):
    """The clearest too, which are told by counts of squares that each database sums up."""
    client = TestClient(create_app(demo_on_postgis.settings, demo_on_postgis.catalog, demo_on_postgis.storage))
    ids = of(items, "33VXG", "34VCM")
    name = register(local, ids=ids, order=order, mask="clear")
    assert register(client, ids=ids, order=order, mask="clear") == name
    for z in (5, 7, 8):
        x, y = middle(items[ids[0]], z)
        path = f"/mosaics/{name}/tiles/SWEREF99TM10/{z}/{x}/{y}"
        assert client.get(f"{path}.json").json() == local.get(f"{path}.json").json()
        one, other = client.get(f"{path}.png"), local.get(f"{path}.png")
        assert one.status_code == 200 and one.content == other.content
    x, y = middle(items[ids[0]], 8)
    path, area = f"/mosaics/{name}/statistics?assets=B04,B11", {"type": "Polygon", "coordinates": [list(corners(x, y))]}
    told, same = (one.post(path, json=area).json() for one in (client, local))
    assert told == same and told["areas"][0]["statistics"][0]["count"] > 1000


@pytest.fixture(scope="module")
def july(demo, items, make_database, tmp_path_factory):
    """A month of a county: two items side by side at thirty times each; and the storage of their files."""
    catalog, storage = Catalog(make_database("sqlite", migrated=True)), Counted(tmp_path_factory.mktemp("july"))
    kind = demo.catalog.collection(PUBLIC, L2A)
    for name in of(items, "33VXG", "34VCM")[:2]:
        for day in range(1, 31):
            own = f"{name}-{day:02}"
            assets = {band: {**items[name]["assets"][band]} for band in ("B02", "B03", "B04", "SCL")}
            for asset in assets.values():
                source = demo.local.root / asset["href"].removeprefix(MARKER)
                asset["href"] = asset["href"].replace(name, own)
                key = asset["href"].removeprefix(MARKER)
                (storage.root / key).parent.mkdir(parents=True, exist_ok=True)
                os.link(source, storage.root / key)
            properties = {**items[name]["properties"], "datetime": f"2022-07-{day:02}T10:00:00Z"}
            copy = {**items[name], "id": own, "properties": properties, "assets": assets}
            catalog.publish(documents.stored(copy), collection=kind)
    yield catalog, storage
    catalog.close()


@pytest.mark.parametrize(("order", "most"), [("newest", 4), ("clearest", 4), ("median", 32)])
def test_a_month_of_a_county_is_not_opened_whole(july, items, order, most):
    """At z7, of sixty items: those that leave no hole, or the 32 of a median, which the header tells."""
    catalog, storage = july
    settings = Settings(database=catalog.place, storage=str(storage.root))
    client = TestClient(create_app(settings, catalog, storage))
    x, y = mercator(items[of(items, "33VXG")[0]], 7)
    name = register(client, order=order, datetime="2022-07-01/2022-07-31")
    storage.opened.clear()
    answer = client.get(f"/mosaics/{name}/tiles/WebMercatorQuad/7/{x}/{y}.png")
    assert answer.status_code == 200, answer.text
    opened, _, there = answer.headers["x-kartotek-items"].split()
    assert int(there) == 60 and 0 < int(opened) <= most and (order != "median" or int(opened) == 32)
    assert 0 < len(storage.opened) <= 3 * int(opened)


@pytest.fixture(params=["gone", "cut off", "empty"])
def damaged(request, demo, items, tmp_path):
    """All files but one, the newest item's B04; gives (a client, the item's id)."""
    root, newest = tmp_path / "store", of(items, "33VXG", "34VCM")[0]
    shutil.copytree(demo.local.root, root, copy_function=os.link)
    file = root / items[newest]["assets"]["B04"]["href"].removeprefix(MARKER)
    content = file.read_bytes()
    file.unlink()
    if request.param != "gone":
        file.write_bytes(content[: len(content) // 20] if request.param == "cut off" else b"")
    return TestClient(create_app(demo.settings, demo.catalog, FolderStorage(root))), newest


@pytest.mark.parametrize("order", ["newest", "median"])
def test_an_item_whose_file_cannot_be_read_is_left_out_and_told_of(damaged, items, order):
    client, newest = damaged
    ids = of(items, "33VXG", "34VCM")
    x, y = middle(items[newest], 8)
    whole, others = (register(client, order=order, ids=some) for some in (ids, ids[1:]))
    tile = f"tiles/SWEREF99TM10/8/{x}/{y}.png?assets=B04&rescale=0,0.3"
    ring = list(corners(x, y))
    area, place = {"type": "Polygon", "coordinates": [ring]}, "lon={}&lat={}".format(*ring[0])
    asked = [
        lambda name: client.get(f"/mosaics/{name}/{tile}"),
        lambda name: client.post(f"/mosaics/{name}/crop.tif?assets=B04&crs=EPSG:3006&resolution=40", json=area),
        lambda name: client.post(f"/mosaics/{name}/statistics?assets=B04,B08", json=area),
        lambda name: client.get(f"/mosaics/{name}/point?assets=B04&{place}"),
    ]
    for ask in asked:
        found, wanted = ask(whole), ask(others)
        assert (found.status_code, wanted.status_code) == (200, 200), found.text
        assert found.headers["x-kartotek-unread"] == "1" and "x-kartotek-unread" not in wanted.headers
        if found.headers["content-type"] == "application/json":
            told, expected = found.json(), wanted.json()
            del told["mosaic"], expected["mosaic"]
            assert told == expected
        else:
            assert found.content == wanted.content
            assert found.headers["cache-control"] == "no-store" and "etag" not in found.headers
            assert "etag" in wanted.headers
    # What has nothing but it is told what is wrong.
    alone = client.get(f"/mosaics/{register(client, order=order, ids=[newest])}/{tile}")
    assert alone.status_code in (404, 500)
    assert client.get(f"/wmts/1.0.0/{L2A}:true-colour/default/default/SWEREF99TM10/8/{y}/{x}.png").status_code == 200


def corners(x, y):
    """Some pixels in the middle of a tile of SWEREF99TM10 at 10 m, in degrees."""
    left, top, _, size = NATIVE
    change = pyproj.Transformer.from_crs(3006, 4326, always_xy=True).transform
    side = size * 10
    for right, down in ((0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6), (0.4, 0.4)):
        yield change(left + (x + right) * side, top - (y + down) * side)


def test_a_median_is_that_of_numpy(demo, local, items):
    ids = of(items, "33VXG", "34VCM")
    x, y = middle(items[ids[0]], 8)
    name = register(local, order="median", mask="clear", assets="B04", rescale="0,0.3")
    address = f"/mosaics/{name}/tiles/SWEREF99TM10/8/{x}/{y}"
    told, counts = sources(local, address)
    stack = []
    for one in told:
        numbers, valid = band(demo, items[one], "B04", 8, x, y)
        about = items[one]["assets"]["B04"]["bands"][0]
        valid &= np.isin(band(demo, items[one], "SCL", 8, x, y)[0], list(CLEAR))
        stack.append(np.where(valid, numbers * about["raster:scale"] + about["raster:offset"], np.nan))
    used = np.isfinite(stack).sum(axis=0)
    assert used.max() >= 3 and np.mean(counts == used) >= 0.999
    seen = used > 0
    middle_ = np.nanmedian(np.array(stack)[:, seen], axis=0)
    grey = np.clip(middle_ / 0.3 * 255 + 0.5, 0, 255).astype(int)
    picture = rgba(local, address)
    assert np.mean((picture[..., 3] > 0) == seen) >= 0.999
    assert np.mean(np.abs(picture[seen][:, 0].astype(int) - grey) <= 1) >= 0.999
    # Of an index it is the index of the medians.
    assert rgba(local, address, index="ndvi")[..., 3].any()
    assert "classes have no median" in local.get(f"{address}.png", params={"assets": "SCL"}).json()["detail"]


def test_the_same_search_has_the_same_id_however_it_is_written(local):
    one = register(local, filter="eo:cloud_cover < 99", bbox=[17, 59, 18, 60], datetime="2021-01-01/2023-12-31")
    other = register(
        local,
        collections=L2A,
        datetime="2021-01-01T00:00:00Z/2023-12-31T23:59:59.999999Z",
        filter={"op": "<", "args": [{"property": "eo:cloud_cover"}, 99]},
        bbox=[17.0, 59, 18, 60.0],
        order="newest",
    )
    assert one == other != register(local)
    told = local.get(f"/mosaics/{one}")
    assert told.json()["bounds"] == [17, 59, 18, 60] and told.json()["id"] == one
    assert local.get(f"/mosaics/{one}", headers={"If-None-Match": told.headers["etag"]}).status_code == 304
    page = local.get(f"/mosaics/{one}/items", params={"limit": 1}).json()
    assert page["type"] == "FeatureCollection" and len(page["features"]) == 1
    following = next(link["href"] for link in page["links"] if link["rel"] == "next")
    assert f"/mosaics/{one}/items?" in following
    second = local.get(following.removeprefix("http://catalog.test")).json()["features"]
    assert second and second[0]["id"] != page["features"][0]["id"]
    assert local.get(f"/mosaics/{one}/items?datetime=2001-01-01").json()["features"] == []


def test_a_mosaic_need_not_be_registered(local, items):
    ids = of(items, "33VXG")
    x, y = middle(items[ids[0]], 8)
    place = f"tiles/SWEREF99TM10/8/{x}/{y}.png"
    name = register(local, order="oldest", mask="clear", filter="eo:cloud_cover <= 100")
    inline = {"collections": L2A, "order": "oldest", "mask": "clear", "filter": "eo:cloud_cover <= 100"}
    one, other = local.get(f"/mosaics/{name}/{place}"), local.get(f"/mosaics/inline/{place}", params=inline)
    assert one.status_code == other.status_code == 200, other.text
    assert one.content == other.content and one.headers["etag"] == other.headers["etag"]
    assert one.headers["cache-control"] == "no-cache" and "read;dur=" in one.headers["server-timing"]
    again = local.get(f"/mosaics/{name}/{place}", headers={"If-None-Match": one.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    assert local.get(f"/mosaics/{name}/{place}", params={"index": "ndvi"}).headers["etag"] != one.headers["etag"]
    assert local.head(f"/mosaics/{name}/{place}").status_code == 200


def test_a_county_opens_few_files(demo, items):
    """All of a level that shows a county in one tile: no more files than items that fill holes have layers."""
    storage = Counted(demo.local.root)
    client = TestClient(create_app(demo.settings, demo.catalog, storage))
    ids = of(items, "33VXG", "34VCM")
    x, y = mercator(items[ids[0]], 7)
    name = register(client)
    answer = client.get(f"/mosaics/{name}/tiles/WebMercatorQuad/7/{x}/{y}.png")
    assert answer.status_code == 200
    opened, _, there = answer.headers["x-kartotek-items"].split()
    assert int(there) >= 4 and int(opened) <= 64
    assert 0 < len(storage.opened) == 3 * int(opened)


class Stuck(FolderStorage):
    """A folder that gives nothing until it is told to."""

    def __init__(self, root):
        super().__init__(root)
        self.released = threading.Event()

    def ranges(self, key, places):
        assert self.released.wait(60)
        return super().ranges(key, places)


def test_so_many_tiles_are_made_at_a_time_and_with_all_threads_busy_it_is_told_that_the_server_lives(
    demo, items, monkeypatch
):
    monkeypatch.setattr(limits, "QUEUE", 0.2)
    monkeypatch.setattr(limits, "TOGETHER", 4)
    storage = Stuck(demo.local.root)
    [item, *_] = (items[name] for name in of(items, "33VXG"))
    x, y = middle(item, 8)
    most = limits.of(demo.settings, remote=False)[-1].most

    async def main():
        served = create_app(demo.settings, demo.catalog, storage)
        of_mosaic = f"/mosaics/{register(TestClient(served), ids=[item['id']])}/tiles"
        threads, answers = anyio.to_thread.current_default_thread_limiter(), []
        client = httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://catalog.test", timeout=60)
        of_item, tile = f"/tiles/{L2A}/{item['id']}", f"SWEREF99TM10/8/{x}/{y}.png"

        async def ask(path):
            answers.append((await client.get(path)).status_code)

        async def all_busy(count):
            with anyio.fail_after(30):
                while threads.borrowed_tokens < count:
                    await anyio.sleep(0.01)

        async with client, anyio.create_task_group() as group:
            for number in range(most):
                group.start_soon(ask, f"{(of_mosaic, of_item)[number % 2]}/{tile}")
            await all_busy(most)
            for path in (of_mosaic, of_item):
                one_more = await client.get(f"{path}/{tile}")
                assert one_more.status_code == 503 and one_more.headers["retry-after"] == "1"
                assert "come again" in one_more.json()["detail"]
            for _ in range(int(threads.total_tokens)):
                group.start_soon(anyio.to_thread.run_sync, storage.released.wait)
            await all_busy(threads.total_tokens)
            assert (await client.get("/livez")).status_code == 200
            storage.released.set()
        assert answers == [200] * most

    anyio.run(main)


def test_no_more_items_are_opened_than_the_setting_says(demo, items):
    settings = demo.settings.model_copy(update={"mosaic_items": 1})
    client = TestClient(create_app(settings, demo.catalog, demo.storage))
    ids = of(items, "33VXG", "34VCM")
    x, y = middle(items[ids[0]], 8)
    name = register(client, mask="clear")
    answer = client.get(f"/mosaics/{name}/tiles/SWEREF99TM10/8/{x}/{y}.png")
    opened, _, there = answer.headers["x-kartotek-items"].split()
    assert opened == "1" and int(there) > 1


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ({"collections": []}, "collections"),
        ({"collections": None}, "collections"),
        ({"order": "best"}, "order"),
        ({"nothing": 1}, "nothing"),
        ({"bbox": [1, 2]}, "bbox"),
        ({"bbox": [1, 2, 3, 4], "intersects": {"type": "Point", "coordinates": [1, 2]}}, "bbox and intersects"),
        ({"datetime": "yesterday"}, "datetime"),
        ({"filter": "nothing = 1"}, "nothing"),
        ({"filter": "(" * 500}, "filter"),
        ({"mask": "cloudy"}, "mask"),
        ({"assets": "B04", "index": "ndvi"}, "one of these"),
        ({"index": "none"}, "index"),
        ({"expression": "open('/etc/passwd')"}, "formula"),
        ({"gamma": 0}, "gamma"),
        ({"ids": ["a" * 20_000]}, "16384"),
    ],
)
def test_a_definition_that_is_wrong_is_refused_with_the_reason(local, definition, reason):
    answer = local.post("/mosaics", json={"collections": [L2A], **definition})
    assert answer.status_code == 400 and reason in answer.json()["detail"], answer.text


def test_what_is_not_there_is_not_found(local):
    assert local.post("/mosaics", json={"collections": ["nothing"]}).status_code == 404
    name = register(local)
    for path in (
        "/mosaics/nothing", "/mosaics/a'b", "/mosaics/nothing/items", "/mosaics/nothing/tilejson.json",
        "/mosaics/nothing/tiles/SWEREF99TM10/8/1/1.png", f"/mosaics/{name}/tiles/SWEREF99TM10/8/1000/1.png",
        f"/mosaics/{name}/tiles/none/8/1/1.png", f"/mosaics/{name}/tiles/SWEREF99TM10/8/1/1.exe",
        f"/mosaics/{name}/tilejson.json?tms=none",
    ):  # fmt: skip
        assert local.get(path).status_code == 404, path


def test_there_is_an_end_to_how_many_are_registered(demo, make_database):
    catalog = Catalog(make_database("sqlite", migrated=True))
    settings = Settings(database=catalog.place, storage=str(demo.local.root), mosaics=1)
    client = TestClient(create_app(settings, catalog, demo.storage))
    catalog.put_collection(demo.catalog.collection(PUBLIC, L2A))
    name = register(client)
    assert register(client) == name
    answer = client.post("/mosaics", json={"collections": [L2A], "order": "oldest"})
    assert answer.status_code == 409 and "1 mosaics" in answer.json()["detail"]
    catalog.close()


def test_private_items_leave_no_trace(demo, items, make_database, monkeypatch):
    """Byte-equal with a catalog that has never had them; a mosaic of a private collection is none."""
    answers = []
    ids = of(items, "33VXG", "34VCM")
    x, y = middle(items[ids[0]], 8)
    for hidden in (False, True):
        catalog = Catalog(make_database("sqlite", migrated=True))
        settings = Settings(database=catalog.place, storage=str(demo.local.root), url="http://catalog.test")
        client = TestClient(create_app(settings, catalog, demo.storage))
        kind = demo.catalog.collection(PUBLIC, L2A)
        secret = orjson.dumps({**orjson.loads(kind), "id": "secret"})
        for name in ids[1:]:
            catalog.publish(demo.catalog.item(PUBLIC, L2A, name), collection=kind)
        before = None
        if hidden:
            catalog.put_collection(secret)
            before = register(client, collections=["secret"])
            catalog.put_collection(secret, private=True)
            newest = orjson.dumps(items[ids[0]]).replace(L2A.encode(), b"secret")
            catalog.publish(newest, collection=secret)
        name = register(client)
        place = f"tiles/SWEREF99TM10/8/{x}/{y}"
        monkeypatch.setattr(wmts, "MOST_MOSAICS", 1)  # a hidden one takes no place among them
        paths = [f"/mosaics/{name}", f"/mosaics/{name}/items", f"/mosaics/{name}/tilejson.json"]
        paths.append("/wmts?REQUEST=GetCapabilities")
        paths += [f"/mosaics/{name}/{place}.{form}" for form in ("png", "json")]
        paths += [f"/mosaics/inline/{place}.png?collections={one}" for one in (L2A, "secret", f"{L2A},secret")]
        found = []
        for path in paths:
            answer = client.get(path)
            kept = {key: answer.headers.get(key) for key in ("etag", "x-kartotek-items", "content-type")}
            found.append((path, answer.status_code, answer.content, kept))
        refused = client.post("/mosaics", json={"collections": ["secret"]})
        found.append((refused.status_code, refused.content))
        answers.append(found)
        for path in (f"/mosaics/{before}", f"/mosaics/{before}/items", f"/mosaics/{before}/{place}.png"):
            if before:
                assert client.get(path).json()["detail"] == f"no mosaic {before!r}"
        catalog.close()
    assert answers[0] == answers[1]
    assert [one[1] for one in answers[0][:-1]] == [200] * 7 + [404] * 2


def test_mosaics_are_kept_on_each_database(catalog):
    one = catalog.mosaics.put(b'{"a":1}', most=5)
    assert catalog.mosaics.put(b'{"a":1}', most=1) == one and catalog.mosaics.get(one) == b'{"a":1}'
    catalog.migrate("0008")
    catalog.migrate()
    catalog.check()
    assert catalog.mosaics.put(b'{"a":1}', most=1) == one


@pytest.mark.parametrize("tms", ["WebMercatorQuad", "SWEREF99TM", "SWEREF99TM10"])
def test_tilejson_tells_where_tiles_are(local, items, tms):
    name = register(local, mask="clear")
    told = local.get(f"/mosaics/{name}/tilejson.json", params={"tms": tms, "index": "ndvi", "form": "webp"}).json()
    assert told["tilejson"] == "3.0.0" and told["minzoom"] < told["maxzoom"] and told["bounds"][0] < told["bounds"][2]
    assert told["tiles"] == [
        f"http://catalog.test/mosaics/{name}/tiles/{tms}/{{z}}/{{x}}/{{y}}.webp?index=ndvi"
    ]  # fmt: skip
    item = items[of(items, "33VXG")[0]]
    told = local.get(f"/tiles/{L2A}/{item['id']}/{tms}/tilejson.json", params={"assets": "B04"}).json()
    assert told["bounds"] == item["bbox"] and told["minzoom"] <= told["maxzoom"]
    [address] = told["tiles"]
    assert address.startswith(f"http://catalog.test/tiles/{L2A}/{item['id']}/{tms}/") and "assets=B04" in address
    z = told["maxzoom"]
    x, y = mercator(item, z) if tms == "WebMercatorQuad" else (0, 0)
    path = address.removeprefix("http://catalog.test").format(z=z, x=x, y=y)
    answer = local.get(path)
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    if tms == "WebMercatorQuad":
        assert np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))[..., 3].any()
