"""OpenLayers, in Chromium and on a page that is not ours: its canvas shows the tiles' pixels at their places."""

import base64
import functools
import http.server
import io
import json
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
PACKAGES = HERE.parents[1] / "api/viewer/node_modules"
LAYER = "sentinel-2-l2a:true-colour"
MERCATOR = 20_037_508.342789244
WIDTH, HEIGHT = 600, 400
EDGE = (660_480, 6_651_840)
"""Easting and northing where maps begin, left and top: there pixels of both sets in EPSG:3006 have a corner."""
SETS = {
    # CRS, the grid as who knows the set writes it, (metres a pixel, overview, most that a colour may be apart)
    "SWEREF99TM10": (
        "EPSG:3006",
        {"origin": [0, 7_864_320], "resolutions": [2560 / 2**z for z in range(9)], "tileSize": 512},
        [(10, 0, 0), (20, 1, 0)],
    ),
    "SWEREF99TM": (
        "EPSG:3006",
        {"origin": [-1_200_000, 8_500_000], "resolutions": [4096 / 2**z for z in range(14)], "tileSize": 256},
        [(16, 0, 1)],
    ),
    "WebMercatorQuad": ("EPSG:3857", None, [(2 * MERCATOR / 256 / 2**13, 0, 1)]),
}


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The page, from a server of its own: what it is not allowed to read it can't show."""
    scripts = [PACKAGES / "ol/dist/ol.js", PACKAGES / "proj4/dist/proj4.js"]
    if missing := [path.name for path in scripts if not path.is_file()]:
        pytest.skip(f"no {', '.join(missing)} here, which come with the page's bundle: run python hatch_build.py")
    folder = tmp_path_factory.mktemp("openlayers")
    for path in (*scripts, HERE / "openlayers.html", HERE / "openlayers.js"):
        (folder / path.name).symlink_to(path)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        browser.get_log("browser")
        browser.get(f"http://127.0.0.1:{serving.server_port}/openlayers.html")
        yield browser
        serving.shutdown()


@pytest.fixture(scope="module")
def server(demo, serving):
    """The root URL, for what is the same whatever the database."""
    with serving(demo.settings) as started:
        yield started.root


@pytest.fixture
def draw(page):
    """Gives the canvas, RGBA, of a map of a layer; nothing is said on the console meanwhile."""

    def shown(kind, asked, projection, bounds, resolution):
        center = [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2]
        said = {"kind": kind, "asked": asked, "projection": projection, "center": center, "resolution": resolution}
        found = page.execute_async_script(
            "const done = arguments[1]; draw(arguments[0]).then(done, (error) => done(`failed: ${error.stack}`))",
            said | {"width": WIDTH, "height": HEIGHT},
        )
        assert found.startswith("data:image/png;base64,"), found
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(found.partition(",")[2]))).convert("RGBA"))

    yield shown
    assert [entry["message"] for entry in page.get_log("browser")] == []


def place(tms, metres):
    """Left, bottom, right, top of a map whose pixels are those of a level, at the edge of the scenes."""
    left, top = EDGE
    if tms == "WebMercatorQuad":  # the same edge, on the next corner of pixels
        left, top = (round((part + MERCATOR) / metres) * metres - MERCATOR for part in (1_989_876, 8_393_626))
    return (left, top - HEIGHT * metres, left + WIDTH * metres, top)


@pytest.mark.parametrize("tms", SETS)
def test_wmts_is_shown_as_rasterio_reads_the_files(draw, server, scenes, rendered, alike, tms):
    """By KVP and REST, newest on top and of one date; pixel for pixel where the set is that of the files."""
    crs, _, levels = SETS[tms]
    summer = [item for item in scenes if item["properties"]["datetime"].startswith("2022-07-15")]
    assert len(summer) == 2
    asked = {"capabilities": f"{server}/wmts?SERVICE=WMTS&REQUEST=GetCapabilities", "layer": LAYER, "matrixSet": tms}
    for metres, level, most in levels:
        bounds = place(tms, metres)
        seen = []
        for time, items in ((None, scenes), ("2022-07-15", summer)):
            picture = draw("wmts", asked | {"encoding": "KVP", "time": time}, crs, bounds, metres)
            there, near = alike(picture, rendered(items, crs, bounds, WIDTH, HEIGHT, level), most)
            assert (there, near) == (1, 1) if most == 0 else min(there, near) > 0.999
            seen.append(picture)
        assert not np.array_equal(*seen)
        by_rest = draw("wmts", asked | {"encoding": "REST", "time": "2022-07-15"}, crs, bounds, metres)
        assert np.array_equal(by_rest, seen[1])


def test_a_registered_mosaic_is_shown_by_wmts(draw, server, scenes, rendered, alike):
    named = {"collections": ["sentinel-2-l2a"], "order": "oldest", "bbox": [17.5, 59.5, 18.5, 60.5]}
    request = urllib.request.Request(
        f"{server}/mosaics", json.dumps(named).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        layer = f"mosaic:{json.load(answer)['id']}"
    bounds = place("SWEREF99TM10", 10)
    asked = {"capabilities": f"{server}/wmts/1.0.0/WMTSCapabilities.xml", "layer": layer, "matrixSet": "SWEREF99TM10"}
    picture = draw("wmts", asked | {"encoding": "KVP"}, "EPSG:3006", bounds, 10)
    assert alike(picture, rendered(scenes[::-1], "EPSG:3006", bounds, WIDTH, HEIGHT)) == (1, 1)


@pytest.mark.parametrize("tms", SETS)
def test_tiles_of_an_item_are_shown_as_rasterio_reads_its_files(draw, server, scenes, rendered, alike, tms):
    """In a zone that is copied and in one that was warped when it was converted."""
    crs, grid, levels = SETS[tms]
    for granule in ("33VXG", "34VCM"):
        item = next(item for item in scenes if item["properties"]["grid:code"] == f"MGRS-{granule}")
        url = f"{server}/tiles/{item['collection']}/{item['id']}/{tms}/{{z}}/{{x}}/{{y}}.png"
        for metres, level, most in levels:
            bounds = place(tms, metres)
            picture = draw("xyz", {"url": url, "projection": crs, "grid": grid}, crs, bounds, metres)
            there, near = alike(picture, rendered([item], crs, bounds, WIDTH, HEIGHT, level), most)
            assert (there, near) == (1, 1) if most == 0 else min(there, near) > 0.999
