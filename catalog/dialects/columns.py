"""Types of columns that SQLite and PostgreSQL store differently: names, geometries, points in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import shapely
from shapely import Geometry
from sqlalchemy import JSON, BigInteger, DateTime, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Name = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Ids: compared by their letters' codes, as SQLite does, whatever the language of the database."""


Facts = JSON().with_variant(postgresql.JSONB(), "postgresql")
"""A JSON object."""


class Footprint(UserDefinedType[Geometry]):
    """A geometry in longitude and latitude: EWKB in, WKB out.

    GeoAlchemy2's own type needs SpatiaLite on SQLite, also where it is only a variant.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The column's type in CREATE TABLE; another one on PostGIS."""
        return "BLOB"

    def bind_processor(self, dialect: Dialect) -> Callable[[Geometry | None], bytes | None]:
        """Geometry → EWKB."""
        return lambda shape: None if shape is None else ewkb(shape)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[bytes | str | None], Geometry | None]:
        """WKB, which PostGIS gives in hexadecimal → geometry."""
        return lambda content: None if content is None else shapely.from_wkb(content)


@compiles(Footprint, "postgresql")
def _geometry(_type: Footprint, _compiler: object, **_: Any) -> str:
    return "geometry(Geometry, 4326)"


class Ring(Footprint):
    """A geometry in any projected CRS, whose EPSG code is its SRID."""

    cache_ok = True


@compiles(Ring, "postgresql")
def _ring(_type: Ring, _compiler: object, **_: Any) -> str:
    return "geometry"


class Instant(TypeDecorator[datetime]):
    """A point in time: microseconds since 1970 on SQLite, which has no type for it."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's own type."""
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | datetime | None:
        """UTC → microseconds, exactly, or as it is."""
        return (value - EPOCH) // MICROSECOND if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: int | datetime | None, dialect: Dialect) -> datetime | None:
        """Microseconds, or a time in any zone → UTC."""
        return EPOCH + value * MICROSECOND if isinstance(value, int) else value and value.astimezone(UTC)


_WGS_84 = (4326).to_bytes(4, "little")


def ewkb(shape: Geometry) -> bytes:
    """A geometry's EWKB: with its SRID; in longitude and latitude where it has none."""
    if shapely.get_srid(shape):
        return bytes(shapely.to_wkb(shape, include_srid=True))
    # Put in by hand, at a third of the time: after the order of bytes and the type, which says that it is there.
    found = bytes(shapely.to_wkb(shape, byte_order=1))
    return b"".join((b"\x01", found[1:4], bytes([found[4] | 0x20]), _WGS_84, found[5:]))
