"""What the colours of pictures mean: /collections/{collection_id}/legend.png, .json."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from api import caller, tags
from api.display import Shown
from api.links import JSON
from api.routing import Direct
from catalog.store import Catalog
from kartotek.errors import BadRequest, NotFound
from kartotek.indices import INDICES
from pixels import colors, legend, style
from pixels.legend import Legend

PNG = "image/png"
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {PNG: {}, JSON: {}}, "description": "The legend"},
    304: {"description": "The client has it already"},
}


class _LegendQuery(Shown):
    """What is shown, and how large the legend is drawn."""

    scale: Annotated[Literal["1", "2"], Field(description="2 for screens of fine pixels.")] = "1"


def router(catalog: Catalog) -> APIRouter:
    """The routes of legends."""
    made = APIRouter(tags=["Tiles"], route_class=Direct)

    @made.get(
        "/collections/{collection_id}/legend.{form}", summary="What the colours of a picture mean",
        response_class=Response, responses=_ANSWER,
    )  # fmt: skip
    def one(
        request: Request,
        collection_id: str,
        form: Annotated[str, Path(description="png or json")],
        given: Annotated[_LegendQuery, Query()],
    ) -> Response:
        collection = orjson.loads(catalog.collection(caller.reader(request), collection_id))
        found = _legend(collection, given)
        if form == "json":
            return tags.answer(request, orjson.dumps(legend.to_dict(found)), JSON)
        if form == "png":
            return tags.answer(request, legend.to_png(found, scale=int(given.scale)), PNG)
        raise NotFound(f"no legend ends in .{form[:20]}; there are: png, json")

    return made


def _legend(collection: Mapping[str, Any], given: _LegendQuery) -> Legend:
    """Raises BadRequest where what is shown has no legend."""
    shown = given.style(collection)
    if style.is_classes(collection, shown.values) and not shown.rescale:
        asset = collection["item_assets"][shown.values[0]]
        try:
            classes = colors.class_colors(asset["classification:classes"])
        except (TypeError, ValueError, AttributeError) as error:
            raise NotFound(f"{shown.values[0]!r} of collection {collection['id']!r} has no legend: {error}") from None
        return legend.of_classes(classes, title=str(asset.get("title") or shown.values[0]))
    if len(shown.values) != 1:
        raise BadRequest("three layers as red, green and blue have no legend; ask for an index, a formula or one layer")
    [(low, high)] = shown.limits
    value = shown.values[0]
    name = value if isinstance(value, str) else value.text
    title, unit = name, None
    if given.index is not None:
        title = f"{given.index.upper()}: {INDICES[given.index.lower()].title}"
    elif isinstance(value, str):
        asset = (collection.get("item_assets") or {}).get(value) or {}
        title = str(asset.get("title") or value)
        unit = next((band["unit"] for band in asset.get("bands") or () if isinstance(band.get("unit"), str)), None)
    return legend.of_values(shown.colors or "gray", low, high, title=title, unit=unit, gamma=shown.gamma)
