"""Pictures of items, put together from what the catalog says of them; kept for a while, since tiles come in numbers."""

from __future__ import annotations

import hashlib
from threading import Lock

import orjson
from cachetools import LRUCache

from api.display import Shown
from catalog.access import Reader
from catalog.store import Catalog
from pixels import render
from pixels.render import Picture

MOST = 4_000
"""Pictures that are kept, of some 3 kB each."""


class Pictures:
    """Gives pictures of items. Safe to share between threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._made: LRUCache[tuple[bytes, bytes, Shown], Picture] = LRUCache(MOST)
        self._lock = Lock()

    def of_item(self, reader: Reader, collection: str, item: str, shown: Shown) -> Picture:
        """What is asked to be shown of an item. Raises NotFound and BadRequest.

        The catalog is asked each time: what was said of an item before may not be true, or for this reader, any more.
        """
        kind, content = self._catalog.collection(reader, collection), self._catalog.item(reader, collection, item)
        key = (_digest(kind), _digest(content), shown)
        with self._lock:
            found = self._made.get(key)
        if found is None:
            found = render.picture(orjson.loads(content), shown.style(orjson.loads(kind)))
            with self._lock:
                self._made[key] = found
        return found


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
