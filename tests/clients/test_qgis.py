"""QGIS, the one of the system: tiles, COGs and items in it are those that rasterio and the catalog give."""

import json
import subprocess
from pathlib import Path

import numpy as np
import orjson
import pyproj
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from catalog.access import PUBLIC
from catalog.search import Search

PYTHON = "/usr/bin/python3"
MERCATOR = 20_037_508.342789244
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


def test_xyz_tiles_are_drawn_as_gdal_warps_the_bands(qgis, server, published, items):
    kind = orjson.loads(published.catalog.collection(PUBLIC, "sentinel-2-l2a"))
    shown = kind["renders"]["true-colour"]
    (low, high), item, z = shown["rescale"][0], items["33VXG"], 14
    west, south, east, north = item["bbox"]
    x, y = pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform((west + east) / 2, (south + north) / 2)
    side = 2 * MERCATOR / 2**z
    column, row = int((x + MERCATOR) // side), int((MERCATOR - y) // side)
    # Two tiles by two.
    left, top = -MERCATOR + column * side, MERCATOR - row * side
    bounds = [left, top - 2 * side, left + 2 * side, top]
    url = f"{server}/tiles/{item['collection']}/{item['id']}/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png"
    [(answer, picture)] = qgis(
        {"kind": "xyz", "url": url, "zmax": 14, "crs": "EPSG:3857", "bounds": bounds, "size": [512, 512]}
    )
    assert answer == {"crs": "EPSG:3857"}
    transform = rasterio.transform.from_bounds(*bounds, 512, 512)
    colours = []
    for name in shown["assets"]:
        with (
            rasterio.open(local(published, item, name)) as file,
            WarpedVRT(file, crs="EPSG:3857", transform=transform, width=512, height=512, src_nodata=0,
                      resampling=Resampling.bilinear, tolerance=1e-6, XSCALE="1", YSCALE="1") as warped,
        ):  # fmt: skip
            numbers = warped.read(1).astype(float)
        [band] = item["assets"][name]["bands"]
        physical = numbers * band["raster:scale"] + band["raster:offset"]
        colours.append(np.clip((physical - low) / (high - low) * 255, 0, 255))
        there = numbers > 0
    wanted = np.stack(colours, axis=-1)
    assert np.count_nonzero(there & (picture[..., 3] == 255)) > 0.99 * there.sum() > 0
    both = there & (picture[..., 3] == 255)
    assert wanted[both].std() > 5
    assert np.mean(np.abs(picture[both][:, :3] - wanted[both]) <= 2) > 0.999


def test_items_are_features_of_ogc_api_features(qgis, server, every):
    """All of them, page by page, with their footprints."""
    [(answer, _)] = qgis({"kind": "features", "url": server, "collection": "sentinel-2-l2a"})
    assert answer["crs"] in ("EPSG:4326", "OGC:CRS84")
    assert len(answer["features"]) == len(every)
    assert {"datetime", "eo:cloud_cover", "platform"} <= set(answer["fields"])
    shapes = [shapely.from_wkt(feature["wkt"]) for feature in answer["features"]]
    for footprint in (shapely.geometry.shape(item["geometry"]) for item in every):
        assert any(shapely.hausdorff_distance(found, footprint) < 1e-6 for found in shapes)
