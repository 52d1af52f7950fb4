"""Where the blocks of items' files lie, key by key: kept here, so that serving tiles reads no header of a file.

What is kept is the business of whoever reads the files. Keys carry the hash of what lies under them, so that nothing
here is ever out of date; what belongs to files that are gone is forgotten when these are swept.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, select

from catalog import dialects
from catalog.connections import Connections
from catalog.models import directories
from kartotek.errors import KartotekError

log = logging.getLogger(__name__)


class Directories:
    """The directories of files, in the catalog's database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, keys: Collection[str]) -> Mapping[str, bytes]:
        """Key → what was put, for those of which anything was."""
        wanted = select(directories.c.key, directories.c.content).where(directories.c.key.in_(keys))
        with self._connections.reading() as connection:
            return {row.key: row.content for row in connection.execute(wanted)}

    def put(self, packed: Mapping[str, bytes]) -> None:
        """Keep these, unless the database can't be written just now: whoever needs them reads the files then."""
        try:
            with self._connections.writing(wait=False) as connection:
                put(connection, packed)
        except KartotekError as error:
            log.info("the directories of %d files are not kept: %s", len(packed), error)

    def forget(self, keys: Collection[str]) -> None:
        """Let go of those whose files are gone."""
        with self._connections.writing() as connection:
            connection.execute(delete(directories).where(directories.c.key.in_(keys)))


def put(connection: Connection, packed: Mapping[str, bytes]) -> None:
    """Keep these; those that are kept already stay, since a key always means the same bytes."""
    rows = [{"key": key, "content": content} for key, content in sorted(packed.items())]
    if rows:
        connection.execute(dialects.of(connection).insert(directories).on_conflict_do_nothing(), rows)
