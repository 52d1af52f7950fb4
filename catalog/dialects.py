"""All that SQLite and PostGIS do differently; nothing else asks which of the two it works on.

SQLite, the default: EWKB in a blob, an R*Tree over longitude, latitude and time, and Shapely for the exact test.
PostGIS: a geometry, a gist index over it and time, and ST_Intersects.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import shapely
from shapely import Geometry
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    LargeBinary,
    Table,
    Text,
    and_,
    cast,
    column,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal,
    select,
    table,
    text,
    type_coerce,
    union,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from kartotek.errors import BadSettings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JULIAN_1970 = 2440587.5
MICROSECOND = timedelta(microseconds=1)

Seconds = float | ColumnElement[float]

POOL = {"pool_size": 10, "max_overflow": 30, "pool_timeout": 1}
"""As many connections as the server has threads; whoever finds none for a second is told to come again."""
STATEMENT_MS = 8_000
"""How long PostgreSQL works at a statement."""

Name = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Ids: compared by their letters' codes, as SQLite does, whatever the language of the database."""


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
        return lambda shape: None if shape is None else _ewkb(shape)

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


class Database(Protocol):
    """What the catalog asks of a kind of database."""

    def engine(self, url: URL) -> Engine:
        """Connections, as a server with threads wants them."""
        ...

    def exists(self, url: URL) -> bool:
        """Whether there is a database to connect to."""
        ...

    def file(self, url: URL) -> Path | None:
        """The file that is the database, by its absolute path; None for a server's."""
        ...

    def insert(self, table: Table) -> Any:
        """INSERT that knows ON CONFLICT."""
        ...

    def now(self, ahead: Seconds = 0) -> ColumnElement[datetime]:
        """The database's own time, so many seconds ahead."""
        ...

    def prepare(self, connection: Connection) -> None:
        """What must be there before the first table, and for migrations: time, and nobody else at it."""
        ...

    def create_place_index(self, connection: Connection) -> None:
        """Make what finds items by place and time."""
        ...

    def drop_place_index(self, connection: Connection) -> None:
        """Remove it."""
        ...

    def index_place(self, connection: Connection, pk: int, shape: Geometry, start: datetime, end: datetime) -> None:
        """Enter an item, or its new place, into the index of places, where that doesn't happen by itself."""
        ...

    def unindex_place(self, connection: Connection, pk: int) -> None:
        """Take an item out of the index of places, where that doesn't happen by itself."""
        ...

    def intersects(
        self,
        pk: ColumnElement[int],
        footprint: ColumnElement[Any],
        shape: Geometry,
        start: datetime | None,
        end: datetime | None,
    ) -> ColumnElement[bool]:
        """Whether an item's footprint touches a shape; the times may narrow the candidates only."""
        ...


