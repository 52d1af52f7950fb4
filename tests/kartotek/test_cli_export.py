"""`kartotek export`: the catalog as files that others read, and that come back as they were."""

import multiprocessing
import resource
import subprocess
import sys
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import pystac
import pytest
import shapely
from click.testing import CliRunner
from pyarrow import parquet

from catalog import entries
from catalog.access import OPERATOR
from catalog.addresses import Addresses
from catalog.schemas import Schemas
from catalog.search import Search
from catalog.store import Catalog
from jobs import export as exporting
from jobs import targets
from kartotek.cli import cli
from kartotek.errors import TargetError
from kartotek.settings import Settings

COMMAND = [sys.executable, "-c", "from kartotek.cli import main; main()"]
ENVIRONMENT = {"KARTOTEK_URL": "https://geo.example.se/k", "KARTOTEK_FILES_URL": "https://files.example.se"}
FORMS = ["all.ndjson", "all.parquet", "static"]
COUNT = 30


@pytest.fixture
def contents(make_item):
    """The JSON of items: (collection, id) → bytes; those of `hidden` are private."""
    made = {}
    for number in range(COUNT):
        collection, name = ("first", "second", "hidden")[number % 3], f"item-{number:02}"
        own = f"{collection}/{name}"
        document = orjson.loads(
            make_item(
                name,
                collection=collection,
                footprint=shapely.box(10 + number, 60, 11 + number, 61),
                assets={
                    "B02": {"href": f"storage:///{own}/B02.{64 * '0'}.tif", "roles": ["data"]},
                    "product": {"href": f"product:///{own}.zip"},
                    "elsewhere": {"href": f"https://example.org/{name}.tif"},
                },
                **{"eo:cloud_cover": number, "nr": number, "title": f"{collection} å {number}"},
            )
        )
        via = {"rel": "via", "href": f"https://example.org/{name}", "type": "application/geo+json"}
        made[collection, name] = orjson.dumps({**document, "links": [via] if number % 2 else []})
    return made


@pytest.fixture
def collections(make_collection):
    """The JSON of the collections: id → bytes."""
    names = ("empty", "first", "hidden", "second")
    return {name: orjson.dumps({**orjson.loads(make_collection(name)), "links": _license(name)}) for name in names}


def _license(name):
    return [{"rel": "license", "href": "https://example.org/terms"}] if name == "first" else []


@pytest.fixture
def filled(new_database, contents, collections):
    """A catalog with those; its URL."""
    url = new_database(migrated=True)
    with closing(Catalog(url)) as catalog:
        for name, content in collections.items():
            catalog.put_collection(content, private=name == "hidden")
        catalog.load([entries.entry(content) for content in contents.values()])
    return url


@pytest.fixture
def kartotek(filled):
    """Runs a command on that catalog, or on another."""

    def run(*words, database=filled):
        return CliRunner().invoke(cli, [*map(str, words), "--database", database], env=ENVIRONMENT)

    return run


