"""Four planted bottlenecks, each of which `kartotek status` names, with what helps."""

import os
import subprocess
import sys
import time

import orjson
import pytest
from click.testing import CliRunner
from sqlalchemy import event

from catalog.store import Catalog
from jobs import bulk
from jobs.sources import find
from jobs.task import Setup
from jobs.threads import Threads
from kartotek.cli import cli
from kartotek.storage import FolderStorage, open_storage

ON_ONE_CORE = (
    "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from kartotek.cli import main; main()"
)


@pytest.fixture
def zipped(small_products):
    """A small product of zone 34."""
    [path] = small_products.glob("*T34WET*.zip")
    return path


@pytest.fixture
def on_sqlite(make_database):
    made = Catalog(make_database("sqlite", migrated=True))
    yield made
    made.close()


def convert(catalog, source, storage):
    """One product, by a run of this process."""
    catalog.ledger.add(find([str(source)]))
    [outcome] = bulk.run(catalog.ledger, Threads(catalog, storage, Setup(), 1))
    assert outcome.published, outcome.reason


def status(catalog):
    """What is named, what helps, and the stages."""
    said = CliRunner().invoke(cli, ["status", "--database", catalog.place], catch_exceptions=False).output
    told = orjson.loads(CliRunner().invoke(cli, ["status", "--json", "--database", catalog.place]).output)
    assert f"goes into: {told['bottleneck']}\n" in said and f"what helps: {told['way_out']}\n" in said
    return told["bottleneck"], told["way_out"], told["stages"]


def test_an_archive_that_is_slow_to_read(zipped, on_sqlite, bucket, faulty, tmp_path):
    open_storage(bucket).create(zipped.name, zipped)
    # Four requests: more than what conversion takes where other tests take most of the processor.
    with faulty(lambda method, n, headers: 4.5 if method in ("GET", "HEAD") else None) as seen:
        convert(on_sqlite, f"{bucket}/{zipped.name}", FolderStorage(tmp_path / "store"))
    named, helps, stages = status(on_sqlite)
    assert seen["GET"] >= 1 and named == "reading" and "--workers" in helps, stages


@pytest.mark.full
def test_a_storage_that_is_slow_to_write(zipped, on_sqlite, bucket, faulty):
    with faulty(lambda method, n, headers: 0.4 if method == "PUT" else None) as seen:
        convert(on_sqlite, zipped, open_storage(bucket))
    named, helps, stages = status(on_sqlite)
    assert seen["PUT"] > 10 and named == "storing" and "--workers" in helps, stages


@pytest.mark.full
def test_a_database_that_is_slow_to_commit(zipped, on_sqlite, tmp_path):
    @event.listens_for(on_sqlite._connections.engine, "commit")
    def wait(connection):
        time.sleep(1)

    convert(on_sqlite, zipped, FolderStorage(tmp_path / "store"))
    named, helps, stages = status(on_sqlite)
    assert stages["claim"] >= 1 and stages["publish"] >= 3, "to take its files in hand, publish, and give them back"
    assert named == "database" and "PostGIS" in helps


@pytest.mark.full
def test_one_core(zipped, on_sqlite, tmp_path):
    place = ["--database", on_sqlite.place, "--storage", str(tmp_path / "store")]
    command = [sys.executable, "-c", ON_ONE_CORE, "run", str(zipped), *place]
    subprocess.run(command, check=True, capture_output=True, env=os.environ, timeout=300)
    named, helps, stages = status(on_sqlite)
    assert named == "processor" and "cores" in helps, stages
