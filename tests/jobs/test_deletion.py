"""Products deleted once they are published: none before, none other, and what a crash leaves the next run deletes."""

import os
import shutil
import sys
from pathlib import Path

import orjson
import pytest
from sqlalchemy import event

from catalog.access import OPERATOR, PUBLIC
from catalog.ledger import State
from catalog.search import Search
from catalog.store import Catalog
from converters.convert import Recipe
from jobs import bulk, deletion, register, worker
from jobs.original import Fate
from jobs.publish import publish
from jobs.sources import find
from jobs.task import Setup
from jobs.threads import Threads
from jobs.worker import Limits
from kartotek.storage import MARKER, PRODUCTS, FolderStorage, open_storage

DIED = 77


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "store")


@pytest.fixture
def archive(small_products, tmp_path):
    """A zip and a folder, which may be lost."""
    for pattern in ("*T34WET*.zip", "*T33VUE*.SAFE"):
        [path] = small_products.glob(pattern)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / "archive" / path.name)
    return tmp_path / "archive"


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "archive").mkdir()


def run(catalog, storage, fate=Fate.DELETE, **more):
    return list(bulk.run(catalog.ledger, Threads(catalog, storage, Setup(attempts=1, fate=fate, **more), 2)))


def seen(catalog):
    return {item["id"]: item for item in map(orjson.loads, catalog.search(PUBLIC, Search(limit=100)).items)}


def original(catalog):
    """What the ledger says has become of products."""
    with catalog._connections.reading() as connection:
        return sorted(str(row[0]) for row in connection.exec_driver_sql("SELECT original FROM products"))


def test_what_is_published_is_deleted_and_nothing_beside_it(archive, catalog, storage):
    (archive / "notes.txt").write_text("mine")
    (archive / "broken.zip").write_bytes(b"no zip")
    catalog.ledger.add(find([str(archive)]))
    outcomes = run(catalog, storage)
    assert sorted(path.name for path in archive.iterdir()) == ["broken.zip", "notes.txt"]
    assert {note for outcome in outcomes if outcome.published for note in outcome.published.notes} == set()
    assert original(catalog) == ["None", "deleted", "deleted"] and catalog.ledger.deletions() == []
    assert len(seen(catalog)) == 2 and not any("product" in item["assets"] for item in seen(catalog).values())


def test_what_is_kept_stays_and_only_what_is_linked_says_where(archive, catalog, storage):
    catalog.ledger.add(find([str(archive)]))
    run(catalog, storage, fate=Fate.KEEP)
    assert not any("product" in item["assets"] for item in seen(catalog).values())
    assert catalog.ledger.forget([str(path) for path in archive.iterdir()]) == 2
    catalog.ledger.add(find([str(archive)], root="https://x.se/"))
    run(catalog, storage, fate=Fate.LINK)
    hrefs = {item["assets"]["product"]["href"] for item in seen(catalog).values()}
    [zipped], [safe] = archive.glob("*.zip"), archive.glob("*.SAFE")
    assert hrefs == {f"https://x.se/{zipped.name}", f"https://x.se/{safe.name}/"}
    assert len(list(archive.iterdir())) == 2 and original(catalog) == ["None", "None"]


def test_a_link_without_an_address_is_the_server_s_own(archive, catalog, storage):
    catalog.ledger.add(find([str(archive)]))
    run(catalog, storage, fate=Fate.LINK)
    for name, item in seen(catalog).items():
        assert item["assets"]["product"]["href"] == f"{PRODUCTS}{item['collection']}/{name}.zip"


def spoil_item(catalog, storage, path):
    [item] = seen(catalog).values()
    catalog.delete_item(item["collection"], item["id"])


def spoil_asset(catalog, storage, path):
    [item] = seen(catalog).values()
    file = storage.root / item["assets"]["B04"]["href"].removeprefix(MARKER)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def spoil_json(catalog, storage, path):
    for key in list(storage.keys("")):
        if "/item." in key:
            storage.delete(key)


