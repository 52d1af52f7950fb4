"""Numbers of mosaics of the samples against NumPy on what rasterio reads of the items' files."""

import io
import warnings
from functools import cache

import numpy as np
import orjson
import pyproj
import pytest
import rasterio
import shapely
from fastapi.testclient import TestClient
from PIL import Image
from rasterio.features import geometry_mask
from rasterio.io import MemoryFile
from shapely.geometry import mapping

from api.app import create_app
from catalog.access import PUBLIC
from catalog.search import MAX_LIMIT, Search
from kartotek.storage import MARKER
from pixels import statistics
from pixels.areas import SPACING

L2A = "sentinel-2-l2a"
CLEAR = (4, 5, 6, 11)
TO_SWEREF = pyproj.Transformer.from_crs(4326, 3006, always_xy=True)
TO_LONLAT = pyproj.Transformer.from_crs(3006, 4326, always_xy=True)
PAIRS = [("33VXG", "34VCM"), ("34WFU", "35WLP"), ("32VPK", "33VUE")]
"""Granules that overlap, of two zones each; of 33VXG there are dates before and after baseline 04.00."""


@pytest.fixture(scope="module")
def items(demo):
    """Level-2A items, newest first, ties by id."""
    found = [
        orjson.loads(one) for one in demo.catalog.search(PUBLIC, Search(collections=(L2A,), limit=MAX_LIMIT)).items
    ]
    found.sort(key=lambda item: item["id"])
    return sorted(found, key=lambda item: item["properties"]["datetime"], reverse=True)


@pytest.fixture(scope="module")
def local(demo):
    return TestClient(create_app(demo.settings, demo.catalog, demo.storage))


def of(items, granules):
    return [item for item in items if item["properties"]["grid:code"].removeprefix("MGRS-") in granules]


def register(client, of, **definition):
    answer = client.post("/mosaics", json={"collections": [L2A], "ids": [item["id"] for item in of], **definition})
    assert answer.status_code == 201, answer.text
    return f"/mosaics/{answer.json()['id']}"


class Ground:
    """A rectangle of 10 m pixels where the newest item ends and one of another granule goes on."""

    def __init__(self, demo, items, size=300):
        self.root, self.items = demo.local.root, items
        newest = shapely.geometry.shape(items[0]["geometry"])
        code = items[0]["properties"]["grid:code"]
        beside = next(item for item in items if item["properties"]["grid:code"] != code)
        edge = shapely.intersection(newest.boundary, shapely.geometry.shape(beside["geometry"]))
        middle = max(shapely.get_parts(shapely.line_merge(edge)), key=lambda line: line.length).interpolate(0.5, True)
        x, y = TO_SWEREF.transform(middle.x, middle.y)
        self.left, self.top = x // 60 * 60 - size * 5, y // 60 * 60 + size * 5
        self.size, self.transform = size, rasterio.Affine(10, 0, self.left, 0, -10, self.top)

    @cache  # noqa: B019  lives as long as a test
    def stored(self, number, name):
        """An item's numbers on the rectangle, by the pixel that holds each centre; 0 outside."""
        with rasterio.open(self.root / self.items[number]["assets"][name]["href"].removeprefix(MARKER)) as file:
            whole, step = file.read(1), file.res[0]
            origin = file.transform.c, file.transform.f
        centres = 10 * np.arange(self.size) + 5
        columns = np.floor((self.left + centres - origin[0]) / step).astype(int)
        rows = np.floor((origin[1] - self.top + centres) / step).astype(int)
        inside = np.ix_(rows.clip(0, whole.shape[0] - 1), columns.clip(0, whole.shape[1] - 1))
        there = np.logical_and.outer((rows >= 0) & (rows < whole.shape[0]), (columns >= 0) & (columns < whole.shape[1]))
        return np.where(there, whole[inside], 0)

    def physical(self, number, name):
        band = self.items[number]["assets"][name]["bands"][0]
        stored = self.stored(number, name)
        return np.where(stored == 0, np.nan, stored * band["raster:scale"] + band["raster:offset"])

    def layers(self, names, *, masked):
        """(items, layers, rows, columns): physical values, and codes of SCL; NaN without data."""
        found = np.stack([
            [self.physical(number, name) if name != "SCL" else np.where(self.stored(number, "SCL") == 0, np.nan,
             self.stored(number, "SCL")) for name in names]
            for number in range(len(self.items))
        ])  # fmt: skip
        if masked:
            hidden = np.stack([~np.isin(self.stored(number, "SCL"), CLEAR) for number in range(len(self.items))])
            found[np.broadcast_to(hidden[:, None], found.shape)] = np.nan
        return found

    def first(self, names, *, masked):
        """The layers of the first item that has all of them, and which it is; -1 for none."""
        layers = self.layers(names, masked=masked)
        whole = np.isfinite(layers).all(axis=1)
        source = np.where(whole.any(axis=0), whole.argmax(axis=0), -1)
        found = np.take_along_axis(layers, np.maximum(source, 0)[None, None], axis=0)[0]
        found[:, source < 0] = np.nan
        return found, source

    def polygon(self, margin=200.0):
        """Some of it, askew to the pixels, in longitude and latitude."""
        far = 10 * self.size - margin
        corners = [(margin, margin * 1.7), (far, margin), (far * 0.8, far), (margin * 1.3, far * 0.9)]
        return shapely.Polygon([TO_LONLAT.transform(self.left + x, self.top - y) for x, y in corners])

    def inside(self, polygon):
        dense = shapely.segmentize(polygon, SPACING)
        moved = shapely.transform(dense, lambda x, y: TO_SWEREF.transform(x, y), interleaved=False)
        return geometry_mask([moved], out_shape=(self.size,) * 2, transform=self.transform, invert=True)


