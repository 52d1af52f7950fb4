"""Where an item's files lie in the storage: COLLECTION/ITEM/NAME.SHA256.SUFFIX, its own JSON among them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from catalog import documents
from kartotek.errors import Corrupted
from kartotek.storage import MARKER, Storage, digest

_KEY = re.compile(r"([^/]+)/([^/]+)/([^/]+)\.([0-9a-f]{64})\.([a-z0-9]+)")
_JSON = "item"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One file of an item."""

    collection: str
    item: str
    name: str
    """The asset's."""
    checksum: str
    """SHA-256 of its bytes, in hexadecimal."""
    suffix: str

    @property
    def key(self) -> str:
        """Its key.

        >>> Place(collection="c", item="i", name="B02", checksum="0" * 4, suffix="tif").key
        'c/i/B02.0000.tif'
        """
        return f"{self.collection}/{self.item}/{self.name}.{self.checksum}.{self.suffix}"

    @property
    def is_json(self) -> bool:
        """Whether it is the item's own JSON."""
        return self.name == _JSON and self.suffix == "json"


def store(storage: Storage, place: Place, path: Path) -> None:
    """Store a file in its place, read it back, and raise Corrupted where it is not what its key says."""
    storage.create(place.key, path)
    size = path.stat().st_size
    found, length = digest(storage, place.key)
    if (found, length) != (place.checksum, size):
        raise Corrupted(
            f"{place.key}: read back {length} bytes with SHA-256 {found[:12]}, written {size} with "
            f"{place.checksum[:12]}; remove the object and convert the product again"
        )


def of_json(collection: str, item: str, content: bytes) -> Place:
    """Where an item's JSON lies."""
    checksum = hashlib.sha256(content).hexdigest()
    return Place(collection=collection, item=item, name=_JSON, checksum=checksum, suffix="json")


def of_key(key: str) -> Place | None:
    """What lies under a key; None where that is no item's file."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    return Place(collection=found[1], item=found[2], name=found[3], checksum=found[4], suffix=found[5])


def items(storage: Storage) -> Iterator[tuple[str, str, list[Place]]]:
    """(collection, item, its files), item by item in the order of their keys; what is no item's file is passed over."""
    places = (place for key in storage.keys() if (place := of_key(key)))  # noqa: SIM118  no dict
    for (collection, item), found in groupby(places, attrgetter("collection", "item")):
        yield collection, item, list(found)


def named(collection: str, item: str, content: bytes) -> dict[str, Place]:
    """Key → file, of all that an item's JSON names, and of this JSON itself."""
    assets = documents.parsed(content).get("assets", {}).values()
    keys = [asset["href"].removeprefix(MARKER) for asset in assets if asset["href"].startswith(MARKER)]
    places = [place for key in keys if (place := of_key(key))] + [of_json(collection, item, content)]
    return {place.key: place for place in places}
