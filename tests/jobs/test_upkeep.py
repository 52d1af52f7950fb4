"""Verify, sweep and rebuild: storage and catalog agree, and nothing that is in use is ever touched."""

import hashlib
import shutil
import subprocess
import sys
import threading
import time

import orjson
import pytest

from catalog.access import OPERATOR, PUBLIC, Reader
from catalog.ledger import State
from catalog.search import Search
from catalog.store import Catalog
from converters.convert import Recipe
from jobs import hold, layout, record
from jobs.convert import convert_all
from jobs.hold import held
from jobs.rebuild import rebuild
from jobs.sources import find
from jobs.sweep import sweep
from jobs.verify import repair, verify
from kartotek.errors import BadRequest, Busy, LostLease, NotFound
from kartotek.storage import FolderStorage, open_storage

ALL = Search()


@pytest.fixture(scope="module")
def made(small_products, once, make_database):
    """Two small products as they were published: a folder of files, and the database's file beside it."""

    def fill(folder):
        catalog = Catalog(f"sqlite:///{folder / 'catalog.db'}")
        catalog.migrate()
        paths = [next(small_products.glob(name)) for name in ("*MSIL1C*", "*T34WET*")]
        list(convert_all(paths, Recipe(), FolderStorage(folder / "store"), catalog))
        catalog.close()

    return once("upkeep", fill)


@pytest.fixture
def storage(made, tmp_path):
    shutil.copytree(made / "store", tmp_path / "store")
    return FolderStorage(tmp_path / "store")


@pytest.fixture
def filled(made, storage, catalog):
    """The same in the catalog of the test, whichever database it is on."""
    assert all(found.entered for found in rebuild(storage, catalog))
    for name in catalog.private():
        record.set_private(storage, catalog, name, private=False)
    return catalog


def everything(catalog):
    """All that a catalog knows: collections, items, squares, privacy."""
    found = [*catalog.collections(OPERATOR).values(), *sorted(catalog.private())]
    for key, content in catalog.walk(OPERATOR, ALL):
        found += [content, catalog.squares(OPERATOR, key.collection, key.id)]
    return found


def first(catalog):
    """(collection, id, JSON) of an item."""
    key, content = next(catalog.walk(OPERATOR, ALL))
    return key.collection, key.id, content


def left_over(storage, collection, item, content=b"left over"):
    """The key of a file that nothing names."""
    key = f"{collection}/{item}/B02.{hashlib.sha256(content).hexdigest()}.tif"
    (storage.root / key).parent.mkdir(parents=True, exist_ok=True)
    (storage.root / key).write_bytes(content)
    return key


def test_a_catalog_is_rebuilt_from_storage_alone_and_is_the_same(made, storage, catalog):
    """R11, squares included."""
    before = Catalog(f"sqlite:///{made / 'catalog.db'}")
    found = list(rebuild(storage, catalog))
    assert len(found) == 2 and all(one.entered for one in found)
    assert everything(catalog) == everything(before) and catalog.squares(OPERATOR, *first(catalog)[:2])
    assert list(rebuild(storage, catalog)) == []
    before.close()


def test_what_was_private_stays_private_and_so_does_what_nobody_knows_of(filled, storage, new_database):
    kept, lost = sorted(filled.counts(OPERATOR))
    record.set_private(storage, filled, kept, private=True)
    for key in storage.keys(f"{lost}/collection."):
        storage.delete(key)
    again = Catalog(new_database(migrated=True))
    list(rebuild(storage, again))
    assert again.private() == {kept, lost} and again.counts(PUBLIC) == {}
    record.set_private(storage, again, kept, private=False)
    third = Catalog(new_database(migrated=True))
    list(rebuild(storage, third))
    assert third.private() == {lost}


def test_of_two_jsons_the_newest_is_rebuilt(filled, storage, new_database):
    collection, item, content = first(filled)
    document = orjson.loads(content) | {"note": "later"}
    later = orjson.dumps(
        {**{name: value for name, value in document.items() if name != "links"}, "links": document["links"]}
    )
    (storage.root / layout.of_json(collection, item, later).key).write_bytes(later)
    again = Catalog(new_database(migrated=True))
    list(rebuild(storage, again))
    assert again.item(OPERATOR, collection, item) == later


@pytest.mark.parametrize("what", ["a band", "the JSON"])
def test_an_item_whose_files_are_not_whole_is_named_and_the_others_are_rebuilt(filled, storage, new_database, what):
    collection, item, content = first(filled)
    key = layout.of_json(collection, item, content).key
    if what == "a band":
        key = next(key for key, place in layout.named(collection, item, content).items() if place.name == "B02")
        storage.delete(key)
    else:
        (storage.root / key).write_bytes(content[:-1])
    again = Catalog(new_database(migrated=True))
    [bad] = [found for found in rebuild(storage, again) if not found.entered]
    assert bad.item == item and key in bad.wrong and sum(again.counts(OPERATOR).values()) == 1


