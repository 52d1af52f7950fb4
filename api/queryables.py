"""What may be searched and sorted by, as JSON Schema: of one collection, and of all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import caller
from api.links import SCHEMA
from catalog.queryables import Kind, Queryable
from catalog.store import Catalog
from kartotek.settings import Settings

_GEOMETRY = {"$ref": "https://geojson.org/schema/Geometry.json"}
_TYPES: dict[Kind, dict[str, Any]] = {
    Kind.TEXT: {"type": "string"},
    Kind.NUMBER: {"type": "number"},
    Kind.INTEGER: {"type": "integer"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.INSTANT: {"type": "string", "format": "date-time"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.ARRAY: {"type": "array"},
    Kind.GEOMETRY: _GEOMETRY,
    Kind.MIXED: {},
}
_ALWAYS = frozenset({"id", "collection", "geometry", "datetime"})
"""What every item has."""


def router(settings: Settings, catalog: Catalog) -> APIRouter:
    """Queryables and sortables."""
    made = APIRouter(tags=["Queryables"])
    schema: dict[int | str, dict[str, Any]] = {200: {"content": {SCHEMA: {}}, "description": "A JSON Schema"}}

    def answer(request: Request, what: str, collection: str | None = None) -> Response:
        reader, path = caller.reader(request), what
        if collection is not None:
            catalog.collection(reader, collection)
            path = f"collections/{collection}/{what}"
        found = list(catalog.queryables(reader, None if collection is None else [collection]).values())
        if what == "sortables":
            found = [one for one in found if one.sortable]
        document = _schema(f"{settings.root}/{path}", what.title(), found)
        return Response(orjson.dumps(document), media_type=SCHEMA)

    def add(path: str, endpoint: Any, summary: str) -> None:
        made.add_api_route(path, endpoint, summary=summary, response_class=Response, responses=schema)

    def queryables(request: Request) -> Response:
        return answer(request, "queryables")

    def sortables(request: Request) -> Response:
        return answer(request, "sortables")

    def collection_queryables(request: Request, collection_id: str) -> Response:
        return answer(request, "queryables", collection_id)

    def collection_sortables(request: Request, collection_id: str) -> Response:
        return answer(request, "sortables", collection_id)

    add("/queryables", queryables, "What items can be searched by")
    add("/sortables", sortables, "What items can be sorted by")
    add(
        "/collections/{collection_id}/queryables", collection_queryables, "What a collection's items can be searched by"
    )
    add("/collections/{collection_id}/sortables", collection_sortables, "What a collection's items can be sorted by")
    return made


def _schema(address: str, title: str, found: Iterable[Queryable]) -> dict[str, Any]:
    told = {one.name: _property(one) for one in found if one.name in _ALWAYS or one.held}
    return {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$id": address,
        "type": "object",
        "title": title,
        "properties": dict(sorted(told.items())),
        "additionalProperties": False,
    }


def _property(one: Queryable) -> dict[str, Any]:
    found = dict(_TYPES[one.kind])
    if one.kind is Kind.ARRAY:
        return found | ({"items": {"enum": list(one.values)}} if one.values else {})
    if one.values and one.kind is not Kind.GEOMETRY:
        found["enum"] = list(one.values)
    elif one.kind in (Kind.NUMBER, Kind.INTEGER) and one.minimum is not None:
        found |= {"minimum": one.minimum, "maximum": one.maximum}
    return found
