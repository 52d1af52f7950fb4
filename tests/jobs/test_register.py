"""Registering: searchable at once by what the metadata tells, converted later, and never the other way round."""

import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from shapely.geometry import shape

from catalog import documents
from catalog.access import OPERATOR, PUBLIC
from catalog.ledger import State
from catalog.search import Search
from catalog.store import Catalog
from converters import items, samples
from converters.convert import Recipe
from converters.sensors.sentinel2 import L1C, L2A
from jobs import bulk, register
from jobs.convert import convert_all
from jobs.reading import Unread
from jobs.rebuild import rebuild
from jobs.register import Registered
from jobs.sources import find
from jobs.sweep import sweep
from jobs.task import Setup
from jobs.threads import Threads
from jobs.worker import Limits
from kartotek.errors import StorageError
from kartotek.storage import PRODUCTS, FolderStorage, open_storage

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from kartotek.cli import main; main()"]
GAINED = {"processing:software", "processing:lineage", "kartotek:recipe", "kartotek:profile"}
"""Properties that tell of a conversion."""


def registered(catalog, storage, *named, root=None, **more):
    """What comes of registering, by the products' names."""
    found = register.register(find(map(str, named), root=root), storage, catalog, Limits(), processes=2, **more)
    return {one.place.rpartition("/")[2] if isinstance(one, Registered) else one.source.place.rpartition("/")[2]: one
            for one in found}  # fmt: skip


def seen(catalog):
    """All that a reader sees: id → JSON."""
    return {item["id"]: item for item in map(orjson.loads, catalog.search(PUBLIC, Search(limit=10_000)).items)}


def standing(catalog):
    return {state: count for state, count in catalog.ledger.counts().items() if count}


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "store")


@pytest.fixture(scope="session")
def archive(once, small_products):
    """A zip and a folder, of two levels."""

    def fill(folder):
        for pattern in ("*T34WET*", "*MSIL1C*"):
            [path] = small_products.glob(pattern)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)

    return once("two products", fill)


@pytest.fixture(scope="session")
def converted(archive, tmp_path_factory, make_database):
    """What they become: id → item."""
    made = Catalog(make_database("sqlite"))
    made.migrate()
    list(convert_all(sorted(archive.iterdir()), Recipe(), FolderStorage(tmp_path_factory.mktemp("store")), made))
    return seen(made)


def test_a_registered_item_is_the_converted_one_without_its_bands(archive, converted, catalog, storage):
    found = registered(catalog, storage, archive)
    assert len(found) == 2 and not any(one.converted for one in found.values())
    found = seen(catalog)
    assert set(found) == set(converted) and standing(catalog) == {State.REGISTERED: 2}
    for name, wanted in converted.items():
        item = found[name]
        assert item["collection"] == wanted["collection"]
        properties = {key: value for key, value in wanted["properties"].items() if key not in GAINED}
        assert item["properties"] | {"proj:code": "EPSG:3006"} == properties
        assert item["links"] == wanted["links"]
        told, measured = shape(item["geometry"]), shape(wanted["geometry"])
        # The samples state what lies two pixels within; the item's own is of the pixels, and less than 1 % smaller.
        assert told.buffer(6e-4).contains(measured) and measured.area > 0.9 * told.area
        assert item["assets"]["product"]["href"] == f"{PRODUCTS}{item['collection']}/{name}.zip"
    content = catalog.collection(PUBLIC, "sentinel-2-l1c")
    assert orjson.loads(content)["item_assets"]["product"]["type"] == "application/zip"


def test_its_json_lies_in_the_storage_and_nothing_of_this_machine_stands_in_it(archive, catalog, storage):
    registered(catalog, storage, archive)
    contents = list(catalog.search(PUBLIC, Search(limit=10)).items)
    assert sorted(storage.read(key) for key in storage.keys() if "/item." in key) == sorted(contents)  # noqa: SIM118
    assert not any(str(archive).encode() in content for content in contents)


