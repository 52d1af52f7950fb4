"""Things that threads want at the same time, each of which one of them gets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Coming(Generic[Value]):
    """What somebody gets."""

    result: Future[Value]
    alone: bool
    """Whether nothing else is got with it, which may be what is wrong."""


class Once(Generic[Key, Value]):
    """Keeps things for a while, and has each got by one thread; safe to share between threads."""

    def __init__(self, kept: LRUCache[Key, Value]) -> None:
        self._kept = kept
        self._coming: dict[Key, _Coming[Value]] = {}
        """What somebody gets just now; who wants it too waits for it."""
        self._lock = Lock()

    def get(
        self,
        keys: Collection[Key],
        read: Callable[[list[Key]], Mapping[Key, Value]],
        waiting: AbstractContextManager[None] | None = None,
    ) -> dict[Key, Value]:
        """Key → what there is of it; `read` gets all that nobody has.

        What others get already is waited for inside of `waiting`. Raises as `read`, and KeyError for what that leaves
        out; nothing of what is wrong with another thing that somebody wanted at the same time.
        """
        found: dict[Key, Value] = {}
        mine: list[Key] = []
        others: dict[Key, _Coming[Value]] = {}
        with self._lock:
            for key in dict.fromkeys(keys):
                if (value := self._kept.get(key)) is not None:
                    found[key] = value
                elif key in self._coming:
                    others[key] = self._coming[key]
                else:
                    mine.append(key)
            self._coming |= {key: _Coming(Future(), alone=len(mine) == 1) for key in mine}
        if mine:
            found |= self._read(mine, read)
        again: list[Key] = []
        with waiting or nullcontext():
            for key, coming in others.items():
                if coming.alone or coming.result.exception() is None:
                    found[key] = coming.result.result()
                else:
                    again.append(key)
        for key in again:
            found |= self.get([key], read)
        return found

    def _read(self, mine: list[Key], read: Callable[[list[Key]], Mapping[Key, Value]]) -> Mapping[Key, Value]:
        """Whoever waits for these has them, or the error, when this returns."""
        try:
            read_now = read(mine)
            found = {key: read_now[key] for key in mine}
        except BaseException as error:
            with self._lock:
                for key in mine:
                    self._coming.pop(key).result.set_exception(error)
            raise
        with self._lock:
            for key, value in found.items():
                self._keep(key, value)
                self._coming.pop(key).result.set_result(value)
        return found

    def keep(self, key: Key, value: Value) -> None:
        """Keep what came by the way, if there is room for such a thing."""
        with self._lock:
            self._keep(key, value)

    def _keep(self, key: Key, value: Value) -> None:
        if self._kept.getsizeof(value) <= self._kept.maxsize:
            self._kept[key] = value
