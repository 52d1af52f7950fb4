"""TIFF's directories (TIFF 6.0), and the tags that say where pixels lie (OGC GeoTIFF 1.1) and what they mean (GDAL)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape

import imagecodecs
import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from kartotek import grids
from kartotek.grids import Grid

SHORT, LONG, DOUBLE, ASCII = 3, 4, 12, 2
"""TIFF's types of values."""
_FLOATS, _SIGNED, _UNSIGNED = 3, 2, 1
"""TIFF's formats of samples."""
_CODES = 32766
"""The highest of EPSG's codes that a key may hold."""
_FORMATS = {ASCII: "s", SHORT: "H", LONG: "I", DOUBLE: "d"}

Tag = tuple[int, int, Sequence[int] | Sequence[float] | bytes]
"""Number, type, and its values; those of a text are bytes."""


class Ended(Exception):
    """The bytes end before a directory does."""

    def __init__(self, needed: int) -> None:
        super().__init__(f"a directory goes on to byte {needed}")
        self.needed = needed


def directory(tags: Iterable[Tag], position: int, *, last: bool) -> bytes:
    """An image file directory at a position, with the values that don't fit into it behind it.

    Unless it is the last one the next begins where it ends.
    """
    tags = sorted(tags, key=lambda tag: tag[0])
    head = 2 + 12 * len(tags) + 4
    entries, behind = bytearray(), bytearray()
    for code, kind, value in tags:
        packed = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}{_FORMATS[kind]}", *value)
        if len(packed) <= 4:
            entries += struct.pack("<HHI", code, kind, len(value)) + packed.ljust(4, b"\0")
        else:
            entries += struct.pack("<HHII", code, kind, len(value), position + head + len(behind))
            behind += packed + b"\0" * (len(packed) % 2)
    following = 0 if last else position + head + len(behind)
    return struct.pack("<H", len(tags)) + bytes(entries) + struct.pack("<I", following) + bytes(behind)


def length(tags: Collection[Tag]) -> int:
    """Bytes that their directory takes."""
    sizes = (len(value) * struct.calcsize(_FORMATS[kind]) for _, kind, value in tags)
    return 2 + 12 * len(tags) + 4 + sum(size + size % 2 for size in sizes if size > 4)


def read(
    content: bytes, position: int, kinds: Collection[int] = tuple(_FORMATS)
) -> tuple[list[tuple[int, int, Any]], int]:
    """The tags of some types in the directory at a position, and where the next one stands (0: nowhere).

    Numbers are little-endian. Raises Ended, and ValueError where tags share so many values that all of them together
    have more bytes than there are: a small file could stand for as much memory as anyone likes.
    """

    def unpacked(form: str, start: int) -> tuple[Any, ...]:
        if (end := start + struct.calcsize(form)) > len(content):
            raise Ended(end)
        return struct.unpack_from(form, content, start)

    (count,) = unpacked("<H", position)
    tags: list[tuple[int, int, Any]] = []
    room = len(content)
    for entry in range(position + 2, position + 2 + 12 * count, 12):
        code, kind, many = unpacked("<HHI", entry)
        if kind in kinds:
            form = f"<{many}{_FORMATS[kind]}"
            size = struct.calcsize(form)
            start = entry + 8 if size <= 4 else unpacked("<I", entry + 8)[0]
            if start + size <= len(content) and size > room:
                raise ValueError("its tags share their values")
            room -= size
            values = unpacked(form, start)
            tags.append((code, kind, values[0] if kind == ASCII else values))
    (following,) = unpacked("<I", position + 2 + 12 * count)
    return tags, following


def image(shape: tuple[int, int], tile: tuple[int, int], compression: int) -> list[Tag]:
    """How large an image is, how it is cut and how its tiles are packed; (rows, columns) both."""
    (rows, columns), (down, across) = shape, tile
    return [
        (256, LONG, [columns]),
        (257, LONG, [rows]),
        (259, SHORT, [compression]),
        (322, LONG, [across]),
        (323, LONG, [down]),
    ]


