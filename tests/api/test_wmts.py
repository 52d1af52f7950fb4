"""WMTS: what OWSLib reads of it, and tiles that are those of mosaics."""

import io

import morecantile
import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient
from lxml import etree
from owslib.wmts import WebMapTileService
from PIL import Image

from api.app import create_app
from catalog.access import PUBLIC
from catalog.search import MAX_LIMIT, Search
from catalog.store import Catalog
from kartotek import matrices

SPACES = {"w": "http://www.opengis.net/wmts/1.0", "ows": "http://www.opengis.net/ows/1.1"}
L2A = "sentinel-2-l2a"
LAYER = f"{L2A}:true-colour"


@pytest.fixture(scope="module")
def local(demo):
    return TestClient(create_app(demo.settings, demo.catalog, demo.storage))


@pytest.fixture(scope="module")
def item(demo):
    found = demo.catalog.search(PUBLIC, Search(collections=("sentinel-2-l2a",), limit=MAX_LIMIT)).items
    return next(one for content in found if (one := orjson.loads(content))["properties"]["grid:code"] == "MGRS-33VXG")


@pytest.fixture(scope="module")
def document(local):
    answer = local.get("/wmts?SERVICE=WMTS&REQUEST=GetCapabilities")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/xml"
    assert local.get("/wmts/1.0.0/WMTSCapabilities.xml").content == answer.content
    return etree.fromstring(answer.content)


def texts(node, path):
    return [one.text for one in node.findall(path, SPACES)]


def middle(item, tms, z):
    west, south, east, north = item["bbox"]
    tile = matrices.served()[tms].tile((west + east) / 2, (south + north) / 2, z)
    return tile.x, tile.y


def test_there_is_a_layer_for_each_render_with_its_place_and_time(document, local):
    names = texts(document, ".//w:Layer/ows:Identifier")
    renders = orjson.loads(local.get("/collections/sentinel-2-l2a").content)["renders"]
    assert {f"sentinel-2-l2a:{name}" for name in renders} <= set(names)
    layer = next(one for one in document.iterfind(".//w:Layer", SPACES) if texts(one, "ows:Identifier") == [LAYER])
    [west, south] = map(float, texts(layer, "ows:WGS84BoundingBox/ows:LowerCorner")[0].split())
    [east, north] = map(float, texts(layer, "ows:WGS84BoundingBox/ows:UpperCorner")[0].split())
    assert 9 < west < east < 26 and 54 < south < north < 70
    assert texts(layer, "w:Dimension/ows:Identifier") == ["Time"]
    assert texts(layer, "w:TileMatrixSetLink/w:TileMatrixSet") == list(matrices.served())
    assert texts(layer, "w:Format") == ["image/png", "image/webp", "image/jpeg"]
    # Several would be mirrors to OpenLayers and Leaflet, whatever their formats.
    [link] = layer.iterfind("w:ResourceURL", SPACES)
    assert link.get("format") == "image/png" and link.get("template").endswith("/{TileRow}/{TileCol}.png")


def test_matrix_sets_have_the_axes_of_their_crs(document):
    """Northing first for EPSG:3006."""
    sets = {texts(one, "ows:Identifier")[0]: one for one in document.iterfind("w:Contents/w:TileMatrixSet", SPACES)}
    for name, crs, corner, pixels in (
        ("SWEREF99TM", 3006, "8500000 -1200000", "256"),
        ("SWEREF99TM10", 3006, "7864320 0", "512"),
        ("WebMercatorQuad", 3857, "-20037508.342789244 20037508.342789244", "256"),
    ):
        assert texts(sets[name], "ows:SupportedCRS") == [f"urn:ogc:def:crs:EPSG::{crs}"]
        first = sets[name].find("w:TileMatrix", SPACES)
        found = [float(part) for part in texts(first, "w:TopLeftCorner")[0].split()]
        assert found == pytest.approx([float(part) for part in corner.split()], abs=1e-6)
        assert texts(first, "w:TileWidth") == [pixels]


def kvp(**changed):
    said = {
        "SERVICE": "WMTS", "REQUEST": "GetTile", "VERSION": "1.0.0", "LAYER": LAYER, "STYLE": "default",
        "FORMAT": "image/png", "TILEMATRIXSET": "SWEREF99TM10", "TILEMATRIX": "7",
    }  # fmt: skip
    return {name: value for name, value in {**said, **changed}.items() if value is not None}


