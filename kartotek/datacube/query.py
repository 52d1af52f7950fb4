"""Where and when, as the old cube's users say it: an area and a period."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import pandas
import shapely
from odc.geo import Geometry
from odc.geo.geom import box, unary_union
from pandas import Period, Timestamp

from kartotek.datacube.grid import known
from kartotek.errors import BadRequest

EARTH = "EPSG:4326"
_ZONED = re.compile(r"[T ].*([zZ]|[+-]\d\d(:?\d\d)?)\s*$", re.ASCII)
"""A time of the day with a zone at its end."""
POINT = 1e-6
"""Half the side of the area that a single number means, in the units of its CRS."""

Range = tuple[float, float] | float
Instant = str | date | datetime | Any
"""Or what NumPy and pandas have for a time."""


def area(
    *, across: dict[str, Range | None], along: dict[str, Range | None], crs: Any = None, geopolygon: Any = None
) -> Geometry | None:
    """The area asked for: a polygon, or ranges of one of x, lon, longitude and one of y, lat, latitude; None for none.

    Ranges are in longitude and latitude, unless `crs` says otherwise, and either end may come first. A polygon is one
    of odc-geo's, GeoJSON, WKT, or what Shapely and GeoPandas have; several are their union.
    """
    ranges = {name: value for name, value in (across | along).items() if value is not None}
    if geopolygon is not None:
        if ranges or crs is not None:
            raise BadRequest(f"geopolygon and {', '.join(ranges) or 'crs'}: give one of them")
        return _polygon(geopolygon)
    if not ranges:
        return None
    left, right = _one_of(across, whole=(-180.0, 180.0))
    bottom, top = _one_of(along, whole=(-90.0, 90.0))
    return box(left, bottom, right, top, crs=known(crs if crs is not None else EARTH))


def _one_of(ranges: dict[str, Range | None], *, whole: tuple[float, float]) -> tuple[float, float]:
    """The range that is given, its lower end first."""
    given = {name: value for name, value in ranges.items() if value is not None}
    if len(given) > 1:
        raise BadRequest(f"{' and '.join(given)}: give one of them")
    for name, value in given.items():
        try:
            low, high = (value - POINT, value + POINT) if isinstance(value, int | float) else map(float, value)
        except (TypeError, ValueError):
            raise BadRequest(f"{name} is {value!r}; it is a number, or two: (from, to)") from None
        if not (math.isfinite(low) and math.isfinite(high)):
            raise BadRequest(f"{name} is {value!r}, no finite range")
        return min(low, high), max(low, high)
    return whole


def _polygon(given: Any) -> Geometry:
    """A geometry of whatever is one; without a CRS it is in longitude and latitude."""
    if isinstance(given, Geometry):
        return given if given.crs is not None else Geometry(given.geom, EARTH)
    if isinstance(given, Iterable) and not isinstance(given, str | dict) and not hasattr(given, "__geo_interface__"):
        if (whole := unary_union(_polygon(one) for one in given)) is None:
            raise BadRequest("geopolygon is empty")
        return whole
    if hasattr(given, "geometry") and getattr(given, "crs", None) is not None:  # GeoPandas
        return Geometry(given.geometry.union_all(), str(given.crs))
    try:
        if isinstance(given, str) and not given.lstrip().startswith("{"):
            return Geometry(shapely.from_wkt(given), EARTH)
        return Geometry(
            json.loads(given) if isinstance(given, str) else getattr(given, "__geo_interface__", given), EARTH
        )
    except Exception as error:
        raise BadRequest(f"geopolygon {str(given)[:80]!r}: no geometry ({error})") from error


def period(time: Instant | Iterable[Instant] | None) -> str | None:
    """The period asked for, as a STAC search has it: from the start of the first instant to the end of the last.

    "2019" is a year, "2019-07" a month, "2019-07-01" a day. None at either end leaves it open.

    >>> period(("2019-07-01", "2019-08"))
    '2019-07-01T00:00:00.000000Z/2019-08-31T23:59:59.999999Z'
    """
    if time is None:
        return None
    ends = [time] if isinstance(time, str | date | Period) or not isinstance(time, Iterable) else list(time)
    if not 1 <= len(ends) <= 2:
        raise BadRequest(f"time is {time!r}; it is an instant, or two: (from, to)")
    return f"{_stamp(ends[0], last=False)}/{_stamp(ends[-1], last=True)}"


def _stamp(instant: Instant | None, *, last: bool) -> str:
    """The first or the last moment of an instant, in UTC."""
    if instant is None:
        return ".."
    if isinstance(instant, bool | int | float):
        raise BadRequest(f"time {instant!r}: give a time as text, such as '2019-07-01', or as a datetime")
    try:
        if isinstance(instant, str):
            # A year or a month is as long as it is written; with a zone it is an instant.
            span = _second(instant) if _ZONED.search(instant) else Period(instant)
        else:
            span = instant if isinstance(instant, Period) else _second(instant)
        moment = span.end_time.floor("us") if last else span.start_time
    except ValueError as error:
        raise BadRequest(f"time {instant!r}: no time ({error}); write it as '2019-07-01' or '2019-07'") from None
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _second(instant: Any) -> Period:
    """The second of an instant; a date is its day."""
    if isinstance(instant, date) and not isinstance(instant, datetime):
        return Period(instant, freq="D")
    moment = Timestamp(instant)
    if moment is pandas.NaT:
        raise ValueError("not a time")
    return Period(moment.tz_convert("UTC").tz_localize(None) if moment.tzinfo else moment, freq="s")


def on_earth(area: Geometry) -> dict[str, Any]:
    """An area as GeoJSON, in longitude and latitude; straight edges of another CRS are bent as they are there."""
    found = area if area.crs == EARTH else area.to_crs(EARTH, resolution="auto")
    return dict(found.json)


def between(given: Range) -> dict[str, float]:
    """Both ends of a range of values, for a search; a single number is its upper end and its lower one."""
    try:
        low, high = (given, given) if isinstance(given, int | float) else map(float, given)
    except (TypeError, ValueError):
        raise BadRequest(f"cloud_cover is {given!r}; it is two percentages: (from, to)") from None
    return {"gte": min(low, high), "lte": max(low, high)}
