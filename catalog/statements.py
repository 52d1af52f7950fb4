"""The SQL of a search. Values are only ever bound: what SQL it is depends on which of them there are.

A page's statement takes longer to put together than to run: searches of one form share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Integer, Select, bindparam, func, select

from catalog import filters, order
from catalog.access import Reader, visible
from catalog.dialects import Database, Instant
from catalog.dialects.binding import BY_NAME, HERE, Binding
from catalog.models import items, slacks
from catalog.order import NEWEST, Sort
from catalog.queryables import TYPED, Queryable
from catalog.search import Search


def page(database: Database, reader: Reader, search: Search) -> tuple[Select[Any], dict[str, Any]]:
    """(a query for the items that the reader may see and the search asks for, its values by names but for `limit`).

    It gives content, collection, id, and what they are sorted by.
    """
    search = search.told()
    values = _values(database, search)
    form = _form(database, search, values)
    if search.filter is None or search.names is None or search.names is TYPED:
        return _shared(form, reader), values
    # Its names may mean something else once other items have come.
    return _page(_Conditions(form, dict.fromkeys(values), BY_NAME, search.names), reader), values


def count(database: Database, reader: Reader, search: Search) -> Select[int]:
    """A query for the number of items that the reader may see and the search asks for, on all of its pages."""
    told = _here(database, replace(search, at=None))
    counted = select(func.count())
    if "shape" in told.values:
        counted = database.count("intersects", items.c.footprint, told.values)
    return counted.select_from(items).where(visible(reader, items.c.collection), *told.cheap(), *told.of_place()[:-1])


def conditions(database: Database, search: Search) -> Sequence[ColumnElement[bool]]:
    """What narrows the items to those that a search asks for, whoever asks; the exact test of a place comes last."""
    told = _here(database, search)
    return [*told.cheap(), *told.of_place()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """What a search's SQL depends on, but for the names in its filter."""

    database: Database
    given: frozenset[str]
    """Names of values."""
    filter: bytes | None
    """As JSON."""
    sorts: tuple[Sort, ...]
    backwards: bool


def _form(database: Database, search: Search, values: Mapping[str, Any]) -> _Form:
    return _Form(
        database=database,
        given=frozenset(values),
        filter=None if search.filter is None else orjson.dumps(search.filter),
        sorts=search.order or NEWEST,
        backwards=search.at is not None and search.at.backwards,
    )


def _values(database: Database, search: Search) -> dict[str, Any]:
    """What a search gives, by names."""
    asked = {"ids": search.ids, "collections": search.collections, "start": search.start, "end": search.end}
    found = {name: value for name, value in asked.items() if value is not None}
    if search.area is not None:
        found |= database.place_values(search.area, search.start, search.end)
    if search.at is not None:
        found |= order.place_values(search.at)
    return found


def _here(database: Database, search: Search) -> _Conditions:
    search = search.told()
    values = _values(database, search)
    return _Conditions(_form(database, search, values), values, HERE, search.names or TYPED)


@lru_cache(maxsize=1_000)
def _shared(form: _Form, reader: Reader) -> Select[Any]:
    return _page(_Conditions(form, dict.fromkeys(form.given), BY_NAME, TYPED), reader)


def _page(told: _Conditions, reader: Reader) -> Select[Any]:
    database, sorted_by = told.form.database, told.sorted_by
    limit = bindparam("limit", type_=Integer)
    *cheap, last = (visible(reader, items.c.collection), *told.cheap(), *told.of_place())
    ordering = order.ordering(told.form.sorts, sorted_by, backwards=told.form.backwards)
    if "shape" not in told.form.given or not database.tests_slowly:
        columns = (items.c.content, items.c.collection, items.c.id, *sorted_by)
        return select(*columns).where(*cheap, last).order_by(*ordering).limit(limit)
    # In the order that is wanted first, so that no more are tested exactly than there is room for. A limit of -1 is
    # none, but keeps SQLite from making one query of both; of an outer join the left side comes first.
    by = [column.label(f"by{number}") for number, column in enumerate(sorted_by)]
    near = select(items.c.pk, *by).where(*cheap).order_by(*ordering).limit(-1).subquery("near")
    columns = (items.c.content, items.c.collection, items.c.id, *(near.c[column.name] for column in by))
    both = near.outerjoin(items, items.c.pk == near.c.pk)
    return select(*columns).select_from(both).where(last).limit(limit)


@dataclass(frozen=True)
class _Conditions:
    """What narrows items to those of searches of one form."""

    form: _Form
    values: Mapping[str, Any]
    """Bound by name they need not be known."""
    binding: Binding
    names: Mapping[str, Queryable]
    """What may stand in the filter."""

    @cached_property
    def sorted_by(self) -> Sequence[ColumnElement[Any]]:
        """The columns of the order."""
        return order.columns(self.form.sorts, self.form.database)

    def cheap(self) -> Sequence[ColumnElement[bool]]:
        """All but the place."""
        found: list[ColumnElement[bool]] = []
        for name, column in (("ids", items.c.id), ("collections", items.c.collection)):
            if name in self.values:
                found.append(column.in_(self.binding.many(name, self.values[name])))
        if "start" in self.values:
            found.append(items.c.end >= self._instant("start"))
        if "end" in self.values:
            found.append(items.c.start <= self._instant("end"))
        if "shape" not in self.values:  # else the index of places knows the times too
            found += self._near()
        if self.form.filter is not None:
            found.append(filters.condition(orjson.loads(self.form.filter), self.names, self.form.database))
        if "at_id" in self.values:
            found += order.beyond(
                self.values, self.form.sorts, self.sorted_by, self.binding, backwards=self.form.backwards
            )
        return found

    def of_place(self) -> Sequence[ColumnElement[bool]]:
        """That items touch a shape, the exact test last, and all of it after what is cheap: SQLite takes conditions in
        turn."""
        if "shape" not in self.values:
            return ()
        return self.form.database.relates("intersects", items.c.pk, items.c.footprint, self.values, self.binding)

    def _near(self) -> Sequence[ColumnElement[bool]]:
        """What searches by time have to do with the order that items lie in."""
        slack = select(func.coalesce(func.max(slacks.c.seconds), 0))
        if "collections" in self.values:
            of_names = self.binding.many("collections", self.values["collections"])
            slack = slack.where(slacks.c.collection.in_(of_names))
        most, later = slack.scalar_subquery(), self.form.database.later
        found: list[ColumnElement[bool]] = []
        if "start" in self.values:
            found.append(items.c.datetime >= later(self._instant("start"), -most))
        if "end" in self.values:
            found.append(items.c.datetime <= later(self._instant("end"), most))
        return found

    def _instant(self, name: str) -> ColumnElement[Any]:
        return self.binding.one(name, self.values[name], Instant)
