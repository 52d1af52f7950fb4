"""Rebuilding: a catalog made anew from what lies in the storage."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.parquet

from catalog import documents
from catalog.access import OPERATOR
from catalog.store import Catalog
from converters import items, sensors
from jobs import layout, record
from jobs.hold import held
from jobs.layout import Place
from jobs.record import Record
from kartotek.errors import BadRequest, Corrupted, NotFound
from kartotek.squares import RECIPE, Square, from_table
from kartotek.storage import Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What became of one item in the storage."""

    collection: str
    item: str
    entered: bool
    """Whether it was entered; the catalog had it already where not, or `wrong` says why."""
    wrong: str = ""


def rebuild(storage: Storage, catalog: Catalog) -> Iterator[Rebuilt]:
    """Enter all items that lie in the storage and that the catalog has not, with their squares, and yield each.

    An item's JSON is stored once all of its files are durable and checked. Of several, which a crash may leave, one
    with bands comes before one without, and then the newest. A collection is private as its record says; one without
    a record is private, since it may have been. Files are looked for, not read: that is what `verify` does.
    """

    @cache
    def kind(collection: str) -> Record:
        return _collection(storage, collection)

    for collection, item, places in layout.items(storage):
        jsons = [place for place in places if place.is_json]
        if not jsons or catalog.find(OPERATOR, collection, item):
            continue
        try:
            entered = _enter(storage, catalog, kind(collection), collection, item)
            yield Rebuilt(collection=collection, item=item, entered=entered)
        except (Corrupted, BadRequest, NotFound) as error:
            yield Rebuilt(collection=collection, item=item, entered=False, wrong=str(error))


def _enter(storage: Storage, catalog: Catalog, kind: Record, collection: str, item: str) -> bool:
    """Enter an item, its files in hand; False where somebody published it meanwhile."""
    with held(catalog.holds, (collection, item)) as hands:
        keys = list(storage.keys(f"{collection}/{item}/"))
        jsons = [place for key in keys if (place := layout.of_key(key)) and place.is_json]
        if not jsons or catalog.find(OPERATOR, collection, item):
            return False
        right = _right(storage, jsons)
        content = _whole(storage, right)
        document = documents.parsed(content)
        if (document.get("collection"), document["id"]) != (collection, item):
            raise Corrupted(f"{right.key}: is the JSON of {document.get('collection')}/{document['id']}")
        missing = layout.named(collection, item, content).keys() - set(keys)
        if missing:
            raise Corrupted(f"{', '.join(sorted(missing))}: not there; convert the product again")
        counted, recipe = _squares(storage, collection, item, content)
        _enter_collection(catalog, collection, kind)
        catalog.publish(content, collection=kind.content, counted=counted, counted_by=recipe, hold=hands.hold)
    return True


def _right(storage: Storage, jsons: list[Place]) -> Place:
    """The JSON of an item that was visible last: registering takes no bands away, else the newest."""
    if len(jsons) == 1:
        return jsons[0]
    return max(jsons, key=lambda one: (documents.CONVERTED in storage.read(one.key), storage.modified(one.key)))


def _enter_collection(catalog: Catalog, collection: str, kind: Record) -> None:
    """Enter a collection that the catalog has not, before anything of it can be seen."""
    try:
        catalog.collection(OPERATOR, collection)
    except NotFound:
        catalog.put_collection(kind.content, private=kind.private)


def _whole(storage: Storage, place: Place) -> bytes:
    content = storage.read(place.key)
    if layout.of_json(place.collection, place.item, content) != place:
        raise Corrupted(f"{place.key}: {len(content)} bytes with another SHA-256; convert the product again")
    return content


def _squares(storage: Storage, collection: str, item: str, content: bytes) -> tuple[tuple[Square, ...], str]:
    """An item's squares, and the recipe by which they were counted."""
    for key, place in layout.named(collection, item, content).items():
        if place.name == "squares" and place.suffix == "parquet":
            return from_table(pyarrow.parquet.ParquetFile(pa.BufferReader(storage.read(key))).read())
    return (), RECIPE


def _collection(storage: Storage, collection: str) -> Record:
    """A collection's record, or what its sensor says of it. Raises NotFound."""
    found = record.read(storage, collection)
    if found is not None:
        return found
    if kind := sensors.collections().get(collection):
        log.warning("%s: has no record; it is private until you say otherwise", collection)
        return Record(documents.stored(items.document(items.collection(kind))), private=True)
    raise NotFound(f"{collection}: neither a record of this collection nor a sensor that knows it")
