"""The Open Data Cube itself: what it loads and what `kartotek.Datacube` loads of the same items is the same."""

import json
import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.store import Catalog
from converters import samples
from converters.convert import Recipe
from converters.samples import Scene
from jobs.convert import convert_all
from jobs.worker import Limits
from kartotek.settings import Settings
from kartotek.storage import open_storage

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv" / "datacube" / "bin" / "python"
pytestmark = pytest.mark.clients

QUERY = {
    "product": "sentinel_s2_l2a_zips",
    "output_crs": "epsg:3006",
    "lat": (65.590962, 65.638668),
    "lon": (22.043322, 22.175764),
    "resolution": (10, -10),
    "time": ["2019-07-01", "2019-08-01"],
    "measurements": ["B02_10m", "B03_10m", "B04_10m", "B08_10m"],
}
"""A query of the old cube's users, near Lulea, to the letter."""
UPPSALA = QUERY | {"lat": (59.90, 59.92), "lon": (17.93, 18.08), "time": "2022-07"}
"""Where zones 33 and 34 overlap."""


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def scenes():
    """Dates near Lulea: on two granules, at a swath's edge, of another baseline; one near Uppsala, in two zones."""
    lulea = Scene(
        tile="34WET", zone=34, left=547_500, top=7_281_000, pixels=732,
        sensed=utc("2019-07-04T10:00:29.024"), platform="S2B", baseline="02.12", orbit=22,
    )  # fmt: skip
    uppsala = Scene(
        tile="33VXG", zone=33, left=662_340, top=6_649_560, pixels=732,
        sensed=utc("2022-07-15T10:15:59.024"), platform="S2B", baseline="04.00", orbit=65,
    )  # fmt: skip
    return (
        lulea,
        replace(lulea, tile="34WEU", top=7_286_400),
        replace(lulea, sensed=utc("2019-07-14T10:00:29.024"), baseline="02.13"),
        replace(
            lulea, sensed=utc("2019-07-24T10:00:29.024"), swath=((826_000, 7_280_000), (828_000, 7_310_000)),
        ),
        replace(lulea, sensed=utc("2022-07-08T10:00:29.024"), baseline="04.00", overcorrected=0.03),
        uppsala,
        replace(uppsala, tile="34VCM", zone=34, left=326_700),
    )  # fmt: skip


@pytest.fixture(scope="module")
def cube(tmp_path_factory, serving, postgis):
    """Asks the real one, which has the items of a server of ours: gives what it answers, or fails as it does."""
    if not PYTHON.exists():
        pytest.skip("no Open Data Cube here (make datacube): nothing is compared with it")
    folder = tmp_path_factory.mktemp("datacube")
    settings = Settings(database=f"sqlite:///{folder / 'kartotek.db'}", storage=str(folder / "store"))
    catalog = Catalog(settings.database)
    catalog.migrate()
    products = [samples.write(scene, folder / "products") for scene in scenes()]
    done = list(convert_all(products, Recipe(), open_storage(settings.storage), catalog, limits=Limits.of(settings)))
    assert len(done) == len(products)
    catalog.close()
    with serving(settings) as server:
        where = f"{postgis.replace('+psycopg', '')}/postgres"
        subprocess.run(
            ["psql", "-q", "-d", where, "-c", "DROP DATABASE IF EXISTS cube", "-c", "CREATE DATABASE cube"], check=True
        )
        known = {"database": f"{postgis}/cube", "server": server.root}
        plain = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
        session = Path(__file__).with_name("datacube_session.py")

        def ask(do, **question):
            asked = json.dumps(question | known | {"do": do})
            done = subprocess.run(
                [PYTHON, session], input=asked, env=plain, capture_output=True, text=True, timeout=240
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        assert ask("index", name=QUERY["product"]) == {"datasets": len(products)}
        yield ask


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"group_by": "solar_day"},
        {"resolution": (-10, 10)},
        {"time": "2019-07-14"},
        {"time": ["2019", "2022"], "measurements": ["B05_20m", "SCL_20m", "CLD_20m"], "resolution": (20, -20)},
        {"measurements": ["B04_10m", "B11_20m", "SCL_20m", "B01_60m"]},
        {"output_crs": "EPSG:32634"},
    ],
    ids=str,
)
def test_what_is_loaded_is_identical(cube, more):
    """Values, types, order and names of axes, times, coordinates, attributes, and how far it said to be on the way."""
    found = cube("compare", query=QUERY | more)
    rows, columns = more.get("resolution") or QUERY["resolution"]
    assert found["y"][1] - found["y"][0] == rows and found["x"][1] - found["x"][0] == columns
    assert found["valid"] > 0.3 and found["told"] >= 4
    if not more:
        assert found["sizes"] == {"time": 4, "y": 599, "x": 669} and found["types"] == ["uint16"]
        assert found["told"] == 16


@pytest.mark.parametrize("more", [{}, {"group_by": "solar_day"}], ids=str)
def test_zones_33_and_34_are_identical_too(cube, more):
    found = cube("compare", query=UPPSALA | more)
    assert found["told"] == 8 and found["valid"] > 0.5
