"""The ledger: each product in one pair of hands, whoever races for it, and what came of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from catalog.access import PUBLIC
from catalog.ledger import Lease, Order, Source, State, Work
from catalog.models import products
from catalog.search import Search
from kartotek.errors import CatalogError, LostLease
from kartotek.squares import Square


@pytest.fixture
def ledger(catalog):
    return catalog.ledger


def places(*names):
    return [Source(place=f"/archive/{name}.zip") for name in names]


def claim(ledger, owner="me", seconds=60, **more):
    return ledger.claim(owner, seconds=seconds, **more)


def fail(ledger, lease, **more):
    return ledger.fail(lease, **{"cause": "BrokenProduct", "error": "a band is short", "most": 2, **more})


def standing(ledger):
    """The states that products are in, with how many."""
    return {state: count for state, count in ledger.counts().items() if count}


def test_a_product_is_entered_once(ledger):
    assert ledger.add(places("a", "b")) == 2
    assert ledger.add(places("b", "c", "c")) == 1
    assert ledger.add([]) == 0
    assert ledger.counts() == {state: 3 if state is State.WAITING else 0 for state in State}


def test_what_is_known_stays_as_it_is(ledger):
    ledger.add(places("a"))
    lease = claim(ledger)
    fail(ledger, lease, most=1)
    assert ledger.add(places("a")) == 0
    assert standing(ledger) == {State.QUARANTINED: 1}


def test_many_are_entered_in_batches(ledger):
    assert ledger.add(Source(place=f"/archive/{number}") for number in range(1_234)) == 1_234
    assert standing(ledger) == {State.WAITING: 1_234}


def test_products_come_as_they_were_entered_and_each_once(ledger):
    ledger.add(places("c", "a", "b"))
    leases = [claim(ledger, owner) for owner in ("one", "two", "one")]
    assert [lease.place for lease in leases] == ["/archive/c.zip", "/archive/a.zip", "/archive/b.zip"]
    assert [(lease.attempt, lease.fence) for lease in leases] == [(1, 1)] * 3
    assert claim(ledger) is None
    assert ledger.owners() == {"one": 2, "two": 1}


@pytest.mark.parametrize(("order", "wanted"), [(Order.NEWEST, "bac-"), (Order.OLDEST, "cab-"), (Order.ADDED, "-abc")])
def test_the_order_is_by_what_their_names_tell_of_their_time(ledger, order, wanted):
    day = datetime(2024, 6, 1, 10, tzinfo=UTC)
    days = {"-": None, "a": day, "b": day + timedelta(days=1), "c": day - timedelta(days=1)}
    ledger.add(Source(place=name, sensed=sensed) for name, sensed in days.items())
    assert "".join(claim(ledger, order=order).place for _ in days) == wanted


def test_what_was_tried_comes_after_what_was_not(ledger):
    ledger.add(places("a", "b"))
    fail(ledger, claim(ledger))
    assert [claim(ledger).place for _ in range(2)] == ["/archive/b.zip", "/archive/a.zip"]


def test_racing_workers_never_get_the_same_product(ledger):
    ledger.add(Source(place=str(number)) for number in range(200))

    def work(owner):
        return [lease.place for lease in iter(lambda: claim(ledger, owner), None)]

    with ThreadPoolExecutor(8) as threads:
        found = [place for places in threads.map(work, map(str, range(8))) for place in places]
    assert len(found) == 200 and set(found) == set(map(str, range(200)))


def test_a_lease_that_ran_out_goes_to_another_and_its_first_owner_changes_nothing(
    catalog, ledger, make_item, make_collection
):
    ledger.add(places("a"))
    first = claim(ledger, "zombie", seconds=-1)
    assert claim(ledger) is None, "a lease is given up by expire() alone"
    assert ledger.expire() == 1
    second = claim(ledger, "me")
    assert (second.attempt, second.fence) == (2, 2)
    for act in (
        lambda: catalog.publish(make_item("late"), collection=make_collection(), done=(first, Work())),
        lambda: fail(ledger, first),
    ):
        with pytest.raises(LostLease, match=r"a\.zip: the lease of attempt 1 ran out"):
            act()
    ledger.give_back(first)
    assert catalog.search(PUBLIC, Search()).items == () and catalog.collections(PUBLIC) == {}
    assert ledger.owners() == {"me": 1}
    catalog.publish(make_item("mine"), collection=make_collection(), done=(second, Work()))
    assert standing(ledger) == {State.DONE: 1}
    # Nor once it is done, by either of them.
    for lease in (first, second):
        with pytest.raises(LostLease):
            catalog.publish(make_item("mine"), collection=make_collection(), done=(lease, Work()))


def test_an_item_and_the_note_that_it_is_done_come_together_or_not_at_all(catalog, ledger, make_item, make_collection):
    ledger.add(places("a"))
    lease = claim(ledger)
    twice = [Square(east=500_000, north=6_500_000, valid=1, clear=1, classes={}, indices={})] * 2
    with pytest.raises(CatalogError):
        catalog.publish(make_item("bad"), collection=make_collection(), counted=twice, done=(lease, Work()))
    assert standing(ledger) == {State.RUNNING: 1} and catalog.counts(PUBLIC) == {}
    catalog.publish(make_item("good"), collection=make_collection(), done=(lease, Work()))
    assert standing(ledger) == {State.DONE: 1}


def test_a_lease_that_is_renewed_does_not_run_out(ledger):
    ledger.add(places("a", "b", "c"))
    mine = claim(ledger, "me", seconds=-1)
    claim(ledger, "me", seconds=-1)
    lost = claim(ledger, "me", seconds=60)
    ledger.quarantine([lost.place], "")
    assert ledger.renew([mine, lost], seconds=60) == 1 and ledger.renew([], seconds=60) == 0
    assert ledger.expire() == 1
    assert ledger.owners() == {"me": 1}


def test_products_of_the_dead_are_released(ledger):
    ledger.add(places("a", "b", "c"))
    for owner in ("dead", "dead too", "alive"):
        claim(ledger, owner)
    assert ledger.release(["dead", "dead too", "nobody"]) == 2
    assert standing(ledger) == {State.WAITING: 2, State.RUNNING: 1}


def test_what_is_given_back_was_not_tried(ledger):
    ledger.add(places("a"))
    ledger.give_back(claim(ledger))
    assert claim(ledger).attempt == 1


def test_a_product_that_fails_is_tried_again_and_then_set_aside_with_the_reason(ledger):
    ledger.add(places("a"))
    assert fail(ledger, claim(ledger), log="one line") == State.WAITING
    [told] = ledger.failures()
    assert (told.state, told.attempts, told.cause, told.log) == (State.WAITING, 1, "BrokenProduct", "one line")
    assert fail(ledger, claim(ledger), error="another band is short") == State.QUARANTINED
    [told] = ledger.failures()
    assert (told.state, told.attempts, told.error) == (State.QUARANTINED, 2, "another band is short")
    assert abs(told.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert claim(ledger) is None


def test_it_waits_before_it_is_tried_again(ledger):
    ledger.add(places("a"))
    fail(ledger, claim(ledger), wait=3600)
    assert standing(ledger) == {State.WAITING: 1} and claim(ledger) is None
    ledger.add(places("b"))
    fail(ledger, claim(ledger), wait=-1)
    assert claim(ledger).place == "/archive/b.zip"


def test_the_pause_grows_with_failures_and_not_with_what_was_interrupted(catalog, ledger):
    ledger.add(places("a"))
    for _ in range(12):
        claim(ledger)
        ledger.release(["me"])
    for failures in (1, 2, 3):
        fail(ledger, claim(ledger), wait=60, most=100)
        with catalog._connections.reading() as connection:
            pause = connection.scalar(select(products.c.not_before)) - datetime.now(UTC)
        assert abs(pause.total_seconds() - 60 * 2 ** (failures - 1)) < 30
        with catalog._connections.writing() as connection:
            connection.execute(update(products).values(not_before=None, failures=failures))
    with catalog._connections.writing() as connection:
        connection.execute(update(products).values(failures=5_000))
    fail(ledger, claim(ledger), wait=60, most=10_000)
    with catalog._connections.reading() as connection:
        assert connection.scalar(select(products.c.not_before)) - datetime.now(UTC) < timedelta(days=1)


def test_what_is_set_aside_can_be_tried_again_by_its_cause_or_its_place(ledger):
    ledger.add(places("a", "b", "c"))
    for cause in ("BrokenProduct", "TooCostly", "BrokenProduct"):
        fail(ledger, claim(ledger), most=1, cause=cause)
    assert ledger.retry(causes=["TooCostly"]) == 1
    assert claim(ledger).attempt == 1
    assert ledger.retry(places=["/archive/a.zip", "/archive/b.zip"]) == 1
    assert ledger.retry() == 1 and ledger.retry() == 0
    assert standing(ledger) == {State.WAITING: 2, State.RUNNING: 1}


def test_a_product_that_somebody_sets_aside_is_lost_to_its_worker(ledger):
    ledger.add(places("a", "b"))
    lease = claim(ledger)
    assert ledger.quarantine([lease.place, "/archive/b.zip", "/archive/none.zip"], "clouds only") == 2
    with pytest.raises(LostLease):
        fail(ledger, lease)
    assert {told.error for told in ledger.failures()} == {"clouds only"} and claim(ledger) is None


def test_what_is_done_is_neither_set_aside_nor_tried_again(catalog, ledger, make_item, make_collection):
    ledger.add(places("a"))
    lease = claim(ledger)
    catalog.publish(make_item("a"), collection=make_collection(), done=(lease, Work(timings={"warp": 1.5})))
    ledger.add_timing(lease, "publish", 0.25)
    assert ledger.pace().stages == {"warp": 1.5, "publish": 0.25}
    assert ledger.quarantine([lease.place], "") == 0 and ledger.retry() == 0 and ledger.failures() == []
    assert standing(ledger) == {State.DONE: 1}


@pytest.mark.parametrize(
    ("stages", "wanted"),
    [({"read": 3, "decode": 2, "encode": 2}, "processor"), ({"find": 1, "read": 4, "decode": 2, "warp": 2}, "reading"),
     ({"store": 5, "decode": 4}, "storing"), ({"publish": 5, "store": 4}, "database"), ({}, None)],
)  # fmt: skip
def test_the_pace_names_what_holds_the_run_up(catalog, ledger, make_item, make_collection, stages, wanted):
    ledger.add(places("a", "b"))
    for name in ("a", "b"):
        done = (claim(ledger), Work(timings=stages, bytes_read=100, bytes_written=150))
        catalog.publish(make_item(name), collection=make_collection(), done=done)
    pace = ledger.pace()
    assert pace.bottleneck == wanted and pace.stages == stages
    assert (pace.products, pace.bytes_read, pace.bytes_written) == (2, 200, 300)
    assert 0 < pace.seconds < 60 and pace.per_hour == pytest.approx(7200 / pace.seconds)


def test_without_products_there_is_no_pace(ledger):
    pace = ledger.pace()
    assert (pace.products, pace.per_hour, pace.bottleneck) == (0, 0, None)


def test_what_is_forgotten_may_be_entered_anew(ledger):
    ledger.add(places("a", "b"))
    lease = claim(ledger)
    assert ledger.forget([lease.place, "/archive/b.zip"]) == 1, "one that is in hand is not"
    assert ledger.add(places("a", "b")) == 1


def test_a_lease_of_nothing_is_lost(ledger):
    with pytest.raises(LostLease):
        fail(ledger, Lease(pk=7, place="x", attempt=1, fence=1))
