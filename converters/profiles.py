"""How blocks of a COG are packed: a few ways, each without loss, that trade bytes for time.

What each costs stands in docs/reference/profiles.md, measured by benchmarks/profiles.py.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

LEVEL = 1
"""Of DEFLATE: with libdeflate and a predictor as small as level 6, for 0.4 of its processor time."""

_POSITIONS = {1: (3, 0, 0), 2: (2, 1, 1), 4: (2, 2, 2), 8: (1, 3, 3)}
"""Bytes of a whole number → LZMA's lc, lp and pb, by which it learns of each byte of a number apart: of differences the
upper ones are alike, the lower ones are not."""


class Profile(StrEnum):
    """What blocks are packed by."""

    STANDARD = "standard"
    """DEFLATE, which every reader of TIFF knows."""
    COMPACT = "compact"
    """LZMA, which those have that are built on GDAL or libtiff."""

    @property
    def compression(self) -> int:
        """TIFF's number for it: 8 is Adobe's DEFLATE, 34925 libtiff's LZMA2 in an .xz stream."""
        return {Profile.STANDARD: 8, Profile.COMPACT: 34925}[self]

    def pack(self, shaped: NDArray[Any]) -> bytes:
        """A block's bytes; its pixels have been through TIFF's predictor.

        The same pixels give the same bytes, as long as libdeflate and liblzma are of the same version.
        """
        if self is Profile.STANDARD:
            return bytes(imagecodecs.deflate_encode(shaped.tobytes(), level=LEVEL, raw=False))
        return lzma.compress(shaped.tobytes(), lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=[_filter(shaped.dtype)])


def _filter(dtype: np.dtype[Any]) -> Mapping[str, int]:
    """LZMA's settings for pixels of a type."""
    # Of floating point numbers the predictor has put all first bytes together, then all second ones.
    lc, lp, pb = _POSITIONS[1 if dtype.kind == "f" else dtype.itemsize]
    return {
        "id": lzma.FILTER_LZMA2,
        "lc": lc,
        "lp": lp,
        "pb": pb,
        "dict_size": 1 << 20,
        # Noise repeats nothing, so that looking for repetitions at length costs thrice the time and gains no byte.
        "mode": lzma.MODE_NORMAL,
        "mf": lzma.MF_BT2,
        "nice_len": 64,
        "depth": 1,
    }
