"""Search: a frozen question in, a page of stored bytes out, walked by place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from shapely import Geometry
from sqlalchemy import ColumnElement, Connection, Integer, Select, bindparam, func, select

from catalog import dialects, filters, order
from catalog.access import Reader, visible
from catalog.dialects import Database, Instant
from catalog.dialects.binding import BY_NAME, HERE, Binding
from catalog.filters.grammar import Tree
from catalog.models import items, slacks
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
    limit, search = min(search.limit, MAX_LIMIT), _told(search)
    backwards = search.at is not None and search.at.backwards
    values = _values(dialects.of(connection), search)
    statement = _statement(connection.dialect.name, reader, search, values)
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


def conditions(database: Database, search: Search) -> Sequence[ColumnElement[bool]]:
    """What narrows the items to those that a search asks for, whoever asks; values are only ever bound."""
    search = _told(search)
    names, backwards = search.names or TYPED, search.at is not None and search.at.backwards
    given = _values(database, search)
    sorts = search.order or NEWEST
    found = _conditions(database, given, search.filter, names, sorts, HERE, backwards=backwards)
    return [*found, *_place(database, given, HERE)]


def count(database: Database, reader: Reader, search: Search) -> Select[int]:
    """A query for the number of items that the reader may see and the search asks for, on all of its pages."""
    search = _told(replace(search, at=None))
    *cheap, last = (visible(reader, items.c.collection), *conditions(database, search))
    counted = database.count(last) if search.area is not None else select(func.count()).where(last)
    return counted.select_from(items).where(*cheap)


def _told(search: Search) -> Search:
    """The same search, with place and time of its filter told as those of the search, which lead to indexes."""
    if search.filter is None:
        return search
    found = filters.implied(search.filter, place=search.area is None)
    starts = [one for one in (search.start, found.start) if one is not None]
    ends = [one for one in (search.end, found.end) if one is not None]
    return replace(
        search,
        filter=found.rest,
        area=search.area or found.area,
        start=max(starts, default=None),
        end=min(ends, default=None),
    )


def _values(database: Database, search: Search) -> dict[str, Any]:
    """What a search gives, by names; which of them there are decides what the SQL is, and nothing of what they are."""
    found: dict[str, Any] = {}
    if search.ids is not None:
        found["ids"] = search.ids
    if search.collections is not None:
        found["collections"] = search.collections
    if search.start is not None:
        found["start"] = search.start
    if search.end is not None:
        found["end"] = search.end
    if search.area is not None:
        found |= database.place_values(search.area, search.start, search.end)
    if search.at is not None:
        found |= order.place_values(search.at)
    return found


def _statement(kind: str, reader: Reader, search: Search, values: Mapping[str, Any]) -> Select[Any]:
    """The SQL of a search, which takes longer to put together than to run: those alike share it."""
    backwards = search.at is not None and search.at.backwards
    tree = None if search.filter is None else orjson.dumps(search.filter)
    if tree is not None and search.names is not None and search.names is not TYPED:
        # Its names may mean something else once other items have come.
        return _selected(kind, reader, search.order or NEWEST, values, search.filter, search.names, backwards=backwards)
    return _shared(kind, reader, search.order or NEWEST, frozenset(values), tree, backwards)


@lru_cache(maxsize=1_000)
def _shared(
    kind: str, reader: Reader, sorts: tuple[Sort, ...], names: frozenset[str], tree: bytes | None, backwards: bool
) -> Select[Any]:
    condition = None if tree is None else orjson.loads(tree)
    return _selected(kind, reader, sorts, dict.fromkeys(names), condition, TYPED, backwards=backwards)


def _selected(
    kind: str,
    reader: Reader,
    sorts: tuple[Sort, ...],
    values: Mapping[str, Any],
    tree: Tree | None,
    names: Mapping[str, Queryable],
    *,
    backwards: bool,
) -> Select[Any]:
    database = dialects.DATABASES[kind]
    sorted_by = order.columns(sorts, database)
    limit = bindparam("limit", type_=Integer)
    *cheap, last = (
        visible(reader, items.c.collection),
        *_conditions(database, values, tree, names, sorts, BY_NAME, backwards=backwards),
        *_place(database, values, BY_NAME),
    )
    ordering = order.ordering(sorts, sorted_by, backwards=backwards)
    if "shape" not in values or not database.tests_slowly:
        columns = (items.c.content, items.c.collection, items.c.id, *sorted_by)
        return select(*columns).where(*cheap, last).order_by(*ordering).limit(limit)
    # In the order that is wanted first, so that no more are tested exactly than there is room for. A limit of -1 is
    # none, but keeps SQLite from making one query of both; of an outer join the left side comes first.
    by = [column.label(f"by{number}") for number, column in enumerate(sorted_by)]
    near = select(items.c.pk, *by).where(*cheap).order_by(*ordering).limit(-1).subquery("near")
    columns = (items.c.content, items.c.collection, items.c.id, *(near.c[column.name] for column in by))
    both = near.outerjoin(items, items.c.pk == near.c.pk)
    return select(*columns).select_from(both).where(last).limit(limit)


def _conditions(
    database: Database,
    values: Mapping[str, Any],
    tree: Tree | None,
    names: Mapping[str, Queryable],
    sorts: Sequence[Sort],
    binding: Binding,
    *,
    backwards: bool,
) -> Sequence[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if "ids" in values:
        found.append(items.c.id.in_(binding.many("ids", values["ids"])))
    if "collections" in values:
        found.append(items.c.collection.in_(binding.many("collections", values["collections"])))
    if "start" in values:
        found.append(items.c.end >= binding.one("start", values["start"], Instant))
    if "end" in values:
        found.append(items.c.start <= binding.one("end", values["end"], Instant))
    if "shape" not in values:  # else the index of places knows the times too
        found += _near(database, values, binding)
    if tree is not None:
        found.append(filters.condition(tree, names, database))
    if "at_id" in values:
        sorted_by = order.columns(sorts, database)
        found += order.beyond(values, sorts, sorted_by, binding, backwards=backwards)
    return found


def _place(database: Database, values: Mapping[str, Any], binding: Binding) -> Sequence[ColumnElement[bool]]:
    """That items touch a shape. To be said last: SQLite looks at conditions in turn, and this takes longest."""
    if "shape" not in values:
        return ()
    return database.relates("intersects", items.c.pk, items.c.footprint, values, binding)


def _near(database: Database, values: Mapping[str, Any], binding: Binding) -> Sequence[ColumnElement[bool]]:
    """What searches by time have to do with the order that items lie in."""
    slack = select(func.coalesce(func.max(slacks.c.seconds), 0))
    if "collections" in values:
        slack = slack.where(slacks.c.collection.in_(binding.many("collections", values["collections"])))
    most = slack.scalar_subquery()
    found: list[ColumnElement[bool]] = []
    if "start" in values:
        found.append(items.c.datetime >= database.later(binding.one("start", values["start"], Instant), -most))
    if "end" in values:
        found.append(items.c.datetime <= database.later(binding.one("end", values["end"], Instant), most))
    return found
