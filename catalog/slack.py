"""How far the times of a collection's items reach from the instant that they are sorted by.

Whoever asks for a span of time finds all of its items no further from it, by the index that is in that order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from math import ceil
from typing import Any

from sqlalchemy import Connection, select

from catalog import dialects
from catalog.models import slacks

_SECOND = timedelta(seconds=1)


def seconds(row: Mapping[str, Any]) -> int:
    """By which `start` or `end` of an item's row is away from its `datetime`, at most; rounded up."""
    away: list[int] = [ceil(abs(row[name] - row["datetime"]) / _SECOND) for name in ("start", "end")]
    return max(away)


def note(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Note of items' rows what is further than any of their collection reached so far.

    Before the items are written, so that nobody locks another out.
    """
    most = defaultdict[str, int](int)
    for row in rows:
        most[row["collection"]] = max(most[row["collection"]], seconds(row))
    wanted = {name: far for name, far in sorted(most.items()) if far}
    if not wanted:
        return
    there = select(slacks.c.collection, slacks.c.seconds).where(slacks.c.collection.in_(list(wanted)))
    known = {row.collection: row.seconds for row in connection.execute(there)}
    for name, far in wanted.items():
        if far > known.get(name, 0):
            adding = dialects.of(connection).insert(slacks).values(collection=name, seconds=far)
            wider = slacks.c.seconds < adding.excluded.seconds
            changed = {"seconds": adding.excluded.seconds}
            connection.execute(adding.on_conflict_do_update(index_elements=["collection"], set_=changed, where=wider))
