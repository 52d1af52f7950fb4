"""Search: a frozen question in, a page of stored bytes out, walked by place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shapely import Geometry
from sqlalchemy import ColumnElement, Connection, func, literal, select

from catalog import dialects, filters, order
from catalog.access import Reader, visible
from catalog.dialects import Database, Instant
from catalog.filters.grammar import Tree
from catalog.models import collections, items
from catalog.order import NEWEST, Place, Sort
from catalog.queryables import TYPED, Queryable

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
    filter: Tree | None = field(default=None, hash=False)
    """CQL2, as `catalog.filters.grammar` gives it."""
    names: Mapping[str, Queryable] | None = field(default=None, hash=False)
    """What may stand in the filter, where that is more than the typed columns."""
    order: tuple[Sort, ...] = ()
    """Newest first, where nothing else is asked for."""
    heads: bool = False
    """Whether items may come without their assets and what follows these in their JSON."""
    limit: int = 10
    at: Place | None = None
    """The last item of the page before, or the first of the page after."""


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
    database = dialects.of(connection)
    sorted_by = order.columns(search.order or NEWEST, database)
    wanted = (
        select(items.c.content, items.c.collection, items.c.id, *sorted_by)
        .where(visible(reader, items.c.collection), *conditions(database, search))
        .order_by(*order.ordering(search.order or NEWEST, sorted_by, backwards=backwards))
        .limit(limit + 1)
    )
    rows: Sequence[Any] = connection.execute(wanted).all()
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


def _near(database: Database, search: Search) -> Sequence[ColumnElement[bool]]:
    """What searches by time have to do with the order that items lie in."""
    slack = select(func.max(collections.c.slack))
    if search.collections is not None:
        slack = slack.where(collections.c.id.in_(search.collections))
    most = slack.scalar_subquery()
    found: list[ColumnElement[bool]] = []
    if search.start is not None:
        found.append(items.c.datetime >= database.later(literal(search.start, Instant), -most))
    if search.end is not None:
        found.append(items.c.datetime <= database.later(literal(search.end, Instant), most))
    return found


def conditions(database: Database, search: Search) -> Sequence[ColumnElement[bool]]:
    """What narrows the items to those that a search asks for, whoever asks; values are only ever bound."""
    found: list[ColumnElement[bool]] = []
    if search.ids is not None:
        found.append(items.c.id.in_(search.ids))
    if search.collections is not None:
        found.append(items.c.collection.in_(search.collections))
    if search.area is not None:
        found.append(
            database.relates("intersects", items.c.pk, items.c.footprint, search.area, search.start, search.end)
        )
    if search.start is not None:
        found.append(items.c.end >= search.start)
    if search.end is not None:
        found.append(items.c.start <= search.end)
    if search.area is None:  # else the index of places knows the times too
        found += _near(database, search)
    if search.filter is not None:
        found.append(filters.condition(search.filter, search.names or TYPED, database))
    if search.at is not None:
        found += order.beyond(search.at, search.order or NEWEST, order.columns(search.order or NEWEST, database))
    return found
