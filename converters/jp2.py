"""A JPEG 2000 file cut at its tiles, each of which then is a file of its own, decoded beside the others.

GDAL reads the same pixels, at a tenth more processor time, and with the file opened anew by each thread. Only what is
laid out as the agency does it is cut; of anything else `Unusual` is raised, and GDAL says what it is. The markers are
those of ISO/IEC 15444-1, annex A; the boxes around them those of its annex I.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

MAX_TILE = 1 << 24
"""Pixels of a tile, over all bands: what a thread decodes at a time."""
MAX_PARTS = 8
"""Parts that a tile comes in, on average; the agency's have one."""
MAX_HEADER = 1 << 20
"""Bytes before the first tile."""

_SOC, _SIZ, _SOT, _EOC = 0xFF4F, 0xFF51, 0xFF90, 0xFFD9
_FORWARDED = frozenset({0xFF52, 0xFF53, 0xFF5C, 0xFF5D, 0xFF5E})
"""COD, COC, QCD, QCC, RGN: how tiles are coded."""
_LEFT_OUT = frozenset({0xFF55, 0xFF57, 0xFF63, 0xFF64})
"""TLM, PLM, CRG, COM: lengths, which are others in a part, and remarks."""

Read = Callable[[int, int], bytes]
"""The bytes at an offset, as many as asked for, or fewer at the file's end."""


class Unusual(Exception):
    """A file that is not cut: GDAL is to read it, or to say what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codestream:
    """Where a file's tiles lie, and how each is made a file of its own."""

    columns: int
    rows: int
    bands: int
    bits: int
    width: int
    """Columns of a tile; those at the right edge may have fewer."""
    height: int
    _capabilities: int
    _components: bytes
    _coding: bytes
    _parts: Sequence[Sequence[tuple[int, int]]]
    """Offset and length of each part of each tile."""

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.columns // self.width)

    @property
    def count(self) -> int:
        """Tiles in all."""
        return len(self._parts)

    @property
    def data_type(self) -> np.dtype[Any]:
        """As GDAL has it."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    def window(self, number: int) -> tuple[slice, slice]:
        """(rows, columns) of a tile, counted in rows from the upper left one."""
        row, column = divmod(number, self.across)
        top, left = row * self.height, column * self.width
        return slice(top, min(top + self.height, self.rows)), slice(left, min(left + self.width, self.columns))

    def decode(self, number: int, read: Read) -> NDArray[Any]:
        """A tile's pixels, (bands, rows, columns). Raises Unusual where they can't be had in this way."""
        rows, columns = self.window(number)
        # The tile keeps its place, since the wavelets of odd and even columns differ; the picture begins with it.
        size = struct.pack(
            ">HHHIIIIIIIIH",
            _SIZ, 38 + len(self._components), self._capabilities, columns.stop, rows.stop, columns.start, rows.start,
            self.width, self.height, columns.start, rows.start, self.bands,
        )  # fmt: skip
        content = bytearray(struct.pack(">H", _SOC) + size + self._components + self._coding)
        for offset, length in self._parts[number]:
            part = read(offset, length)
            if len(part) != length:
                raise Unusual("ends early")
            content += part[:4] + b"\0\0" + part[6:]  # it is tile number 0 here
        content += struct.pack(">H", _EOC)
        try:
            pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(content)
        except (imagecodecs.Jpeg2kError, ValueError) as error:
            raise Unusual(str(error)) from error
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if pixels.shape != (shape if self.bands == 1 else (*shape, self.bands)) or pixels.dtype != self.data_type:
            raise Unusual(f"a tile of {pixels.shape} {pixels.dtype}")
        return pixels[None] if self.bands == 1 else np.moveaxis(pixels, -1, 0)


def parse(read: Read, size: int) -> Codestream:
    """The codestream of a file of some size; its headers are read, no pixel is. Raises Unusual."""
    try:
        return _parsed(read, size)
    except struct.error as error:
        raise Unusual("ends early") from error


def _parsed(read: Read, size: int) -> Codestream:
    start, end, stated = _codestream(read, size)
    position, found, coding = start + 2, b"", b""
    while True:
        marker, length = struct.unpack(">HH", read(position, 4))
        if marker == _SOT:
            break
        if length < 2 or position + 2 + length - start > MAX_HEADER:
            raise Unusual("a header that is too long")
        segment = read(position, 2 + length)
        if len(segment) != 2 + length:
            raise Unusual("ends early")
        if marker == _SIZ:
            found = segment
        elif marker in _FORWARDED:
            coding += segment
        elif marker not in _LEFT_OUT:
            raise Unusual(f"the marker {marker:04X}")
        position += 2 + length
    capabilities, columns, rows, left, top, width, height, tile_left, tile_top, bands = struct.unpack(
        ">HIIIIIIIIH", found[4:40]
    )
    components = found[40:]
    bits = components[0] + 1 if components else 0
    if (
        (left, top, tile_left, tile_top) != (0, 0, 0, 0)
        or capabilities & 0x4000  # coded by another standard's part 15
        or not 1 <= bits <= 16
        or components != bytes([bits - 1, 1, 1]) * bands
        or bands not in (1, 3)
        or (rows, columns, bands) != stated
        or min(rows, columns, width, height) < 1
        or min(width, columns) * min(height, rows) * bands > MAX_TILE
    ):
        raise Unusual("a picture of another make")
    count = -(-columns // width) * -(-rows // height)
    if count > 65_535:
        raise Unusual(f"{count} tiles")
    return Codestream(
        columns=columns, rows=rows, bands=bands, bits=bits, width=width, height=height, _capabilities=capabilities,
        _components=components, _coding=coding, _parts=_parts(read, position, end, count),
    )  # fmt: skip


def _parts(read: Read, position: int, end: int, count: int) -> list[list[tuple[int, int]]]:
    """Where each tile's parts lie."""
    parts: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for _ in range(MAX_PARTS * count + 1):
        head = read(position, 12)
        if head[:2] == struct.pack(">H", _EOC) and all(parts):
            return parts
        marker, _, tile, length, number, _ = struct.unpack(">HHHIBB", head)
        if marker != _SOT or tile >= count or number != len(parts[tile]) or not 14 <= length <= end - position:
            raise Unusual("a part that does not fit")
        parts[tile].append((position, length))
        position += length
    raise Unusual("more parts than tiles make")


