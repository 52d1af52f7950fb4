"""Blocks of our COGs: where they lie in a file, and their pixels, read by range and kept decoded for a while.

A file's directory is read once; keys carry the hash of what lies under them, so nothing that is kept can be stale.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock
from typing import Any

import imagecodecs
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from kartotek.errors import BadFile
from kartotek.grids import BLOCK
from kartotek.storage import Storage

_HEAD = 32_768
"""Bytes read for a file's directory at first; those of a full granule have less than 10 kB."""
_LONGEST = 4 << 20
"""Bytes that a directory may take; one of a file of 4 GiB takes less, unless its blocks are of a few hundred bytes."""
_DIRECTORIES = 64 << 20
"""Bytes of memory for directories that are kept: some 5000 of bands of a full granule."""
_TYPES = {3: "H", 4: "I"}
"""What numbers of a tag are; none of the other types is read."""
_READERS = 8
_UNPACK = {
    8: (imagecodecs.deflate_decode, imagecodecs.DeflateError),
    34925: (imagecodecs.lzma_decode, imagecodecs.LzmaError),
}
"""TIFF's number of a compression → what undoes it, and what that raises: DEFLATE, and LZMA2 in an .xz stream."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a file."""

    columns: int
    rows: int
    offsets: Sequence[int]
    sizes: Sequence[int]

    @property
    def across(self) -> int:
        """Blocks in a row of blocks."""
        return -(-self.columns // BLOCK)


@dataclass(frozen=True, slots=True)
class Directory:
    """What a reader has to know of a file: its levels, finest first, and how numbers are packed."""

    key: str
    levels: tuple[Level, ...]
    data_type: np.dtype[Any]
    samples: int
    compression: int
    """TIFF's number for it, one of `_UNPACK`."""

    @property
    def memory(self) -> int:
        """Bytes that keeping it takes: four for each offset and each size."""
        return 1000 + sum(4 * (len(level.offsets) + len(level.sizes)) for level in self.levels)


class Blocks:
    """Reads blocks from a storage; safe to share between threads."""

    def __init__(self, storage: Storage, *, memory: int) -> None:
        """`memory` is the most that decoded blocks may take, in bytes."""
        self._storage = storage
        self._blocks: LRUCache[Hashable, NDArray[Any]] = LRUCache(memory, getsizeof=lambda block: block.nbytes)
        self._directories: LRUCache[Hashable, Directory] = LRUCache(_DIRECTORIES, getsizeof=lambda file: file.memory)
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="blocks")

    def directory(self, key: str) -> Directory:
        """A file's directory. Raises NotStored, or BadFile where it is not one of our COGs."""
        with self._lock:
            found = self._directories.get(key)
        if found is None:
            found = self._parsed(key)
            with self._lock:
                self._directories[key] = found
        return found

    def _parsed(self, key: str) -> Directory:
        """A file's directory, from as much of its head as it takes: eight bytes for each block."""
        head = self._storage.read(key, 0, _HEAD)
        while True:
            try:
                return parse(key, head)
            except _Short as error:
                if error.needed > _LONGEST:
                    raise
                # At least twice as much, so that a directory for each level is not a read for each.
                more = self._storage.read(key, len(head), max(len(head), error.needed - len(head)))
                if not more:
                    raise
                head += more

    def window(self, file: Directory, level: int, rows: slice, columns: slice) -> NDArray[Any]:
        """Pixels of a level, (samples, rows, columns); the window must lie inside the level."""
        image = file.levels[level]
        result = np.empty((file.samples, rows.stop - rows.start, columns.stop - columns.start), file.data_type)
        places = [
            (row, column)
            for row in range(rows.start // BLOCK, -(-rows.stop // BLOCK))
            for column in range(columns.start // BLOCK, -(-columns.stop // BLOCK))
        ]
        numbers = [row * image.across + column for row, column in places]
        for (row, column), block in zip(places, self._read(file, level, numbers), strict=True):
            top, left = max(rows.start, row * BLOCK), max(columns.start, column * BLOCK)
            bottom, right = min(rows.stop, (row + 1) * BLOCK), min(columns.stop, (column + 1) * BLOCK)
            result[:, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = block[
                :, top - row * BLOCK : bottom - row * BLOCK, left - column * BLOCK : right - column * BLOCK
            ]
        return result

    def _read(self, file: Directory, level: int, numbers: list[int]) -> list[NDArray[Any]]:
        """Blocks in the order of their numbers; several are read at once."""
        if len(numbers) == 1:
            return [self._block(file, level, numbers[0])]
        # Each reader in a copy of the caller's context, so that what it logs says for which request.
        runs = [copy_context().run for _ in numbers]
        return list(self._pool.map(lambda run, number: run(self._block, file, level, number), runs, numbers))

    def _block(self, file: Directory, level: int, number: int) -> NDArray[Any]:
        key = (file.key, level, number)
        with self._lock:
            found = self._blocks.get(key)
        if found is None:
            image = file.levels[level]
            packed = self._storage.read(file.key, image.offsets[number], image.sizes[number])
            found = decode(packed, file)
            with self._lock:
                if found.nbytes <= self._blocks.maxsize:
                    self._blocks[key] = found
        return found


def decode(packed: bytes, file: Directory) -> NDArray[Any]:
    """A block's pixels, (samples, 512, 512)."""
    size = BLOCK * BLOCK * file.samples * file.data_type.itemsize
    unpack, damaged = _UNPACK[file.compression]
    try:
        raw = unpack(packed, out=size + 1)  # what is longer shows
    except damaged as error:
        raise BadFile(f"{file.key}: a block is damaged: {error}") from error
    if len(raw) != size:
        raise BadFile(f"{file.key}: a block unpacks to {len(raw)} bytes, expected {size}")
    block: NDArray[Any] = np.frombuffer(raw, file.data_type).reshape(BLOCK, BLOCK, file.samples)
    if file.data_type.kind == "f":
        block = imagecodecs.floatpred_decode(block, axis=-2)
    else:
        block = imagecodecs.delta_decode(block, axis=-2)
    return np.moveaxis(block, -1, 0)


class _Short(BadFile):
    """A file of whose directory more is needed than was read."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


def parse(key: str, head: bytes) -> Directory:
    """The directory in a file's first bytes (TIFF 6.0). Raises BadFile where `converters.cog` did not write it."""
    if head[:4] != b"II*\0" or len(head) < 8:
        raise BadFile(f"{key}: not a TIFF of little-endian numbers")
    levels: list[Level] = []
    data_type, samples, compression = np.dtype(np.uint8), 1, 0
    (position,) = struct.unpack_from("<I", head, 4)
    while position:
        try:
            tags, following = _directory(key, head, position)
            if 0 < following <= position:
                raise BadFile(f"{key}: its directories lead back to themselves")
            position = following
            samples, compression = tags[277][0], tags[259][0]
            if (tags[322], tags[323]) != ((BLOCK,), (BLOCK,)) or compression not in _UNPACK:
                raise BadFile(f"{key}: blocks are not of {BLOCK} pixels in DEFLATE or LZMA")
            data_type = np.dtype(f"<{'?uif'[tags[339][0]]}{tags[258][0] // 8}")
            levels.append(Level(tags[256][0], tags[257][0], array("I", tags[324]), array("I", tags[325])))
        except (KeyError, struct.error, IndexError, TypeError) as error:
            raise BadFile(f"{key}: its directory is not one of kartotek's: {error!r}") from error
    if not levels:
        raise BadFile(f"{key}: has no directory")
    return Directory(key, tuple(levels), data_type, samples, compression)


def _directory(key: str, head: bytes, position: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """The numeric tags of a directory, and where the next directory stands (0: nowhere)."""
    (count,) = _unpacked(key, head, "<H", position)
    tags: dict[int, tuple[int, ...]] = {}
    for number in range(count):
        entry = position + 2 + 12 * number
        code, kind, values = _unpacked(key, head, "<HHI", entry)
        if kind not in (3, 4):
            continue
        size = values * struct.calcsize(_TYPES[kind])
        where = entry + 8 if size <= 4 else _unpacked(key, head, "<I", entry + 8)[0]
        tags[code] = _unpacked(key, head, f"<{values}{_TYPES[kind]}", where)
    (following,) = _unpacked(key, head, "<I", position + 2 + 12 * count)
    return tags, following


def _unpacked(key: str, head: bytes, form: str, position: int) -> tuple[int, ...]:
    """Numbers at a position in the head. Raises _Short where it ends before them."""
    end = position + struct.calcsize(form)
    if end > len(head):
        raise _Short(f"{key}: its directory goes on to byte {end}, but {len(head)} were read", end)
    return struct.unpack_from(form, head, position)
