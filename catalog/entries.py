"""One item on its way into the tables: its row, its place, and what it adds to its collection."""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import orjson
import shapely
from shapely import Geometry
from shapely.errors import ShapelyError
from sqlalchemy import Connection, delete, insert, select, update

from catalog import dialects, documents, tally
from catalog.contents import Contents
from catalog.facts import columns
from catalog.models import items, rings
from catalog.questions import instant
from catalog.rings import ring
from catalog.tally import Tally
from kartotek import footprints
from kartotek.errors import BadRequest
from kartotek.storage import MARKER, PRODUCTS

_OURS = (MARKER, PRODUCTS)
ROUNDED = 1e-6
"""Degrees by which others round beyond the edge of the earth."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item."""

    content: bytes
    """Its JSON, in the form that is stored."""
    head: int
    """How many bytes of it stand before the assets."""
    row: Mapping[str, Any]
    """Its columns, but for the JSON, which is packed when it is written."""
    ring: Geometry | None
    """Its outline, where the footprint is cut."""
    squares: str | None
    """Where its counts per index square lie."""

    @property
    def collection(self) -> str:
        """The id of its collection."""
        return str(self.row["collection"])


def entry(content: bytes) -> Entry:
    """An item from its JSON. Raises BadRequest where this is not as `documents.stored` gives it, or no item."""
    found = of(documents.parsed(content))
    if found.content != content:
        raise BadRequest(f"{found.row['id']}: not in the form that is stored; make it by catalog.documents.stored")
    return found


def of(document: Mapping[str, Any]) -> Entry:
    """An item from its JSON, parsed by `documents.parsed`. Raises BadRequest where it can't be entered."""
    content, row = documents.stored(document), _row(document)
    return Entry(content, documents.head(document, content), row, ring(document), squares_of(document))


def squares_of(document: Mapping[str, Any]) -> str | None:
    """The href of an item's counts per index square, which changes with every byte of them; None where it has none."""
    asset = document.get("assets", {}).get("squares")
    return str(asset.get("href")) if isinstance(asset, Mapping) else None


def put(
    connection: Connection, contents: Contents, one: Entry, *, keep: bytes | None = None
) -> tuple[int, bytes | None]:
    """Write an item's row: its number, and the JSON that was there before; where that holds `keep` it stays.

    Of two writers at once one has added the item and the other replaced it, so that what is counted is right.
    """
    packed = contents.packed(contents.dictionary(connection, one.collection), one.content, one.head)
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
    places(connection, [(pk, one)])


def places(connection: Connection, written: Sequence[tuple[int, Entry]]) -> None:
    """Enter where items are found, and the outlines of those that are cut."""
    index = [(pk, one.row["footprint"], one.row["start"], one.row["end"]) for pk, one in written]
    dialects.of(connection).index_places(connection, index)
    connection.execute(delete(rings).where(rings.c.item.in_([pk for pk, _ in written])))
    cut = [{"item": pk, "ring": one.ring} for pk, one in written if one.ring is not None]
    if cut:
        connection.execute(insert(rings), cut)


def adds(written: Iterable[tuple[Entry, bool]]) -> dict[str, Tally]:
    """Collection → what items add to it, each with whether it is new; one in another's place may take something too."""
    of_each = defaultdict[str, list[Entry]](list)
    new = Counter[str]()
    for one, added in written:
        of_each[one.collection].append(one)
        new[one.collection] += added
    return {
        name: replace(tally.of_rows([one.row for one in some]), count=new[name], removed=new[name] < len(some))
        for name, some in of_each.items()
    }


def _row(document: Mapping[str, Any]) -> dict[str, Any]:
    name = f"item {str(document.get('id'))[:100]!r}"
    properties, collection = document.get("properties"), document.get("collection")
    if not isinstance(properties, Mapping):
        raise BadRequest(f"{name}: properties must be a JSON object")
    if not isinstance(collection, str) or "\0" in collection:
        raise BadRequest(f"{name}: collection must be the id of a collection")
    assets = document.get("assets", {})
    if not isinstance(assets, dict) or not all(isinstance(asset, dict) for asset in assets.values()):
        raise BadRequest(f"{name}: assets must be a JSON object of JSON objects")
    own = (f"{MARKER}{collection}/{document['id']}/", f"{PRODUCTS}{collection}/{document['id']}.")
    for asset in assets.values():
        href = str(asset.get("href"))
        # Else whoever may read this item could read the files of another by it.
        if href.startswith(_OURS) and (not href.startswith(own) or "/../" in href):
            raise BadRequest(f"{name}: {href[:200]!r} is a file of another item")
    stated = properties.get("datetime")
    start, end = properties.get("start_datetime") or stated, properties.get("end_datetime") or stated
    if not (isinstance(start, str) and isinstance(end, str)):
        raise BadRequest(f"{name}: datetime is needed, or start_datetime and end_datetime")
    try:
        begins, ends = instant(start), instant(end)
        at = instant(stated) if isinstance(stated, str) else begins
        return {
            "collection": collection,
            "id": document["id"],
            "footprint": _footprint(document.get("geometry")),
            "datetime": at,
            # Its datetime is an instant of every item, whatever it says besides.
            "start": min(begins, at),
            "end": max(ends, at),
            **columns(document),
        }
    except (BadRequest, ValueError, ShapelyError) as error:
        raise BadRequest(f"{name}: {error}") from None


def _polygon(geometry: Any) -> Geometry | None:
    """A polygon of one ring of two numbers a position, as most are, by a fifth of what GEOS takes; None for others."""
    match geometry:
        case {"type": "Polygon", "coordinates": [[first, _, _, *_, last] as ring]} if first == last:
            if all(isinstance(position, list) and len(position) == 2 for position in ring):
                numbers = list(chain.from_iterable(ring))
                # Whatever else is in there is for GEOS to refuse: NaN, what is no number, what no double can hold.
                if set(map(type, numbers)) <= {int, float} and all(-1e9 < number < 1e9 for number in numbers):
                    return shapely.from_wkb(struct.pack(f"<BIII{len(numbers)}d", 1, 3, 1, len(ring), *numbers))
    return None


def _footprint(geometry: Any) -> Geometry:
    if geometry is None:
        raise BadRequest("geometry: items without a place are not kept")
    # GEOS reads it at a fifth of the time that Shapely takes in Python.
    found = _polygon(geometry) or shapely.from_geojson(orjson.dumps(geometry), on_invalid="ignore")
    if found is None or found.is_empty:
        raise BadRequest("geometry: no GeoJSON geometry")
    west, south, east, north = shapely.bounds(found).tolist()
    if not (-360 <= west <= east <= 360 and -90 - ROUNDED <= south <= north <= 90 + ROUNDED):  # NaN is outside too
        raise BadRequest("geometry: positions must be longitude, latitude in degrees")
    whole = found
    if west < -180 - ROUNDED or east > 180 + ROUNDED:
        # One that runs on across 180 degrees is found on both sides of it.
        whole = footprints.valid(shapely.force_2d(found))
    elif not shapely.is_valid(found):
        # The item keeps what it has; a footprint that crosses itself would end searches of others with an error.
        whole = shapely.make_valid(found)
    if whole.is_empty:
        raise BadRequest("geometry: nothing is left of it where it is cut at 180 degrees")
    return shapely.force_2d(whole)