def test_a_tile_by_kvp_and_by_rest_is_that_of_the_mosaic(local, item):
    x, y = middle(item, "SWEREF99TM10", 7)
    one = local.get("/wmts", params=kvp(TILEROW=str(y), TILECOL=str(x)))
    small = local.get("/wmts", params={name.lower(): value for name, value in kvp(TILEROW=y, TILECOL=x).items()})
    other = local.get(f"/wmts/1.0.0/{LAYER}/default/default/SWEREF99TM10/7/{y}/{x}.png")
    mosaic = local.get(
        f"/mosaics/inline/tiles/SWEREF99TM10/7/{x}/{y}.png?collections=sentinel-2-l2a&render=true-colour"
    )
    assert one.status_code == other.status_code == mosaic.status_code == 200, one.text
    assert one.content == small.content == other.content == mosaic.content
    assert np.asarray(Image.open(io.BytesIO(one.content)).convert("RGBA"))[..., 3].any()
    tag = {"If-None-Match": one.headers["etag"]}
    assert local.get("/wmts", params=kvp(TILEROW=y, TILECOL=x), headers=tag).status_code == 304


def test_time_narrows_a_layer_to_a_date_or_a_period(local, item):
    x, y = middle(item, "SWEREF99TM10", 7)
    date = item["properties"]["datetime"][:10]
    there = local.get("/wmts", params=kvp(TILEROW=y, TILECOL=x, TIME=date))
    by_rest = local.get(f"/wmts/1.0.0/{LAYER}/default/{date}/SWEREF99TM10/7/{y}/{x}.png")
    period = local.get("/wmts", params=kvp(TILEROW=y, TILECOL=x, TIME=f"{date}/{date}"))
    assert there.content == by_rest.content == period.content
    assert np.asarray(Image.open(io.BytesIO(there.content)).convert("RGBA"))[..., 3].any()
    before = local.get("/wmts", params=kvp(TILEROW=y, TILECOL=x, TIME="2014-01-01"))
    assert before.status_code == 200
    assert not np.asarray(Image.open(io.BytesIO(before.content)).convert("RGBA"))[..., 3].any()


def test_every_time_that_the_capabilities_name_is_answered(local, document, item):
    """QGIS offers these and no others."""
    layer = next(one for one in document.iterfind(".//w:Layer", SPACES) if texts(one, "ows:Identifier") == [LAYER])
    any_time, whole, *months = texts(layer, "w:Dimension/w:Value")
    assert any_time == "default" and whole == "2021-07-15/2025-04-22/P1D"
    assert len(months) == 46 and months[0] == "2025-04-01/2025-04-22" and months[-1] == "2021-07-01/2021-07-31"
    assert "2024-02-01/2024-02-29" in months and "2023-12-01/2023-12-31" in months
    x, y = middle(item, "SWEREF99TM10", 7)
    there = {}
    for time in (any_time, whole, *months):
        answer = local.get("/wmts", params=kvp(TILEROW=y, TILECOL=x, TIME=time))
        assert answer.status_code == 200, answer.text
        there[time] = answer.content
        by_rest = local.get(f"/wmts/1.0.0/{LAYER}/default/{time}/SWEREF99TM10/7/{y}/{x}.png")
        assert by_rest.content == answer.content, time
    assert there[any_time] == there[whole]
    day = local.get("/wmts", params=kvp(TILEROW=y, TILECOL=x, TIME="2022-07-15"))
    assert there["2022-07-01/2022-07-31"] == day.content
    assert len(set(there.values())) == 5  # any time, three dates, and nothing in other months


def test_a_collection_of_any_name_has_its_layers(demo, make_database):
    """STAC lets ids have colons."""
    catalog = Catalog(make_database("sqlite", migrated=True))
    kind = orjson.loads(demo.catalog.collection(PUBLIC, L2A)) | {"id": "eo:s2"}
    [item] = demo.catalog.search(PUBLIC, Search(collections=(L2A,), limit=1)).items
    catalog.publish(item.replace(L2A.encode(), b"eo:s2"), collection=orjson.dumps(kind))
    client = TestClient(create_app(demo.settings, catalog, demo.storage))
    told = etree.fromstring(client.get("/wmts?request=GetCapabilities").content)
    template = told.find(".//w:ResourceURL", SPACES).get("template").removeprefix(demo.settings.root)
    # A tile where nothing lies; of a layer that is none it would be 404.
    parts = {"style": "default", "Time": "default", "TileMatrixSet": "SWEREF99TM10", "TileMatrix": 8}
    for name, value in {**parts, "TileRow": 500, "TileCol": 0}.items():
        template = template.replace(f"{{{name}}}", str(value))
    answer = client.get(template)
    assert answer.status_code == 200 and answer.headers["x-kartotek-items"] == "0 of 0", (template, answer.text)
    assert client.get(template.replace("eo:s2", "eo")).status_code == 404
    catalog.close()


