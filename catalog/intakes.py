"""How far items of other catalogues have come in: what a source says of where to go on, kept until it is through."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from catalog import dialects
from catalog.connections import Connections
from catalog.models import intakes


class Intakes:
    """Where to go on with each source, in the catalog's database."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def place(self, source: str) -> Any | None:
        """Where to go on; None at the beginning."""
        wanted = select(intakes.c.place).where(intakes.c.source == source)
        with self._connections.reading() as connection:
            return connection.scalar(wanted)

    def reached(self, source: str, place: Any) -> None:
        """All before this is in."""
        with self._connections.writing() as connection:
            dialects.upsert(connection, intakes, {"source": source, "place": place}, key=["source"])

    def through(self, source: str) -> None:
        """All is in; the next time begins at the beginning."""
        with self._connections.writing() as connection:
            connection.execute(delete(intakes).where(intakes.c.source == source))
