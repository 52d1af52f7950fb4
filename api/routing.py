"""Routes that read a request in their own way: what is asked most in one step, and what is stored strictly."""

import codecs
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response


class Direct(APIRoute):
    """An endpoint of the request, the path's parts, and a model `given`, of the query or the body, if it has one.

    A body that is a JSON object of any kind goes by its own name.

    FastAPI tells of it as of any other, but looks at each parameter of a model by itself and parses a body twice, which
    takes as long as a search.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        endpoint, query = self.endpoint, [_model(field) for field in self.dependant.query_params]
        body = None if self.body_field is None else _body(self.body_field)
        if self.dependant.dependencies:
            raise NotImplementedError(f"{self.path}: dependencies are not asked here; give it an APIRoute")

        async def handle(request: Request) -> Response:
            given: dict[str, Any] = dict(request.path_params)
            for model in query:
                given["given"] = _checked("query", model.model_validate, dict(request.query_params))
            if body is not None:
                name, read = body
                given[name] = _checked("body", read, await _json(request))
            return await run_in_threadpool(endpoint, request, **given)

        return handle


class Strict(APIRoute):
    """An endpoint whose body is JSON as RFC 8259 has it.

    Python's own reader lets through what can't be stored as JSON: NaN, half a character, integers of any length.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await answer(_Strict(request.scope, request.receive))

        return handle


class _Strict(Request):
    async def json(self) -> Any:
        """As `_loaded`."""
        return _loaded(await self.body())


def _loaded(content: bytes) -> Any:
    """Integers of more than 64 bits as the nearest number. Raises HTTPException for what is no JSON."""
    try:
        return orjson.loads(content.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"body: no JSON: {error}") from error


def _body(field: Any) -> tuple[str, Callable[[bytes], Any]]:
    """What an endpoint calls a body, and what reads it."""
    kind = _model(field)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "given", kind.model_validate_json
    free = TypeAdapter(kind)
    return field.name, lambda content: free.validate_python(_loaded(content))


def _model(field: Any) -> type[BaseModel]:
    found: type[BaseModel] = field.field_info.annotation
    return found


async def _json(request: Request) -> bytes:
    """The body, which says that it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"body: {kind[:40]!r} can't be read; send application/json")
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body ended too early") from error


def _checked(where: str, validate: Callable[[Any], Any], given: Any) -> Any:
    try:
        return validate(given)
    except ValidationError as error:
        found = [{**one, "loc": (where, *one["loc"])} for one in error.errors(include_url=False, include_input=False)]
        raise RequestValidationError(found) from None
