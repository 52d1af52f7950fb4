"""What a filter says of place and time, in the words of a search: those lead to indexes, whatever else is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shapely import Geometry

from catalog.filters import spatial
from catalog.filters.grammar import Tree
from catalog.filters.values import moment

_FOOTPRINT = {"property": "geometry"}
_DATETIME = {"property": "datetime"}
_STARTS = frozenset({"=", ">", ">="})
_ENDS = frozenset({"=", "<", "<="})


@dataclass(frozen=True, slots=True)
class Implied:
    """A place and times, and what of the filter they don't say; together the same as the filter."""

    rest: Tree | None
    area: Geometry | None = None
    """Which items must touch."""
    start: datetime | None = None
    end: datetime | None = None
    """Between which some instant of theirs lies, if the rest is true: an item's datetime is one of them."""


def implied(tree: Tree, *, place: bool) -> Implied:
    """What a filter implies; the first place is taken out of it where `place` says so. Raises BadRequest."""
    rest: list[Tree] = []
    area: Geometry | None = None
    starts: list[datetime] = []
    ends: list[datetime] = []
    match tree:
        case {"op": "and", "args": [_, _, *_] as together} if None not in together:
            parts = together
        case _:
            parts = [tree]
    for part in parts:
        match part:
            case {"op": "s_intersects", "args": [one, other]} if (
                place and area is None and (one == _FOOTPRINT) != (other == _FOOTPRINT)
            ):
                area = spatial.shape(other if one == _FOOTPRINT else one)
                continue
            case {"op": str(op), "args": [one, {"timestamp": _} as time]} if one == _DATETIME:
                starts += [moment(time)] if op in _STARTS else []
                ends += [moment(time)] if op in _ENDS else []
            case {"op": "between", "args": [one, {"timestamp": _} as first, {"timestamp": _} as last]} if (
                one == _DATETIME
            ):
                starts.append(moment(first))
                ends.append(moment(last))
        rest.append(part)
    left = tree if area is None else {"op": "and", "args": rest} if len(rest) > 1 else rest[0] if rest else None
    return Implied(left, area, max(starts, default=None), min(ends, default=None))
