"""`kartotek copy`: a catalog into another database, from each kind to each."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import orjson
import pytest
import shapely
from click.testing import CliRunner

from catalog import entries
from catalog.access import OPERATOR, PUBLIC
from catalog.ledger import Source, State, Work
from catalog.search import Search
from catalog.store import Catalog
from kartotek.cli import cli
from kartotek.squares import Spread, Square

COMMAND = [sys.executable, "-c", "from kartotek.cli import main; main()"]
WAYS = [("sqlite", "postgis"), ("postgis", "sqlite"), ("sqlite", "sqlite"), ("postgis", "postgis")]
GROUND = shapely.set_srid(shapely.box(600_000, 6_600_000, 700_000, 6_700_000), 32633)
COUNT = 1_100
"""More than a batch."""


@pytest.fixture(params=WAYS[:2], ids=" to ".join)
def sides(request, make_database):
    """The URLs of two catalogs of different kinds, of which the second is an empty database."""
    one, other = request.param
    return make_database(one, migrated=True), make_database(other)


@pytest.fixture
def filled(sides, make_item, make_collection):
    """The URL of the first, with all that a catalog holds."""
    with closing(Catalog(sides[0])) as catalog:
        catalog.put_collection(make_collection("empty"))
        for name in ("first", "hidden"):
            catalog.put_collection(make_collection(name), private=name == "hidden")
        catalog.load(
            [
                entries.entry(make_item(f"item-{nr:04}", collection=("first", "hidden")[nr % 100 == 0], nr=nr))
                for nr in range(COUNT)
            ]
        )
        for nr in range(45):
            catalog.publish(
                make_item(
                    f"counted-{nr:02}", collection="first", footprint=shapely.box(10 + nr / 9, 60, 11 + nr / 9, 61)
                ),
                collection=make_collection("first"),
                counted=_squares(nr),
            )
        _fill_ledger(catalog, make_item, make_collection)
    return sides[0]


def _squares(nr):
    spread = Spread(100, 0.25, 0.1, (100, *[0] * 39))
    return [
        Square(5_000 * step, 6_600_000, 100 + nr, None if nr % 2 else 90, {4: 100}, {"ndvi": spread})
        for step in range(1 + nr % 4)
    ]


def _fill_ledger(catalog, make_item, make_collection):
    """One product done, one in hand, one that failed, and one that waits."""
    at = datetime(2024, 6, 1, 10, 0, 0, 123_000, tzinfo=UTC)
    places = ("/archive/done.zip", "/archive/running.zip", "/archive/failed.zip", "/archive/waiting.zip")
    catalog.ledger.add([Source(place=place, sensed=at, take="T1", zone=33, href=place) for place in places])
    done = catalog.ledger.claim("me", seconds=60)
    work = Work(timings={"read": 1.5}, bytes_read=10, recipe="r1", checksum="c" * 64, ground=GROUND)
    made = make_item("of-the-ledger", collection="hidden")
    catalog.publish(made, collection=make_collection("hidden"), done=(done, work))
    catalog.ledger.claim("me", seconds=60)
    failed = catalog.ledger.claim("me", seconds=60)
    catalog.ledger.fail(failed, cause="BrokenProduct", error="broken", log="said", most=1)


def kartotek(*words):
    return CliRunner().invoke(cli, [*map(str, words)])


def done(result, *, exit_code=0):
    """The objects that a command printed, each by its collection; that of the end by None."""
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    found = [orjson.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return {one.get("collection"): one for one in found}


def everything(url):
    """All that a catalog holds, as whoever asks it is told."""
    with closing(Catalog(url)) as catalog:
        items = dict(catalog.walk(OPERATOR, Search(limit=1_000)))
        return {
            "collections": catalog.collections(OPERATOR),
            "private": catalog.private(),
            "items": [(place.collection, place.id, content) for place, content in items.items()],
            "near": catalog.search(PUBLIC, Search(area=shapely.box(10, 60, 10.5, 61), limit=1_000)).items,
            "squares": {
                place.id: catalog.squares(OPERATOR, place.collection, place.id)
                for place in items
                if place.id.startswith("counted")
            },
            "summaries": catalog.summaries(OPERATOR),
            "products": [row for rows in catalog.copies.products() for row in rows],
        }


def without_summaries(url):
    """Where items were replaced, summaries may tell of more than there is."""
    return {name: value for name, value in everything(url).items() if name != "summaries"}


def test_all_of_it_is_there_afterwards_and_the_second_time_changes_nothing(filled, sides):
    told = done(kartotek("copy", *sides, "--json"))
    before, after = everything(filled), everything(sides[1])
    assert after == before and len(after["near"]) > 3 and after["private"] == {"hidden"}
    assert told["first"] == {
        "collection": "first", "items": 1134, "squares": 111, "added": 1134, "replaced": 0, "unchanged": 0,
        "differs": [],
    }  # fmt: skip
    assert told[None] == {"collections": 3, "products": 4, "written": 4, "differing": []}
    again = done(kartotek("copy", *sides, "--json"))
    assert [again["first"][name] for name in ("added", "replaced", "unchanged")] == [0, 0, 1134]
    assert again[None] == {"collections": 3, "products": 4, "written": 0, "differing": []}
    assert everything(sides[1]) == before
    said = kartotek("copy", *sides)
    assert said.output.splitlines()[1:] == [
        "first: 0 added, 0 replaced, 1134 unchanged; 1134 items and 111 squares, the same on both sides",
        "hidden: 0 added, 0 replaced, 12 unchanged; 12 items and 0 squares, the same on both sides",
        "ledger: 4 products, 0 written",
    ]
    back = done(kartotek("copy", sides[1], filled, "--json"))
    assert back[None]["differing"] == [] and back["first"]["unchanged"] == 1134


def test_products_come_without_lease_in_the_order_in_which_they_were_entered(filled, sides):
    done(kartotek("copy", *sides))
    with closing(Catalog(sides[1])) as catalog:
        [finished, leased, failed, waiting] = [row for rows in catalog.copies.products() for row in rows]
        assert catalog.ledger.counts()[State.RUNNING] == 0 and catalog.ledger.owners() == {}
        assert catalog.ledger.counts()[State.WAITING] == 2
        assert (leased["place"], leased["state"]) == ("/archive/running.zip", "waiting")
        assert leased["owner"] is leased["leased_until"] is None
        assert (finished["timings"], finished["item"]) == ({"read": 1.5}, "of-the-ledger")
        assert finished["ground"].equals(GROUND) and shapely.get_srid(finished["ground"]) == 32633
        assert failed["cause"] == "BrokenProduct" and waiting["timings"] is None
        assert catalog.ledger.claim("other", seconds=60).place == waiting["place"], "it has been tried least"


def test_a_worker_of_the_target_loses_what_a_copy_replaces(filled, sides):
    done(kartotek("copy", *sides))
    with closing(Catalog(sides[1])) as catalog:
        lease = catalog.ledger.claim("other", seconds=60)
        assert done(kartotek("copy", *sides, "--json"))[None]["written"] == 1
        assert catalog.ledger.renew([lease], seconds=60) == 0
        assert catalog.ledger.claim("other", seconds=60).fence > lease.fence


def test_collections_that_are_named_come_alone(filled, sides):
    told = done(kartotek("copy", *sides, "--collections", "hidden", "--json"))
    assert told.keys() == {"hidden", None} and told[None]["products"] == 1
    found = everything(sides[1])
    assert {collection for collection, _, _ in found["items"]} == {"hidden"} == found["private"]


def test_what_differs_is_made_the_same_or_named(filled, sides, make_item, make_collection):
    done(kartotek("copy", *sides))
    with closing(Catalog(sides[1])) as target, closing(Catalog(filled)) as source:
        target.load([entries.entry(make_item("item-0001", collection="first", title="another"))])
        target.delete_item("first", "item-0002")
        target.put_collection(make_collection("empty", title="another"))
        number = target.copies.held("first", ["counted-03"])["counted-03"].number
        target.copies.put_squares({number: []})
        source.load([entries.entry(make_item("new", collection="hidden"))])
        told = done(kartotek("copy", *sides, "--json"))
        assert [told["first"][name] for name in ("added", "replaced", "unchanged")] == [1, 1, 1132]
        assert told["hidden"]["added"] == 1 and without_summaries(sides[1]) == without_summaries(filled)

        target.load([entries.entry(make_item("more", collection="first"))])
        told = done(kartotek("copy", *sides, "--json"), exit_code=1)
        assert told["first"]["differs"] == ["items", "contents"] and told[None]["differing"] == ["first"]
        said = kartotek("copy", *sides)
        assert said.exit_code == 1 and said.stderr.splitlines() == [
            "Error: first: SOURCE and TARGET differ: 1134 and 1135 items, what stands in the items"
        ]


def test_what_is_hidden_on_either_side_stays_hidden(filled, sides):
    done(kartotek("copy", *sides))
    with closing(Catalog(sides[1])) as target, closing(Catalog(filled)) as source:
        content = source.collection(OPERATOR, "hidden")
        source.put_collection(content, private=False)
        said = kartotek("copy", *sides)
        assert said.exit_code == 1 and "hidden: SOURCE and TARGET differ: public and private" in said.stderr
        assert "kartotek collection hidden --public" in said.stderr and target.private() == {"hidden"}
        source.put_collection(content, private=True)
        source.put_collection(source.collection(OPERATOR, "first"), private=True)
        done(kartotek("copy", *sides))
        assert target.private() == {"first", "hidden"}


@pytest.mark.parametrize(
    "way", [WAYS[0], *(pytest.param(way, marks=pytest.mark.full) for way in WAYS[1:])], ids=" to ".join
)
def test_killed_at_any_moment_it_goes_on_and_all_is_there_once(way, make_database, make_item, make_collection):
    one, other = make_database(way[0], migrated=True), make_database(way[1], migrated=True)
    count, square = 3_000, _squares(0)
    with closing(Catalog(one)) as source, closing(Catalog(other)) as target:
        source.put_collection(make_collection())
        source.load([entries.entry(make_item(f"item-{number:05}", nr=number)) for number in range(count)])
        held = source.copies.held("generated", [f"item-{number:05}" for number in range(0, 1_000, 10)])
        rows = [dict(_row(one)) for one in square]
        source.copies.put_squares({one.number: rows for one in held.values()})
        source.ledger.add([Source(place=f"/archive/{number}.zip") for number in range(1_000)])
        command = [*COMMAND, "copy", one, other, "--json"]
        killed = []
        for pause in (0, 0.2):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
            before, began = _progress(target), time.monotonic()
            while _progress(target) == before and process.poll() is None and time.monotonic() - began < 60:
                time.sleep(0.02)
            time.sleep(pause)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            killed.append(_progress(target))
        assert 0 < killed[0][0] < count, "it was killed halfway"
        told = done(kartotek("copy", one, other, "--json"))
        assert told["generated"]["differs"] == [] and told["generated"]["added"] < count
        assert (told["generated"]["items"], told["generated"]["squares"]) == (count, 100)
        assert target.summaries(OPERATOR)["generated"].count == count
        assert target.ledger.counts()[State.WAITING] == 1_000
    assert everything(other) == everything(one)


def _row(square):
    names = ("east", "north", "valid", "clear")
    spreads = {name: {"count": spread.count} for name, spread in square.indices.items()}
    classes = {str(code): count for code, count in square.classes.items()}
    return {**{name: getattr(square, name) for name in names}, "classes": classes, "indices": spreads, "recipe": "1"}


def _progress(catalog):
    return sum(catalog.counts(OPERATOR).values()), catalog.ledger.counts()[State.WAITING]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{empty}", "{other}"], "`kartotek migrate`"),
        (["sqlite:///{folder}/none.db", "{other}"], "no such database"),
        (["{filled}", "{filled}"], "is SOURCE and TARGET"),
        (["{filled}", "{other}", "--collections", "none"], "no collection 'none'"),
        (["{filled}", "mysql://db/kartotek"], "mysql is not known"),
        (["{filled}", "postgresql://nobody@127.0.0.1:9/none"], "127.0.0.1:9/none"),
    ],
)
def test_what_can_t_be_copied_is_one_line_and_makes_nothing(new_database, tmp_path, words, reason):
    empty = Catalog(new_database())
    names = {
        "filled": new_database(migrated=True),
        "empty": empty.place,
        "other": f"sqlite:///{tmp_path / 'other.db'}",
        "folder": tmp_path,
    }
    empty.close()
    given = [word.format(**names) for word in words]
    found = subprocess.run([*COMMAND, "copy", *given], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (1, "", 1) and reason in found.stderr
    assert list(tmp_path.iterdir()) == []
