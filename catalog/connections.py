"""Connections to the catalog's database, for whatever of it reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from catalog import dialects
from catalog.dialects import STATEMENT_MS
from kartotek.errors import CatalogError, TookTooLong


class Connections:
    """A pool of connections to one database. Safe to share between threads; close it when done."""

    def __init__(self, url: str, *, milliseconds: int = STATEMENT_MS) -> None:
        """`milliseconds` is how long the database works at a question."""
        self.engine = dialects.engine(url, milliseconds)
        self._milliseconds = milliseconds

    def close(self) -> None:
        """Give them up."""
        self.engine.dispose()

    @property
    def place(self) -> str:
        """The database's URL, without its password."""
        return self.engine.url.render_as_string()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read by. Raises CatalogError where the database fails, TookTooLong where it is slow."""
        with self._connected() as connection:
            database = dialects.of(connection)
            with database.limited(connection, self._milliseconds):
                yield database.reading(connection)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            if dialects.took_too_long(error):
                most = f"{self._milliseconds / 1_000:g} s, the most that a question is given"
                words = f"it takes longer than {most}; ask for less: a shorter time, a smaller area, fewer collections"
                raise TookTooLong(words) from error
            raise CatalogError(f"{self.place}: {str(reason).partition(chr(10))[0]}") from error

    @contextmanager
    def writing(self, *, wait: bool = True) -> Iterator[Connection]:
        """A connection in a transaction: all that is written by it takes effect, or nothing. Raises as `reading`.

        Unless it may `wait`, CatalogError too where somebody else writes just now.
        """
        with self._connected() as connection:
            hurry = nullcontext() if wait else dialects.of(connection).hurried(connection)
            with hurry, dialects.writing(connection).begin():
                yield connection
