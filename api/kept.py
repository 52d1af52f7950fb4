"""What is put together from what the catalog says of an item; kept for a while, since requests come in numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

from catalog.store import Described
from pixels.formula import Formula

MEMORY = 16 << 20
"""Bytes that kept things of one kind take."""
SMALL = 4_000
"""Those of one of layers."""
OF_TEXT = 16
"""Those that a character of a formula takes once it is read."""

Asked = TypeVar("Asked", bound=Hashable)
Made = TypeVar("Made")


class Kept(Generic[Asked, Made]):
    """Makes things of items as they are asked for. Safe to share between threads.

    By what the catalog says just now: what was said of an item before may not be true any more.
    """

    def __init__(self, make: Callable[[Described, Asked], Made], size: Callable[[Made], int]) -> None:
        """`size` tells about the bytes that a thing takes."""
        self._make = make
        self._made: LRUCache[tuple[bytes, Asked], Made] = LRUCache(MEMORY, getsizeof=size)
        self._lock = Lock()

    def of(self, described: Described, asked: Asked) -> Made:
        """What is asked for of an item. Raises as the maker."""
        key = (described.tag, asked)
        with self._lock:
            found = self._made.get(key)
        if found is None:
            found = self._make(described, asked)
            with self._lock:
                self._made[key] = found
        return found


def size_of(values: Iterable[str | Formula]) -> int:
    """About the bytes that something made of layers and formulas takes."""
    return SMALL + OF_TEXT * sum(len(value.text) for value in values if isinstance(value, Formula))