class SQLite:
    """One file; nothing to set up."""

    _place = table("items_place", *(column(name) for name in ("pk", "west", "east", "south", "north", "first", "last")))
    """The R*Tree; `first` and `last` are seconds since 1970. It keeps 32-bit floats, rounded outwards."""

    def engine(self, url: URL) -> Engine:
        """With a write-ahead log, foreign keys, 30 s of patience for other writers, and transactions that SQLAlchemy
        begins itself, those that write with BEGIN IMMEDIATE (`writing`)."""
        if url.database in (None, "", ":memory:"):
            raise BadSettings(
                "KARTOTEK_DATABASE: a database in memory is gone with each connection; give sqlite:///FILE"
            )
        made = create_engine(url, connect_args={"timeout": 30}, **POOL)
        event.listen(made, "connect", self._set_up)
        event.listen(made, "begin", self._begin)
        return made

    def exists(self, url: URL) -> bool:
        """SQLite would make an empty one of any name."""
        return url.database is not None and (url.database.startswith("file:") or Path(url.database).exists())

    def file(self, url: URL) -> Path | None:
        """Not told of one that is given as a URI."""
        name = url.database or ""
        return None if name.startswith("file:") else Path(name).absolute()

    def insert(self, table: Table) -> Any:
        """SQLite's INSERT."""
        return sqlite.insert(table)

    def now(self, ahead: Seconds = 0) -> ColumnElement[datetime]:
        """To the millisecond: SQLite knows no finer time."""
        days = func.julianday("now") - _JULIAN_1970
        microseconds = func.round(days * 86_400_000) * 1_000 + ahead * 1_000_000
        return type_coerce(cast(microseconds, BigInteger), Instant)

    def prepare(self, connection: Connection) -> None:
        """Nothing."""

    def create_place_index(self, connection: Connection) -> None:
        """Make the R*Tree."""
        columns = ", ".join(column.name for column in self._place.c)
        connection.execute(text(f"CREATE VIRTUAL TABLE {self._place.name} USING rtree({columns})"))

    def drop_place_index(self, connection: Connection) -> None:
        """Remove it."""
        connection.execute(text(f"DROP TABLE {self._place.name}"))

    def index_place(self, connection: Connection, pk: int, shape: Geometry, start: datetime, end: datetime) -> None:
        """One row, after taking out the one that is there."""
        west, south, east, north = shape.bounds
        self.unindex_place(connection, pk)
        row = {"pk": pk, "west": west, "east": east, "south": south, "north": north}
        connection.execute(insert(self._place).values(**row, first=_seconds(start), last=_seconds(end)))

    def unindex_place(self, connection: Connection, pk: int) -> None:
        """Remove the row."""
        connection.execute(delete(self._place).where(self._place.c.pk == pk))

    def intersects(
        self,
        pk: ColumnElement[int],
        footprint: ColumnElement[Any],
        shape: Geometry,
        start: datetime | None,
        end: datetime | None,
    ) -> ColumnElement[bool]:
        """Candidates by the R*Tree, then exactly."""
        place, candidates = self._place, []
        parts = shapely.get_parts(shape)
        # Two boxes for what is cut at 180 degrees; for many parts one box around them all, since each costs a look-up.
        for part in parts if len(parts) <= 2 else [shape]:
            west, south, east, north = part.bounds
            near = select(place.c.pk).where(
                place.c.east >= west, place.c.west <= east, place.c.north >= south, place.c.south <= north
            )
            if start is not None:
                near = near.where(place.c.last >= _seconds(start) - 1)
            if end is not None:
                near = near.where(place.c.first <= _seconds(end) + 1)
            candidates.append(near)
        # Candidates come by `pk IN (...)`, which is what SQLite uses the R*Tree for: it calls the function for those
        # alone.
        exact = func.kartotek_intersects(footprint, literal(shapely.to_wkb(shape), LargeBinary), type_=Boolean)
        return and_(pk.in_(union(*candidates) if len(candidates) > 1 else candidates[0]), exact)

    @staticmethod
    def _set_up(connection: Any, _record: object) -> None:
        """Set up a new connection."""
        if not isinstance(connection, sqlite3.Connection):
            return
        connection.isolation_level = None  # transactions are begun by `_begin`
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.create_function("kartotek_intersects", 2, _touching(), deterministic=True)

    @staticmethod
    def _begin(connection: Connection) -> None:
        kind = "BEGIN IMMEDIATE" if connection.get_execution_options().get("writing") else "BEGIN"
        connection.exec_driver_sql(kind)


class PostGIS:
    """PostgreSQL with its extensions postgis and btree_gist."""

    def engine(self, url: URL) -> Engine:
        """With custom plans, since a generic one would parse the shape that is asked for again for each row."""
        settings = {"plan_cache_mode": "force_custom_plan", "statement_timeout": STATEMENT_MS, "timezone": "UTC"}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        arguments = {"options": options, "connect_timeout": 5, "application_name": "kartotek"}
        # A connection is tried before it is used, so that a restart of the database is felt by few.
        return create_engine(url, connect_args=arguments, pool_pre_ping=True, **POOL)

    def exists(self, url: URL) -> bool:
        """It says so itself where there is none."""
        return True

    def file(self, url: URL) -> Path | None:
        """None: it is a server's."""
        return None

    def insert(self, table: Table) -> Any:
        """PostgreSQL's INSERT."""
        return postgresql.insert(table)

    def now(self, ahead: Seconds = 0) -> ColumnElement[datetime]:
        """The clock's, not that of the transaction's beginning."""
        return type_coerce(func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, ahead), Instant)

    def prepare(self, connection: Connection) -> None:
        """The extensions, which a database's owner may have to make beforehand; one migration at a time, unlimited."""
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('kartotek migrate'))"))
        for name in ("postgis", "btree_gist"):
            connection.execute(text(f"CREATE EXTENSION IF NOT EXISTS {name}"))

    def create_place_index(self, connection: Connection) -> None:
        """Make the gist index."""
        connection.execute(text('CREATE INDEX ix_items_place ON items USING gist (footprint, "start", "end")'))

    def drop_place_index(self, connection: Connection) -> None:
        """Remove it."""
        connection.execute(text("DROP INDEX ix_items_place"))

    def index_place(self, connection: Connection, pk: int, shape: Geometry, start: datetime, end: datetime) -> None:
        """Nothing: the index is the table's own."""

    def unindex_place(self, connection: Connection, pk: int) -> None:
        """Nothing."""

    def intersects(
        self,
        pk: ColumnElement[int],
        footprint: ColumnElement[Any],
        shape: Geometry,
        start: datetime | None,
        end: datetime | None,
    ) -> ColumnElement[bool]:
        """By the gist index, then exactly; the times use it too."""
        from geoalchemy2.functions import ST_GeomFromEWKB, ST_Intersects  # slow to load, and of no use to SQLite

        found: ColumnElement[bool] = ST_Intersects(
            footprint, ST_GeomFromEWKB(literal(_ewkb(shape), LargeBinary)), type_=Boolean
        )
        return found