def test_verify_reads_every_byte_and_finds_nothing_wrong(filled, storage):
    found = list(verify(storage, filled, ALL, workers=2))
    assert [one.damaged for one in found] == [{}, {}]
    keys = [key for key in storage.keys() if layout.of_key(key)]  # noqa: SIM118
    assert sum(one.files for one in found) == len(keys)
    assert sum(one.bytes for one in found) == sum(map(storage.size, keys))


@pytest.mark.parametrize("how", ["a bit", "cut", "gone"])
def test_verify_names_what_is_damaged_whatever_file_it_is(filled, storage, how):
    """R9: each file of an item in turn."""
    collection, item, content = first(filled)
    for key in layout.named(collection, item, content):
        path = storage.root / key
        whole = path.read_bytes()
        if how == "gone":
            path.unlink()
        else:
            path.write_bytes(whole[:-1] if how == "cut" else bytes([*whole[:-1], whole[-1] ^ 1]))
        [damaged] = [one.damaged for one in verify(storage, filled, Search(ids=(item,)), workers=1)]
        assert list(damaged) == [key]
        path.write_bytes(whole)


def test_what_is_damaged_is_made_again(small_products, catalog, tmp_path):
    from jobs import bulk
    from jobs.task import Setup
    from jobs.threads import Threads

    storage = FolderStorage(tmp_path / "store")
    catalog.ledger.add(find([str(next(small_products.glob("*T33VUE*")))]))
    list(bulk.run(catalog.ledger, Threads(catalog, storage, Setup(), 1)))
    collection, item, content = first(catalog)
    key = next(key for key, place in layout.named(collection, item, content).items() if place.name == "B02")
    (storage.root / key).write_bytes(b"rotten")
    [found] = verify(storage, catalog, ALL, workers=1)
    assert repair(storage, catalog, found) and catalog.ledger.counts()[State.WAITING] == 1
    list(bulk.run(catalog.ledger, Threads(catalog, storage, Setup(), 1)))
    assert [one.damaged for one in verify(storage, catalog, ALL, workers=1)] == [{}]
    assert catalog.item(OPERATOR, collection, item) == content


def test_nothing_is_removed_that_can_not_be_made_again_or_is_whole_by_now(small_products, catalog, tmp_path):
    from jobs import bulk
    from jobs.task import Setup
    from jobs.threads import Threads

    storage, product = FolderStorage(tmp_path / "store"), next(small_products.glob("*T34WET*.zip"))
    shutil.copy(product, tmp_path)
    catalog.ledger.add(find([str(tmp_path / product.name)]))
    list(bulk.run(catalog.ledger, Threads(catalog, storage, Setup(), 1)))
    collection, item, content = first(catalog)
    key = next(key for key, place in layout.named(collection, item, content).items() if place.name == "B02")
    whole = storage.read(key)
    (storage.root / key).write_bytes(b"rotten")
    [found] = verify(storage, catalog, ALL, workers=1)
    (storage.root / key).write_bytes(whole)
    assert repair(storage, catalog, found) and storage.read(key) == whole
    assert catalog.ledger.counts()[State.DONE] == 1
    (storage.root / key).write_bytes(b"rotten")
    (tmp_path / product.name).rename(tmp_path / "elsewhere.zip")
    assert not repair(storage, catalog, found) and storage.read(key) == b"rotten"
    (tmp_path / "elsewhere.zip").rename(tmp_path / product.name)
    with catalog._connections.writing() as connection:
        connection.exec_driver_sql("UPDATE products SET original = 'deleted'")
    assert not repair(storage, catalog, found) and storage.read(key) == b"rotten"


def test_nothing_is_repaired_that_the_ledger_does_not_know(filled, storage):
    collection, item, content = first(filled)
    key = next(key for key in layout.named(collection, item, content) if "/B02." in key)
    (storage.root / key).write_bytes(b"rotten")
    [found] = [one for one in verify(storage, filled, ALL, workers=1) if one.damaged]
    assert not repair(storage, filled, found) and storage.read(key) == b"rotten"


def test_a_sweep_removes_what_nothing_names_and_that_alone(filled, storage):
    before = set(storage.keys())
    collection, item, _ = first(filled)
    left = {left_over(storage, collection, item), left_over(storage, collection, "never-published")}
    (storage.root / "notes.txt").write_text("mine")
    (storage.root / collection / item / "notes.txt").write_text("mine")
    dry = list(sweep(storage, filled, dry=True))
    assert {key for one in dry for key in one.keys} == left and set(storage.keys()) > before | left
    swept = list(sweep(storage, filled))
    assert {key for one in swept for key in one.keys} == left and sum(one.bytes for one in swept) == 18
    assert set(storage.keys()) == before | {"notes.txt", f"{collection}/{item}/notes.txt"}
    assert list(sweep(storage, filled)) == []


