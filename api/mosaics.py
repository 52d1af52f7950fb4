"""Mosaics: searches as pictures. Registered at /mosaics, or told in the address of each tile (/mosaics/inline)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api import caller, candidates, definitions, tags, tiles
from api.candidates import ITEMS, Candidates
from api.definitions import SORTBY, Definition, InlineQuery, MosaicBody, MosaicTileQuery
from api.display import TileQuery
from api.links import GEOJSON, JSON
from api.pictures import Pictures
from api.places import Column, Row, Tms, Zoom, grid_of
from api.routing import Direct
from api.tags import known
from catalog.access import Reader
from catalog.store import Catalog
from kartotek.grids import Grid
from kartotek.settings import Settings
from kartotek.stopwatch import Stopwatch
from pixels import encode, mosaic, render
from pixels.blocks import Blocks
from pixels.mosaic import Mosaic
from pixels.render import Raster

EVERYWHERE = [-180.0, -90.0, 180.0, 90.0]
SOURCES = "json"
"""The suffix of what says where a tile's pixels come from."""

_FORMS = f"One of {', '.join(encode.PICTURES)}; {SOURCES} tells the item of each pixel"
_TILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {kind: {} for kind in sorted({kind for kind, _ in encode.PICTURES.values()} | {JSON})},
        "description": f"256 or 512 pixels, transparent where no item has data; {ITEMS} tells how many were opened "
        "of how many, Server-Timing the stages",
    },
    204: {"description": "Nothing is seen, and the request has `empty=204`"},
    304: {"description": "The client has it already"},
}
_JSON: dict[int | str, dict[str, Any]] = {
    200: {"content": {JSON: {}}, "description": "The mosaic"},
    304: {"description": "The client has it already"},
}
Form = Annotated[str, Path(description=_FORMS)]


class _ItemsQuery(BaseModel):
    """Of a mosaic's items."""

    model_config = ConfigDict(frozen=True)

    datetime: Annotated[str | None, Field(description="Narrows that of the mosaic.")] = None
    limit: Annotated[int | None, Field(ge=1, description="Items of a page, 10 unless it is given.")] = None
    token: Annotated[str | None, Field(description="Where another page begins, from a link of this one.")] = None
    fields: Annotated[str | None, Field(description="The members of items that the answer has.")] = None


