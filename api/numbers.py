"""Numbers of items and of mosaics: at a place, of an area as a file or in statistics, and tiles for programs."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api import answers, areas, caller
from api.answers import FORMS
from api.display import TileQuery
from api.measures import (
    AreaQuery,
    BoxQuery,
    MosaicAreaQuery,
    MosaicBoxQuery,
    MosaicPointQuery,
    MosaicStatisticsQuery,
    Narrowed,
    PointQuery,
    StatisticsQuery,
)
from api.pictures import Pictures
from api.places import Column, Row, Tms, Zoom, grid_of
from api.routing import Direct
from api.subjects import Item, Means, Mosaic
from catalog.store import Catalog
from kartotek.settings import Settings
from pixels import files
from pixels.blocks import Blocks

ITEM, MOSAIC = "/collections/{collection_id}/items/{item_id}", "/mosaics/{mosaic}"

Suffix = Annotated[str, Path(description=f"One of {', '.join(FORMS)}")]
Area = Annotated[dict[str, Any], Body(description=areas.AREA)]
Areas = Annotated[dict[str, Any], Body(description=areas.AREAS)]

_POINT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/json": {"schema": {"type": "object", "required": ["values"]}}},
        "description": "Each value's number as it is stored, what it measures, its unit, its class; null without data",
    },
    304: {"description": "The client has it already"},
}
_STATISTICS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"application/json": {"schema": {"type": "object", "required": ["areas"]}}},
        "description": "For each area and value: min, max, mean, std, median, percentiles, histogram, count, valid "
        "share; shares of classes; which overview was read",
    },
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {kind: {} for kind in sorted(set(FORMS.values()))},
        "description": "Numbers (tif, npy) or a picture (png, webp, jpg); Server-Timing tells its stages",
    },
    304: {"description": "The client has it already"},
}
_TILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {kind: {} for kind, _ in files.FORMS.values()},
        "description": "Numbers as they are stored, or in float32 with NaN where they are computed",
    },
    304: {"description": "The client has it already"},
}


def router(settings: Settings, catalog: Catalog, pictures: Pictures, blocks: Blocks) -> APIRouter:
    """The routes of numbers; before those of tiles, whose addresses are alike."""
    made = APIRouter(tags=["Numbers"], route_class=Direct)

    def add(path: str, endpoint: Any, summary: str, responses: Any, method: str = "GET") -> None:
        route = {"methods": [method], "summary": summary, "responses": responses, "response_class": Response}
        made.add_api_route(path, endpoint, **route)

    means = Means.of(catalog, blocks, pictures)
    _of_items(add, means, blocks)
    _of_mosaics(add, settings, means, blocks)
    return made


def _of_items(add: Any, means: Means, blocks: Blocks) -> None:
    def found(request: Request, collection: str, name: str) -> Item:
        return Item(means, caller.reader(request), collection, name)

    def point(request: Request, collection_id: str, item_id: str, given: Annotated[PointQuery, Query()]) -> Response:
        return answers.item_point(request, blocks, lambda: found(request, collection_id, item_id), given)

    def box(
        request: Request, collection_id: str, item_id: str, form: Suffix, given: Annotated[BoxQuery, Query()]
    ) -> Response:
        return answers.crop(request, blocks, lambda: found(request, collection_id, item_id), form, given, given.area)

    def polygon(
        request: Request,
        collection_id: str,
        item_id: str,
        form: Suffix,
        given: Annotated[AreaQuery, Query()],
        area: Area,
    ) -> Response:
        place = areas.polygon_of(area)
        return answers.crop(request, blocks, lambda: found(request, collection_id, item_id), form, given, place)

    def statistics(
        request: Request, collection_id: str, item_id: str, given: Annotated[StatisticsQuery, Query()], area: Areas
    ) -> Response:
        return answers.statistics(blocks, lambda: found(request, collection_id, item_id), given, area)

    def tile(
        request: Request,
        collection: str,
        item: str,
        tms: Tms,
        z: Zoom,
        x: Column,
        y: Row,
        given: Annotated[TileQuery, Query()],
    ) -> Response:
        form, grid = request.url.path.rpartition(".")[2], grid_of(tms, str(z), str(x), str(y))
        return answers.tile(request, blocks, lambda: found(request, collection, item), grid, form, given)

    add(f"{ITEM}/point", point, "The numbers of an item at a place, at full resolution", _POINT)
    add(f"{ITEM}/crop.{{form}}", box, "The numbers or the picture of a box of an item, as a file", _FILE)
    summary = "The numbers or the picture of a polygon of an item, as a file"
    add(f"{ITEM}/crop.{{form}}", polygon, summary, _FILE, "POST")
    add(f"{ITEM}/statistics", statistics, "Statistics of polygons of an item", _STATISTICS, "POST")
    for suffix in files.FORMS:
        path = f"/tiles/{{collection}}/{{item}}/{{tms}}/{{z}}/{{x}}/{{y}}.{suffix}"
        add(path, tile, f"A tile of an item in numbers, as .{suffix}", _TILE)


def _of_mosaics(add: Any, settings: Settings, means: Means, blocks: Blocks) -> None:
    def found(request: Request, name: str, given: Narrowed) -> Mosaic:
        return Mosaic(means, caller.reader(request), name, given.datetime, settings.mosaic_items)

    def point(request: Request, mosaic: str, given: Annotated[MosaicPointQuery, Query()]) -> Response:
        return answers.mosaic_point(request, blocks, lambda: found(request, mosaic, given), given)

    def box(request: Request, mosaic: str, form: Suffix, given: Annotated[MosaicBoxQuery, Query()]) -> Response:
        return answers.crop(request, blocks, lambda: found(request, mosaic, given), form, given, given.area)

    def polygon(
        request: Request, mosaic: str, form: Suffix, given: Annotated[MosaicAreaQuery, Query()], area: Area
    ) -> Response:
        place = areas.polygon_of(area)
        return answers.crop(request, blocks, lambda: found(request, mosaic, given), form, given, place)

    def statistics(
        request: Request, mosaic: str, given: Annotated[MosaicStatisticsQuery, Query()], area: Areas
    ) -> Response:
        return answers.statistics(blocks, lambda: found(request, mosaic, given), given, area)

    add(f"{MOSAIC}/point", point, "The physical values of a mosaic at a place, and the item they are of", _POINT)
    add(f"{MOSAIC}/crop.{{form}}", box, "The physical values or the picture of a box of a mosaic, as a file", _FILE)
    summary = "The physical values or the picture of a polygon of a mosaic, as a file"
    add(f"{MOSAIC}/crop.{{form}}", polygon, summary, _FILE, "POST")
    add(f"{MOSAIC}/statistics", statistics, "Statistics of polygons of a mosaic", _STATISTICS, "POST")
