"""R7: a disk that is full, or that fails, wherever it hurts: nothing half is visible, and with room it goes on."""

import contextlib
import errno
import os
import shutil
import subprocess
import threading

import pytest

from catalog.ledger import State
from catalog.search import Search
from catalog.store import Catalog
from jobs import bulk, layout
from jobs.publish import publish
from jobs.sources import find
from jobs.task import Setup
from jobs.threads import Threads
from jobs.verify import verify
from kartotek.errors import CatalogError, StorageError
from kartotek.storage import FolderStorage


@pytest.fixture
def disk(tmp_path):
    """Mounts a small disk on a folder; called again with another size, that of the same disk."""
    made = []

    def mount(folder, kilobytes):
        how = [f"remount,size={kilobytes}k"] if folder in made else [f"size={kilobytes}k", "-t", "tmpfs"]
        folder.mkdir(exist_ok=True)
        done = subprocess.run(["mount", "-o", *how, "tmpfs", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here, which needs root: {done.stderr.strip()}")
        made.append(folder)

    yield mount
    for folder in set(made):
        subprocess.run(["umount", "-l", folder], check=True)


def run(catalog, storage, **setup):
    return bulk.run(catalog.ledger, Threads(catalog, storage, Setup(**setup), 1))


def standing(storage, catalog):
    """Items that are visible, each whole; and every file in the storage that has a name is whole too."""
    found = list(verify(storage, catalog, Search(), workers=1))
    assert not any(one.damaged for one in found)
    for key in storage.keys():  # noqa: SIM118  no dict
        place = layout.of_key(key)
        assert place is None or layout.of_json("", "", storage.read(key)).checksum == place.checksum
    return len(found)


@pytest.fixture
def archive(small_products):
    return str(next(small_products.glob("*T34WET*")))


@pytest.mark.parametrize("place", ["store", "tmp"])
@pytest.mark.parametrize("kilobytes", [16, pytest.param(100, marks=pytest.mark.full)])
def test_a_run_on_a_full_disk_waits_for_room_and_then_goes_on(
    disk, archive, make_database, tmp_path, monkeypatch, place, kilobytes
):
    """A product of some 0.2 MB, on a disk that it fills at its first file, in the middle and near the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    disk(tmp_path / place, kilobytes)
    catalog, storage = Catalog(make_database("sqlite", migrated=True)), FolderStorage(tmp_path / "store")
    catalog.ledger.add(find([archive]))
    with pytest.raises(StorageError, match="No space left on device"):
        list(run(catalog, storage, patience=0))
    assert standing(storage, catalog) == 0 and catalog.ledger.counts()[State.WAITING] == 1
    assert not list((tmp_path / "store").rglob("*.part"))
    room = threading.Timer(2, disk, [tmp_path / place, 100_000])
    room.start()
    [outcome] = run(catalog, storage)
    room.join()
    assert (outcome.state, outcome.attempt) == (State.DONE, 1) and standing(storage, catalog) == 1
    catalog.close()


def test_a_database_on_a_full_disk_is_waited_for_too(disk, archive, make_database, tmp_path):
    disk(tmp_path / "database", 5_000)
    made = make_database("sqlite", migrated=True).removeprefix("sqlite:///")
    shutil.copy(made, tmp_path / "database" / "catalog.db")
    catalog, storage = Catalog(f"sqlite:///{tmp_path}/database/catalog.db"), FolderStorage(tmp_path / "store")
    catalog.ledger.add(find([archive]))
    ballast = tmp_path / "database" / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1000))
    with pytest.raises(CatalogError, match="full"):
        list(run(catalog, storage, patience=0))
    assert standing(storage, catalog) == 0
    ballast.unlink()
    [outcome] = run(catalog, storage)
    assert outcome.state == State.DONE and standing(storage, catalog) == 1
    catalog.close()


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_at_any_flush_or_rename_is_told_and_leaves_nothing_half(
    converted, make_database, tmp_path, monkeypatch, name, number
):
    """Each call of the system in turn."""
    catalog, real = Catalog(make_database("sqlite", migrated=True)), getattr(os, name)
    left, nth = 0, 0

    def failing(*given):
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(number, os.strerror(number))
        return real(*given)

    monkeypatch.setattr(os, name, failing)
    if name == "replace":
        monkeypatch.setattr("pathlib.Path.replace", lambda path, target: os.replace(path, target))  # noqa: PTH105
    while True:
        nth += 1
        left, storage = nth, FolderStorage(tmp_path / f"store-{nth}")
        try:
            publish(converted, storage, catalog)
        except StorageError as error:
            assert os.strerror(number) in str(error)
        else:
            break
        assert standing(storage, catalog) == 0 and not list(storage.root.rglob("*.part"))
    assert nth > 4 and standing(storage, catalog) == 1
    catalog.close()
