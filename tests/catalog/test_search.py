import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import update

from catalog import entries
from catalog.access import OPERATOR, PUBLIC
from catalog.matched import Matched
from catalog.models import items
from catalog.order import NEWEST, Place, Sort, place_of
from catalog.queryables import TYPED, Kind, Queryable
from catalog.search import MAX_LIMIT, Search
from kartotek.errors import BadRequest

NAMES = ("alpha", "beta", "gamma")
PLATFORMS = ("sentinel-2a", "sentinel-2b")
BANDS = ("B04", "B08", "SCL")
TEN_DAYS = timedelta(days=10)
FIRST = datetime(2023, 1, 1, tzinfo=UTC)


def footprint(chance, *, size=8.0):
    """A box, a ragged polygon, two parts, or two parts on both sides of 180 degrees."""
    west, south = chance.uniform(-180, 180 - 2 * size), chance.uniform(-85, 85 - 2 * size)
    kind = chance.randrange(5)
    if kind == 0:
        return shapely.box(west, south, west + chance.uniform(0.1, size), south + chance.uniform(0.1, size))
    if kind < 3:
        points = [(west + chance.uniform(0, size), south + chance.uniform(0, size)) for _ in range(8)]
        return shapely.convex_hull(shapely.MultiPoint(points))
    if kind == 3:
        other = shapely.box(west + 1.5 * size, south, west + 2 * size, south + size)
        return shapely.MultiPolygon([shapely.box(west, south, west + size / 2, south + size), other])
    reach = chance.uniform(0.1, size)
    return shapely.MultiPolygon(
        [shapely.box(180 - reach, south, 180, south + size), shapely.box(-180, south, -180 + reach, south + size)]
    )


def times(chance):
    """An instant, of few, so that many items share one; or an interval."""
    at = FIRST + timedelta(hours=12 * chance.randrange(60))
    if chance.random() < 0.7:
        return {"at": at}
    end = at + timedelta(days=chance.randrange(10), microseconds=chance.randrange(3))
    return {"start": at, "end": end, **({"at": at + (end - at) / 2} if chance.random() < 0.5 else {})}


def properties(chance):
    """Some of what items may be sorted by: of a typed column, and of facts; many share a value, many have none."""
    found = {
        "platform": chance.choice(PLATFORMS),
        "eo:cloud_cover": chance.choice([0, 0.5, 12.25, 100]),
        "sat:relative_orbit": chance.randrange(5),
        "s2:processing_baseline": chance.choice(["02.04", "05.10", "Ä"]),
        "created": f"2024-0{chance.randint(1, 9)}-01T00:00:00{chance.choice(['Z', '.5Z', '+02:00'])}",
        "checked": chance.choice([True, False]),
    }
    return {name: value for name, value in found.items() if chance.random() < 0.7}


ASKABLE = {**TYPED, "assets": Queryable(name="assets", kind=Kind.ARRAY)}
SORTABLE = (
    *(TYPED[name] for name in ("id", "collection", "datetime", "eo:cloud_cover")),
    Queryable(name="sat:relative_orbit", kind=Kind.INTEGER),
    Queryable(name="s2:processing_baseline", kind=Kind.TEXT),
    Queryable(name="created", kind=Kind.INSTANT),
    Queryable(name="checked", kind=Kind.BOOLEAN),
)


def fill(catalog, make_item, make_collection, count, *, seed=1, **fixed):
    """Items published to a catalog: (collection, id, footprint, datetime, start, end, properties, bands)."""
    chance = random.Random(seed)
    known = []
    for number in range(count):
        # Half of the ids stand in several collections.
        name, collection = f"item-{number // 2 if chance.random() < 0.5 else number:04}", chance.choice(NAMES)
        if (collection, name) in {entry[:2] for entry in known}:
            continue
        place, when = footprint(chance), {**times(chance), **fixed}
        start, end = when.get("start") or when["at"], when.get("end") or when["at"]
        more = properties(chance)
        bands = chance.sample(BANDS, chance.randint(0, 3))
        known.append((collection, name, place, when.get("at") or start, start, end, more, bands))
        assets = {band: {"href": f"https://files.test/{band}.tif"} for band in bands}
        content = make_item(name, collection=collection, footprint=place, assets=assets, **when, **more)
        catalog.publish(content, collection=make_collection(collection))
    return known


