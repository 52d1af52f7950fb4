"""A catalog as one side of a copy: what it holds, read and entered in pieces that memory holds.

Rows are given with the columns that mean the same in any database: numbers of rows and leases are one database's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import shapely
from shapely import Geometry
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from catalog import dialects, ledger, loading
from catalog.connections import Connections
from catalog.contents import Contents
from catalog.models import items, products, squares

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An item that a catalog holds."""

    id: str
    content: bytes
    """Its JSON, as it is stored."""
    number: int
    """What this database alone knows it by."""
    squares: int
    """Index squares that were counted of it."""


class Copies:
    """One side of a copy. Safe to share between threads."""

    def __init__(self, connections: Connections, contents: Contents) -> None:
        self._connections, self._contents = connections, contents

    def pages(self, collection: str) -> Iterator[tuple[Held, ...]]:
        """All items of a collection in the order of their ids, which is the same in all databases."""
        last = ""
        while page := self._held(collection, items.c.id > last):
            yield page
            last = page[-1].id

    def held(self, collection: str, names: Collection[str]) -> dict[str, Held]:
        """Id → item, of those of the ids that are there; no more ids than a page has."""
        return {one.id: one for one in self._held(collection, items.c.id.in_(names))}

    def _held(self, collection: str, which: ColumnElement[bool]) -> tuple[Held, ...]:
        wanted = select(items.c.pk, items.c.id, items.c.content).where(items.c.collection == collection, which)
        with self._connections.reading() as connection:
            rows = connection.execute(wanted.order_by(items.c.id).limit(loading.BATCH)).all()
            counts = _counts(connection, [row.pk for row in rows])
        return tuple(
            Held(
                id=row.id, content=self._contents.whole(row.content), number=row.pk, squares=counts.get(row.pk, 0)
            )
            for row in rows
        )  # fmt: skip

    # Index squares

    def squares(self, numbers: Collection[int]) -> dict[int, list[Row]]:
        """Number of an item → rows of its squares."""
        found: dict[int, list[Row]] = {number: [] for number in numbers}
        wanted = select(squares).where(squares.c.item.in_(numbers))
        with self._connections.reading() as connection:
            for row in connection.execute(wanted):
                found[row.item].append({name: value for name, value in row._asdict().items() if name != "item"})
        return found

    def put_squares(self, counted: Mapping[int, Sequence[Row]]) -> None:
        """Enter squares, by the numbers of their items, in the place of those that are there; in one transaction."""
        rows = [{"item": number, **row} for number, some in counted.items() for row in some]
        with self._connections.writing() as connection:
            connection.execute(delete(squares).where(squares.c.item.in_(counted)))
            if rows:
                connection.execute(insert(squares), rows)

    # The ledger

    def products(self, collections: Collection[str] | None = None) -> Iterator[list[Row]]:
        """The ledger's rows in the order in which they were entered, a leased one as one that waits.

        Those of some collections, where these are given, or all.
        """
        last = 0
        wanted = select(products).order_by(products.c.pk).limit(ledger.BATCH)
        if collections is not None:
            wanted = wanted.where(products.c.collection.in_(collections))
        while True:
            with self._connections.reading() as connection:
                rows = [row._asdict() for row in connection.execute(wanted.where(products.c.pk > last))]
            if not rows:
                return
            yield [_unleased(row) for row in rows]
            last = rows[-1]["pk"]

    def put_products(self, given: Sequence[Row]) -> int:
        """Enter rows in one transaction, in the place of those of the same products that differ; how many were written.

        A worker that has such a product in hand loses it.
        """
        with self._connections.writing() as connection:
            mine = select(products).where(products.c.place.in_([row["place"] for row in given]))
            there = {row.place: row._asdict() for row in connection.execute(mine.with_for_update())}
            changed = [row for row in given if _differs(there.get(row["place"]), row)]
            for row in changed:
                before = there.get(row["place"])
                # Never one that a worker has had, who may come back with it.
                fence = row["fence"] if before is None else max(row["fence"], before["fence"] + 1)
                _put_product(connection, {**row, "fence": fence})
        return len(changed)


def _counts(connection: Connection, numbers: Collection[int]) -> dict[int, int]:
    """Number of an item → its squares, for those that have any."""
    wanted = select(squares.c.item, func.count()).where(squares.c.item.in_(numbers)).group_by(squares.c.item)
    return {row[0]: row[1] for row in connection.execute(wanted)}


def _unleased(row: Row) -> dict[str, Any]:
    found = {name: value for name, value in row.items() if name != "pk"}
    if found["state"] == ledger.State.RUNNING:
        found |= {"state": ledger.State.WAITING.value, "owner": None, "leased_until": None}
    return found


def _differs(before: Row | None, row: Row) -> bool:
    """Whether a row says anything else than the one that is there; the fence says nothing of the product."""
    return before is None or any(_plain(before[name]) != _plain(row[name]) for name in row if name != "fence")


def _plain(value: Any) -> Any:
    """A value that can be compared: geometries are by their bytes, CRS and all."""
    return shapely.to_wkb(value, include_srid=True) if isinstance(value, Geometry) else value


def _put_product(connection: Connection, row: Row) -> None:
    # What is None is left out: given, it would be JSON's null in columns of JSON.
    statement = dialects.of(connection).insert(products)
    statement = statement.values({name: value for name, value in row.items() if value is not None})
    changed = {name: statement.excluded[name] for name in row if name != "place"}
    connection.execute(statement.on_conflict_do_update(index_elements=["place"], set_=changed))
