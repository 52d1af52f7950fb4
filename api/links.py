"""Links put into stored JSON on its way out, which nobody parses for it."""

from __future__ import annotations

from urllib.parse import quote

from catalog import documents
from catalog.addresses import Addresses
from kartotek.settings import Settings

JSON = "application/json"
GEOJSON = "application/geo+json"
SCHEMA = "application/schema+json"
QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
SORTABLES = "http://www.opengis.net/def/rel/ogc/1.0/sortables"
SCHEME = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
SCHEMES = f"{SCHEME}s"
TILE_SETS = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-map"
AGGREGATE = "aggregate"
AGGREGATIONS = "aggregations"
MANY = 10_000
"""Collections whose links are kept."""


class Links:
    """JSON completed on its way out: links are spliced in as bytes, and addresses of files become public."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.root
        self.addresses = Addresses.of(settings)
        self._items: dict[str, tuple[bytes, bytes]] = {}

    def address(self, collection: str, item: str | None = None) -> str:
        """Where a collection, or one of its items, is found."""
        own = f"{self.root}/collections/{quote(collection, safe='')}"
        return own if item is None else f"{own}/items/{quote(item, safe='')}"

    def item(self, content: bytes, collection: str, name: str) -> bytes:
        """An item, whose files have their public addresses, with its links."""
        before, after = self._around(collection)
        # Percent-encoded, a name is the same in JSON.
        own = before + quote(name, safe="").encode() + after
        return documents.linked(content, own)

    def _around(self, collection: str) -> tuple[bytes, bytes]:
        """The links of a collection's items, before and after an item's name."""
        if collection not in self._items:
            own = self.address(collection)
            written = _written(
                [
                    ("self", f"{own}/items/", GEOJSON),
                    ("parent", own, JSON),
                    ("collection", own, JSON),
                    ("root", f"{self.root}/", JSON),
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
        return documents.linked(
            self.addresses.outward(content),
            _written(
                [
                    ("self", own, JSON),
                    ("items", f"{own}/items", GEOJSON),
                    ("child", f"{own}/browse", JSON),
                    (AGGREGATE, f"{own}/aggregate", JSON),
                    (AGGREGATIONS, f"{own}/aggregations", JSON),
                    (QUERYABLES, f"{own}/queryables", SCHEMA),
                    (SORTABLES, f"{own}/sortables", SCHEMA),
                    (TILE_SETS, f"{own}/map/tiles", JSON),
                    ("parent", f"{self.root}/", JSON),
                    ("root", f"{self.root}/", JSON),
                ]
            ),
        )


def _written(links: list[tuple[str, str, str]]) -> bytes:
    return documents.written({"rel": rel, "href": href, "type": kind} for rel, href, kind in links)
