"""Numbers of items: at a place, of an area as a file or in statistics, and tiles for programs."""

import hashlib
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import orjson
import shapely
from fastapi import APIRouter, Body, Path, Query
from pydantic import Field
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry
from starlette.requests import Request
from starlette.responses import Response

from api import caller, tags
from api.display import Shown, TileQuery
from api.links import JSON
from api.pictures import Pictures
from api.places import Column, Row, Tms, Zoom, grid_of
from api.routing import Direct, Strict
from api.tiles import IMMUTABLE, timing
from api.wanted import Wanted
from catalog import questions
from catalog.store import Catalog
from kartotek import grids
from kartotek.errors import BadRequest, NotFound
from kartotek.stopwatch import Stopwatch
from pixels import cut, encode, files, numbers, points, tally
from pixels.areas import Outline
from pixels.blocks import Blocks
from pixels.cut import Frame
from pixels.numbers import Numbers
from pixels.statistics import of_areas

ITEM = "/collections/{collection_id}/items/{item_id}"
FORMS: Mapping[str, str] = {form: kind for form, (kind, _) in {**files.FORMS, **encode.PICTURES}.items()}
"""Suffix of a cut-out → its media type."""

_COORD = "x,y in `crs`, easting or longitude first; instead of lon and lat."
_CRS = "EPSG:3006, or another CRS by its code."
_RESOLUTION = "Width and height of a pixel in units of the CRS; that of the files unless it is given."
_BBOX = "west,south,east,north in degrees: the area."
_PERCENTILES = "Percentiles, from 0 to 100, with commas between."
_RANGE = "LOW,HIGH of the histogram, in physical values; the lowest and the highest unless it is given."
_EPSG = re.compile(r"EPSG:[0-9]{4,6}", re.ASCII)
MAX_AREAS = 100
"""Polygons of which statistics are asked at a time."""

_AREAS = f"A GeoJSON Polygon or MultiPolygon, a Feature of one, or a FeatureCollection of up to {MAX_AREAS}."
_AREA = "A GeoJSON Polygon or MultiPolygon in longitude and latitude, or a Feature of one."

Suffix = Annotated[str, Path(description=f"One of {', '.join(FORMS)}")]

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


class PointQuery(Wanted):
    """Of the numbers at a place."""

    lon: Annotated[float | None, Field(ge=-180, le=180, allow_inf_nan=False)] = None
    lat: Annotated[float | None, Field(ge=-90, le=90, allow_inf_nan=False)] = None
    coord: Annotated[str | None, Field(description=_COORD, max_length=100)] = None
    crs: Annotated[str | None, Field(description=_CRS, max_length=20)] = None

    def place(self) -> tuple[float, float, str]:
        """x, y and their CRS. Raises BadRequest."""
        if self.coord is None:
            if self.lon is None or self.lat is None or self.crs is not None:
                raise BadRequest("give lon and lat in degrees, or coord=x,y with crs=EPSG:3006")
            return self.lon, self.lat, "EPSG:4326"
        if self.lon is not None or self.lat is not None or self.crs is None:
            raise BadRequest("coord: give it with crs=EPSG:3006, and without lon and lat")
        try:
            x, y = (float(part) for part in self.coord.split(","))
        except ValueError:
            raise BadRequest(f"coord: {self.coord[:40]!r} is not x,y: two numbers") from None
        if not (abs(x) < 1e9 and abs(y) < 1e9):  # NaN too
            raise BadRequest(f"coord: {self.coord[:40]!r} is no place on earth")
        return x, y, _crs(self.crs)


class StatisticsQuery(Wanted):
    """Of the statistics of areas."""

    percentiles: Annotated[str, Field(description=_PERCENTILES, max_length=200)] = "2,98"
    bins: Annotated[int, Field(description="Of the histogram.", ge=1, le=1000)] = 10
    range: Annotated[str | None, Field(description=_RANGE, max_length=100)] = None

    @property
    def told(self) -> tally.Wanted:
        """What is told of each value. Raises BadRequest."""
        percentiles = _floats("percentiles", self.percentiles, "2,98: up to 20 numbers from 0 to 100")
        if len(percentiles) > 20 or not all(0 <= one <= 100 for one in percentiles):
            raise BadRequest(f"percentiles: {self.percentiles[:60]!r}; up to 20 numbers from 0 to 100 will do")
        span = None
        if self.range is not None:
            numbers = _floats("range", self.range, "LOW,HIGH")
            if len(numbers) != 2 or not (numbers[0] < numbers[1] and math.isfinite(numbers[1] - numbers[0])):
                raise BadRequest(f"range: {self.range[:60]!r} is not LOW,HIGH: two numbers, the lower one first")
            span = numbers[0], numbers[1]
        return tally.Wanted(percentiles=percentiles, bins=self.bins, span=span)


