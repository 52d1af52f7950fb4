"""Many items at once."""

import math
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
import shapely

from catalog import entries
from catalog.access import OPERATOR, PUBLIC
from catalog.loading import Loaded
from catalog.search import Search
from catalog.store import Catalog
from kartotek.errors import BadRequest, NotFound
from kartotek.squares import Spread, Square


@pytest.fixture
def made(make_item):
    """Makes the entry of an item."""
    return lambda name, **more: entries.of(orjson.loads(make_item(name, **more)))


def found(catalog, **asked):
    return [orjson.loads(content)["id"] for content in catalog.search(PUBLIC, Search(limit=10_000, **asked)).items]


def test_what_is_loaded_is_as_if_it_were_published(catalog, new_database, make_item, make_collection):
    other = Catalog(new_database())
    other.migrate()
    contents = [
        make_item(f"item-{number:03}", footprint=shapely.box(10 + number / 50, 60, 11 + number / 50, 61), nr=number)
        for number in range(450)
    ]
    catalog.put_collection(make_collection())
    for content in contents:
        other.publish(content, collection=make_collection())
    assert catalog.load([entries.entry(content) for content in contents]) == Loaded(added=450)
    searches = [{}, {"area": shapely.box(12, 60.2, 13, 60.4)}, {"ids": ("item-007", "item-400")}]
    for asked in searches:
        search = Search(limit=10_000, **asked)
        assert catalog.search(PUBLIC, search).items == other.search(PUBLIC, search).items != ()
    assert catalog.summaries(PUBLIC) == other.summaries(PUBLIC)
    other.close()


def test_what_is_there_is_replaced_kept_or_the_same(catalog, made, make_collection):
    catalog.put_collection(make_collection())
    assert catalog.load([made("a"), made("b")]) == Loaded(added=2)
    assert catalog.load([made("a"), made("b", title="new"), made("c")]) == Loaded(added=1, replaced=1, unchanged=1)
    assert catalog.load([made("a", title="kept"), made("d")], keep=True) == Loaded(added=1, unchanged=1)
    assert catalog.load([made("e", title="first"), made("e", title="last")]) == Loaded(added=1)
    titles = {orjson.loads(one)["id"]: orjson.loads(one)["properties"].get("title")
              for one in catalog.search(PUBLIC, Search()).items}  # fmt: skip
    assert titles == {"a": None, "b": "new", "c": None, "d": None, "e": "last"}
    assert catalog.summaries(PUBLIC)["generated"].count == 5


def test_what_moved_is_found_where_it_is_now(catalog, made, make_collection):
    catalog.put_collection(make_collection())
    here, there = shapely.box(10, 60, 11, 61), shapely.box(20, 65, 21, 66)
    catalog.load([made("a", footprint=here), made("b", footprint=here)])
    catalog.load([made("a", footprint=there)])
    assert found(catalog, area=here) == ["b"] and found(catalog, area=there) == ["a"]


def test_squares_go_with_the_pixels_that_they_were_counted_of(catalog, make_item, make_collection):
    def item(checksum, **more):
        document = orjson.loads(make_item("a", **more))
        return document | {"assets": {"squares": {"href": f"storage:///generated/a/squares.{checksum}.parquet"}}}

    square = Square(east=5_000, north=6_600_000, valid=100, clear=100, classes={4: 100},
                    indices={"NDVI": Spread(100, 0.25, 0.1, (100, *[0] * 39))})  # fmt: skip
    content = entries.of(item("1" * 64)).content
    catalog.publish(content, collection=make_collection(), counted=[square])
    catalog.load([entries.of(item("1" * 64, title="another"))])
    assert len(catalog.squares(PUBLIC, "generated", "a")) == 1
    catalog.load([entries.of(item("2" * 64))])
    assert catalog.squares(PUBLIC, "generated", "a") == []


def test_without_its_collection_nothing_is_entered(catalog, made, make_collection):
    catalog.put_collection(make_collection())
    with pytest.raises(NotFound, match="no collection 'other'"):
        catalog.load([made("a"), made("b", collection="other")])
    assert found(catalog) == []


def test_a_footprint_that_crosses_itself_harms_no_search(catalog, make_item, make_collection):
    document = orjson.loads(make_item("bow"))
    bow = {"type": "Polygon", "coordinates": [[[10, 60], [12, 62], [12, 60], [10, 62], [10, 60]]]}
    catalog.put_collection(make_collection())
    catalog.load([entries.of({**document, "geometry": bow})])
    assert found(catalog, area=shapely.box(10.1, 60.4, 10.2, 61.6)) == ["bow"]
    [content] = catalog.search(PUBLIC, Search()).items
    assert orjson.loads(content)["geometry"] == bow, "it goes out as it came"
    heights = {"type": "Point", "coordinates": [15, 61, 300]}
    catalog.load([entries.of({**document, "id": "high", "geometry": heights})])
    assert found(catalog, area=shapely.box(14, 60, 16, 62)) == ["high"]


