"""Publishing: nothing visible unless whole. Run as a script, this file publishes and dies at each step in turn."""

import dataclasses
import hashlib
import itertools
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import converters  # noqa: F401  before rasterio, as ever
from catalog.access import OPERATOR, PUBLIC
from catalog.search import MAX_LIMIT, Search
from catalog.store import Catalog
from converters import sensors
from converters.convert import Recipe, convert
from jobs.publish import publish
from kartotek.errors import BadFile, Corrupted, KartotekError, StorageError
from kartotek.storage import MARKER, FolderStorage, open_storage

DIED = 77


def visible(storage, catalog):
    """Contents of all that a reader sees, each file of it re-hashed from the storage."""
    contents = catalog.search(PUBLIC, Search(limit=MAX_LIMIT)).items
    for content in contents:
        item = orjson.loads(content)
        assert item["assets"]
        for asset in item["assets"].values():
            found = storage.read(asset["href"].removeprefix(MARKER))
            assert asset["file:checksum"] == "1220" + hashlib.sha256(found).hexdigest()
            assert asset["file:size"] == len(found)
        beside = f"{item['collection']}/{item['id']}/item.{hashlib.sha256(content).hexdigest()}.json"
        assert storage.read(beside) == content
    return list(contents)


@pytest.fixture(scope="module")
def whole(products, tmp_path_factory):
    """One product converted anew, in one thread; nobody has published it."""
    product = sensors.read(next(products.glob("*T34WET*.zip")))
    return convert(product, tmp_path_factory.mktemp("converted"), Recipe(threads=1))


@pytest.fixture
def converted(whole, tmp_path):
    """The same with three of its files, to be spoilt at will."""
    return copied(whole, tmp_path / "converted", "SCL", "thumbnail", "squares")


def copied(whole, folder, *names):
    folder.mkdir()
    item = whole.item.clone()
    for name in list(item.assets):
        if name in names:
            shutil.copy(whole.folder / item.assets[name].href, folder)
        else:
            del item.assets[name]
    return dataclasses.replace(whole, item=item, folder=folder)


@pytest.fixture
def storage(catalog, tmp_path, request):
    """A folder beside a catalog on one file, a bucket beside one on PostGIS."""
    if catalog.place.startswith("sqlite"):
        return FolderStorage(tmp_path / "store")
    return open_storage(request.getfixturevalue("bucket"))


def test_a_product_converted_again_gives_the_same_keys_and_the_same_item(whole, demo, storage, catalog):
    """By other threads in another process: byte for byte."""
    for replaced in (False, True, True):
        done = publish(whole, storage, catalog)
        assert done.replaced is replaced
        prefix = f"{done.collection}/{done.item}/"
        assert list(storage.keys(prefix)) == list(demo.storage.keys(prefix))
        assert visible(storage, catalog) == [demo.catalog.item(OPERATOR, done.collection, done.item)]
    keys = list(storage.keys(prefix))
    assert done.bytes == sum(storage.size(key) for key in keys if "/item." not in key)
    assert len(catalog.squares(PUBLIC, done.collection, done.item)) == len(whole.squares) > 0


def test_all_that_the_samples_became_is_whole_and_its_json_lies_beside_it(published):
    contents = visible(published.storage, published.catalog)
    assert len(contents) == 12
    named = {asset["href"].removeprefix(MARKER) for one in contents for asset in orjson.loads(one)["assets"].values()}
    keys = set(published.storage.keys())
    others = [key.rpartition("/")[2].partition(".")[0] for key in keys - named]
    assert sorted(others) == ["collection"] * 2 + ["item"] * 12
    for key in keys:
        assert hashlib.sha256(published.storage.read(key)).hexdigest() in key
    assert not list(published.local.root.rglob("*.part"))


