"""Pictures of items, put together from what the catalog says of them; kept for a while, since tiles come in numbers."""

from __future__ import annotations

from threading import Lock

import orjson
from cachetools import LRUCache

from api.display import Shown
from catalog.access import Reader
from catalog.store import Catalog, Described
from pixels import render
from pixels.formula import Formula
from pixels.render import Picture

MEMORY = 16 << 20
"""Bytes that kept pictures take."""
SMALL = 4_000
"""Those of a picture of layers."""
OF_TEXT = 16
"""Those that a character of a formula takes once it is read."""


class Pictures:
    """Gives pictures of items. Safe to share between threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._made: LRUCache[tuple[bytes, Shown], Picture] = LRUCache(MEMORY, getsizeof=_size)
        self._lock = Lock()

    def of_item(self, reader: Reader, collection: str, item: str, shown: Shown) -> Picture:
        """What is asked to be shown of an item. Raises NotFound and BadRequest.

        The catalog is asked each time: what was said of an item before may not be true, or for this reader, any more.
        """
        return self.of(self._catalog.described(reader, collection, item), shown)

    def of(self, described: Described, shown: Shown) -> Picture:
        """The same of what the catalog has said already."""
        key = (described.tag, shown)
        with self._lock:
            found = self._made.get(key)
        if found is None:
            found = render.picture(orjson.loads(described.item), shown.style(orjson.loads(described.collection)))
            with self._lock:
                self._made[key] = found
        return found


def _size(picture: Picture) -> int:
    """About the bytes that a picture takes."""
    texts = (value.text for value in picture.style.values if isinstance(value, Formula))
    return SMALL + OF_TEXT * sum(map(len, texts))
