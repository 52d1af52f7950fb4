"""CQL2's spatial functions: an item's footprint and a geometry, by the relations of OGC Simple Features."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shapely import Geometry
from sqlalchemy import ColumnElement, and_, not_, true

from catalog import questions
from catalog.filters.grammar import Tree
from catalog.filters.values import Values
from catalog.models import items
from catalog.queryables import Kind
from kartotek.errors import BadRequest

RELATIONS = ("intersects", "equals", "touches", "within", "overlaps", "crosses", "contains")
"""As both Shapely and PostGIS (with ST_) name them; none holds for geometries that are apart."""
_TURNED: Mapping[str, str] = MappingProxyType({"within": "contains", "contains": "within"})
"""What a relation is called from the other side."""


def condition(values: Values, op: str, args: list[Tree]) -> ColumnElement[bool]:
    """A spatial function of two arguments, of which one at least is the items' geometry."""
    relation = op.removeprefix("s_")
    if (relation not in RELATIONS and relation != "disjoint") or len(args) != 2:
        there = ", ".join(f"s_{name}" for name in (*RELATIONS, "disjoint"))
        raise BadRequest(f"filter: no spatial function {op[:40]!r} of {len(args)}; there are {there}")
    mine = [_is_footprint(values, arg) for arg in args]
    if all(mine):
        return _with_itself(relation)
    if not any(mine):
        raise BadRequest(f"filter: {op} without the items' geometry")
    if mine[1]:
        relation = _TURNED.get(relation, relation)
    place = values.database.place_values(shape(args[0] if mine[1] else args[1]))
    touched = "intersects" if relation == "disjoint" else relation
    found = and_(*values.database.relates(touched, items.c.pk, items.c.footprint, place))
    return not_(found) if relation == "disjoint" else found


def _is_footprint(values: Values, node: Tree) -> bool:
    if not (isinstance(node, Mapping) and "property" in node):
        return False
    found = values.queryable(node)
    if found.kind is not Kind.GEOMETRY:
        raise BadRequest(f"filter: {found.name} is {found.kind.value}, no geometry")
    return True


def _with_itself(relation: str) -> ColumnElement[bool]:
    """What a geometry and itself are to each other."""
    return true() if relation in ("intersects", "equals", "within", "contains") else not_(true())


def shape(node: Tree) -> Geometry:
    """A geometry or a bbox in a filter. Raises BadRequest where it is none."""
    try:
        match node:
            case {"bbox": list(corners)}:
                return questions.box(corners)
            case Mapping():
                return questions.area(node)
    except BadRequest as error:
        raise BadRequest(f"filter: {str(error).partition(': ')[2]}") from None
    raise BadRequest(f"filter: {str(node)[:80]} where a geometry must stand")
