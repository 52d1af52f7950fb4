"""Holds: who works at an item's files just now. One at a time, whether it publishes them or sweeps them away.

Files are stored before the item is visible that names them. Without a hold a sweep could take such a file for a
leftover, and two that publish the same item could each remove what the other counts on.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, delete, select, tuple_, update

from catalog import dialects
from catalog.connections import Connections
from catalog.models import holds
from kartotek.errors import LostLease


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One turn at the files of some items."""

    items: tuple[tuple[str, str], ...]
    """(collection, item) of each."""
    token: str
    """Of this turn alone."""

    @property
    def name(self) -> str:
        """Of one of them, for messages."""
        return "/".join(self.items[0]) + (f" and {len(self.items) - 1} more" if len(self.items) > 1 else "")


class Holds:
    """The holds in the catalog's database. Safe to share between threads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._database = dialects.DATABASES[connections.engine.dialect.name]

    def take(self, items: Collection[tuple[str, str]], owner: str, *, seconds: float) -> Hold | None:
        """Take the files of items in hand, each a (collection, item), for so long by the database's clock.

        None where another has those of any of them.
        """
        hold = Hold(items=tuple(sorted(items)), token=uuid.uuid4().hex)
        mine = {"token": hold.token, "owner": owner, "until": self._database.now(seconds)}
        statement = self._database.insert(holds).values(collection=bindparam("of"), item=bindparam("its"), **mine)
        statement = statement.on_conflict_do_update(
            index_elements=["collection", "item"], set_=mine, where=holds.c.until < self._database.now()
        )
        with self._connections.writing() as connection:
            for collection, item in hold.items:  # in order, so that nobody locks another out
                taken = connection.scalar(statement.returning(holds.c.token), {"of": collection, "its": item})
                if taken is None:
                    connection.rollback()
                    return None
        return hold

    def renew(self, hold: Hold, *, seconds: float) -> bool:
        """Prolong a hold; whether all of it is still its owner's."""
        change = update(holds).where(_of(hold)).values(until=self._database.now(seconds))
        with self._connections.writing() as connection:
            return bool(connection.execute(change).rowcount == len(hold.items))

    def release(self, hold: Hold) -> None:
        """Give an item's files out of hand; nothing where another has them by now."""
        with self._connections.writing() as connection:
            connection.execute(delete(holds).where(_of(hold)))

    def holders(self, items: Collection[tuple[str, str]]) -> set[str]:
        """Who has files of these items in hand."""
        wanted = select(holds.c.owner).where(tuple_(holds.c.collection, holds.c.item).in_(list(items)))
        with self._connections.reading() as connection:
            return set(connection.scalars(wanted))

    def release_of(self, owners: Sequence[str]) -> None:
        """Release all that owners hold who are known to be gone."""
        with self._connections.writing() as connection:
            connection.execute(delete(holds).where(holds.c.owner.in_(owners)))


def check(connection: Connection, hold: Hold) -> None:
    """Raise LostLease unless a hold is still its owner's, and nobody else's before the transaction ends."""
    if connection.execute(update(holds).where(_of(hold)).values(token=hold.token)).rowcount != len(hold.items):
        raise lost(hold)


def lost(hold: Hold) -> LostLease:
    """What to raise of a hold that is another's now."""
    return LostLease(f"{hold.name}: held for too long without a word; another has its files now")


def _of(hold: Hold) -> ColumnElement[bool]:
    return holds.c.token == hold.token
