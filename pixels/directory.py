"""What a reader has to know of one of our COGs: where the blocks of each level lie, and how their numbers are packed.

A file's directory is read once and kept beside its item in some 1.5 kB; keys carry the hash of what lies under them,
so nothing that is kept can be stale.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from kartotek import tiff
from kartotek.errors import BadFile
from kartotek.grids import BLOCK

COMPRESSIONS = {8: "DEFLATE", 34925: "LZMA"}
"""TIFF's numbers of the compressions that are read: DEFLATE in a zlib stream, LZMA2 in an .xz stream."""
GDAL = 0
"""Stands for a compression where a file is none of ours, and `pixels.foreign` reads its blocks."""

_FIRST = 32_768
"""Bytes read for a file's directory at first; those of a full granule have less than 10 kB."""
_LONGEST = 4 << 20
"""Bytes that a directory may take; one of a file of 4 GiB takes less, unless its blocks are of a few hundred bytes."""
_TYPES = (tiff.SHORT, tiff.LONG)
"""What numbers of a tag are; none of the other types is read."""
_NEEDED = {256, 257, 258, 259, 277, 322, 323, 324, 325}
"""Tags that say how large images are, how packed, and where."""
_LARGEST = 64 << 20
"""Bytes of a block, of all its samples; of files with more, `pixels.foreign` decides."""
_PLAIN = {254: (0, 1), 284: (1,), 317: (2, 3)}
"""Tag → the values that we read: images and overviews (no masks), samples side by side, shaped by a predictor."""
_BETWEEN = 8
"""Bytes from the end of a block to the next one in a COG: a trailer, and the next one's size."""
_KIND = b"\1"
"""The first byte of what is kept; another way of keeping it would have another one."""
_HEAD = struct.Struct("<2sHHH")
_LEVEL = struct.Struct("<IIq")


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a file."""

    columns: int
    rows: int
    offsets: NDArray[np.uint32]
    """Bytes from the file's start to each block, row by row."""
    sizes: NDArray[np.uint32]
    """Bytes of each block."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    def is_half(self, whole: Level, times: int) -> bool:
        """Whether it has the size of another level that is halved so many times, rounded in either direction."""
        pairs = zip(self.shape, whole.shape, strict=True)
        return all(abs(own * 2**times - other) < 2**times for own, other in pairs)

    @property
    def across(self) -> int:
        """Blocks in a row of blocks."""
        return -(-self.columns // BLOCK)

    @property
    def down(self) -> int:
        """Rows of blocks."""
        return -(-self.rows // BLOCK)


@dataclass(frozen=True, slots=True)
class Directory:
    """What a reader has to know of a file."""

    key: str
    levels: tuple[Level, ...]
    """Finest first."""
    data_type: np.dtype[Any]
    samples: int
    compression: int
    """TIFF's number for it, one of `COMPRESSIONS`; or `GDAL`, of which nobody knows where the blocks lie."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of each level."""
        return tuple(level.shape for level in self.levels)

    @property
    def memory(self) -> int:
        """Bytes that keeping it takes: four for each offset and each size."""
        return 1000 + sum(300 + 8 * len(level.offsets) for level in self.levels)


