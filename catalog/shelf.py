"""Collections searched as items are: on a shelf of their own, a database in memory that holds nothing else.

There are few, and what they hold follows their items; so each question puts them up anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import shapely
from sqlalchemy import insert

from catalog import dialects, facts, naming, pages, slack, tally
from catalog.access import OPERATOR, Reader
from catalog.models import collections, items, metadata, slacks
from catalog.pages import Page
from catalog.queryables import TYPED, Queryable
from catalog.questions import instant
from catalog.search import Search
from kartotek.errors import BadRequest

_SHELF = "collections"
_EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_EVERYWHERE = [-180.0, -90.0, 180.0, 90.0]
_OWN = ("title", "description", "keywords", "license", "kartotek:items")


class Shelf:
    """Some collections, each by its JSON as it is told; close it when done."""

    def __init__(self, documents: Sequence[bytes]) -> None:
        self._engine = dialects.in_memory()
        self._rows = [_row(number, orjson.loads(content), content) for number, content in enumerate(documents, 1)]
        with self._engine.begin() as connection:
            metadata.create_all(connection, tables=[collections, items, slacks])
            database = dialects.of(connection)
            connection.execute(insert(collections), [{"id": _SHELF, "private": False, "content": b""}])
            if self._rows:
                slack.note(connection, self._rows)
                connection.execute(insert(items), self._rows)
                places = [(row["pk"], row["footprint"], row["start"], row["end"]) for row in self._rows]
                database.index_places(connection, places)

    def close(self) -> None:
        """Clear it away."""
        self._engine.dispose()

    def queryables(self, reader: Reader, names: Collection[str] | None = None) -> dict[str, Queryable]:
        """What may be asked of the collections; whoever may see them."""
        found = naming.queryables([tally.of_rows(self._rows)])
        return {name: one for name, one in found.items() if one.held or name in ("id", "geometry", "datetime")}

    def search(self, reader: Reader, search: Search) -> Page:
        """A page of collections; whoever may see them."""
        with self._engine.connect() as connection:
            return pages.page(connection, OPERATOR, search)


def _row(pk: int, document: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    extent = document.get("extent", {})
    start, end = _times(extent)
    summaries = {name: one for name, one in document.get("summaries", {}).items() if isinstance(one, list)}
    properties = {name: document[name] for name in _OWN if name in document}
    return {
        "pk": pk,
        "collection": _SHELF,
        "id": document["id"],
        "footprint": _area(extent),
        "datetime": min(start, end),
        "start": min(start, end),
        "end": max(start, end),
        "platform": None,
        "cloud_cover": None,
        "snow_cover": None,
        "granule": None,
        "facts": facts.facts({name: one for name, one in summaries.items() if name not in TYPED} | properties),
        "content": content,
    }


def _area(extent: Mapping[str, Any]) -> shapely.Geometry:
    """The rectangle, or the first of several, which is around them all."""
    try:
        found = [float(number) for number in extent["spatial"]["bbox"][0]]
    except (KeyError, IndexError, TypeError, ValueError):
        found = _EVERYWHERE
    west, south, east, north = found if len(found) == 4 else (found[0], found[1], found[3], found[4])
    if west > east:
        return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
    return shapely.box(west, south, east, north)


def _times(extent: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """First and last instant; for ever where an end is open."""
    try:
        first, last = extent["temporal"]["interval"][0]
        return (instant(first) if first else _EVER[0], instant(last) if last else _EVER[1])
    except (KeyError, IndexError, TypeError, ValueError, BadRequest):
        return _EVER
