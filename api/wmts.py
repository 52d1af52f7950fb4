"""WMTS 1.0.0 (OGC 07-057r7), by KVP and REST: a layer for each render of a collection, and for each registered mosaic.

A collection's layer is a mosaic of its items, the newest on top; TIME narrows it to a date or a period.
"""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api import caller, capabilities, definitions, layers, tags
from api.capabilities import XML
from api.definitions import Definition, MosaicTileQuery
from api.layers import MOSAIC
from api.mosaics import Tiles
from api.places import TMS, Column, Row, Tms, Zoom
from api.routing import Direct
from catalog.access import Reader
from catalog.store import Catalog
from kartotek.errors import BadRequest, NotFound
from kartotek.settings import Settings
from pixels import encode

MOST_MOSAICS = 100
"""Mosaics that the capabilities tell of; tiles come of all."""
_NO_TILE = re.compile(r"no tile \d")
_ANY_TIME = ("", "default", "current")
_FORMS = {kind: form for form, (kind, _) in encode.PICTURES.items() if form != "jpeg"}
"""Media type → suffix; PNG is the first, which clients take unless they are told otherwise."""

_PICTURES: dict[str, Any] = {kind: {} for kind in _FORMS}
_KVP: dict[int | str, dict[str, Any]] = {
    200: {"content": {XML: {}, **_PICTURES}, "description": "The capabilities, or a tile"},
    304: {"description": "The client has it already"},
    400: {"content": {XML: {}}, "description": "An ows:ExceptionReport"},
}
_TILE: dict[int | str, dict[str, Any]] = {200: {"content": _PICTURES, "description": "A tile"}, 304: _KVP[304]}

Text = str | None


class _Kvp(BaseModel):
    """The parameters of WMTS; their names may be written in any case."""

    model_config = ConfigDict(frozen=True)

    service: Annotated[Text, Field(alias="SERVICE", description="WMTS.")] = None
    request: Annotated[Text, Field(alias="REQUEST", description="GetCapabilities or GetTile.")] = None
    version: Annotated[Text, Field(alias="VERSION", description="1.0.0.")] = None
    layer: Annotated[Text, Field(alias="LAYER", description="COLLECTION:RENDER, or mosaic:ID.")] = None
    style: Annotated[Text, Field(alias="STYLE", description="default.")] = None
    form: Annotated[Text, Field(alias="FORMAT", description=f"One of {', '.join(_FORMS)}.")] = None
    tms: Annotated[Text, Field(alias="TILEMATRIXSET", description=TMS)] = None
    matrix: Annotated[Text, Field(alias="TILEMATRIX", description="The level, from 0 on.")] = None
    row: Annotated[Text, Field(alias="TILEROW", description="From the top.")] = None
    column: Annotated[Text, Field(alias="TILECOL", description="From the left.")] = None
    time: Annotated[Text, Field(alias="TIME", description="A date, or two with / between them.")] = None


