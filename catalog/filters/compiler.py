"""A tree of CQL2 → a condition in SQL, typed: what can't be compared is refused here, not by the database.

Where a property is absent, a comparison with it is neither true nor false, as SQL's null is, and NOT leaves it so.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, false, not_, or_, true

from catalog.dialects import Database, Wildcard
from catalog.filters import arrays, spatial, temporal
from catalog.filters.grammar import Tree
from catalog.filters.values import NUMBERS, Values, folded
from catalog.models import items
from catalog.queryables import Kind, Queryable
from kartotek.errors import BadRequest

_COMPARISONS: Mapping[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def condition(tree: Tree, names: Mapping[str, Queryable], database: Database) -> ColumnElement[bool]:
    """The items for which a filter is true. Raises BadRequest for what it can't mean, with the place and a way out."""
    return _boolean(Values(database, names), tree)


def _boolean(values: Values, node: Tree) -> ColumnElement[bool]:
    match node:
        case bool():
            return true() if node else false()
        case {"property": _}:
            return values.boolean(node)
        case {"op": "and" | "or" as op, "args": [_, _, *_] as parts}:
            # Spatial ones last: SQLite looks at conditions in this order, and these take longest.
            in_turn = sorted(parts, key=_is_spatial)
            return (and_ if op == "and" else or_)(*(_boolean(values, part) for part in in_turn))
        case {"op": "not", "args": [part]}:
            return not_(_boolean(values, part))
        case {"op": str(op), "args": [one, other]} if op in _COMPARISONS:
            return _comparison(values, op, one, other)
        # The second form is that of drafts, which clients still write.
        case {"op": "between", "args": [value, low, high] | [value, [low, high]]}:
            return and_(_comparison(values, ">=", value, low), _comparison(values, "<=", value, high))
        case {"op": "in", "args": [value, list(given)]}:
            return _in(values, value, given)
        case {"op": "like", "args": [value, pattern]}:
            return _like(values, value, pattern)
        case {"op": "isNull", "args": [value]}:
            return _is_null(values, value)
        case {"op": str(op), "args": list(args)} if op in arrays.FUNCTIONS:
            return arrays.condition(values, op, args)
        case {"op": str(op), "args": list(args)} if op.startswith("s_"):
            return spatial.condition(values, op, args)
        case {"op": str(op), "args": list(args)} if op.startswith("t_"):
            return temporal.condition(values, op, args)
        case {"op": op}:
            raise BadRequest(f"filter: {str(op)[:40]!r} is no condition, or not with such arguments")
    raise BadRequest(f"filter: {str(node)[:80]} where a condition must stand")


def _is_spatial(node: Tree) -> bool:
    return isinstance(node, dict) and str(node.get("op")).startswith("s_")


def _comparison(values: Values, op: str, one: Tree, other: Tree) -> ColumnElement[bool]:
    kind = _common(values, op, one, other)
    return _COMPARISONS[op](_of(values, kind, one), _of(values, kind, other))


def _common(values: Values, op: str, one: Tree, other: Tree) -> Kind:
    """As what two values are compared."""
    kinds = {values.kind(one), values.kind(other)}
    found = kinds - {Kind.MIXED} or {Kind.TEXT}
    if found <= set(NUMBERS):
        return Kind.NUMBER
    if Kind.INSTANT in found and found <= {Kind.INSTANT, Kind.DATE, Kind.TEXT}:
        return Kind.INSTANT
    if found <= {Kind.DATE, Kind.TEXT}:
        return Kind.TEXT
    if found == {Kind.BOOLEAN} and op in ("=", "<>"):
        return Kind.BOOLEAN
    if found == {Kind.GEOMETRY}:
        raise BadRequest("filter: geometries are compared by s_equals, s_intersects and their like")
    if found == {Kind.ARRAY}:
        raise BadRequest("filter: arrays are compared by a_equals, a_contains, a_containedBy and a_overlaps")
    raise BadRequest(f"filter: {' and '.join(sorted(found))} can't be compared by {op} ({_told(one)}, {_told(other)})")


def _of(values: Values, kind: Kind, node: Tree) -> ColumnElement[Any]:
    match kind:
        case Kind.NUMBER:
            return values.number(node)
        case Kind.INSTANT:
            return values.instant(node)
        case Kind.BOOLEAN:
            return values.boolean(node)
    return values.text(node)


def _in(values: Values, value: Tree, given: list[Tree]) -> ColumnElement[bool]:
    if not given:
        return false()
    kinds = {_common(values, "=", value, one) for one in given}
    if len(kinds) > 1:
        raise BadRequest(f"filter: {' and '.join(sorted(kinds))} in one list of IN")
    [kind] = kinds
    return _of(values, kind, value).in_([_of(values, kind, one) for one in given])


def _like(values: Values, value: Tree, pattern: Tree) -> ColumnElement[bool]:
    found = folded(pattern)
    if not isinstance(found, str):
        raise BadRequest(f"filter: {_told(pattern)} where the pattern of LIKE must stand, a text")
    return values.database.like(values.text(value), list(_parts(found)))


def _parts(pattern: str) -> Iterator[str | Wildcard]:
    """A pattern's letters and wildcards; a backslash before one of these makes a letter of it."""
    letters = iter(pattern)
    for letter in letters:
        if letter == "\\":
            yield next(letters, "\\")
        else:
            yield {"%": Wildcard.ANY, "_": Wildcard.ONE}.get(letter, letter)


def _is_null(values: Values, value: Tree) -> ColumnElement[bool]:
    match value:
        case {"property": _}:
            found = values.queryable(value)
            if found.column is not None:
                return found.column.is_(None)
            return not_(values.database.has(items.c.facts, found.name))
        case {"op": _}:
            return _of(values, values.kind(value), value).is_(None)
    values.kind(value)
    return false()


def _told(node: Tree) -> str:
    return str(node["property"])[:80] if isinstance(node, Mapping) and "property" in node else str(node)[:80]