class AreaQuery(Shown):
    """Of a cut-out of an area in the body."""

    resolution: Annotated[float | None, Field(description=_RESOLUTION, ge=1e-6, le=1e6, allow_inf_nan=False)] = None
    crs: Annotated[str | None, Field(description=_CRS, max_length=20)] = None

    @property
    def frame(self) -> Frame:
        """The grid. Raises BadRequest."""
        return Frame(resolution=self.resolution, crs=None if self.crs is None else _crs(self.crs))


class BoxQuery(AreaQuery):
    """Of a cut-out of a box."""

    bbox: Annotated[str, Field(description=_BBOX, max_length=200)]


def router(catalog: Catalog, pictures: Pictures, blocks: Blocks) -> APIRouter:
    """The routes of items' numbers; before those of tiles, whose addresses are alike."""
    made = APIRouter(tags=["Numbers"])
    work = _Work(catalog, pictures, blocks)

    def point(request: Request, collection_id: str, item_id: str, given: Annotated[PointQuery, Query()]) -> Response:
        return work.point(request, collection_id, item_id, given)

    def box(
        request: Request, collection_id: str, item_id: str, form: Suffix, given: Annotated[BoxQuery, Query()]
    ) -> Response:
        area = questions.box(given.bbox)
        if not area.area:
            raise BadRequest(f"bbox: {given.bbox[:80]!r} has no area")
        return work.crop(request, collection_id, item_id, form, given, area)

    def polygon(
        request: Request,
        collection_id: str,
        item_id: str,
        form: Suffix,
        given: Annotated[AreaQuery, Query()],
        area: Annotated[dict[str, Any], Body(description=_AREA)],
    ) -> Response:
        return work.crop(request, collection_id, item_id, form, given, polygon_of(area))

    def statistics(
        request: Request,
        collection_id: str,
        item_id: str,
        given: Annotated[StatisticsQuery, Query()],
        area: Annotated[dict[str, Any], Body(description=_AREAS)],
    ) -> Response:
        return work.statistics(request, collection_id, item_id, given, area)

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
        suffix = request.url.path.rpartition(".")[2]
        return work.tile(request, collection, item, (tms, str(z), str(x), str(y)), suffix, given)

    def add(path: str, endpoint: Any, summary: str, responses: Any, method: str = "GET") -> None:
        kind = Strict if method == "POST" else Direct
        route = {"methods": [method], "summary": summary, "responses": responses, "response_class": Response}
        made.add_api_route(path, endpoint, route_class_override=kind, **route)

    add(f"{ITEM}/point", point, "The numbers of an item at a place, at full resolution", _POINT)
    add(f"{ITEM}/crop.{{form}}", box, "The numbers or the picture of a box of an item, as a file", _FILE)
    add(
        f"{ITEM}/crop.{{form}}", polygon, "The numbers or the picture of a polygon of an item, as a file", _FILE, "POST"
    )
    add(f"{ITEM}/statistics", statistics, "Statistics of polygons of an item", _STATISTICS, "POST")
    for suffix in files.FORMS:
        path = f"/tiles/{{collection}}/{{item}}/{{tms}}/{{z}}/{{x}}/{{y}}.{suffix}"
        add(path, tile, f"A tile of an item in numbers, as .{suffix}", _TILE)
    return made


