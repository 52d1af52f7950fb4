"""What the catalog asks of a kind of database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import orjson
from shapely import Geometry
from sqlalchemy import ColumnElement, Connection, Engine, Select, Table
from sqlalchemy.engine import URL

from catalog.dialects.binding import HERE, Binding

Seconds = float | ColumnElement[float]
PlaceOf = tuple[int, Geometry, datetime, datetime]
"""An item's number, its footprint, its start and its end."""

STATEMENT_MS = 8_000
"""How long a database works at a statement, unless another time is given."""

POOL = {"pool_size": 10, "max_overflow": 30, "pool_timeout": 1}
"""As many connections as the server has threads; whoever finds none for a second is told to come again."""


JSONS: dict[str, Callable[[Any], Any]] = {
    "json_serializer": lambda value: orjson.dumps(value).decode(),
    "json_deserializer": orjson.loads,
}
"""What writes and reads columns of JSON."""


class Database(Protocol):
    """What the catalog asks of a kind of database."""

    tests_slowly: bool
    """Whether the exact test of `relates` takes so long that items are better put in order first."""

    def engine(self, url: URL, milliseconds: int) -> Engine:
        """Connections, as a server with threads wants them; no statement takes longer, if the database sees to it."""
        ...

    def limited(self, connection: Connection, milliseconds: int) -> AbstractContextManager[None]:
        """Statements end in an error that take longer, where the engine doesn't see to it."""
        ...

    def hurried(self, connection: Connection) -> AbstractContextManager[None]:
        """A transaction that writes fails at once where it would wait for another one."""
        ...

    def took_too_long(self, error: BaseException | None) -> bool:
        """Whether an error of the driver says that a statement took too long."""
        ...

    def reading(self, connection: Connection) -> Connection:
        """The connection as one that only reads wants it."""
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

    def write_items(
        self, connection: Connection, items: Table, rows: Sequence[Mapping[str, Any]], *, new: bool = False
    ) -> list[tuple[int, bool]]:
        """Enter items, or what takes the place of those of the same collection and id: each one's number, and whether
        it is new. No two of the rows are of one item. `new` says that none of them was there a moment ago.
        """
        ...

    def index_places(self, connection: Connection, places: Sequence[PlaceOf]) -> None:
        """Enter items, or their new places, into the index of places, where that doesn't happen by itself."""
        ...

    def unindex_places(self, connection: Connection, numbers: Sequence[int]) -> None:
        """Take items out of the index of places, where that doesn't happen by itself."""
        ...

    def place_values(
        self, shape: Geometry, start: datetime | None = None, end: datetime | None = None
    ) -> dict[str, Any]:
        """What `relates` has to know of a shape, and of times, which may narrow the candidates only; by names."""
        ...

    def relates(
        self,
        relation: str,
        pk: ColumnElement[int],
        footprint: ColumnElement[Any],
        values: Mapping[str, Any],
        binding: Binding = HERE,
    ) -> Sequence[ColumnElement[bool]]:
        """Whether an item's footprint is so to a shape, which it must touch for that: intersects, within, equals ...

        The exact test is the last of the conditions; before it there may be one of an index, which the database does
        not think of itself. `values` is what `place_values` gave.
        """
        ...

    def count(
        self, relation: str, footprint: ColumnElement[Any], values: Mapping[str, Any], binding: Binding = HERE
    ) -> Select[int]:
        """A query for how many footprints are so to a shape, of those that the conditions of `relates` before its last
        leave over."""
        ...

    def bounds(self, connection: Connection, footprints: Select[Any]) -> tuple[float, float, float, float] | None:
        """West, south, east, north of all the geometries that a query gives; None where it gives none."""
        ...

    def within(self, connection: Connection, wanted: Select[Any], milliseconds: int) -> Any | None:
        """What a query for one value gives; None where it takes longer."""
        ...

    def lacks_table(self, error: BaseException | None) -> bool:
        """Whether an error of the driver says that there is no such table."""
        ...

    def period(self, instant: ColumnElement[datetime], interval: str) -> ColumnElement[str]:
        """The beginning, in UTC, of the day, the month or the year of a time, such as 2024-06-01T00:00:00Z."""
        ...

    # Facts: members of a JSON object, null where they are absent or of another kind

    def has(self, facts: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Whether there is such a member."""
        ...

    def number(self, facts: ColumnElement[Any], name: str) -> ColumnElement[float]:
        """A member that is a number."""
        ...

    def text(self, facts: ColumnElement[Any], name: str) -> ColumnElement[str]:
        """A member that is a text, compared by its letters' codes."""
        ...

    def boolean(self, facts: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """A member that is true or false."""
        ...

    def instant(self, facts: ColumnElement[Any], name: str) -> ColumnElement[datetime]:
        """A member that is a time, or the midnight of one that is a date, as `catalog.facts` writes them."""
        ...

    def arrays(
        self,
        op: str,
        facts: ColumnElement[Any],
        name: str,
        *,
        given: Sequence[str | float] | None = None,
        of: str | None = None,
    ) -> ColumnElement[bool]:
        """CQL2's a_contains, a_containedBy, a_equals, a_overlaps of a member that is an array, and a given one or
        another member."""
        ...

    # What filters compute

    def later(self, instant: ColumnElement[datetime], by: timedelta | ColumnElement[int]) -> ColumnElement[datetime]:
        """A time moved; a column is of seconds."""
        ...

    def arithmetic(self, op: str, one: ColumnElement[float], other: ColumnElement[float]) -> ColumnElement[float]:
        """+ - * / % div ^ of doubles; null where there is no result, as of a division by zero."""
        ...

    def casei(self, text: ColumnElement[str]) -> ColumnElement[str]:
        """As `catalog.filters.values.casei`."""
        ...

    def accenti(self, text: ColumnElement[str]) -> ColumnElement[str]:
        """As `catalog.filters.values.accenti`."""
        ...

    def like(self, text: ColumnElement[str], pattern: Sequence[str | Wildcard]) -> ColumnElement[bool]:
        """Whether a text has a pattern: letters, and wildcards between them."""
        ...


class Wildcard(Enum):
    """What stands for other letters in a pattern."""

    ONE = "one letter"
    ANY = "any letters, or none"
