"""Numbers of items against NumPy on what rasterio reads of the same files."""

# ruff: noqa: E501  tables are read best by the line

import io
import math

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
from rasterio.windows import Window
from shapely.geometry import mapping

from api.app import create_app
from catalog.access import PUBLIC
from catalog.search import Search
from kartotek.storage import MARKER
from pixels.areas import SPACING

TO_LONLAT = pyproj.Transformer.from_crs(3006, 4326, always_xy=True)
TO_SWEREF = pyproj.Transformer.from_crs(4326, 3006, always_xy=True)
BEFORE, AFTER, EDGE = "N0301_R065_T33VXG", "N0400_R065_T33VXG", "T33VUC"


@pytest.fixture(scope="module")
def items(demo):
    """Level-2A items: before and after baseline 04.00, and one that a swath's edge crosses."""
    known = [orjson.loads(one) for one in demo.catalog.search(PUBLIC, Search(limit=100)).items]
    level2 = [one for one in known if one["collection"] == "sentinel-2-l2a"]
    return {part: next(one for one in level2 if part in one["id"]) for part in (BEFORE, AFTER, EDGE)}


@pytest.fixture(scope="module")
def local(demo):
    """HTTP without a network, on one file and a folder. `client` is on PostGIS and a bucket too."""
    return TestClient(create_app(demo.settings, demo.catalog, demo.storage))


def path(item):
    return f"/collections/{item['collection']}/items/{item['id']}"


def opened(demo, item, name):
    return rasterio.open(demo.local.root / item["assets"][name]["href"].removeprefix(MARKER))


def facts(item, name):
    band = item["assets"][name]["bands"][0]
    return band["raster:scale"], band["raster:offset"]


def reflectance(demo, item, name):
    """A band in physical values, NaN where there is no data."""
    scale, offset = facts(item, name)
    with opened(demo, item, name) as file:
        numbers = file.read(1)
    return np.where(numbers == 0, np.nan, numbers * scale + offset)