def test_size_and_kind_are_those_of_the_zip_and_of_a_folder_nothing_is_said(archive, catalog, storage):
    registered(catalog, storage, archive)
    assets = {name: item["assets"]["product"] for name, item in seen(catalog).items()}
    for path in archive.iterdir():
        asset = assets[path.name.partition(".")[0]]
        assert asset.get("file:size") == (path.stat().st_size if path.suffix == ".zip" else None)
        assert asset["type"] == "application/zip" and asset["roles"] == ["archive"] and "file:checksum" not in asset


@pytest.mark.parametrize(
    ("named", "root", "wanted"),
    [("{a}", "https://x.se/s2/", "https://x.se/s2/2023/{zip}"), ("{a}/2023", "file:///a", "file:///a/{zip}"),
     ("{a}/2023/{zip}", "https://x.se", "https://x.se/{zip}"), ("{a}/**/*.zip", "https://x.se", "https://x.se/2023/{zip}")],
)  # fmt: skip
def test_links_lead_to_where_the_operator_says(archive, catalog, storage, tmp_path, named, root, wanted):
    [path] = archive.glob("*.zip")
    (tmp_path / "a" / "2023").mkdir(parents=True)
    shutil.copy(path, tmp_path / "a" / "2023")
    registered(catalog, storage, named.format(a=tmp_path / "a", zip=path.name), root=root)
    [item] = seen(catalog).values()
    assert item["assets"]["product"]["href"] == wanted.format(zip=path.name)


def test_a_folder_s_link_ends_with_a_slash_and_letters_are_quoted(archive, catalog, storage, tmp_path):
    [path] = archive.glob("*.SAFE")
    shutil.copytree(path, tmp_path / "å b" / path.name)
    registered(catalog, storage, tmp_path / "å b", root="https://x.se")
    registered(catalog, storage, tmp_path / "å b", root="https://x.se")
    registered(catalog, storage, tmp_path / "å b" / "*.SAFE", root="https://y.se/")
    [item] = seen(catalog).values()
    assert item["assets"]["product"] == {
        "href": f"https://y.se/{path.name}/", "title": "The product as the agency delivered it", "roles": ["archive"],
    }  # fmt: skip
    registered(catalog, storage, tmp_path, root="https://x.se")
    [item] = seen(catalog).values()
    assert item["assets"]["product"]["href"] == f"https://x.se/%C3%A5%20b/{path.name}/"


def test_products_in_a_bucket_are_registered_where_they_lie(archive, catalog, storage, bucket):
    remote = open_storage(bucket)
    for path in archive.rglob("*"):
        if path.is_file():
            remote.create(f"in/{path.relative_to(archive)}", path)
    registered(catalog, storage, f"{bucket}/in")
    found = seen(catalog)
    registered(catalog, storage, archive)
    here = seen(catalog)
    for path in archive.iterdir():
        name = path.name.partition(".")[0]
        slash = "" if path.suffix == ".zip" else "/"
        assert found[name]["assets"]["product"]["href"] == f"{bucket}/in/{path.name}{slash}"
        assert found[name] | {"assets": {}} == here[name] | {"assets": {}}
        assert found[name]["assets"]["product"].get("file:size") == here[name]["assets"]["product"].get("file:size")