def area(chance):
    """What may be asked for: a box, also across 180 degrees, a polygon, a line, a point, or several."""
    kind = chance.randrange(6)
    wide = chance.choice([10, 60, 180])
    west, south = chance.uniform(-180, 180), chance.uniform(-90, 89)
    east, north = west + chance.uniform(wide / 4, wide), min(90, south + chance.uniform(wide / 4, wide))
    if kind < 2:
        if east <= 180:
            return shapely.box(west, south, east, north)
        return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east - 360, north)])
    points = [(chance.uniform(west, min(east, 180)), chance.uniform(south, north)) for _ in range(7)]
    if kind == 2:
        return shapely.convex_hull(shapely.MultiPoint(points))
    if kind == 3:
        return shapely.LineString(points)
    if kind == 4:
        return shapely.Point(points[0])
    return shapely.GeometryCollection([shapely.Point(points[0]), shapely.MultiPoint(points[1:3]), footprint(chance)])


def question(chance, known):
    """A search of some of the parameters."""
    asked = {}
    if chance.random() < 0.7:
        asked["area"] = area(chance)
    if chance.random() < 0.3:
        asked["collections"] = tuple(chance.sample([*NAMES, "no such"], chance.randint(1, 3)))
    if chance.random() < 0.2:
        asked["ids"] = tuple({entry[1] for entry in chance.sample(known, 30)} | {"no-such"})
    if chance.random() < 0.5:
        # Exactly at the times of items, as often as not.
        some = chance.choice(known)[chance.choice([3, 4, 5])]
        start = some if chance.random() < 0.5 else FIRST + timedelta(days=chance.uniform(0, 30))
        end = start + timedelta(days=chance.choice([0, 0.5, 3, 10]))
        asked.update(chance.choice([{"start": start}, {"end": end}, {"start": start, "end": end}]))
    if chance.random() < 0.3:
        asked["sensed"] = chance.choice([">=", "<", "between"]), chance.choice(known)[3]
    if "area" in asked and asked["area"].geom_type == "Polygon":
        asked["place_in_filter"] = chance.random() < 0.5
    if chance.random() < 0.5:
        asked["platform"], asked["band"] = chance.choice(PLATFORMS), chance.choice(BANDS)
    if chance.random() < 0.6:
        fields = chance.sample(SORTABLE, chance.randint(1, 3))
        asked["order"] = tuple(Sort(by, descending=chance.random() < 0.5) for by in fields)
    return asked


def sorted_value(entry, by):
    """What an item has of what it is sorted by; None where it has nothing."""
    of_all = {"id": entry[1], "collection": entry[0], "datetime": entry[3]}
    found = of_all.get(by.name, entry[6].get(by.name))
    return datetime.fromisoformat(found) if by.name == "created" and found else found


def as_search(asked, **more):
    """The search of a question: mission and band are a filter, as CQL2 writes it, place and time may be."""
    told = ("platform", "band", "sensed", "place_in_filter")
    plain = {name: value for name, value in asked.items() if name not in told}
    parts = []
    if "platform" in asked:
        parts += [{"op": "=", "args": [{"property": "platform"}, asked["platform"]]}]
        parts += [{"op": "a_contains", "args": [{"property": "assets"}, [asked["band"]]]}]
    if "sensed" in asked:
        op, at = asked["sensed"]
        ends = [at, at + TEN_DAYS] if op == "between" else [at]
        parts += [{"op": op, "args": [{"property": "datetime"}, *({"timestamp": end.isoformat()} for end in ends)]}]
    if asked.get("place_in_filter"):
        parts += [
            {"op": "s_intersects", "args": [{"property": "geometry"}, shapely.geometry.mapping(plain.pop("area"))]}
        ]
    if parts:
        tree = parts[0] if len(parts) == 1 else {"op": "and", "args": parts}
        plain |= {"filter": orjson.loads(orjson.dumps(tree)), "names": ASKABLE}
    return Search(**plain, **more)


def is_sensed(at, asked):
    """Whether an item of a time is asked for by its datetime."""
    if "sensed" not in asked:
        return True
    op, time = asked["sensed"]
    return {">=": at >= time, "<": at < time, "between": time <= at <= time + TEN_DAYS}[op]