def test_a_registered_mosaic_is_a_layer(local, item):
    x, y = middle(item, "WebMercatorQuad", 9)
    made = local.post("/mosaics", json={"collections": ["sentinel-2-l2a"], "order": "oldest", "bbox": item["bbox"]})
    name = made.json()["id"]
    told = etree.fromstring(local.get("/wmts?service=wmts&request=getcapabilities").content)
    assert f"mosaic:{name}" in texts(told, ".//w:Layer/ows:Identifier")
    params = kvp(LAYER=f"mosaic:{name}", TILEMATRIXSET="WebMercatorQuad", TILEMATRIX="9", TILEROW=y, TILECOL=x)
    found = local.get("/wmts", params=params)
    assert found.content == local.get(f"/mosaics/{name}/tiles/WebMercatorQuad/9/{x}/{y}.png").content


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"SERVICE": "WMS"}, "InvalidParameterValue"),
        ({"REQUEST": None}, "MissingParameterValue"),
        ({"REQUEST": "GetMap"}, "OperationNotSupported"),
        ({"LAYER": None}, "MissingParameterValue"),
        ({"LAYER": "nope"}, "InvalidParameterValue"),
        ({"LAYER": "nope:true-colour"}, "InvalidParameterValue"),
        ({"LAYER": "sentinel-2-l2a:<nope>"}, "InvalidParameterValue"),
        ({"LAYER": f"sentinel-2-l2a:{'x' * 300}"}, "InvalidParameterValue"),
        ({"LAYER": "mosaic:nope"}, "InvalidParameterValue"),
        ({"STYLE": "dark"}, "InvalidParameterValue"),
        ({"FORMAT": "image/gif"}, "InvalidParameterValue"),
        ({"TILEMATRIXSET": "nope"}, "InvalidParameterValue"),
        ({"TILEMATRIX": "x"}, "InvalidParameterValue"),
        ({"TILEROW": "100000"}, "TileOutOfRange"),
        ({"TIME": "yesterday"}, "InvalidParameterValue"),
        ({"LAYER": "a\x00\x0b:b"}, "InvalidParameterValue"),
    ],
)
def test_what_is_wrong_is_told_as_ows_has_it(local, changed, code):
    answer = local.get("/wmts", params=kvp(**{"TILEROW": "1", "TILECOL": "1", **changed}))
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/xml"), answer.text
    [found] = etree.fromstring(answer.content).iterfind("ows:Exception", SPACES)
    assert found.get("exceptionCode") == code and found.findtext("ows:ExceptionText", namespaces=SPACES)


def test_a_tile_by_rest_that_is_not_there_is_not_found(local):
    assert local.get(f"/wmts/1.0.0/{LAYER}/default/default/SWEREF99TM10/99/0/0.png").status_code in (400, 404)
    assert local.get("/wmts/1.0.0/nope/default/default/SWEREF99TM10/1/0/0.png").status_code == 404


def test_owslib_reads_the_capabilities_and_fetches_a_tile(serving, demo, item):
    x, y = middle(item, "SWEREF99TM", 9)
    with serving(demo.settings) as server:
        service = WebMapTileService(f"{server.root}/wmts")
        assert LAYER in service.contents and set(service.tilematrixsets) == set(matrices.served())
        matrix = service.tilematrixsets["SWEREF99TM"].tilematrix["9"]
        assert (matrix.topleftcorner, matrix.tilewidth) == ((8_500_000.0, -1_200_000.0), 256)
        tile = service.gettile(
            layer=LAYER, tilematrixset="SWEREF99TM", tilematrix="9", row=y, column=x, format="image/png"
        ).read()
    assert np.asarray(Image.open(io.BytesIO(tile)).convert("RGBA"))[..., 3].any()


def test_tile_matrix_sets_are_told_as_ogc_writes_them(local):
    told = local.get("/tileMatrixSets").json()["tileMatrixSets"]
    assert [one["id"] for one in told] == list(matrices.served())
    for one in told:
        found = local.get(one["links"][0]["href"].removeprefix("http://catalog.test"))
        again = morecantile.TileMatrixSet.model_validate(found.json())
        assert again.id == one["id"] and again.tileMatrices == matrices.served()[one["id"]].tileMatrices
    assert local.get("/tileMatrixSets/nope").status_code == 404
