"""Connections to the catalog's database, for whatever of it reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from catalog import dialects
from kartotek.errors import CatalogError


class Connections:
    """A pool of connections to one database. Safe to share between threads; close it when done."""

    def __init__(self, url: str) -> None:
        self.engine = dialects.engine(url)

    def close(self) -> None:
        """Give them up."""
        self.engine.dispose()

    @property
    def place(self) -> str:
        """The database's URL, without its password."""
        return self.engine.url.render_as_string()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read by. Raises CatalogError where the database fails."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise CatalogError(f"{self.place}: {str(reason).partition(chr(10))[0]}") from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction: all that is written by it takes effect, or nothing. Raises as `reading`."""
        with self.reading() as connection, dialects.writing(connection).begin():
            yield connection
