"""The catalog: items and collections put in, and given out to a reader."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, true

from catalog import aggregates as aggregating
from catalog import (
    clearness,
    dialects,
    directories,
    documents,
    entries,
    filling,
    holds,
    ledger,
    loading,
    naming,
    pages,
    registering,
    revisions,
    slack,
    summaries,
)  # fmt: skip
from catalog.access import Reader, visible
from catalog.addresses import AT_REST, Addresses
from catalog.aggregates import Aggregate, Interval
from catalog.connections import Connections
from catalog.contents import Contents
from catalog.copies import Copies
from catalog.dialects import STATEMENT_MS
from catalog.directories import Directories
from catalog.holds import Hold, Holds
from catalog.intakes import Intakes
from catalog.ledger import Failure, Lease, Ledger, Registration, Source, Work
from catalog.loading import Loaded
from catalog.matched import Matched, matched
from catalog.models import collections, dictionaries, items, products, squares
from catalog.mosaics import Mosaics
from catalog.order import Place
from catalog.pages import Page
from catalog.queryables import Queryable
from catalog.search import Search
from catalog.tally import Tally
from kartotek.errors import Conflict, NotFound, NotMigrated
from kartotek.grids import Bounds
from kartotek.squares import RECIPE, Square

COUNT_MS = 100
"""How long items of a search are counted."""
FILLED_AFTER = "0004"
"""The revision after which columns are filled."""


class Catalog:
    """STAC items in a database. Safe to share between threads; close it when done."""

    def __init__(self, url: str, *, milliseconds: int = STATEMENT_MS) -> None:
        """`milliseconds` is how long the database works at a question."""
        self._connections = Connections(url, milliseconds=milliseconds)
        self._contents = Contents(self._dictionary)

    def close(self) -> None:
        """Give up the connections."""
        self._connections.close()

    @property
    def ledger(self) -> Ledger:
        """The ledger of products, in the same database."""
        return Ledger(self._connections)

    @property
    def holds(self) -> Holds:
        """The holds on items' files, in the same database."""
        return Holds(self._connections)

    @property
    def directories(self) -> Directories:
        """Where the blocks of items' files lie, in the same database."""
        return Directories(self._connections)

    @cached_property
    def mosaics(self) -> Mosaics:
        """The searches that were registered, in the same database; one of them, since it has some at hand."""
        return Mosaics(self._connections)

    @property
    def intakes(self) -> Intakes:
        """How far items of other catalogues have come in, in the same database."""
        return Intakes(self._connections)

    @property
    def copies(self) -> Copies:
        """All of it, as one side of a copy."""
        return Copies(self._connections, self._contents)

    @property
    def place(self) -> str:
        """The database's URL, without its password."""
        return self._connections.place

    @property
    def file(self) -> Path | None:
        """The file that is the database, by its absolute path; None for a server's."""
        return dialects.file(self._connections.engine)

    # Tables

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to a revision of `migrations`, the newest unless one is named."""
        current, goal = self._current(), {"base": "", "head": revisions.newest()}.get(revision, revision)
        upwards = current is None or goal > current
        # A stop where columns are there and their indexes are not: to fill columns, or to unpack items on the way down,
        # takes its time, and locks must not keep readers from the table meanwhile. An empty one has nothing to fill.
        if current is not None and min(current, goal) < FILLED_AFTER < max(current, goal):
            self._change(FILLED_AFTER, upwards=upwards)
            current = FILLED_AFTER
        if upwards and current == FILLED_AFTER:
            filling.fill(self._connections, self._contents)
        self._change(revision)

    def _change(self, revision: str, *, upwards: bool = False) -> None:
        with self._connections.writing() as connection:
            revisions.change(connection, revision, upwards=upwards)

    def check(self) -> None:
        """Raise NotMigrated where the tables are missing or of another version, CatalogError where nothing answers.

        Nothing is made: no database of that name is NotMigrated too.
        """
        if not dialects.exists(self._connections.engine):
            raise NotMigrated(
                f"{self.place}: no such database; `kartotek convert` makes one, `kartotek migrate` an empty one, and "
                "--database or KARTOTEK_DATABASE names another"
            )
        current = self._current()
        newest = revisions.newest()
        if current != newest:
            raise NotMigrated(
                f"{self.place}: tables are of revision {current or 'none'}, this program "
                f"needs {newest}; run `kartotek migrate`"
            )

    def ready(self) -> None:
        """Make the tables where the database is empty, as a SQLite file is at first; else as `check`."""
        if self._current() is None:
            self.migrate()
        self.check()

    def _current(self) -> str | None:
        """The revision of the tables; None where there are none. Raises CatalogError where nothing answers."""
        with self._connections.reading() as connection:
            return revisions.current(connection)

    # Reads

    def collections(self, reader: Reader) -> dict[str, bytes]:
        """Id → JSON of the collections, ordered by id."""
        with self._connections.reading() as connection:
            return {row.id: row.content for row in connection.execute(_of_collections(reader))}

    def collection(self, reader: Reader, name: str) -> bytes:
        """A collection's JSON. Raises NotFound."""
        found = self._content(_of_collection(reader), collection=name)
        if found is None:
            raise NotFound(f"no collection {name!r}")
        return found

    def private(self) -> set[str]:
        """The ids of the collections that outsiders don't see; for the operator alone."""
        wanted = select(collections.c.id).where(collections.c.private == true())
        with self._connections.reading() as connection:
            return set(connection.scalars(wanted))

    def item(self, reader: Reader, collection: str, name: str) -> bytes:
        """An item's JSON. Raises NotFound, with the same words whether the collection is private or not there."""
        found = self.find(reader, collection, name)
        if found is None:
            raise NotFound(f"no item {name!r} in collection {collection!r}")
        return found

    def find(self, reader: Reader, collection: str, name: str) -> bytes | None:
        """An item's JSON; None where there is none, or none that the reader may see."""
        found = self._content(_of_item(reader), collection=collection, name=name)
        return None if found is None else self._contents.whole(found)

    def described(self, reader: Reader, collection: str, name: str) -> Described:
        """An item and its collection, in one question, not unpacked before somebody needs them. Raises as `item`."""
        found = None
        if "\0" not in collection + name:
            with self._connections.reading() as connection:
                given = {"collection": collection, "name": name}
                found = connection.execute(_with_collection(reader), given).first()
        if found is None:
            raise NotFound(f"no item {name!r} in collection {collection!r}")
        return Described(found.content, found.kind, self._contents.whole)

    def _dictionary(self, number: int) -> bytes | None:
        with self._connections.reading() as connection:
            found: bytes | None = connection.scalar(select(dictionaries.c.content).where(dictionaries.c.id == number))
        return found

    def _content(self, wanted: Select[bytes], **names: str) -> bytes | None:
        """What a query for one row finds; nothing for names with a zero, which no id has and PostgreSQL refuses."""
        if any("\0" in name for name in names.values()):
            return None
        with self._connections.reading() as connection:
            found: bytes | None = connection.scalar(wanted, names)
        return found

    def search(self, reader: Reader, search: Search, addresses: Addresses = AT_REST) -> Page:
        """A page of items, with these addresses of files."""
        with self._connections.reading() as connection:
            found = pages.page(connection, reader, search)
        unpack = self._contents.head if search.heads else self._contents.whole
        return replace(found, items=tuple(unpack(content, addresses) for content in found.items))

    def packed(self, reader: Reader, search: Search) -> tuple[Page, Callable[[bytes], bytes]]:
        """A page of items as they are kept, and what unpacks one: for those who need to look at a few of many."""
        with self._connections.reading() as connection:
            return pages.page(connection, reader, search), self._contents.whole

    def clear(self, reader: Reader, places: Sequence[Place], bounds: Bounds) -> dict[tuple[str, str], int]:
        """(collection, id) → clear pixels of 20 m of some items within bounds in EPSG:3006, as far as that is known."""
        with self._connections.reading() as connection:
            return clearness.clear(connection, reader, places, bounds)

    def places(self, reader: Reader, search: Search) -> Sequence[Place]:
        """Where the items of a page stand, without the items."""
        with self._connections.reading() as connection:
            return pages.page(connection, reader, search).places

    def matched(self, reader: Reader, search: Search, *, milliseconds: int = COUNT_MS) -> Matched:
        """How many items all pages of a search have."""
        return matched(self._connections, reader, search, milliseconds=milliseconds)

    def aggregates(
        self, reader: Reader, search: Search, names: Sequence[str], *, interval: Interval = "month"
    ) -> list[Aggregate]:
        """What the items of a search are like, counted. Raises BadRequest where there is no aggregate of a name."""
        with self._connections.reading() as connection:
            return aggregating.aggregates(connection, reader, search, names, interval=interval)

    def walk(self, reader: Reader, search: Search, addresses: Addresses = AT_REST) -> Iterator[tuple[Place, bytes]]:
        """All items that a search finds, each with its place in the order; read a page of its limit at a time."""
        left: Search | None = search
        while left is not None:
            page = self.search(reader, left, addresses)
            yield from zip(page.places, page.items, strict=True)
            left = None if page.next is None else replace(left, at=page.next)

    def counts(self, reader: Reader) -> dict[str, int]:
        """Collection → number of its items, for all that the reader may see."""
        wanted = (
            select(collections.c.id, func.count(items.c.pk))
            .outerjoin(items, items.c.collection == collections.c.id)
            .where(visible(reader, collections.c.id))
            .group_by(collections.c.id)
            .order_by(collections.c.id)
        )
        with self._connections.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(wanted)}

    def summaries(self, reader: Reader, names: Collection[str] | None = None) -> dict[str, Tally]:
        """Collection → its items summed up, for those of all, or of those named, that the reader may see."""
        with self._connections.reading() as connection:
            return summaries.of(connection, reader, names)

    def queryables(self, reader: Reader, names: Collection[str] | None = None) -> dict[str, Queryable]:
        """Name → what may be asked of it, in all collections that the reader may see, or in those named."""
        return naming.queryables(self.summaries(reader, names).values())

    def squares(self, reader: Reader, collection: str, name: str) -> list[Mapping[str, Any]]:
        """An item's counts per index square, as rows of the table. Raises NotFound where there is no such item."""
        self.item(reader, collection, name)
        wanted = (
            select(*(column for column in squares.c if column.name != "item"))
            .join(items, items.c.pk == squares.c.item)
            .where(items.c.collection == collection, items.c.id == name, visible(reader, items.c.collection))
            .order_by(squares.c.north.desc(), squares.c.east)
        )
        with self._connections.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(wanted)]

    # Writes

    def publish(
        self,
        content: bytes,
        *,
        collection: bytes,
        counted: Sequence[Square] = (),
        counted_by: str = RECIPE,
        blocks: Mapping[str, bytes] | None = None,
        done: tuple[Lease, Work] | None = None,
        hold: Hold | None = None,
    ) -> bool:
        """Make an item visible, with its squares, in one transaction; True where it took an earlier one's place.

        `blocks` says of its files, by their keys, where their blocks lie, as whoever reads them packs it.

        The collection is entered, or its JSON refreshed where it differs; its privacy stays as it is. What was leased
        from the ledger is noted there as done in the same transaction. Raises BadRequest where the item is not as
        `documents.stored` gives it, since the same bytes lie beside its files, and LostLease where another has the
        product or the item's files now; nothing has changed then.
        """
        one, kind, due = entries.entry(content), _collection_row(collection), set[str]()
        with self._connections.writing() as connection:
            if hold is not None:
                holds.check(connection, hold)
            if done is not None:
                lease, work = done
                ledger.finish(connection, lease, collection=one.collection, item=one.row["id"], work=work)
            _enter(connection, kind, keep=["private"])
            slack.note(connection, [one.row])
            pk, before = entries.put(connection, self._contents, one)
            entries.place(connection, pk, one)
            connection.execute(delete(squares).where(squares.c.item == pk))
            directories.put(connection, blocks or {})
            if counted:
                connection.execute(insert(squares), [_square(pk, square, counted_by) for square in counted])
            if before != content:
                due = summaries.note(connection, entries.adds([(one, before is None)]))
        self._keep(due)
        return before is not None

    def load(self, given: Sequence[entries.Entry], *, keep: bool = False) -> Loaded:
        """Enter items in one transaction, in the place of those that are there unless these are to be kept.

        Of several of one id the last counts. Raises NotFound where a collection is not there; nothing has changed then.
        """
        with self._connections.reading() as connection:
            prepared = loading.prepare(connection, self._contents, given)
        with self._connections.writing() as connection:
            found, due = loading.load(connection, self._contents, prepared, keep=keep)
        self._keep(due)
        return found

    def holds_ours(self, collection: str) -> bool:
        """Whether a collection has items that kartotek converted or registered."""
        mine = (items.c.collection == collection,)
        with self._connections.reading() as connection:
            converted = dialects.of(connection).has(items.c.facts, documents.RECIPE)
            entered = select(products.c.pk).where(products.c.collection == collection).limit(1)
            return any(
                connection.scalar(wanted) is not None
                for wanted in (entered, select(items.c.pk).where(*mine, converted).limit(1))
            )

    def registered(self, places: Collection[str]) -> dict[str, str | None]:
        """Place → href of those of the places that have an item, registered or converted."""
        with self._connections.reading() as connection:
            return registering.known(connection, places)

    def register(self, registrations: Sequence[Registration], *, hold: Hold | None = None) -> list[bool]:
        """Make items of products visible that are not converted yet, and note them in the ledger, in one transaction.

        Whether each was: an item that is converted stays as it is. What else is written is as in `publish`; ledger,
        collections and items in the same order as there, so that nobody locks another out. Raises LostLease where
        another has some of the items' files now.
        """
        found = [(given, entries.entry(given.content)) for given in registrations]
        kinds = {content: _collection_row(content) for content in {given.collection for given in registrations}}
        visible: dict[str, bool] = {}
        added: list[tuple[entries.Entry, bool]] = []
        with self._connections.writing() as connection:
            if hold is not None:
                holds.check(connection, hold)
            registering.enter(connection, [(given, one.collection, str(one.row["id"])) for given, one in found])
            for kind in sorted(kinds.values(), key=lambda kind: str(kind["id"])):
                _enter(connection, kind, keep=["private"])
            slack.note(connection, [one.row for _, one in found])
            for given, one in sorted(found, key=lambda pair: (pair[1].collection, str(pair[1].row["id"]))):
                pk, before = entries.put(connection, self._contents, one, keep=documents.CONVERTED)
                visible[given.source.place] = before is None or documents.CONVERTED not in before
                if visible[given.source.place] and before != one.content:
                    entries.place(connection, pk, one)
                    added.append((one, before is None))
            converted = [place for place, written in visible.items() if not written]
            registering.skip(connection, converted, cause="Converted", reason="its item is converted already")
            due = summaries.note(connection, entries.adds(added))
        self._keep(due)
        return [visible[given.source.place] for given in registrations]

    def set_aside(self, failed: Sequence[tuple[Source, Failure]]) -> None:
        """Note products whose metadata can't be read; those that anything else is known of stay as they are."""
        with self._connections.writing() as connection:
            registering.set_aside(connection, failed)

    def put_collection(self, content: bytes, *, private: bool | None = None) -> None:
        """Enter a collection, or replace its JSON; its privacy stays as it is unless it is given.

        Links that the server makes itself are left out, so that what it gave may come back. Publishing an item brings
        the collection's JSON along, and replaces this one.
        """
        row = _collection_row(content, private=bool(private))
        kept = ["private"] if private is None else []
        with self._connections.writing() as connection:
            _enter(connection, row, keep=kept)

    def change_item(
        self, collection: str, name: str, change: Callable[[bytes | None], entries.Entry | None]
    ) -> tuple[bytes | None, bytes | None]:
        """Have an item changed by whoever knows how: from its JSON, or None, to what takes its place, or None.

        The JSON before and after. Nobody else changes it meanwhile. What `change` raises is raised, and nothing has
        changed; Conflict where somebody else added the item just now, NotFound where there is no such collection.
        """
        with self._connections.writing() as connection:
            mine = select(items.c.pk, items.c.content).where(items.c.collection == collection, items.c.id == name)
            there = connection.execute(mine.with_for_update()).first()
            before = None if there is None else self._contents.whole(there.content)
            one = change(before)
            due = set[str]()
            if one is not None:
                prepared = loading.prepare(connection, self._contents, [one])
                loaded, due = loading.load(connection, self._contents, prepared)
                if before is None and not loaded.added:
                    raise Conflict(f"item {name!r} was added by somebody else just now")
            elif there is not None:
                loading.remove(connection, [there.pk])
                due = summaries.note(connection, {collection: Tally(count=-1, removed=True)})
        self._keep(due)
        return before, None if one is None else one.content

    def delete_item(self, collection: str, name: str) -> None:
        """Take an item out of the catalog; its files stay. Raises NotFound."""

        def gone(before: bytes | None) -> None:
            if before is None:
                raise NotFound(f"no item {name!r} in collection {collection!r}")

        self.change_item(collection, name, gone)

    def change_collection(
        self, name: str, change: Callable[[bytes | None], bytes | None]
    ) -> tuple[bytes | None, bytes | None]:
        """Have a collection changed, as `change_item` does it; where nothing takes its place its items go too."""
        with self._connections.writing() as connection:
            mine = select(collections.c.content).where(collections.c.id == name).with_for_update()
            before = connection.scalar(mine)
            after = change(before)
            if after is not None:
                _enter(connection, _collection_row(after), keep=["private"])
            elif before is not None:
                loading.remove_collection(connection, name)
        return before, after

    def _keep(self, due: Collection[str]) -> None:
        """Sum up what has been noted of collections, and see to it that their items are packed well."""
        summaries.fold(self._connections, due)
        for name in sorted(due):
            with self._connections.writing() as connection:
                self._contents.train(connection, name)