def test_what_can_not_be_read_is_set_aside_with_the_reason_and_the_rest_goes_on(archive, catalog, storage, tmp_path):
    shutil.copytree(archive, tmp_path / "archive")
    (tmp_path / "archive" / "strange.zip").write_bytes(b"no zip")
    [safe] = (tmp_path / "archive").glob("*.SAFE")
    shutil.copytree(safe, tmp_path / "archive" / "empty.SAFE")
    [metadata] = (tmp_path / "archive" / "empty.SAFE").glob("MTD_MSIL1C.xml")
    metadata.write_text("<half")
    found = registered(catalog, storage, tmp_path / "archive")
    assert {name for name, one in found.items() if isinstance(one, Unread)} == {"strange.zip", "empty.SAFE"}
    assert standing(catalog) == {State.REGISTERED: 2, State.QUARANTINED: 2} and len(seen(catalog)) == 2
    told = {one.place.rpartition("/")[2]: one for one in catalog.ledger.failures()}
    assert (told["strange.zip"].cause, told["strange.zip"].attempts) == ("BrokenProduct", 0)
    assert "not well-formed XML" in told["empty.SAFE"].error
    # It is tried again, and once it can be read no trace is left.
    shutil.rmtree(tmp_path / "archive" / "empty.SAFE")
    [path] = archive.glob("*.zip")
    shutil.copy(path, tmp_path / "archive" / "strange.zip")
    registered(catalog, storage, tmp_path / "archive")
    assert [one.place.rpartition("/")[2] for one in catalog.ledger.failures()] == ["empty.SAFE"]


def test_what_somebody_set_aside_or_conversion_failed_at_stays_set_aside(archive, catalog, storage):
    catalog.ledger.add(find([str(archive)]))
    lease = catalog.ledger.claim("me", seconds=60)
    catalog.ledger.fail(lease, cause="TooCostly", error="much", most=1)
    [other] = [str(path) for path in archive.iterdir() if str(path) != lease.place]
    catalog.ledger.quarantine([other], "no use")
    registered(catalog, storage, archive)
    assert standing(catalog) == {State.QUARANTINED: 2} and len(seen(catalog)) == 2
    assert {one.cause for one in catalog.ledger.failures()} == {"TooCostly", "Quarantined"}


def test_run_leaves_what_is_registered_alone_until_it_is_asked_for(archive, converted, catalog, storage):
    registered(catalog, storage, archive)
    assert list(bulk.run(catalog.ledger, Threads(catalog, storage, Setup(), 1))) == []
    assert catalog.ledger.choose(Search()) == 2
    outcomes = list(bulk.run(catalog.ledger, Threads(catalog, storage, Setup(only=Search()), 2), only=Search()))
    assert [outcome.published.replaced for outcome in outcomes] == [True, True]
    assert standing(catalog) == {State.DONE: 2}
    for name, item in seen(catalog).items():
        [path] = archive.glob(f"{name}*")
        own = item["assets"].pop("product")
        assert item == converted[name], "but for its own product it is as any other"
        assert own["href"] == f"{PRODUCTS}{item['collection']}/{name}.zip"
        if path.suffix == ".zip":
            digest = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
            assert (own["file:checksum"], own["file:size"]) == (f"1220{digest}", path.stat().st_size)
    # Registering again takes nothing away, under the same link or another.
    before = seen(catalog)
    for root in (None, "https://x.se"):
        registered(catalog, storage, archive, root=root)
        assert seen(catalog) == before and standing(catalog) == {State.DONE: 2}


def test_those_are_converted_that_a_search_finds_and_no_others(archive, catalog, storage, small_products):
    registered(catalog, storage, archive)
    [other] = small_products.glob("*T33VUE*")
    catalog.ledger.add(find([str(other)]))
    level = Search(collections=("sentinel-2-l1c",))
    for nothing in (Search(ids=("x",)), Search(collections=("x",)), replace(level, start=samples.scenes()[-1].sensed)):
        assert catalog.ledger.choose(nothing) == 0
        assert list(bulk.run(catalog.ledger, Threads(catalog, storage, Setup(only=nothing), 1), only=nothing)) == []
    [name] = [name for name, item in seen(catalog).items() if item["collection"] == "sentinel-2-l1c"]
    place = replace(level, area=shape(seen(catalog)[name]["geometry"]).centroid)
    assert catalog.ledger.choose(place) == 1
    [outcome] = bulk.run(catalog.ledger, Threads(catalog, storage, Setup(only=place), 2), only=place)
    assert outcome.published.item == name
    assert standing(catalog) == {State.DONE: 1, State.REGISTERED: 1, State.WAITING: 1}