def expected(known, asked):
    """The same by brute force: Shapely for the place, Python for the rest; what items lack comes last."""
    found = [
        entry
        for entry in known
        if ("area" not in asked or shapely.intersects(entry[2], asked["area"]))
        and ("collections" not in asked or entry[0] in asked["collections"])
        and ("ids" not in asked or entry[1] in asked["ids"])
        and ("start" not in asked or entry[5] >= asked["start"])
        and ("end" not in asked or entry[4] <= asked["end"])
        and is_sensed(entry[3], asked)
        and ("platform" not in asked or entry[6].get("platform") == asked["platform"])
        and ("band" not in asked or asked["band"] in entry[7])
    ]
    # Stable sorts, the last one first.
    found.sort(key=lambda entry: entry[:2])
    for sort in reversed(asked.get("order", NEWEST)):
        having = [entry for entry in found if sorted_value(entry, sort.by) is not None]
        lacking = [entry for entry in found if sorted_value(entry, sort.by) is None]
        found = sorted(having, key=lambda entry: sorted_value(entry, sort.by), reverse=sort.descending) + lacking
    return [entry[:2] for entry in found]


def names(page):
    items = [orjson.loads(content) for content in page.items]
    return [(item["collection"], item["id"]) for item in items]


def walk(catalog, between=None, **asked):
    """(collection, id) of the items of all pages, in order."""
    found, after = [], None
    while True:
        page = catalog.search(PUBLIC, as_search(asked, at=after))
        found.append(names(page))
        if page.next is None:
            return found
        # What a client holds is the token.
        after = place_of(page.next.token(), asked.get("order", NEWEST))
        if between:
            between(len(found), found[-1])


@pytest.mark.parametrize("count", [200, pytest.param(1_000, marks=pytest.mark.full)])
def test_generated_searches_find_what_brute_force_finds_in_the_same_order(catalog, make_item, make_collection, count):
    """The same searches on either database, all five axes of a data cube at once among them."""
    known = fill(catalog, make_item, make_collection, 400)
    chance = random.Random(2)
    sizes, axes = [], 0
    for number in range(count):
        asked = question(chance, known)
        wanted = expected(known, asked)
        assert names(catalog.search(PUBLIC, as_search(asked, limit=10_000))) == wanted, (number, asked)
        assert catalog.matched(PUBLIC, as_search(asked), milliseconds=60_000) == Matched(len(wanted), exact=True)
        sizes.append(len(wanted))
        axes += {"platform", "collections", "area", "band"} <= set(asked) and bool({"start", "end"} & set(asked))
    # The searches are worth something: they find none, few and many.
    assert min(sum(low <= size < high for size in sizes) for low, high in ((0, 1), (1, 20), (20, 400))) > count // 8
    assert axes > count // 40


def test_a_walk_in_pages_of_any_size_equals_the_whole_answer(catalog, make_item, make_collection):
    known = fill(catalog, make_item, make_collection, 150)
    chance = random.Random(3)
    for _ in range(40):
        asked, limit = question(chance, known), chance.choice([1, 2, 3, 7, 20, 150])
        wanted = expected(known, asked)
        pages = walk(catalog, limit=limit, **asked)
        assert [name for page in pages for name in page] == wanted
        assert all(len(page) == limit for page in pages[:-1])
        assert pages[-1] or len(pages) == 1  # no next to an empty page


def test_a_walk_back_meets_the_same_pages(catalog, make_item, make_collection):
    known = fill(catalog, make_item, make_collection, 150)
    chance = random.Random(5)
    for _ in range(30):
        asked, limit = question(chance, known), chance.choice([1, 2, 7, 20])
        order = asked.get("order", NEWEST)
        pages = [catalog.search(PUBLIC, as_search(asked, limit=limit))]
        assert pages[0].previous is None
        while pages[-1].next:
            at = place_of(pages[-1].next.token(), order)
            pages.append(catalog.search(PUBLIC, as_search(asked, limit=limit, at=at)))
        for page, after in zip(reversed(pages[:-1]), reversed(pages[1:]), strict=True):
            at = place_of(after.previous.token(), order)
            back = catalog.search(PUBLIC, as_search(asked, limit=limit, at=at))
            assert (back.items, back.next) == (page.items, page.next)
        if len(pages) > 1:
            assert back.previous is None


def test_a_walk_goes_through_items_of_one_instant(catalog, make_item, make_collection):
    known = fill(catalog, make_item, make_collection, 60, at=FIRST, start=None, end=None)
    pages = walk(catalog, limit=1)
    assert [name for page in pages for name in page] == sorted(entry[:2] for entry in known)