DATABASES: Mapping[str, Database] = MappingProxyType({"sqlite": SQLite(), "postgresql": PostGIS()})
"""By SQLAlchemy's name of the dialect."""


def of(connection: Connection) -> Database:
    """The kind of database at the other end."""
    return DATABASES[connection.dialect.name]


def engine(url: str) -> Engine:
    """An engine for the catalog's database. Raises BadSettings for what is no URL, and for other databases."""
    found = _parsed(url)
    return DATABASES[found.get_backend_name()].engine(found)


def exists(engine: Engine) -> bool:
    """Whether there is a database to connect to."""
    return DATABASES[engine.dialect.name].exists(engine.url)


def file(engine: Engine) -> Path | None:
    """The file that is the database, by its absolute path; None for a server's."""
    return DATABASES[engine.dialect.name].file(engine.url)


def _parsed(url: str) -> URL:
    *secret, host = url.rsplit("@", 1)
    shown = f"***@{host}" if secret else url
    forms = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"
    # What follows such a password's first @ would be taken for the host, and told and looked up as one.
    if url.startswith("postgres") and url.partition("://")[2].partition(":")[2].count("@") > 1:
        raise BadSettings(f"KARTOTEK_DATABASE: an '@' in a password is written %40; the form is {forms}")
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        raise BadSettings(f"KARTOTEK_DATABASE: {shown!r} is no database URL; give {forms}") from None
    if found.get_backend_name() not in DATABASES:
        raise BadSettings(f"KARTOTEK_DATABASE: {found.get_backend_name()} is not known; give {forms}")
    drivers = {"sqlite": ("sqlite", "sqlite+pysqlite"), "postgresql": ("postgresql", "postgresql+psycopg")}
    if found.drivername not in drivers[found.get_backend_name()]:
        raise BadSettings(f"KARTOTEK_DATABASE: {found.drivername} is not installed with kartotek; give {forms}")
    if found.drivername == "postgresql":
        found = found.set(drivername="postgresql+psycopg")
    return found


def writing(connection: Connection) -> Connection:
    """The connection, marked so that its transactions take SQLite's write lock when they begin.

    One that reads first and writes later fails at once where another writer came between, whatever the timeout.
    """
    return connection.execution_options(writing=True)


def upsert(
    connection: Connection, table: Table, row: dict[str, Any], *, key: Sequence[str], keep: Sequence[str] = ()
) -> None:
    """INSERT, or UPDATE of the row with the same key, of which what is to be kept stays as it is."""
    statement = of(connection).insert(table).values(row)
    changed = {name: statement.excluded[name] for name in row if name not in {*key, *keep}}
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed))


def _ewkb(shape: Geometry) -> bytes:
    """With its SRID; in longitude and latitude where it has none."""
    found: bytes = shapely.to_wkb(shapely.set_srid(shape, shapely.get_srid(shape) or 4326), include_srid=True)
    return found


def _seconds(instant: datetime) -> float:
    return (instant - EPOCH).total_seconds()


def _touching() -> Callable[[bytes, bytes], bool]:
    """The exact test of one SQLite connection: whether a footprint touches the shape that is asked for."""

    # Each connection has shapes of its own, since one thread at a time has it: GEOS completes a prepared shape at its
    # first comparisons, while Shapely has let go of Python's lock, and two threads at that kill the process.
    @lru_cache(maxsize=4)
    def prepared(content: bytes) -> Geometry:
        shape = shapely.from_wkb(content)
        shapely.prepare(shape)
        return shape

    return lambda footprint, shape: bool(shapely.intersects(prepared(shape), shapely.from_wkb(footprint)))
