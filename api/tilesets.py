"""Tile sets of collections, as OGC API - Tiles (20-057) and the Tile Set Metadata of 17-083r4 write them.

Their tiles are those of the WMTS: a collection's newest items on top.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter
from morecantile import TileMatrixSet
from starlette.requests import Request
from starlette.responses import Response

from api import caller, layers, tags
from api.layers import Layer
from api.links import JSON, SCHEME
from api.places import Tms
from api.routing import Direct
from catalog.store import Catalog
from kartotek import matrices
from kartotek.errors import NotFound
from kartotek.settings import Settings
from pixels import encode

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {JSON: {}}, "description": "OGC's JSON"},
    304: {"description": "The client has it already"},
}
_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_ITEM = {kind: form for form, (kind, _) in reversed([*encode.PICTURES.items()])}
"""Media type → suffix."""


def router(settings: Settings, catalog: Catalog) -> APIRouter:
    """The routes of tile sets, where OGC API - Tiles has them: of maps, in the usual style and in each."""
    made = APIRouter(tags=["Tiles"], route_class=Direct)

    def all_of_them(request: Request, collection: str, style: str | None) -> Response:
        own = _address(settings, collection, style)
        layer = layers.of_collection(catalog, caller.reader(request), collection, style)
        found = [] if layer is None else [_tile_set(settings, own, layer, one) for one in matrices.served().values()]
        told = {"tilesets": found, "links": [{"rel": "self", "href": own, "type": JSON}]}
        return tags.answer(request, orjson.dumps(told), JSON)

    def one_of_them(request: Request, collection: str, style: str | None, tms: str) -> Response:
        own, matrix_set = _address(settings, collection, style), matrices.find(tms)
        layer = layers.of_collection(catalog, caller.reader(request), collection, style)
        if layer is None:
            raise NotFound(f"collection {collection!r} has no items, and so no tiles")
        return tags.answer(request, orjson.dumps(_tile_set(settings, own, layer, matrix_set, whole=True)), JSON)

    def usual(request: Request, collection_id: str) -> Response:
        return all_of_them(request, collection_id, None)

    def usual_one(request: Request, collection_id: str, tms: Tms) -> Response:
        return one_of_them(request, collection_id, None, tms)

    def styled(request: Request, collection_id: str, render: str) -> Response:
        return all_of_them(request, collection_id, render)

    def styled_one(request: Request, collection_id: str, render: str, tms: Tms) -> Response:
        return one_of_them(request, collection_id, render, tms)

    def add(path: str, endpoint: Any, summary: str) -> None:
        path = f"/collections/{{collection_id}}{path}"
        made.add_api_route(path, endpoint, summary=summary, response_class=Response, responses=_ANSWER)

    add("/map/tiles", usual, "The tile sets of a collection's usual render")
    add("/map/tiles/{tms}", usual_one, "One of them")
    add("/styles/{render}/map/tiles", styled, "The tile sets of a render of a collection")
    add("/styles/{render}/map/tiles/{tms}", styled_one, "One of them")
    return made


def _address(settings: Settings, collection: str, style: str | None) -> str:
    own = f"{settings.root}/collections/{quote(collection, safe='')}"
    return f"{own}/map/tiles" if style is None else f"{own}/styles/{quote(style, safe='')}/map/tiles"


def _tile_set(
    settings: Settings, where: str, layer: Layer, tms: TileMatrixSet, *, whole: bool = False
) -> dict[str, Any]:
    """A tile set; `whole` with the links to its tiles, as it is told by itself."""
    name = str(tms.id)
    links: list[dict[str, Any]] = [
        {"rel": "self", "href": f"{where}/{name}", "type": JSON},
        {"rel": SCHEME, "href": f"{settings.root}/tileMatrixSets/{name}", "type": JSON},
    ]
    told: dict[str, Any] = {
        "title": layer.title,
        "dataType": "map",
        "crs": matrices.uri(tms),
        **({"tileMatrixSetURI": str(tms.uri)} if tms.uri else {}),
        "links": links,
    }
    if not whole:
        return told
    tiles = f"{settings.root}/wmts/1.0.0/{quote(layer.name, safe=':')}/default/default/{name}"
    links += [
        {
            "rel": "item",
            "href": f"{tiles}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}.{form}",
            "type": kind,
            "templated": True,
        }
        for kind, form in _ITEM.items()
    ]
    if layer.bounds and len(layer.bounds) == 4:
        west, south, east, north = layer.bounds
        told["boundingBox"] = {"lowerLeft": [west, south], "upperRight": [east, north], "crs": _CRS84}
    return told
