"""A sensor of a package of its own, with nothing of ours changed: installed, converted, searched, shown and counted."""

import importlib.util
import io
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import rasterio
from PIL import Image
from rasterio.windows import Window

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "examples" / "outside-sensor"
MAIN = "from kartotek.cli import main; main()"
CORNER = 630_000, 6_660_000
"""Of the sample's first pixel."""


@pytest.fixture(scope="module")
def sample():
    """The module that makes the sample product."""
    spec = importlib.util.spec_from_file_location("norrsken_sample", PACKAGE / "sample.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of processes that have the package."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", folder, PACKAGE], check=True, capture_output=True, text=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])}


@pytest.fixture(scope="module")
def kartotek(environment, tmp_path_factory):
    """Gives what a command prints, run beside a catalog of its own."""
    work = tmp_path_factory.mktemp("work")

    def run(*words, status=0, **more):
        command = [sys.executable, "-c", MAIN, *map(str, words)]
        done = subprocess.run(command, cwd=work, env=environment | more, capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    run.folder = work
    return run


@pytest.fixture(scope="module")
def item(kartotek, sample):
    """The sample product's item, as `search` prints it."""
    told = kartotek("convert", "--json", sample.write(kartotek.folder))
    assert json.loads(told)["collection"] == "norrsken-1"
    [found] = kartotek("search", "--collections", "norrsken-1", "--bbox", "17.2,59.9,17.6,60.1", "--json").splitlines()
    assert kartotek("search", "--bbox", "12,56,13,57") == ""
    return json.loads(found)


@pytest.fixture(scope="module")
def server(kartotek, environment, item):
    """The root of `kartotek serve`."""
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "serve", "--port", "0"],
        cwd=kartotek.folder, env=environment, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process.stdout.readline().split()[1].rstrip("/")
        process.terminate()


def fetched(address):
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


def test_the_sensor_is_a_file_of_under_60_lines():
    assert len((PACKAGE / "norrsken.py").read_text().splitlines()) < 60


def test_it_is_listed_with_its_collection_and_layers(kartotek):
    told = json.loads(kartotek("sensors", "--json"))
    assert [sensor["name"] for sensor in told["sensors"]] == ["sentinel-2", "norrsken"] and told["unloaded"] == []
    [kind] = told["sensors"][1]["collections"]
    assert (kind["id"], kind["mask"], kind["renders"]) == ("norrsken-1", "QA", ["infrared", "heat"])
    layers = {layer["name"]: layer for layer in kind["layers"]}
    assert list(layers) == ["VIOLET", "YELLOW", "RED", "NIR", "HEAT", "QA"]
    assert (layers["HEAT"]["nodata"], layers["HEAT"]["unit"], layers["QA"]["kind"]) == ("nan", "K", "classes")
    text = kartotek("sensors")
    assert "norrsken-1: Norrsken-1" in text and "classes, mask" in text and "sentinel-2-l2a" in text


def test_its_item_says_what_the_sensor_says(item):
    assert item["id"] == "NORRSKEN1_20240601T101500" and item["properties"]["datetime"] == "2024-06-01T10:15:00Z"
    assert item["properties"]["proj:code"] == "EPSG:3006"
    [heat] = item["assets"]["HEAT"]["bands"]
    assert (heat["data_type"], heat["nodata"], heat["unit"]) == ("float32", "nan", "K")
    assert item["assets"]["NIR"]["eo:bands"][0]["common_name"] == "nir"
    codes = [value["value"] for value in item["assets"]["QA"]["classification:classes"]]
    assert codes == [10, 20, 700]


def test_its_pixels_are_those_that_were_delivered(kartotek, item, sample):
    for name, pixels in sample.layers().items():
        [path] = kartotek.folder.glob(f"kartotek-store/norrsken-1/*/{name}.*.tif")
        with rasterio.open(path) as file:
            column, right = divmod(CORNER[0] - file.transform.c, 30)
            row, down = divmod(file.transform.f - CORNER[1], 30)
            assert right == down == 0
            found = file.read(1, window=Window(column, row, 400, 400))
            assert np.array_equal(found, pixels, equal_nan=name != "QA")


def test_its_squares_count_its_classes_and_the_ndvi_of_what_is_clear(kartotek, item, sample):
    [path] = kartotek.folder.glob("kartotek-store/norrsken-1/*/squares.*.parquet")
    found = {(row["east"], row["north"]): row for row in pyarrow.parquet.read_table(path).to_pylist()}
    pixels = {name: band.astype(np.float64) for name, band in sample.layers().items()}
    y, x = np.mgrid[0:400, 0:400]
    east, north = (CORNER[0] + 30 * x + 15) // 5000 * 5000, (CORNER[1] - 30 * y - 15) // 5000 * 5000
    valid = pixels["QA"] != 65_535
    assert set(found) == set(zip(east[valid].tolist(), north[valid].tolist(), strict=True))
    ndvi = (pixels["NIR"] - pixels["RED"]) / (pixels["NIR"] + pixels["RED"])
    for place, square in found.items():
        here = valid & (east == place[0]) & (north == place[1])
        clear = here & np.isin(pixels["QA"], (10, 20))
        codes, counts = np.unique(pixels["QA"][here], return_counts=True)
        assert dict(square["classes"]) == dict(zip(codes.astype(int).tolist(), counts.tolist(), strict=True))
        assert (square["valid"], square["clear"]) == (here.sum(), clear.sum())
        assert square["ndvi"]["count"] == clear.sum()
        if clear.any():
            assert square["ndvi"]["mean"] == pytest.approx(ndvi[clear].mean())
        assert square["ndwi"] is None  # there is no green


def test_its_tiles_show_its_first_render(server, item):
    """NIR, red and yellow as red, green and blue, from 0 to 0.5; transparent where there is no data."""
    answer = fetched(f"{server}/tiles/norrsken-1/{item['id']}/SWEREF99TM10/5/15/29.png")
    picture = np.asarray(Image.open(io.BytesIO(answer))).astype(int)
    # 80 m pixels; the tile's corner is (614 400, 6 676 480).
    column, row = ((630_000 + 200 * 30) - 614_400) // 80, (6_676_480 - (6_660_000 - 200 * 30)) // 80
    assert picture[row, column].tolist() == [5, 10, 15, 255]  # the lake
    assert picture[row - 40, column, 0] > 190 and picture[row - 40, column, 3] == 255  # a field
    assert picture[row + 60, column + 60].tolist() == [255, 255, 255, 255]  # the cloud
    assert picture[0, 0].tolist() == [0, 0, 0, 0]


def test_its_items_are_found_over_http(server, item):
    found = json.loads(fetched(f"{server}/search?collections=norrsken-1&bbox=17.2,59.9,17.6,60.1"))
    assert [feature["id"] for feature in found["features"]] == [item["id"]]
    kind = json.loads(fetched(f"{server}/collections/norrsken-1"))
    assert list(kind["renders"]) == ["infrared", "heat"]
    assert fetched(found["features"][0]["assets"]["thumbnail"]["href"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_such", "ModuleNotFoundError: No module named 'nothing_such'"),
        ("SENSOR = 1", "broken:SENSOR is no sensor"),
        ("from converters.sensors.sentinel2 import Sentinel2 as SENSOR", "is no sensor"),
        ("from converters.sensors.sentinel2 import SENTINEL2 as SENSOR", "another sensor called sentinel-2"),
        (
            "from converters.sensors.sentinel2 import Sentinel2\nSENSOR = Sentinel2()\nSENSOR.name = 'mine'",
            "the collection sentinel-2-l1c is there already",
        ),
        (
            "from kartotek.product import *\nLayerType(name='QA', kind=Kind.CLASSES, resolution=10, title='', "
            "data_type='uint8', nodata=0)",
            "ValueError: layer 'QA': it is of classes, and has no list of them",
        ),
    ],
)
def test_a_sensor_that_can_not_be_loaded_is_named_and_the_others_serve(kartotek, environment, tmp_path, code, reason):
    (tmp_path / "broken.py").write_text(code)
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (tmp_path / "broken-1.0.dist-info/entry_points.txt").write_text("[kartotek.sensors]\nbroken = broken:SENSOR\n")
    path = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    told = json.loads(kartotek("sensors", "--json", status=1, PYTHONPATH=path))
    assert [(one["name"], reason in one["reason"]) for one in told["unloaded"]] == [("broken", True)]
    assert {"norrsken", "sentinel-2"} == {one["name"] for one in told["sensors"]}
    if code == "SENSOR = 1":
        said = kartotek("sensors", status=1, PYTHONPATH=path)
        assert f"Error: broken (broken:SENSOR) can't be loaded: ValueError: {reason}" in said
        assert "norrsken-1: Norrsken-1" in said and "sentinel-2-l2a" in said
