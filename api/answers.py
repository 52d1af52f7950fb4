"""Answers in numbers, of an item or of a mosaic alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from shapely.geometry.base import BaseGeometry
from starlette.requests import Request
from starlette.responses import Response

from api import areas, candidates, tags
from api.display import TileQuery
from api.links import JSON
from api.measures import AreaQuery, PointQuery, StatisticsQuery
from api.subjects import Item, Mosaic, Subject
from api.tiles import IMMUTABLE, timing
from kartotek.errors import NotFound
from kartotek.grids import Grid
from kartotek.stopwatch import Stopwatch
from pixels import cut, encode, files, points
from pixels.areas import Outline
from pixels.blocks import Blocks
from pixels.statistics import of_areas

FORMS: Mapping[str, str] = {form: kind for form, (kind, _) in {**files.FORMS, **encode.PICTURES}.items()}
"""Suffix of a cut-out → its media type."""

Found = Callable[[], Subject]
"""Gives what a request is about. Raises NotFound where whoever asks may not know of it."""


def item_point(request: Request, blocks: Blocks, found: Callable[[], Item], given: PointQuery) -> Response:
    """The numbers of an item at a place."""
    watch = Stopwatch()
    with watch.stage("index"):
        x, y, crs = given.place()
        item = found()
        asked = item.numbers(given)
    values = points.at(blocks, asked, x, y, crs, watch)
    content = orjson.dumps({**item.name, "x": x, "y": y, "crs": crs, "values": values})
    return tags.answer(request, content, JSON, headers={"Server-Timing": timing(watch)})


def mosaic_point(request: Request, blocks: Blocks, found: Callable[[], Mosaic], given: PointQuery) -> Response:
    """The numbers of a mosaic at a place, and which item they are of."""
    watch = Stopwatch()
    with watch.stage("index"):
        x, y, crs = given.place()
        mosaic = found()
        composite, items = mosaic.composite(given, points.in_degrees(x, y, crs))
    values, source = points.of_several(blocks, composite, x, y, crs, watch)
    told: dict[str, Any] = {**mosaic.name, "x": x, "y": y, "crs": crs, "values": values}
    if composite.median:
        told["count"] = source
    else:
        told["item"] = items.named([source])[0] if source >= 0 else None
    headers = {**items.told(composite.opened, composite.unread), "Server-Timing": timing(watch)}
    return tags.answer(request, orjson.dumps(told), JSON, headers=headers)


def crop(request: Request, blocks: Blocks, found: Found, form: str, given: AreaQuery, area: BaseGeometry) -> Response:
    """An area's numbers or picture as a file."""
    watch = Stopwatch()
    kind, frame = _form(form), given.frame
    with watch.stage("index"):
        subject = found()
        if form in encode.PICTURES:
            asked: Any = subject.drawing(given, area)
            coverage, size, own, effort = asked.coverage, 4, asked.coverage.grid, asked.effort
        else:
            asked = subject.measures(given, area)
            field = asked.field
            coverage, size, own = field.coverage, (4 if field.computed else 2) * len(field.values), field.grid
            effort = field.effort
        outline = Outline(area, coverage.places)
        grid, copied = cut.target(own, outline, frame, coverage, size, effort=effort)
    headers = _tagged(asked.version, grid, form, kind, area.wkb_hex)
    if request.method == "GET" and tags.known(request, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    with watch.stage("index"):
        coverage.check(blocks, grid, grid.rows * grid.columns)
    if form in encode.PICTURES:
        picture = cut.picture(lambda window: asked.draw(window, watch), grid, outline)
        with watch.stage("encode"):
            content = encode.PICTURES[form][1](picture)
    else:
        raster = cut.numbers(blocks, asked.field, grid, watch, outline=outline, own=copied)
        with watch.stage("encode"):
            content = files.FORMS[form][1](raster)
    headers |= {**asked.told(), "Server-Timing": timing(watch)}
    if candidates.UNREAD in headers:
        headers = tags.passing(headers)
    return Response(content, headers=headers, media_type=kind)


def statistics(blocks: Blocks, found: Found, given: StatisticsQuery, body: Mapping[str, Any]) -> Response:
    """What the numbers of areas are like."""
    watch = Stopwatch()
    with watch.stage("index"):
        polygons, names = areas.polygons_of(body), areas.names_of(body)
        wanted, subject = given.told, found()
        asked = subject.measures(given, areas.together(polygons))
    told = of_areas(blocks, asked.field, polygons, wanted, watch)
    content = {**subject.name, "areas": [{**name, "statistics": one} for name, one in zip(names, told, strict=True)]}
    headers = {**asked.told(), "Server-Timing": timing(watch)}
    return Response(orjson.dumps(content), headers=headers, media_type=JSON)


def tile(
    request: Request, blocks: Blocks, found: Callable[[], Item], grid: Grid, form: str, given: TileQuery
) -> Response:
    """A tile of an item in numbers, resampled as the tile's picture."""
    watch = Stopwatch()
    kind, written = files.FORMS[form]
    with watch.stage("index"):
        asked = found().numbers(given)
    headers = _tagged(asked.version, grid, form, kind)
    if given.v == asked.version:
        headers["Cache-Control"] = IMMUTABLE
    if tags.known(request, headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    raster = cut.numbers(blocks, asked, grid, watch)
    with watch.stage("encode"):
        content = written(raster)
    return Response(content, headers={**headers, "Server-Timing": timing(watch)}, media_type=kind)


def _tagged(version: str, grid: Grid, form: str, kind: str, area: str = "") -> dict[str, str]:
    """Headers of a file, which is a function of the files it is made of, of the place, and of our own code."""
    return {"ETag": tags.of_made(f"{version} {grid} {form} {area}", kind), "Cache-Control": "no-cache"}


def _form(name: str) -> str:
    try:
        return FORMS[name]
    except KeyError:
        raise NotFound(f"no crop ends in .{name[:20]}; there are: {', '.join(FORMS)}") from None
