"""uvicorn, as we run it: it ends with status 0 when it is told to, once all that it has in hand is answered."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from http import HTTPStatus

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.errors import problem
from kartotek import allocator

HEAD = 64 * 1024
"""Bytes of a request's head, at most."""
WAITING = 2048
"""Connections that wait at the door, at most (uvicorn's backlog)."""
MANNERS = 1.0
"""Seconds for which those who have connected but not asked yet are waited for."""


def run(app: ASGIApp, listener: socket.socket, *, patience: int) -> None:
    """Serve until SIGTERM or SIGINT, and then for `patience` seconds at most what is in hand."""
    allocator.keep()
    config = uvicorn.Config(
        app,
        log_config=None,  # what it says goes where all lines go
        log_level="warning",
        access_log=False,  # ours, with the request's id, is in api.middleware
        server_header=False,
        backlog=WAITING,
        loop="uvloop",
        http=Protocol,
        ws="none",  # we have no WebSockets, and what is installed for them raises on a Host that is not ASCII
        timeout_graceful_shutdown=patience,
    )
    # Uvicorn raises either signal again once all is shut down; to be stopped is no failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


class Server(uvicorn.Server):
    """uvicorn's, but it answers those too who had connected when it was told to stop; uvicorn's hangs up on them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let in who waits at the door, close it, hear what they ask, and go on as uvicorn does."""
        await _turn()
        for server in self.servers:
            server.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._all_have_asked(), MANNERS)
        await _turn()
        await super().shutdown(sockets)

    async def _all_have_asked(self) -> None:
        """Return once each connection has made its first request."""
        await asyncio.sleep(0.05)  # those who were let in just now come into the list
        while any(getattr(connection, "cycle", None) is None for connection in self.server_state.connections):
            await asyncio.sleep(0.05)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, but one answer a request: what comes after its head may turn out to be no HTTP any more.

    And no more than so many bytes are taken for a head: the parser itself would take all that come.
    """

    _head = 0
    """Bytes that came of a head that has not ended yet."""
    _in_head = False
    """Whether a request has begun whose head has not ended."""

    def data_received(self, data: bytes) -> None:
        """Feed the parser, if the head that it is in the middle of is not too long."""
        # Of what comes with a head's beginning, a part may be of others: only what comes after counts for sure.
        self._head += len(data) if self._in_head else 0
        if self.transport.is_closing():
            return
        if self._head > HEAD:
            self._unset_keepalive_if_required()
            self.send_400_response(f"The head of a request is longer than {HEAD} bytes.")
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        super().on_headers_complete()
        self._in_head = False

    def send_400_response(self, msg: str) -> None:
        """Say so, where nothing else has been answered yet, and hang up; who is still answering is told of it."""
        answering = self.cycle is not None and not self.cycle.response_complete
        nothing_yet = not self.cycle.response_started if answering else self._in_head or self.cycle is None
        if nothing_yet:
            if self._in_head and len(self.url) >= HEAD:  # where all of it came at once the parser gives up
                msg = f"The address of a request is longer than {HEAD} bytes."
            told = problem(HTTPStatus.BAD_REQUEST, msg, {"Connection": "close"})
            fields = [b"%b: %b\r\n" % field for field in (*self.server_state.default_headers, *told.raw_headers)]
            self.transport.write(b"".join([STATUS_LINE[told.status_code], *fields, b"\r\n", told.body]))
        self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


async def _turn() -> None:
    """Let the event loop take what the sockets have: new connections, and requests that lie unread."""
    await asyncio.sleep(0.01)
    for _ in range(WAITING):  # libuv lets one in a turn
        await asyncio.sleep(0)
