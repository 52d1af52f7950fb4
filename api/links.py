"""Links put into stored JSON on its way out, which nobody parses for it."""

from __future__ import annotations

import orjson

from kartotek.settings import Settings
from kartotek.storage import MARKER, PRODUCTS

GEOJSON = "application/geo+json"
SCHEMA = "application/schema+json"
QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
SORTABLES = "http://www.opengis.net/def/rel/ogc/1.0/sortables"
_FILES = f'"href":"{MARKER}'.encode()
_PRODUCTS = f'"href":"{PRODUCTS}'.encode()


class Links:
    """Stored JSON completed on its way out: files get their public root, and links are spliced in as bytes."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.root
        self._files = f'"href":"{settings.files_root}/'.encode()
        self._products = f'"href":"{settings.root}/products/'.encode()

    def item(self, content: bytes, collection: str, name: str) -> bytes:
        """An item with its links."""
        own = f"{self.root}/collections/{collection}"
        return self._spliced(
            content,
            [
                ("self", f"{own}/items/{name}", GEOJSON),
                ("parent", own, "application/json"),
                ("collection", own, "application/json"),
                ("root", f"{self.root}/", "application/json"),
            ],
        )

    def collection(self, content: bytes, name: str) -> bytes:
        """A collection with its links."""
        own = f"{self.root}/collections/{name}"
        return self._spliced(
            content,
            [
                ("self", own, "application/json"),
                ("items", f"{own}/items", GEOJSON),
                (QUERYABLES, f"{own}/queryables", SCHEMA),
                (SORTABLES, f"{own}/sortables", SCHEMA),
                ("parent", f"{self.root}/", "application/json"),
                ("root", f"{self.root}/", "application/json"),
            ],
        )

    def files(self, content: bytes) -> bytes:
        """Stored JSON with the public addresses of files."""
        found = content.replace(_FILES, self._files)
        return found.replace(_PRODUCTS, self._products)

    def _spliced(self, content: bytes, links: list[tuple[str, str, str]]) -> bytes:
        """`links` is the last member of stored JSON, so that its end is always the same two bytes."""
        found = self.files(content)
        more = b",".join(orjson.dumps({"rel": rel, "href": href, "type": kind}) for rel, href, kind in links)
        first = b"" if found.endswith(b"[]}") else b","
        return found[:-2] + first + more + b"]}"
