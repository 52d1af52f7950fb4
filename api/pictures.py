"""Pictures of items, put together from what the catalog says of them."""

from __future__ import annotations

import orjson

from api.display import Shown
from api.kept import Kept, size_of
from catalog.access import Reader
from catalog.store import Catalog, Described
from pixels import render
from pixels.render import Picture


class Pictures:
    """Gives pictures of items. Safe to share between threads."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._kept: Kept[Shown, Picture] = Kept(_picture, lambda made: size_of(made.style.values))

    def of_item(self, reader: Reader, collection: str, item: str, shown: Shown) -> Picture:
        """What is asked to be shown of an item, as far as this reader may see it. Raises NotFound and BadRequest."""
        return self.of(self._catalog.described(reader, collection, item), shown)

    def of(self, described: Described, shown: Shown) -> Picture:
        """The same of what the catalog has said already."""
        return self._kept.of(described, shown)


def _picture(described: Described, shown: Shown) -> Picture:
    return render.picture(orjson.loads(described.item), shown.style(orjson.loads(described.collection)))
