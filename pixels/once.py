"""Things that threads want at the same time, each of which one of them gets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key")
Value = TypeVar("Value")


class Once(Generic[Key, Value]):
    """Keeps things for a while, and has each got by one thread; safe to share between threads."""

    def __init__(self, kept: LRUCache[Key, Value]) -> None:
        self._kept = kept
        self._coming: dict[Key, Future[Value]] = {}
        """What somebody gets just now; who wants it too waits for it."""
        self._lock = Lock()

    def get(
        self,
        keys: Collection[Key],
        read: Callable[[list[Key]], Mapping[Key, Value]],
        waiting: AbstractContextManager[None] | None = None,
    ) -> dict[Key, Value]:
        """Key → what there is of it; `read` gets all that nobody has, and what it raises is raised to all who want it.

        What others get already is waited for inside of `waiting`.
        """
        found: dict[Key, Value] = {}
        mine: list[Key] = []
        others: dict[Key, Future[Value]] = {}
        with self._lock:
            for key in dict.fromkeys(keys):
                if (value := self._kept.get(key)) is not None:
                    found[key] = value
                elif key in self._coming:
                    others[key] = self._coming[key]
                else:
                    self._coming[key] = Future()
                    mine.append(key)
        if mine:
            found |= self._read(mine, read)
        with waiting or nullcontext():
            return found | {key: coming.result() for key, coming in others.items()}

    def _read(self, mine: list[Key], read: Callable[[list[Key]], Mapping[Key, Value]]) -> Mapping[Key, Value]:
        """Whoever waits for these has them, or the error, when this returns."""
        try:
            found = read(mine)
        except BaseException as error:
            with self._lock:
                for key in mine:
                    self._coming.pop(key).set_exception(error)
            raise
        with self._lock:
            for key in mine:
                self._keep(key, found[key])
                self._coming.pop(key).set_result(found[key])
        return found

    def keep(self, key: Key, value: Value) -> None:
        """Keep what came by the way, if there is room for such a thing."""
        with self._lock:
            self._keep(key, value)

    def _keep(self, key: Key, value: Value) -> None:
        if self._kept.getsizeof(value) <= self._kept.maxsize:
            self._kept[key] = value
