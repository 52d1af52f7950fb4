"""Who asks: the one seam between a request and what it may see."""

from __future__ import annotations

from starlette.requests import Request

from catalog.access import PUBLIC, Reader


def reader(request: Request) -> Reader:
    """The reader behind a request: anyone, until there is signing in."""
    return PUBLIC
