"""How much clear ground items have somewhere, by the counts of their index squares."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, tuple_

from catalog.access import Reader, visible
from catalog.models import items, squares
from catalog.order import Place
from kartotek.grids import Bounds
from kartotek.squares import SIZE

SOME = 500
"""Items that one statement asks for."""


def clear(
    connection: Connection, reader: Reader, places: Sequence[Place], bounds: Bounds
) -> dict[tuple[str, str], int]:
    """(collection, id) → clear pixels of 20 m in the squares that touch `bounds`, in EPSG:3006.

    Items without squares there, or whose squares say nothing of clouds, are left out.
    """
    found: dict[tuple[str, str], int] = {}
    for start in range(0, len(places), SOME):
        named = [(place.collection, place.id) for place in places[start : start + SOME]]
        wanted = (
            select(items.c.collection, items.c.id, func.sum(squares.c.clear))
            .join(squares, squares.c.item == items.c.pk)
            .where(
                tuple_(items.c.collection, items.c.id).in_(named),
                visible(reader, items.c.collection),
                squares.c.east > bounds.left - SIZE,
                squares.c.east < bounds.right,
                squares.c.north > bounds.bottom - SIZE,
                squares.c.north < bounds.top,
            )
            .group_by(items.c.collection, items.c.id)
        )
        rows = connection.execute(wanted)
        found |= {(collection, name): int(count) for collection, name, count in rows if count is not None}
    return found