def _codestream(read: Read, size: int) -> tuple[int, int, tuple[int, int, int]]:
    """Where the codestream begins and ends, and the (rows, columns, bands) that the boxes before it state."""
    position, stated = 0, None
    if read(0, 12) != b"\0\0\0\x0cjP  \r\n\x87\n":
        raise Unusual("no JP2")
    for _ in range(64):
        length, name = struct.unpack(">I4s", read(position, 8))
        head = 8
        if length == 1:
            length, head = *struct.unpack(">Q", read(position + 8, 8)), 16
        elif length == 0:
            length = size - position
        if not head <= length <= size - position:
            raise Unusual("a box that does not fit")
        if name == b"jp2h":
            stated = _stated(read(position + head, min(length - head, MAX_HEADER)))
        if name == b"jp2c":
            if stated is None or read(position + head, 2) != struct.pack(">H", _SOC):
                raise Unusual("a codestream without headers")
            return position + head, position + length, stated
        position += length
    raise Unusual("more boxes than a picture has")


def _stated(boxes: bytes) -> tuple[int, int, int]:
    """What the header of the file says; a palette or channels in another order are GDAL's."""
    position, stated = 0, None
    while position < len(boxes):
        length, name = struct.unpack(">I4s", boxes[position : position + 8])
        if name not in (b"ihdr", b"colr", b"bpcc", b"res ") or length < 8:
            raise Unusual(f"the box {name!r}")
        if name == b"ihdr":
            stated = struct.unpack(">IIH", boxes[position + 8 : position + 18])
        position += length
    if stated is None:
        raise Unusual("a header without size")
    return stated


def reader(descriptor: int) -> Read:
    """Reads from an open file, by several threads at once."""
    return lambda offset, length: os.pread(descriptor, length, offset)