@dataclass(frozen=True, slots=True)
class Described:
    """An item and its collection, as they are stored."""

    stored: bytes
    collection: bytes
    """JSON."""
    unpack: Callable[[bytes], bytes]

    @property
    def tag(self) -> bytes:
        """Another one wherever anything of either differs."""
        return hashlib.blake2b(self.stored + self.collection, digest_size=16).digest()

    @property
    def item(self) -> bytes:
        """JSON."""
        return self.unpack(self.stored)


@lru_cache(maxsize=1_000)
def _with_collection(reader: Reader) -> Select[bytes, bytes]:
    """One item's JSON and its collection's, put together once for each reader."""
    mine = (items.c.collection == bindparam("collection"), items.c.id == bindparam("name"))
    wanted = select(items.c.content, collections.c.content.label("kind"))
    return wanted.join(collections, collections.c.id == items.c.collection).where(
        *mine, visible(reader, items.c.collection)
    )


@lru_cache(maxsize=1_000)
def _of_item(reader: Reader) -> Select[bytes]:
    """One item's JSON; put together once for each reader, which takes as long as to run it."""
    mine = (items.c.collection == bindparam("collection"), items.c.id == bindparam("name"))
    return select(items.c.content).where(*mine, visible(reader, items.c.collection))


@lru_cache(maxsize=1_000)
def _of_collection(reader: Reader) -> Select[bytes]:
    """One collection's JSON, likewise."""
    return select(collections.c.content).where(
        collections.c.id == bindparam("collection"), visible(reader, collections.c.id)
    )