class Rotten(FolderStorage):
    """A disk that spoils the nth file that is written to it."""

    def __init__(self, root, nth, how):
        super().__init__(root)
        self.left, self.how = nth, how

    def create(self, key, source):
        super().create(key, source)
        if self.left == 0:
            content = bytearray((self.root / key).read_bytes())
            if self.how == "flipped":
                content[len(content) // 2] ^= 1
            elif self.how == "short":
                del content[-1]
            elif self.how == "long":
                content += b"\0"
            elif self.how == "empty":
                content.clear()
            (self.root / key).write_bytes(content)
        self.left -= 1


@pytest.mark.parametrize("nth", range(4))
@pytest.mark.parametrize("how", ["flipped", "short", "long", "empty"])
def test_what_reads_back_otherwise_than_written_is_never_visible(converted, tmp_path, catalog, nth, how):
    rotten = Rotten(tmp_path / "store", nth, how)
    with pytest.raises(Corrupted, match="read back") as told:
        publish(converted, rotten, catalog)
    assert visible(rotten, catalog) == [] and catalog.collections(OPERATOR) == []
    # What the message says to do helps.
    rotten.delete(str(told.value).partition(":")[0])
    publish(converted, rotten, catalog)
    assert len(visible(rotten, catalog)) == 1


def test_an_item_that_reads_back_badly_leaves_the_earlier_one(converted, tmp_path, catalog):
    publish(converted, FolderStorage(tmp_path / "store"), catalog)
    before = visible(FolderStorage(tmp_path / "store"), catalog)
    converted.item.properties["eo:cloud_cover"] = 1.0
    with pytest.raises(Corrupted):
        publish(converted, Rotten(tmp_path / "store", 3, "flipped"), catalog)
    assert visible(FolderStorage(tmp_path / "store"), catalog) == before


class Full(FolderStorage):
    """A disk that is full when the nth file comes."""

    def __init__(self, root, nth):
        super().__init__(root)
        self.left = nth

    def create(self, key, source):
        if self.left == 0:
            raise StorageError(f"can't write {key}: No space left on device")
        self.left -= 1
        super().create(key, source)


@pytest.mark.parametrize("nth", range(4))
def test_a_full_disk_leaves_nothing_visible_and_the_next_try_succeeds(converted, tmp_path, catalog, nth):
    with pytest.raises(StorageError, match="No space"):
        publish(converted, Full(tmp_path / "store", nth), catalog)
    storage = FolderStorage(tmp_path / "store")
    assert visible(storage, catalog) == []
    publish(converted, storage, catalog)
    assert len(visible(storage, catalog)) == 1


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "half":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    elif how == "no TIFF":
        content[:4] = b"oops"
    elif how == "directory":
        content[190:400] = bytes(210)
    elif how == "a pixel":
        content[-100] ^= 1
    elif how == "a picture":
        content[:] = path.with_name("thumbnail.png").read_bytes()
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("how", ["half", "empty", "no TIFF", "directory", "a pixel", "a picture"])
def test_a_file_that_was_spoilt_before_publishing_is_never_published(converted, storage, catalog, how):
    spoil(converted.folder / "SCL.tif", how)
    with pytest.raises(KartotekError, match="SCL"):
        publish(converted, storage, catalog)
    assert visible(storage, catalog) == []


def test_a_geotiff_that_is_not_cloud_optimized_is_never_published(converted, storage, catalog):
    """Though its checksum is right: strips instead of blocks, without overviews."""
    import rasterio

    path = converted.folder / "SCL.tif"
    with rasterio.open(path) as good:
        pixels, form = (
            good.read(),
            {name: good.profile[name] for name in ("width", "height", "count", "crs", "transform")},
        )
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", **form) as bad:
        bad.write(pixels)
    content = path.read_bytes()
    converted.item.assets["SCL"].extra_fields.update(
        {"file:checksum": "1220" + hashlib.sha256(content).hexdigest(), "file:size": len(content)}
    )
    with pytest.raises(BadFile, match=r"SCL\.tif: not a Cloud Optimized GeoTIFF"):
        publish(converted, storage, catalog)
    assert visible(storage, catalog) == [] and list(storage.keys()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "å", "x" * 201, "a\n"])
def test_an_id_that_could_lead_elsewhere_is_refused(converted, storage, catalog, name):
    converted.item.id = name
    with pytest.raises(BadFile, match="id"):
        publish(converted, storage, catalog)
    assert list(storage.keys()) == [] and visible(storage, catalog) == []


def test_publishing_does_not_change_what_it_is_given(converted, storage, catalog):
    before = converted.item.to_dict(transform_hrefs=False)
    publish(converted, storage, catalog)
    assert converted.item.to_dict(transform_hrefs=False) == before


