"""How much of what takes long is done at a time; who waits is told to come again, and who has gone is not served."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

import anyio
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

    So many tiles as keep the processors busy, and two more: even more would only take Python's lock from each other.
    All limits together leave some of the 40 threads that there are to all else, unless a setting widens them.
    """
    count = processors.count()
    tiles = TOGETHER if remote else min(count + 2, TOGETHER)
    areas = settings.heavy or min(max(4 if remote else 2, count), AREAS_TOGETHER)
    return (
        Limit(SEARCHES, settings.costly, "searches", SHORTLY),
        Limit(AREAS, areas, "crops and statistics", QUEUE),
        Limit(TILES, tiles, "tiles and points", QUEUE),
    )


class Limited:
    """So much work of one kind at a time, and no more: an item or a file is never kept waiting by it."""

    def __init__(self, app: ASGIApp, *, limit: Limit) -> None:
        self.app, self.limit = app, limit
        self._places: anyio.Semaphore | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        limit = self.limit
        if scope["type"] != "http" or not limit.paths.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        waited: _Client | None = None
        places = self._places = self._places or anyio.Semaphore(limit.most)  # made where there is an event loop
        try:
            places.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(limit.patience):
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
            with anyio.CancelScope() as scope:  # as Starlette's Request.is_disconnected: without waiting
                scope.cancel()
                self._heard.append(await self._receive())
            if scope.cancelled_caught:
                return False
            if self._heard[-1]["type"] == "http.disconnect":
                return True

    async def receive(self) -> Message:
        """What the client sent, from the beginning."""
        return self._heard.pop(0) if self._heard else await self._receive()