def router(settings: Settings, catalog: Catalog, drawn: Tiles) -> APIRouter:
    """The routes of WMTS."""
    made = APIRouter(tags=["WMTS"], route_class=Direct)
    where = f"{settings.root}/wmts"

    def told(request: Request) -> Response:
        reader = caller.reader(request)
        told_of = layers.of_collections(catalog, reader) + layers.of_mosaics(catalog, reader, MOST_MOSAICS)
        content = capabilities.document(settings.title, where, told_of, _FORMS)
        return tags.answer(request, content, XML)

    @made.get("/wmts", summary="WMTS by KVP", response_class=Response, responses=_KVP)
    def kvp(request: Request, given: Annotated[_Kvp, Query()]) -> Response:
        # In any case: QGIS writes capitals, OpenLayers too, others don't.
        said = {name.lower(): value for name, value in request.query_params.items()}
        try:
            if said.get("service", "wmts").lower() != "wmts":
                raise _Wrong("InvalidParameterValue", "service", "only WMTS is served here")
            wanted = said.get("request", "")
            if wanted.lower() == "getcapabilities":
                return told(request)
            if wanted.lower() != "gettile":
                code = "OperationNotSupported" if wanted else "MissingParameterValue"
                raise _Wrong(code, "request", "GetCapabilities and GetTile are served")
            missing = [
                name for name in ("layer", "tilematrixset", "tilematrix", "tilerow", "tilecol") if name not in said
            ]
            if missing:
                raise _Wrong("MissingParameterValue", missing[0], f"{missing[0]} is needed for a tile")
            kind = said.get("format", "image/png")
            if kind not in _FORMS:
                raise _Wrong("InvalidParameterValue", "format", f"there are {', '.join(_FORMS)}")
            place = (said["tilematrixset"], said["tilematrix"], said["tilecol"], said["tilerow"], _FORMS[kind])
            return _tile(request, said["layer"], said.get("style", ""), said.get("time", ""), place)
        except _Wrong as error:
            return Response(capabilities.exception(error.code, error.locator, str(error)), 400, media_type=XML)
        except (BadRequest, NotFound) as error:
            code = "TileOutOfRange" if _NO_TILE.match(str(error)) else "InvalidParameterValue"
            return Response(capabilities.exception(code, None, str(error)), HTTPStatus.BAD_REQUEST, media_type=XML)

    @made.get(
        "/wmts/1.0.0/WMTSCapabilities.xml", summary="The capabilities of the WMTS", response_class=Response,
        responses={200: {"content": {XML: {}}, "description": "The capabilities"}, 304: _KVP[304]},
    )  # fmt: skip
    def by_rest(request: Request) -> Response:
        return told(request)

    @made.get(
        "/wmts/1.0.0/{layer}/{style}/{time:path}/{tms}/{matrix}/{row}/{column}.{form}",
        summary="A tile of the WMTS by REST; for any time it is `default`", response_class=Response, responses=_TILE,
    )  # fmt: skip
    def tile(
        request: Request,
        layer: str,
        style: str,
        time: str,
        tms: Tms,
        matrix: Zoom,
        row: Row,
        column: Column,
        form: Annotated[str, Path(description=f"One of {', '.join(encode.PICTURES)}")],
    ) -> Response:
        return _tile(request, layer, style, time, (tms, matrix, column, row, form))

    def _tile(request: Request, layer: str, style: str, time: str, place: tuple[Any, ...]) -> Response:
        if style not in ("", "default"):
            raise BadRequest(f"style: no {style[:40]!r}; there is `default`")
        # Of each day from one to another, as the capabilities have it: that is all of them.
        definition, shown = _asked(catalog, layer, None if time in _ANY_TIME else time.removesuffix("/P1D"))
        return drawn.answer(request, definition, place, shown)

    return made


class _Wrong(Exception):
    """What WMTS has a code for."""

    def __init__(self, code: str, locator: str, words: str) -> None:
        super().__init__(words)
        self.code, self.locator = code, locator


def _asked(catalog: Catalog, layer: str, time: str | None) -> tuple[Callable[[Reader], Definition], MosaicTileQuery]:
    """What gives the mosaic that a layer is, and how it is shown."""
    name, _, render = layer.rpartition(":")  # an id may have one too
    if not (name and render):
        raise NotFound(f"no layer {layer[:60]!r}; GetCapabilities lists those that there are")
    if name == MOSAIC:
        return lambda reader: definitions.read(catalog, reader, render, time), MosaicTileQuery()
    given: Mapping[str, Any] = {"collections": [name], **({"datetime": time} if time else {})}
    try:
        shown = MosaicTileQuery(render=render)
    except ValidationError:  # a longer name than any render has
        raise NotFound(f"no layer {layer[:60]!r}; GetCapabilities lists those that there are") from None
    return lambda reader: definitions.made(catalog, reader, given), shown
