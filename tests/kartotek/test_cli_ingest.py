"""`kartotek ingest`: items of other catalogues, from wherever they come."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import orjson
import pystac
import pytest
import shapely
from click.testing import CliRunner

from catalog import entries
from catalog.access import OPERATOR, PUBLIC
from catalog.search import Search
from catalog.store import Catalog
from jobs.ingest import Manner, ingest, name_of
from jobs.origins import Batch, Wanted
from kartotek.cli import cli
from kartotek.errors import OriginError
from kartotek.settings import Settings

COMMAND = [sys.executable, "-c", "from kartotek.cli import main; main()"]
SCHEMAS = Path(__file__).resolve().parents[3] / "shared" / "schemas"
COUNT = 1_200
MANNER = Manner(wanted=Wanted(), validate=False)


@pytest.fixture
def kartotek(new_database):
    """Runs a command on an empty catalog."""
    database = new_database()

    def run(*words, database=database, **environment):
        return CliRunner().invoke(cli, [*words, "--database", database], env=environment)

    run.database = database
    return run


@pytest.fixture
def contents(make_item):
    """The JSON of many items: id → document."""
    made = [
        make_item(f"item-{number:04}", footprint=shapely.box(10 + number / 200, 60, 11 + number / 200, 61), nr=number)
        for number in range(COUNT)
    ]
    return {document["id"]: document for document in map(orjson.loads, made)}


@pytest.fixture
def lines(tmp_path, contents, make_collection):
    """A file with a collection and its items."""
    path = tmp_path / "items.ndjson"
    documents = [make_collection(), *map(orjson.dumps, contents.values())]
    path.write_bytes(b"\n".join(documents) + b"\n")
    return path


def seen(database):
    """All that a reader sees: id → JSON."""
    catalog = Catalog(database)
    found = {item["id"]: item for item in map(orjson.loads, catalog.search(PUBLIC, Search(limit=10_000)).items)}
    catalog.close()
    return found


def told(result, *, exit_code=0):
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    return [orjson.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def counts(document):
    return {name: document[name] for name in ("added", "replaced", "unchanged", "refused")}


def test_lines_come_in_as_they_are_and_twice_is_once(kartotek, lines, contents):
    [first] = told(kartotek("ingest", str(lines), "--json"))
    assert counts(first) == {"added": COUNT, "replaced": 0, "unchanged": 0, "refused": 0} and first["collections"] == 1
    assert seen(kartotek.database) == contents
    again = kartotek("ingest", str(lines))
    assert again.exit_code == 0 and f"0 added, 0 replaced, {COUNT} unchanged, 0 refused, 1 collections" in again.output


@pytest.mark.parametrize("form", ["collection", "parquet", "static", "sequence"])
def test_other_forms_come_in_as_well(kartotek, lines, contents, make_collection, tmp_path, form):
    kind = orjson.loads(make_collection())
    match form:
        case "collection":
            path = tmp_path / "items.json"
            path.write_bytes(
                orjson.dumps({"type": "FeatureCollection", "collections": [kind], "features": [*contents.values()]})
            )
        case "sequence":
            path = tmp_path / "items.geojsons"
            path.write_bytes(b"".join(b"\x1e" + orjson.dumps(one) + b"\n" for one in [kind, *contents.values()]))
        case "parquet":
            from stac_geoparquet.arrow import parse_stac_ndjson_to_parquet

            (tmp_path / "only.ndjson").write_bytes(b"\n".join(map(orjson.dumps, contents.values())))
            path = tmp_path / "items.parquet"
            parse_stac_ndjson_to_parquet(tmp_path / "only.ndjson", path, collections={"generated": kind})
        case "static":
            made = pystac.Collection.from_dict(kind)
            made.add_items([pystac.Item.from_dict(one) for one in list(contents.values())[:40]])
            root = pystac.Catalog("root", "made by pystac")
            root.add_child(made)
            root.normalize_and_save(str(tmp_path / "static"), pystac.CatalogType.SELF_CONTAINED)
            path = tmp_path / "static" / "catalog.json"
    [found] = told(kartotek("ingest", str(path), "--json"))
    there = seen(kartotek.database)
    assert counts(found) == {"added": len(there), "replaced": 0, "unchanged": 0, "refused": 0}
    assert len(there) == (40 if form == "static" else COUNT)
    for name, item in there.items():
        if form == "parquet":  # which has a column for each property, and times as times
            assert item["properties"]["nr"] == contents[name]["properties"]["nr"]
            assert shapely.geometry.shape(item["geometry"]).equals(shapely.geometry.shape(contents[name]["geometry"]))
        else:
            assert item == contents[name]


def test_another_server_s_items_come_page_by_page_and_say_where_they_came_from(
    kartotek, lines, contents, new_database, serving, tmp_path
):
    other = new_database()
    told(kartotek("ingest", str(lines), "--json", database=other))
    with serving(Settings(database=other, storage=str(tmp_path))) as server:
        asked = [server.root, "--bbox", "10,60,12,61", "--datetime", "2024-06-01", "--rate", "1000", "--json"]
        [found] = told(kartotek("ingest", *asked))
        there = seen(kartotek.database)
        wanted = {name for name, item in contents.items() if item["bbox"][0] <= 12}
        assert set(there) == wanted and len(wanted) > 300 and counts(found)["added"] == len(wanted)
        for name, item in there.items():
            assert item["links"] == [
                {
                    "rel": "via",
                    "href": f"{server.root}/collections/generated/items/{name}",
                    "type": "application/geo+json",
                }
            ]
        [again] = told(kartotek("ingest", *asked))
        assert counts(again) == {"added": 0, "replaced": 0, "unchanged": len(wanted), "refused": 0}
        everything = told(kartotek("ingest", server.root, "--rate", "1000", "--json"))
        assert everything[0]["added"] == COUNT - len(wanted)


def test_what_is_not_wanted_is_passed_over(kartotek, lines):
    [found] = told(kartotek("ingest", str(lines), "--bbox", "10,60,12,61", "--json"))
    assert found["passed"] == COUNT - found["added"] > 0
    [none] = told(kartotek("ingest", str(lines), "--datetime", "2023-01-01/2023-12-31", "--json"))
    assert none["passed"] == COUNT and none["added"] == 0


def test_what_is_not_valid_is_refused_by_its_line_and_the_rest_goes_on(kartotek, lines, tmp_path):
    good = lines.read_bytes().splitlines()
    lines.write_bytes(b"\n".join([*good[:3], b"{", b"7", good[3].replace(b'"2024-06-01', b'"yesterday'), *good[4:]]))
    report = tmp_path / "refused.ndjson"
    found = kartotek("ingest", str(lines), "--refused", str(report), "--json")
    assert counts(told(found, exit_code=1)[0]) == {"added": COUNT - 1, "replaced": 0, "unchanged": 0, "refused": 3}
    reasons = {one["place"]: one["reason"] for one in map(orjson.loads, report.read_bytes().splitlines())}
    assert set(reasons) == {"line 4", "line 5", "line 6"}
    assert "no JSON" in reasons["line 4"] and "JSON object" in reasons["line 5"] and "datetime" in reasons["line 6"]
    said = kartotek("ingest", str(lines))
    assert said.exit_code == 1 and f"Error: {lines}: line 4: no JSON" in said.output


def test_schemas_at_hand_are_used_and_others_are_told_of(kartotek, make_item, make_collection, tmp_path):
    document = orjson.loads(make_item("one", **{"eo:cloud_cover": 200}))
    own = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
    path = tmp_path / "one.ndjson"
    path.write_bytes(make_collection() + b"\n" + orjson.dumps(document | {"stac_extensions": [own]}) + b"\n")
    [without] = told(kartotek("ingest", str(path), "--json"))
    assert without["unchecked"] == [own] and without["added"] == 1
    if not SCHEMAS.is_dir():
        pytest.skip("no schemas of extensions here (../shared/schemas)")
    found = kartotek("ingest", str(path), KARTOTEK_SCHEMAS=str(SCHEMAS))
    assert found.exit_code == 1 and "line 2: one: not valid: properties" in found.output
    assert kartotek("ingest", str(path), "--no-validate", KARTOTEK_SCHEMAS=str(SCHEMAS)).exit_code == 0


def test_an_item_without_its_collection_is_refused_with_the_way_out(kartotek, tmp_path, make_item):
    path = tmp_path / "one.ndjson"
    path.write_bytes(make_item("one"))
    found = kartotek("ingest", str(path))
    assert found.exit_code == 1 and "no collection 'generated'; give its JSON as a SOURCE too" in found.output


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.ndjson", None, "no such file"),
        ("a.txt", b"", "give NDJSON"),
        ("a.json", b"{", "no JSON that can be read"),
        ("a.json", b'{"type":"Topology"}', "neither an item"),
        ("a.parquet", b"PAR1", "no Parquet that can be read"),
    ],
)
def test_what_is_no_source_is_named_with_what_would_be(kartotek, tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found = kartotek("ingest", str(tmp_path / name))
    assert found.exit_code == 1 and reason in str(found.exception) and name in str(found.exception)


def test_a_server_that_is_not_there_is_one_line(tmp_path):
    where = f"sqlite:///{tmp_path / 'catalog.db'}"
    command = [*COMMAND, "ingest", "http://127.0.0.1:9/", "--database", where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: http://127.0.0.1:9/")


def test_killed_at_any_moment_it_goes_on_and_all_is_in_once(
    tmp_path, contents, make_collection, make_item, new_database
):
    database, path = new_database(), tmp_path / "many.ndjson"
    catalog, intake = Catalog(database), name_of(str(path), Wanted())
    catalog.ready()
    many = [make_item(f"item-{number:05}", nr=number) for number in range(8_000)]
    path.write_bytes(b"\n".join([make_collection(), *many]) + b"\n")
    command = [*COMMAND, "ingest", str(path), "--json", "--no-validate", "--workers", "2", "--database", database]
    for pause in (0, 0.05, 0.1):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        began, before = time.monotonic(), catalog.intakes.place(intake)
        while catalog.intakes.place(intake) == before and process.poll() is None and time.monotonic() - began < 60:
            time.sleep(0.01)
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, timeout=300, check=True)
    last = orjson.loads(done.stdout)
    assert last["added"] + last["unchanged"] < len(many), "it went on where it was"
    assert catalog.counts(OPERATOR) == {"generated": len(many)}
    assert catalog.summaries(OPERATOR)["generated"].count == len(many)
    assert catalog.intakes.place(intake) is None
    catalog.close()


def test_files_of_ours_come_back_as_ours(kartotek, tmp_path, make_item, make_collection):
    given = orjson.loads(
        make_item("one", assets={"B02": {"href": "http://127.0.0.1:8000/files/generated/one/B02.x.tif"}})
    )
    path = tmp_path / "one.ndjson"
    path.write_bytes(make_collection() + b"\n" + orjson.dumps(given))
    told(kartotek("ingest", str(path), "--json"))
    assert seen(kartotek.database)["one"]["assets"]["B02"]["href"] == "storage:///generated/one/B02.x.tif"
    entries.entry(orjson.dumps(seen(kartotek.database)["one"]))
    shutil.rmtree(tmp_path / "static", ignore_errors=True)


class Broken:
    """A source that ends after a batch."""

    size = None

    def __init__(self, *documents):
        self._documents = documents

    def batches(self, place):
        """That batch."""
        yield Batch(self._documents, 1, 1, tuple("ab"[: len(self._documents)]))
        raise OriginError("it is gone")


def test_what_came_before_a_source_ended_is_in(new_database, make_item, make_collection):
    settings = Settings(database=new_database(migrated=True), _env_file=None)
    with closing(Catalog(settings.database)) as catalog, pytest.raises(OriginError, match="gone"):
        list(ingest(Broken(make_collection(), make_item("a")), "x", settings, catalog, MANNER, processes=1))
    assert list(seen(settings.database)) == ["a"]