def cropped(client, path, polygon, ground, **query):
    """A crop's bands on the ground's rectangle, NaN without data; and the answer."""
    answer = client.post(f"{path}/crop.tif", params=query, json=mapping(polygon))
    assert answer.status_code == 200, answer.text
    with MemoryFile(answer.content) as memory, memory.open() as file:
        assert file.crs.to_epsg() == 3006 and file.res == (10, 10)
        found = np.full((file.count, ground.size, ground.size), np.nan)
        row, column = (ground.top - file.transform.f) / 10, (file.transform.c - ground.left) / 10
        assert row.is_integer() and column.is_integer()
        place = np.s_[:, int(row) : int(row) + file.height, int(column) : int(column) + file.width]
        pixels = file.read(masked=True)
        assert file.scales == (1,) * file.count and file.offsets == (0,) * file.count
        found[place] = np.where(np.ma.getmaskarray(pixels), np.nan, pixels.data.astype(float))
    return found, answer


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("granules", PAIRS)
def test_a_crop_has_of_each_pixel_the_first_item_that_has_all_layers(demo, local, items, granules, masked):
    """In physical values, of dates before and after the offset of baseline 04.00."""
    ground = Ground(demo, of(items, granules))
    path, polygon = register(local, ground.items), ground.polygon()
    query = {"assets": "B04,B08,B11", **({"mask": "clear"} if masked else {})}
    found, answer = cropped(local, path, polygon, ground, **query)
    wanted, source = ground.first(("B04", "B08", "B11"), masked=masked)
    inside = ground.inside(polygon)
    assert len(np.unique(source[inside])) > 1, "more than one item is seen"
    assert np.array_equal(np.isfinite(found), np.isfinite(wanted) & inside)
    assert np.nanmax(np.abs(found - wanted)[:, inside]) < 1e-6
    opened = int(answer.headers["X-Kartotek-Items"].split()[0])
    assert len(set(source[inside]) - {-1}) <= opened <= len(ground.items)