def test_a_walk_neither_doubles_nor_skips_while_items_come_and_go(catalog, make_item, make_collection):
    known = fill(catalog, make_item, make_collection, 200)
    whole = expected(known, {})
    chance = random.Random(4)
    gone, came = set(), set()

    def disturb(number, page):
        # The last item seen, which the token was made of; one seen before; and one still to come.
        for name in {page[-1], page[0], chance.choice(whole)} - gone:
            catalog.delete_item(*name)
            gone.add(name)
        for place in range(3):
            name = f"late-{number:03}-{place}"
            content = make_item(name, collection=chance.choice(NAMES), footprint=footprint(chance), **times(chance))
            catalog.publish(content, collection=make_collection(NAMES[0]))
            came.add(name)

    seen = [name for page in walk(catalog, disturb, limit=7) for name in page]
    assert len(seen) == len(set(seen))
    stayed = [name for name in whole if name not in gone]
    assert [name for name in seen if name in set(stayed)] == stayed
    assert {name for name in seen if name not in set(whole)} <= {
        (collection, name) for collection in NAMES for name in came
    }


SAME_SHAPE = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import numpy, shapely
from catalog.access import PUBLIC
from catalog.search import Search
from catalog.store import Catalog
catalog, together, chance = Catalog(sys.argv[1]), Barrier(8), numpy.random.default_rng(1)
angles = numpy.linspace(0, 2 * numpy.pi, 10_000, endpoint=False)
def search(place):
    together.wait()
    time.sleep(place * 0.001)  # while another is at its first comparison
    return len(catalog.search(PUBLIC, Search(area=area, limit=100)).items)
with ThreadPoolExecutor(8) as pool:
    for number in range(20):
        radius = 1 + 0.2 * chance.random(10_000)
        area = shapely.Polygon(numpy.c_[17 + radius * numpy.cos(angles), 60 + radius * numpy.sin(angles)])
        assert len(set(pool.map(search, range(8)))) == 1
