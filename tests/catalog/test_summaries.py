"""Collections that keep themselves, and how many items a search finds."""

# ruff: noqa: E501  statements are read best by the line

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import shapely
import shapely.affinity
from sqlalchemy.dialects import sqlite

from catalog import dialects, statements, summaries
from catalog.access import OPERATOR, PUBLIC
from catalog.matched import Matched
from catalog.queryables import Kind
from catalog.search import Search
from catalog.store import Catalog
from catalog.tally import EMPTY


def test_number_place_time_and_values_follow_what_is_written_and_removed(catalog, make_item, make_collection):
    west, east = shapely.box(10, 55, 11, 56), shapely.box(20, 65, 21, 66)
    kind = make_collection()
    assert catalog.summaries(PUBLIC) == {}
    catalog.publish(make_item("a", footprint=west, platform="one", **{"sat:relative_orbit": 1}), collection=kind)
    catalog.publish(make_item("b", footprint=east, platform="two", created="2024-06-01T00:00:00Z"), collection=kind)
    found = catalog.summaries(PUBLIC)["generated"]
    assert (found.count, found.bounds) == (2, (10, 55, 21, 66))
    assert found.facts["platform"].values == {"one", "two"}
    assert found.facts["sat:relative_orbit"].kind is Kind.INTEGER and found.facts["created"].kind is Kind.INSTANT
    assert found.start == found.end == "2024-06-01T10:00:00.000000Z"
    for _ in range(2):  # in the place of itself, moved, and then as it is
        catalog.publish(make_item("b", footprint=shapely.box(15, 60, 16, 61)), collection=kind)
        found = catalog.summaries(PUBLIC)["generated"]
        assert (found.count, found.bounds) == (2, (10, 55, 16, 61))
    catalog.delete_item("generated", "a")
    found = catalog.summaries(PUBLIC)["generated"]
    assert (found.count, found.bounds) == (1, (15, 60, 16, 61))
    catalog.delete_item("generated", "b")
    found = catalog.summaries(PUBLIC)["generated"]
    assert (found.count, found.bounds, found.start) == (0, None, None)


@pytest.mark.parametrize("count", [80, pytest.param(150, marks=pytest.mark.full)])
def test_many_writers_at_once_count_every_item_once(catalog, make_item, make_collection, count):
    """Each item is written by two, some are replaced, and some go; whoever folds does so in between."""
    kind = make_collection()
    names = [f"item-{number:03}" for number in range(count)]

    def write(seed):
        chance = random.Random(seed)
        for name in chance.sample(names, len(names)):
            place = shapely.box(10 + chance.random(), 60, 12, 61)
            catalog.publish(make_item(name, footprint=place), collection=kind)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, [1, 2, 3, 4]))
    for name in names[:20]:
        catalog.delete_item("generated", name)
    found = catalog.summaries(OPERATOR)["generated"]
    items = catalog.search(OPERATOR, Search(limit=1_000)).items
    assert found.count == len(items) == catalog.counts(OPERATOR)["generated"] == count - 20
    folded = catalog.summaries(OPERATOR)
    summaries.fold(catalog._connections, ["generated"])
    assert catalog.summaries(OPERATOR) == {"generated": folded["generated"]} or folded["generated"].removed


def test_what_is_folded_is_what_was_noted(catalog, make_item, make_collection):
    for number in range(3 * summaries.FOLDED_AFTER):
        item = make_item(f"item-{number}", **{"eo:cloud_cover": number / 2, "tags": [str(number % 7)]})
        catalog.publish(item, collection=make_collection())
    before = catalog.summaries(PUBLIC)
    summaries.fold(catalog._connections, ["generated", "no such"])
    assert catalog.summaries(PUBLIC) == before
    found = before["generated"]
    assert found.count == 3 * summaries.FOLDED_AFTER
    assert found.facts["eo:cloud_cover"].most == (found.count - 1) / 2 and found.facts["eo:cloud_cover"].values is None
    assert found.facts["tags"].values == set("0123456")


def test_facts_of_other_kinds_are_told_as_mixed(catalog, make_item, make_collection):
    for name, value in (("a", 1), ("b", "two"), ("c", [1, 2]), ("d", {"x": 1}), ("e", None)):
        catalog.publish(make_item(name, odd=value), collection=make_collection())
    found = catalog.queryables(PUBLIC)["odd"]
    assert found.kind is Kind.MIXED and not found.sortable


