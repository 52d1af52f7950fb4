import os
import subprocess
import sys
import textwrap

import orjson
import pytest
import shapely

from catalog.access import PUBLIC
from catalog.search import Search

WALK = """
import sys, warnings
warnings.simplefilter("error")
from pystac_client import Client
client = Client.open(sys.argv[1])
assert client.id == "kartotek" and client.conforms_to("ITEM_SEARCH") and client.conforms_to("COLLECTIONS")
assert [one.id for one in client.get_collections()] == ["sentinel-2-l1c", "sentinel-2-l2a"]
whole = [item.id for item in client.search(limit=100).items()]
assert len(whole) == len(set(whole)) == 12
for method in ("GET", "POST"):
    search = client.search(method=method, limit=3)
    pages = list(search.pages())
    assert [len(page) for page in pages] == [3, 3, 3, 3], [len(page) for page in pages]
    assert [item.id for page in pages for item in page] == whole
    near = client.search(method=method, bbox=[17.8, 59.9, 18.1, 60.1], datetime="2022-01-01/2022-12-31", limit=2)
    assert len(list(near.items())) == 3
    some = client.search(method=method, collections=["sentinel-2-l2a"], max_items=5, limit=2)
    assert len(list(some.items())) == 5
    around = {"type": "Point", "coordinates": [17.95, 59.93]}
    assert list(client.search(method=method, intersects=around).items())
    assert [item.id for item in client.search(method=method, ids=whole[:2]).items()] == whole[:2]
collection = client.get_collection("sentinel-2-l2a")
assert len(list(collection.get_items())) == 11
item = collection.get_item(whole[0])
assert item.get_self_href().startswith(sys.argv[1]) and item.get_collection().id == "sentinel-2-l2a"
item = next(client.search(limit=1).items())
assert item.get_root().id == "kartotek" and item.get_parent().id == "sentinel-2-l2a"
try:
    client.get_collection("no-such")
except Exception as error:
    assert "404" in str(error) or "NotFound" in type(error).__name__ or "no collection" in str(error), repr(error)
print("walked")
"""

LOAD = """
import json, sys
import numpy as np, rasterio
import odc.stac
from pystac_client import Client
root, store, *granules = sys.argv[1:]
found = {item.properties["grid:code"].removeprefix("MGRS-"): item
         for item in Client.open(root).search(collections=["sentinel-2-l2a"], limit=100).items()}

def window(item, asset, box, level):
    "The same place of the file on disk, and the whole of the file."
    more = {"OVERVIEW_LEVEL": level - 1} if level else {}
    with rasterio.open(store + item.assets[asset].href.removeprefix(root + "/files"), **more) as file:
        metres = 10 * 2**level
        assert (box.crs.epsg, box.resolution.x, box.affine.c % metres, box.affine.f % metres) == (3006, metres, 0, 0)
        place = ((box.affine.c - file.transform.c) / metres, (file.transform.f - box.affine.f) / metres)
        assert place[0].is_integer() and place[1].is_integer()
        part = rasterio.windows.Window(*place, box.shape.x, box.shape.y)
        return file.read(1, window=part, boundless=True, fill_value=0), file.read(1)

for granule in granules:
    item = found[granule]
    bands, equal = {"red": "B04", "nir": "B08"}, []
    for level in (0, 1):
        loaded = odc.stac.load([item], bands=list(bands), crs="EPSG:3006", resolution=10 * 2**level)
        for name, asset in bands.items():
            [pixels], (wanted, whole) = loaded[name].values, window(item, asset, loaded.odc.geobox, level)
            assert pixels.dtype == "uint16" and loaded[name].nodata == 0
            assert (pixels > 0).sum() == (whole > 0).sum() > 50_000  # nothing of the file is left out
            equal.append(float((pixels == wanted).mean()))
    print(json.dumps([granule, equal]))
"""
GRANULES = ("33VXG", "34VCM", "32VPK", "35WLP", "33VUC")