@pytest.mark.parametrize("granules", PAIRS)
def test_statistics_are_those_of_the_pixels_of_a_crop(demo, local, items, granules):
    ground = Ground(demo, of(items, granules))
    path, polygon = register(local, ground.items, mask="clear"), ground.polygon()
    answer = local.post(
        f"{path}/statistics", params={"assets": "B04,B11", "percentiles": "10,90"}, json=mapping(polygon)
    )
    assert answer.status_code == 200, answer.text
    [area] = answer.json()["areas"]
    wanted, _ = ground.first(("B04", "B11"), masked=True)
    inside = ground.inside(polygon)
    for told, layer in zip(area["statistics"], wanted, strict=True):
        pixels = layer[inside & np.isfinite(layer)]
        assert told["overview"] == 0 and told["count"] == pixels.size > 1000 and told["pixels"] == inside.sum()
        for name, value in {"min": pixels.min(), "max": pixels.max(), "mean": pixels.mean(), "std": pixels.std(),
                            "median": np.median(pixels)}.items():  # fmt: skip
            assert told[name] == pytest.approx(value, abs=1e-9), name
        assert told["percentiles"]["90"] == pytest.approx(np.percentile(pixels, 90), abs=1e-9)


def test_shares_of_classes_are_of_the_first_item(demo, local, items):
    ground = Ground(demo, of(items, PAIRS[0]))
    path, polygon = register(local, ground.items), ground.polygon()
    answer = local.post(f"{path}/statistics", params={"assets": "SCL,B04"}, json=mapping(polygon))
    [told, _] = answer.json()["areas"][0]["statistics"]
    [wanted, _], _ = ground.first(("SCL", "B04"), masked=False)
    codes, counts = np.unique(wanted[ground.inside(polygon) & np.isfinite(wanted)], return_counts=True)
    assert {one["code"]: one["count"] for one in told["classes"]} == dict(zip(codes, counts, strict=True))


def test_medians_are_numpys_over_all_items(demo, local, items):
    ground = Ground(demo, of(items, PAIRS[0]), size=120)
    path, polygon = register(local, ground.items, order="median", mask="clear"), ground.polygon(100)
    found, answer = cropped(local, path, polygon, ground, assets="B04,B08")
    assert answer.headers["X-Kartotek-Items"].startswith(f"{len(ground.items)} of")
    layers, inside = ground.layers(("B04", "B08"), masked=True), ground.inside(polygon)
    with warnings.catch_warnings(action="ignore"):
        wanted = np.nanmedian(layers, axis=0)
    assert np.array_equal(np.isfinite(found), np.isfinite(wanted) & inside)
    assert np.nanmax(np.abs(found - wanted)[:, inside]) < 1e-6
    # A formula is computed of the medians.
    [ratio], _ = cropped(local, path, polygon, ground, expression="(nir-red)/(nir+red)")
    with np.errstate(invalid="ignore", divide="ignore"):
        assert np.nanmax(np.abs(ratio - (wanted[1] - wanted[0]) / (wanted[1] + wanted[0]))[inside]) < 1e-5
    assert local.post(f"{path}/crop.tif?assets=SCL", json=mapping(polygon)).status_code == 400


@pytest.mark.parametrize("order", ["newest", "median"])
def test_a_point_has_what_the_crop_has_there_and_names_the_item(demo, local, items, order):
    ground = Ground(demo, of(items, PAIRS[0]), size=120)
    path = register(local, ground.items, order=order, mask="clear")
    chance = np.random.default_rng(7)
    wanted, source = ground.first(("B04", "B11"), masked=True)
    if order == "median":
        layers = ground.layers(("B04", "B11"), masked=True)
        source = np.isfinite(layers).any(axis=1).sum(axis=0)
        with warnings.catch_warnings(action="ignore"):
            wanted = np.nanmedian(layers, axis=0)
    for row, column in chance.integers(0, 120, (25, 2)):
        x, y = ground.left + 10 * column + chance.uniform(0.1, 9.9), ground.top - 10 * row - chance.uniform(0.1, 9.9)
        query = {"coord": f"{x},{y}", "crs": "EPSG:3006", "assets": "B04,B11"}
        answer = local.get(f"{path}/point", params=query)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        if order == "median":
            assert told["count"] == source[row, column]
        else:
            seen = source[row, column]
            assert told["item"] == (None if seen < 0 else {"collection": L2A, "id": ground.items[seen]["id"]})
        for value, number in zip(told["values"], wanted[:, row, column], strict=True):
            assert (value["value"] is None) if np.isnan(number) else value["value"] == pytest.approx(number, abs=1e-6)