def test_an_item_that_convert_made_stays_and_its_product_is_skipped(archive, converted, catalog, storage):
    for item in converted.values():
        kind = orjson.dumps(items.collection(L1C if item["collection"] == L1C.id else L2A).to_dict())
        catalog.publish(documents.stored(item), collection=kind)
    assert all(one.converted for one in registered(catalog, storage, archive).values())
    assert seen(catalog) == converted and standing(catalog) == {State.SKIPPED: 2}
    assert catalog.ledger.failures() == []
    assert {one.error for one in catalog.ledger.failures(causes=["Converted"])} == {"its item is converted already"}
    assert catalog.ledger.retry(causes=["Converted"]) == 2


def test_what_is_rebuilt_has_its_bands_though_it_was_registered_after_it_was_converted(
    archive, catalog, storage, tmp_path, make_database
):
    list(convert_all(sorted(archive.iterdir()), Recipe(), storage, catalog))
    before, keys = seen(catalog), set(storage.keys())
    registered(catalog, storage, archive)
    assert set(storage.keys()) == keys, "what it would have been registered as is not left there"
    # As one that dies in between leaves it.
    elsewhere = Catalog(make_database("sqlite", migrated=True))
    registered(elsewhere, FolderStorage(tmp_path / "elsewhere"), archive)
    shutil.copytree(tmp_path / "elsewhere", storage.root, dirs_exist_ok=True)
    elsewhere.close()
    assert len(set(storage.keys()) - keys) == 2
    again = Catalog(make_database("sqlite", migrated=True))
    assert all(found.entered for found in rebuild(storage, again)) and seen(again) == before
    list(sweep(storage, again))
    assert set(storage.keys()) == keys
    again.close()


def test_a_product_is_found_though_another_link_is_told_once_its_item_is_converted(archive, catalog, storage):
    registered(catalog, storage, archive)
    catalog.ledger.choose(Search())
    list(bulk.run(catalog.ledger, Threads(catalog, storage, Setup(), 2)))
    before = seen(catalog)
    registered(catalog, storage, archive, root="https://files.example.se/archive")
    assert seen(catalog) == before
    for name, item in before.items():
        assert item["assets"]["product"]["href"].startswith(PRODUCTS)
        assert len(catalog.ledger.places(item["collection"], name)) == 1


def test_convert_keeps_the_link_of_a_registered_item(archive, catalog, storage):
    [path] = archive.glob("*.zip")
    registered(catalog, storage, path, root="https://x.se")
    list(convert_all([path], Recipe(), storage, catalog))
    [item] = seen(catalog).values()
    assert len(item["assets"]) > 10 and item["assets"]["product"]["href"] == f"https://x.se/{path.name}"


