"""What items can be searched and sorted by: each name's kind, and where its values stand.

What every item has stands in typed columns; whatever else its properties hold is learned from the items as they are
written, and found in their `facts` (`catalog.facts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement

from catalog.models import items


class Kind(StrEnum):
    """What values are, as far as comparing them goes."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    INSTANT = "instant"
    DATE = "date"
    ARRAY = "array"
    GEOMETRY = "geometry"
    MIXED = "mixed"
    """Text in some items and a number in others, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queryable:
    """A name that may stand in a filter."""

    name: str
    kind: Kind
    column: ColumnElement[Any] | None = None
    """The typed column; None for what stands in an item's facts under its name."""
    held: bool = False
    """Whether any item has it."""
    values: tuple[str | float, ...] | None = None
    """All that there are, where they are few."""
    minimum: float | str | None = None
    maximum: float | str | None = None

    @property
    def sortable(self) -> bool:
        """Whether items have an order by it."""
        return self.kind not in (Kind.ARRAY, Kind.GEOMETRY, Kind.MIXED)


TYPED: Mapping[str, Queryable] = MappingProxyType(
    {
        one.name: one
        for one in (
            Queryable(name="id", kind=Kind.TEXT, column=items.c.id),
            Queryable(name="collection", kind=Kind.TEXT, column=items.c.collection),
            Queryable(name="geometry", kind=Kind.GEOMETRY, column=items.c.footprint),
            Queryable(name="datetime", kind=Kind.INSTANT, column=items.c.datetime),
            Queryable(name="platform", kind=Kind.TEXT, column=items.c.platform),
            Queryable(name="eo:cloud_cover", kind=Kind.NUMBER, column=items.c.cloud_cover),
            Queryable(name="eo:snow_cover", kind=Kind.NUMBER, column=items.c.snow_cover),
            Queryable(name="grid:code", kind=Kind.TEXT, column=items.c.granule),
        )
    }
)
"""Those of typed columns. An item that has no `datetime` has its `start_datetime` there."""


def bare(name: str) -> str:
    """A property's name, which may be written with `properties.` before it.

    >>> bare("properties.eo:cloud_cover")
    'eo:cloud_cover'
    """
    return name.removeprefix("properties.")


def joined(kinds: Iterable[Kind]) -> Kind:
    """The kind of values of several kinds.

    >>> joined([Kind.INTEGER, Kind.NUMBER]), joined([Kind.INSTANT, Kind.TEXT]), joined([Kind.TEXT, Kind.NUMBER])
    (<Kind.NUMBER: 'number'>, <Kind.TEXT: 'text'>, <Kind.MIXED: 'mixed'>)
    """
    found = set(kinds)
    if len(found) == 1:
        return found.pop()
    if found <= {Kind.INTEGER, Kind.NUMBER}:
        return Kind.NUMBER
    if found <= {Kind.TEXT, Kind.INSTANT, Kind.DATE}:
        return Kind.TEXT
    return Kind.MIXED
