"""Holds: who works at an item's files just now. One at a time, whether it publishes them or sweeps them away.

Files are stored before the item is visible that names them. Without a hold a sweep could take such a file for a
leftover, and two that publish the same item could each remove what the other counts on.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, select, update

from catalog import dialects
from catalog.connections import Connections
from catalog.models import holds
from kartotek.errors import LostLease


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One turn at an item's files."""

    collection: str
    item: str
    token: str
    """Of this turn alone."""


class Holds:
    """The holds in the catalog's database. Safe to share between threads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._database = dialects.DATABASES[connections.engine.dialect.name]

    def take(self, collection: str, item: str, owner: str, *, seconds: float) -> Hold | None:
        """Take an item's files in hand, for so long by the database's clock; None where another has them."""
        hold = Hold(collection=collection, item=item, token=uuid.uuid4().hex)
        row = {"collection": collection, "item": item}
        mine = {"token": hold.token, "owner": owner, "until": self._database.now(seconds)}
        statement = self._database.insert(holds).values(**row, **mine)
        statement = statement.on_conflict_do_update(
            index_elements=["collection", "item"], set_=mine, where=holds.c.until < self._database.now()
        )
        with self._connections.writing() as connection:
            taken = connection.scalar(statement.returning(holds.c.token))
        return None if taken is None else hold

    def renew(self, hold: Hold, *, seconds: float) -> bool:
        """Prolong a hold; whether it is still its owner's."""
        change = update(holds).where(*_of(hold)).values(until=self._database.now(seconds))
        with self._connections.writing() as connection:
            return bool(connection.execute(change).rowcount)

    def release(self, hold: Hold) -> None:
        """Give an item's files out of hand; nothing where another has them by now."""
        with self._connections.writing() as connection:
            connection.execute(delete(holds).where(*_of(hold)))

    def holder(self, collection: str, item: str) -> str | None:
        """Who has an item's files in hand."""
        wanted = select(holds.c.owner).where(holds.c.collection == collection, holds.c.item == item)
        with self._connections.reading() as connection:
            found: str | None = connection.scalar(wanted)
        return found

    def release_of(self, owners: Sequence[str]) -> None:
        """Release all that owners hold who are known to be gone."""
        with self._connections.writing() as connection:
            connection.execute(delete(holds).where(holds.c.owner.in_(owners)))


def check(connection: Connection, hold: Hold) -> None:
    """Raise LostLease unless a hold is still its owner's, and nobody else's before the transaction ends."""
    if not connection.execute(update(holds).where(*_of(hold)).values(token=hold.token)).rowcount:
        raise lost(hold)


def lost(hold: Hold) -> LostLease:
    """What to raise of a hold that is another's now."""
    return LostLease(f"{hold.collection}/{hold.item}: held for too long without a word; another has its files now")


def _of(hold: Hold) -> tuple[ColumnElement[bool], ...]:
    return holds.c.collection == hold.collection, holds.c.item == hold.item, holds.c.token == hold.token