def done(result):
    assert result.exit_code == 0, result.output + repr(result.exception)
    return [orjson.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def held(database):
    """All items: (collection, id) → JSON; and the collections' JSON."""
    with closing(Catalog(database)) as catalog:
        items = catalog.walk(OPERATOR, Search(limit=1000))
        return {(place.collection, place.id): content for place, content in items}, list(
            catalog.collections(OPERATOR).values()
        )


def lines(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def ids(path):
    return {one["id"] for one in lines(path) if one["type"] == "Feature"}


def everything(path):
    """All that an export wrote, and what its files are called."""
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
        return repr([table.to_pylist(), table.schema.metadata]).encode()
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return b"\n".join(one.as_posix().encode() + b"\n" + one.read_bytes() for one in files)


def test_lines_that_are_exported_come_in_again_as_they_were(kartotek, new_database, contents, collections, tmp_path):
    path, other = tmp_path / "all.ndjson", new_database()
    [told] = done(kartotek("export", path, "--private", "--json"))
    assert told == {"target": str(path), "collections": 4, "items": COUNT, "bytes": path.stat().st_size}
    kinds = [one["type"] for one in lines(path)]
    assert kinds == ["Collection"] * 4 + ["Feature"] * COUNT
    done(kartotek("ingest", path, database=other))
    assert held(other) == (contents, [collections[name] for name in sorted(collections)])
    again = tmp_path / "again.ndjson"
    done(kartotek("export", again, "--private", database=other))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("form", FORMS[1:])
def test_other_forms_come_in_again_too(kartotek, new_database, contents, tmp_path, form):
    path, other = tmp_path / form, new_database()
    done(kartotek("export", path, "--private"))
    done(kartotek("ingest", path / "catalog.json" if path.is_dir() else path, database=other))
    found, _ = held(other)
    assert found.keys() == contents.keys()
    if form == "static":
        assert all(orjson.loads(content) == orjson.loads(contents[key]) for key, content in found.items())
        return
    for key, content in found.items():  # of which a table has a column each, and times as times
        item, given = orjson.loads(content), orjson.loads(contents[key])
        assert {name: asset["href"] for name, asset in item["assets"].items()} == {
            name: asset["href"] for name, asset in given["assets"].items()
        }
        assert item["properties"]["nr"] == given["properties"]["nr"] and item["links"] == given["links"]


def test_files_go_out_by_their_public_addresses_as_the_server_gives_them(kartotek, filled, contents, tmp_path):
    done(kartotek("export", tmp_path / "all.ndjson"))
    settings = Settings(database=filled, url=ENVIRONMENT["KARTOTEK_URL"], files_url=ENVIRONMENT["KARTOTEK_FILES_URL"])
    out = {(one["collection"], one["id"]): one for one in lines(tmp_path / "all.ndjson") if one["type"] == "Feature"}
    for key, item in out.items():
        assert item == orjson.loads(Addresses.of(settings).outward(contents[key]))
    item = out["first", "item-00"]
    assert item["assets"]["B02"]["href"] == f"https://files.example.se/first/item-00/B02.{64 * '0'}.tif"
    assert item["assets"]["product"]["href"] == "https://geo.example.se/k/products/first/item-00.zip"
    assert out["second", "item-01"]["links"] == orjson.loads(contents["second", "item-01"])["links"] != []


@pytest.mark.parametrize("form", FORMS)
def test_what_is_private_is_in_no_public_export(kartotek, contents, tmp_path, form):
    secret = {name for collection, name in contents if collection == "hidden"}
    said = kartotek("export", tmp_path / form)
    assert (
        said.exit_code == 0
        and "3 collections, 20 items" in said.output
        and "private collections left out: 1" in said.output
    )
    written = everything(tmp_path / form)
    assert not any(word.encode() in written for word in ("hidden", *secret))
    if form != "static":
        whole = tmp_path / f"whole-{form}"
        done(kartotek("export", whole, "--private"))
        assert b"hidden" in everything(whole)
    named = kartotek("export", tmp_path / f"named-{form}", "--collections", "hidden")
    assert named.exit_code == 1 and "no collection 'hidden'" in str(named.exception)
    assert "--private" in str(named.exception) and not (tmp_path / f"named-{form}").exists()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--collections", "first"], lambda nr: nr % 3 == 0),
        (["--bbox", "10.5,60,12.5,61"], lambda nr: nr < 3),
        (["--datetime", "2023"], None),
        (["--datetime", "2024-06-01"], lambda nr: True),
        (["--datetime", "2024-06-02/.."], lambda nr: False),
        (["--ids", "item-03,item-04"], lambda nr: nr in (3, 4)),
        (["--filter", "nr >= 7 AND eo:cloud_cover < 10"], lambda nr: 7 <= nr < 10),
        (["--filter", "title LIKE 'first%'", "--bbox", "10,60,20,61"], lambda nr: nr % 3 == 0 and nr <= 10),
    ],
)
def test_what_is_asked_for_is_exported_and_nothing_else(kartotek, tmp_path, options, wanted):
    path = tmp_path / "some.ndjson"
    found = kartotek("export", path, *options)
    if wanted is None:
        assert found.exit_code == 1 and "datetime" in str(found.exception) and not path.exists()
        return
    done(found)
    assert ids(path) == {f"item-{nr:02}" for nr in range(COUNT) if nr % 3 != 2 and wanted(nr)}
    kinds = {one["id"] for one in lines(path) if one["type"] == "Collection"}
    assert kinds == ({"first"} if "--collections" in options else {"empty", "first", "second"})


