"""All that SQLite and PostGIS do differently; nothing outside this folder asks which of the two it works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from catalog.dialects.columns import EPOCH, MICROSECOND, Facts, Footprint, Instant, Name, Ring
from catalog.dialects.database import POOL, STATEMENT_MS, Database, Seconds, Wildcard
from catalog.dialects.postgis import PostGIS
from catalog.dialects.sqlite import SQLite
from kartotek.errors import BadSettings

__all__ = [
    "EPOCH",
    "MICROSECOND",
    "POOL",
    "STATEMENT_MS",
    "Database",
    "Facts",
    "Footprint",
    "Instant",
    "Name",
    "Ring",
    "Seconds",
    "Wildcard",
]

DATABASES: Mapping[str, Database] = MappingProxyType({"sqlite": SQLite(), "postgresql": PostGIS()})
"""By SQLAlchemy's name of the dialect."""


def of(connection: Connection) -> Database:
    """The kind of database at the other end."""
    return DATABASES[connection.dialect.name]


def engine(url: str, milliseconds: int = STATEMENT_MS) -> Engine:
    """An engine for the catalog's database, which works so long at a statement.

    Raises BadSettings for what is no URL, and for other databases.
    """
    found = _parsed(url)
    return DATABASES[found.get_backend_name()].engine(found, milliseconds)


def took_too_long(error: SQLAlchemyError) -> bool:
    """Whether the database gave up a statement for its time."""
    return isinstance(error, DBAPIError) and any(one.took_too_long(error.orig) for one in DATABASES.values())


def in_memory() -> Engine:
    """An empty database of one connection, gone with it."""
    return SQLite().in_memory()


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
