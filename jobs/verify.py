"""Verifying: every file of every item read again, and compared with what the item says of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from catalog.access import OPERATOR
from catalog.search import Search
from catalog.store import Catalog
from jobs import fetch, layout
from jobs.hold import held
from jobs.layout import Place
from kartotek.errors import NotStored
from kartotek.storage import Storage, digest

PAGE = 100
"""Items that are read from the catalog at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found of one item."""

    collection: str
    item: str
    files: int
    bytes: int
    damaged: dict[str, str]
    """Key → what is wrong with what lies under it."""


def verify(storage: Storage, catalog: Catalog, search: Search, *, workers: int) -> Iterator[Verified]:
    """Read all files of the items that a search finds, several items at a time, and yield what was found of each.

    What an item says of its files is taken from the catalog: size, SHA-256, and the JSON that lies beside them. An
    item that is published anew meanwhile is looked at as it then is.
    """
    found = catalog.walk(OPERATOR, replace(search, limit=PAGE))
    with ThreadPoolExecutor(workers) as threads:
        while some := list(islice(found, PAGE)):
            yield from threads.map(lambda one: checked(storage, catalog, one[0].collection, one[0].id, one[1]), some)


def repair(storage: Storage, catalog: Catalog, found: Verified) -> bool:
    """Make way for an item's damaged files to be made again; whether all is well now, or will be by that.

    The objects are removed, since none is ever written over, and the product waits to be converted once more. Nothing
    changes where it is not there any more, or the ledger does not know it. The files are looked at once more before.
    """
    with held(catalog.holds, (found.collection, found.item)) as hands:
        content = catalog.find(OPERATOR, found.collection, found.item)
        damaged = {} if content is None else checked(storage, catalog, found.collection, found.item, content).damaged
        if not damaged:
            return True
        if not any(fetch.is_there(place) for place in catalog.ledger.sources(found.collection, found.item)):
            return False
        if not catalog.ledger.again(found.collection, found.item):
            return False
        for key in damaged:
            hands.check()
            storage.delete(key)
        catalog.directories.forget(damaged)
    return True


def checked(storage: Storage, catalog: Catalog, collection: str, item: str, content: bytes) -> Verified:
    """One item's files; again where it was published anew meanwhile, since its earlier ones may have been swept."""
    while True:
        places = layout.named(collection, item, content)
        damaged, total = {}, 0
        for key, place in places.items():
            wrong, size = _compared(storage, place)
            total += size
            if wrong:
                damaged[key] = wrong
        now = catalog.find(OPERATOR, collection, item) if damaged else content
        if now is None or now == content:
            return Verified(
                collection=collection, item=item, files=len(places), bytes=total, damaged=damaged if now else {}
            )
        content = now


def _compared(storage: Storage, place: Place) -> tuple[str, int]:
    """(what is wrong with a file, how many bytes it has)."""
    try:
        checksum, size = digest(storage, place.key)
    except NotStored:
        return "not there", 0
    return ("" if checksum == place.checksum else f"{size} bytes with another SHA-256, {checksum[:12]}"), size
