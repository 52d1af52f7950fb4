"""A bulk run: all that can be published is, once, whatever ends it and however often."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from catalog.access import PUBLIC
from catalog.ledger import Source, State
from catalog.pace import STAGES
from catalog.search import Search
from catalog.store import Catalog
from converters.convert import Recipe
from jobs import bulk, owner, scratch, task
from jobs.convert import convert_all
from jobs.sources import find
from jobs.task import Setup
from jobs.threads import Threads
from kartotek.errors import StorageError
from kartotek.storage import FolderStorage


@pytest.fixture(scope="session")
def archive(once, small_products):
    """Two small products, of zones 33 and 34, a folder and a zip: for most of what follows four show no more."""

    def fill(folder):
        for pattern in ("*T33VUE*", "*T34WET*"):
            [path] = small_products.glob(pattern)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)

    return once("archive of two", fill)


@pytest.fixture(scope="session")
def undisturbed(archive, tmp_path_factory, make_database):
    """What they become where nothing goes wrong: id → JSON."""
    catalog, storage = (
        Catalog(make_database("sqlite", migrated=True)),
        FolderStorage(tmp_path_factory.mktemp("undisturbed")),
    )
    list(convert_all(sorted(archive.iterdir()), Recipe(), storage, catalog))
    return published(catalog)


def published(catalog):
    """All that a reader sees: id → JSON."""
    found = catalog.search(PUBLIC, Search(limit=100)).items
    return {orjson.loads(content)["id"]: content for content in found}


def run(catalog, storage, setup, *, workers, **stop):
    return bulk.run(catalog.ledger, Threads(catalog, storage, setup, workers), stop=bulk.Stop(**stop))


def standing(catalog):
    return {state: count for state, count in catalog.ledger.counts().items() if count}


def test_all_that_is_found_is_published_with_what_it_took(archive, undisturbed, catalog, tmp_path):
    catalog.ledger.add(find([str(archive)]))
    outcomes = list(run(catalog, FolderStorage(tmp_path / "store"), Setup(), workers=2))
    assert {outcome.state for outcome in outcomes} == {State.DONE} and standing(catalog) == {State.DONE: 2}
    assert published(catalog) == undisturbed
    pace = catalog.ledger.pace()
    assert set(pace.stages) == {stage for stages in STAGES.values() for stage in stages}
    assert all(seconds > 0 for stage, seconds in pace.stages.items() if stage != "other") and pace.bottleneck
    assert pace.bytes_read == sum(path.stat().st_size for path in archive.rglob("*") if path.is_file())
    assert pace.bytes_written == sum(outcome.published.bytes for outcome in outcomes)
    assert list(run(catalog, FolderStorage(tmp_path / "store"), Setup(), workers=2)) == []


def test_what_fails_is_tried_again_and_set_aside_and_the_rest_is_published(archive, catalog, tmp_path):
    shutil.copytree(archive, tmp_path / "archive")
    [broken] = (tmp_path / "archive").glob("*T33VUE*")
    [band] = broken.rglob("*_B04_10m.jp2")
    band.write_bytes(b"")
    (tmp_path / "archive" / "strange.zip").write_bytes(b"no zip")
    catalog.ledger.add(find([str(tmp_path / "archive")]))
    setup = Setup(attempts=2, wait=0)
    outcomes = list(run(catalog, FolderStorage(tmp_path / "store"), setup, workers=2))
    assert standing(catalog) == {State.DONE: 1, State.QUARANTINED: 2} and len(published(catalog)) == 1
    tried = [(outcome.attempt, outcome.state) for outcome in outcomes if outcome.place == str(broken)]
    assert tried == [(1, State.WAITING), (2, State.QUARANTINED)]
    told = {one.place.rpartition("/")[2]: one for one in catalog.ledger.failures()}
    assert "_B04_10m.jp2" in told[broken.name].error and told[broken.name].cause == "BrokenProduct"
    assert "strange.zip: not a whole zip" in told["strange.zip"].error


def test_what_is_hopeless_is_tried_once(catalog, tmp_path):
    (tmp_path / "notes.txt").write_text("no product")
    catalog.ledger.add([Source(place=str(tmp_path / "notes.txt"))])
    [outcome] = run(catalog, FolderStorage(tmp_path / "store"), Setup(attempts=3, wait=0), workers=1)
    assert (outcome.cause, outcome.state) == ("UnknownProduct", State.QUARANTINED)


@pytest.mark.parametrize("stop", [{"after": 1}, {"at": 0.0}], ids=["a number", "a time"])
def test_a_run_that_is_told_when_to_stop_leaves_the_rest_waiting(archive, catalog, tmp_path, stop):
    catalog.ledger.add(find([str(archive)]))
    outcomes = list(run(catalog, FolderStorage(tmp_path / "s"), Setup(), workers=2, **stop))
    done = stop.get("after", 0)
    assert len(outcomes) == done and catalog.ledger.counts()[State.WAITING] == 2 - done
    assert catalog.ledger.owners() == {}


class OneAtATime(FolderStorage):
    """A storage that takes one product's files, and those of others only once they are no longer wanted."""

    def __init__(self, root):
        super().__init__(root)
        self.first, self.over = None, threading.Event()

    def create(self, key, source):
        product = key.split("/")[1]
        self.first = self.first or product
        if product != self.first and not product.startswith("collection."):
            self.over.wait(60)
            raise StorageError("it was too late")
        super().create(key, source)


