"""Revisions on a filled database: what they fill in, and that nobody who reads notices."""

import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import shapely
from shapely.geometry import mapping, shape
from sqlalchemy import create_engine, insert, select, text

from catalog import dialects, entries, models
from catalog.access import PUBLIC
from catalog.search import Search
from catalog.store import Catalog
from kartotek.settings import Settings

MIGRATE = "import sys; from catalog.store import Catalog; Catalog(sys.argv[1]).migrate(sys.argv[2])"
ACROSS = shapely.MultiPolygon([shapely.box(179.9, 65, 180, 66), shapely.box(-180, 65, -179.9, 66)])
WHOLE = shapely.Polygon([(630_000, 7_210_000), (640_000, 7_210_000), (640_000, 7_320_000), (630_000, 7_320_000)])


def whole_outline(shift=0):
    """The properties of an item whose footprint is cut."""
    ring = shapely.transform(WHOLE, lambda points: points + shift)
    return {"proj:code": "EPSG:32660", "proj:geometry": mapping(ring)}


def rings(catalog):
    """Item → its outline, and the SRID of it."""
    joined = select(models.items.c.id, models.rings.c.ring).join(models.rings, models.rings.c.item == models.items.c.pk)
    with create_engine(dialects.engine(catalog.place).url).connect() as connection:
        return {name: (ring, shapely.get_srid(ring)) for name, ring in connection.execute(joined)}


def test_the_whole_outline_of_a_footprint_that_is_cut_is_kept(catalog, make_item, make_collection):
    kind = make_collection()
    catalog.publish(make_item("cut", footprint=ACROSS, **whole_outline()), collection=kind)
    catalog.publish(make_item("plain"), collection=kind)
    assert rings(catalog) == {"cut": (WHOLE, 32660)}
    catalog.publish(make_item("cut", footprint=ACROSS, **whole_outline(10)), collection=kind)
    [(ring, _)] = rings(catalog).values()
    assert ring.bounds == (630_010, 7_210_010, 640_010, 7_320_010)
    catalog.publish(make_item("cut"), collection=kind)  # it lies elsewhere now
    assert rings(catalog) == {}
    catalog.publish(make_item("cut", footprint=ACROSS, **whole_outline()), collection=kind)
    catalog.delete_item("generated", "cut")
    assert rings(catalog) == {}


@pytest.mark.parametrize("bad", [{"type": "Polygon"}, {"type": "Nothing"}, 1, {"type": "Polygon", "coordinates": [1]}])
def test_an_outline_that_is_none_is_refused_with_the_item(catalog, make_item, make_collection, bad):
    from kartotek.errors import BadRequest

    item = make_item("cut", footprint=ACROSS, **{"proj:code": "EPSG:32660", "proj:geometry": bad})
    with pytest.raises(BadRequest, match="cut: proj:geometry: no GeoJSON geometry"):
        catalog.publish(item, collection=make_collection())
    assert catalog.counts(PUBLIC) == {}


def fill(catalog, make_item, make_collection, count):
    """Enter many items at once, of which every hundredth is cut at 180 degrees; none has been through `publish`."""
    catalog.put_collection(make_collection())
    with create_engine(dialects.engine(catalog.place).url).begin() as connection:
        database, pk = dialects.of(connection), 0
        for start in range(0, count, 5_000):
            rows = []
            for number in range(start, min(count, start + 5_000)):
                pk += 1
                place = shapely.box(
                    10 + number % 97 / 10, 55 + number % 89 / 10, 11 + number % 97 / 10, 56 + number % 89 / 10
                )
                cut = number % 100 == 0
                content = make_item(
                    f"item-{number:06}", footprint=ACROSS if cut else place, **(whole_outline(number) if cut else {})
                )
                rows.append({"pk": pk, **entries.entry(content).row, "content": content})
            connection.execute(insert(models.items), rows)
            for row in rows:
                database.index_places(connection, [(row["pk"], row["footprint"], row["start"], row["end"])])
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT setval(pg_get_serial_sequence('items', 'pk'), :last)"), {"last": count})
        connection.execute(insert(models.rings), [
            {"item": n + 1, "ring": shapely.set_srid(shape(whole_outline(n)["proj:geometry"]), 32660)}
            for n in range(0, count, 100)
        ])  # fmt: skip


@pytest.mark.parametrize(("count", "times"), [(200, 1), pytest.param(60_000, 2, marks=pytest.mark.full)])
def test_tables_go_down_and_up_while_they_are_read(
    new_database, serving, make_item, make_collection, tmp_path, count, times
):
    """R13."""
    catalog = Catalog(new_database())
    catalog.migrate()
    fill(catalog, make_item, make_collection, count)
    before, items = rings(catalog), catalog.search(PUBLIC, Search(limit=10_000)).items
    assert len(before) == count / 100
    paths = [
        "/search?limit=100", "/collections", f"/collections/generated/items/item-{count // 2:06}",
        "/search?bbox=17,60,18,61&limit=50", "/search?bbox=179,60,-179,70", "/collections/generated/items?limit=20",
    ]  # fmt: skip
    over, settings = Event(), Settings(database=catalog.place, storage=str(tmp_path))

    def read(number):
        """How many requests were answered as they should, until it is over; another answer raises."""
        done = 0
        while not over.is_set():
            with urllib.request.urlopen(server.root + paths[(done + number) % len(paths)], timeout=60) as answer:
                assert answer.status == 200 and answer.read()
            done += 1
            over.wait(0.1)  # some processor is left to those who migrate
        return done

    with serving(settings) as server, ThreadPoolExecutor(4) as threads:
        reading = [threads.submit(read, number) for number in range(4)]
        try:
            for revision, left in [("0001", None), ("head", before)] * times:
                command = [sys.executable, "-c", MIGRATE, catalog.place, revision]
                done = subprocess.run(command, capture_output=True, text=True, timeout=600)
                assert done.returncode == 0, done.stderr
                if left is not None:
                    assert rings(catalog) == left
        finally:
            over.set()
        answered = [one.result() for one in reading]
        server.stop()
    print(f"{count} items: {sum(answered)} requests answered during {2 * times} migrations")
    assert min(answered) > 10
    assert catalog.search(PUBLIC, Search(limit=10_000)).items == items and catalog.counts(PUBLIC) == {
        "generated": count
    }
    catalog.close()
