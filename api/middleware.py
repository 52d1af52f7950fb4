"""What is done with every request before a route sees it: its id and line in the log, HEAD, how large a body may be."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import nesting
from api.errors import problem, unforeseen
from kartotek import logs
from kartotek.errors import BadRequest

KNOW_HEAD = ("/files/", "/products/", "/viewer/")
"""Routes that answer HEAD themselves, without reading what they would send."""

HARMLESS = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The ids of requests that are taken from callers."""

CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
"""Characters that no address of ours has. Routes match before a last line break as well as at the end."""

BODILESS = ("GET", "HEAD", "OPTIONS", "TRACE")
"""Methods of which nobody reads a body."""

READING = 30.0
"""Seconds that a client may take to send a body."""

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
        answer: ASGIApp = self.app
        if CONTROLS.search(scope["path"]):
            answer = problem(HTTPStatus.NOT_FOUND, "nothing lies at an address with control characters in it")

        async def noted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", name.encode())]}
            size += len(message.get("body", b""))
            await send(message)

        try:
            await answer(scope, receive, noted)
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
    """Bodies up to a number of bytes, and JSON nested up to a depth; others are refused before anything parses them.

    They are read before anything else is done, so that nobody else waits for who sends his slowly.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in BODILESS:
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(READING):
                content = await self._read(Headers(scope=scope).get("content-length", ""), receive)
            if content is None:
                return
            if len(content) < SHORT:
                nesting.check("body", content)
            else:
                await run_in_threadpool(nesting.check, "body", content)
        except _TooLong:
            words = f"the body is larger than {self.most} bytes, the most that is read"
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)(scope, receive, send)
        except TimeoutError:
            words = f"the body did not come within {READING:g} s"
            await problem(HTTPStatus.REQUEST_TIMEOUT, words, {"Connection": "close"})(scope, receive, send)
        except BadRequest as error:  # FastAPI would say no more than that it can't be parsed
            await problem(HTTPStatus.BAD_REQUEST, str(error))(scope, receive, send)
        else:
            whole: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

            async def read() -> Message:
                return whole.pop() if whole else await receive()

            await self.app(scope, read, send)

    async def _read(self, stated: str, receive: Receive) -> bytes | None:
        """The body in one piece; None where the client has gone. Raises _TooLong."""
        if stated.isdecimal() and int(stated) > self.most:
            raise _TooLong
        content, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            content += message.get("body", b"")
            if len(content) > self.most:
                raise _TooLong
            more = message.get("more_body", False)
        return bytes(content)


class _TooLong(Exception):
    """A body has more bytes than are read."""
