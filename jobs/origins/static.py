"""JSON files: one document with all of its items in it, or a static catalogue of files that name each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pystac
from pystac.stac_io import RetryStacIO
from urllib3.exceptions import HTTPError

from jobs.origins import BATCH, Batch
from kartotek.errors import OriginError


class Whole:
    """An item, a collection, or an ItemCollection in one file."""

    def __init__(self, path: Path, documents: list[Any]) -> None:
        self._path, self._documents = path, documents
        self.size: int | None = len(documents)

    @classmethod
    def opened(cls, path: Path) -> Whole | None:
        """None where the file is of a catalogue, whose items lie beside it."""
        try:
            found = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise OriginError(f"{path}: no JSON that can be read ({error})") from error
        match found:
            case {"type": "FeatureCollection", "features": [*features]}:
                return cls(path, [*(found.get("collections") or []), *features])
            case {"type": "Feature"}:
                return cls(path, [found])
            case {"type": "Collection"} if not _names_others(found):
                return cls(path, [found])
            case {"collections": [*collections]} if not _names_others(found):
                return cls(path, collections)
            case {"type": "Catalog" | "Collection"}:
                return None
        raise OriginError(f"{path}: neither an item, an ItemCollection, a collection nor a catalogue")

    def batches(self, place: Any | None) -> Iterator[Batch]:
        """The documents; a place is the number of those before it."""
        for start in range(place or 0, len(self._documents), BATCH):
            some = self._documents[start : start + BATCH]
            done = start + len(some)
            yield Batch(tuple(some), done, done, tuple(f"feature {number}" for number in range(start + 1, done + 1)))


class Static:
    """A static catalogue, walked by its links; hrefs of files that it names come out absolute."""

    def __init__(self, href: str, *, rate: float) -> None:
        self.size: int | None = None
        self._href = href
        self._pause = 1 / rate
        self._io = RetryStacIO()

    def batches(self, place: Any | None) -> Iterator[Batch]:
        """Collections, each with its items; a place is the number of documents before it."""
        done = place or 0
        documents = self._documents()
        try:
            for _ in islice(documents, done):
                pass
            while some := list(islice(documents, BATCH)):
                done += len(some)
                yield Batch(tuple(one for one, _ in some), done, done, tuple(label for _, label in some))
        except (pystac.STACError, HTTPError, OSError, ValueError, KeyError) as error:
            raise OriginError(f"{self._href}: {error}") from error

    def _documents(self) -> Iterator[tuple[dict[str, Any], str]]:
        root = pystac.read_file(self._href, stac_io=self._io)
        if isinstance(root, pystac.Item):
            yield _absolute(root)
            return
        if not isinstance(root, pystac.Catalog):
            raise OriginError(f"{self._href}: no catalogue")
        for catalog, _, items in root.walk():
            if isinstance(catalog, pystac.Collection):
                yield catalog.to_dict(include_self_link=False, transform_hrefs=False), catalog.self_href
            for item in items:
                yield _absolute(item)
                if item.self_href.startswith("http"):
                    time.sleep(self._pause)


def _absolute(item: pystac.Item) -> tuple[dict[str, Any], str]:
    href = item.get_self_href() or item.id
    item.make_asset_hrefs_absolute()
    return item.to_dict(include_self_link=href.startswith("http"), transform_hrefs=False), href


def _names_others(document: dict[str, Any]) -> bool:
    """Whether there are files of children or items beside it, and not merely a server's addresses."""
    links = [link for link in document.get("links", ()) if isinstance(link, dict)]
    return any(link.get("rel") in ("item", "child") for link in links)