class Vanishing(FolderStorage):
    """A storage from which another sweep removes a file once it is listed."""

    def size(self, key):
        self.delete(key)
        return super().size(key)


def test_what_another_has_removed_meanwhile_is_not_told(filled, storage):
    collection, item, _ = first(filled)
    left_over(storage, collection, item)
    [dry] = sweep(Vanishing(storage.root), filled, dry=True)
    assert (dry.keys, dry.bytes) == ((), 0)


def test_a_sweep_beside_the_wrong_database_is_refused(filled, storage, new_database):
    before = set(storage.keys())
    wrong = Catalog(new_database(migrated=True))
    with pytest.raises(BadRequest, match=r"knows 0 of the 2 items .* is it the right"):
        list(sweep(storage, wrong))
    assert set(storage.keys()) == before
    list(sweep(storage, wrong, force=True))
    assert not any(layout.of_key(key) for key in storage.keys())  # noqa: SIM118


def test_a_sweep_leaves_what_is_being_published(filled, storage):
    collection, item, _ = first(filled)
    key = left_over(storage, collection, item)
    with held(filled.holds, (collection, item)):
        assert [(one.busy, one.keys) for one in sweep(storage, filled)] == [(True, ())]
    assert storage.size(key)
    assert [one.keys for one in sweep(storage, filled)] == [(key,)]


def test_a_sweep_in_a_bucket(filled, storage, bucket, tmp_path):
    there = open_storage(bucket)
    for key in storage.keys():  # noqa: SIM118
        there.create(key, storage.root / key)
    (tmp_path / "left").write_bytes(b"left over")
    key = f"{'/'.join(first(filled)[:2])}/B02.{hashlib.sha256(b'left over').hexdigest()}.tif"
    there.create(key, tmp_path / "left")
    assert [one.keys for one in sweep(there, filled)] == [(key,)]
    assert list(there.keys()) == list(storage.keys())


def test_files_are_in_one_pair_of_hands_at_a_time(catalog):
    with held(catalog.holds, ("c", "i")):
        with (
            pytest.raises(Busy, match=r"c/i: .* publishes or sweeps its files just now"),
            held(catalog.holds, ("c", "i"), patience=0.3),
        ):
            pass
        with held(catalog.holds, ("c", "other"), patience=0):
            pass
    with held(catalog.holds, ("c", "i"), patience=0):
        pass


def test_who_waits_gets_its_turn(catalog):
    turns = []

    def work():
        with held(catalog.holds, ("c", "i")):
            turns.append("begins")
            time.sleep(0.02)
            turns.append("ends")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert turns == ["begins", "ends"] * 8


def test_what_the_dead_held_is_free_at_once(catalog):
    dying = (
        "import os, sys; from catalog.store import Catalog; from jobs.hold import held\n"
        "with held(Catalog(sys.argv[1]).holds, ('c', 'i')): os._exit(9)"
    )
    url = catalog._connections.engine.url.render_as_string(hide_password=False)
    assert subprocess.run([sys.executable, "-c", dying, url], check=False).returncode == 9
    assert catalog.holds.holders([("c", "i")])
    with held(catalog.holds, ("c", "i"), patience=0.3):
        pass


def test_a_hold_that_ran_out_is_another_s_and_its_owner_can_neither_publish_nor_sweep(
    catalog, make_item, make_collection, monkeypatch
):
    stale = catalog.holds.take([("c", "i")], "elsewhere/1/1.00", seconds=-1)
    with held(catalog.holds, ("c", "i"), patience=0):
        assert not catalog.holds.renew(stale, seconds=60)
        with pytest.raises(LostLease, match="c/i: held for too long"):
            catalog.publish(make_item("i"), collection=make_collection(), hold=stale)
        catalog.holds.release(stale)
        with pytest.raises(Busy), held(catalog.holds, ("c", "i"), patience=0):
            pass
    with pytest.raises(NotFound):
        catalog.item(OPERATOR, "c", "i")
    monkeypatch.setattr(hold, "LEASE", 0.0)
    with held(catalog.holds, ("c", "i")) as hands, pytest.raises(LostLease):
        hands.check()


def test_a_reader_with_rights_sees_what_was_private_before(filled, storage):
    name = first(filled)[0]
    record.set_private(storage, filled, name, private=True)
    assert name not in filled.counts(PUBLIC)
    assert name in filled.counts(Reader(collections=frozenset({name})))
    with pytest.raises(NotFound):
        record.set_private(storage, filled, "nothing", private=True)
