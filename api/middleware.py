"""What is done with every request before a route sees it: its id and line in the log, HEAD, how large a body may be."""

from __future__ import annotations

import logging
import re
import time
import uuid
from http import HTTPStatus

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import nesting
from api.errors import problem, unforeseen
from kartotek import logs
from kartotek.errors import BadRequest

KNOW_HEAD = ("/files/", "/products/", "/viewer/")
"""Routes that answer HEAD themselves, without reading what they would send."""

HARMLESS = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The ids of requests that are taken from callers."""

COSTLY = re.compile(
    r"/search|(/collections/[^/]+)?/(aggregate|items)|/collections/[^/]+/browse(/.*)?|/mosaics/[^/]+/items"
)
"""Paths whose answers may be long work for the database."""

HEAVY = re.compile(r"/(collections/[^/]+/items|mosaics)/[^/]+/(statistics|crop\.[a-z]+)")
"""Paths whose answers may read many pixels, and hold as much memory as that takes."""

TILES = re.compile(r"/tiles/.*|/collections/[^/]+/items/[^/]+/point")
"""Paths of items' tiles and points."""

MANY = re.compile(r"/mosaics/[^/]+/(tiles/.*|point)|/wmts(/.*)?")
"""Paths whose answers may be of many items; maps ask for many at once."""

PATIENCE = 1.0
"""Seconds for which a place among costly ones is waited for."""

SHORT = 4 * 1024
"""Bytes of a body that are looked through in less time than it takes to have another thread do it."""

log = logging.getLogger("kartotek.access")


class Requests:
    """An id for every request, in the log and in the answer's X-Request-ID, and one line about it once it is answered.

    The outermost of ours, so that what nobody foresaw is answered here too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if HARMLESS.fullmatch(given) else uuid.uuid4().hex
        # Never reset: each request has a context of its own, and the server's line about what went wrong comes later.
        logs.request.set(name)
        began, status, size = time.perf_counter(), None, 0

        async def noted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", name.encode())]}
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            if status is None:
                await unforeseen()(scope, receive, noted)
            raise  # the server writes it to the log
        finally:
            _tell(scope, status, 1000 * (time.perf_counter() - began), size)


def _tell(scope: Scope, status: int | None, ms: float, size: int) -> None:
    """One line about a request; of its query nothing, since people put secrets there. No status: it was cut off."""
    path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")
    level = logging.INFO if status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR else logging.ERROR
    told = {"method": scope["method"], "path": path, "status": status, "ms": round(ms, 1), "bytes": size}
    log.log(level, "%s %s %s, %.1f ms, %d bytes", *told.values(), extra=told)


class Head:
    """HEAD as GET without the body, wherever GET is answered (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].startswith(KNOW_HEAD):
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET"}, receive, without_body)


class Body:
    """Bodies up to a number of bytes, and JSON nested up to a depth; others are refused before anything parses them."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        words = f"the body is larger than {self.most} bytes, the most that is read"
        stated = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if stated.isdecimal() and int(stated) > self.most:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)(scope, receive, send)
            return

        async def whole() -> Message:
            """The body in one piece, where somebody reads it."""
            content = bytearray()
            while True:
                message = await receive()
                content += message.get("body", b"")
                if len(content) > self.most:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
                if not message.get("more_body"):
                    break
            if message["type"] != "http.request":
                return message
            try:
                if len(content) < SHORT:
                    nesting.check("body", content)
                else:
                    await run_in_threadpool(nesting.check, "body", content)
            except BadRequest as error:  # FastAPI would say no more than that it can't be parsed
                raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from error
            return {**message, "body": bytes(content)}

        await self.app(scope, whole, send)


class Costly:
    """So much costly work at a time, and no more: an item or a file is never kept waiting by it.

    Who finds no place for some seconds is told to come again.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most: int,
        paths: re.Pattern[str] = COSTLY,
        what: str = "searches",
        patience: float = PATIENCE,
    ) -> None:
        """`paths` are those that are counted together, `what` is what they are called to who is sent away, after so
        many seconds of `patience`."""
        self.app, self.most, self.paths, self.what, self.patience = app, most, paths, what, patience
        self._places: anyio.Semaphore | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not self.paths.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        if self._places is None:  # made where there is an event loop
            self._places = anyio.Semaphore(self.most)
        try:
            await self._place(self._places)
        except TimeoutError:
            words = f"{self.most} {self.what} are being answered, as many as are at a time; come again"
            await problem(HTTPStatus.SERVICE_UNAVAILABLE, words, {"Retry-After": "1"})(scope, receive, send)
            return
        left = False

        def leave() -> None:
            nonlocal left
            if not left and self._places is not None:
                left = True
                self._places.release()

        async def noted(message: Message) -> None:
            # The work is done; a client may take its time to read what comes of it.
            leave()
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            leave()

    async def _place(self, places: anyio.Semaphore) -> None:
        try:
            places.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.fail_after(self.patience):
                await places.acquire()