def ndvi(demo, item):
    nir, red = (np.maximum(reflectance(demo, item, name), 0) for name in ("B08", "B04"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(nir + red > 0, (nir - red) / (nir + red), np.nan)


def some_pixels(demo, item, count=12, name="B04"):
    """(row, column, lon, lat) of centres of pixels, half of them with data."""
    chance = np.random.default_rng(1)
    with opened(demo, item, name) as file:
        numbers, transform = file.read(1), file.transform
    for data in (True, False):
        places = np.argwhere((numbers != 0) == data)
        for row, column in chance.choice(places, count // 2):
            yield int(row), int(column), *TO_LONLAT.transform(*(transform @ (column + 0.5, row + 0.5)))


def triangle(item, share=0.35):
    """A polygon in the middle of an item, askew to the grid."""
    west, south, east, north = item["bbox"]
    wide, high = (east - west) * share, (north - south) * share
    x, y = (west + east) / 2, (south + north) / 2
    return shapely.Polygon([(x - wide, y - high * 0.7), (x + wide * 0.9, y - high), (x + wide * 0.1, y + high)])


def inside(polygon, file, spacing=SPACING):
    """Pixels of a file whose centre lies in a polygon whose edges are straight in longitude and latitude."""
    dense = shapely.segmentize(polygon, spacing)
    moved = shapely.transform(dense, lambda x, y: TO_SWEREF.transform(x, y), interleaved=False)
    return geometry_mask([moved], out_shape=file.shape, transform=file.transform, invert=True)


# At a place


@pytest.mark.parametrize("which", [BEFORE, AFTER, EDGE])
def test_a_point_has_the_numbers_of_the_pixel_that_holds_it(local, demo, items, which):
    item = items[which]
    wanted = ndvi(demo, item)
    for row, column, lon, lat in some_pixels(demo, item):
        answer = local.get(f"{path(item)}/point", params={"lon": lon, "lat": lat, "assets": "red,B08,SCL,B11"})
        assert answer.status_code == 200, answer.text
        found = {value["name"]: value for value in answer.json()["values"]}
        for name, asset in {"red": "B04", "B08": "B08", "SCL": "SCL", "B11": "B11"}.items():
            with opened(demo, item, asset) as file:
                step = 2 if file.res[0] == 20 else 1
                number = int(file.read(1, window=Window(column // step, row // step, 1, 1))[0, 0])
            if number == 0:
                assert found[name]["number"] is None and found[name]["value"] is None
            else:
                assert found[name]["number"] == number
                scale, offset = facts(item, asset) if asset != "SCL" else (1, 0)
                assert found[name]["value"] == pytest.approx(number * scale + offset, abs=1e-12)
        if found["SCL"]["number"] is not None:
            classes = {one["value"]: one["name"] for one in item["assets"]["SCL"]["classification:classes"]}
            assert found["SCL"]["class"] == classes[found["SCL"]["number"]]
        [value] = local.get(f"{path(item)}/point", params={"lon": lon, "lat": lat, "index": "ndvi"}).json()["values"]
        if math.isnan(wanted[row, column]):
            assert value["value"] is None
        else:
            assert value["value"] == pytest.approx(wanted[row, column], abs=1e-6)
            x, y = TO_SWEREF.transform(lon, lat)
            by_coord = {"coord": f"{x},{y}", "crs": "EPSG:3006", "expression": "nir-red;nir/(red-red)"}
            first, second = local.get(f"{path(item)}/point", params=by_coord).json()["values"]
            assert first["name"] == "nir - red" and second["value"] is None
            assert first["value"] == pytest.approx(found["B08"]["value"] - found["red"]["value"], abs=1e-12)


def test_a_point_outside_of_the_files_is_not_there_and_a_mask_leaves_out(local, demo, items):
    item = items[AFTER]
    assert local.get(f"{path(item)}/point?lon=10&lat=50&assets=B04").status_code == 404
    with opened(demo, item, "SCL") as file:
        codes, transform = file.read(1), file.transform
    for code, seen in ((9, False), (4, True)):
        row, column = np.argwhere(codes == code)[0]
        lon, lat = TO_LONLAT.transform(*(transform @ (column + 0.5, row + 0.5)))
        at = {"lon": lon, "lat": lat, "assets": "B04", "mask": "clear"}
        assert (local.get(f"{path(item)}/point", params=at).json()["values"][0]["number"] is not None) == seen


def test_who_has_the_numbers_at_a_place_is_told_so(local, items):
    west, south, east, north = items[AFTER]["bbox"]
    asked = f"{path(items[AFTER])}/point?lon={(west + east) / 2}&lat={(south + north) / 2}&index=ndvi"
    first = local.get(asked)
    assert "read;dur=" in first.headers["server-timing"] or "index;dur=" in first.headers["server-timing"]
    assert local.get(asked, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert local.head(asked).status_code == 200


# Tiles


@pytest.mark.parametrize("form", ["tif", "npy"])
@pytest.mark.parametrize("which", [BEFORE, EDGE])
def test_a_tile_of_the_native_grid_has_the_files_own_numbers(local, demo, items, which, form):
    item = items[which]
    with opened(demo, item, "B04") as file:
        left, top = file.transform.c, file.transform.f
        window = Window(512, 512, 512, 512)
        wanted = {name: opened(demo, item, name).read(1, window=window) for name in ("B04", "B08")}
    x, y = (left + 5120) / 5120, (7_864_320 - top + 5120) / 5120
    tile = f"/tiles/{item['collection']}/{item['id']}/SWEREF99TM10/8/{int(x)}/{int(y)}.{form}"
    answer = local.get(f"{tile}?assets=B04,B08")
    assert answer.status_code == 200, answer.text
    index = local.get(f"{tile}?index=ndvi")
    by_numpy = ndvi(demo, item)[512:1024, 512:1024]
    if form == "npy":
        found, computed = np.load(io.BytesIO(answer.content)), np.load(io.BytesIO(index.content))
    else:
        with MemoryFile(answer.content) as memory, memory.open() as file:
            found = file.read()
            assert (file.crs.to_epsg(), file.nodata, file.dtypes[0]) == (3006, 0, "uint16")
            assert file.transform[:6] == (10, 0, left + 5120, 0, -10, top - 5120)
            assert file.descriptions == ("B04", "B08")
            assert (file.scales[0], file.offsets[0]) == facts(item, "B04")
        with MemoryFile(index.content) as memory, memory.open() as file:
            computed = file.read()
            assert math.isnan(file.nodata)
    assert found.dtype == np.uint16 and found.shape == (2, 512, 512)
    assert np.array_equal(found, np.stack(list(wanted.values())))
    assert computed.dtype == np.float32 and computed.shape == (1, 512, 512)
    np.testing.assert_allclose(computed[0], by_numpy, atol=1e-6, equal_nan=True)
    assert local.get(f"{tile}?index=ndvi", headers={"If-None-Match": index.headers["etag"]}).status_code == 304


def test_an_empty_tile_of_numbers_is_nodata(local, items):
    item = items[BEFORE]
    tile = f"/tiles/{item['collection']}/{item['id']}/WebMercatorQuad/12/1/1.npy"
    assert not np.load(io.BytesIO(local.get(f"{tile}?assets=B04").content)).any()
    assert np.isnan(np.load(io.BytesIO(local.get(f"{tile}?index=ndvi").content))).all()


# Crops


def cropped(answer):
    """(pixels, transform) of a GeoTIFF that was answered."""
    assert answer.status_code == 200, answer.text
    with MemoryFile(answer.content) as memory, memory.open() as file:
        return file.read(), file.transform, file.nodata


@pytest.mark.parametrize("which", [BEFORE, AFTER, EDGE])
def test_a_crop_is_the_files_pixels_bit_by_bit(local, demo, items, which):
    item, polygon = items[which], triangle(items[which])
    answer = local.post(f"{path(item)}/crop.tif?assets=B04,B08", json=mapping(polygon))
    found, transform, nodata = cropped(answer)
    for number, name in enumerate(("B04", "B08")):
        with opened(demo, item, name) as file:
            # Edges broken ten times as often put no more than a pixel of thousands elsewhere.
            assert (inside(polygon, file) != inside(polygon, file, SPACING / 10)).sum() <= 2
            wanted = np.where(inside(polygon, file), file.read(1), 0)
            column, row = ~file.transform @ (transform.c, transform.f)
        assert (column, row) == (round(column), round(row)) and nodata == 0
        rows, columns = slice(int(row), int(row) + found.shape[1]), slice(int(column), int(column) + found.shape[2])
        assert found.dtype == wanted.dtype
        assert np.array_equal(found[number], wanted[rows, columns])
        wanted[rows, columns] = 0
        assert not wanted.any()
    npy = np.load(io.BytesIO(local.post(f"{path(item)}/crop.npy?assets=B04,B08", json=mapping(polygon)).content))
    assert np.array_equal(npy, found)


def test_a_crop_of_an_index_equals_numpy_and_is_nan_elsewhere(local, demo, items):
    item, polygon = items[AFTER], triangle(items[AFTER])
    feature = {"type": "Feature", "properties": {}, "geometry": mapping(polygon)}
    found, transform, nodata = cropped(local.post(f"{path(item)}/crop.tif?index=ndvi,nbr&mask=clear", json=feature))
    assert found.dtype == np.float32 and math.isnan(nodata)
    with opened(demo, item, "B04") as file, opened(demo, item, "SCL") as classes:
        codes = np.kron(classes.read(1), np.ones((2, 2), np.uint8))
        seen = inside(polygon, file) & np.isin(codes, [4, 5, 6, 11])
        column, row = (round(number) for number in ~file.transform @ (transform.c, transform.f))
    place = slice(row, row + found.shape[1]), slice(column, column + found.shape[2])
    np.testing.assert_allclose(found[0], np.where(seen, ndvi(demo, item), np.nan)[place], atol=1e-6, equal_nan=True)
    nir, swir = (np.maximum(reflectance(demo, item, name), 0) for name in ("B08", "B12"))
    swir = np.kron(swir, np.ones((2, 2)))
    with np.errstate(divide="ignore", invalid="ignore"):
        nbr = np.where(seen & (nir + swir > 0), (nir - swir) / (nir + swir), np.nan)
    np.testing.assert_allclose(found[1], nbr[place], atol=1e-6, equal_nan=True)


def test_a_crop_at_an_overviews_resolution_is_the_overview(local, demo, items):
    item = items[AFTER]
    west, south, east, north = triangle(items[AFTER]).bounds
    found, transform, _ = cropped(
        local.get(f"{path(item)}/crop.tif?assets=B04&resolution=20&bbox={west},{south},{east},{north}")
    )
    name = demo.local.root / item["assets"]["B04"]["href"].removeprefix(MARKER)
    with rasterio.open(name, OVERVIEW_LEVEL=0) as file:
        column, row = (round(number) for number in ~file.transform @ (transform.c, transform.f))
        wanted = file.read(1)[row : row + found.shape[1], column : column + found.shape[2]]
    assert transform.a == 20
    assert np.array_equal(found[0][found[0] != 0], wanted[found[0] != 0]) and (found != 0).mean() > 0.8


def test_a_crop_goes_to_another_crs(local, items):
    item, polygon = items[AFTER], triangle(items[AFTER])
    answer = local.post(f"{path(item)}/crop.tif?assets=B04&crs=EPSG:3857&resolution=30", json=mapping(polygon))
    with MemoryFile(answer.content) as memory, memory.open() as file:
        assert file.crs.to_epsg() == 3857 and file.res == (30, 30)
        moved = shapely.transform(
            polygon, pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform, interleaved=False
        )
        assert np.abs(np.array(file.bounds) - np.array(moved.bounds)).max() <= 30
        assert (file.read(1) != 0).sum() == pytest.approx(moved.area / 900, rel=0.01)


def test_a_crop_in_the_zone_of_the_same_pixels_is_a_copy_that_names_it(local, items):
    """EPSG:32633's pixels are EPSG:3006's; a file says which of the two was asked for."""
    item = items[AFTER]
    west, south, east, north = triangle(item).bounds
    query = f"{path(item)}/crop.tif?assets=B04&bbox={west},{south},{east},{north}"
    own, transform, _ = cropped(local.get(query))
    with MemoryFile(local.get(f"{query}&crs=EPSG:32633").content) as memory, memory.open() as file:
        assert file.crs.to_epsg() == 32633 and file.transform == transform
        assert np.array_equal(file.read(), own)


@pytest.mark.parametrize("number", range(20))
def test_a_crop_of_whole_pixels_has_no_more_than_these(local, items, number):
    west, south, _, _ = items[AFTER]["bbox"]
    left, bottom = math.floor(west * 1e4) + 300 + 7 * number, math.floor(south * 1e4) + 200 + 11 * number
    box = ",".join(f"{edge / 1e4:.4f}" for edge in (left, bottom, left + 20, bottom + 20))
    answer = local.get(f"{path(items[AFTER])}/crop.tif?assets=B04&crs=EPSG:4326&resolution=0.0001&bbox={box}")
    with MemoryFile(answer.content) as memory, memory.open() as file:
        assert file.shape == (20, 20)


@pytest.mark.parametrize("form", ["png", "webp", "jpg"])
def test_a_picture_of_an_area_is_transparent_outside(local, items, form):
    item, polygon = items[AFTER], triangle(items[AFTER])
    answer = local.post(f"{path(item)}/crop.{form}", json=mapping(polygon))
    assert answer.status_code == 200, answer.text
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    raster, _, _ = cropped(local.post(f"{path(item)}/crop.tif", json=mapping(polygon)))
    assert picture.shape[:2] == raster.shape[1:]
    if form != "jpg":
        assert np.array_equal(picture[..., 3] != 0, raster.any(axis=0))
    classes = local.get(f"{path(item)}/crop.png?assets=SCL&bbox={','.join(map(str, polygon.bounds))}")
    assert classes.status_code == 200


def test_a_crop_across_the_files_edge_ends_there_and_one_elsewhere_is_not_there(local, demo, items):
    item = items[AFTER]
    west, south, east, north = item["bbox"]
    _, transform, _ = cropped(
        local.get(
            f"{path(item)}/crop.tif?assets=B04&bbox={west - 3},{(south + north) / 2},{(west + east) / 2},{north + 5}"
        )
    )
    with opened(demo, item, "B04") as file:
        assert (transform.c, transform.f) == (file.transform.c, file.transform.f)
    assert local.get(f"{path(item)}/crop.tif?assets=B04&bbox=10,50,11,51").status_code == 404
    assert local.get(f"{path(item)}/crop.tif?assets=B04&bbox=-180,-90,180,90").status_code in (200, 400)


def test_a_crop_that_is_too_large_is_refused_before_anything_is_opened(local, items, monkeypatch):
    from pixels.blocks import Blocks

    monkeypatch.setattr(Blocks, "read", None)
    item = items[AFTER]
    west, south, east, north = item["bbox"]
    box = f"bbox={west},{south},{east},{north}"
    for form in ("tif", "png"):
        answer = local.get(f"{path(item)}/crop.{form}?resolution=1&{box}")
        assert answer.status_code == 400 and "4000000" in answer.text and "resolution" in answer.text


HOSTILE = [
    ("get", "point?lon=17&lat=NaN", None), ("get", "point?lon=1e400&lat=1", None), ("get", "point", None),
    ("get", "point?lon=18&lat=59.9&assets=" + ",".join(["B04"] * 3 + [f"B{n}" for n in range(20)]), None),
    ("get", "point?lon=18&lat=59.9&assets=nothing", None), ("get", "point?lon=18&lat=59.9&index=nothing", None),
    ("get", "point?lon=18&lat=59.9&assets=B04&index=ndvi", None), ("get", "point?coord=1,2,3&crs=EPSG:3006", None),
    ("get", "point?coord=nan,2&crs=EPSG:3006", None), ("get", "point?coord=1,2&crs=http://127.0.0.1/x", None),
    ("get", "point?coord=1,2&crs=EPSG:4978", None), ("get", "point?coord=1e308,2&crs=EPSG:3006", None),
    ("get", "point?lon=18&lat=59.9&expression=" + "(" * 100, None),
    ("get", "point?lon=18&lat=59.9&expression=__import__('os')", None), ("get", "crop.tif", None),
    ("get", "crop.exe?bbox=17,59,18,60", None), ("get", "crop.tif?bbox=17,59,17,59", None),
    ("get", "crop.tif?bbox=nan,nan,nan,nan", None), ("get", "crop.tif?bbox=17,59,18,60&resolution=-1", None),
    ("get", "crop.tif?bbox=17,59,18,60&resolution=1e-300", None),
    ("get", "crop.tif?bbox=17,59,18,60&resolution=nan", None),
    ("get", "crop.tif?bbox=17,59,18,60&crs=EPSG:99999", None),
    ("get", "crop.png?bbox=17,59,18,60&assets=B04,B08", None),
    ("get", "crop.tif?bbox=17,59,18,60&expression=" + "nir*" * 1_400 + "nir", None),
    ("post", "crop.tif", {"type": "Point", "coordinates": [18, 59.9]}), ("post", "crop.tif", {}),
    ("post", "crop.tif", []),
    ("post", "crop.tif", {"type": "Polygon", "coordinates": [[[1e308, 0], [0, 1e308], [1, 1], [1e308, 0]]]}),
    ("post", "crop.tif", {"type": "Polygon", "coordinates": [[[18, 59], [19, 60], [18, 60], [19, 59], [18, 59]]]}),
    ("post", "crop.tif", {"type": "Feature", "geometry": None}), ("post", "crop.tif", {"type": ["Polygon"]}),
    ("post", "crop.tif", b'{"type": "Polygon", "coordinates": [[[NaN, 0], [0, 1], [1, 1], [NaN, 0]]]}'),
    ("post", "crop.tif", mapping(shapely.Point(18, 59.9).buffer(0.1, quad_segs=10_000))),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_requests_are_refused_with_a_reason(local, items, number):
    method, rest, body = HOSTILE[number]
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    more = {"content": content, "headers": {"Content-Type": "application/json"}} if method == "post" else {}
    answer = local.request(method.upper(), f"{path(items[AFTER])}/{rest}", **more)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json" and len(answer.json()["detail"]) > 10


def test_a_private_items_numbers_answer_as_if_it_was_not_there(six):
    client = six()
    square = mapping(shapely.box(17, 59, 17.01, 59.01))
    for name in ("point?lon=17&lat=59", "crop.tif?bbox=17,59,18,60", "crop.png?bbox=17,59,18,60"):
        hidden, absent = (client.get(f"/collections/{one}/items/hidden/{name}") for one in ("secret", "absent"))
        assert hidden.status_code == absent.status_code == 404
        assert hidden.text.replace("secret", "absent") == absent.text
    for name in ("crop.tif", "statistics"):
        hidden, absent = (
            client.post(f"/collections/{one}/items/hidden/{name}", json=square) for one in ("secret", "absent")
        )
        assert hidden.status_code == 404 and hidden.text.replace("secret", "absent") == absent.text


# Statistics


def counted(local, item, area, **parameters):
    answer = local.post(f"{path(item)}/statistics", params=parameters, json=area)
    assert answer.status_code == 200, answer.text
    return answer.json()["areas"]


def check(told, values, *, rel=1e-9):
    """What is told against NumPy."""
    assert told["count"] == values.size
    wanted = {"min": values.min(), "max": values.max(), "mean": values.mean(), "std": values.std(),
              "median": np.median(values)}  # fmt: skip
    for name, number in wanted.items():
        assert told[name] == pytest.approx(number, rel=rel, abs=1e-9), name
    for percentile, number in told["percentiles"].items():
        assert number == pytest.approx(np.percentile(values, float(percentile)), rel=rel, abs=1e-9), percentile
    edges = np.array(told["histogram"]["edges"])
    assert sum(told["histogram"]["counts"]) == ((values >= edges[0] - 1e-12) & (values <= edges[-1] + 1e-12)).sum()


@pytest.mark.parametrize("which", [BEFORE, AFTER, EDGE])
@pytest.mark.parametrize("share", [0.45, 0.0035])
def test_statistics_are_those_of_numpy(local, demo, items, which, share):
    """Of all of a sample, and of a fifth of a hectare."""
    item, polygon = items[which], triangle(items[which], share)
    [area] = counted(local, item, mapping(polygon), assets="B04,B11,SCL", percentiles="0,5,50,99.5,100", bins=20)
    for told in area["statistics"]:
        with opened(demo, item, told["name"]) as file:
            seen, numbers = inside(polygon, file), file.read(1)
            assert (told["resolution"], told["overview"]) == (file.res[0], 0)
        assert told["pixels"] == seen.sum()
        numbers = numbers[seen & (numbers != 0)]
        assert told["valid_share"] == pytest.approx(numbers.size / max(1, seen.sum()))
        if told["name"] == "SCL":
            codes, counts = np.unique(numbers, return_counts=True)
            assert {one["code"]: one["count"] for one in told["classes"]} == dict(
                zip(codes.tolist(), counts.tolist(), strict=True)
            )
            assert sum(one["share"] for one in told["classes"]) == pytest.approx(1 if numbers.size else 0)
        elif numbers.size:
            scale, offset = facts(item, told["name"])
            check(told, numbers * scale + offset)
            assert told["method"] == "counted"
    [area] = counted(local, item, mapping(polygon), index="ndvi")
    with opened(demo, item, "B04") as file:
        values = ndvi(demo, item)[inside(polygon, file)]
    if np.isfinite(values).any():
        check(area["statistics"][0], values[np.isfinite(values)], rel=1e-6)
        assert area["statistics"][0]["method"] == "kept"


def test_a_formula_that_is_written_twice_is_counted_once(local, items):
    item, polygon = items[AFTER], triangle(items[AFTER])
    [area] = counted(local, item, mapping(polygon), expression="nir/red;nir / red;red/nir")
    [alone] = counted(local, item, mapping(polygon), expression="nir/red")
    assert area["statistics"][:1] == alone["statistics"] and len(area["statistics"]) == 2


def test_statistics_leave_out_what_the_mask_says(local, demo, items):
    item, polygon = items[AFTER], triangle(items[AFTER])
    [area] = counted(local, item, {"type": "Feature", "id": "mine", "properties": None, "geometry": mapping(polygon)},
                     assets="B04", mask="clear")  # fmt: skip
    with opened(demo, item, "B04") as file, opened(demo, item, "SCL") as classes:
        codes = np.kron(classes.read(1), np.ones((2, 2), np.uint8))
        numbers = file.read(1)[inside(polygon, file) & np.isin(codes, [4, 5, 6, 11])]
    scale, offset = facts(item, "B04")
    assert area["id"] == "mine"
    check(area["statistics"][0], numbers[numbers != 0] * scale + offset)


def test_many_areas_come_in_their_order_and_one_outside_has_nothing(local, demo, items):
    item, polygon = items[AFTER], triangle(items[AFTER])
    west, south, *_ = polygon.bounds
    half = shapely.box(item["bbox"][2] - 0.02, item["bbox"][1] + 0.03, item["bbox"][2] + 2, item["bbox"][1] + 0.04)
    places = [
        shapely.box(10, 50, 11, 51),
        polygon,
        half,
        shapely.box(-180, -89, -170, -80),
        shapely.box(west, south, west + 1e-6, south + 1e-6),
    ]
    features = [
        {"type": "Feature", "properties": {}, "id": n, "geometry": mapping(one)} for n, one in enumerate(places)
    ]
    areas = counted(local, item, {"type": "FeatureCollection", "features": features}, assets="B04,SCL")
    assert [area["id"] for area in areas] == list(range(5))
    for number in (0, 3):
        told, classes = areas[number]["statistics"]
        assert (told["valid_share"], told["count"], told["mean"], told["median"], told["histogram"]) == (
            0,
            0,
            None,
            None,
            None,
        )
        assert classes["valid_share"] == 0 and classes["classes"] == []
    assert areas[1]["statistics"][0]["valid_share"] > 0.9
    assert areas[2]["statistics"][0]["valid_share"] < 0.02  # most of it lies outside
    assert areas[4]["statistics"][0]["count"] <= 1


def test_statistics_above_the_cap_take_an_overview_and_say_so(local, demo, items, monkeypatch):
    from pixels import statistics, tally

    item, polygon = items[AFTER], triangle(items[AFTER], 0.45)
    monkeypatch.setattr(statistics, "MAX_READ", 1_500_000)
    [area] = counted(local, item, mapping(polygon), assets="B04")
    [told] = area["statistics"]
    assert (told["overview"], told["resolution"]) == (1, 20)
    name = demo.local.root / item["assets"]["B04"]["href"].removeprefix(MARKER)
    with rasterio.open(name, OVERVIEW_LEVEL=0) as file:
        numbers = file.read(1)[inside(polygon, file)]
    scale, offset = facts(item, "B04")
    check(told, numbers[numbers != 0] * scale + offset)
    monkeypatch.setattr(statistics, "MAX_READ", 1000)
    answer = local.post(f"{path(item)}/statistics?assets=B04", json=mapping(polygon))
    assert answer.status_code == 400 and "fewer" in answer.text
    monkeypatch.setattr(statistics, "MAX_READ", 64_000_000)
    monkeypatch.setattr(tally, "FITS", 1000)
    [area] = counted(local, item, mapping(polygon), index="ndvi")
    [told] = area["statistics"]
    assert told["method"] == "binned"
    with opened(demo, item, "B04") as file:
        values = ndvi(demo, item)[inside(polygon, file)]
    values = values[np.isfinite(values)]
    assert told["mean"] == pytest.approx(values.mean(), abs=1e-9) and told["std"] == pytest.approx(
        values.std(), abs=1e-9
    )
    for percentile, number in told["percentiles"].items():
        assert number == pytest.approx(np.percentile(values, float(percentile)), rel=1 / 2048)


WRONG = [
    ("assets=B04", {"type": "FeatureCollection", "features": []}),
    ("assets=B04", {"type": "FeatureCollection", "features": [1]}),
    ("assets=B04", {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": mapping(shapely.box(18, 59, 18.1, 59.1))}] * 101}),
    ("assets=B04", {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": mapping(shapely.Point(18, 59.9).buffer(0.1, quad_segs=500))}] * 10}),
    ("assets=B04&percentiles=nan", mapping(shapely.box(18, 59, 18.1, 59.1))), ("assets=B04&percentiles=101", mapping(shapely.box(18, 59, 18.1, 59.1))),
    ("assets=B04&range=1,1", mapping(shapely.box(18, 59, 18.1, 59.1))), ("assets=B04&range=-1e308,1e308", mapping(shapely.box(18, 59, 18.1, 59.1))),
    ("assets=B04&range=0,5e-324", mapping(shapely.box(18, 59, 18.1, 59.1))), ("assets=B04&range=1,1.0000000000000004", mapping(shapely.box(18, 59, 18.1, 59.1))),
    ("assets=B04&bins=0", mapping(shapely.box(18, 59, 18.1, 59.1))), ("assets=nothing", mapping(shapely.box(18, 59, 18.1, 59.1))),
    ("expression=" + "exp(" * 90 + "nir", mapping(shapely.box(18, 59, 18.1, 59.1))),
    ("assets=B04", mapping(shapely.Point(18, 59.9).buffer(0.1, quad_segs=5_000))),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_statistics_are_refused_with_a_reason(local, items, number):
    query, body = WRONG[number]
    answer = local.post(f"{path(items[AFTER])}/statistics?{query}", json=body)
    assert 400 <= answer.status_code < 500 and len(answer.json()["detail"]) > 10, answer.text
