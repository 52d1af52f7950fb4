"""CQL2's array functions: arrays as sets of their members."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement

from catalog.filters.grammar import Tree
from catalog.filters.values import Values
from catalog.models import items
from catalog.queryables import Kind
from kartotek.errors import BadRequest

FUNCTIONS = ("a_contains", "a_containedBy", "a_equals", "a_overlaps")
_TURNED = {"a_contains": "a_containedBy", "a_containedBy": "a_contains"}


def condition(values: Values, op: str, args: list[Tree]) -> ColumnElement[bool]:
    """An array function of two arguments, of which one at least is a property."""
    match args:
        case [{"property": _} as mine, {"property": _} as other]:
            return values.database.arrays(op, items.c.facts, _name(values, mine), of=_name(values, other))
        case [{"property": _} as mine, list(given)]:
            return values.database.arrays(op, items.c.facts, _name(values, mine), given=_members(given))
        case [list(given), {"property": _} as mine]:
            turned = _TURNED.get(op, op)
            return values.database.arrays(turned, items.c.facts, _name(values, mine), given=_members(given))
    raise BadRequest(f"filter: {op} of something else than a property and an array")


def _name(values: Values, node: Mapping[str, str]) -> str:
    found = values.queryable(node)
    if found.kind not in (Kind.ARRAY, Kind.MIXED):
        raise BadRequest(f"filter: {found.name} is {found.kind.value}, no array")
    return found.name


def _members(given: list[Tree]) -> list[str | float | bool]:
    for one in given:
        if not isinstance(one, str | int | float | bool):
            raise BadRequest(f"filter: {str(one)[:80]} in an array, which holds texts and numbers")
    return given