def test_a_point_is_narrowed_to_a_time_and_may_have_nothing(demo, local, items):
    ground = Ground(demo, of(items, PAIRS[0]))
    path = register(local, ground.items)
    lon, lat = TO_LONLAT.transform(ground.left + 1505, ground.top - 1505)
    for item in ground.items:
        query = {"lon": lon, "lat": lat, "assets": "B04", "datetime": item["properties"]["datetime"]}
        told = local.get(f"{path}/point", params=query).json()
        then = {one["id"] for one in ground.items if one["properties"]["datetime"] == query["datetime"]}
        assert told["item"]["id"] in then
    nothing = local.get(f"{path}/point", params={"lon": lon, "lat": lat, "datetime": "1999-01-01"})
    assert nothing.status_code == 404 and "no item of the mosaic lies there" in nothing.json()["detail"]
    assert local.get(f"{path}/point", params={"lon": 0, "lat": 0}).status_code == 404
    assert local.get(f"{path}/crop.tif", params={"bbox": "0,0,0.01,0.01"}).status_code == 404


def test_a_picture_of_an_area_shows_what_its_numbers_are(demo, local, items):
    ground = Ground(demo, of(items, PAIRS[0]))
    path = register(local, ground.items, mask="clear")
    west, south, east, north = ground.polygon().bounds
    query = {"bbox": f"{west},{south},{east},{north}", "assets": "B04,B03,B02", "rescale": "0,0.4"}
    answer = local.get(f"{path}/crop.png", params=query)
    assert answer.status_code == 200, answer.text
    shown = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA")).astype(int)
    del query["rescale"]
    numbers = local.get(f"{path}/crop.tif", params=query)
    with MemoryFile(numbers.content) as memory, memory.open() as file:
        bands = file.read().astype(float)
    assert np.array_equal(shown[..., 3] == 255, np.isfinite(bands).all(axis=0)) and (shown[..., 3] == 255).any()
    there = shown[..., 3] == 255
    wanted = np.clip(bands / 0.4 * 255, 0, 255)
    assert np.abs(np.moveaxis(shown[..., :3], -1, 0) - wanted)[:, there].max() <= 1
    tag = answer.headers["ETag"]
    query["rescale"] = "0,0.4"
    again = local.get(f"{path}/crop.png", params=query, headers={"If-None-Match": tag})
    assert again.status_code == 304 and not again.content


def test_more_pixels_than_may_be_read_are_those_of_an_overview(demo, local, items, monkeypatch):
    """By how many items may have to be opened, before any is."""
    ground = Ground(demo, of(items, PAIRS[0]))
    path, body = register(local, ground.items, mask="clear"), ground.items[0]["geometry"]
    whole = local.post(f"{path}/statistics", params={"assets": "B04"}, json=body).json()["areas"][0]["statistics"][0]
    monkeypatch.setattr(statistics, "MAX_READ", 6_000_000)
    told = local.post(f"{path}/statistics", params={"assets": "B04"}, json=body).json()["areas"][0]["statistics"][0]
    assert whole["overview"] == 0 < told["overview"] and told["resolution"] == 10 * 2 ** told["overview"]
    assert told["mean"] == pytest.approx(whole["mean"], rel=0.1)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"assets": "B99"}, 404), ({"index": "nothing"}, 400), ({"assets": "B04", "index": "ndvi"}, 400),
        ({"mask": "x"}, 400), ({"datetime": "yesterday"}, 400), ({"lon": "400"}, 400),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told(demo, local, items, query, status):
    ground = Ground(demo, of(items, PAIRS[0]))
    path = register(local, ground.items)
    lon, lat = TO_LONLAT.transform(ground.left + 1505, ground.top - 1505)
    answer = local.get(f"{path}/point", params={"lon": lon, "lat": lat, **query})
    assert answer.status_code == status and answer.json()["detail"], answer.text
    assert local.get("/mosaics/00/point", params={"lon": lon, "lat": lat}).status_code == 404
