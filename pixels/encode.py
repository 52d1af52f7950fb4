"""Pictures as files for browsers and map clients."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache

import imagecodecs
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from pixels.render import Raster

QUALITY = 75
"""Of JPEG and lossy WebP, as GDAL's drivers have it."""
_EFFORT = 0
"""WebP's method: the first takes a half of the time of the third, for a fifth more bytes."""
_LEVEL = 1
"""Of ISA-L: its other levels take longer or give more bytes for pictures from satellites."""
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6


def png(raster: Raster) -> bytes:
    """A PNG (RFC 2083): of a palette where the picture has one, else grey or RGB; with transparency where needed.

    Written here and packed by ISA-L, in a tenth of libpng's time: a tile is made for one look.
    """
    rows, columns = raster.valid.shape
    if not raster.valid.any():
        return _transparent(rows, columns)
    if raster.palette is not None:
        return _png(raster.shades, _PALETTE, palette=raster.palette)
    grey = raster.shades.shape[2] == 1
    if raster.valid.all():
        return _png(raster.shades, _GREY if grey else _RGB)
    alpha = np.where(raster.valid, np.uint8(255), np.uint8(0))
    return _png(np.dstack([raster.shades, alpha]), _GREY_ALPHA if grey else _RGBA)


@lru_cache(maxsize=8)
def _transparent(rows: int, columns: int) -> bytes:
    """A picture without anything."""
    return _png(np.zeros((rows, columns, 4), np.uint8), _RGBA)


def _png(pixels: NDArray[np.uint8], kind: int, palette: NDArray[np.uint8] | None = None) -> bytes:
    rows, columns, samples = pixels.shape
    lines = np.empty((rows, 1 + columns * samples), np.uint8)
    lines[:, 0] = 2
    flat = pixels.reshape(rows, -1)
    lines[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=lines[1:, 1:])
    parts = [_chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, kind, 0, 0, 0))]
    if palette is not None:
        parts += [_chunk(b"PLTE", palette[:, :3].tobytes()), _chunk(b"tRNS", palette[:, 3].tobytes())]
    parts += [_chunk(b"IDAT", isal_zlib.compress(lines, _LEVEL)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def webp(raster: Raster) -> bytes:
    """A lossy WebP; with transparency where something is not seen."""
    coloured = raster.palette is None and raster.shades.shape[2] == 3 and raster.valid.all()
    pixels = raster.shades if coloured else raster.rgba
    return bytes(imagecodecs.webp_encode(pixels, level=QUALITY, method=_EFFORT, lossless=False))


def jpeg(raster: Raster) -> bytes:
    """A JPEG; white where nothing is seen, since it has no transparency."""
    pixels = raster.shades if raster.palette is None else np.ascontiguousarray(raster.rgba[..., :3])
    if pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if not raster.valid.all():
        pixels = pixels.copy()
        pixels[~raster.valid] = 255
    return bytes(imagecodecs.jpeg8_encode(pixels, level=QUALITY))


PICTURES: Mapping[str, tuple[str, Callable[[Raster], bytes]]] = {
    "png": ("image/png", png),
    "webp": ("image/webp", webp),
    "jpg": ("image/jpeg", jpeg),
    "jpeg": ("image/jpeg", jpeg),
}
"""Suffix → media type, and what encodes a picture so."""