def lose_asset(catalog, storage, path):
    [item] = seen(catalog).values()
    storage.delete(item["assets"]["thumbnail"]["href"].removeprefix(MARKER))


def replace_product(catalog, storage, path):
    with path.open("ab") as file:
        file.write(b"x")


def replace_by_link(catalog, storage, path):
    path.rename(path.with_name("moved.zip"))
    path.symlink_to(path.with_name("moved.zip"))


def replace_by_other(catalog, storage, path):
    path.write_bytes(b"no zip")


SPOILT = {
    spoil_item: "no item", spoil_asset: "another SHA-256", spoil_json: "not there", lose_asset: "not there",
    replace_product: "not what was converted", replace_by_link: "a link", replace_by_other: "not a",
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_what_is_not_safe_is_not_deleted(archive, catalog, storage, spoil, tmp_path):
    """As a run finds it that goes on after one that died between publishing and deleting."""
    [path] = archive.glob("*.zip")
    catalog.ledger.add(find([str(path)]))
    only_published(catalog, storage, tmp_path)
    spoil(catalog, storage, path)
    before = path.read_bytes()
    [told] = deletion.finish(catalog, storage)
    assert "not deleted" in told and (SPOILT[spoil] in told or "recognises" in told), told
    assert path.exists() and path.read_bytes() == before
    assert original(catalog) == ["kept"] and deletion.finish(catalog, storage) == []


def only_published(catalog, storage, tmp_path):
    """What a run leaves that dies once its product is published, before anything is deleted."""
    lease = catalog.ledger.claim("dead", seconds=60)
    (tmp_path / "made").mkdir()
    made = worker.converted(Path(lease.place), tmp_path / "made", Recipe(threads=1), Limits())
    publish(made, storage, catalog, lease=lease, fate=Fate.DELETE)


@pytest.mark.parametrize("pattern", ["*.zip", "*.SAFE"])
def test_whenever_it_dies_the_next_run_deletes_it(archive, tmp_path, storage, make_database, pattern):
    """E: at each statement, commit and change of a folder between publishing and the end."""
    [path] = archive.glob(pattern)
    base = Catalog(make_database("sqlite", migrated=True))
    base.ledger.add(find([str(path)]))
    only_published(base, storage, tmp_path)
    base.close()
    place = base.place.removeprefix("sqlite:///")
    kept = tmp_path / "kept"
    (shutil.copytree if path.is_dir() else shutil.copy)(path, kept)
    step, crashes = 0, 0
    while True:
        step += 1
        shutil.copy(place, tmp_path / "try.db")
        for left in archive.glob(f"*{path.name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for left in archive.glob(f".{path.name}*"):
            shutil.rmtree(left)
        (shutil.copytree if kept.is_dir() else shutil.copy)(kept, path)
        changes = {"os.rename", "os.remove"} if path.suffix == ".zip" else {"os.rename", "os.rmdir", "shutil.rmtree"}
        status = in_a_child(dying, f"sqlite:///{tmp_path / 'try.db'}", storage, step, changes)
        catalog = Catalog(f"sqlite:///{tmp_path / 'try.db'}")
        whole = path.exists()
        assert len(seen(catalog)) == 1
        assert deletion.finish(catalog, storage) == []
        assert original(catalog) == ["deleted"]
        assert not path.exists() and not list(archive.glob(f".{path.name}*")), (step, whole)
        catalog.close()
        if status == 0:
            break
        assert status == DIED
        crashes += 1
    assert crashes > 8


def dying(url, storage, last, changes):
    """Delete, and die without a word at the step of that number."""
    count = 0

    def at(*_):
        nonlocal count
        count += 1
        if count == last:
            os._exit(DIED)

    catalog = Catalog(url)
    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(catalog._connections.engine, name, at)
    sys.addaudithook(lambda name, _: at() if name in changes else None)
    deletion.finish(catalog, storage)
    os._exit(0)


def in_a_child(function, *given):
    child = os.fork()
    if child == 0:
        try:
            function(*given)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_of_two_places_each_goes_after_its_own_verification(archive, catalog, storage, tmp_path):
    [path] = archive.glob("*.zip")
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    shutil.copy(path, other)
    list(register.register(find([str(other)]), storage, catalog, Limits(), processes=1))
    catalog.ledger.add(find([str(path)]))
    run(catalog, storage)
    assert not path.exists() and other.exists()
    [item] = seen(catalog).values()
    assert len(item["assets"]) > 10 and item["assets"]["product"]["href"].startswith(PRODUCTS), "it links to the other"
    catalog.ledger.choose(Search())
    run(catalog, storage)
    assert not other.exists() and "product" not in next(iter(seen(catalog).values()))["assets"]


def test_who_may_not_delete_is_told_and_the_product_is_done(archive, catalog, storage):
    [path] = archive.glob("*.SAFE")
    catalog.ledger.add(find([str(path)]))
    (archive / f".{path.name}.deleted").symlink_to("/nowhere")  # the name that a folder gets first is taken
    [outcome] = run(catalog, storage)
    assert outcome.state is State.DONE
    [note] = outcome.published.notes
    assert f"{path}: can't be deleted" in note
    assert path.is_dir() and original(catalog) == ["kept"]


def test_a_folder_that_holds_more_than_the_product_stays(archive, catalog, storage):
    [path] = archive.glob("*.SAFE")
    [zipped] = archive.glob("*.zip")
    shutil.copy(zipped, path / "mine.zip")
    catalog.ledger.add(find([str(path)]))
    [outcome] = run(catalog, storage)
    [note] = outcome.published.notes
    assert "holds mine.zip, which is none of its own" in note and (path / "mine.zip").exists()


def test_what_lacks_bands_is_not_deleted(archive, catalog, storage):
    [path] = archive.glob("*.SAFE")
    [band] = path.rglob("*_B04_10m.jp2")
    band.write_bytes(b"")
    catalog.ledger.add(find([str(path)]))
    [outcome] = run(catalog, storage, recipe=Recipe(allow_partial=True, threads=1))
    assert "has not all of its bands" in outcome.published.notes[-1] and path.exists()


def test_a_zip_in_a_bucket_that_was_replaced_stays_though_it_was_to_be_removed(archive, catalog, storage, bucket):
    remote, [zipped] = open_storage(bucket), archive.glob("*.zip")
    remote.create(f"in/{zipped.name}", zipped)
    catalog.ledger.add(find([f"{bucket}/in"]))
    assert [outcome.state for outcome in run(catalog, storage, fate=Fate.KEEP)] == [State.DONE]
    with catalog._connections.writing() as connection:  # as one leaves it who may not delete there
        connection.exec_driver_sql("UPDATE products SET original = 'removing'")
    remote.delete(f"in/{zipped.name}")
    zipped.write_bytes(zipped.read_bytes() + b"another delivery")
    remote.create(f"in/{zipped.name}", zipped)
    [told] = deletion.finish(catalog, storage)
    assert "is not what was converted" in told and original(catalog) == ["kept"]
    assert list(remote.keys("")) == [f"in/{zipped.name}"]


def test_products_in_a_bucket_are_deleted_there(archive, catalog, storage, bucket):
    remote = open_storage(bucket)
    for path in archive.rglob("*"):
        if path.is_file():
            remote.create(f"in/{path.relative_to(archive)}", path)
    remote.create("in/notes.txt", next(archive.glob("*.zip")))
    catalog.ledger.add(find([f"{bucket}/in"]))
    outcomes = run(catalog, storage)
    assert [outcome.state for outcome in outcomes] == [State.DONE] * 2, outcomes
    assert list(remote.keys("")) == ["in/notes.txt"] and original(catalog) == ["deleted"] * 2
    assert len(catalog.search(OPERATOR, Search()).items) == 2
