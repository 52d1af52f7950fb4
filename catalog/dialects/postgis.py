"""PostGIS: a geometry, a gist index over it and time, and ST_Intersects."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg import sql
from psycopg.errors import QueryCanceled, UndefinedTable, UniqueViolation
from shapely import Geometry
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Double,
    Engine,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    case,
    cast,
    create_engine,
    delete,
    event,
    exists,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    type_coerce,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError, OperationalError
from sqlalchemy.schema import CreateTable

from catalog.dialects.binding import HERE, Binding
from catalog.dialects.columns import Instant, ewkb
from catalog.dialects.database import JSONS, POOL, PlaceOf, Seconds, Wildcard

IDLE = 1.0
"""Seconds after which a connection may be gone without anybody's having noticed."""


class PostGIS:
    """PostgreSQL with its extensions postgis and btree_gist."""

    tests_slowly = False

    def engine(self, url: URL, milliseconds: int) -> Engine:
        """With custom plans, since a generic one would parse the shape that is asked for again for each row; without
        other processes to help, which take longer to start than most searches: a county's 2 ms, or 20 with them."""
        settings = {
            "plan_cache_mode": "force_custom_plan",
            "max_parallel_workers_per_gather": 0,
            "statement_timeout": milliseconds,
            "timezone": "UTC",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        arguments = {"options": options, "connect_timeout": 5, "application_name": "kartotek"}
        made = create_engine(url, connect_args=arguments, **JSONS, **POOL)
        event.listen(made, "checkin", _left)
        event.listen(made, "checkout", _tried)
        return made

    def reading(self, connection: Connection) -> Connection:
        """Without a transaction, whose beginning and end would be two ways to the server and back."""
        return connection.execution_options(isolation_level="AUTOCOMMIT")

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

    def write_items(
        self, connection: Connection, items: Table, rows: Sequence[Mapping[str, Any]], *, new: bool = False
    ) -> list[tuple[int, bool]]:
        """New ones by COPY; others, or where one came meanwhile, by COPY to a table of the session's own, and one
        statement from there."""
        if new:
            try:
                with connection.begin_nested():
                    return self._copy_items(connection, items, rows)
            except IntegrityError as error:
                if not isinstance(error.orig, UniqueViolation):
                    raise
        names = list(rows[0])
        incoming = Table(
            "incoming",
            MetaData(),
            Column("place", Integer),
            *(Column(name, items.c[name].type) for name in names),
            prefixes=["TEMPORARY"],
            postgresql_on_commit="DELETE ROWS",
        )
        connection.execute(CreateTable(incoming, if_not_exists=True))
        placed = ((place, *(_written(row[name]) for name in names)) for place, row in enumerate(rows))
        _copy(connection, incoming, ["place", *names], placed)
        given = [incoming.c[name] for name in names]
        # In one order, so that no two writers wait for each other.
        adding = postgresql.insert(items).from_select(
            names, select(*given).order_by(incoming.c.collection, incoming.c.id)
        )
        changed = {name: adding.excluded[name] for name in names if name not in ("collection", "id")}
        put = adding.on_conflict_do_update(index_elements=["collection", "id"], set_=changed)
        written = put.returning(
            items.c.pk, items.c.collection, items.c.id, literal_column("xmax = 0", Boolean).label("new")
        ).cte("written")
        same = and_(written.c.collection == incoming.c.collection, written.c.id == incoming.c.id)
        found = connection.execute(
            select(written.c.pk, written.c.new).join_from(written, incoming, same).order_by(incoming.c.place)
        ).all()
        connection.execute(delete(incoming))
        return [(pk, new) for pk, new in found]

    @staticmethod
    def _copy_items(connection: Connection, items: Table, rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, bool]]:
        """New items into their table, which takes half the time. Raises UniqueViolation where one is there."""
        names = list(rows[0])
        numbers = func.nextval(func.pg_get_serial_sequence(items.name, "pk"))
        pks = connection.scalars(select(numbers).select_from(func.generate_series(1, len(rows)))).all()
        # In one order, so that no two writers wait for each other.
        in_turn = sorted(zip(pks, rows, strict=True), key=lambda one: (one[1]["collection"], one[1]["id"]))
        _copy(
            connection, items, ["pk", *names], ((pk, *(_written(row[name]) for name in names)) for pk, row in in_turn)
        )
        return [(pk, True) for pk in pks]

    def index_places(self, connection: Connection, places: Sequence[PlaceOf]) -> None:
        """Nothing: the index is the table's own."""

    def unindex_places(self, connection: Connection, numbers: Sequence[int]) -> None:
        """Nothing."""

    def place_values(
        self, shape: Geometry, start: datetime | None = None, end: datetime | None = None
    ) -> dict[str, Any]:
        """Its EWKB."""
        return {"shape": ewkb(shape)}

    def relates(
        self,
        relation: str,
        pk: ColumnElement[int],
        footprint: ColumnElement[Any],
        values: Mapping[str, Any],
        binding: Binding = HERE,
    ) -> Sequence[ColumnElement[bool]]:
        """By the gist index, then exactly; the times use it too."""
        return [_exact(relation, footprint, values, binding)]

    def count(
        self, relation: str, footprint: ColumnElement[Any], values: Mapping[str, Any], binding: Binding = HERE
    ) -> Select[int]:
        """By count(*)."""
        return select(func.count()).where(_exact(relation, footprint, values, binding))

    def bounds(self, connection: Connection, footprints: Select[Any]) -> tuple[float, float, float, float] | None:
        """By ST_Extent, which is exact."""
        there = footprints.subquery()
        box = func.ST_Extent(there.c[0])
        ends = [getattr(func, name)(box) for name in ("ST_XMin", "ST_YMin", "ST_XMax", "ST_YMax")]
        west, south, east, north = connection.execute(select(*ends).select_from(there)).one()
        return None if west is None else (west, south, east, north)

    def within(self, connection: Connection, wanted: Select[Any], milliseconds: int) -> Any | None:
        """By the statement's own time."""
        try:
            connection.execute(text(f"SET statement_timeout = {int(milliseconds)}"))
            return connection.scalar(wanted)
        except OperationalError as error:
            if self.took_too_long(error.orig):
                return None
            raise
        finally:
            connection.execute(text("SET statement_timeout TO DEFAULT"))

    def limited(self, connection: Connection, milliseconds: int) -> AbstractContextManager[None]:
        """Nothing: PostgreSQL does it itself."""
        return nullcontext()

    def hurried(self, connection: Connection) -> AbstractContextManager[None]:
        """Nothing: writers wait for each other where they write the same rows alone."""
        return nullcontext()

    def took_too_long(self, error: BaseException | None) -> bool:
        """It was canceled."""
        return isinstance(error, QueryCanceled)

    def lacks_table(self, error: BaseException | None) -> bool:
        """It has a class of its own."""
        return isinstance(error, UndefinedTable)

    def period(self, instant: ColumnElement[datetime], interval: str) -> ColumnElement[str]:
        """By to_char."""
        form = {"day": "YYYY-MM-DD", "month": "YYYY-MM-01", "year": "YYYY-01-01"}[interval]
        return func.to_char(func.timezone("UTC", instant), f'{form}"T00:00:00Z"', type_=Text)

    def has(self, facts: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """By jsonb's own operator."""
        return facts.bool_op("?")(name)

    def number(self, facts: ColumnElement[Any], name: str) -> ColumnElement[float]:
        """As a double."""
        return cast(_member(facts, name, "number"), Double)

    def text(self, facts: ColumnElement[Any], name: str) -> ColumnElement[str]:
        """In the collation C."""
        return _member(facts, name, "string").collate("C")

    def boolean(self, facts: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """As a boolean."""
        return cast(_member(facts, name, "boolean"), Boolean)

    def instant(self, facts: ColumnElement[Any], name: str) -> ColumnElement[datetime]:
        """Only what is written as a time is cast: a cast of anything else ends the statement."""
        written = _member(facts, name, "string")
        day = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
        is_time = written.regexp_match(day + r"(T\d\d:\d\d:\d\d\.\d{6}Z)?$")
        return type_coerce(cast(case((is_time, written)), DateTime(timezone=True)), Instant)

    def arrays(
        self,
        op: str,
        facts: ColumnElement[Any],
        name: str,
        *,
        given: Sequence[str | float] | None = None,
        of: str | None = None,
    ) -> ColumnElement[bool]:
        """By jsonb's operators, which take arrays for sets too."""
        mine = _array(facts, name)
        other = cast(literal(orjson.dumps(given).decode()), JSONB) if of is None else _array(facts, of)
        match op:
            case "a_contains":
                return mine.bool_op("@>")(other)
            case "a_containedBy":
                return mine.bool_op("<@")(other)
            case "a_equals":
                return and_(mine.bool_op("@>")(other), mine.bool_op("<@")(other))
        member = func.jsonb_array_elements(other).column_valued("member")
        shared = exists(select(member).where(mine.bool_op("@>")(member)))
        return case((and_(mine.is_not(None), other.is_not(None)), shared))

    def later(self, instant: ColumnElement[datetime], by: timedelta | ColumnElement[int]) -> ColumnElement[datetime]:
        """By an interval."""
        moved = literal(by, Interval) if isinstance(by, timedelta) else func.make_interval(0, 0, 0, 0, 0, 0, by)
        return type_coerce(instant + moved, Instant)

    def arithmetic(self, op: str, one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
        """Whatever would end the statement is null."""
        divisor = func.nullif(other, 0.0, type_=Double)
        match op:
            case "+":
                return one + other
            case "-":
                return one - other
            case "*":
                return one * other
            case "/":
                return one / divisor
            case "div":
                return func.trunc(one / divisor, type_=Double)
            case "%":
                return one - divisor * func.trunc(one / divisor, type_=Double)
        impossible = or_(and_(one < 0, other != func.trunc(other)), and_(one == 0, other < 0))
        return case((impossible, None), else_=func.power(one, other, type_=Double))

    def casei(self, text: ColumnElement[str]) -> ColumnElement[str]:
        """By ICU, whatever the database's language is."""
        return func.lower(func.upper(text.collate("und-x-icu"), type_=Text), type_=Text).collate("C")

    def accenti(self, text: ColumnElement[str]) -> ColumnElement[str]:
        """By Unicode's decomposition."""
        apart = func.normalize(text, literal_column("NFD"), type_=Text)
        return func.regexp_replace(apart, "[\u0300-\u036f]", "", "g", type_=Text).collate("C")

    def like(self, text: ColumnElement[str], pattern: Sequence[str | Wildcard]) -> ColumnElement[bool]:
        """By LIKE."""
        signs = {Wildcard.ONE: "_", Wildcard.ANY: "%", "_": "\\_", "%": "\\%", "\\": "\\\\"}
        return text.like("".join(str(signs.get(part, part)) for part in pattern), escape="\\")


def _member(facts: ColumnElement[Any], name: str, kind: str) -> ColumnElement[str]:
    """A member that is of one of jsonb's types, as text; else null."""
    is_so = func.jsonb_typeof(func.jsonb_extract_path(facts, name)) == kind
    return case((is_so, func.jsonb_extract_path_text(facts, name, type_=Text)))


def _array(facts: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    found = func.jsonb_extract_path(facts, name, type_=JSONB)
    return case((func.jsonb_typeof(found) == "array", found))


def _exact(
    relation: str, footprint: ColumnElement[Any], values: Mapping[str, Any], binding: Binding
) -> ColumnElement[bool]:
    from geoalchemy2 import functions  # slow to load, and of no use to SQLite

    test: Callable[..., ColumnElement[bool]] = getattr(functions, f"ST_{relation.capitalize()}")
    shape = functions.ST_GeomFromEWKB(binding.one("shape", values["shape"], LargeBinary))
    return test(footprint, shape, type_=Boolean)


def _copy(connection: Connection, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows into some columns of a table."""
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), listed)
    ours: Any = connection.connection.dbapi_connection
    try:
        with ours.cursor().copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        # As SQLAlchemy tells what goes wrong in its own statements.
        raise DBAPIError.instance(f"COPY {table.name}", None, error, psycopg.Error) from error


def _written(value: Any) -> Any:
    """A column's value as COPY takes it."""
    if isinstance(value, Geometry):
        return ewkb(value).hex()
    return orjson.dumps(value).decode() if isinstance(value, dict) else value


def _left(_connection: Any, record: Any) -> None:
    """Note when a connection was used last."""
    record.info["left"] = time.monotonic()


def _tried(connection: Any, record: Any, _proxy: object) -> None:
    """Try a connection that nobody has used for a while, so that a restart of the database is felt by few."""
    if time.monotonic() - record.info.get("left", math.inf) < IDLE:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error
