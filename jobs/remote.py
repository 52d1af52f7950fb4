"""A product in a bucket, looked into where it lies: ranges of a zip, or the objects of a folder."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

from converters.safe import MAX_ENTRIES, MAX_XML, Zip
from jobs.fetch import gone, opened
from kartotek.errors import HostileProduct, NotStored, UnknownProduct
from kartotek.product import Files
from kartotek.storage import Storage

TAIL = 1 << 16
"""Bytes at the end of a zip that are read first: a genuine one has its directory there."""


def look(place: str) -> tuple[Files, int | None]:
    """(the files of the product at s3://BUCKET/KEY, bytes of a zip and None of a folder).

    Raises MissingProduct where nothing lies there, StorageError, and what a zip here would raise.
    """
    storage, _, key = opened(place)
    path = Path(key.rpartition("/")[2])
    try:
        size = storage.size(key)
    except NotStored:
        folder = _Folder(path, storage, f"{key}/")
        if not folder.names:
            raise gone(place) from None
        return folder, None
    tail = storage.read(key, max(0, size - TAIL), TAIL)
    return Zip(path, lambda: cast("BinaryIO", io.BufferedReader(_Ranges(storage, key, size, tail), TAIL))), size


class _Folder:
    """The objects below a prefix."""

    def __init__(self, path: Path, storage: Storage, prefix: str) -> None:
        self.path, self._storage, self._prefix = path, storage, prefix

    @cached_property
    def names(self) -> Sequence[str]:
        """The objects' names below the prefix."""
        found = []
        for key in self._storage.keys(self._prefix):
            found.append(key.removeprefix(self._prefix))
            if len(found) > MAX_ENTRIES:
                raise UnknownProduct(f"{self.path.name}: more files than any product has; give a product")
        return tuple(found)

    def read(self, name: str) -> bytes:
        """A small object's bytes."""
        if (size := self.size(name)) > MAX_XML:
            raise HostileProduct(f"{self.path.name}: {name}: {size >> 20} MB; at most {MAX_XML >> 20} MB are read")
        return self._storage.read(self._prefix + name)

    def size(self, name: str) -> int:
        """An object's size."""
        return self._storage.size(self._prefix + name)

    def href(self, name: str) -> str:
        """Its key: nothing that GDAL opens."""
        return self._prefix + name


class _Ranges(io.RawIOBase):
    """An object as a file, of which what is asked for is read, and the end only once."""

    def __init__(self, storage: Storage, key: str, size: int, tail: bytes) -> None:
        self._storage, self._key, self._size, self._tail, self._position = storage, key, size, tail, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("a position before the beginning")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """The next bytes."""
        first = self._size - len(self._tail)
        if self._position >= first:
            found = self._tail[self._position - first :][: len(buffer)]
        else:
            found = self._storage.read(self._key, self._position, min(len(buffer), first - self._position))
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)
