"""Whether loops over pixels run compiled: they do for large bands, where the extra `fast` (Numba) is installed."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

import numpy as np

MANY = 2_000_000
"""Pixels of a band for which it pays to load Numba, which takes as long as NumPy takes for these."""

_kernels: ModuleType | None = None


def load(pixels: int = MANY) -> None:
    """Have the compiled loops ready, if they are installed and so many pixels are worth it."""
    global _kernels
    if _kernels is None and pixels >= MANY:
        _kernels = _installed()


@cache
def _installed() -> ModuleType | None:
    try:
        return importlib.import_module("kartotek.kernels")
    except ImportError:
        return None


def loaded() -> ModuleType | None:
    """`kartotek.kernels`, if it is loaded."""
    return _kernels


def kernels(data_type: np.dtype[np.generic]) -> ModuleType | None:
    """`kartotek.kernels`, if it is loaded and takes pixels of a type; what they give is the same without."""
    return _kernels if _kernels is not None and data_type.name in _kernels.TYPES else None
