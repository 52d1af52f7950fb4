"""One item on its way into the tables: its row, its place, and what it adds to its collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shapely import Geometry
from shapely.geometry import shape
from sqlalchemy import Connection, delete, insert, select, update

from catalog import dialects, documents, tally
from catalog.contents import Contents
from catalog.facts import columns
from catalog.models import items, rings
from catalog.questions import instant
from catalog.rings import ring
from catalog.tally import Tally
from kartotek.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Entry:
    """An item."""

    content: bytes
    """Its JSON, in the form that is stored."""
    document: Mapping[str, Any]
    row: Mapping[str, Any]
    """Its columns, but for the JSON, which is packed when it is written."""
    ring: Geometry | None
    """Its outline, where the footprint is cut."""

    @property
    def collection(self) -> str:
        """The id of its collection."""
        return str(self.row["collection"])


def entry(content: bytes) -> Entry:
    """An item from its JSON. Raises BadRequest where this is not as `documents.stored` gives it, or no item."""
    document = documents.parsed(content)
    if documents.stored(document) != content:
        raise BadRequest(f"{document['id']}: not in the form that is stored; make it by catalog.documents.stored")
    return Entry(content, document, _row(document), ring(document))


def put(
    connection: Connection, contents: Contents, one: Entry, *, keep: bytes | None = None
) -> tuple[int, bytes | None]:
    """Write an item's row: its number, and the JSON that was there before; where that holds `keep` it stays.

    Of two writers at once one has added the item and the other replaced it, so that what is counted is right.
    """
    packed = contents.packed(connection, one.collection, one.document, one.content)
    row = {**one.row, "content": packed}
    adding = dialects.of(connection).insert(items).values(row).on_conflict_do_nothing().returning(items.c.pk)
    pk = connection.scalar(adding)
    if pk is not None:
        return pk, None
    mine = (items.c.collection == one.collection, items.c.id == one.row["id"])
    found = connection.execute(select(items.c.pk, items.c.content).where(*mine).with_for_update()).one()
    before = contents.whole(found.content)
    if before != one.content and not (keep and keep in before):
        connection.execute(update(items).where(items.c.pk == found.pk).values(row))
    return found.pk, before


def place(connection: Connection, pk: int, one: Entry) -> None:
    """Enter where an item is found, and its outline where it is cut."""
    dialects.of(connection).index_place(connection, pk, one.row["footprint"], one.row["start"], one.row["end"])
    connection.execute(delete(rings).where(rings.c.item == pk))
    if one.ring is not None:
        connection.execute(insert(rings).values(item=pk, ring=one.ring))


def adds(one: Entry, *, replaced: bool) -> Tally:
    """What an item adds to its collection; one in the place of another may have taken something too."""
    found = tally.of_item(one.document["properties"], one.row["footprint"].bounds, one.row["start"], one.row["end"])
    return replace(found, count=0, removed=True) if replaced else found


def _row(document: Mapping[str, Any]) -> dict[str, Any]:
    properties = document["properties"]
    stated = properties.get("datetime")
    start, end = properties.get("start_datetime") or stated, properties.get("end_datetime") or stated
    return {
        "collection": document["collection"],
        "id": document["id"],
        "footprint": shape(document["geometry"]),
        "datetime": instant(stated or start),
        "start": instant(start),
        "end": instant(end),
        **columns(properties),
    }
