"""Errors as problem documents (RFC 9457), each kind with its status, in one table."""

from __future__ import annotations

import logging
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from kartotek import errors

ANSWERS: dict[type[Exception], tuple[HTTPStatus, str | None]] = {
    errors.NotFound: (HTTPStatus.NOT_FOUND, None),
    errors.NotStored: (HTTPStatus.NOT_FOUND, "the file is not in the storage"),
    errors.TookTooLong: (HTTPStatus.BAD_REQUEST, None),
    errors.Conflict: (HTTPStatus.CONFLICT, None),
    errors.Outdated: (HTTPStatus.PRECONDITION_FAILED, None),
    errors.BadRequest: (HTTPStatus.BAD_REQUEST, None),
    errors.CatalogError: (HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer"),
    errors.NotMigrated: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database's tables are not of this version; run `kartotek migrate` on the server",
    ),
    errors.StorageError: (HTTPStatus.SERVICE_UNAVAILABLE, "the storage does not answer"),
    errors.KartotekError: (HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the server; it is in the server's log"),
}
"""Error → its status, and what the caller is told. None: its message. What went wrong on the server is told in general
words, since messages for the log name paths and hosts."""

log = logging.getLogger("kartotek.api")


def problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A problem document. `code` and `description` stand in it too, as the STAC API asks."""
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": status.phrase.replace(" ", ""),
        "description": detail,
    }
    return Response(orjson.dumps(content), status.value, headers, media_type="application/problem+json")


def unforeseen() -> Response:
    """The answer where an error has no entry in the table; `api.middleware.Requests` gives it."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an error that we did not foresee; it is in the server's log")


def add_handlers(app: FastAPI) -> None:
    """Answer every error that an application foresees with a problem document."""
    for kind, (status, words) in ANSWERS.items():
        app.add_exception_handler(kind, _handler(status, words))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        return problem(HTTPStatus.BAD_REQUEST, "; ".join(_reason(found) for found in error.errors()[:5]))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(sorted(_allowed(request)))
        return problem(status, str(error.detail), headers)


def _allowed(request: Request) -> set[str]:
    """The methods of a path; the framework tells those of its first route alone, and there is one for each method."""
    found = {
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in request.app.routes)
    }
    return found | {"HEAD"} if "GET" in found else found


def _handler(status: HTTPStatus, words: str | None):  # type: ignore[no-untyped-def]
    def handle(request: Request, error: Exception) -> Response:
        if words is not None:
            log.error("%s %s: %s", request.method, request.url.path, error)
        headers = {"Retry-After": "5"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
        return problem(status, words or str(error), headers)

    return handle


def _reason(found: dict[str, object]) -> str:
    """What is wrong with a parameter, in words."""
    place = ".".join(str(part) for part in found["loc"] if part not in {"query", "path", "body"})  # type: ignore[attr-defined]
    return f"{place or 'body'}: {found['msg']}"
