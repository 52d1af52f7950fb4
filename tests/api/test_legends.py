import io

import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.app import create_app
from catalog.access import PUBLIC
from kartotek.indices import INDICES
from pixels import colors

PATH = "/collections/sentinel-2-l2a/legend"


@pytest.fixture(scope="module")
def local(demo):
    return TestClient(create_app(demo.settings, demo.catalog, demo.storage))


def test_a_legend_of_an_index_tells_its_range_and_colours(local):
    told = local.get(f"{PATH}.json?index=ndvi").json()
    kind = INDICES["ndvi"]
    assert (told["low"], told["high"], told["colors"]) == (kind.low, kind.high, kind.colors)
    assert "NDVI" in told["title"] and kind.title in told["title"]
    first = "#" + bytes(colors.color_map(kind.colors)[0, :3]).hex()
    assert told["entries"][0] == {"value": kind.low, "label": told["entries"][0]["label"], "color": first}


def test_a_legend_of_classes_names_each(local, demo):
    collection = orjson.loads(demo.catalog.collection(PUBLIC, "sentinel-2-l2a"))
    classes = collection["item_assets"]["SCL"]["classification:classes"]
    told = local.get(f"{PATH}.json?assets=SCL").json()["entries"]
    wanted = {one["value"]: f"#{one['color_hint'].lower()}" for one in classes if not one.get("nodata")}
    assert {one["value"]: one["color"] for one in told} == wanted


def test_limits_and_colours_are_those_that_are_asked_for(local):
    told = local.get(f"{PATH}.json?expression=nir/red&rescale=0,10&colormap_name=Viridis").json()
    assert (told["low"], told["high"], told["colors"], told["title"]) == (0, 10, "viridis", "nir / red")
    assert local.get(f"{PATH}.json?assets=B08").json()["colors"] == "gray"


def test_gamma_moves_the_colours_as_it_does_in_tiles(local):
    plain, light = (local.get(f"{PATH}.json?assets=B08&rescale=0,1{more}").json() for more in ("", "&gamma=2"))
    greys = [int(entry["color"][1:3], 16) for entry in light["entries"]]
    assert np.allclose(greys, 255 * (np.arange(9) / 8) ** 0.5, atol=1) and light["gamma"] == 2
    assert [entry["value"] for entry in plain["entries"]] == [entry["value"] for entry in light["entries"]]
    pictures = [local.get(f"{PATH}.png?assets=B08&rescale=0,1{more}").content for more in ("", "&gamma=2")]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("query", ["index=ndvi", "assets=SCL", "assets=B04", "index=ndmi&scale=2"])
def test_a_legend_is_a_picture(local, query):
    answer = local.get(f"{PATH}.png?{query}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(answer.content))
    assert len(picture.convert("RGB").getcolors(1 << 20)) > 5
    again = local.get(f"{PATH}.png?{query}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{PATH}.png", 400),  # true colour
        (f"{PATH}.gif?index=ndvi", 404),
        (f"{PATH}.png?index=nope", 400),
        (f"{PATH}.png?index=ndvi&scale=3", 400),
        ("/collections/nope/legend.png?index=ndvi", 404),
    ],
)
def test_what_has_no_legend_is_told(local, path, status):
    answer = local.get(path)
    assert answer.status_code == status and answer.json()["detail"]
