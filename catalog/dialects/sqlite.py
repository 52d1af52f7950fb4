"""SQLite, the default: EWKB in a blob, an R*Tree over longitude, latitude and time, and Shapely for the exact test."""

from __future__ import annotations

import math
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy
import orjson
import shapely
from shapely import Geometry
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Double,
    Engine,
    Integer,
    LargeBinary,
    Select,
    Table,
    TableClause,
    Text,
    bindparam,
    case,
    cast,
    column,
    create_engine,
    delete,
    event,
    func,
    literal,
    select,
    table,
    text,
    type_coerce,
    union,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from catalog.dialects import folding
from catalog.dialects.binding import HERE, Binding
from catalog.dialects.columns import EPOCH, MICROSECOND, Instant, ewkb
from catalog.dialects.database import JSONS, POOL, PlaceOf, Seconds, Wildcard
from kartotek.errors import BadSettings

MONTH = timedelta(days=30)
_SECOND = timedelta(seconds=1) / MONTH
_INTEGERS = 2**63
"""From here on numbers are no integers to SQLite."""
_POLYGON = b"\x01\x03\x00\x00\x20"
"""How the EWKB of a polygon begins."""
_COORDINATES = 17
"""Bytes before its first position: the beginning, the SRID, how many rings it has and positions the first of them."""
_LEAST = _COORDINATES + 4 * 16
"""Bytes of one that is not empty."""
_CORNERS = struct.Struct("<6d").unpack_from
_SMALL = 400
"""Bytes of a footprint that is counted together with others: a ring of 20 positions."""
_AT_ONCE = 500
"""Footprints that are tested between two looks at the clock."""
_EDGES = ("west", "south", "east", "north")
_JULIAN_1970 = 2440587.5


PATIENCE = 30
"""Seconds for which a writer waits for another one."""


