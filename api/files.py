"""The files of published items: /files/{key}, whole or in part."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from api import caller, tags
from api.errors import problem
from catalog.access import PUBLIC
from catalog.store import Catalog
from kartotek.errors import NotFound, StorageError
from kartotek.settings import Settings
from kartotek.storage import MARKER, MEDIA_TYPES, Storage

_KEY = re.compile(r"([^/]+)/([^/]+)/[^/]+\.([0-9a-f]{64})(\.[a-z0-9]+)")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)
PIECE = 1 << 20
"""Bytes that are sent at a time."""
CONTENT: dict[str, dict[str, str]] = {kind: {} for kind in MEDIA_TYPES.values()}
"""What may come, for the OpenAPI document."""


def router(catalog: Catalog, storage: Storage, *, redirect: bool = False) -> APIRouter:
    """The routes of files; where asked for, GET sends clients on to an address of the storage's own, if it has one."""
    made = APIRouter(tags=["Files"])

    @made.head("/files/{key:path}", include_in_schema=False)
    @made.get(
        "/files/{key:path}",
        summary="A file of an item, whole or a range of bytes",
        response_class=Response,
        responses={
            200: {"content": CONTENT, "description": "The file"},
            206: {"content": CONTENT, "description": "A range of its bytes"},
            304: {"description": "The client has it already"},
            307: {"description": "It lies at a signed address of the bucket"},
        },
    )
    def file(request: Request, key: str) -> Response:
        found = _KEY.fullmatch(key)
        if found is None:
            raise NotFound(f"no file {key!r}")
        collection, item, checksum, suffix = found.groups()
        reader = caller.reader(request)
        try:
            content = catalog.item(reader, collection, item)
        except NotFound:
            raise NotFound(f"no file {key!r}") from None
        if f'"href":"{MARKER}{key}"'.encode() not in content:
            raise NotFound(f"no file {key!r}")
        headers = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{checksum}"',
            # What anyone gets, a cache may give to anyone; an answer to who may see more is for them alone.
            "Cache-Control": f"{'public' if reader == PUBLIC else 'private'}, max-age=31536000, immutable",
        }
        if tags.known(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        if redirect and request.method == "GET" and (address := storage.url(key)):
            return RedirectResponse(address, headers={"Cache-Control": "no-store"})  # the address expires
        kind = MEDIA_TYPES.get(suffix, "application/octet-stream")
        return part(request, partial(storage.read, key), storage.size(key), headers, kind)

    return made


def part(
    request: Request, read: Callable[[int, int], bytes], size: int, headers: dict[str, str], kind: str
) -> Response:
    """A file, or the range of it that is asked for (RFC 9110, 14.2); `read` gives bytes from a start, so many.

    `headers` are those of the whole file, with its ETag.
    """
    start, stop = 0, size
    status = HTTPStatus.OK
    asked = request.headers.get("range") if request.method == "GET" else None
    if asked and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]:
        wanted = _part(asked, size)
        if wanted == ():
            return problem(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"range {asked!r} of a file of {size} bytes",
                {"Content-Range": f"bytes */{size}"},
            )
        if wanted:
            (start, stop), status = wanted, HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(_pieces(read, start, stop), status, headers, kind)


def addresses(settings: Settings, storage: Storage) -> list[str]:
    """Addresses whose origins files come from: that of the links, and the bucket's where clients are sent on to it.

    Without the latter where it can't be told now, for want of credentials: a page without pictures is better than none.
    """
    found = [settings.files_root]
    if settings.files == "redirect":
        with contextlib.suppress(StorageError):
            if signed := storage.url("any/file"):
                found.append(signed)
    return found


def _part(asked: str, size: int) -> tuple[int, int] | tuple[()] | None:
    """(start, stop) of a range; () where it can't be met; None where it is not one range of bytes, and may be ignored.

    >>> _part("bytes=0-9", 100), _part("bytes=-10", 100), _part("bytes=200-", 100), _part("lines=1-2", 100)
    ((0, 10), (90, 100), (), None)
    """
    found = _RANGE.fullmatch(asked.replace(" ", ""))
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else ()
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return (start, stop) if start < size else ()


def _pieces(read: Callable[[int, int], bytes], start: int, stop: int) -> Iterator[bytes]:
    while start < stop:
        piece = read(start, min(PIECE, stop - start))
        yield piece
        start += len(piece)
        if not piece:
            return
