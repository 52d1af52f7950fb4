"""How many items a search finds: exactly where that takes no time, or little; else about, and said so."""

from __future__ import annotations

import random
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from catalog import dialects, summaries
from catalog.access import Reader, visible
from catalog.connections import Connections
from catalog.models import items
from catalog.search import Search
from catalog.statements import count

SAMPLE = 2_000
"""Items that are looked at where not all can be: one per cent of 200 000, told to some 2 per cent of all."""


@dataclass(frozen=True, slots=True)
class Matched:
    """A number of items."""

    number: int
    exact: bool


def matched(connections: Connections, reader: Reader, search: Search, *, milliseconds: int) -> Matched:
    """The items of all pages of a search; counted in so much time, or else told by a sample of all items."""
    if _is_of_collections(search):
        with connections.reading() as connection:
            found = summaries.of(connection, reader, search.collections)
            return Matched(sum(one.count for one in found.values()), True)
    with connections.reading() as connection:
        database = dialects.of(connection)
        counted = database.within(connection, count(database, reader, search), milliseconds)
        if counted is not None:
            return Matched(int(counted), True)
        return Matched(_sampled(connection, reader, search), False)


def _is_of_collections(search: Search) -> bool:
    """Whether all items of some collections are asked for, whose number is known."""
    return all(one is None for one in (search.ids, search.area, search.start, search.end, search.filter))


def _sampled(connection: Connection, reader: Reader, search: Search) -> int:
    database = dialects.of(connection)
    known = visible(reader, items.c.collection)
    first, last = connection.execute(select(func.min(items.c.pk), func.max(items.c.pk)).where(known)).one()
    if first is None:
        return 0
    # Numbers at random, of which some may be gone; the same for the same table, so that pages agree.
    chance = random.Random(last)  # noqa: S311  no secret
    some = items.c.pk.in_({chance.randint(first, last) for _ in range(SAMPLE)})
    there = connection.scalar(select(func.count()).select_from(items).where(some, known)) or 0
    found = connection.scalar(count(database, reader, search).where(some)) or 0
    total = sum(one.count for one in summaries.of(connection, reader).values())
    return round(total * found / there) if there else 0
