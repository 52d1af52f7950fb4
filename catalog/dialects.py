"""All that SQLite and PostGIS do differently.

SQLite, the default: EWKB in a blob, an R*Tree over longitude, latitude and time, and Shapely for the exact test.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import shapely
from shapely import Geometry
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    Table,
    and_,
    column,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal,
    or_,
    select,
    table,
    text,
    union,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import TypeDecorator, UserDefinedType

from kartotek.errors import BadSettings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_place = table("items_place", *(column(name) for name in ("pk", "west", "east", "south", "north", "first", "last")))
"""The R*Tree on SQLite; `first` and `last` are seconds since 1970. It keeps 32-bit floats, rounded outwards."""


class Footprint(UserDefinedType[Geometry]):
    """A geometry in longitude and latitude: EWKB in, WKB out.

    GeoAlchemy2's own type needs SpatiaLite on SQLite, also where it is only a variant.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The column's type in CREATE TABLE."""
        return "BLOB"

    def bind_processor(self, dialect: Dialect) -> Callable[[Geometry | None], bytes | None]:
        """Geometry → EWKB."""
        return lambda shape: None if shape is None else shapely.to_wkb(shapely.set_srid(shape, 4326), include_srid=True)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[bytes | None], Geometry | None]:
        """WKB → geometry."""
        return lambda content: None if content is None else shapely.from_wkb(content)


class Instant(TypeDecorator[datetime]):
    """A point in time: microseconds since 1970 on SQLite, which has no type for it."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """UTC → microseconds, exactly."""
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Microseconds → UTC."""
        return None if value is None else EPOCH + value * MICROSECOND


def engine(url: str) -> Engine:
    """An engine for the catalog's database.

    On SQLite: write-ahead log, foreign keys, 30 s of patience for other writers, and transactions that SQLAlchemy
    begins itself, those that write with BEGIN IMMEDIATE (`writing`). Raises BadSettings for other databases.
    """
    try:
        found = make_url(url)
    except ArgumentError as error:
        *secret, host = url.rsplit("@", 1)
        shown = f"***@{host}" if secret else url
        raise BadSettings(f"KARTOTEK_DATABASE: {shown!r} is no database URL, such as sqlite:///kartotek.db") from error
    if found.get_backend_name() != "sqlite":
        raise BadSettings(f"KARTOTEK_DATABASE: {found.get_backend_name()} is not known; give sqlite:///FILE")
    if found.database in (None, "", ":memory:"):
        raise BadSettings("KARTOTEK_DATABASE: a database in memory is gone with each connection; give sqlite:///FILE")
    made = create_engine(found, connect_args={"timeout": 30})
    event.listen(made, "connect", _prepare)
    event.listen(made, "begin", _begin)
    return made


def exists(engine: Engine) -> bool:
    """Whether there is a database to connect to: SQLite makes an empty one of any name."""
    name = engine.url.database
    return not name or name.startswith((":", "file:")) or Path(name).exists()


def writing(connection: Connection) -> Connection:
    """The connection, marked so that its transactions take SQLite's write lock when they begin.

    One that reads first and writes later fails at once where another writer came between, whatever the timeout.
    """
    return connection.execution_options(writing=True)


def upsert(table: Table, row: dict[str, Any], *, key: Sequence[str], keep: Sequence[str] = ()) -> Any:
    """INSERT, or UPDATE of the row with the same key, where it differs; what is to be kept stays as it is there.

    Returns the statement.
    """
    statement = sqlite.insert(table).values(row)
    changed = {name: statement.excluded[name] for name in row if name not in {*key, *keep}}
    differs = or_(*(table.c[name].is_distinct_from(value) for name, value in changed.items()))
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed, where=differs)


def create_place_index(connection: Connection) -> None:
    """Make what finds items by place and time."""
    columns = ", ".join(column.name for column in _place.c)
    connection.execute(text(f"CREATE VIRTUAL TABLE {_place.name} USING rtree({columns})"))


def drop_place_index(connection: Connection) -> None:
    """Remove it."""
    connection.execute(text(f"DROP TABLE {_place.name}"))


def index_place(connection: Connection, pk: int, shape: Geometry, start: datetime, end: datetime) -> None:
    """Enter an item, or its new place, into the index of places."""
    west, south, east, north = shape.bounds
    unindex_place(connection, pk)
    row = {"pk": pk, "west": west, "east": east, "south": south, "north": north}
    connection.execute(insert(_place).values(**row, first=_seconds(start), last=_seconds(end)))


def unindex_place(connection: Connection, pk: int) -> None:
    """Take an item out of the index of places."""
    connection.execute(delete(_place).where(_place.c.pk == pk))


def intersects(
    pk: ColumnElement[int],
    footprint: ColumnElement[Any],
    shape: Geometry,
    start: datetime | None,
    end: datetime | None,
) -> ColumnElement[bool]:
    """Whether an item's footprint touches a shape: candidates by the R*Tree, then exactly.

    The times narrow the candidates; they are tested exactly elsewhere.
    """
    candidates = []
    parts = shapely.get_parts(shape)
    # Two boxes for what is cut at 180 degrees; for many parts one box around them all, since each costs a look-up.
    for part in parts if len(parts) <= 2 else [shape]:
        west, south, east, north = part.bounds
        near = select(_place.c.pk).where(
            _place.c.east >= west, _place.c.west <= east, _place.c.north >= south, _place.c.south <= north
        )
        if start is not None:
            near = near.where(_place.c.last >= _seconds(start) - 1)
        if end is not None:
            near = near.where(_place.c.first <= _seconds(end) + 1)
        candidates.append(near)
    # Candidates come by `pk IN (...)`, which is what SQLite uses the R*Tree for: it calls the function for those alone.
    exact = func.kartotek_intersects(footprint, literal(shapely.to_wkb(shape), LargeBinary), type_=Boolean)
    return and_(pk.in_(union(*candidates) if len(candidates) > 1 else candidates[0]), exact)


def _seconds(instant: datetime) -> float:
    return (instant - EPOCH).total_seconds()


def _prepare(connection: Any, _record: object) -> None:
    """Set up a new SQLite connection."""
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.isolation_level = None  # transactions are begun by `_begin`
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("kartotek_intersects", 2, _touching(), deterministic=True)


def _begin(connection: Connection) -> None:
    kind = "BEGIN IMMEDIATE" if connection.get_execution_options().get("writing") else "BEGIN"
    connection.exec_driver_sql(kind)


def _touching() -> Callable[[bytes, bytes], bool]:
    """The exact test of one connection: whether a footprint touches the shape that is asked for."""

    # Each connection has shapes of its own, since one thread at a time has it: GEOS completes a prepared shape at its
    # first comparisons, while Shapely has let go of Python's lock, and two threads at that kill the process.
    @lru_cache(maxsize=4)
    def prepared(content: bytes) -> Geometry:
        shape = shapely.from_wkb(content)
        shapely.prepare(shape)
        return shape

    return lambda footprint, shape: bool(shapely.intersects(prepared(shape), shapely.from_wkb(footprint)))
