"""The tile matrix sets, as OGC's Two Dimensional Tile Matrix Set standard 2.0 (17-083r4) writes them."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import tags
from api.links import JSON, SCHEME
from kartotek import matrices
from kartotek.settings import Settings

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {JSON: {}}, "description": "OGC's JSON"},
    304: {"description": "The client has it already"},
}


def router(settings: Settings) -> APIRouter:
    """The routes of tile matrix sets, where OGC API - Tiles has them."""
    made = APIRouter(tags=["Tiles"])

    @made.get("/tileMatrixSets", summary="The tile matrix sets", response_class=Response, responses=_ANSWER)
    def all_of_them(request: Request) -> Response:
        told = [
            {
                "id": name,
                "title": tms.title or name,
                "uri": str(tms.uri) if tms.uri else None,
                "crs": matrices.uri(tms),
                "links": [
                    {
                        "rel": SCHEME,
                        "href": f"{settings.root}/tileMatrixSets/{name}",
                        "type": JSON,
                    }
                ],
            }
            for name, tms in matrices.served().items()
        ]
        return tags.answer(request, orjson.dumps({"tileMatrixSets": told}), JSON)

    @made.get("/tileMatrixSets/{tms}", summary="A tile matrix set", response_class=Response, responses=_ANSWER)
    def one(request: Request, tms: str) -> Response:
        return tags.answer(request, matrices.find(tms).model_dump_json(exclude_none=True).encode(), JSON)

    return made
