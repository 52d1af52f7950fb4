"""Links put into stored JSON on its way out, which nobody parses for it."""

from __future__ import annotations

from urllib.parse import quote

import orjson

from kartotek.settings import Settings
from kartotek.storage import MARKER, PRODUCTS

GEOJSON = "application/geo+json"
SCHEMA = "application/schema+json"
QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
SORTABLES = "http://www.opengis.net/def/rel/ogc/1.0/sortables"
AGGREGATE = "aggregate"
AGGREGATIONS = "aggregations"
MANY = 10_000
"""Collections whose links are kept."""
_FILES = f'"href":"{MARKER}'.encode()
_PRODUCTS = f'"href":"{PRODUCTS}'.encode()


class Links:
    """Stored JSON completed on its way out: files get their public root, and links are spliced in as bytes."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.root
        self._files = f'"href":"{settings.files_root}/'.encode()
        self._items: dict[str, tuple[bytes, bytes]] = {}
        self._products = f'"href":"{settings.root}/products/'.encode()

    def address(self, collection: str, item: str | None = None) -> str:
        """Where a collection, or one of its items, is found."""
        own = f"{self.root}/collections/{quote(collection, safe='')}"
        return own if item is None else f"{own}/items/{quote(item, safe='')}"

    def item(self, content: bytes, collection: str, name: str) -> bytes:
        """An item with its links."""
        before, after = self._around(collection)
        # Percent-encoded, a name is the same in JSON.
        own = before + quote(name, safe="").encode() + after
        return self._spliced(content, own)

    def _around(self, collection: str) -> tuple[bytes, bytes]:
        """The links of a collection's items, before and after an item's name."""
        if collection not in self._items:
            own = self.address(collection)
            written = _written(
                [
                    ("self", f"{own}/items/", GEOJSON),
                    ("parent", own, "application/json"),
                    ("collection", own, "application/json"),
                    ("root", f"{self.root}/", "application/json"),
                ]
            )
            cut = written.index(b'/items/"') + len(b"/items/")
            if len(self._items) > MANY:
                self._items.clear()
            self._items[collection] = written[:cut], written[cut:]
        return self._items[collection]

    def collection(self, content: bytes, name: str) -> bytes:
        """A collection with its links."""
        own = self.address(name)
        return self._spliced(
            content,
            _written(
                [
                    ("self", own, "application/json"),
                    ("items", f"{own}/items", GEOJSON),
                    ("child", f"{own}/browse", "application/json"),
                    (AGGREGATE, f"{own}/aggregate", "application/json"),
                    (AGGREGATIONS, f"{own}/aggregations", "application/json"),
                    (QUERYABLES, f"{own}/queryables", SCHEMA),
                    (SORTABLES, f"{own}/sortables", SCHEMA),
                    ("parent", f"{self.root}/", "application/json"),
                    ("root", f"{self.root}/", "application/json"),
                ]
            ),
        )

    def files(self, content: bytes) -> bytes:
        """Stored JSON with the public addresses of files."""
        found = content.replace(_FILES, self._files)
        return found.replace(_PRODUCTS, self._products)

    def _spliced(self, content: bytes, links: bytes) -> bytes:
        """`links` is the last member of stored JSON, so that its end is always the same two bytes."""
        found = self.files(content)
        first = b"" if found.endswith(b"[]}") else b","
        return b"".join((found[:-2], first, links, b"]}"))


def _written(links: list[tuple[str, str, str]]) -> bytes:
    return b",".join(orjson.dumps({"rel": rel, "href": href, "type": kind}) for rel, href, kind in links)
