"""What `mosaics` prints, and what it removes."""

import time

import orjson
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from api.app import create_app
from catalog import mosaics
from catalog.store import Catalog
from kartotek.cli import cli
from kartotek.settings import Settings


@pytest.fixture
def kartotek(new_database, make_collection, tmp_path):
    """Gives what a command printed; `client` is a server on the same database."""
    place = new_database()
    catalog = Catalog(place)
    catalog.ready()
    catalog.put_collection(make_collection(renders={"grey": {"assets": ["B04"], "rescale": [[0, 1]]}}))

    def run(*words):
        return CliRunner().invoke(cli, ["mosaics", *words], env={"KARTOTEK_DATABASE": place})

    run.settings = Settings(database=place, storage=str(tmp_path), url="http://catalog.test")
    with TestClient(create_app(run.settings, catalog), base_url="http://catalog.test") as run.client:
        [collection] = run.client.get("/collections").json()["collections"]
        run.collection = collection["id"]
        yield run
    catalog.close()


def register(kartotek, **definition):
    answer = kartotek.client.post("/mosaics", json={"collections": [kartotek.collection], **definition})
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["id"]


def test_mosaics_are_listed_and_removed(kartotek):
    assert kartotek().output == ""
    first, other = register(kartotek, order="oldest", datetime="2024-06-01/2024-06-30"), register(kartotek, ids=["a"])
    lines = dict(line.split("  ", 1) for line in kartotek().output.splitlines())
    assert lines.keys() == {first, other}
    assert lines[first].startswith(f"oldest of {kartotek.collection}; datetime 2024-06-01") and "ids" in lines[other]
    [told] = map(orjson.loads, kartotek("--json", first).output.splitlines())
    assert (told["id"], told["order"], told["collections"]) == (first, "oldest", [kartotek.collection])
    assert kartotek("--remove", first).output == "1 mosaics removed\n"
    assert [orjson.loads(line)["id"] for line in kartotek("--json").output.splitlines()] == [other]
    assert register(kartotek, order="oldest", datetime="2024-06-01/2024-06-30") == first
    assert orjson.loads(kartotek("--remove", "--all", "--json").output) == {"removed": 2}
    assert kartotek().output == ""


def test_servers_forget_a_mosaic_that_is_removed(kartotek, monkeypatch):
    monkeypatch.setattr(mosaics, "_FRESH", 0.1)
    catalog = Catalog(kartotek.settings.database)
    with TestClient(create_app(kartotek.settings, catalog)) as other:
        name = register(kartotek)
        assert other.get(f"/mosaics/{name}").status_code == 200
        assert kartotek("--remove", name).exit_code == 0
        time.sleep(0.2)
        assert other.get(f"/mosaics/{name}").status_code == 404
    catalog.close()


@pytest.mark.parametrize(
    ("words", "reason"),
    [(["--remove"], "takes ids, or --all"), (["--all"], "goes with --remove"), (["nothing"], "no mosaic nothing")],
)
def test_what_makes_no_sense_is_told_in_a_line(kartotek, words, reason):
    name = register(kartotek)
    answer = kartotek(*words)
    assert answer.exit_code != 0 and reason in answer.output and name in kartotek().output
    assert kartotek("--remove", "--all", name).exit_code == 2
