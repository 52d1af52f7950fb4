"""An object of the storage as the only file that GDAL finds: it is given neither a path nor an address.

No error goes through GDAL, which would lose it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from threading import Lock

from cachetools import LRUCache
from rasterio.abc import MultiByteRangeResourceContainer

from kartotek.errors import KartotekError, NotFound
from kartotek.storage import Storage

NAME = "file"
"""What GDAL calls it."""
_PAGE = 8 << 10
"""Bytes that are read at least, and kept for what is read next: GDAL looks at directories tag by tag."""
_KEPT = 256
"""Pages of a file that are kept, 2 MB: a granule in JPEG 2000 has 121 tiles, whose heads GDAL reads one by one."""

log = logging.getLogger(__name__)


class Pages:
    """An object of the storage, of which the small parts that were read are kept."""

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage, self._key = storage, key
        self._kept: LRUCache[int, bytes] = LRUCache(_KEPT)
        self._size: int | None = None
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Bytes of it."""
        if self._size is None:
            self._size = self._storage.size(self._key)
        return self._size

    def read(self, start: int, length: int) -> bytes:
        """Bytes from a start on; fewer at the end."""
        first, last = start // _PAGE, (start + length - 1) // _PAGE
        if last > first + 1:
            return self._storage.read(self._key, start, length)
        content = b"".join(self._page(number) for number in range(first, last + 1))
        return content[start - first * _PAGE :][:length]

    def _page(self, number: int) -> bytes:
        with self._lock:
            found = self._kept.get(number)
        if found is None:
            found = self._storage.read(self._key, number * _PAGE, _PAGE)
            with self._lock:
                self._kept[number] = found
        return found

    def ranges(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several parts, each from a start and of a length, all at once."""
        return self._storage.ranges(self._key, places)


class Stored(MultiByteRangeResourceContainer):  # type: ignore[misc]
    """An object of the storage, as a folder with one file."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.error: Exception | None = None
        """The first that the storage raised, or EOFError where the file ends too early."""

    def check(self, key: str, found: Exception | None = None) -> None:
        """Raise what the storage raised; NotFound where it was something else that went wrong, `found` by GDAL."""
        if isinstance(self.error, KartotekError):
            raise self.error
        if (error := self.error or found) is not None:
            log.warning("%s: GDAL can't read it: %s", key, error.__cause__ or error)
            raise NotFound(f"{key}: can't be read as a raster; it may be damaged, or cut short") from error

    def open(self, path: str, mode: str = "rb", **_: object) -> Handle:
        """The file, to read."""
        if path != NAME or "r" not in mode or "+" in mode:
            raise FileNotFoundError(path)
        return Handle(self)

    def isfile(self, path: str) -> bool:
        """Whether it is the file."""
        return path == NAME

    def isdir(self, path: str) -> bool:
        """There are no folders."""
        return False

    def ls(self, path: str) -> list[str]:
        """What else there is: nothing."""
        return []

    def mtime(self, path: str) -> int:
        """Not known; what lies under a key does not change."""
        return 0

    def rm(self, path: str) -> None:
        """Nothing is removed."""
        raise PermissionError(path)

    def size(self, path: str) -> int:
        """Bytes of the file."""
        if path != NAME:
            raise FileNotFoundError(path)
        return self.pages.size


class Handle:
    """A position in the file."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._position = 0

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go somewhere, as in any file."""
        try:
            start = (0, self._position, self._stored.pages.size if whence == os.SEEK_END else 0)[whence]
        except Exception as error:
            start = self._failed(error)
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Where it is."""
        return self._position

    def read(self, length: int) -> bytes:
        """The next bytes; none where the storage can't give them."""
        try:
            found = self._stored.pages.read(self._position, length) if length > 0 else b""
        except Exception as error:
            found = bytes(self._failed(error))
        self._position += len(found)
        return found

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Several parts; of the lengths that GDAL has made room for, whatever comes of them."""
        try:
            found = self._stored.pages.ranges(list(zip(offsets, sizes, strict=True)))
            if [len(part) for part in found] != sizes:
                raise EOFError(f"it ends before byte {offsets[-1] + sizes[-1]}")
        except Exception as error:
            self._failed(error)
            return [bytes(size) for size in sizes]
        return found

    def _failed(self, error: Exception) -> int:
        """Remember the first error, for who has opened the file."""
        self._stored.error = self._stored.error or error
        return 0
