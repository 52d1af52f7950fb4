"""ETags of JSON: what tells a client that it has the newest already, and a writer that nobody else wrote meanwhile."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

_QUOTED = re.compile(r'"[^"]*"')


def of(*contents: bytes) -> str:
    """The tag of some bytes. A weak one: what goes out may be compressed or not.

    >>> of(b"one"), of(b"o", b"ne") == of(b"one")
    ('W/"1e6a1cd42f67c5d4"', True)
    """
    found = hashlib.blake2b(digest_size=8)
    for content in contents:
        found.update(content)
    return f'W/"{found.hexdigest()}"'


def of_made(said: str, kind: str) -> str:
    """The tag of a file of a media type that is a function of what is said here; weak where it may be compressed.

    >>> of_made("one", "image/png"), of_made("one", "application/json")[:3]
    ('"7692c3ad3540bb803c020b3aee66cd88"', 'W/"')
    """
    name = hashlib.sha256(said.encode()).hexdigest()[:32]
    return f'"{name}"' if kind.startswith("image/") else f'W/"{name}"'


def both(content: bytes, told: bytes) -> str:
    """The tag of something that is told with more than is stored of it: the first part is of what is stored.

    >>> both(b"one", b"two").startswith(of(b"one").removesuffix('"'))
    True
    """
    return of(content).removesuffix('"') + of(told).replace('W/"', "-")


def names(given: str, tag: str) -> bool:
    """Whether a list of tags has this one, weak or not.

    >>> names('"a", W/"b"', 'W/"b"'), names('"b"', 'W/"b"'), names('"c"', '"b"')
    (True, True, False)
    """
    return tag.removeprefix("W/") in _QUOTED.findall(given)


def stored(given: str, content: bytes) -> bool:
    """Whether a list of tags has one of what is stored so, whatever is told with it."""
    mine = of(content).removeprefix("W/").strip('"')
    return any(one.strip('"').partition("-")[0] == mine for one in _QUOTED.findall(given))


def known(request: Request, tag: str) -> bool:
    """Whether the client has what carries this tag: alone, in a list, weakened by a proxy, or any (RFC 9110)."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or names(given, tag)


def passing(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of an answer that nobody is to keep: it lacks something that may be there again soon."""
    return {**{name: value for name, value in headers.items() if name != "ETag"}, "Cache-Control": "no-store"}


def answer(
    request: Request, content: bytes, kind: str, *, tag: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """JSON with its tag, or 304 where the client has it. Where the content is long, its maker knows a shorter tag."""
    found = {**(headers or {}), "ETag": tag or of(content), "Cache-Control": "no-cache"}
    if request.method in ("GET", "HEAD") and known(request, found["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=found)
    return Response(content, headers=found, media_type=kind)