"""


def test_equal_searches_at_once_do_no_harm(catalog, make_item, make_collection):
    """In a process of its own, since it is the process that would end."""
    for number in range(40):
        place = shapely.box(16 + number * 0.03, 59.3, 16.5 + number * 0.03, 60.5)
        catalog.publish(make_item(f"item-{number}", footprint=place), collection=make_collection())
    command = [sys.executable, "-c", SAME_SHAPE, catalog.place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("edge", ["start", "end"])
def test_an_interval_includes_its_ends_to_the_microsecond(catalog, make_item, make_collection, edge):
    start, end = FIRST, FIRST + timedelta(days=1, microseconds=1)
    catalog.publish(make_item("long", start=start, end=end), collection=make_collection())
    tick = timedelta(microseconds=1)

    def found(**asked):
        return len(catalog.search(PUBLIC, Search(**asked)).items)

    if edge == "start":
        assert found(end=start) == 1 and found(end=start - tick) == 0
    else:
        assert found(start=end) == 1 and found(start=end + tick) == 0
    assert found(start=start - tick, end=start) == found(start=end, end=end) == 1
    world = shapely.box(-180, -90, 180, 90)  # the spatial index keeps times too, as 32-bit numbers
    assert found(area=world, start=end, end=end) == 1
    assert found(area=world, start=end + tick) == found(area=world, end=start - tick) == 0


def test_an_item_that_lasts_is_found_at_any_time_of_it_whichever_way_it_came_in(catalog, make_item, make_collection):
    lasting = {
        name: make_item(name, at=datetime(2024, 6, 1, tzinfo=UTC), start=datetime(2024, start, 1, tzinfo=UTC),
                        end=datetime(2024, end, 1, tzinfo=UTC))
        for name, start, end in (("published", 2, 7), ("loaded", 5, 11), ("replaced", 4, 7))
    }  # fmt: skip
    catalog.publish(make_item("instant", at=datetime(2024, 6, 1, tzinfo=UTC)), collection=make_collection())
    catalog.publish(lasting["published"], collection=make_collection())
    catalog.load([entries.entry(make_item("replaced", at=datetime(2024, 6, 1, tzinfo=UTC)))])
    catalog.load([entries.entry(lasting[name]) for name in ("loaded", "replaced")])

    def found(month, **more):
        start = datetime(2024, month, 2, tzinfo=UTC)
        search = Search(start=start, end=start + timedelta(days=3), **more)
        return {key.id for key, _ in catalog.walk(PUBLIC, search)}

    def check():
        for more in ({}, {"collections": ("generated",)}, {"collections": ("generated", "none")}):
            assert found(1, **more) == found(12, **more) == set()
            assert found(2, **more) == {"published"} and found(10, **more) == {"loaded"}
            assert found(5, **more) == {"published", "loaded", "replaced"}
        assert found(5, collections=("none",)) == set()

    check()
    catalog.migrate("0005")
    catalog.migrate()
    check()


def test_the_datetime_of_an_item_is_one_of_its_times_whatever_else_it_says(catalog, make_item, make_collection):
    at, start, end = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 6, 7))
    catalog.publish(make_item("odd", at=at, start=start, end=end), collection=make_collection())
    sensed = {"op": "=", "args": [{"property": "datetime"}, {"timestamp": "2024-01-01T00:00:00Z"}]}
    ways = (
        {"filter": sensed},
        {"filter": sensed, "area": shapely.box(-180, -90, 180, 90)},
        {"start": at, "end": at},
        {"start": start, "end": end},
    )

    def check():
        assert [len(catalog.search(PUBLIC, Search(**way)).items) for way in ways] == [1] * 4

    check()
    catalog.migrate("0006")
    with catalog._connections.writing() as connection:
        connection.execute(update(items).values(start=start))  # as it was written then
    catalog.migrate()
    check()


def test_a_footprint_that_only_touches_the_area_is_found(catalog, make_item, make_collection):
    catalog.publish(make_item(footprint=shapely.box(17, 59, 18, 60)), collection=make_collection())
    for asked, found in (
        (shapely.box(18, 60, 19, 61), 1),
        (shapely.Point(17, 59.5), 1),
        (shapely.box(18.0000001, 59, 19, 60), 0),  # nearer than a 32-bit number tells
    ):
        assert len(catalog.search(PUBLIC, Search(area=asked)).items) == found


def test_a_page_has_as_many_items_as_asked_for_and_no_next_where_none_are_left(catalog, make_item, make_collection):
    for number in range(12):
        catalog.publish(make_item(f"i{number:02}"), collection=make_collection())
    assert len(catalog.search(PUBLIC, Search()).items) == 10
    assert catalog.search(PUBLIC, Search(limit=12)).next is None
    assert catalog.search(PUBLIC, Search(limit=11)).next is not None
    assert len(catalog.search(PUBLIC, Search(limit=10 * MAX_LIMIT)).items) == 12


NAMED = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    NAMED,
    NAMED,
)
def test_a_token_gives_back_the_key_that_it_was_made_of(time, collection, name):
    key = Place((time,), collection, name)
    assert place_of(key.token(), NEWEST) == key
    assert key.token().isascii() and not set(key.token()) & set("+/=& ?")


@pytest.mark.parametrize("names", [("\0", "item"), ("collection", "it\0em")])
def test_a_token_with_a_zero_in_a_name_is_a_foreign_one(names):
    with pytest.raises(BadRequest, match="rel=next"):
        place_of(Place((FIRST,), *names).token(), NEWEST)


@given(st.one_of(st.text(max_size=400), st.binary(max_size=300).map(lambda content: content.hex())))
def test_a_foreign_token_is_a_bad_request(text):
    with pytest.raises(BadRequest, match="rel=next"):
        place_of(text, NEWEST)


@given(st.integers(0, 60), st.characters())
def test_a_garbled_token_is_a_bad_request_or_another_key(place, sign):
    token = Place((datetime(2024, 6, 1, tzinfo=UTC),), "collection", "name").token()
    place %= len(token)
    try:
        assert isinstance(place_of(token[:place] + sign + token[place + 1 :], NEWEST), Place)
    except BadRequest as error:
        assert "rel=next" in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
)


@given(JSON)
def test_a_token_that_holds_other_json_is_a_bad_request(found):
    import base64
    import json

    assume(
        not isinstance(found, list) or [type(value) for value in found] != [int, int, str, str]
    )  # that is one of ours
    token = base64.urlsafe_b64encode(json.dumps(found).encode()).decode().rstrip("=")
    with pytest.raises(BadRequest):
        place_of(token, NEWEST)


def test_a_token_is_only_ever_bound(catalog, make_item, make_collection):
    catalog.publish(make_item(), collection=make_collection())
    for text in ("'; DROP TABLE items; --", '" OR 1=1', "%", "\\", "🛰"):
        key = Place((datetime(2030, 1, 1, tzinfo=UTC),), text, text)
        found = catalog.search(OPERATOR, Search(at=key, ids=(text, "item"), collections=(text, "generated")))
        assert len(found.items) == 1