class Short(BadFile):
    """A file of whose directory more is needed than was read."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


class Foreign(BadFile):
    """A file that is no COG as `converters.cog` writes them; GDAL may yet read it."""


def read(key: str, part: Callable[[int, int], bytes]) -> Directory:
    """A file's directory, from as much of its head as it takes: eight bytes for each block.

    `part` gives bytes of the file, from a start and of a length. Raises as `parse`.
    """
    head = part(0, _FIRST)
    while True:
        try:
            return parse(key, head)
        except Short as error:
            if error.needed > _LONGEST:
                raise
            # At least twice as much, so that a directory for each level is not a read for each.
            more = part(len(head), max(len(head), error.needed - len(head)))
            if not more:
                raise
            head += more


def parse(key: str, head: bytes) -> Directory:
    """The directory in a file's first bytes (TIFF 6.0).

    Raises Foreign where the file is none of ours, and Short where more of it is needed.
    """
    if head[:4] != b"II*\0" or len(head) < 8:
        raise Foreign(f"{key}: not a TIFF of little-endian numbers")
    levels: list[Level] = []
    data_type, samples, compression = np.dtype(np.uint8), 1, 0
    (position,) = struct.unpack_from("<I", head, 4)
    while position:
        try:
            found, following = tiff.read(head, position, _TYPES)
            if 0 < following <= position:
                raise Foreign(f"{key}: its directories lead back to themselves")
            position, tags = following, {code: values for code, _, values in found}
            level, kind = _level(key, tags), _kind(tags)
        except tiff.Ended as error:
            words = f"{key}: its directory goes on to byte {error.needed}, but {len(head)} were read"
            raise Short(words, error.needed) from error
        except (KeyError, struct.error, IndexError, TypeError, ValueError) as error:
            raise Foreign(f"{key}: its directory is not one of kartotek's: {error!r}") from error
        if levels and kind != (data_type, samples, compression):
            raise Foreign(f"{key}: its overviews are of another kind than its pixels")
        data_type, samples, compression = kind
        levels.append(level)
        if not level.is_half(levels[0], len(levels) - 1):
            raise Foreign(f"{key}: its overviews are not each half of the one before")
    if not levels:
        raise Foreign(f"{key}: has no directory")
    return Directory(key, tuple(levels), data_type, samples, compression)


def _level(key: str, tags: dict[int, tuple[int, ...]]) -> Level:
    if missing := _NEEDED - tags.keys():
        raise Foreign(f"{key}: its directory has no tag {min(missing)}")
    if (tags[322], tags[323]) != ((BLOCK,), (BLOCK,)) or tags[259][0] not in COMPRESSIONS:
        raise Foreign(f"{key}: blocks are not of {BLOCK} pixels in {' or '.join(COMPRESSIONS.values())}")
    for code, values in _PLAIN.items():
        if tags.get(code, (0,))[0] not in values:
            raise Foreign(f"{key}: tag {code} is {tags.get(code)}, which only GDAL reads")
    (columns,), (rows,) = tags[256], tags[257]
    places = Level(columns, rows, np.array(tags[324], np.uint32), np.array(tags[325], np.uint32))
    if not len(places.offsets) == len(places.sizes) == places.across * places.down > 0:
        raise Foreign(f"{key}: {len(places.offsets)} blocks do not make {columns} x {rows} pixels")
    if 0 in tags[325]:
        raise Foreign(f"{key}: some of its blocks are left out")
    return places


def _kind(tags: dict[int, tuple[int, ...]]) -> tuple[np.dtype[Any], int, int]:
    """Type of the numbers, samples a pixel, compression."""
    (samples,), bits, forms = tags[277], tags[258], tags.get(339, (1,))
    if samples != len(bits) or len({*bits}) != 1 or len({*forms}) != 1 or bits[0] % 8:
        raise ValueError(f"{samples} samples of {bits[:9]} bits, {forms[:9]}")
    if samples * bits[0] // 8 * BLOCK**2 > _LARGEST:
        raise ValueError(f"{samples} samples of {bits[0]} bits")
    data_type = np.dtype(f"<{'?uif'[forms[0]]}{bits[0] // 8}")
    if (data_type.kind == "f") != (tags[317][0] == 3):
        raise ValueError(f"predictor {tags[317][0]} for {data_type}")
    return data_type, samples, tags[259][0]


def pack(file: Directory) -> bytes:
    """A directory in few bytes: sizes, and how far each block lies from where a COG would have it."""
    packed = bytearray(_HEAD.pack(file.data_type.str[1:].encode(), file.samples, file.compression, len(file.levels)))
    for level in file.levels:
        offsets, sizes = np.asarray(level.offsets, np.int64), np.asarray(level.sizes, np.int64)
        strays = np.diff(offsets) - sizes[:-1] - _BETWEEN
        packed += _LEVEL.pack(level.columns, level.rows, int(offsets[0]))
        # Byte by byte, lowest first: the upper bytes are alike, and most strays are nothing.
        packed += _planes(sizes, 4) + _planes(strays, 8)
    return _KIND + zstandard.compress(bytes(packed), 6)


def unpack(key: str, kept: bytes) -> Directory:
    """The directory that was packed. Raises BadFile where that is not what is kept."""
    try:
        if kept[:1] != _KIND:
            raise ValueError(f"kept in way {kept[:1]!r}")
        packed = memoryview(zstandard.decompress(kept[1:]))
        kind, samples, compression, count = _HEAD.unpack_from(packed)
        position, levels = _HEAD.size, []
        for _ in range(count):
            columns, rows, first = _LEVEL.unpack_from(packed, position)
            position += _LEVEL.size
            blocks = -(-columns // BLOCK) * -(-rows // BLOCK)
            sizes, strays = (
                _numbers(packed[position:], blocks, 4),
                _numbers(packed[position + 4 * blocks :], blocks - 1, 8),
            )
            position += 4 * blocks + 8 * (blocks - 1)
            offsets = np.cumsum(np.append(first, sizes[:-1] + strays + _BETWEEN))
            levels.append(Level(columns, rows, offsets.astype(np.uint32), sizes.astype(np.uint32)))
        return Directory(key, tuple(levels), np.dtype(f"<{kind.decode()}"), samples, compression)
    except (ValueError, TypeError, struct.error, zstandard.ZstdError) as error:
        raise BadFile(f"{key}: what is kept of its directory can't be read: {error}") from error


def _planes(numbers: NDArray[np.int64], width: int) -> bytes:
    return np.ascontiguousarray(numbers.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T).tobytes()


def _numbers(planes: memoryview, count: int, width: int) -> NDArray[np.int64]:
    bytes_of = np.frombuffer(planes, np.uint8, count * width).reshape(width, count)
    return np.ascontiguousarray(bytes_of.T).view(f"<i{width}").reshape(count).astype(np.int64)
