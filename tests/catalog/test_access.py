import inspect
from datetime import UTC, datetime

import orjson
import pytest
import shapely

from catalog.access import OPERATOR, PUBLIC, Reader
from catalog.aggregates import KINDS
from catalog.order import Place
from catalog.search import Search
from catalog.store import Catalog
from kartotek.errors import NotFound
from kartotek.grids import Bounds
from kartotek.squares import Square

HERE = shapely.box(16, 58, 19, 61)
LATER = Place((datetime(2030, 1, 1, tzinfo=UTC),), "", "")

READS = {
    "collections": [()],
    "collection": [("secret",)],
    "item": [("secret", "item"), ("secret", "hidden"), ("secret", "no such")],
    "find": [("secret", "item"), ("secret", "hidden"), ("secret", "no such")],
    "described": [("secret", "item"), ("secret", "hidden"), ("secret", "no such")],
    "squares": [("secret", "item"), ("secret", "hidden")],
    "counts": [()],
    "matched": [
        (Search(),),
        (Search(collections=("secret",)),),
        (Search(area=HERE),),
        (Search(ids=("hidden", "item")),),
    ],
    "queryables": [(), (["secret"],), (["secret", "open"],)],
    "summaries": [(), (["secret"],), (["secret", "open"],)],
    "search": [
        (Search(),),
        (Search(limit=1),),
        (Search(limit=2),),
        (Search(area=HERE),),
        (Search(collections=("secret",)),),
        (Search(collections=("secret", "open")),),
        (Search(ids=("hidden",)),),
        (Search(ids=("hidden", "item")),),
        (Search(start=datetime(2024, 1, 1, tzinfo=UTC)),),
        (Search(at=LATER),),
        (Search(at=Place((datetime(2024, 6, 1, 10, tzinfo=UTC),), "secret", "hidden")),),
        (Search(at=Place((datetime(2024, 6, 1, 10, tzinfo=UTC),), "secret", "hidden", backwards=True)),),
    ],
    "packed": [(Search(),), (Search(collections=("secret",)),), (Search(area=HERE),)],
    "clear": [
        ([Place((), "secret", "hidden"), Place((), "open", "item")], Bounds(-1, -1, 6_000, 6_000)),
        ([Place((), "secret", "hidden"), Place((), "secret", "item")], Bounds(-1, -1, 6_000, 6_000)),
    ],
    "aggregates": [
        (Search(), tuple(KINDS)),
        (Search(collections=("secret",)), tuple(KINDS)),
        (Search(area=HERE), ("total_count", "platform_frequency")),
    ],
    "places": [(Search(),), (Search(collections=("secret",)),), (Search(area=HERE, limit=1),)],
    "walk": [(Search(),), (Search(limit=1),), (Search(collections=("secret",)),), (Search(limit=2, area=HERE),)],
}
"""Method of the catalog that takes a reader → what it is asked."""


@pytest.fixture
def two(catalog, tmp_path, make_item, make_collection):
    """A catalog with a private collection, and one in which it does not exist."""
    without = Catalog(f"sqlite:///{tmp_path / 'without.db'}")
    without.migrate()
    square = Square(east=0, north=0, valid=1, clear=1, classes={}, indices={})
    for made in (catalog, without):
        made.publish(make_item(collection="open"), collection=make_collection("open"), counted=[square])
        made.publish(make_item("other", collection="open"), collection=make_collection("open"))
    catalog.put_collection(make_collection("secret"), private=True)
    for name in ("item", "hidden"):
        content = make_item(name, collection="secret")
        catalog.publish(content, collection=make_collection("secret"), counted=[square])
    yield catalog, without
    without.close()


def answer(catalog, method, reader, asked):
    try:
        found = getattr(catalog, method)(reader, *asked)
        if method == "packed":
            page, unpack = found
            return page.places, [unpack(content) for content in page.items], page.next
        return list(found) if method == "walk" else found
    except NotFound as error:
        return f"NotFound: {error}"


def test_every_read_of_the_catalog_takes_a_reader_and_is_tested_here():
    methods = inspect.getmembers(Catalog, inspect.isfunction)
    taking = {name for name, method in methods if "reader" in inspect.signature(method).parameters}
    assert taking == set(READS)
    assert {name for name, _ in methods if not name.startswith("_")} - taking == {
        # What writes, and what jobs ask that are the operator's own.
        "change_collection", "change_item", "check", "close", "delete_item", "holds_ours", "load", "migrate", "private",
        "publish", "put_collection", "ready", "register", "registered", "set_aside",
    }  # fmt: skip


@pytest.mark.parametrize("method", READS)
def test_to_an_outsider_a_private_collection_answers_as_one_that_does_not_exist(two, method):
    catalog, without = two
    for asked in READS[method]:
        for reader in (PUBLIC, Reader(), Reader(collections=frozenset({"another"}))):
            told = answer(catalog, method, reader, asked)
            assert told == answer(without, method, reader, asked)
            assert b"hidden" not in repr(told).encode() or "NotFound" in told


def test_who_may_see_a_private_collection_sees_it_and_no_other(two, make_collection):
    catalog, _ = two
    catalog.put_collection(make_collection("third"), private=True)
    member = Reader(collections=frozenset({"secret"}))
    assert catalog.counts(member) == {"open": 2, "secret": 2}
    assert catalog.counts(OPERATOR) == {"open": 2, "secret": 2, "third": 0}
    for reader in (member, OPERATOR):
        assert b'"secret"' in catalog.collection(reader, "secret")
        assert orjson.loads(catalog.item(reader, "secret", "hidden"))["id"] == "hidden"
        assert len(catalog.squares(reader, "secret", "hidden")) == 1
        assert len(catalog.search(reader, Search(area=HERE)).items) == 4
    with pytest.raises(NotFound):
        catalog.collection(member, "third")


def test_a_walk_of_an_outsider_passes_private_items_without_a_trace(two):
    catalog, without = two
    for limit in (1, 2, 3):
        walks = []
        for made in (catalog, without):
            pages, after = [], None
            while not pages or after:
                page = made.search(PUBLIC, Search(limit=limit, at=after))
                pages.append(page)
                after = page.next
            walks.append(pages)
        assert walks[0] == walks[1]
