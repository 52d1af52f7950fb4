"""Items' JSON packed in the database: what comes out is what went in, byte for byte."""

import random
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from sqlalchemy import select, update

from catalog.access import OPERATOR, PUBLIC
from catalog.contents import TRAINED_ON
from catalog.models import dictionaries, items
from catalog.search import Search
from catalog.summaries import FOLDED_AFTER

BANDS = {
    f"B{number:02}": {
        "href": f"kartotek:///x/B{number:02}.tif", "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data", "reflectance"], "data_type": "uint16", "nodata": 0, "proj:shape": [10980, 10980],
    }
    for number in range(1, 13)
}  # fmt: skip


def packed(catalog):
    """Item → its JSON as it lies in the database."""
    with catalog._connections.reading() as connection:
        return dict(connection.execute(select(items.c.id, items.c.content)).all())


def trained(catalog):
    """Collections that have a dictionary."""
    with catalog._connections.reading() as connection:
        return set(connection.scalars(select(dictionaries.c.collection)))


@pytest.fixture
def known(catalog, make_item, make_collection):
    """Items enough for a dictionary, by their ids."""
    chance, made = random.Random(1), {}
    for number in range(TRAINED_ON + 2 * FOLDED_AFTER):
        content = make_item(f"item-{number:03}", assets=BANDS, note=f"{chance.random()} Ä")
        catalog.publish(content, collection=make_collection())
        made[f"item-{number:03}"] = content
    return made


def test_items_are_packed_by_what_they_have_in_common_and_come_out_as_they_were(catalog, known):
    assert trained(catalog) == {"generated"}
    stored = packed(catalog)
    assert sum(map(len, stored.values())) * 5 < sum(map(len, known.values()))
    found = catalog.search(PUBLIC, Search(limit=1_000))
    assert {place.id: content for place, content in zip(found.places, found.items, strict=True)} == known
    assert catalog.item(PUBLIC, "generated", "item-007") == known["item-007"]
    with ThreadPoolExecutor(8) as threads:
        asked = random.Random(2).choices(list(known), k=400)
        assert list(threads.map(lambda name: catalog.find(PUBLIC, "generated", name), asked)) == [
            known[n] for n in asked
        ]


def test_the_part_before_the_assets_comes_alone(catalog, known):
    for content in catalog.search(PUBLIC, Search(limit=1_000, heads=True)).items:
        head = orjson.loads(content)
        whole = orjson.loads(known[head["id"]])
        assert head == {name: value for name, value in whole.items() if name not in ("assets", "links")}


@pytest.mark.parametrize("order", [["links", "assets"], ["assets", "id"], ["nothing"]])
def test_members_may_come_in_any_order(catalog, make_item, make_collection, order):
    from catalog import documents

    whole = orjson.loads(make_item("odd", assets=BANDS))
    for name in order:
        whole[name] = whole.pop(name, {"assets": 1})
    content = documents.stored(whole)
    catalog.publish(content, collection=make_collection())
    assert catalog.item(PUBLIC, "generated", "odd") == content
    [head] = catalog.search(PUBLIC, Search(heads=True)).items
    assert {"id": "odd"}.items() <= orjson.loads(content).items() and orjson.loads(head).items() <= orjson.loads(
        content
    ).items()


def test_what_was_stored_before_is_read_as_it_lies_and_packed_by_a_migration(catalog, known):
    with catalog._connections.writing() as connection:
        for name, content in known.items():
            connection.execute(update(items).where(items.c.id == name).values(content=content))
    assert catalog.item(PUBLIC, "generated", "item-007") == known["item-007"]
    catalog.migrate("0003")
    catalog.migrate()
    assert all(not content.startswith(b"{") for content in packed(catalog).values())
    assert trained(catalog) == {"generated"}
    assert set(catalog.search(OPERATOR, Search(limit=1_000)).items) == set(known.values())
    catalog.migrate("0003")
    assert packed(catalog) == known


def test_each_collection_has_a_dictionary_of_its_own(catalog, known, make_item, make_collection):
    catalog.put_collection(make_collection("secret"), private=True)
    for number in range(TRAINED_ON + FOLDED_AFTER):
        note = f"the password is {number % 7}"
        catalog.publish(
            make_item(f"hidden-{number}", collection="secret", note=note), collection=make_collection("secret")
        )
    assert trained(catalog) == {"generated", "secret"}
    with catalog._connections.reading() as connection:
        of = dict(connection.execute(select(dictionaries.c.collection, dictionaries.c.content)).all())
    assert b"the password" in of["secret"] and b"the password" not in of["generated"]
