"""How much of what takes long is done at a time; who waits is told to come again, and who has gone is not served."""

from __future__ import annotations

import asyncio
import re
from asyncio import AbstractEventLoop, BoundedSemaphore
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from kartotek import processors
from kartotek.settings import Settings

SEARCHES = re.compile(
    r"/search|(/collections/[^/]+)?/(aggregate|items)|/collections/[^/]+/browse(/.*)?|/mosaics/[^/]+/items"
)
"""Paths whose answers may be long work for the database."""

AREAS = re.compile(r"/(collections/[^/]+/items|mosaics)/[^/]+/(statistics|crop\.[^/]+)")
"""Paths whose answers may read many pixels, and hold as much memory as that takes."""

TILES = re.compile(
    r"/tiles/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/[^/]+|/collections/[^/]+/items/[^/]+/point"
    r"|/mosaics/[^/]+/(tiles/[^/]+/[^/]+/[^/]+/[^/]+|point)|/wmts(/.*)?"
)
"""Paths of tiles and points, of items and of mosaics; maps ask for many at once."""

SHORTLY = 1.0
"""Seconds for which a place among searches is waited for."""
QUEUE = 5.0
"""The same among the others: a map asks for more of them at a time, and a server's first answer takes a second more."""

TOGETHER = 16
"""Tiles and points that are made at a time where reads wait for a network, and at most."""
AREAS_TOGETHER = 8
"""Crops and statistics that are worked at at a time, at most, unless it is set: each may take 256 MB."""
APART = 0.006
"""Processor seconds from when one of them is begun until the next is, unless it is done sooner.

Small ones take less, and two at once would take Python's lock from each other; a large one delays the next by no more.
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of one kind of work is done at a time."""

    paths: re.Pattern[str]
    most: int
    what: str
    """What it is called to who is sent away."""
    patience: float
    """Seconds for which a place is waited for."""
    apart: float = 0.0
    """Seconds from when one is begun until the next is, unless it is done sooner."""


def of(settings: Settings, *, remote: bool) -> tuple[Limit, ...]:
    """The limits of a server whose files lie at the other end of a network, or beside it.

    So many tiles as keep the processors busy, and one more: even more would only take Python's lock from each other.
    All limits together leave some of the 40 threads that there are to all else, unless a setting widens them.
    """
    count = processors.count()
    tiles = TOGETHER if remote else min(count + 1, TOGETHER)
    areas = settings.heavy or min(max(6 if remote else 2, count), AREAS_TOGETHER)
    return (
        Limit(SEARCHES, settings.costly, "searches", SHORTLY),
        Limit(AREAS, areas, "crops and statistics", QUEUE, APART / max(2, count)),
        Limit(TILES, tiles, "tiles and points", QUEUE),
    )


class Limited:
    """So much work of each kind at a time, and no more: an item or a file is never kept waiting by it.

    In asyncio's own means: anyio's take a tenth of the event loop's time where all have to wait. Each event loop has
    places of its own; a server has one.
    """

    def __init__(self, app: ASGIApp, *, limits: Iterable[Limit]) -> None:
        self.app, self._limits = app, tuple(limits)
        self._places: WeakKeyDictionary[AbstractEventLoop, list[_Places]] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            path = scope["path"]
            for places in self._kinds():
                if places.limit.paths.fullmatch(path):
                    await self._in_turn(places, scope, receive, send)
                    return
        await self.app(scope, receive, send)

    def _kinds(self) -> list[_Places]:
        """The places of each limit in this event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._places:
            self._places[loop] = [_Places(limit) for limit in self._limits]
        return self._places[loop]

    async def _in_turn(self, places: _Places, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one of a kind, once there is a place."""
        limit, waited = places.limit, None
        if not places.taken():
            place = await places.take()
        else:
            try:
                async with asyncio.timeout(limit.patience):
                    place = await places.take()
            except TimeoutError:
                words = f"{limit.most} {limit.what} are being answered, as many as are at a time; come again"
                await problem(HTTPStatus.SERVICE_UNAVAILABLE, words, {"Retry-After": "1"})(scope, receive, send)
                return
            waited = _Client(receive)
            receive = waited.receive

        async def noted(message: Message) -> None:
            # The work is done; a client may take its time to read what comes of it.
            place.close()
            await send(message)

        with place:
            if waited is None or not await waited.has_gone():
                await self.app(scope, receive, noted)


class _Places:
    """The places of one kind of work in one event loop."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._free, self._begun = BoundedSemaphore(limit.most), BoundedSemaphore(1)

    def taken(self) -> bool:
        """Whether who comes now has to wait."""
        return self._free.locked() or self._begun.locked()

    async def take(self) -> ExitStack:
        """Wait for a place, which is left by `close`, as often as that is called."""
        with ExitStack() as place:  # who is cut off while it waits for its turn leaves
            await self._free.acquire()
            place.callback(self._free.release)
            if self.limit.apart:
                await self._begun.acquire()
                turn = place.enter_context(ExitStack())
                turn.callback(self._begun.release)
                place.callback(asyncio.get_running_loop().call_later(self.limit.apart, turn.close).cancel)
            return place.pop_all()


class _Client:
    """Who has waited, and may have gone meanwhile: maps drop what has left the window."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._heard: list[Message] = []

    async def has_gone(self) -> bool:
        """Whether nothing can come any more; what has come is kept for who reads it later."""
        while True:
            try:
                async with asyncio.timeout(0):  # what is there already comes all the same
                    self._heard.append(await self._receive())
            except TimeoutError:
                return False
            if self._heard[-1]["type"] == "http.disconnect":
                return True

    async def receive(self) -> Message:
        """What the client sent, from the beginning."""
        return self._heard.pop(0) if self._heard else await self._receive()
