"""CQL2's temporal functions: points and spans of time compared by where they begin and end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, literal, or_

from catalog.dialects import MICROSECOND, Instant
from catalog.filters.grammar import Tree
from catalog.filters.values import Values, day, moment
from catalog.queryables import Kind
from kartotek.errors import BadRequest

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


class Span(NamedTuple):
    """From when to when, both inclusive; the same for a point in time."""

    start: ColumnElement[Any]
    end: ColumnElement[Any]


# OGC 21-065r2, table 14 (Allen's intervals).
FUNCTIONS: Mapping[str, Callable[[Span, Span], ColumnElement[bool]]] = {
    "t_after": lambda a, b: a.start > b.end,
    "t_before": lambda a, b: a.end < b.start,
    "t_contains": lambda a, b: and_(a.start < b.start, a.end > b.end),
    "t_disjoint": lambda a, b: or_(a.end < b.start, a.start > b.end),
    "t_during": lambda a, b: and_(a.start > b.start, a.end < b.end),
    "t_equals": lambda a, b: and_(a.start == b.start, a.end == b.end),
    "t_finishedBy": lambda a, b: and_(a.start < b.start, a.end == b.end),
    "t_finishes": lambda a, b: and_(a.start > b.start, a.end == b.end),
    "t_intersects": lambda a, b: and_(a.start <= b.end, a.end >= b.start),
    "t_meets": lambda a, b: a.end == b.start,
    "t_metBy": lambda a, b: a.start == b.end,
    "t_overlappedBy": lambda a, b: and_(a.start > b.start, a.start < b.end, a.end > b.end),
    "t_overlaps": lambda a, b: and_(a.start < b.start, a.end > b.start, a.end < b.end),
    "t_startedBy": lambda a, b: and_(a.start == b.start, a.end > b.end),
    "t_starts": lambda a, b: and_(a.start == b.start, a.end < b.end),
}


def condition(values: Values, op: str, args: list[Tree]) -> ColumnElement[bool]:
    """A temporal function of two arguments."""
    if op not in FUNCTIONS or len(args) != 2:
        raise BadRequest(f"filter: no temporal function {op[:40]!r} of {len(args)}; there are {', '.join(FUNCTIONS)}")
    return FUNCTIONS[op](_span(values, args[0]), _span(values, args[1]))


def _span(values: Values, node: Tree) -> Span:
    match node:
        case {"interval": [start, end]}:
            spans = [_FIRST if _open(start) else start, _LAST if _open(end) else end]
            return Span(_bound(values, spans[0], last=False), _bound(values, spans[1], last=True))
    return Span(_bound(values, node, last=False), _bound(values, node, last=True))


def _open(node: Tree) -> bool:
    return node in ("..", "", None)


def _bound(values: Values, node: Tree | datetime, *, last: bool) -> ColumnElement[Any]:
    """The first or the last instant of a time; a date has a whole day of them."""
    match node:
        case datetime():
            return literal(node, Instant)
        case {"property": _}:
            found = values.instant(node)
            is_day = values.queryable(node).kind is Kind.DATE
            return values.database.later(found, timedelta(days=1) - MICROSECOND) if last and is_day else found
        case {"date": str()}:
            return literal(_of_day(node, last=last), Instant)
        case str() if "T" not in node.upper():
            return literal(_of_day(node, last=last), Instant)
    return literal(moment(node), Instant)


def _of_day(node: Tree, *, last: bool) -> datetime:
    return datetime.combine(day(node), time.max if last else time.min, UTC)