def numbers(data_type: np.dtype[np.generic], bands: int) -> list[Tag]:
    """What an image's samples are, shaped by `predicted`."""
    kind = _FLOATS if data_type.kind == "f" else _SIGNED if data_type.kind == "i" else _UNSIGNED
    return [
        (258, SHORT, [8 * data_type.itemsize] * bands),
        (277, SHORT, [bands]),
        (317, SHORT, [3 if kind == _FLOATS else 2]),
        (339, SHORT, [kind] * bands),
    ]


def blocks(offsets: Sequence[int], sizes: Sequence[int]) -> list[Tag]:
    """Where an image's tiles lie."""
    return [(324, LONG, offsets), (325, LONG, sizes)]


def predicted(block: NDArray[Any], *, axis: int) -> NDArray[Any]:
    """A tile as it is packed: what each number differs from the one before it along an axis (TIFF's predictors)."""
    shaped = imagecodecs.floatpred_encode if block.dtype.kind == "f" else imagecodecs.delta_encode
    found: NDArray[Any] = shaped(block, axis=axis)
    return found


def place(grid: Grid) -> list[Tag]:
    """Where the pixels lie: scale, tie point, and the CRS, with longitude first, whatever the CRS says."""
    return [
        (33550, DOUBLE, [grid.resolution, grid.resolution, 0.0]),
        (33922, DOUBLE, [0.0, 0.0, 0.0, grid.left, grid.top, 0.0]),
        *_keys(grid.crs),
    ]


@lru_cache(maxsize=64)
def epsg(name: str) -> int | None:
    """The one code of EPSG's that tells a CRS in a GeoTIFF; None where there is none."""
    crs = pyproj.CRS.from_user_input(name)
    code = 4326 if name == "OGC:CRS84" else crs.to_epsg()
    if code is None or code > _CODES or not (crs.is_projected or crs.is_geographic) or crs.is_compound:
        return None
    return int(code)


@lru_cache(maxsize=64)
def _keys(name: str) -> tuple[Tag, ...]:
    """GeoTIFF's keys of a CRS (OGC 19-008r4, 7.4)."""
    crs, code = pyproj.CRS.from_user_input(name), epsg(name)
    if code is None:
        return _spelled(name)
    model = 1 if crs.is_projected else 2
    keys = [(1024, 0, 1, model), (1025, 0, 1, 1), (3072 if crs.is_projected else 2048, 0, 1, code)]
    if crs.is_projected and grids.is_metric(name):
        keys.append((3076, 0, 1, 9001))
    return ((34735, SHORT, (1, 1, 0, len(keys), *(number for key in keys for number in key))),)


def _spelled(name: str) -> tuple[Tag, ...]:
    """Those of a CRS that one code does not tell: as GDAL writes them."""
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=1, height=1, count=1, dtype="uint8", crs=name, transform=rasterio.Affine.scale(2)
        ):
            pass
        content = memory.read()
    tags, _ = read(content, *struct.unpack_from("<I", content, 4))
    return tuple(tag for tag in tags if tag[0] in (34735, 34736, 34737))


def nodata(number: float) -> Tag:
    """The number of no data, in as many digits as bring it back exactly; "nan" and "inf" as GDAL reads them."""
    text = str(number) if isinstance(number, int) else f"{number:.17g}"
    return 42113, ASCII, text.encode() + b"\0"


def meaning(sample: int, name: str, scale: float, offset: float, unit: str | None) -> str:
    """What the numbers of a band are, for `metadata`."""
    lines = [("DESCRIPTION", "description", name)]
    if (scale, offset) != (1.0, 0.0):
        lines += [("OFFSET", "offset", repr(offset)), ("SCALE", "scale", repr(scale))]
    if unit:
        lines.append(("UNITTYPE", "unittype", unit))
    # Escaped twice, as GDAL writes it and reads it.
    return "".join(
        f'  <Item name="{what}" sample="{sample}" role="{role}">{escape(escape(text))}</Item>\n'
        for what, role, text in lines
    )


def metadata(meanings: Iterable[str]) -> Tag:
    """Scale, offset, unit and description of each band, as GDAL writes and reads them."""
    return 42112, ASCII, f"<GDALMetadata>\n{''.join(meanings)}</GDALMetadata>\n".encode() + b"\0"
