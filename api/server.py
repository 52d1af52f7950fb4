"""uvicorn, as we run it: it ends with status 0 when it is told to, once all that it has in hand is answered."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MANNERS = 1.0
"""Seconds for which those who have connected but not asked yet are waited for."""


def run(app: ASGIApp, listener: socket.socket, *, patience: int) -> None:
    """Serve until SIGTERM or SIGINT, and then for `patience` seconds at most what is in hand."""
    config = uvicorn.Config(
        app,
        log_config=None,  # what it says goes where all lines go
        log_level="warning",
        access_log=False,  # ours, with the request's id, is in api.middleware
        server_header=False,
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


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, but one answer a request: what comes after its head may turn out to be no HTTP any more."""

    def send_400_response(self, msg: str) -> None:
        """Say so, where nothing else has been answered yet, and hang up; who is still answering is told of it."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


async def _turn() -> None:
    """Let the event loop take what the sockets have: new connections, and requests that lie unread."""
    for _ in range(3):
        await asyncio.sleep(0)