def test_a_footprint_that_runs_on_across_180_degrees_is_found_on_both_sides(catalog, make_item, make_collection):
    across = shapely.geometry.mapping(shapely.box(179, 60, 181, 61))
    catalog.put_collection(make_collection())
    catalog.load([entries.of({**orjson.loads(make_item("across")), "geometry": across})])
    for west in (179.2, -179.8):
        assert found(catalog, area=shapely.box(west, 60.2, west + 0.5, 60.8)) == ["across"]
    assert found(catalog, area=shapely.box(0, 60.2, 100, 60.8)) == []


@pytest.mark.parametrize(
    "geometry", [None, {"type": "Point", "coordinates": [0, 91]}, {"type": "Point", "coordinates": []},
                 {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, {"type": "Circle"}, 7,
                 {"type": "LineString", "coordinates": [[-190, 10], [-170, 10]]},  # cut, nothing is left of it
                 {"type": "Polygon", "coordinates": [[[0, 0], [1, True], [1, 1], [0, 0]]]},
                 {"type": "Polygon", "coordinates": [[[0, 0], 7, [1, 1], [0, 0]]]},
                 {"type": "Polygon", "coordinates": [[[0, 0], [1, math.nan], [1, 1], [0, 0]]]},
                 {"type": "Polygon", "coordinates": [[[0, 0], [1, 2**63], [1, 1], [0, 0]]]}],
)  # fmt: skip
def test_an_item_without_a_place_is_refused_by_name(make_item, geometry):
    with pytest.raises(BadRequest, match="'nowhere': geometry"):
        entries.of({**orjson.loads(make_item("nowhere")), "geometry": geometry})


def test_numbers_that_no_integer_holds_are_kept_as_they_are(catalog, made, make_collection):
    catalog.put_collection(make_collection())
    assert catalog.load([made("huge", nr=2**63, **{"eo:cloud_cover": 2**63})]) == Loaded(added=1)
    cloudy = {"op": ">", "args": [{"property": "eo:cloud_cover"}, 1e18]}
    assert found(catalog, filter=cloudy) == ["huge"]


def test_polygons_of_any_form_come_in_as_they_are(catalog, make_item, make_collection):
    catalog.put_collection(make_collection())
    ring, hole = (
        [[10, 60], [11, 60], [11, 61], [10, 61], [10, 60]],
        [[10.4, 60.4], [10.6, 60.4], [10.5, 60.6], [10.4, 60.4]],
    )
    forms = {"plain": [ring], "hole": [ring, hole], "heights": [[[*position, 5.0] for position in ring]]}
    geometries = {name: {"type": "Polygon", "coordinates": coordinates} for name, coordinates in forms.items()}
    made = [entries.of({**orjson.loads(make_item(name)), "geometry": one}) for name, one in geometries.items()]
    for one, geometry in zip(made, geometries.values(), strict=True):
        assert one.row["footprint"].equals(shapely.force_2d(shapely.geometry.shape(geometry)))
    catalog.load(made)
    assert set(found(catalog, area=shapely.box(10.45, 60.42, 10.55, 60.45))) == {"plain", "heights"}
    assert set(found(catalog, area=shapely.box(10.2, 60.2, 10.3, 60.3))) == set(forms)


def test_writers_at_once_count_right(catalog, made, make_collection):
    """Each loads all of them, in another order."""
    catalog.put_collection(make_collection())
    some = [made(f"item-{number:03}", nr=number) for number in range(300)]

    def load(turn):
        mine = some[turn * 40 :] + some[: turn * 40]
        return [catalog.load(mine[start : start + 50]) for start in range(0, 300, 50)]

    with ThreadPoolExecutor(6) as threads:
        done = sum((sum(each, Loaded()) for each in threads.map(load, range(6))), Loaded())
    assert done.added == 300 and done.added + done.replaced + done.unchanged == 1_800
    assert catalog.counts(OPERATOR) == {"generated": 300}
    assert catalog.summaries(OPERATOR)["generated"].count == 300


def test_loaded_items_are_packed_by_what_they_share(catalog, made, make_collection):
    catalog.put_collection(make_collection())
    catalog.load([made(f"item-{number:03}", note="the same words over and over " * 20) for number in range(250)])
    with catalog._connections.reading() as connection:
        from catalog.models import items

        sizes = [len(row.content) for row in connection.execute(items.select())]
    [content] = catalog.search(PUBLIC, Search(limit=1)).items
    assert max(sizes) < len(content) / 3
