"""Memory of this process: kept for what comes next, where fetching it anew takes as long as the work."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""As malloc.h numbers them."""
_LARGE = 4 << 20
"""Bytes from which on a piece of memory is given back at once; four times as many may be kept that nobody uses."""


def keep() -> None:
    """Have memory that was used kept, up to 16 MiB a thread, instead of given back and fetched again each time.

    As mallopt(3) has it; other C libraries than glibc go their own way.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        tune = ctypes.CDLL(None).mallopt
        tune(_M_MMAP_THRESHOLD, _LARGE)
        tune(_M_TRIM_THRESHOLD, 4 * _LARGE)