def script(text, *given, strict=False):
    """Runs a script as a user would, with GDAL as anyone has it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GDAL_")}
    command = [sys.executable, *(["-W", "error"] if strict else []), "-c", textwrap.dedent(text), *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=plain)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pystac_client_opens_searches_and_walks_without_a_warning(server):
    assert script(WALK, server) == "walked\n"


STACK = """
import json, sys
import numpy as np, orjson, pystac_client, rasterio, stackstac
items = list(pystac_client.Client.open(sys.argv[1]).search(collections=["sentinel-2-l2a"], ids=sys.argv[3:]).items())
stack = stackstac.stack(items, assets=["B04"], epsg=3006, resolution=10, dtype="uint16", fill_value=np.uint16(0),
                        rescale=False, xy_coords="topleft")
said = {}
for image in stack:
    with rasterio.open(next(item for item in items if item.id == image.id).assets["B04"].href) as file:
        left, top = float(image.x[0]), float(image.y[0])
        place = round((left - file.transform.c) / 10), round((file.transform.f - top) / 10)
        part = rasterio.windows.Window(*place, image.shape[2], image.shape[1])
        wanted = file.read(1, window=part, boundless=True, fill_value=0)
        said[str(image.id.values)] = [float((image.values[0] == wanted).mean()), int((wanted > 0).sum())]
print(json.dumps(said))
"""


def test_stackstac_stacks_dates_of_two_zones_without_resampling(server, published):
    """Told the CRS, since it looks for proj:epsg, which version 2 of the projection extension forbids."""
    pytest.importorskip("stackstac")
    asked = Search(collections=("sentinel-2-l2a",), area=shapely.box(17.9, 59.8, 18.1, 60.0), limit=100)
    found = [orjson.loads(content) for content in published.catalog.search(PUBLIC, asked).items]
    ids = [item["id"] for item in found if "_T33VXG_" in item["id"]][:2]
    ids += [item["id"] for item in found if "_T34VCM_" in item["id"]][:1]
    said = orjson.loads(script(STACK, server, published.local.root, *ids))
    assert set(said) == set(ids) and len(ids) == 3
    assert all(equal == 1.0 and pixels > 50_000 for equal, pixels in said.values()), said


@pytest.fixture(scope="module")
def loaded(server, published):
    """Granule → shares of equal pixels: red and near infrared at 10 m, and at 20 m."""
    said = script(LOAD, server, published.local.root, *GRANULES)
    return dict(orjson.loads(line) for line in said.splitlines())


@pytest.mark.parametrize("granule", GRANULES)
def test_odc_stac_loads_the_very_pixels_of_the_files(loaded, granule):
    """By the names red and nir, over HTTP, of every zone: what odc-stac gives is the file's window, bit for bit."""
    assert loaded[granule] == [1.0] * 4


def test_odc_stac_plans_by_the_items_alone(client):
    """It opens no file to know grid, type and nodata, if the items say them."""
    [item] = client.get("/search?limit=1").json()["features"]
    assert item["properties"]["proj:code"] == "EPSG:3006"
    for asset in item["assets"].values():
        if asset["type"].startswith("image/tiff"):
            assert {"proj:code", "proj:shape", "proj:transform"} <= set(asset)
            assert all({"data_type", "nodata"} <= set(band) for band in asset["bands"])
    names = {band.get("common_name") for asset in item["assets"].values() for band in asset.get("eo:bands", [])}
    assert {"red", "green", "blue", "nir", "swir16"} <= names


def test_links_of_the_running_server_all_answer(server):
    import urllib.request

    with urllib.request.urlopen(f"{server}/search?limit=1", timeout=10) as answer:
        [item] = orjson.loads(answer.read())["features"]
    hrefs = [link["href"] for link in item["links"] if link["rel"] != "license"]
    hrefs += [asset["href"] for asset in item["assets"].values()]
    assert len(hrefs) > 15
    for href in hrefs:
        assert href.startswith(f"{server}/")
        with urllib.request.urlopen(href, timeout=10) as answer:
            assert answer.status == 200
