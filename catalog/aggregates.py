"""What a search's items are like, counted in the database: how many, from when to when, how often which value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, case, func, literal, select

from catalog import dialects, statements
from catalog.access import Reader, visible
from catalog.dialects import Database
from catalog.models import items
from catalog.search import Search
from kartotek.errors import BadRequest

Interval = Literal["day", "month", "year"]
INTERVALS: tuple[Interval, ...] = ("day", "month", "year")
MOST = 1_000
"""Buckets of an aggregate; what the others hold is told as one number."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Items that have something in common."""

    key: str
    count: int
    start: float | None = None
    end: float | None = None
    """A range of numbers, the end not included but for the last."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What is told of a search's items."""

    name: str
    kind: Literal["integer", "datetime", "string", "numeric"]
    """Of the value, or of the keys."""
    value: int | datetime | None = None
    buckets: tuple[Bucket, ...] | None = None
    """The most frequent first, or in the order of numbers and times."""
    overflow: int = 0
    """Items in buckets that are not told, or without a value."""


_TERMS: Mapping[str, ColumnElement[Any]] = MappingProxyType(
    {
        "collection_frequency": items.c.collection,
        "platform_frequency": items.c.platform,
        "grid_code_frequency": items.c.granule,
    }
)
_RANGES: Mapping[str, tuple[ColumnElement[Any], Sequence[float]]] = MappingProxyType(
    {
        "cloud_cover_frequency": (items.c.cloud_cover, range(0, 101, 10)),
        "snow_cover_frequency": (items.c.snow_cover, range(0, 101, 10)),
    }
)
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "total_count": "integer",
        "datetime_min": "datetime",
        "datetime_max": "datetime",
        "datetime_frequency": "datetime",
        **dict.fromkeys(_TERMS, "string"),
        **dict.fromkeys(_RANGES, "numeric"),
    }
)
"""The aggregates that there are, each with the type of its value or of its keys."""


def aggregates(
    connection: Connection, reader: Reader, search: Search, names: Sequence[str], *, interval: Interval = "month"
) -> list[Aggregate]:
    """Aggregates of all that a search finds and the reader may see. Raises BadRequest where there is none of a name."""
    if unknown := [name for name in names if name not in KINDS]:
        raise BadRequest(f"aggregations: {unknown[0][:80]!r} is not known; there are {', '.join(KINDS)}")
    database = dialects.of(connection)
    wanted = (visible(reader, items.c.collection), *statements.conditions(database, search))
    number = statements.count(database, reader, search)
    return [_aggregate(connection, database, name, wanted, number, interval) for name in dict.fromkeys(names)]


def _aggregate(
    connection: Connection,
    database: Database,
    name: str,
    wanted: Sequence[ColumnElement[bool]],
    number: Select[int],
    interval: Interval,
) -> Aggregate:
    match name:
        case "total_count":
            return Aggregate(name, "integer", value=int(connection.scalar(number) or 0))
        case "datetime_min" | "datetime_max":
            ends = func.min(items.c.datetime) if name.endswith("min") else func.max(items.c.datetime)
            return Aggregate(name, "datetime", value=connection.scalar(select(ends).where(*wanted)))
        case "datetime_frequency":
            found = _counted(connection, database.period(items.c.datetime, interval), wanted)
            shown = tuple(Bucket(key, count) for key, count in sorted(found.items())[:MOST])
            return Aggregate(name, "datetime", buckets=shown, overflow=_left(found.values(), shown))
    if name in _RANGES:
        return _ranged(connection, name, *_RANGES[name], wanted)
    found = _counted(connection, _TERMS[name], wanted)
    without = found.pop(None, 0)
    most = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST]
    shown = tuple(Bucket(key, count) for key, count in most)
    return Aggregate(name, "string", buckets=shown, overflow=_left(found.values(), shown) + without)


def _ranged(
    connection: Connection,
    name: str,
    column: ColumnElement[Any],
    ends: Sequence[float],
    wanted: Sequence[ColumnElement[bool]],
) -> Aggregate:
    """How many items have a number in each range; the last holds its end too."""
    whens = [(column < end, literal(place)) for place, end in enumerate(ends[1:-1])]
    place = case((column.is_(None), None), (column < ends[0], None), (column > ends[-1], None), *whens,
                 else_=literal(len(ends) - 2))  # fmt: skip
    found = _counted(connection, place, wanted)
    shown = tuple(
        Bucket(f"{start:g}-{end:g}", found.get(place, 0), start, end)
        for place, (start, end) in enumerate(pairwise(ends))
    )
    return Aggregate(name, "numeric", buckets=shown, overflow=found.get(None, 0))


def _counted(connection: Connection, key: ColumnElement[Any], wanted: Sequence[ColumnElement[bool]]) -> dict[Any, int]:
    made = select(key.label("key")).select_from(items).where(*wanted).subquery()
    rows = connection.execute(select(made.c.key, func.count()).group_by(made.c.key))
    return {row[0]: row[1] for row in rows}


def _left(counts: Iterable[int], shown: Sequence[Bucket]) -> int:
    return sum(counts) - sum(bucket.count for bucket in shown)
