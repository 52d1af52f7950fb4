"""Search: a frozen question in, a page of stored bytes out, walked by key."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson
from shapely import Geometry
from sqlalchemy import ColumnElement, Connection, Select, select, tuple_

from catalog import dialects
from catalog.access import Reader, visible
from catalog.dialects import Database
from catalog.models import items
from kartotek.errors import BadRequest

MAX_LIMIT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for; each field narrows the answer. None asks for nothing in particular."""

    ids: tuple[str, ...] | None = None
    collections: tuple[str, ...] | None = None
    area: Geometry | None = None
    """Longitude and latitude; items whose footprint touches it."""
    start: datetime | None = None
    end: datetime | None = None
    """Items of which some instant lies between the two, both inclusive."""
    limit: int = 10
    after: Key | None = None
    """The last item of the page before."""


@dataclass(frozen=True, slots=True)
class Key:
    """Where an item stands in the order newest first; it outlives the item, so that a walk goes on after deletions."""

    datetime: datetime
    collection: str
    id: str

    def token(self) -> str:
        """The key as text for a URL.

        >>> Key.from_token(Key(dialects.EPOCH, "c", "i").token()).id
        'i'
        """
        microseconds = (self.datetime - dialects.EPOCH) // dialects.MICROSECOND
        return base64.urlsafe_b64encode(orjson.dumps([microseconds, self.collection, self.id])).decode().rstrip("=")

    @classmethod
    def from_token(cls, token: str) -> Key:
        """The key in a token; BadRequest where it isn't one of ours."""
        if len(token) <= 2_000:
            try:
                padded = token.encode("ascii") + b"=" * (-len(token) % 4)
                found = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            except (binascii.Error, orjson.JSONDecodeError, UnicodeEncodeError):
                found = None
            if (
                isinstance(found, list)
                and [type(value) for value in found] == [int, str, str]
                and abs(found[0]) < 2**55
                and "\0" not in found[1] + found[2]
            ):
                return cls(dialects.EPOCH + found[0] * dialects.MICROSECOND, found[1], found[2])
        raise BadRequest("token: not one that this server gave; take it from a link with rel=next")


@dataclass(frozen=True, slots=True)
class Page:
    """Items as stored, and where the next page begins."""

    items: tuple[bytes, ...]
    keys: tuple[Key, ...]
    """The items' places in the order, so that nobody has to parse them to know what they are."""
    next: Key | None


def page(connection: Connection, reader: Reader, search: Search) -> Page:
    """The items that the reader may see and the search asks for, newest first."""
    wanted = replace(search, limit=min(search.limit, MAX_LIMIT))
    database = dialects.of(connection)
    rows = connection.execute(statement(database, reader, wanted).limit(wanted.limit + 1)).all()
    more = len(rows) > wanted.limit
    rows = rows[: wanted.limit]
    keys = tuple(Key(row.datetime, row.collection, row.id) for row in rows)
    return Page(tuple(row.content for row in rows), keys, keys[-1] if more else None)


def statement(database: Database, reader: Reader, search: Search) -> Select[Any]:
    """The search as SQL, without its limit; values are only ever bound."""
    found = select(items.c.datetime, items.c.collection, items.c.id, items.c.content)
    found = found.where(visible(reader, items.c.collection), *conditions(database, search))
    return found.order_by(items.c.datetime.desc(), items.c.collection, items.c.id)


def conditions(database: Database, search: Search) -> Sequence[ColumnElement[bool]]:
    """What narrows the items to those that a search asks for, whoever asks."""
    found: list[ColumnElement[bool]] = []
    if search.ids is not None:
        found.append(items.c.id.in_(search.ids))
    if search.collections is not None:
        found.append(items.c.collection.in_(search.collections))
    if search.area is not None:
        found.append(database.intersects(items.c.pk, items.c.footprint, search.area, search.start, search.end))
    if search.start is not None:
        found.append(items.c.end >= search.start)
    if search.end is not None:
        found.append(items.c.start <= search.end)
    if search.after is not None:
        key = search.after
        found.append(items.c.datetime <= key.datetime)
        found.append(
            (items.c.datetime < key.datetime)
            | (tuple_(items.c.collection, items.c.id) > tuple_(key.collection, key.id))
        )
    return found
