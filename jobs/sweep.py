"""Sweeping: files that no item names, left by crashes and by items that were converted anew, are removed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from catalog.access import OPERATOR
from catalog.search import Search
from catalog.store import Catalog
from jobs import layout
from jobs.hold import held
from jobs.layout import Place
from kartotek.errors import BadRequest, Busy, NotStored
from kartotek.storage import Storage

log = logging.getLogger(__name__)

BATCH = 200
"""Items of which the catalog is asked at a time."""
UNFINISHED = timedelta(days=1)
"""The age at which a file that is still being written is so no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was removed of one item, or would be."""

    collection: str
    item: str
    keys: tuple[str, ...]
    bytes: int
    busy: bool = False
    """Whether it was left, since somebody publishes the item just now."""


def sweep(storage: Storage, catalog: Catalog, *, dry: bool = False, force: bool = False) -> Iterator[Swept]:
    """Remove the files that no item of the catalog names, item by item.

    It may be done at any time, beside runs and servers: an item's files are in hand while they are removed, and those
    that are published meanwhile are left. Only what has the name of an item's file is looked at. `dry` removes nothing.
    Raises BadRequest where the storage holds more items that the catalog does not know than items that it knows, as it
    would beside the wrong database, unless `force` says that they are to go.
    """
    for collection, item in _unnamed(storage, catalog, force=force):
        if dry:
            found = _sized(storage, catalog, collection, item)
            yield Swept(collection=collection, item=item, keys=tuple(found), bytes=sum(found.values()))
            continue
        try:
            yield _swept(storage, catalog, collection, item)
        except Busy as error:
            log.info("left: %s", error)
            yield Swept(collection=collection, item=item, keys=(), bytes=0, busy=True)
    if not dry:
        storage.tidy(UNFINISHED)


def _unnamed(storage: Storage, catalog: Catalog, *, force: bool) -> list[tuple[str, str]]:
    """(collection, item) of files that nothing names, once all has been looked at: it may be the wrong database."""
    found, known, unknown = [], 0, 0
    for collection, item, places, content in _beside(storage, catalog):
        known += content is not None
        unknown += content is None and any(place.is_json for place in places)
        if _without_a_name(collection, item, places, content):
            found.append((collection, item))
    if unknown > known and not force:
        raise BadRequest(
            f"{catalog.place} knows {known} of the {known + unknown} items whose files lie in the storage; is it the "
            "right database? `kartotek rebuild` enters the others, `kartotek sweep --force` removes them"
        )
    return found


def _swept(storage: Storage, catalog: Catalog, collection: str, item: str) -> Swept:
    """Remove an item's unnamed files, looked for anew now that nobody publishes it. Raises Busy and LostLease."""
    with held(catalog.holds, (collection, item), patience=0) as hands:
        found = _sized(storage, catalog, collection, item)
        for key in found:
            hands.check()
            storage.delete(key)
        catalog.directories.forget(found)
    return Swept(collection=collection, item=item, keys=tuple(found), bytes=sum(found.values()))


def _sized(storage: Storage, catalog: Catalog, collection: str, item: str) -> dict[str, int]:
    """Key → bytes, of an item's files that nothing names just now."""
    places = [place for key in storage.keys(f"{collection}/{item}/") if (place := layout.of_key(key))]
    found = {}
    for key in _without_a_name(collection, item, places, catalog.find(OPERATOR, collection, item)):
        with suppress(NotStored):  # another has just removed it
            found[key] = storage.size(key)
    return found


def _without_a_name(collection: str, item: str, places: list[Place], content: bytes | None) -> tuple[str, ...]:
    """The keys in the order in which they may go: JSON first, so that none is ever there without what it names."""
    names = {} if content is None else layout.named(collection, item, content)
    return tuple(place.key for place in sorted(places, key=lambda one: not one.is_json) if place.key not in names)


def _beside(storage: Storage, catalog: Catalog) -> Iterator[tuple[str, str, list[Place], bytes | None]]:
    """(collection, item, its files in the storage, its JSON in the catalog)."""
    found = layout.items(storage)
    while some := list(islice(found, BATCH)):
        asked = Search(
            collections=tuple({collection for collection, _, _ in some}),
            ids=tuple({item for _, item, _ in some}),
            limit=BATCH,
        )
        known = {(key.collection, key.id): content for key, content in catalog.walk(OPERATOR, asked)}
        for collection, item, places in some:
            yield collection, item, places, known.get((collection, item))
