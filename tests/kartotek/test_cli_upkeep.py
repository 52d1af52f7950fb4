"""What `verify`, `sweep`, `rebuild` and `collection` print, and how they end."""

import orjson
import pytest
from click.testing import CliRunner

from catalog.access import OPERATOR
from catalog.search import Search
from catalog.store import Catalog
from kartotek.cli import cli
from kartotek.storage import FolderStorage


@pytest.fixture
def kartotek(new_database, small_products, tmp_path):
    """Gives what a command printed, and its exit status; one product is published by then."""

    def run(*words, database=new_database()):  # noqa: B008  one of the test
        place = {"KARTOTEK_DATABASE": database, "KARTOTEK_STORAGE": str(tmp_path / "store")}
        return CliRunner().invoke(cli, [str(word) for word in words], env=place)

    run.database = run.__kwdefaults__["database"]
    assert run("run", next(small_products.glob("*T33VUE*"))).exit_code == 0
    return run


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "store")


def band(storage):
    return next(key for key in storage.keys() if "/B02." in key)  # noqa: SIM118


def test_verify_says_what_is_damaged_and_has_it_repaired(kartotek, storage):
    fine = kartotek("verify")
    assert fine.exit_code == 0 and fine.output.startswith("1 items, ") and fine.output.endswith(": 0 damaged\n")
    (storage.root / band(storage)).write_bytes(b"rotten")
    found = kartotek("verify")
    assert found.exit_code == 1 and f"{band(storage)}: 6 bytes with another SHA-256" in found.output
    told = [orjson.loads(line) for line in kartotek("verify", "--repair", "--json").output.splitlines()]
    assert told[0]["repaired"] and told[1]["damaged"] == 1
    assert kartotek("run").exit_code == 0 and kartotek("verify").exit_code == 0
    assert kartotek("verify", "--collections", "other").output == "0 items, 0 files, 0 bytes: 0 damaged\n"


def test_sweep_lists_before_it_removes(kartotek, storage):
    key = band(storage)
    left = key.replace("/B02.", "/B99.")
    (storage.root / left).write_bytes(b"left over")
    assert left in kartotek("sweep", "--dry-run").output and storage.size(left)
    told = [orjson.loads(line) for line in kartotek("sweep", "--json").output.splitlines()]
    assert told == [
        {"collection": key.split("/")[0], "item": key.split("/")[1], "keys": [left], "bytes": 9, "busy": False},
        {"items": 1, "files": 1, "bytes": 9, "busy": 0},
    ]
    assert "0 files of 0 items removed" in kartotek("sweep").output and storage.size(key)


def test_rebuild_tells_what_it_entered_and_what_it_could_not(kartotek, storage, new_database):
    other = new_database()
    assert kartotek("rebuild", database=other).output == "1 items entered, 0 can't be\n"
    assert kartotek("rebuild", database=other).output == "0 items entered, 0 can't be\n"
    storage.delete(band(storage))
    broken = kartotek("rebuild", database=new_database())
    assert broken.exit_code == 1 and "/B02." in broken.output and "0 items entered, 1 can't be" in broken.output


def test_a_collection_is_hidden_and_shown(kartotek):
    catalog = Catalog(kartotek.database)
    [(key, _)] = catalog.walk(OPERATOR, Search())
    assert kartotek("collection", key.collection, "--private").output == f"{key.collection} is private\n"
    assert catalog.private() == {key.collection}
    assert kartotek("collection", key.collection, "--public").exit_code == 0 and catalog.private() == set()
    assert kartotek("collection", "nothing", "--private").exit_code == 1
    catalog.close()


@pytest.mark.parametrize("command", ["verify", "sweep", "status", "failures", "retry"])
def test_who_only_looks_makes_no_database(kartotek, command, tmp_path):
    found = kartotek(command, database=f"sqlite:///{tmp_path / 'mistyped.db'}")
    assert found.exit_code == 1 and "no such database" in str(found.exception)
    assert not (tmp_path / "mistyped.db").exists()
