"""Where files lie: objects under keys, written once, read back, in whole or in part.

Keys carry the SHA-256 of what lies under them, so that an object never changes and may be cached for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from kartotek.errors import BadSettings
from kartotek.storage.folder import FolderStorage

MARKER = "storage:///"
"""What an asset's href starts with at rest; a key follows. It becomes the public root of files on the way out."""

PRODUCTS = "product:///"
"""What the href of a product that lies on this machine starts with at rest, wherever it lies; {collection}/{item}.zip
follows. It becomes the public root of products on the way out."""

MEDIA_TYPES = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".png": "image/png",
    ".parquet": "application/vnd.apache.parquet",
    ".zip": "application/zip",
}
"""What files are, by suffix: in items, and where they are served."""

PIECE = 8 << 20
"""Bytes that are read back at a time."""


class Storage(Protocol):
    """What conversion, catalog and server need of a storage."""

    remote: bool
    """Whether reads wait for a network, so that many at once take no longer than one."""

    def create(self, key: str, source: Path) -> None:
        """Store a file's bytes durably under a key; nothing happens where the key is taken already."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes from `start` on; fewer than `length` at the end, none after it. Raises NotStored."""
        ...

    def ranges(self, key: str, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several parts of an object, each from a start and of a length; fewer bytes at the end. Raises NotStored.

        Those that lie next to each other may come in one request.
        """
        ...

    def size(self, key: str) -> int:
        """Bytes under a key. Raises NotStored."""
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with a prefix, in order."""
        ...

    def modified(self, key: str) -> datetime:
        """When what lies under a key was written. Raises NotStored."""
        ...

    def delete(self, key: str) -> None:
        """Remove what lies under a key, if anything does."""
        ...

    def tidy(self, age: timedelta) -> int:
        """Remove what is no object and never will be, older than so much; how many."""
        ...

    def url(self, key: str) -> str | None:
        """An address from which anyone can read the object for an hour; None where there is no such thing."""
        ...


def digest(storage: Storage, key: str) -> tuple[str, int]:
    """(SHA-256 in hexadecimal, size) of what lies under a key, read back in pieces."""
    found, position, size = hashlib.sha256(), 0, storage.size(key)
    while position < size and (piece := storage.read(key, position, PIECE)):
        found.update(piece)
        position += len(piece)
    return found.hexdigest(), position


def open_storage(place: str, endpoint: str | None = None) -> Storage:
    """The storage that a setting names: a folder, or s3://bucket/prefix.

    `endpoint` is that of the bucket as clients reach it, where they do so by another name.
    """
    if place.startswith("s3://"):
        from kartotek.storage.s3 import S3Storage

        return S3Storage(place, endpoint)
    if "://" in place:
        raise BadSettings(f"KARTOTEK_STORAGE: {place!r} is neither a folder nor s3://BUCKET/PREFIX")
    return FolderStorage(Path(place))


__all__ = ["MARKER", "MEDIA_TYPES", "PRODUCTS", "FolderStorage", "Storage", "digest", "open_storage"]
