"""The order that items come in, and places in it: pages are walked by the values that an item is sorted by.

A place outlives its item, so that a walk goes on after deletions; and what is written meanwhile moves no page.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Text, UnaryExpression, and_, false, or_, tuple_

from catalog.dialects import EPOCH, MICROSECOND, Database
from catalog.dialects.binding import Binding
from catalog.models import items
from catalog.queryables import TYPED, Kind, Queryable, bare
from kartotek.errors import BadRequest

Value = str | float | bool | datetime | None
MAX_FIELDS = 8
_FOREIGN = "token: not one that this server gave for such a search; take it from a link with rel=next or rel=prev"


@dataclass(frozen=True, slots=True)
class Sort:
    """What items are sorted by, ties by collection and id; items without it come last in either direction."""

    by: Queryable
    descending: bool = False


NEWEST = (Sort(TYPED["datetime"], descending=True),)
"""The order where none is asked for."""
BY_ID = (Sort(TYPED["id"]),)
"""The order for a walk through all: an id never changes, so that nothing comes twice or is passed over, whoever writes
meanwhile."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item stands in an order."""

    values: tuple[Value, ...]
    """Of what items are sorted by."""
    collection: str
    id: str
    backwards: bool = False
    """Whether the page before it is asked for, instead of the one after it."""

    def token(self) -> str:
        """The place as text for a URL.

        >>> place_of(Place((EPOCH,), "c", "i").token(), NEWEST).id
        'i'
        """
        values = [(one - EPOCH) // MICROSECOND if isinstance(one, datetime) else one for one in self.values]
        content = orjson.dumps([int(self.backwards), *values, self.collection, self.id])
        return base64.urlsafe_b64encode(content).decode().rstrip("=")


def asked(given: str | Sequence[Any] | None, names: Mapping[str, Queryable]) -> tuple[Sort, ...]:
    """An order as the sort extension writes it: `-eo:cloud_cover,+id`, or a list of field and direction.

    >>> [(sort.by.name, sort.descending) for sort in asked("-properties.eo:cloud_cover,id", TYPED)]
    [('eo:cloud_cover', True), ('id', False)]
    """
    parts = given.split(",") if isinstance(given, str) else given or ()
    if len(parts) > MAX_FIELDS:
        raise BadRequest(f"sortby: {len(parts)} fields; at most {MAX_FIELDS} are accepted")
    return tuple(_sort(part, names) for part in parts if part != "") or NEWEST


def _sort(part: Any, names: Mapping[str, Queryable]) -> Sort:
    match part:
        case str():
            # A plus that was not quoted in a URL comes as a space.
            name, descending = part.strip().lstrip("+-"), part.strip().startswith("-")
        case {"field": str(name), **more} if more.get("direction", "asc") in ("asc", "desc"):
            descending = more.get("direction") == "desc"
        case _:
            raise BadRequest(f'sortby: {str(part)[:80]}: such as {{"field": "datetime", "direction": "desc"}}')
    found = names.get(name) or names.get(bare(name))
    if found is None or not found.sortable:
        there = ", ".join(sorted(one.name for one in names.values() if one.sortable))
        raise BadRequest(f"sortby: {name[:80]!r} is no sortable; there are {there}")
    return Sort(found, descending)


def place_of(token: str, order: Sequence[Sort]) -> Place:
    """The place in a token of a search in that order. Raises BadRequest where it isn't one of ours."""
    found = _parts(token)
    if found is None or len(found) != len(order) + 3 or found[0] not in (0, 1) or isinstance(found[0], bool):
        raise BadRequest(_FOREIGN)
    backwards, *written, collection, name = found
    if not all(isinstance(one, str) and _is_letters(one) for one in (collection, name)):
        raise BadRequest(_FOREIGN)
    values = tuple(_value(one, sort.by) for one, sort in zip(written, order, strict=True))
    return Place(values, collection, name, bool(backwards))


def columns(order: Sequence[Sort], database: Database) -> list[ColumnElement[Any]]:
    """What items are sorted by, as SQL."""
    return [_expression(sort.by, database) for sort in order]


def ordering(
    order: Sequence[Sort], sorted_by: Sequence[ColumnElement[Any]], *, backwards: bool
) -> list[ColumnElement[Any]]:
    """ORDER BY; from the end where it goes backwards."""
    found: list[ColumnElement[Any]] = []
    for sort, column in zip(order, sorted_by, strict=True):
        directed: UnaryExpression[Any] = column.desc() if sort.descending != backwards else column.asc()
        # Said only where there may be nulls: an index is not used whose nulls are said to lie elsewhere.
        if not _always(sort.by):
            directed = directed.nulls_first() if backwards else directed.nulls_last()
        found.append(directed)
    ties = (items.c.collection, items.c.id)
    return [*found, *(column.desc() if backwards else column.asc() for column in ties)]


def place_values(place: Place) -> dict[str, Any]:
    """What `beyond` has to know of a place, by names; what its item lacks is not there."""
    known = {f"at{number}": value for number, value in enumerate(place.values) if value is not None}
    return {**known, "at_collection": place.collection, "at_id": place.id}


def beyond(
    values: Mapping[str, Any],
    order: Sequence[Sort],
    sorted_by: Sequence[ColumnElement[Any]],
    binding: Binding,
    *,
    backwards: bool,
) -> Sequence[ColumnElement[bool]]:
    """The items after a place, or before it; `values` is what `place_values` gave."""
    same: list[ColumnElement[bool]] = []
    ways: list[ColumnElement[bool]] = []
    bounds = [
        binding.one(f"at{number}", values[f"at{number}"], column.type) if f"at{number}" in values else None
        for number, column in enumerate(sorted_by)
    ]
    for bound, sort, column in zip(bounds, order, sorted_by, strict=True):
        ways.append(and_(*same, _past(bound, sort, column, backwards=backwards)))
        same.append(column.is_(None) if bound is None else column == bound)
    ties = tuple_(items.c.collection, items.c.id)
    ends = tuple_(*(binding.one(name, values[name], Text) for name in ("at_collection", "at_id")))
    ways.append(and_(*same, ties < ends if backwards else ties > ends))
    # The first column once more: by it alone an index can be entered at the place.
    bound, sort, column = bounds[0], order[0], sorted_by[0]
    if bound is not None and _always(sort.by):
        return [column <= bound if sort.descending != backwards else column >= bound, or_(*ways)]
    return [or_(*ways)]


def _past(
    bound: ColumnElement[Any] | None, sort: Sort, column: ColumnElement[Any], *, backwards: bool
) -> ColumnElement[bool]:
    """Whether a column's value comes after one, or before it; nulls come last."""
    if bound is None:
        return column.is_not(None) if backwards else false()
    further = column < bound if sort.descending != backwards else column > bound
    return further if backwards or _always(sort.by) else or_(further, column.is_(None))


def _expression(by: Queryable, database: Database) -> ColumnElement[Any]:
    if by.column is not None:
        return by.column
    match by.kind:
        case Kind.NUMBER | Kind.INTEGER:
            return database.number(items.c.facts, by.name)
        case Kind.BOOLEAN:
            return database.boolean(items.c.facts, by.name)
        case Kind.INSTANT:
            return database.instant(items.c.facts, by.name)
    return database.text(items.c.facts, by.name)


def _always(by: Queryable) -> bool:
    """Whether every item has it."""
    return by.column is not None and not getattr(by.column, "nullable", True)


def _parts(token: str) -> list[Any] | None:
    if len(token) > 4_000:
        return None
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        found = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    return found if isinstance(found, list) else None


def _value(written: Any, by: Queryable) -> Value:
    """A value as it stands in a token. Raises BadRequest where it is of another kind."""
    if written is None and not _always(by):
        return None
    match by.kind:
        case Kind.INSTANT if type(written) is int and abs(written) < 2**55:
            return EPOCH + written * MICROSECOND
        case Kind.NUMBER | Kind.INTEGER if type(written) in (int, float) and math.isfinite(written):
            return float(written)
        case Kind.BOOLEAN if isinstance(written, bool):
            return written
        case Kind.TEXT | Kind.DATE if isinstance(written, str) and _is_letters(written):
            return written
    raise BadRequest(_FOREIGN)


def _is_letters(text: str) -> bool:
    return "\0" not in text