def test_a_static_catalogue_is_walked_by_pystac_and_valid(kartotek, contents, tmp_path):
    [told] = done(kartotek("export", tmp_path / "static", "--json"))
    assert told["bytes"] == sum(one.stat().st_size for one in (tmp_path / "static").rglob("*.json"))
    root = pystac.Catalog.from_file(str(tmp_path / "static" / "catalog.json"))
    assert {one.id for one in root.get_children()} == {"empty", "first", "second"}
    found = {(item.collection_id, item.id): item for item in root.get_items(recursive=True)}
    assert found.keys() == {key for key in contents if key[0] != "hidden"}
    for item in found.values():
        assert item.get_root() is root and item.get_parent().id == item.get_collection().id == item.collection_id
    schemas = Schemas()
    for path in (tmp_path / "static").rglob("*.json"):
        document = orjson.loads(path.read_bytes())
        assert schemas.errors(document) == []
        for link in document["links"]:
            assert link["rel"] != "self"
            if link["rel"] in ("root", "parent", "child", "item", "collection"):
                assert link["href"].startswith(("./", "../")) and (path.parent / link["href"]).is_file()
    assert (tmp_path / "static" / "first" / "item-00" / "item-00.json").is_file()
    moved = (tmp_path / "static").rename(tmp_path / "elsewhere")
    assert len(list(pystac.Catalog.from_file(str(moved / "catalog.json")).get_items(recursive=True))) == 20


def test_no_id_leads_out_of_the_folder_or_hides_another(new_database, make_item, make_collection, tmp_path):
    url = new_database(migrated=True)
    names = ["..", ".", "collection.json", "Catalog.json", "å ä?#%2F", "a" * 300, ".hidden", "a\\b", "plain"]
    with closing(Catalog(url)) as catalog:
        for collection in ("..", "catalog.json"):
            catalog.put_collection(make_collection(collection))
            catalog.load([entries.entry(make_item(name, collection=collection)) for name in names])
    folder = tmp_path / "in" / "static"
    folder.mkdir(parents=True)
    done(CliRunner().invoke(cli, ["export", str(folder), "--database", url]))
    root = pystac.Catalog.from_file(str(folder / "catalog.json"))
    found = [(item.collection_id, item.id) for item in root.get_items(recursive=True)]
    assert sorted(found) == sorted((collection, name) for collection in ("..", "catalog.json") for name in names)
    assert list(tmp_path.iterdir()) == [folder.parent] and list(folder.parent.iterdir()) == [folder]


def test_what_is_there_already_is_refused_with_the_way_out(kartotek, tmp_path):
    path, folder = tmp_path / "all.ndjson", tmp_path / "static"
    done(kartotek("export", path, "--collections", "first"))
    done(kartotek("export", folder))
    before = path.read_bytes()
    for words, reason in (
        ([path], "is there already; --overwrite replaces it"),
        ([folder], "is not empty"),
        ([folder, "--overwrite"], "a folder is not overwritten"),
        ([tmp_path / "items.json"], ".json is not written; give a name that ends in .ndjson or .parquet"),
    ):
        found = kartotek("export", *words)
        assert found.exit_code == 1 and reason in str(found.exception), found.output
    assert path.read_bytes() == before
    done(kartotek("export", path, "--overwrite"))
    assert path.read_bytes() != before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["all.ndjson", "static"]


