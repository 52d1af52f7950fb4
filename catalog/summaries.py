"""Collections that keep themselves: each writer notes what its items add, in a row of its own, and readers add up.

No trigger, and no row that writers queue for. Now and then a writer folds what has been noted into one row a
collection; where items went, the place and the time that the others cover are looked up anew then.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    CompoundSelect,
    Connection,
    Select,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    null,
    select,
    union_all,
)
from sqlalchemy.exc import DBAPIError

from catalog import dialects, tally
from catalog.access import Reader, visible
from catalog.connections import Connections
from catalog.facts import time_text
from catalog.models import changes, collections, items, summaries
from catalog.tally import EMPTY, Tally

FOLDED_AFTER = 64
"""Rows of changes, about."""
COUNTED_AT_ONCE = 20_000
"""Items of a collection that is counted anew as soon as one of them went."""


def note(connection: Connection, added: Mapping[str, Tally]) -> set[str]:
    """Note, in a writer's transaction, what collections gain; those that it should fold when it is done."""
    due = set()
    for collection, one in sorted(added.items()):
        row = {"collection": collection, "content": tally.written(one)}
        pk = connection.scalar(insert(changes).values(row).returning(changes.c.pk))
        if one.removed or (pk or 0) % FOLDED_AFTER == 0:
            due.add(collection)
    return due


def of(connection: Connection, reader: Reader, names: Iterable[str] | None = None) -> dict[str, Tally]:
    """Collection → its items summed up, for those that the reader may see, or those of them that are named."""
    given = {} if names is None else {"names": list(names)}
    try:
        rows = connection.execute(_noted(reader, named=names is not None, summed=True), given).all()
    except DBAPIError as error:
        if not dialects.of(connection).lacks_table(error.orig):
            raise
        # Tables are on their way to another version: what is stored of collections is told meanwhile.
        rows = connection.execute(_noted(reader, named=names is not None, summed=False), given).all()
    of_each = defaultdict[str, list[str]](list)
    for collection, content in rows:
        of_each[collection] += [] if content is None else [content]
    return {name: _together(contents) if contents else EMPTY for name, contents in of_each.items()}


@lru_cache(maxsize=1_000)
def _noted(reader: Reader, *, named: bool, summed: bool) -> CompoundSelect[Any]:
    """Collections, and what has been noted of them; put together once for each reader, as it takes longer than to run.

    One statement: between two somebody may fold what one of them has not read yet.
    """
    name = collections.c.id
    parts: list[Select[str, Any]] = [select(name, null())]
    if summed:
        parts += [
            select(name, cast(table.c.content, Text)).join(table, table.c.collection == name)
            for table in (summaries, changes)
        ]
    mine = [visible(reader, name)]
    if named:
        mine.append(name.in_(bindparam("names", expanding=True)))
    return union_all(*(part.where(*mine) for part in parts))


_known: dict[bytes, Tally] = {}
"""Sums by what they are of: that of a collection is asked for again and again, and seldom changes."""
_MOST = 256


def _together(contents: Sequence[str]) -> Tally:
    """The sum of tallies by their JSON."""
    key = hashlib.blake2b("\n".join(sorted(contents)).encode(), digest_size=16).digest()
    if (found := _known.get(key)) is None:
        found = tally.together(tally.read(orjson.loads(content)) for content in contents)
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = found
    return found


def fold(connections: Connections, names: Iterable[str]) -> None:
    """Make one row of what has been noted of each of the collections, in a transaction each."""
    for name in names:
        with connections.writing() as connection:
            _fold(connection, name)


def _fold(connection: Connection, name: str) -> None:
    row = {"collection": name, "content": tally.written(EMPTY)}
    connection.execute(dialects.of(connection).insert(summaries).values(row).on_conflict_do_nothing())
    # Locked: whoever else folds this collection waits here.
    there = select(summaries.c.content).where(summaries.c.collection == name).with_for_update()
    before = tally.read(connection.scalars(there).one())
    noted = delete(changes).where(changes.c.collection == name).returning(changes.c.content)
    found = tally.together([before, *(tally.read(content) for content in connection.scalars(noted))])
    if found.removed and found.count <= COUNTED_AT_ONCE:
        found = _counted(connection, name, found)
    dialects.upsert(connection, summaries, {"collection": name, "content": tally.written(found)}, key=["collection"])


def _counted(connection: Connection, name: str, found: Tally) -> Tally:
    """A tally with place and time as they are; what facts hold may be more than there is.

    The number is right as it is. Counted here, an item would count twice that is committed after the changes were read.
    """
    mine = items.c.collection == name
    start, end = connection.execute(select(func.min(items.c.start), func.max(items.c.end)).where(mine)).one()
    return Tally(
        count=found.count,
        bounds=dialects.of(connection).bounds(connection, select(items.c.footprint).where(mine)),
        start=None if start is None else time_text(start),
        end=None if end is None else time_text(end),
        facts=found.facts,
    )
