"""R8: a bucket that answers 5xx, stalls, cuts its answers or loses them, at each request of publishing in turn."""

from datetime import timedelta

import pytest

from catalog.access import OPERATOR
from catalog.search import Search
from catalog.store import Catalog
from jobs import layout
from jobs.publish import publish
from jobs.verify import verify
from kartotek.errors import StorageError
from kartotek.storage import open_storage, s3


@pytest.mark.parametrize(
    "wrong", ["cut", "lost", *(pytest.param(one, marks=pytest.mark.full) for one in (503, "stalled"))]
)
def test_what_is_published_through_a_bad_connection_is_whole_and_once(
    converted, faulty, bucket, make_database, monkeypatch, wrong
):
    """Each of the requests once, and then two in a row: the bucket's client tries again by itself."""
    if wrong == "stalled":
        monkeypatch.setattr(s3, "STALL", timedelta(seconds=1))
    with faulty(lambda *_: None) as requests:
        publish(converted, open_storage(bucket), Catalog(make_database("sqlite", migrated=True)))
    assert requests["PUT"] == 4 and requests["GET"] >= 4
    expected = None
    catalog = Catalog(make_database("sqlite", migrated=True))
    for method, count in requests.items():
        if wrong == "cut" and method != "GET":
            continue  # the other answers have no body
        for nth in range(1, count + 1):
            place = f"{bucket}/{wrong}-{method}-{nth}"

            def fault(asked, found, _, method=method, nth=nth):
                return wrong if asked == method and found in (nth, nth + 1) else None

            with faulty(fault) as seen:
                # An answer that never came may be told as an error: nothing is visible then, and the next try succeeds.
                told = 0
                while told < 3:
                    try:
                        publish(converted, open_storage(place), catalog)
                        break
                    except StorageError as error:
                        assert "can't" in str(error)
                        told += 1
                assert told <= (2 if wrong in ("cut", "stalled") else 0)
            assert seen[method] > count or wrong in ("cut", "lost", "stalled")
            storage = open_storage(place)
            [(key, content)] = catalog.walk(OPERATOR, Search())
            assert expected in (None, content)
            expected = content
            assert not any(found.damaged for found in verify(storage, catalog, Search(), workers=1))
            there = {one for one in storage.keys() if layout.of_key(one)}  # noqa: SIM118  no dict
            assert there == set(layout.named(key.collection, key.id, content))
    catalog.close()