@pytest.mark.parametrize("milliseconds", [1_000, 0])
def test_a_search_is_counted_or_told_about(catalog, make_item, make_collection, milliseconds, monkeypatch):
    chance = random.Random(1)
    for number in range(400):
        catalog.publish(
            make_item(f"item-{number}", **{"eo:cloud_cover": chance.random() * 100}), collection=make_collection()
        )
    catalog.put_collection(make_collection("other"), private=True)
    catalog.publish(make_item("hidden", collection="other"), collection=make_collection("other"))
    assert catalog.matched(PUBLIC, Search(), milliseconds=0).number == 400  # known
    low = {"op": "<", "args": [{"property": "eo:cloud_cover"}, 25]}
    exactly = len(catalog.search(PUBLIC, Search(filter=low, limit=1_000)).items)
    if milliseconds:
        found = catalog.matched(PUBLIC, Search(filter=low), milliseconds=milliseconds)
        assert (found.number, found.exact) == (exactly, True)
        return
    # Not counted at all: as if it took too long.
    monkeypatch.setattr(type(_database(catalog)), "within", lambda *_: None)
    found = catalog.matched(PUBLIC, Search(filter=low), milliseconds=milliseconds)
    assert not found.exact and abs(found.number - exactly) < 20


def test_footprints_of_any_size_are_counted(catalog, make_item, make_collection):
    chance = random.Random(4)
    for number in range(60):
        at = shapely.Point(chance.uniform(10, 20), chance.uniform(55, 65))
        sides = (1, 8, 64)[number % 3]  # of the last one's bytes there are 4 000
        shapes = [at.buffer(chance.random(), quad_segs=sides) for _ in range(1 + number % 2)]
        place = shapely.union_all([shapes[0], *(shapely.affinity.translate(one, 3) for one in shapes[1:])])
        catalog.publish(make_item(f"item-{number}", footprint=place), collection=make_collection())
    for area in (shapely.box(12, 57, 16, 61), shapely.Point(15, 60).buffer(2), shapely.Point(-100, 0)):
        found = catalog.matched(PUBLIC, Search(area=area), milliseconds=60_000)
        assert found.exact and found.number == len(catalog.search(PUBLIC, Search(area=area, limit=100)).items)


@pytest.mark.parametrize("sides", [1, 64])
def test_an_exact_test_that_is_slow_is_given_up_in_time(tmp_path, make_item, make_collection, sides):
    """SQLite's own look at the clock comes after so many steps of its own, of which a thousand tests are few."""
    catalog = Catalog(f"sqlite:///{tmp_path / 'kartotek.db'}")
    catalog.migrate()
    for number in range(3):
        place = shapely.Point(15, 60).buffer(1, quad_segs=sides)
        catalog.publish(make_item(f"item-{number}", footprint=place), collection=make_collection())
    area = shapely.Point(15, 60).buffer(0.5)
    assert catalog.matched(PUBLIC, Search(area=area), milliseconds=1_000) == Matched(3, exact=True)
    assert not catalog.matched(PUBLIC, Search(area=area), milliseconds=0).exact
    assert len(catalog.search(PUBLIC, Search(area=area)).items) == 3
    catalog.close()


def test_what_may_not_be_seen_is_left_out_before_anything_is_asked_of_it():
    """Else private items would take the time that others' are counted in (S9)."""
    casei = {"op": "=", "args": [{"op": "casei", "args": [{"property": "platform"}]}, "s"]}
    for more in ({}, {"area": shapely.box(0, 0, 1, 1)}):
        counted = statements.count(dialects.DATABASES["sqlite"], PUBLIC, Search(filter=casei, **more))
        written = str(counted.compile(dialect=sqlite.dialect()))
        assert 0 < written.index("private") < written.index("casei")


def _database(catalog):
    return dialects.DATABASES[catalog._connections.engine.dialect.name]


def test_a_query_that_takes_too_long_is_given_up_and_the_next_one_works(catalog):
    from sqlalchemy import text

    slow = {
        "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000000) SELECT count(*) FROM n",
        "postgresql": "SELECT count(*) FROM generate_series(1, 100000000)",
    }
    with catalog._connections.reading() as connection:
        asked = text(slow[connection.dialect.name])
        assert _database(catalog).within(connection, asked, 50) is None
        assert connection.scalar(text("SELECT 1")) == 1
        assert _database(catalog).within(connection, text("SELECT 2"), 1_000) == 2


def test_nothing_and_something_are_something():
    assert EMPTY + EMPTY == EMPTY