def test_who_stops_listening_leaves_nothing_leased(archive, catalog, tmp_path):
    catalog.ledger.add(find([str(archive)]))
    storage = OneAtATime(tmp_path / "store")
    outcomes = run(catalog, storage, Setup(), workers=2)
    assert next(outcomes).state == State.DONE
    threading.Timer(0.5, storage.over.set).start()
    outcomes.close()
    assert catalog.ledger.owners() == {} and catalog.ledger.counts()[State.WAITING] == 1


class Away(FolderStorage):
    """A storage that can't be written to for so many attempts."""

    def __init__(self, root, attempts):
        super().__init__(root)
        self.left = attempts

    def create(self, key, source):
        if self.left:
            self.left -= 1
            raise StorageError("no room")
        super().create(key, source)


def test_a_storage_that_is_away_is_waited_for_and_nothing_is_converted_twice(archive, undisturbed, catalog, tmp_path):
    catalog.ledger.add(find([str(archive)]))
    outcomes = list(run(catalog, Away(tmp_path / "store", 2), Setup(attempts=1), workers=1))
    assert [(outcome.attempt, outcome.state) for outcome in outcomes] == [(1, State.DONE)] * 2
    assert published(catalog) == undisturbed


class Slow(FolderStorage):
    """A storage that takes longer than a lease."""

    def create(self, key, source):
        time.sleep(0.25)
        super().create(key, source)


def test_the_lease_of_what_is_in_hand_does_not_run_out(archive, catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(task, "LEASE", 1.0)
    monkeypatch.setattr(bulk, "LEASE", 1.0)
    catalog.ledger.add(find([str(archive)]))
    [outcome] = run(catalog, Slow(tmp_path / "store"), Setup(), workers=1, after=1)
    assert outcome.seconds > 2 and (outcome.attempt, outcome.state) == (1, State.DONE)


def test_one_that_stays_away_ends_the_run_and_nothing_is_lost(archive, catalog, tmp_path):
    catalog.ledger.add(find([str(archive)]))
    with pytest.raises(StorageError, match="no room"):
        list(run(catalog, Away(tmp_path, -1), Setup(patience=0), workers=2))
    assert standing(catalog) == {State.WAITING: 2} and published(catalog) == {}


def test_an_archive_that_is_not_mounted_is_not_the_products_fault(archive, undisturbed, catalog, tmp_path):
    here, away = tmp_path / "archive", tmp_path / "away"
    shutil.copytree(archive, here)
    for number in range(28):
        (here / f"zzz-{number:02}.zip").write_bytes(b"no zip")
    catalog.ledger.add(find([str(here)]))
    here.rename(away)
    outcomes = run(catalog, FolderStorage(tmp_path), Setup(patience=0), workers=2)
    causes = []
    with pytest.raises(StorageError, match=r"1[0-9] products in a row are not where they were found; is the archive"):
        causes.extend(outcome.cause for outcome in outcomes)
    assert 10 <= len(causes) <= 12 and set(causes) == {"MissingProduct"}
    assert standing(catalog) == {State.WAITING: 30}
    away.rename(here)
    again = run(catalog, FolderStorage(tmp_path), Setup(attempts=1), workers=2, after=10)
    assert {outcome.cause for outcome in again} == {"BrokenProduct"}, "those that were tried come last"


def test_two_runs_at_once_publish_each_product_once(archive, undisturbed, catalog, tmp_path):
    """R3: two processes of one machine would; two runs in one are two owners."""
    catalog.ledger.add(find([str(archive)]))
    storage = FolderStorage(tmp_path / "store")

    def work(name):
        return [
            task.work(catalog, storage, lease, Setup())
            for lease in iter(lambda: catalog.ledger.claim(name, seconds=60), None)
        ]

    with ThreadPoolExecutor(2) as threads:
        outcomes = [outcome for found in threads.map(work, ["one", "two"]) for outcome in found]
    assert sorted(outcome.attempt for outcome in outcomes) == [1] * 2
    assert published(catalog) == undisturbed


def test_temporary_folders_of_the_killed_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = owner.machine()
    names = [f"kartotek-{here}-{number}-abc" for number in (dead.pid, os.getpid())]
    names += [f"kartotek-elsewhere-{dead.pid}-abc", f"kartotek-{here}-x", f"kartotek-{here}-{dead.pid}", "other"]
    for name in names:
        (tmp_path / name / "inside").mkdir(parents=True)
    scratch.clear()
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


def test_an_owner_is_known_from_another_with_its_number():
    mine = owner.me()
    machine, number, began = mine.split("/")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    others = [f"{machine}/{number}/1.00", f"{machine}/{dead.pid}/{time.time():.2f}", "elsewhere/1/1.00", "odd"]
    assert owner.gone([mine, *others]) == others[:2]
    # The system counts when a process began back from a clock that is set right now and then.
    assert owner.gone([f"{machine}/{number}/{float(began) + 1:.2f}"]) == []


def test_a_number_says_nothing_of_processes_of_another_host_or_container():
    """Those of one host share its name where they share its network, those made from one image often do too."""
    name, kernel, space = owner.machine().rsplit("-", 2)
    assert (name, kernel) == (socket.gethostname(), owner.kernel()) and len(kernel) == 8 and space.isdecimal()
    others = [f"{name}-00000000-{space}", f"{name}-{kernel}-1", name]
    assert owner.gone([f"{other}/{2**22}/1.00" for other in others]) == []
