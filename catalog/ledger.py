"""The ledger: which products are to be converted, who has one in hand, and what came of each.

A row a product. Who works at one holds a lease by the database's clock, with a fence: a number that grows with each
lease. What a worker writes takes effect only where the fence is still its own, so that one that was thought dead and
comes back changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Any

from shapely import Geometry
from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Integer,
    Select,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    update,
)

from catalog import dialects
from catalog.connections import Connections
from catalog.dialects import Database
from catalog.models import items, products
from catalog.pace import Left, Pace, Queue, Taken
from catalog.search import Search
from catalog.statements import conditions
from kartotek.errors import LostLease

BATCH = 500
"""Products that are entered at a time."""
MOST = 10_000
"""Failures that are told at a time."""
DOUBLINGS = 10
"""Of the pause before a product is tried again."""
RECENT = 500
"""Products by which the pace is told."""


class State(StrEnum):
    """Where a product stands."""

    WAITING = "waiting"
    """To be converted, at the earliest at `not_before`."""
    RUNNING = "running"
    """Leased to a worker."""
    DONE = "done"
    """Published."""
    QUARANTINED = "quarantined"
    """Set aside: it can't be converted, or somebody said so. `retry` makes it wait again."""
    REGISTERED = "registered"
    """Searchable by its metadata, and not to be converted yet."""
    SKIPPED = "skipped"
    """Not to be converted, since nothing would be gained; `error` says why."""


class Original(StrEnum):
    """What has come of a product that is to be deleted once it is published."""

    DELETING = "deleting"
    """Published; to be checked, and deleted."""
    REMOVING = "removing"
    """Checked; some of it may be gone."""
    DELETED = "deleted"
    KEPT = "kept"
    """It can't be deleted, or must not be."""


class Order(StrEnum):
    """Which of the products that wait comes first; those that have been tried least before all others."""

    ADDED = "added"
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A product where it lies."""

    place: str
    """Absolute path, or s3://BUCKET/KEY: what the ledger knows it by."""
    sensed: datetime | None = None
    """UTC, where its name tells."""
    take: str | None = None
    """The datatake, as one level and baseline has it, where its name tells; products of one saw the ground at once."""
    zone: int | None = None
    """UTM zone, likewise."""
    href: str | None = None
    """Where clients find it; None: nobody has said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A product whose metadata has been read."""

    source: Source
    content: bytes
    """Its item, as `documents.stored` gives it."""
    collection: bytes
    """The collection's JSON."""
    ground: Geometry | None
    """As `Work.ground`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A product in the hands of one worker."""

    pk: int
    place: str
    attempt: int
    """1 at first."""
    fence: int
    take: str | None = None
    zone: int | None = None
    ground: Geometry | None = None
    """As `Work.ground`, where it has been registered."""
    href: str | None = None
    seconds: float = 0.0
    """What the database took to give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a conversion took and gave; kept with the product."""

    timings: Mapping[str, float] = field(default_factory=dict)
    """Stage → seconds."""
    bytes_read: int = 0
    bytes_written: int = 0
    recipe: str = ""
    checksum: str = ""
    """SHA-256 of what was read."""
    take: str | None = None
    zone: int | None = None
    """As `Source` has them, by the item's name."""
    ground: Geometry | None = None
    """Where the product has data, in the projected CRS whose EPSG code is its SRID; None where that is not known, or
    some of its bands are missing."""
    original: Original | None = None
    """DELETING where the product is to be deleted now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A product that is published and to be deleted, or some of which is."""

    pk: int
    place: str
    collection: str
    item: str
    bytes: int
    checksum: str
    """As `Work` has them."""
    begun: bool
    """Whether some of it may be gone already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a product was not converted when it was last tried."""

    place: str
    state: State
    attempts: int
    cause: str
    """The error's class."""
    error: str
    """What it said."""
    log: str
    """The end of what was logged meanwhile."""
    at: datetime | None


