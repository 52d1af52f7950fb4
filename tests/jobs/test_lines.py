"""One line of the log for each attempt at a product, from the process that worked at it."""

import io
import json
import logging
import os
import subprocess
import sys

import pytest

from catalog.ledger import Source
from catalog.store import Catalog
from jobs import bulk
from jobs.sources import find
from jobs.task import Setup
from jobs.threads import Threads
from kartotek import logs
from kartotek.errors import StorageError
from kartotek.storage import FolderStorage

MAIN = "from kartotek.cli import main; main()"


@pytest.fixture
def on_sqlite(make_database):
    made = Catalog(make_database("sqlite", migrated=True))
    yield made
    made.close()


@pytest.fixture
def lines(monkeypatch):
    """Gives what `jobs.task` wrote, as JSON."""
    place, logger = io.StringIO(), logging.getLogger("jobs.task")
    handler = logging.StreamHandler(place)
    handler.addFilter(logs.stamp)
    handler.setFormatter(logs.as_json())
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()
    yield lambda: [json.loads(line) for line in place.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.manager._clear_cache()


def run(catalog, storage, setup=Setup(), **stop):  # noqa: B008  frozen
    return list(bulk.run(catalog.ledger, Threads(catalog, storage, setup, 1), stop=bulk.Stop(**stop)))


def test_a_product_that_is_done_and_one_that_is_not(on_sqlite, small_products, lines, tmp_path):
    [path] = small_products.glob("*T34WET*")
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    on_sqlite.ledger.add(find([str(path), str(tmp_path / "bad.zip")]))
    run(on_sqlite, FolderStorage(tmp_path / "store"), Setup(attempts=2, wait=0))
    told = {(one["product"], one["attempt"]): one for one in lines()}
    done, first, second = (
        told[key] for key in ((str(path), 1), (f"{tmp_path}/bad.zip", 1), (f"{tmp_path}/bad.zip", 2))
    )
    assert len(told) == 3 and {one["logger"] for one in told.values()} == {"jobs.task"}
    assert (done["state"], done["item"], done["cause"]) == ("done", f"sentinel-2-l2a/{path.stem}", None)
    assert done["bytes_read"] == path.stat().st_size and done["bytes_written"] > 1_000
    assert set(done["timings"]) >= {"claim", "find", "read", "decode", "other", "check", "store", "publish"}
    assert 0.8 * done["seconds"] < sum(done["timings"].values()) < 1.2 * done["seconds"]
    assert [(one["state"], one["cause"], one["item"]) for one in (first, second)] == [
        ("waiting", "BrokenProduct", None), ("quarantined", "BrokenProduct", None),
    ]  # fmt: skip


class Away(FolderStorage):
    """A storage that can't be written to."""

    def create(self, key, source):
        raise StorageError("no room")


def test_an_attempt_that_an_outage_ends(on_sqlite, small_products, lines, tmp_path):
    [path] = small_products.glob("*T34WET*")
    on_sqlite.ledger.add([Source(place=str(path))])
    with pytest.raises(StorageError):
        run(on_sqlite, Away(tmp_path), Setup(patience=0))
    [told] = lines()
    assert (told["state"], told["cause"]) == ("waiting", "StorageError")


@pytest.mark.parametrize(
    "crew",
    [
        pytest.param([], id="here"),
        pytest.param(["--cluster", "local"], id="on a Dask worker", marks=pytest.mark.full),
    ],
)
def test_a_run_writes_them_on_standard_error(on_sqlite, tmp_path, crew):
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    place = {"KARTOTEK_DATABASE": on_sqlite.place, "KARTOTEK_STORAGE": str(tmp_path / "store")}
    words = ["run", str(tmp_path / "bad.zip"), "--workers", "1", "--attempts", "1", *crew]
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words], env=os.environ | place | {"KARTOTEK_LOG_FORMAT": "json"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    [one] = [line for line in told if line["logger"] == "jobs.task"]
    assert (one["product"], one["state"]) == (str(tmp_path / "bad.zip"), "quarantined"), done.stderr