@lru_cache(maxsize=1_000)
def _of_collections(reader: Reader) -> Select[str, bytes]:
    """All collections' ids and JSON, likewise."""
    wanted = select(collections.c.id, collections.c.content).where(visible(reader, collections.c.id))
    return wanted.order_by(collections.c.id)


def _enter(connection: Connection, row: dict[str, Any], *, keep: Sequence[str]) -> None:
    """Write a collection's row where it differs: one that is written is locked, and publishers would queue for it."""
    there = connection.execute(select(collections).where(collections.c.id == row["id"])).mappings().first()
    if there is None or any(there[name] != row[name] for name in row if name not in keep):
        dialects.upsert(connection, collections, row, key=["id"], keep=keep)


def _collection_row(content: bytes, *, private: bool = False) -> dict[str, Any]:
    """A collection's columns."""
    document = documents.parsed(content)
    document.pop("kartotek:items", None)  # which is counted
    return {"id": document["id"], "private": private, "content": documents.stored(document)}


def _square(pk: int, square: Square, recipe: str) -> dict[str, Any]:
    return {
        "item": pk,
        "east": square.east,
        "north": square.north,
        "valid": square.valid,
        "clear": square.clear,
        "classes": {str(code): count for code, count in square.classes.items()},
        "indices": {name: asdict(spread) for name, spread in square.indices.items()},
        "recipe": recipe,
    }
