"""Registering: products made searchable by their metadata alone, each an item whose asset is the product as it lies.

The item's JSON goes into the storage as that of a converted one does, and a transaction for many of them makes them
visible. Conversion replaces them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

from catalog import documents
from catalog.ledger import Failure, Registration, Source, State
from catalog.store import Catalog
from converters import items, sensors
from jobs import layout, reading, record
from jobs.hold import held
from jobs.reading import Metadata, Unread
from jobs.scratch import scratch
from jobs.worker import Limits
from kartotek.errors import MissingProduct
from kartotek.storage import Storage

BATCH = 200
"""Products that one transaction makes visible."""
WRITERS = 8
"""Items that are stored at a time: each waits for a disk or a bucket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A product that has an item now."""

    place: str
    collection: str
    item: str
    converted: bool
    """Whether the item has its bands already; it has stayed as it was then."""


def register(
    sources: Iterable[Source], storage: Storage, catalog: Catalog, limits: Limits, *, processes: int
) -> Iterator[Registered | Unread]:
    """Register products, and yield each as it comes; those that have an item with the same link are left out.

    One whose metadata can't be read is set aside in the ledger, unless it is not there. Whoever is interrupted leaves
    files that nobody sees. Raises StorageError and CatalogError.
    """
    found = reading.read(_unknown(sources, catalog), limits, processes=processes)
    while batch := list(islice(found, BATCH)):
        read = [one for one in batch if isinstance(one, Metadata)]
        unread = [one for one in batch if isinstance(one, Unread)]
        catalog.set_aside([_failure(one) for one in unread if one.cause != MissingProduct.__name__])
        yield from unread
        yield from _visible(read, storage, catalog)


def _unknown(sources: Iterable[Source], catalog: Catalog) -> Iterator[Source]:
    """Those that have no item yet, or one with another link."""
    left = iter(sources)
    while some := list(islice(left, BATCH)):
        known = catalog.registered([source.place for source in some])
        yield from (one for one in some if one.place not in known or known[one.place] != one.href)


def _failure(unread: Unread) -> tuple[Source, Failure]:
    return unread.source, Failure(
        place=unread.source.place, state=State.QUARANTINED, attempts=0, cause=unread.cause, error=unread.reason,
        log="", at=None,
    )  # fmt: skip


def _visible(read: Sequence[Metadata], storage: Storage, catalog: Catalog) -> Iterator[Registered]:
    """Store the items' JSON, and make them visible at once, all of their files in hand meanwhile."""
    if not read:
        return
    kinds = {
        name: documents.stored(items.document(items.collection(kind))) for name, kind in sensors.collections().items()
    }
    entries = [
        Registration(source=one.source, content=one.content, collection=kinds[one.collection], ground=one.ground)
        for one in read
    ]
    with scratch("items") as folder, held(catalog.holds, *{(one.collection, one.item) for one in read}) as hands:
        with ThreadPoolExecutor(WRITERS) as threads:
            paths = [folder / str(number) for number in range(len(read))]
            list(threads.map(_stored, read, paths, repeat(storage)))
        for collection in sorted({one.collection for one in read}):
            record.keep(storage, catalog, collection, kinds[collection])
        seen = catalog.register(entries, hold=hands.hold)
        for one, written in zip(read, seen, strict=True):
            if not written:  # the item has its bands: this JSON is none of it
                hands.check()
                storage.delete(layout.of_json(one.collection, one.item, one.content).key)
    for one, written in zip(read, seen, strict=True):
        yield Registered(place=one.source.place, collection=one.collection, item=one.item, converted=not written)


def _stored(one: Metadata, path: Path, storage: Storage) -> None:
    path.write_bytes(one.content)
    layout.store(storage, layout.of_json(one.collection, one.item, one.content), path)