class Ledger:
    """The ledger in the catalog's database. Safe to share between threads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._database = dialects.DATABASES[connections.engine.dialect.name]

    # What is to be done

    def add(self, sources: Iterable[Source]) -> int:
        """Enter products that are to be converted; how many of them were not there yet. The others stay as they are."""
        added, left = 0, iter(sources)
        while some := list(islice(left, BATCH)):
            new = {"state": State.WAITING, "attempts": 0, "failures": 0, "fence": 0}
            rows = [{**asdict(one), **new} for one in some]
            with self._connections.writing() as connection:
                statement = self._database.insert(products).on_conflict_do_nothing(index_elements=["place"])
                added += len(connection.scalars(statement.returning(products.c.pk), rows).all())
        return added

    def retry(self, *, causes: Sequence[str] = (), places: Sequence[str] = ()) -> int:
        """Let products that are set aside wait again, as if never tried; of these causes or places, or all.

        Those that were skipped wait again where their cause or their place is named.
        """
        wanted = [products.c.state.in_([State.QUARANTINED, *([State.SKIPPED] if causes or places else [])])]
        if causes:
            wanted.append(products.c.cause.in_(causes))
        if places:
            wanted.append(products.c.place.in_(places))
        change = update(products).where(*wanted)
        return self._changed(change.values(state=State.WAITING, attempts=0, failures=0, not_before=None))

    def sources(self, collection: str, item: str) -> list[str]:
        """The places of the products that an item was made of; not of those that have been deleted."""
        wanted = select(products.c.place).where(*_made(collection, item)).order_by(products.c.pk)
        with self._connections.reading() as connection:
            return list(connection.scalars(wanted))

    def again(self, collection: str, item: str) -> bool:
        """Let the product wait again that an item was made of; whether there is one that has not been deleted."""
        of_it = _made(collection, item)
        return bool(self._changed(update(products).where(*of_it).values(state=State.WAITING, attempts=0, failures=0)))

    def quarantine(self, places: Sequence[str], reason: str) -> int:
        """Set products aside that are neither published nor set aside; a worker that has one in hand loses it."""
        change = update(products).where(
            products.c.place.in_(places),
            products.c.state.in_([State.WAITING, State.RUNNING, State.REGISTERED]),
        )
        given: dict[str, Any] = {"cause": "Quarantined", "error": reason, "log": "", "finished": self._now()}
        return self._changed(change.values(state=State.QUARANTINED, fence=products.c.fence + 1, **_NOBODY, **given))

    def choose(self, only: Search) -> int:
        """Let registered products wait whose items a search finds; how many."""
        chosen = [products.c.state == State.REGISTERED, *_chosen(self._database, products, only)]
        return self._changed(update(products).where(*chosen).values(state=State.WAITING))

    # Work

    def claim(
        self,
        owner: str,
        *,
        seconds: float,
        order: Order = Order.ADDED,
        only: Search | None = None,
        prefer: int | None = None,
    ) -> Lease | None:
        """Lease the next product that waits; None where none does just now.

        `only` those whose items a search finds. A product of another UTM zone than the one to `prefer` comes after all
        of its datatake in that one, whatever becomes of these.
        """
        claiming, began = _claiming(self._connections.engine.dialect.name, order, only, prefer), time.perf_counter()
        with self._connections.writing() as connection:
            row = connection.execute(claiming, {"by": owner, "seconds": seconds}).first()
        if row is None:
            return None
        return Lease(
            pk=row.pk, place=row.place, attempt=row.attempts, fence=row.fence, take=row.take, zone=row.zone,
            ground=row.ground, href=row.href, seconds=time.perf_counter() - began,
        )  # fmt: skip

    def renew(self, leases: Collection[Lease], *, seconds: float) -> int:
        """Prolong leases; how many of them are still their workers'."""
        change = update(products).where(
            products.c.pk == bindparam("lease"),
            products.c.fence == bindparam("mine"),
            products.c.state == State.RUNNING,
        )
        rows = [{"lease": lease.pk, "mine": lease.fence} for lease in leases]
        if not rows:
            return 0
        with self._connections.writing() as connection:
            return int(connection.execute(change.values(leased_until=self._now(seconds)), rows).rowcount)

    def expire(self) -> int:
        """Let products wait again whose lease has run out; how many."""
        change = update(products).where(products.c.state == State.RUNNING, products.c.leased_until < self._now())
        return self._changed(change.values(state=State.WAITING, **_NOBODY))

    def release(self, owners: Sequence[str]) -> int:
        """Let products wait again that owners have who are known to be gone; how many."""
        change = update(products).where(products.c.state == State.RUNNING, products.c.owner.in_(owners))
        return self._changed(change.values(state=State.WAITING, **_NOBODY))

    def give_back(self, lease: Lease) -> None:
        """Let a product wait as if it had not been tried. Nothing where the lease is lost."""
        change = _held(lease).values(state=State.WAITING, attempts=products.c.attempts - 1, **_NOBODY)
        self._changed(change)

    def skip(self, lease: Lease, *, cause: str, reason: str) -> None:
        """Note that a product need not be converted. Raises LostLease."""
        change = _held(lease).values(
            state=State.SKIPPED, cause=cause, error=reason, log=None, finished=self._now(), **_NOBODY
        )
        if self._changed(change) != 1:
            raise _lost(lease)

    def fail(self, lease: Lease, *, cause: str, error: str, log: str = "", most: int, wait: float = 0) -> State:
        """Note that a product could not be converted; where it then stands.

        It waits for `wait` seconds, twice as long with each failure, or is set aside once it has failed `most` times.
        Raises LostLease.
        """
        told = {"why": cause, "said": error, "lines": log, "most": most, "seconds": wait}
        failing = _failing(self._connections.engine.dialect.name)
        with self._connections.writing() as connection:
            found = connection.scalar(failing, {"lease": lease.pk, "mine": lease.fence, **told})
        if found is None:
            raise _lost(lease)
        return State(found)

    def add_timing(self, lease: Lease, stage: str, seconds: float) -> None:
        """Note what a stage took that ended after the product was done."""
        mine = [products.c.pk == lease.pk, products.c.fence == lease.fence]
        with self._connections.writing() as connection:
            timings = connection.scalar(select(products.c.timings).where(*mine))
            if timings is not None:
                connection.execute(update(products).where(*mine).values(timings={**timings, stage: seconds}))

    # What came of it

    def counts(self, only: Search | None = None) -> dict[State, int]:
        """State → products, or `only` those whose items a search finds; each state is there."""
        chosen = _chosen(self._database, products, only)
        wanted = select(products.c.state, func.count()).where(*chosen).group_by(products.c.state)
        with self._connections.reading() as connection:
            found = {row[0]: row[1] for row in connection.execute(wanted)}
        return {state: found.get(state, 0) for state in State}

    def pace(self) -> Pace:
        """How fast it goes, and on what time is spent."""
        columns = products.c
        wanted = (
            select(columns.started, columns.finished, columns.timings, columns.bytes_read, columns.bytes_written)
            .where(columns.state == State.DONE, columns.finished >= self._now(-3600))
            .order_by(columns.finished.desc())
            .limit(RECENT)
        )
        with self._connections.reading() as connection:
            rows = connection.execute(wanted).all()
        stages: dict[str, float] = {}
        for row in rows:
            for stage, seconds in (row.timings or {}).items():
                stages[stage] = stages.get(stage, 0) + seconds / len(rows)
        return Pace(
            products=len(rows),
            seconds=(rows[0].finished - min(row.started for row in rows)).total_seconds() if rows else 0.0,
            stages=stages,
            bytes_read=sum(row.bytes_read or 0 for row in rows),
            bytes_written=sum(row.bytes_written or 0 for row in rows),
        )

    def queue(self) -> Queue:
        """What waits for now and for later, and how long the first that is in hand has been so."""
        waiting = select(func.count()).where(products.c.state == State.WAITING)
        # Only what has been tried waits for a time: so few are looked at of the many that wait.
        later = waiting.where(products.c.attempts > 0, products.c.not_before > self._now())
        first = select(func.min(products.c.started), self._now()).where(products.c.state == State.RUNNING)
        with self._connections.reading() as connection:
            total, put_off = connection.scalar(waiting) or 0, connection.scalar(later) or 0
            started, now = connection.execute(first).one()
        oldest = max(0.0, (now - started).total_seconds()) if started else 0.0
        return Queue(now=max(0, total - put_off), later=put_off, oldest=oldest)

    def left(self, only: Search | None = None) -> list[Left]:
        """Products that are registered or wait, or `only` those whose items a search finds; as they were entered."""
        wanted = (
            select(products.c.place, products.c.zone, products.c.collection, products.c.item)
            .where(products.c.state.in_([State.REGISTERED, State.WAITING]), *_chosen(self._database, products, only))
            .order_by(products.c.pk)
        )
        with self._connections.reading() as connection:
            return [Left(**row._mapping) for row in connection.execute(wanted)]

    def taken(self, recipe: str) -> list[Taken]:
        """What products have taken that were done last by a recipe, `RECENT` at most."""
        done = products.c
        wanted = (
            select(
                done.place, done.zone, done.collection, done.item, done.started, done.finished, done.bytes_read,
                done.bytes_written,
            )
            .where(done.state == State.DONE, done.recipe == recipe, done.bytes_read > 0, done.bytes_written > 0)
            .order_by(done.finished.desc())
            .limit(RECENT)
        )  # fmt: skip
        with self._connections.reading() as connection:
            return [
                Taken(
                    place=row.place, zone=row.zone, collection=row.collection, item=row.item,
                    began=row.started.timestamp(), seconds=(row.finished - row.started).total_seconds(),
                    bytes_read=row.bytes_read, bytes_written=row.bytes_written,
                )
                for row in connection.execute(wanted)
            ]  # fmt: skip

    def owners(self) -> dict[str, int]:
        """Owner → products in hand."""
        wanted = select(products.c.owner, func.count()).where(products.c.state == State.RUNNING)
        with self._connections.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted.group_by(products.c.owner))}

    def failures(self, *, causes: Sequence[str] = (), limit: int = MOST) -> list[Failure]:
        """Products that are set aside, and those that failed and wait to be tried again; the newest first.

        Of these causes, or all; those that were skipped only where their cause is named.
        """
        failed = or_(products.c.state == State.QUARANTINED, products.c.failures > 0)
        wanted: Select[Any] = (
            select(products)
            .where(or_(failed, products.c.state == State.SKIPPED) if causes else failed)
            .where(products.c.state != State.DONE, *([products.c.cause.in_(causes)] if causes else []))
            .order_by(products.c.finished.desc(), products.c.pk)
            .limit(limit)
        )
        with self._connections.reading() as connection:
            return [
                Failure(
                    place=row.place, state=State(row.state), attempts=row.attempts, cause=row.cause or "",
                    error=row.error or "", log=row.log or "", at=row.finished,
                )
                for row in connection.execute(wanted)
            ]  # fmt: skip

    def places(self, collection: str, item: str) -> list[str]:
        """Where the product of an item lies; not where it has been deleted."""
        wanted = (
            select(products.c.place)
            .where(products.c.collection == collection, products.c.item == item, _left())
            .order_by(products.c.pk)
        )
        with self._connections.reading() as connection:
            return list(connection.scalars(wanted))

    def published(self, take: str, zone: int) -> dict[str, Geometry]:
        """Item → ground of what is published of a datatake in a zone, whole."""
        there = exists().where(items.c.collection == products.c.collection, items.c.id == products.c.item)
        wanted = select(products.c.item, products.c.ground).where(
            products.c.take == take, products.c.zone == zone, products.c.state == State.DONE,
            products.c.ground.is_not(None), there,
        )  # fmt: skip
        with self._connections.reading() as connection:
            return {row.item: row.ground for row in connection.execute(wanted)}

    def deletions(self, place: str | None = None) -> list[Deletion]:
        """Products that are published and to be deleted; all, or the one at a place."""
        wanted = select(products).where(products.c.original.in_([Original.DELETING, Original.REMOVING]))
        if place is not None:
            wanted = wanted.where(products.c.place == place)
        with self._connections.reading() as connection:
            return [
                Deletion(
                    pk=row.pk, place=row.place, collection=row.collection, item=row.item, bytes=row.bytes_read,
                    checksum=row.checksum, begun=row.original == Original.REMOVING,
                )
                for row in connection.execute(wanted)
            ]  # fmt: skip

    def note_original(self, pk: int, original: Original) -> None:
        """Note what has come of a product that is to be deleted."""
        self._changed(update(products).where(products.c.pk == pk).values(original=original))

    def unknown(self, places: Sequence[str]) -> list[str]:
        """Those of the places that the ledger has not."""
        with self._connections.reading() as connection:
            known = set(connection.scalars(select(products.c.place).where(products.c.place.in_(places))))
        return [place for place in places if place not in known]

    def forget(self, places: Sequence[str]) -> int:
        """Strike products from the ledger that nobody works at; what is published of them stays."""
        return self._changed(delete(products).where(products.c.place.in_(places), products.c.state != State.RUNNING))

    def _now(self, ahead: float = 0) -> ColumnElement[datetime]:
        return self._database.now(ahead)

    def _changed(self, change: Any) -> int:
        with self._connections.writing() as connection:
            return int(connection.execute(change).rowcount)