@pytest.fixture(scope="session")
def many(once):
    """Zips of many dates, of metadata alone."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import register as benchmark

    sys.path.remove(str(ROOT / "benchmarks"))
    return once("many zips", lambda folder: benchmark.copies(folder, 60))


@pytest.fixture(scope="session")
def undisturbed(many, tmp_path_factory, make_database):
    """What they are registered as where nothing goes wrong."""
    made = Catalog(make_database("sqlite", migrated=True))
    registered(made, FolderStorage(tmp_path_factory.mktemp("undisturbed")), many)
    return seen(made)


def test_those_who_register_and_publish_at_once_never_fail_on_each_other(
    many, archive, catalog, storage, make_item, make_collection
):
    """R4: two who register the same in other orders, and one who publishes some of it."""
    sources = list(find([str(many)]))
    names = [Path(source.place).stem for source in sources]
    kind = orjson.dumps({**orjson.loads(make_collection("sentinel-2-l2a")), "title": "older"})

    def publish(number):
        for name in random.Random(number).sample(names, 20):
            catalog.publish(make_item(name, collection="sentinel-2-l2a", **{"kartotek:recipe": "1"}), collection=kind)

    def enter(number):
        some = random.Random(number).sample(sources, len(sources))
        return len(list(register.register(some, storage, catalog, Limits(), processes=1)))

    with ThreadPoolExecutor(3) as threads:
        work = [threads.submit(enter, number) for number in range(2)] + [threads.submit(publish, 9)]
        assert all(one.result() != 0 for one in work)
    found = seen(catalog)
    assert set(found) == set(names)
    assert sum("kartotek:recipe" in item["properties"] for item in found.values()) == 20, "none has lost its bands"


def test_kill_9_at_any_moment_loses_and_doubles_nothing(many, undisturbed, catalog, storage):
    environment = os.environ | {"KARTOTEK_DATABASE": catalog.place, "KARTOTEK_STORAGE": str(storage.root)}
    chance, killed = random.Random(2), 0
    for last in (False, False, True):
        process = subprocess.Popen(
            [*COMMAND, "register", str(many), "--json"], env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            process.communicate(timeout=300 if last else chance.uniform(0.8, 2.5))
        except subprocess.TimeoutExpired:
            process.kill()  # those that it started end by themselves
            process.communicate()
            killed += 1
            found = seen(catalog)
            assert catalog.ledger.counts()[State.REGISTERED] == len(found)
            continue
        assert process.returncode == 0
    assert killed
    assert standing(catalog) == {State.REGISTERED: 60}
    assert seen(catalog) == undisturbed
    for content in catalog.search(OPERATOR, Search(limit=100)).items:
        assert content in [storage.read(key) for key in storage.keys(f"sentinel-2-l2a/{orjson.loads(content)['id']}/")]


class Away(FolderStorage):
    """A storage that can't be written to."""

    def create(self, key, source):
        raise StorageError("no room")


def test_a_storage_that_is_away_ends_it_and_nothing_is_visible(archive, catalog, tmp_path):
    with pytest.raises(StorageError, match="no room"):
        registered(catalog, Away(tmp_path / "store"), archive)
    assert seen(catalog) == {} and standing(catalog) == {}


SENSOR = """
import os, time
from dataclasses import replace
from converters.sensors.sentinel2 import SENTINEL2

class Deadly:
    name = "deadly"
    collections = (replace(SENTINEL2.collections[0], id="deadly"),)

    def recognise(self, files):
        return files.path.name.startswith("do-")

    def read(self, files, *, visual=False):
        if files.path.name == "do-memory.SAFE":
            return bytearray(1 << 40)
        if files.path.name == "do-leave.SAFE":
            raise SystemExit(3)
        os._exit(0)

SENSOR = Deadly()
"""


def test_a_product_that_kills_who_reads_it_takes_no_other_with_it(archive, tmp_path):
    package = tmp_path / "package" / "deadly-1.0.dist-info"
    package.mkdir(parents=True)
    (package.parent / "deadly.py").write_text(SENSOR)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[kartotek.sensors]\ndeadly = deadly:SENSOR\n")
    shutil.copytree(archive, tmp_path / "archive")
    for name in ("exit", "again", "memory", "leave"):
        (tmp_path / "archive" / f"do-{name}.SAFE").mkdir()
        (tmp_path / "archive" / f"do-{name}.SAFE" / "manifest.safe").touch()
    environment = os.environ | {"PYTHONPATH": f"{package.parent}{os.pathsep}{os.environ['PYTHONPATH']}"}
    done = subprocess.run(
        [*COMMAND, "register", "archive", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    told = {Path(one["product"]).stem: one for one in map(orjson.loads, done.stdout.splitlines())}
    assert sorted(one["status"] for one in told.values()) == ["failed"] * 4 + ["registered"] * 2
    assert "process that read its metadata died" in told["do-exit"]["reason"]
    assert "process that read its metadata died" in told["do-again"]["reason"]
    assert told["do-memory"]["error"] == "TooCostly" and told["do-leave"]["error"] == "BrokenProduct"