class Tiles:
    """Makes tiles of mosaics."""

    def __init__(self, settings: Settings, catalog: Catalog, pictures: Pictures, blocks: Blocks) -> None:
        self._most = settings.mosaic_items
        self._catalog = catalog
        self._pictures = pictures
        self._blocks = blocks

    def answer(
        self, request: Request, definition: Callable[[Reader], Definition], address: tuple[Any, ...], given: TileQuery
    ) -> Response:
        """A tile, by the parts of its address."""
        watch, reader = Stopwatch(), caller.reader(request)
        tms, z, x, y, form = address
        with watch.stage("index"):
            kind, encoded = (JSON, None) if form == SOURCES else tiles.form_of(form)
            target = grid_of(tms, str(z), str(x), str(y))
            wanted = definition(reader)
            shown = wanted.shown(given)
            shown.style(orjson.loads(wanted.kind))  # what is wrong with it is told of empty tiles too
            found = candidates.find(self._catalog, reader, wanted, target)
        most = wanted.most(self._most)
        version = found.version(render.VERSION, wanted, shown, most)
        tag = tags.of_made(f"{version} {target} {kind} {given.empty}", kind)
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if known(request, headers["ETag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        each = found.each(wanted.kind, lambda described: self._pictures.of(described, shown))
        one = mosaic.composed(self._blocks, each, target, most, watch, median=wanted.median)
        headers |= found.told(one.opened, one.unread)
        if one.unread:
            headers = tags.passing(headers)
        if given.empty == "204" and (one.raster is None or not one.raster.valid.any()):
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
        with watch.stage("encode"):
            if encoded is None:
                content = _sources(found, one, median=wanted.median)
            else:
                content = encoded(one.raster or _nothing(target))
        headers["Server-Timing"] = tiles.timing(watch)
        return Response(content, headers=headers, media_type=kind)


def router(settings: Settings, catalog: Catalog, drawn: Tiles, items: Callable[..., Response]) -> APIRouter:
    """The routes of mosaics; `items` answers a search of a request, by its parameters and its own address."""
    made = APIRouter(tags=["Mosaics"], route_class=Direct)

    @made.post(
        "/mosaics", summary="Register a search as a mosaic; the same one has the same id",
        status_code=HTTPStatus.CREATED, response_class=Response,
        responses={201: {"content": {JSON: {}}, "description": "Its id, and links to its tiles"}},
    )  # fmt: skip
    def register(request: Request, given: MosaicBody) -> Response:
        reader = caller.reader(request)
        found = definitions.made(catalog, reader, given.model_dump(by_alias=True, exclude_unset=True))
        found.shown(given).style(orjson.loads(found.kind))
        if found.search is not None:
            catalog.places(reader, replace(found.search, limit=1))  # its filter is looked at where it is put to use
        name = catalog.mosaics.put(found.canonical, most=settings.mosaics)
        content = orjson.dumps({"id": name, "links": links(settings, name)})
        headers = {"Location": f"{settings.root}/mosaics/{name}"}
        return Response(content, status_code=HTTPStatus.CREATED, headers=headers, media_type=JSON)

    @made.get(
        "/mosaics/inline/tiles/{tms}/{z}/{x}/{y}.{form}", summary="A tile of a mosaic that is told in the address",
        response_class=Response, responses=_TILE,
    )  # fmt: skip
    def inline(
        request: Request, tms: Tms, z: Zoom, x: Column, y: Row, form: Form, given: Annotated[InlineQuery, Query()]
    ) -> Response:
        def definition(reader: Reader) -> Definition:
            return definitions.made(catalog, reader, given.model_dump(by_alias=True, exclude_unset=True))

        return drawn.answer(request, definition, (tms, z, x, y, form), given)

    @made.get("/mosaics/{mosaic}", summary="What a mosaic is", response_class=Response, responses=_JSON)
    def one(request: Request, mosaic: str) -> Response:
        reader = caller.reader(request)
        found = definitions.read(catalog, reader, mosaic)
        told = {
            "id": mosaic,
            "definition": found.said,
            "bounds": bounds(catalog, reader, found),
            "links": links(settings, mosaic),
        }
        return tags.answer(request, orjson.dumps(told), JSON)

    @made.get(
        "/mosaics/{mosaic}/items", summary="The items of a mosaic, in its order", response_class=Response,
        responses={200: {"content": {GEOJSON: {}}, "description": "A page of items"}, 304: _TILE[304]},
    )  # fmt: skip
    def of_mosaic(request: Request, mosaic: str, given: Annotated[_ItemsQuery, Query()]) -> Response:
        found = definitions.read(catalog, caller.reader(request), mosaic, given.datetime)
        asked = {name: value for name, value in found.said.items() if name in definitions.SEARCH}
        asked |= {"sortby": SORTBY[found.order], **given.model_dump(exclude_unset=True)}
        if found.search is None:
            asked["ids"] = ["\u200b"]  # no item's: the two times have nothing in common
            asked.pop("datetime", None)
        else:
            asked["datetime"] = definitions.time_of(found.search)
        return items(request, asked, f"{settings.root}/mosaics/{mosaic}/items")

    @made.get(
        "/mosaics/{mosaic}/tiles/{tms}/{z}/{x}/{y}.{form}", summary="A tile of a mosaic", response_class=Response,
        responses=_TILE,
    )  # fmt: skip
    def registered(
        request: Request, mosaic: str, tms: Tms, z: Zoom, x: Column, y: Row, form: Form,
        given: Annotated[MosaicTileQuery, Query()],
    ) -> Response:  # fmt: skip
        def definition(reader: Reader) -> Definition:
            return definitions.read(catalog, reader, mosaic, given.datetime)

        return drawn.answer(request, definition, (tms, z, x, y, form), given)

    return made


def _nothing(target: Grid) -> Raster:
    return Raster(np.zeros((*target.shape, 1), np.uint8), np.zeros(target.shape, np.bool_))


def _sources(found: Candidates, one: Mosaic, *, median: bool) -> bytes:
    """The items that were opened, and of each pixel which of them it comes from; of a median, how many it is of."""
    told = found.named(one.opened)
    if median:
        return orjson.dumps({"items": told, "counts": one.source.tolist()})
    numbers = np.full(len(found.places) + 1, -1, np.int16)  # the last is that of no item
    numbers[list(one.opened)] = np.arange(len(one.opened))
    return orjson.dumps({"items": told, "pixels": numbers[one.source].tolist()})


def links(settings: Settings, name: str) -> list[Mapping[str, Any]]:
    """Where a mosaic is found, with all that is made of it."""
    own = f"{settings.root}/mosaics/{name}"
    return [
        {"rel": "self", "href": own, "type": JSON},
        {"rel": "items", "href": f"{own}/items", "type": GEOJSON},
        {"rel": "tilejson", "href": f"{own}/tilejson.json", "type": JSON},
        {
            "rel": "xyz",
            "href": f"{own}/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.png",
            "type": "image/png",
            "templated": True,
        },
        {"rel": "root", "href": f"{settings.root}/", "type": JSON},
    ]


def bounds(catalog: Catalog, reader: Reader, found: Definition) -> list[float]:
    """West, south, east, north of what is searched in; where that is everywhere, of all that the collections have."""
    if found.search is not None and found.search.area is not None:
        return list(found.search.area.bounds)
    told = catalog.summaries(reader, found.said["collections"]).values()
    boxes = [tally.bounds for tally in told if tally.bounds]
    if not boxes:
        return EVERYWHERE
    west, south, east, north = zip(*boxes, strict=True)
    return [min(west), min(south), max(east), max(north)]
