import json
import os
import subprocess
import sys

import pytest

from kartotek import gdal

SCRIPT = """
import json, os, sys
{first}
import rasterio
from rasterio.env import Env
with Env() as env:
    found = list(env.drivers())
def opens(path):
    try:
        rasterio.open(path).close()
        return True
    except rasterio.errors.RasterioIOError:
        return False
print(json.dumps({{"drivers": found, "opens": [opens(path) for path in sys.argv[1:]],
                   "python": os.environ.get("GDAL_VRT_ENABLE_PYTHON"),
                   "aside": os.environ.get("GDAL_DISABLE_READDIR_ON_OPEN")}}))
"""


def told(first, *paths, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(first=first), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**{name: value for name, value in os.environ.items() if not name.startswith("GDAL_")}, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of kinds that are none of ours: a JPEG, and a GeoJSON."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("files")
    Image.new("RGB", (10, 10)).save(folder / "x.jpg")
    (folder / "x.asc").write_text("ncols 2\nnrows 2\nxllcorner 0\nyllcorner 0\ncellsize 1\n1 2\n3 4\n")
    Image.new("RGB", (10, 10)).save(folder / "x.gif")
    return [folder / name for name in ("x.jpg", "x.asc", "x.gif")]


def test_any_other_process_has_a_hundred_drivers(files):
    """So that what the next test sees is ours."""
    found = told("", *files)
    assert len(found["drivers"]) > 100 and found["opens"] == [True] * 3


@pytest.mark.parametrize(
    "first",
    ["import converters", "import pixels", "import api.app"],
)
def test_in_a_process_of_ours_only_the_named_drivers_exist(files, first):
    found = told(first, *files)
    assert set(found["drivers"]) <= gdal.DRIVERS and len(found["drivers"]) <= 10
    assert {"GTiff", "JP2OpenJPEG", "VRT"} <= set(found["drivers"])
    assert found["opens"] == [False] * 3
    assert (found["python"], found["aside"]) == ("NO", "EMPTY_DIR")


def test_what_the_user_set_is_kept_but_for_the_drivers(files):
    found = told("import converters", *files, GDAL_DISABLE_READDIR_ON_OPEN="TRUE", GDAL_SKIP="PNG")
    assert found["aside"] == "TRUE"
    assert found["opens"] == [False] * 3 and "PNG" in found["drivers"]


def test_a_file_of_the_catalog_alone_needs_no_gdal():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, catalog.store, kartotek.squares; print('rasterio' in sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "False\n"


def test_keys_of_aws_are_not_looked_at_for_what_needs_none(monkeypatch):
    """boto3 takes 10 ms for that, and rasterio asks it with each call."""
    from rasterio.env import getenv
    from rasterio.session import AWSSession

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(AWSSession, "__init__", None)  # nobody makes one
    with gdal.at_work(GDAL_NUM_THREADS="3"):
        assert getenv()["GDAL_NUM_THREADS"] == "3" and "AWS_ACCESS_KEY_ID" not in getenv()
        with gdal.at_work():
            pass
