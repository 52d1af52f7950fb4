"""OGC API - Tiles: tile sets lead to tile matrix sets and to tiles, by links alone."""

import io

import morecantile
import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from catalog.access import PUBLIC
from catalog.search import Search
from kartotek import matrices

REL = "http://www.opengis.net/def/rel/ogc/1.0"
L2A = "sentinel-2-l2a"


@pytest.fixture(scope="module")
def local(demo):
    return TestClient(create_app(demo.settings, demo.catalog, demo.storage))


@pytest.fixture(scope="module")
def get(local, demo):
    def ask(address):
        answer = local.get(address.removeprefix(demo.settings.root))
        assert answer.status_code == 200, (address, answer.text)
        return answer

    return ask


def linked(document, rel):
    return [link["href"] for link in document["links"] if link["rel"] == rel]


@pytest.mark.parametrize("style", [None, "false-colour"])
@pytest.mark.parametrize("name", ["WebMercatorQuad", "SWEREF99TM", "SWEREF99TM10"])
def test_links_lead_from_a_collection_to_the_tiles_of_its_items(get, demo, style, name):
    [start] = linked(get(f"/collections/{L2A}").json(), f"{REL}/tilesets-map")
    start = start if style is None else start.replace("/map/tiles", f"/styles/{style}/map/tiles")
    listed = {one["links"][0]["href"].rpartition("/")[2]: one for one in get(start).json()["tilesets"]}
    assert list(listed) == list(matrices.served())
    assert listed[name]["dataType"] == "map" and listed[name]["title"].startswith("Sentinel-2")
    told = get(linked(listed[name], "self")[0]).json()
    [scheme] = linked(told, f"{REL}/tiling-scheme")
    matrix_set = morecantile.TileMatrixSet.model_validate(get(scheme).json())
    assert told["crs"] == f"http://www.opengis.net/def/crs/EPSG/0/{matrix_set.crs.to_epsg()}"
    # A tile in the middle of an item, by a link's template.
    item = orjson.loads(demo.catalog.search(PUBLIC, Search(collections=(L2A,), limit=1)).items[0])
    west, south, east, north = item["bbox"]
    box = told["boundingBox"]
    assert box["lowerLeft"][0] <= west < east <= box["upperRight"][0]
    assert box["lowerLeft"][1] <= south < north <= box["upperRight"][1]
    z = 7
    tile = matrices.find(name).tile((west + east) / 2, (south + north) / 2, z)
    [template] = [link["href"] for link in told["links"] if link["rel"] == "item" and link["type"] == "image/png"]
    address = template.format(tileMatrix=z, tileRow=tile.y, tileCol=tile.x)
    pixels = np.asarray(Image.open(io.BytesIO(get(address).content)).convert("RGBA"))
    assert pixels.shape == (matrix_set.tileMatrices[z].tileHeight,) * 2 + (4,) and (pixels[..., 3] == 255).any()
    render = style or "true-colour"
    same = get(f"/mosaics/inline/tiles/{name}/{z}/{tile.x}/{tile.y}.png?collections={L2A}&render={render}")
    assert same.content == get(address).content


def test_what_there_is_no_tile_set_of_is_told(local):
    for path, word in (
        ("/collections/nothing/map/tiles", "nothing"),
        (f"/collections/{L2A}/styles/x-ray/map/tiles", "there are: true-colour"),
        (f"/collections/{L2A}/map/tiles/Q", "there are: WebMercatorQuad"),
    ):
        answer = local.get(path)
        assert answer.status_code == 404 and word in answer.json()["detail"]


def test_the_landing_page_leads_to_the_tile_matrix_sets(get):
    [address] = linked(get("/").json(), f"{REL}/tiling-schemes")
    assert [one["id"] for one in get(address).json()["tileMatrixSets"]] == list(matrices.served())