_LEASED = ("pk", "place", "attempts", "fence", "take", "zone", "ground", "href")
_NOBODY: Mapping[str, Any] = {"owner": None, "leased_until": None}
_ORDERS: Mapping[Order, Sequence[ColumnElement[Any]]] = {
    Order.ADDED: (),
    Order.NEWEST: (products.c.sensed.desc().nulls_last(),),
    Order.OLDEST: (products.c.sensed.asc().nulls_last(),),
}


@lru_cache
def _claiming(kind: str, order: Order, only: Search | None, prefer: int | None) -> Any:
    """Take the next product, `by` whom, for how many `seconds`; made once, since that takes longer than running it."""
    database = dialects.DATABASES[kind]
    ready = (
        select(products.c.pk)
        .where(products.c.state == State.WAITING, *_chosen(database, products, only))
        .where(*_after_preferred(database, only, prefer))
        .where(or_(products.c.not_before.is_(None), products.c.not_before <= database.now()))
        .order_by(products.c.attempts, *_ORDERS[order], products.c.pk)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return (
        update(products)
        .where(products.c.pk == ready.scalar_subquery())
        .values(
            state=State.RUNNING,
            owner=bindparam("by"),
            attempts=products.c.attempts + 1,
            fence=products.c.fence + 1,
            started=database.now(),
            leased_until=database.now(bindparam("seconds", type_=Float)),
        )
        .returning(*(products.c[name] for name in _LEASED))
    )


def _chosen(database: Database, table: FromClause, only: Search | None) -> Sequence[ColumnElement[bool]]:
    """Whether a search finds a product's item."""
    if only is None:
        return ()
    same = [items.c.collection == table.c.collection, items.c.id == table.c.item]
    return (exists().where(*same, *conditions(database, only)),)


def _after_preferred(database: Database, only: Search | None, prefer: int | None) -> Sequence[ColumnElement[bool]]:
    """Whether a product has no more to wait for any of its datatake in the preferred zone."""
    if prefer is None:
        return ()
    other = products.alias("other")
    before = exists().where(
        other.c.take == products.c.take, other.c.zone == prefer, other.c.state.in_([State.WAITING, State.RUNNING]),
        *_chosen(database, other, only),
    )  # fmt: skip
    return (or_(products.c.zone.is_(None), products.c.zone == prefer, not_(before)),)


@lru_cache
def _failing(kind: str) -> Any:
    """Note `why` a product failed, and let it wait for `seconds` or set it aside; made once, as above."""
    database, failures = dialects.DATABASES[kind], products.c.failures + 1
    times = case(
        *((products.c.failures == number, literal(2**number, Integer)) for number in range(DOUBLINGS)),
        else_=literal(2**DOUBLINGS, Integer),
    )
    return (
        update(products)
        .where(products.c.pk == bindparam("lease"), products.c.fence == bindparam("mine"))
        .where(products.c.state == State.RUNNING)
        .values(
            state=case(
                (failures >= bindparam("most", type_=Integer), literal(State.QUARANTINED.value)),
                else_=literal(State.WAITING.value),
            ),
            failures=failures,
            not_before=database.now(bindparam("seconds", type_=Float) * times),
            finished=database.now(),
            cause=bindparam("why"),
            error=bindparam("said"),
            log=bindparam("lines"),
            **_NOBODY,
        )
        .returning(products.c.state)
    )


def finish(connection: Connection, lease: Lease, *, collection: str, item: str, work: Work) -> None:
    """Note in the transaction that publishes it that a product is done. Raises LostLease where it is another's."""
    now = dialects.of(connection).now()
    change = _held(lease).values(
        state=State.DONE, collection=collection, item=item, finished=now, timings=dict(work.timings),
        bytes_read=work.bytes_read, bytes_written=work.bytes_written, recipe=work.recipe, checksum=work.checksum,
        take=work.take, zone=work.zone, ground=work.ground, original=work.original,
        cause=None, error=None, log=None, **_NOBODY,
    )  # fmt: skip
    if connection.execute(change).rowcount != 1:
        raise _lost(lease)


def _left() -> ColumnElement[bool]:
    """Whether a product has not been deleted."""
    return func.coalesce(products.c.original, "").not_in([Original.REMOVING, Original.DELETED])


def _made(collection: str, item: str) -> Sequence[ColumnElement[bool]]:
    """Whether an item was made of a product that has not been deleted."""
    return products.c.collection == collection, products.c.item == item, products.c.state == State.DONE, _left()


def _held(lease: Lease) -> Any:
    """A change of the product, where the lease is still the worker's."""
    return update(products).where(
        products.c.pk == lease.pk, products.c.fence == lease.fence, products.c.state == State.RUNNING
    )


def _lost(lease: Lease) -> LostLease:
    return LostLease(f"{lease.place}: the lease of attempt {lease.attempt} ran out, and the product is another's now")