@contextmanager
def no_file_longer_than(size):
    """As on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("form", FORMS)
def test_where_it_fails_nothing_is_left_and_what_was_there_stays(filled, tmp_path, form):
    path = tmp_path / form
    if form != "static":
        path.write_bytes(b"before")
    to = targets.opened(path, title="t", overwrite=form != "static")
    with closing(Catalog(filled)) as catalog:
        catalog.check()  # so that SQLite has made its files
        with no_file_longer_than(900), pytest.raises(TargetError, match="can't be written: File too large"):
            exporting.export(catalog, OPERATOR, Search(), Addresses(files="f/", products="p/"), to)
    if form == "static":
        assert list(tmp_path.iterdir()) == []
    else:
        assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere/all.ndjson"], "nowhere/all.ndjson: can't be written: No such file or directory"),
        (["a.ndjson", "--collections", "none"], "no collection 'none'"),
        (["a.ndjson", "--filter", "nr >"], "filter: no CQL2 text"),
        (["a.ndjson", "--filter", "unheard = 1"], "unheard"),
        (["a.parquet", "--ids", "none"], "no item is found"),
    ],
)
def test_what_can_t_be_done_is_one_line(filled, tmp_path, words, reason):
    found = subprocess.run(
        [*COMMAND, "export", *words, "--database", filled], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (1, "", 1) and reason in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_stac_geoparquet_has_the_collections_in_its_metadata(kartotek, tmp_path):
    done(kartotek("export", tmp_path / "all.parquet", "--collections", "first,second"))
    found = parquet.ParquetFile(tmp_path / "all.parquet")
    assert found.metadata.num_rows == 20
    described = orjson.loads(found.schema_arrow.metadata[b"stac-geoparquet"])["collections"]
    assert {name: one["title"] for name, one in described.items()} == {"first": "First", "second": "Second"}


def exported_alone(url, path):
    """Items that were exported, in pages of 50, and the bytes that were in memory at once."""
    exporting.PAGE = 50
    with closing(Catalog(url)) as catalog:
        to = targets.opened(path, title="t", overwrite=False)
        tracemalloc.start()
        found = exporting.export(catalog, OPERATOR, Search(), Addresses(files="f/", products="p/"), to)
        return found.items, tracemalloc.get_traced_memory()[1]


@pytest.mark.parametrize("form", ["all.ndjson", "static"])
def test_memory_does_not_grow_with_the_number_of_items(new_database, make_item, make_collection, tmp_path, form):
    """Each in a process of its own, where no other test's threads and leavings are counted."""
    url, peaks = new_database(migrated=True), []
    alone = {"max_workers": 1, "max_tasks_per_child": 1, "mp_context": multiprocessing.get_context("spawn")}
    with closing(Catalog(url)) as catalog, ProcessPoolExecutor(**alone) as processes:
        catalog.put_collection(make_collection())
        for start, stop in ((0, 200), (200, 1_000)):
            made = (make_item(f"item-{number:05}", text=1_000 * "a") for number in range(start, stop))
            catalog.load([entries.entry(content) for content in made])
            written, peak = processes.submit(exported_alone, url, tmp_path / f"{stop}-{form}").result()
            assert written == stop
            peaks.append(peak)
    assert peaks[1] < 1.5 * peaks[0]


def test_who_writes_meanwhile_moves_nothing(new_database, make_item, make_collection, tmp_path, monkeypatch):
    """Items that get another time while they are exported are in it once each."""
    monkeypatch.setattr(exporting, "PAGE", 7)
    path, count = tmp_path / "all.ndjson", iter(range(1_000))
    with closing(Catalog(new_database(migrated=True))) as catalog:
        catalog.put_collection(make_collection())
        catalog.load([entries.entry(make_item(f"item-{number:02}")) for number in range(50)])

        def change():
            name = f"item-{next(count):02}"
            document = orjson.loads(make_item(name, title="changed"))
            document["properties"]["datetime"] = "2001-01-01T00:00:00Z"
            catalog.load([entries.of(document)])

        to = targets.opened(path, title="t", overwrite=False)
        exporting.export(catalog, OPERATOR, Search(), Addresses(files="f/", products="p/"), to, seen=change)
    assert [one["id"] for one in lines(path)[1:]] == [f"item-{number:02}" for number in range(50)]


def test_a_folder_that_is_there_stays_the_same_folder(kartotek, tmp_path, monkeypatch):
    """As it may be where somebody is, or where a disk is mounted."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = here.stat().st_ino
    done(kartotek("export", "."))
    assert here.stat().st_ino == before and sorted(one.name for one in Path().iterdir()) == [
        "catalog.json", "empty", "first", "second",
    ]  # fmt: skip
