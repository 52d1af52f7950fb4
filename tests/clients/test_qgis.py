"""QGIS, the one of the system: tiles, COGs and items in it are those that rasterio and the catalog give."""

import json
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import orjson
import pyproj
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.windows import Window

from catalog.access import PUBLIC
from catalog.search import Search

PYTHON = "/usr/bin/python3"
MERCATOR = 20_037_508.342789244
JSON = "application/json"
LAYER = "sentinel-2-l2a:true-colour"
NINE = [(right, down) for right in (-1, 0, 1) for down in (-1, 0, 1)]
EDGE = (660_480, 6_651_840)
"""Easting and northing where maps begin, left and top: there pixels of both sets in EPSG:3006 have a corner."""
pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def qgis(tmp_path_factory):
    """Asks QGIS, and gives (what it answers, the picture that it made or None) for each question."""
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True).returncode:
        pytest.skip("no QGIS here (Debian: apt install python3-qgis): nothing is tested with it")

    def ask(*questions):
        folder = tmp_path_factory.mktemp("qgis")
        command = [PYTHON, Path(__file__).with_name("qgis_session.py"), folder]
        home = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "NO_PROXY": "127.0.0.1", "XDG_RUNTIME_DIR": str(folder)}
        done = subprocess.run(
            command, input=json.dumps(questions), capture_output=True, text=True, timeout=240, env=home
        )
        assert done.returncode == 0, done.stdout + done.stderr
        pictures = [folder / f"{number}.png" for number in range(len(questions))]
        return [
            (answer, np.asarray(Image.open(path).convert("RGBA")) if path.exists() else None)
            for answer, path in zip(json.loads((folder / "answers.json").read_text()), pictures, strict=True)
        ]

    return ask


@pytest.fixture(scope="module")
def demo_server(demo, serving):
    """The root URL of a server, for what is the same whatever the database."""
    with serving(demo.settings) as started:
        yield started.root


@pytest.fixture(scope="module")
def every(published):
    """All Level-2A items, the newest first."""
    asked = Search(collections=("sentinel-2-l2a",), limit=100)
    return [orjson.loads(content) for content in published.catalog.search(PUBLIC, asked).items]


@pytest.fixture(scope="module")
def items(every):
    """Granule → its newest item."""
    return {item["properties"]["grid:code"].removeprefix("MGRS-"): item for item in reversed(every)}


def local(published, item, name):
    """The file of an asset in the folder that has the same files."""
    return published.local.root / item["assets"][name]["href"].removeprefix("storage:///")


def test_a_cog_over_http_is_drawn_as_rasterio_reads_it(qgis, server, published, items):
    """Pixel for pixel, in the zone that is copied and in one that was warped."""
    questions, wanted = [], []
    for granule in ("33VXG", "34VCM"):
        item = items[granule]
        with rasterio.open(local(published, item, "B04")) as file:
            row, column = np.argwhere(file.read(1) > 0).mean(axis=0).astype(int)
            window = Window(column - 150, row - 100, 300, 200)
            pixels, bounds = file.read(1, window=window).astype(float), file.window_bounds(window)
            # QGIS shows physical values, by the scale and offset that stand in the file.
            physical = pixels * file.scales[0] + file.offsets[0]
            wanted.append((np.clip(physical / 0.2 * 255, 0, 255), pixels, file.width, file.height))
        href = f"{server}/files/{item['assets']['B04']['href'].removeprefix('storage:///')}"
        questions.append({"kind": "cog", "url": href, "crs": "EPSG:3006", "bounds": bounds, "size": [300, 200],
                          "low": 0, "high": 0.2})  # fmt: skip
    for (answer, picture), (grey, pixels, width, height) in zip(qgis(*questions), wanted, strict=True):
        assert answer == {"crs": "EPSG:3006", "width": width, "height": height}
        there = pixels > 0
        assert there.any() and grey[there].std() > 5
        assert np.array_equal(picture[..., 3] == 255, there)
        for band in range(3):
            assert np.abs(picture[there][:, band] - grey[there]).max() < 1 + 1e-6  # it cuts off


def test_xyz_tiles_are_drawn_as_gdal_warps_the_bands(qgis, server, items, rendered, alike):
    item, z = items["33VXG"], 14
    west, south, _, north = item["bbox"]
    x, y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(west, (south + north) / 2)
    side = 2 * MERCATOR / 2**z
    # Two tiles by two, at the edge.
    left, top = (x + MERCATOR) // side * side - MERCATOR, MERCATOR - (MERCATOR - y) // side * side
    bounds = [left, top - 2 * side, left + 2 * side, top]
    [(answer, picture)] = qgis(
        {"kind": "xyz", "url": xyz(server, item), "zmax": z, "crs": "EPSG:3857", "bounds": bounds, "size": [512, 512]}
    )
    assert answer == {"crs": "EPSG:3857"}
    there, near = alike(picture, rendered([item], "EPSG:3857", bounds, 512, 512), 1)
    assert there > 0.999 and near > 0.999


