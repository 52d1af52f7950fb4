"""What a search may ask, as it is written over HTTP and on the command line: times, boxes, geometries, names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import shapely
from shapely import Geometry
from shapely.errors import ShapelyError

from kartotek import footprints
from kartotek.errors import BadRequest

MAX_VERTICES = 10_000
MAX_NAMES = 1_000
"""Ids, or collections, of one search."""

GEOMETRIES = (
    *("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon"),
    "GeometryCollection",
)
"""GeoJSON's types of geometries."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def instant(text: str) -> datetime:
    """A point in time as RFC 3339 writes it, which has a time zone; BadRequest where it isn't one.

    >>> instant("2024-06-01T02:00:00+02:00").isoformat()
    '2024-06-01T00:00:00+00:00'
    """
    try:
        if not _INSTANT.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text.upper())
        return found if found.tzinfo is UTC else found.astimezone(UTC)
    except ValueError:
        raise BadRequest(f"datetime: {text[:40]!r} is no RFC 3339 time, such as 2024-06-01T00:00:00Z") from None
    except OverflowError:
        raise BadRequest(f"datetime: {text[:40]!r} lies outside the years 1 to 9999 in UTC") from None


def interval(text: str | None, *, days: bool = False) -> tuple[datetime | None, datetime | None]:
    """(start, end) of an instant, or of two with a slash between, of which one may be `..` or nothing.

    Where `days` may be named, a date is the whole day in UTC.

    >>> [str(end) for end in interval("2024-06-01/..", days=True)]
    ['2024-06-01 00:00:00+00:00', 'None']
    """
    if not text:
        return None, None
    first, slash, last = text.partition("/")
    if not slash:
        last = first
    open_ends = [part in ("", "..") for part in (first, last)]
    if "/" in last or all(open_ends):
        raise BadRequest(f"datetime: {text[:80]!r} is no interval, such as 2024-06-01T00:00:00Z/..")
    if days and _DAY.fullmatch(first):
        first += "T00:00:00Z"
    if days and _DAY.fullmatch(last):
        last += "T23:59:59.999999Z"
    start, end = (None if is_open else instant(part) for part, is_open in zip((first, last), open_ends, strict=True))
    if start is not None and end is not None and start > end:
        raise BadRequest(f"datetime: {text[:80]!r} ends before it starts")
    return start, end


def box(given: str | Sequence[float]) -> Geometry:
    """A bbox of four or six numbers, or of text with commas; one whose west is east of its east crosses 180 degrees.

    >>> box("17,59,18,60").bounds
    (17.0, 59.0, 18.0, 60.0)
    """
    try:
        numbers = [float(number) for number in (given.split(",") if isinstance(given, str) else given)]
    except ValueError:
        raise BadRequest(f"bbox: {str(given)[:80]!r} are no numbers; give west,south,east,north in degrees") from None
    if len(numbers) == 6:  # with heights
        numbers = [numbers[0], numbers[1], numbers[3], numbers[4]]
    if len(numbers) != 4:
        raise BadRequest(f"bbox: {len(numbers)} numbers; give west,south,east,north in degrees")
    west, south, east, north = numbers
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise BadRequest("bbox: give west,south,east,north in degrees, south below north")
    if west > east:
        return shapely.MultiPolygon([shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)])
    return shapely.box(west, south, east, north)


def area(geometry: Mapping[str, Any], parameter: str = "intersects") -> Geometry:
    """A GeoJSON geometry in longitude and latitude; `parameter` is what errors call it."""
    if not isinstance(geometry, Mapping) or geometry.get("type") not in GEOMETRIES:
        raise BadRequest(f"{parameter}: no GeoJSON geometry; its type is one of {', '.join(GEOMETRIES)}")
    try:
        found = footprints.from_geojson(geometry)
        count = shapely.get_num_coordinates(found)
        valid = shapely.is_valid_reason(found)
    except (ShapelyError, ValueError, OverflowError) as error:
        raise BadRequest(f"{parameter}: {error}") from None
    if count > MAX_VERTICES:
        raise BadRequest(f"{parameter}: {count} positions; at most {MAX_VERTICES} are accepted")
    if found.is_empty:
        raise BadRequest(f"{parameter}: the geometry is empty")
    west, south, east, north = found.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise BadRequest(f"{parameter}: positions must be longitude, latitude in degrees")
    if valid != "Valid Geometry":
        raise BadRequest(f"{parameter}: not a valid geometry ({valid})")
    return found


def names(kind: str, given: Sequence[str] | None) -> tuple[str, ...] | None:
    """Ids or collections; None where none are named, which asks for all."""
    if not given:
        return None
    if len(given) > MAX_NAMES:
        raise BadRequest(f"{kind}: {len(given)} given; at most {MAX_NAMES} are accepted")
    # Neither can be written in UTF-8 that PostgreSQL takes.
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for name in given for letter in name):
        raise BadRequest(f"{kind}: a zero or half of a surrogate pair in it, which is no character")
    return tuple(given)