class _Work:
    """Answers, by what the catalog says of an item."""

    def __init__(self, catalog: Catalog, pictures: Pictures, blocks: Blocks) -> None:
        self._catalog, self._pictures, self._blocks = catalog, pictures, blocks

    def numbers(self, request: Request, collection: str, item: str, wanted: Wanted) -> Numbers:
        """What is asked of an item, as far as whoever asks may know of it. Raises NotFound and BadRequest."""
        described = self._catalog.described(caller.reader(request), collection, item)
        style, names = wanted.numbers(orjson.loads(described.collection))
        return numbers.of_item(orjson.loads(described.item), style, names)

    def point(self, request: Request, collection: str, item: str, given: PointQuery) -> Response:
        """The numbers at a place."""
        watch = Stopwatch()
        with watch.stage("index"):
            x, y, crs = given.place()
            asked = self.numbers(request, collection, item, given)
        values = points.at(self._blocks, asked, x, y, crs, watch)
        content = orjson.dumps({"collection": collection, "item": item, "x": x, "y": y, "crs": crs, "values": values})
        return tags.answer(request, content, JSON, headers={"Server-Timing": timing(watch)})

    def crop(
        self, request: Request, collection: str, item: str, form: str, given: AreaQuery, area: BaseGeometry
    ) -> Response:
        """An area's numbers or picture as a file."""
        watch = Stopwatch()
        kind, frame = _form(form), given.frame
        shown = None
        with watch.stage("index"):
            if form in encode.PICTURES:
                shown = self._pictures.of_item(caller.reader(request), collection, item, given.shown)
                version, sources, size = shown.version, shown.sources, 4
                own = min((source.grid for source in sources.values()), key=lambda grid: grid.resolution)
            else:
                asked = self.numbers(request, collection, item, given)
                version, sources = asked.version, asked.sources
                own, size = asked.grid(asked.values), (4 if asked.computed else 2) * len(asked.values)
            places = [source.grid for source in sources.values()]
            outline = Outline(area, places)
            grid, copied = cut.target(own, outline, frame, places, size)
        headers = _tagged(version, grid, form, area.wkb)
        if request.method == "GET" and tags.known(request, headers["ETag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if shown is not None:
            picture = cut.picture(self._blocks, shown, grid, watch, outline)
            with watch.stage("encode"):
                content = encode.PICTURES[form][1](picture)
        else:
            found = cut.numbers(self._blocks, asked, grid, watch, outline=outline, own=copied)
            with watch.stage("encode"):
                content = files.FORMS[form][1](found)
        return Response(content, headers={**headers, "Server-Timing": timing(watch)}, media_type=kind)

    def statistics(
        self, request: Request, collection: str, item: str, given: StatisticsQuery, areas: Mapping[str, Any]
    ) -> Response:
        """What the numbers of areas are like."""
        watch = Stopwatch()
        with watch.stage("index"):
            polygons, names = polygons_of(areas), _names(areas)
            wanted, asked = given.told, self.numbers(request, collection, item, given)
        found = of_areas(self._blocks, asked, polygons, wanted, watch)
        told = [{**name, "statistics": one} for name, one in zip(names, found, strict=True)]
        content = orjson.dumps({"collection": collection, "item": item, "areas": told})
        return Response(content, headers={"Server-Timing": timing(watch)}, media_type=JSON)

    def tile(
        self,
        request: Request,
        collection: str,
        item: str,
        place: tuple[str, str, str, str],
        form: str,
        given: TileQuery,
    ) -> Response:
        """A tile in numbers, resampled as the tile's picture."""
        watch = Stopwatch()
        kind, written = files.FORMS[form]
        with watch.stage("index"):
            grid = grid_of(*place)
            asked = self.numbers(request, collection, item, given)
        headers = _tagged(asked.version, grid, form)
        if given.v == asked.version:
            headers["Cache-Control"] = IMMUTABLE
        if tags.known(request, headers["ETag"]):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        found = cut.numbers(self._blocks, asked, grid, watch)
        with watch.stage("encode"):
            content = written(found)
        return Response(content, headers={**headers, "Server-Timing": timing(watch)}, media_type=kind)


def polygon_of(given: Mapping[str, Any], parameter: str = "body") -> BaseGeometry:
    """The polygon of a GeoJSON geometry or Feature. Raises BadRequest."""
    geometry = given.get("geometry") if given.get("type") == "Feature" else given
    if not isinstance(geometry, Mapping) or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        raise BadRequest(f"{parameter}: no GeoJSON Polygon or MultiPolygon, nor a Feature of one")
    return questions.area(geometry, parameter)


def polygons_of(given: Mapping[str, Any]) -> list[BaseGeometry]:
    """The polygons of a GeoJSON geometry, Feature or FeatureCollection. Raises BadRequest."""
    if given.get("type") != "FeatureCollection":
        return [polygon_of(given)]
    features = given.get("features")
    if not isinstance(features, list) or not 1 <= len(features) <= MAX_AREAS:
        count = len(features) if isinstance(features, list) else "no list of"
        raise BadRequest(f"body: {count} features; 1 to {MAX_AREAS} will do")
    if not all(isinstance(feature, Mapping) for feature in features):
        raise BadRequest("body: features that are no objects")
    found = [polygon_of(feature, f"features[{number}]") for number, feature in enumerate(features)]
    if (count := int(shapely.get_num_coordinates(found).sum())) > questions.MAX_VERTICES:
        raise BadRequest(f"body: {count} positions; at most {questions.MAX_VERTICES} are accepted, of all features")
    return found


def _names(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Features' own ids, where they have any."""
    features = given["features"] if given.get("type") == "FeatureCollection" else [given]
    return [{"id": one["id"]} if isinstance(one.get("id"), str | int) else {} for one in features]


def _tagged(version: str, grid: Any, form: str, area: bytes = b"") -> dict[str, str]:
    """Headers of a file, which is a function of the files it is made of, of the place, and of our own code."""
    tag = hashlib.sha256(f"{version} {grid} {form}".encode() + area).hexdigest()[:32]
    return {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}


def _form(name: str) -> str:
    try:
        return FORMS[name]
    except KeyError:
        raise NotFound(f"no crop ends in .{name[:20]}; there are: {', '.join(FORMS)}") from None


def _floats(parameter: str, text: str, instead: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadRequest(f"{parameter}: {text[:60]!r} are no numbers; such as {instead}") from None


def _crs(code: str) -> str:
    """A CRS for maps by its EPSG code; whatever else PROJ would read is not looked at. Raises BadRequest."""
    known = code.strip().upper()
    try:
        if _EPSG.fullmatch(known) and (grids.is_metric(known) or known == "EPSG:4326"):
            return known
    except ProjError:
        pass
    raise BadRequest(f"crs: {code[:20]!r} is no EPSG code of a CRS in metres, such as EPSG:3006, nor EPSG:4326")