def test_xyz_tiles_lie_at_their_places_on_a_map_in_sweref_99_tm(qgis, server, items, rendered):
    """QGIS picks and blends tile pixels for that: what it shows is in between those next to the very place."""
    item, z, metres = items["33VXG"], 14, 5
    left, bottom, right, top = EDGE[0], EDGE[1] - 600 * metres, EDGE[0] + 800 * metres, EDGE[1]
    [(answer, picture)] = qgis(
        {"kind": "xyz", "url": xyz(server, item), "zmax": z, "crs": "EPSG:3006", "bounds": [left, bottom, right, top],
         "size": [800, 600]}
    )  # fmt: skip
    assert answer == {"crs": "EPSG:3857"}
    # The pixels of the tiles, and where among them the middle of each pixel of the map lies.
    east, north = left + (np.arange(800) + 0.5) * metres, top - (np.arange(600) + 0.5) * metres
    x, y = pyproj.Transformer.from_crs(3006, 3857, always_xy=True).transform(*np.meshgrid(east, north))
    side = 2 * MERCATOR / 2**z / 256
    column, row = np.floor((x + MERCATOR) / side).astype(int), np.floor((MERCATOR - y) / side).astype(int)
    first, above = column.min() - 5, row.min() - 5
    column, row, (width, height) = column - first, row - above, (np.ptp(column) + 11, np.ptp(row) + 11)
    corner = (first * side - MERCATOR, MERCATOR - above * side)
    bounds = (corner[0], corner[1] - height * side, corner[0] + width * side, corner[1])
    tiles = rendered([item], "EPSG:3857", bounds, width, height).astype(int)

    def at(right, down):
        """The tile pixel at the place of each of the map's, or so many beside it."""
        return tiles[row + down, column + right]

    def between(right, down):
        """The shares of colours and of alphas that are between those of the nine tile pixels around."""
        around = np.stack([at(right + i, down + j) for i, j in NINE])
        inside = (picture >= around.min(axis=0) - 1) & (picture <= around.max(axis=0) + 1)
        # Colours of what shines through are rounded twice.
        return np.mean(inside[..., :3][solid]), np.mean(inside[..., 3])

    solid = picture[..., 3] == 255
    assert 0.1 < solid.mean() < 0.99
    assert min(between(0, 0)) > 0.999
    # Of a picture that lay elsewhere this would tell, and it is most alike where it should be.
    assert max(min(between(*far)) for far in ((3, 0), (-3, 0), (0, 3), (0, -3))) < 0.97
    assert min(NINE, key=lambda step: np.abs(at(*step)[solid] - picture[solid]).mean()) == (0, 0)


@pytest.mark.parametrize(
    ("tms", "metres", "level", "most"),
    [("SWEREF99TM10", 10, 0, 0), ("SWEREF99TM10", 20, 1, 0), ("SWEREF99TM", 16, 0, 1), ("SWEREF99TM", 8, 0, 1)],
)
def test_wmts_is_drawn_as_rasterio_reads_the_files(
    qgis, demo_server, scenes, rendered, alike, tms, metres, level, most
):
    """Of any time, a date and a period, and a registered mosaic; pixel for pixel where the set is that of the files."""
    named = {"collections": ["sentinel-2-l2a"], "order": "oldest", "bbox": [17.5, 59.5, 18.5, 60.5]}
    request = urllib.request.Request(f"{demo_server}/mosaics", json.dumps(named).encode(), {"Content-Type": JSON})
    with urllib.request.urlopen(request, timeout=60) as answer:
        mosaic = json.load(answer)["id"]
    summer = [item for item in scenes if item["properties"]["datetime"].startswith("2022-07-15")]
    assert len(summer) == 2
    width, height = 600, 400
    bounds = [EDGE[0], EDGE[1] - height * metres, EDGE[0] + width * metres, EDGE[1]]
    layers = [
        ({"layer": LAYER}, scenes),
        ({"layer": LAYER, "time": "2022-07-15"}, summer),
        ({"layer": LAYER, "time": "2022-07-01/2022-07-31"}, summer),
        ({"layer": f"mosaic:{mosaic}"}, scenes[::-1]),
    ]
    asked = {"kind": "wmts", "url": f"{demo_server}/wmts?SERVICE=WMTS&REQUEST=GetCapabilities", "tms": tms}
    asked |= {"crs": "EPSG:3006", "bounds": bounds, "size": [width, height]}
    seen = []
    for (answer, picture), (_, on_top) in zip(qgis(*[asked | layer for layer, _ in layers]), layers, strict=True):
        assert answer["crs"] == "EPSG:3006"
        # Easting first, whatever the document's order: all of the picture is where QGIS says that the layer is.
        [west, south, east, north] = answer["bounds"]
        assert 200_000 < west < bounds[0] and bounds[2] < east < 1_100_000
        assert 6_000_000 < south < bounds[1] and bounds[3] < north < 7_700_000
        there, near = alike(picture, rendered(on_top, "EPSG:3006", bounds, width, height, level), most)
        assert (there, near) == (1, 1) if most == 0 else min(there, near) > 0.999
        seen.append(picture)
    assert not np.array_equal(seen[0], seen[1]) and np.array_equal(seen[1], seen[2])
    assert not np.array_equal(seen[3], seen[0]) and not np.array_equal(seen[3], seen[1])


def xyz(server, item):
    """The address of an item's tiles, with QGIS's braces."""
    return f"{server}/tiles/{item['collection']}/{item['id']}/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"


def test_items_are_features_of_ogc_api_features(qgis, server, every):
    """All of them, page by page, with their footprints."""
    [(answer, _)] = qgis({"kind": "features", "url": server, "collection": "sentinel-2-l2a"})
    assert answer["crs"] in ("EPSG:4326", "OGC:CRS84")
    assert len(answer["features"]) == len(every)
    assert {"datetime", "eo:cloud_cover", "platform"} <= set(answer["fields"])
    shapes = [shapely.from_wkt(feature["wkt"]) for feature in answer["features"]]
    for footprint in (shapely.geometry.shape(item["geometry"]) for item in every):
        assert any(shapely.hausdorff_distance(found, footprint) < 1e-6 for found in shapes)
