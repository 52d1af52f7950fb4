"""A page of a search: stored bytes, and the places to go on from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from catalog import dialects, statements
from catalog.access import Reader
from catalog.order import Place
from catalog.search import MAX_LIMIT, Search


@dataclass(frozen=True, slots=True)
class Page:
    """Items, and where the pages beside it are."""

    items: tuple[bytes, ...]
    places: tuple[Place, ...]
    """The items' places in the order, so that nobody has to parse them to know what they are."""
    next: Place | None
    previous: Place | None
    state: bytes = b""
    """Changes whenever an item does; shorter than the items."""


def page(connection: Connection, reader: Reader, search: Search) -> Page:
    """The items that the reader may see and the search asks for, in its order."""
    limit = min(search.limit, MAX_LIMIT)
    backwards = search.at is not None and search.at.backwards
    statement, values = statements.page(dialects.of(connection), reader, search)
    rows: Sequence[Any] = connection.execute(statement, {**values, "limit": limit + 1}).all()
    more = len(rows) > limit
    rows = rows[:limit]
    if backwards:
        rows = rows[::-1]
    state = hashlib.blake2b(b"".join(row[0] for row in rows), digest_size=16).digest()
    places = tuple(Place(tuple(values), collection, name) for _, collection, name, *values in rows)
    return Page(
        tuple(row[0] for row in rows),
        places,
        next=places[-1] if places and (more or backwards) else None,
        previous=replace(places[0], backwards=True) if places and search.at and (more or not backwards) else None,
        state=state,
    )
