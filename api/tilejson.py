"""TileJSON 3.0 of items and of mosaics: where a map client finds the tiles, for which place and which levels."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import orjson
from fastapi import APIRouter, Query
from morecantile import TileMatrixSet
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api import caller, definitions, mosaics, tags
from api.definitions import MosaicTileQuery
from api.display import TileQuery
from api.links import JSON
from api.pictures import Pictures
from api.places import TMS, Tms
from api.routing import Direct
from catalog.store import Catalog
from kartotek import grids, matrices
from kartotek.settings import Settings
from pixels.render import Picture

FINEST = 10.0
"""Metres of a mosaic's pixels at its last level: those of Sentinel-2's finest bands."""
COARSEST = 1280.0
"""Metres of a mosaic's pixels at its first level: below it a tile touches more items than are opened."""
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {JSON: {}}, "description": "TileJSON 3.0"},
    304: {"description": "The client has it already"},
}
Form = Annotated[Literal["png", "webp", "jpg"], Field(description="What the tiles are written as.")]


class _OfItem(TileQuery):
    """Of an item's TileJSON: all that its tiles are asked with."""

    form: Form = "png"


class _OfMosaic(MosaicTileQuery):
    """Of a mosaic's TileJSON."""

    form: Form = "png"
    tms: Annotated[str, Field(description=TMS)] = "WebMercatorQuad"


def router(settings: Settings, catalog: Catalog, pictures: Pictures) -> APIRouter:
    """The TileJSON of items and of mosaics."""
    made = APIRouter(tags=["Tiles"], route_class=Direct)

    @made.get(
        "/tiles/{collection}/{item}/{tms}/tilejson.json", summary="TileJSON of an item", response_class=Response,
        responses=_ANSWER,
    )  # fmt: skip
    def of_item(
        request: Request,
        collection: str,
        item: str,
        tms: Tms,
        given: Annotated[_OfItem, Query()],
    ) -> Response:
        reader, matrix_set = caller.reader(request), matrices.find(tms)
        described = catalog.described(reader, collection, item)
        shown = pictures.of(described, given.shown)
        content, kind = orjson.loads(described.item), orjson.loads(described.collection)
        own = f"{settings.root}/tiles/{quote(collection, safe='')}/{quote(item, safe='')}/{tms}"
        # With the version the address is another whenever the picture is, so that tiles may be kept for ever.
        query = {**_display(given), "v": shown.version}
        address = f"{own}/{{z}}/{{x}}/{{y}}.{given.form}"
        document = _document(item, address, query, matrix_set, _resolutions(shown), content["bbox"], [kind])
        return tags.answer(request, orjson.dumps(document), JSON)

    @made.get(
        "/mosaics/{mosaic}/tilejson.json", summary="TileJSON of a mosaic", response_class=Response, responses=_ANSWER
    )
    def of_mosaic(request: Request, mosaic: str, given: Annotated[_OfMosaic, Query()]) -> Response:
        reader, matrix_set = caller.reader(request), matrices.find(given.tms)
        found = definitions.read(catalog, reader, mosaic, given.datetime)
        kinds = [orjson.loads(catalog.collection(reader, name)) for name in found.said["collections"]]
        found.shown(given).style(kinds[0])
        address = f"{settings.root}/mosaics/{mosaic}/tiles/{given.tms}/{{z}}/{{x}}/{{y}}.{given.form}"
        box = mosaics.bounds(catalog, reader, found)
        document = _document(mosaic, address, _display(given), matrix_set, (FINEST, COARSEST), box, kinds)
        return tags.answer(request, orjson.dumps(document), JSON)

    return made


def _document(
    name: str,
    address: str,
    query: Mapping[str, Any],
    tms: TileMatrixSet,
    resolutions: tuple[float, float],
    box: list[float],
    kinds: list[Mapping[str, Any]],
) -> dict[str, Any]:
    west, south, east, north = box if len(box) == 4 else (box[0], box[1], box[3], box[4])
    if west > east:  # it crosses 180 degrees, which TileJSON cannot say
        west, east = -180.0, 180.0
    finest, coarsest = (_zoom(tms, resolution) for resolution in resolutions)
    providers = [one["name"] for kind in kinds for one in kind.get("providers") or () if "name" in one]
    return {
        "tilejson": "3.0.0",
        "name": name,
        "attribution": ", ".join(dict.fromkeys(providers)),
        "scheme": "xyz",
        "tiles": [f"{address}?{urlencode(query)}" if query else address],
        "minzoom": coarsest,
        "maxzoom": finest,
        "bounds": [west, south, east, north],
        "center": [(west + east) / 2, (south + north) / 2, coarsest],
    }


def _display(given: TileQuery) -> dict[str, Any]:
    """What tiles are asked with, of what is given."""
    return given.model_dump(exclude_unset=True, exclude={"form", "tms", "v"})


def _zoom(tms: TileMatrixSet, metres: float) -> int:
    """The first level whose pixels are as fine; the last where none is."""
    unit = grids.unit(matrices.code(tms))
    fine = [int(matrix.id) for matrix in tms.tileMatrices if matrix.cellSize * unit <= metres]
    return min(fine, default=int(tms.maxzoom))


def _resolutions(shown: Picture) -> tuple[float, float]:
    """Metres of the finest pixels of what is shown, and of its coarsest overview's."""
    found = []
    for source in shown.sources.values():
        metres = source.grid.metres
        found.append((metres, metres * 2 ** grids.levels(source.grid.columns, source.grid.rows)))
    return min(fine for fine, _ in found), max(coarse for _, coarse in found)
