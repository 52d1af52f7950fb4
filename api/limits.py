"""How much of what takes long is done at a time; who waits is told to come again, and who has gone is not served."""

from __future__ import annotations

import asyncio
import re
from asyncio import AbstractEventLoop, Semaphore
from collections.abc import Iterable
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


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of one kind of work is done at a time."""

    paths: re.Pattern[str]
    most: int
    what: str
    """What it is called to who is sent away."""
    patience: float
    """Seconds for which a place is waited for."""


def of(settings: Settings, *, remote: bool) -> tuple[Limit, ...]:
    """The limits of a server whose files lie at the other end of a network, or beside it.

    So many tiles as keep the processors busy, and one more: even more would only take Python's lock from each other.
    All limits together leave some of the 40 threads that there are to all else, unless a setting widens them.
    """
    count = processors.count()
    tiles = TOGETHER if remote else min(count + 1, TOGETHER)
    areas = settings.heavy or min(max(4 if remote else 2, count), AREAS_TOGETHER)
    return (
        Limit(SEARCHES, settings.costly, "searches", SHORTLY),
        Limit(AREAS, areas, "crops and statistics", QUEUE),
        Limit(TILES, tiles, "tiles and points", QUEUE),
    )


class Limited:
    """So much work of each kind at a time, and no more: an item or a file is never kept waiting by it.

    In asyncio's own means: anyio's take a tenth of the event loop's time where all have to wait. Each event loop has
    places of its own; a server has one.
    """

    def __init__(self, app: ASGIApp, *, limits: Iterable[Limit]) -> None:
        self.app, self._limits = app, tuple(limits)
        self._places: WeakKeyDictionary[AbstractEventLoop, list[tuple[Limit, Semaphore]]] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            path = scope["path"]
            for limit, places in self._kinds():
                if limit.paths.fullmatch(path):
                    await self._in_turn(limit, places, scope, receive, send)
                    return
        await self.app(scope, receive, send)

    def _kinds(self) -> list[tuple[Limit, Semaphore]]:
        """The limits, each with its places in this event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._places:
            self._places[loop] = [(limit, Semaphore(limit.most)) for limit in self._limits]
        return self._places[loop]

    async def _in_turn(self, limit: Limit, places: Semaphore, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one of a kind, once there is a place."""
        waited: _Client | None = None
        if not places.locked():
            await places.acquire()
        else:
            try:
                async with asyncio.timeout(limit.patience):
                    await places.acquire()
            except TimeoutError:
                words = f"{limit.most} {limit.what} are being answered, as many as are at a time; come again"
                await problem(HTTPStatus.SERVICE_UNAVAILABLE, words, {"Retry-After": "1"})(scope, receive, send)
                return
            waited = _Client(receive)
            receive = waited.receive
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                places.release()

        async def noted(message: Message) -> None:
            # The work is done; a client may take its time to read what comes of it.
            leave()
            await send(message)

        try:
            if waited is None or not await waited.has_gone():
                await self.app(scope, receive, noted)
        finally:
            leave()


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