class SQLite:
    """One file; nothing to set up."""

    tests_slowly = True

    _place = table(
        "items_months", *(column(name) for name in ("pk", "west", "east", "south", "north", "first", "last"))
    )
    """The R*Tree; `first` and `last` are months of 30 days since 1970. It keeps 32-bit floats, rounded outwards.

    Months, so that a degree and a step in time weigh about the same when it cuts its boxes: of seconds it would cut by
    time alone, and a place of all times be in every box.
    """

    def engine(self, url: URL, milliseconds: int) -> Engine:
        """With a write-ahead log, foreign keys, 30 s of patience for other writers, and transactions that SQLAlchemy
        begins itself with BEGIN IMMEDIATE for those that write (`writing`); who reads has none, as on PostGIS."""
        if url.database in (None, "", ":memory:"):
            raise BadSettings(
                "KARTOTEK_DATABASE: a database in memory is gone with each connection; give sqlite:///FILE"
            )
        made = create_engine(url, connect_args={"timeout": PATIENCE}, **JSONS, **POOL)
        event.listen(made, "connect", self._set_up)
        event.listen(made, "begin", self._begin)
        return made

    def in_memory(self) -> Engine:
        """A database of one connection, gone with it, that has an index of places and nothing else."""
        made = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}, **JSONS)
        event.listen(made, "connect", self._set_up)
        event.listen(made, "begin", self._begin)
        columns = ", ".join(column.name for column in self._place.c)
        with made.connect() as connection:
            connection.execute(text(f"CREATE VIRTUAL TABLE {self._place.name} USING rtree({columns})"))
        return made

    def reading(self, connection: Connection) -> Connection:
        """As it is."""
        return connection

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

    def write_items(
        self, connection: Connection, items: Table, rows: Sequence[Mapping[str, Any]], *, new: bool = False
    ) -> list[tuple[int, bool]]:
        """Row by row; nobody else writes meanwhile, so that what is there and the next number are known."""
        there: dict[tuple[str, str], int] = {}
        for collection in {row["collection"] for row in rows}:
            names = [row["id"] for row in rows if row["collection"] == collection]
            mine = select(items.c.id, items.c.pk).where(items.c.collection == collection, items.c.id.in_(names))
            there |= {(collection, name): pk for name, pk in connection.execute(mine)}
        following = count((connection.scalar(select(func.max(items.c.pk))) or 0) + 1)
        found = []
        for row in rows:
            pk = there.get((row["collection"], row["id"]))
            found.append((next(following), True) if pk is None else (pk, False))
        added = [{**row, "pk": pk} for row, (pk, is_new) in zip(rows, found, strict=True) if is_new]
        old = [{**row, "row": pk} for row, (pk, is_new) in zip(rows, found, strict=True) if not is_new]
        if added:
            _insert(connection, items, added)
        if old:
            connection.execute(update(items).where(items.c.pk == bindparam("row")), old)
        return found

    def index_places(self, connection: Connection, places: Sequence[PlaceOf]) -> None:
        """Rows in the R*Tree, in the place of those that are there."""
        rows = [
            {"pk": pk, **dict(zip(_EDGES, shape.bounds, strict=True)),
             "first": _months(start), "last": _months(end)}
            for pk, shape, start, end in places
        ]  # fmt: skip
        if rows:
            _insert(connection, self._place, rows, "OR REPLACE ")

    def unindex_places(self, connection: Connection, numbers: Sequence[int]) -> None:
        """Remove the rows."""
        connection.execute(delete(self._place).where(self._place.c.pk.in_(numbers)))

    def place_values(
        self, shape: Geometry, start: datetime | None = None, end: datetime | None = None
    ) -> dict[str, Any]:
        """Its WKB, the edges of boxes around it, and months."""
        found: dict[str, Any] = {"shape": shapely.to_wkb(shape)}
        parts = shapely.get_parts(shape)
        # Two boxes for what is cut at 180 degrees; for many parts one box around them all, since each costs a look-up.
        for number, part in enumerate(parts if len(parts) <= 2 else [shape]):
            found |= {f"{edge}{number}": at for edge, at in zip(_EDGES, part.bounds, strict=True)}
        if start is not None:
            found["since"] = _months(start) - _SECOND
        if end is not None:
            found["until"] = _months(end) + _SECOND
        return found

    def relates(
        self,
        relation: str,
        pk: ColumnElement[int],
        footprint: ColumnElement[Any],
        values: Mapping[str, Any],
        binding: Binding = HERE,
    ) -> Sequence[ColumnElement[bool]]:
        """Candidates by the R*Tree, then exactly."""
        place, candidates = self._place, []

        def number(name: str) -> ColumnElement[float]:
            return binding.one(name, values[name], Double)

        for box in takewhile(lambda box: f"west{box}" in values, count()):
            west, south, east, north = (number(f"{edge}{box}") for edge in _EDGES)
            near = select(place.c.pk).where(
                place.c.east >= west, place.c.west <= east, place.c.north >= south, place.c.south <= north
            )
            if "since" in values:
                near = near.where(place.c.last >= number("since"))
            if "until" in values:
                near = near.where(place.c.first <= number("until"))
            candidates.append(near)
        # Candidates come by `pk IN (...)`, which is what SQLite uses the R*Tree for: it calls the function for those
        # alone.
        of_them = pk.in_(union(*candidates) if len(candidates) > 1 else candidates[0])
        return [of_them, _exact(relation, footprint, values, binding)]

    def count(
        self, relation: str, footprint: ColumnElement[Any], values: Mapping[str, Any], binding: Binding = HERE
    ) -> Select[int]:
        """By a function that tests footprints together, which is a tenth of the work; large ones one by one.

        They come to it as one text: each call of Python waits for its turn among threads.
        """
        given, is_small = binding.one("shape", values["shape"], LargeBinary), func.length(footprint) <= _SMALL
        together = func.group_concat(case((is_small, func.hex(footprint))))
        alone = case((is_small, 0), else_=_exact(relation, footprint, values, binding))
        return select(func.kartotek_number(relation, together, given) + func.total(alone, type_=Integer))

    def bounds(self, connection: Connection, footprints: Select[Any]) -> tuple[float, float, float, float] | None:
        """By Shapely: the R*Tree's are rounded outwards."""
        found = [shapely.bounds(list(part)) for part in connection.scalars(footprints).yield_per(10_000).partitions()]
        if not found:
            return None
        west, south = numpy.vstack(found)[:, :2].min(axis=0).tolist()
        east, north = numpy.vstack(found)[:, 2:].max(axis=0).tolist()
        return west, south, east, north

    def within(self, connection: Connection, wanted: Select[Any], milliseconds: int) -> Any | None:
        """As `limited`."""
        try:
            with self.limited(connection, milliseconds):
                return connection.scalar(wanted)
        except OperationalError as error:
            if self.took_too_long(error.orig):
                return None
            raise

    @contextmanager
    def limited(self, connection: Connection, milliseconds: int) -> Iterator[None]:
        """By a handler that SQLite asks every so often whether it is to go on."""
        before = connection.info.get("until")
        _stop_after(connection, min(time.monotonic() + milliseconds / 1_000, before or math.inf))
        try:
            yield
        finally:
            _stop_after(connection, before)

    @contextmanager
    def hurried(self, connection: Connection) -> Iterator[None]:
        """By SQLite's own patience, which each connection has."""
        plain = connection.connection.driver_connection
        if not isinstance(plain, sqlite3.Connection):
            raise TypeError(f"{type(plain).__name__} is no connection of SQLite")
        plain.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            plain.execute(f"PRAGMA busy_timeout = {1000 * PATIENCE}")

    def took_too_long(self, error: BaseException | None) -> bool:
        """It was interrupted."""
        return isinstance(error, sqlite3.OperationalError) and "interrupted" in str(error)

    def lacks_table(self, error: BaseException | None) -> bool:
        """It says so in words."""
        return isinstance(error, sqlite3.OperationalError) and "no such table" in str(error)

    def period(self, instant: ColumnElement[datetime], interval: str) -> ColumnElement[str]:
        """By strftime."""
        form = {"day": "%Y-%m-%d", "month": "%Y-%m-01", "year": "%Y-01-01"}[interval]
        seconds = cast(type_coerce(instant, BigInteger), Double) / 1_000_000.0
        return func.strftime(f"{form}T00:00:00Z", seconds, "unixepoch", type_=Text)

    def has(self, facts: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """By the type that JSON gives it."""
        return func.json_type(facts, _path(name)).is_not(None)

    def number(self, facts: ColumnElement[Any], name: str) -> ColumnElement[float]:
        """An integer too, as a double: 1 / 2 would be 0."""
        return cast(_member(facts, name, "integer", "real"), Double)

    def text(self, facts: ColumnElement[Any], name: str) -> ColumnElement[str]:
        """As it is."""
        return type_coerce(_member(facts, name, "text"), Text)

    def boolean(self, facts: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """1 or 0."""
        return type_coerce(_member(facts, name, "true", "false"), Boolean)

    def instant(self, facts: ColumnElement[Any], name: str) -> ColumnElement[datetime]:
        """Microseconds since 1970."""
        written = _member(facts, name, "text")
        seconds = cast(func.strftime("%s", func.substr(written, 1, 19)), BigInteger)
        fraction = cast(func.substr(written, 21, 6), BigInteger)
        return type_coerce(type_coerce(seconds * 1_000_000 + fraction, BigInteger), Instant)

    def arrays(
        self,
        op: str,
        facts: ColumnElement[Any],
        name: str,
        *,
        given: Sequence[str | float] | None = None,
        of: str | None = None,
    ) -> ColumnElement[bool]:
        """By a function in Python."""
        other = literal(orjson.dumps(given).decode()) if of is None else _member(facts, of, "array")
        return func.kartotek_arrays(op, _member(facts, name, "array"), other, type_=Boolean)

    def later(self, instant: ColumnElement[datetime], by: timedelta | ColumnElement[int]) -> ColumnElement[datetime]:
        """In microseconds."""
        moved = literal(by // MICROSECOND, BigInteger) if isinstance(by, timedelta) else by * 1_000_000
        return type_coerce(instant.op("+")(moved), Instant)

    def arithmetic(self, op: str, one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
        """In SQL, or by a function in Python."""
        match op:
            case "+":
                return one + other
            case "-":
                return one - other
            case "*":
                return one * other
            case "/":
                return one / func.nullif(other, 0.0, type_=Double)
        return func.kartotek_arithmetic(op, one, other, type_=Double)

    def casei(self, text: ColumnElement[str]) -> ColumnElement[str]:
        """By Python: SQLite knows ASCII alone."""
        return func.kartotek_casei(text, type_=Text)

    def accenti(self, text: ColumnElement[str]) -> ColumnElement[str]:
        """By Python."""
        return func.kartotek_accenti(text, type_=Text)

    def like(self, text: ColumnElement[str], pattern: Sequence[str | Wildcard]) -> ColumnElement[bool]:
        """By GLOB: SQLite's LIKE takes upper and lower case of ASCII for the same."""
        signs = {Wildcard.ONE: "?", Wildcard.ANY: "*", "?": "[?]", "*": "[*]", "[": "[[]"}
        return text.bool_op("GLOB")("".join(str(signs.get(part, part)) for part in pattern))

    @staticmethod
    def _set_up(connection: Any, record: Any) -> None:
        """Set up a new connection."""
        if not isinstance(connection, sqlite3.Connection):
            return
        connection.isolation_level = None  # transactions are begun by `_begin`
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        relates, number = _relations(connection, record.info)
        functions: Mapping[str, tuple[int, Callable[..., Any]]] = {
            "relates": (3, relates),
            "number": (3, number),
            "arrays": (3, _arrays),
            "arithmetic": (3, _arithmetic),
            "casei": (1, _on_text(folding.casei)),
            "accenti": (1, _on_text(folding.accenti)),
        }
        for name, (arguments, function) in functions.items():
            connection.create_function(f"kartotek_{name}", arguments, function, deterministic=True)

    @staticmethod
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writing"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _exact(
    relation: str, footprint: ColumnElement[Any], values: Mapping[str, Any], binding: Binding
) -> ColumnElement[bool]:
    given = binding.one("shape", values["shape"], LargeBinary)
    return func.kartotek_relates(relation, footprint, given, type_=Boolean)


def _insert(
    connection: Connection, table: Table | TableClause, rows: Sequence[Mapping[str, Any]], how: str = ""
) -> None:
    """Many rows; SQLAlchemy takes as long to look at each of their values as SQLite to write them."""
    quote = connection.dialect.identifier_preparer.quote
    names = list(rows[0])
    into = f"{table.name} ({', '.join(map(quote, names))}) VALUES ({', '.join('?' * len(names))})"
    values = [tuple(_written(row[name]) for name in names) for row in rows]
    connection.exec_driver_sql(f"INSERT {how}INTO {into}", values)


def _written(value: Any) -> Any:
    """A column's value as SQLite keeps it."""
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND
    if isinstance(value, Geometry):
        return ewkb(value)
    if isinstance(value, int) and abs(value) >= _INTEGERS:
        return float(value)
    return orjson.dumps(value).decode() if isinstance(value, dict) else value


def _stop_after(connection: Connection, until: float | None) -> None:
    """Have statements interrupted from a time on."""
    connection.info["until"] = until
    ours: Any = connection.connection.dbapi_connection
    ours.set_progress_handler(None if until is None else lambda: time.monotonic() > until, 20_000)


def _months(instant: datetime) -> float:
    return (instant - EPOCH) / MONTH


def _path(name: str) -> str:
    """Where a member stands in JSON; names with quotes and backslashes are in no facts."""
    return f'$."{name}"'


def _member(facts: ColumnElement[Any], name: str, *types: str) -> ColumnElement[Any]:
    """A member that is of one of JSON's types as SQLite names them, else null."""
    return case((func.json_type(facts, _path(name)).in_(types), func.json_extract(facts, _path(name))))


def _relations(
    connection: sqlite3.Connection, info: Mapping[str, Any]
) -> tuple[Callable[[str, bytes, bytes], bool | None], Callable[[str, str | None, bytes], int | None]]:
    """The exact test of a connection: whether a footprint is so to the shape that is asked for, and how many are.

    `info` holds until when statements may go on. SQLite asks every so many of its own steps, not after each of ours.
    """

    # Each connection has shapes of its own, since one thread at a time has it: GEOS completes a prepared shape at its
    # first comparisons, while Shapely has let go of Python's lock, and two threads at that kill the process.
    @lru_cache(maxsize=4)
    def prepared(content: bytes) -> tuple[Geometry, tuple[float, float, float, float] | None]:
        """With its edges, where it is a box."""
        shape = shapely.from_wkb(content)
        shapely.prepare(shape)
        west, south, east, north = shape.bounds
        positions = list(map(tuple, shapely.get_coordinates(shape).tolist())) if shape.geom_type == "Polygon" else []
        is_box = len(positions) == 5 and set(positions) == {(x, y) for x in (west, east) for y in (south, north)}
        return shape, shape.bounds if is_box else None

    # From the shape's side, which is the one that is prepared.
    turned = {"within": shapely.contains, "contains": shapely.within}

    def test(relation: str) -> Callable[..., Any]:
        return turned.get(relation) or getattr(shapely, relation)  # type: ignore[no-any-return]

    def too_late() -> bool:
        until = info.get("until")
        late = until is not None and time.monotonic() > until
        if late:
            connection.interrupt()
        return late

    def relates(relation: str, footprint: bytes, shape: bytes) -> bool | None:
        given, box = prepared(shape)
        # Most that are asked about have a corner in there, which takes a tenth of the time to see.
        if relation == "intersects" and len(footprint) >= _LEAST and footprint.startswith(_POLYGON):
            x, y, _, _, other_x, other_y = _CORNERS(footprint, _COORDINATES)
            if box is None:
                if shapely.intersects_xy(given, x, y):
                    return True
            elif (box[0] <= x <= box[2] and box[1] <= y <= box[3]) or (
                box[0] <= other_x <= box[2] and box[1] <= other_y <= box[3]
            ):
                return True
        return None if too_late() else bool(test(relation)(given, shapely.from_wkb(footprint)))

    def number(relation: str, footprints: str | None, shape: bytes) -> int | None:
        given, _ = prepared(shape)
        texts, found = footprints.split(",") if footprints else [], 0
        for start in range(0, len(texts), _AT_ONCE):
            if too_late():
                return None
            some = shapely.from_wkb(list(map(bytes.fromhex, texts[start : start + _AT_ONCE])))
            found += int(test(relation)(given, some).sum())
        return found

    return relates, number


def _arrays(op: str, one: str | None, other: str | None) -> bool | None:
    if one is None or other is None:
        return None
    mine, given = ({(isinstance(member, bool), member) for member in orjson.loads(text)} for text in (one, other))
    match op:
        case "a_contains":
            return mine >= given
        case "a_containedBy":
            return mine <= given
        case "a_equals":
            return mine == given
    return bool(mine & given)


def _arithmetic(op: str, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    try:
        match op:
            case "%":
                return math.fmod(one, other)
            case "div":
                return float(math.trunc(one / other))
        return float(one**other)
    except (ZeroDivisionError, OverflowError, TypeError, ValueError):  # a complex number is no float
        return None


def _on_text(function: Callable[[str], str]) -> Callable[[Any], str | None]:
    """A function of a text, for SQL."""
    return lambda text: function(text) if isinstance(text, str) else None