def crash(folder, scenario, *more):
    """What this file says when it is run as a script, below."""
    command = [sys.executable, __file__, str(folder), scenario, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return dict(word.split("=") for word in done.stdout.split())


@pytest.fixture
def tries(converted, tmp_path):
    """A folder with what the script publishes: a product, and a later version of it."""
    later = copied(converted, tmp_path / "later", "SCL", "squares")
    later.item.properties["eo:cloud_cover"] = 1.0
    first = copied(converted, tmp_path / "first", "SCL", "squares")
    (tmp_path / "converted.pickle").write_bytes(pickle.dumps([first, later]))
    made = Catalog(f"sqlite:///{tmp_path / 'empty.db'}")
    made.migrate()
    made.close()
    return tmp_path


@pytest.mark.parametrize("scenario", ["new", "replace"])
def test_a_crash_at_any_step_leaves_nothing_or_a_whole_item_and_the_next_try_succeeds(tries, scenario):
    found = crash(tries, scenario)
    assert int(found["steps"]) > 40
    assert int(found["before"]) + int(found["after"]) == int(found["steps"])
    # The last steps come after the commit: the item is there then.
    assert 0 < int(found["after"]) < 40


@pytest.mark.full
def test_two_crashes_at_any_two_steps_leave_nothing_or_a_whole_item(tries):
    assert int(crash(tries, "new", "400")["steps"]) > 50


# What follows runs in a process of its own, which forks a child for each crash.


class Doomed(FolderStorage):
    """A storage whose every call is a step, before and after."""

    step = staticmethod(lambda: None)

    def create(self, key, source):
        self.step()
        super().create(key, source)
        self.step()

    def read(self, key, start=0, length=None):
        self.step()
        return super().read(key, start, length)


def doomed(folder, converted, last):
    """Publish, and die without a word at the step of that number; return the count of steps if it is not reached.

    A step is a call of the storage, a file opened, renamed or made in our folders, a statement or a commit of the
    database.
    """
    from sqlalchemy import event

    count = 0

    def step(*_):
        nonlocal count
        count += 1
        if count == last:
            os._exit(DIED)

    def audit(name, given):
        opens = name == "open" and str(folder) in str(given[0]) and not str(given[0]).endswith((".db", "-wal", "-shm"))
        if opens or name in {"os.rename", "os.mkdir", "os.remove"}:
            step()

    storage, catalog = Doomed(folder / "store"), Catalog(f"sqlite:///{folder / 'catalog.db'}")
    storage.step = step
    for name in ("before_cursor_execute", "after_cursor_execute", "begin", "commit"):
        event.listen(catalog._connections.engine, name, step)
    sys.addaudithook(audit)
    publish(converted, storage, catalog)
    step()  # everything is done, but nobody was told
    return count


def in_a_child(function, *given):
    """(exit status, what the function gave) of a function run in a forked process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, str(function(*given)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def seen(folder):
    """What a reader sees after the crash, each file re-hashed; as text, for the pipe."""
    catalog = Catalog(f"sqlite:///{folder / 'catalog.db'}")
    found = visible(FolderStorage(folder / "store"), catalog)
    catalog.close()
    return hashlib.sha256(b"".join(found)).hexdigest() if found else "nothing"


def recovered(folder, converted):
    """What a reader sees after the crash, and after the next try."""
    crashed = seen(folder)
    doomed(folder, converted, 0)
    return f"{crashed} {seen(folder)}"


def checked(function, *given):
    status, said = in_a_child(function, *given)
    assert status == 0, (function.__name__, status)
    return said


def main(folder, scenario, pairs=0):
    """Die at each step, or at two; look; try again; look."""
    first, later = pickle.loads((folder / "converted.pickle").read_bytes())
    converted = later if scenario == "replace" else first
    number = itertools.count()

    def fresh():
        made = folder / f"try-{next(number)}"
        made.mkdir()
        shutil.copy(folder / "empty.db", made / "catalog.db")
        if scenario != "new":
            checked(doomed, made, first, 0)
        return made

    # Once in this process, so that not every child has to import what is imported late.
    catalog = Catalog(f"sqlite:///{fresh() / 'catalog.db'}")
    publish(first, FolderStorage(folder / "warm"), catalog)
    catalog.close()
    undisturbed = fresh()
    before = checked(seen, undisturbed)
    steps = int(checked(doomed, undisturbed, converted, 0))
    after = checked(seen, undisturbed)
    assert before != after
    chance, outcomes = random.Random(1), []
    plans = [[chance.randint(1, steps) for _ in range(2)] for _ in range(pairs)] or [
        [last] for last in range(1, steps + 1)
    ]
    for plan in plans:
        here = fresh()
        for last in plan:
            status, _ = in_a_child(doomed, here, converted, last)
            assert status == DIED or len(plan) > 1, (plan, status)
            if last is not plan[-1]:
                assert checked(seen, here) in {before, after}, plan
        crashed, healed = checked(recovered, here, converted).split()
        assert crashed in {before, after} and healed == after, plan
        outcomes.append(crashed)
        shutil.rmtree(here)
    if not pairs:
        assert outcomes == sorted(outcomes, key=lambda one: one == after)  # once there, it stays
    print(f"steps={steps} before={outcomes.count(before)} after={outcomes.count(after)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
