"""The catalogue as one walks through it by links alone: collections, their years, months and days, and the items."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import caller, collections, tags
from api.links import GEOJSON, JSON, Links
from catalog.aggregates import Interval
from catalog.search import MAX_LIMIT, Search
from catalog.store import Catalog
from kartotek.errors import NotFound
from kartotek.settings import Settings

_BELOW: tuple[Interval, ...] = ("year", "month", "day")
_PARTS = {"year": slice(0, 4), "month": slice(5, 7), "day": slice(8, 10)}


def router(settings: Settings, catalog: Catalog) -> APIRouter:
    """The children of the landing page, and the catalogues below collections."""
    made = APIRouter(tags=["Browse"])
    links = Links(settings)
    answers: dict[int | str, dict[str, Any]] = {200: {"content": {JSON: {}}, "description": "STAC"}}

    def children(request: Request) -> Response:
        reader = caller.reader(request)
        found = [links.collection(content, name) for name, content in collections.all_told(catalog, reader).items()]
        own = [_link("self", f"{links.root}/children"), _link("root", f"{links.root}/")]
        return tags.answer(request, b'{"children":[' + b",".join(found) + b'],"links":%s}' % orjson.dumps(own), JSON)

    def browse(request: Request, collection: str, *parts: str) -> Response:
        reader = caller.reader(request)
        catalog.collection(reader, collection)
        start, end = _period(parts)
        search = Search(collections=(collection,), filter=_between(start, end), limit=MAX_LIMIT)
        base, own = links.address(collection), "/".join(("browse", *parts))
        if len(parts) < len(_BELOW):
            interval = _BELOW[len(parts)]
            [found] = catalog.aggregates(reader, search, ["datetime_frequency"], interval=interval)
            names = [bucket.key[_PARTS[interval]] for bucket in found.buckets or ()]
            below = [_link("child", f"{base}/{own}/{name}", title=name) for name in names]
        else:
            places = catalog.places(reader, search)
            below = [_link("item", links.address(collection, place.id), kind=GEOJSON) for place in places]
        if parts and not below:
            raise NotFound(f"no items of {'-'.join(parts)} in collection {collection!r}")
        up = "/".join(("browse", *parts[:-1]))
        document = {
            "type": "Catalog",
            "stac_version": "1.1.0",
            "id": "-".join((collection, *parts)),
            "description": f"Items of {collection}, by {' and '.join(_BELOW)}" if not parts else "-".join(parts),
            "links": [
                _link("self", f"{base}/{own}"),
                _link("root", f"{links.root}/"),
                _link("parent", f"{base}/{up}" if parts else base),
                *below,
            ],
        }
        return tags.answer(request, orjson.dumps(document), JSON)

    def of_collection(request: Request, collection_id: str) -> Response:
        return browse(request, collection_id)

    def of_year(request: Request, collection_id: str, year: str) -> Response:
        return browse(request, collection_id, year)

    def of_month(request: Request, collection_id: str, year: str, month: str) -> Response:
        return browse(request, collection_id, year, month)

    def of_day(request: Request, collection_id: str, year: str, month: str, day: str) -> Response:
        return browse(request, collection_id, year, month, day)

    def add(path: str, endpoint: Any, summary: str) -> None:
        made.add_api_route(path, endpoint, summary=summary, response_class=Response, responses=answers)

    own = "/collections/{collection_id}/browse"
    add("/children", children, "The collections, whole")
    add(own, of_collection, "A collection's years")
    add(f"{own}/{{year}}", of_year, "Its months of a year")
    add(f"{own}/{{year}}/{{month}}", of_month, "Its days of a month")
    add(f"{own}/{{year}}/{{month}}/{{day}}", of_day, "Its items of a day")
    return made


def _period(parts: tuple[str, ...]) -> tuple[datetime | None, datetime | None]:
    """The first instant of a year, a month or a day, and the first after it; none of all time. Raises NotFound."""
    if not parts:
        return None, None
    try:
        if [len(part) for part in parts] != [4, 2, 2][: len(parts)] or not all(part.isascii() for part in parts):
            raise ValueError
        year, month, day = (*(int(part) for part in parts), 1, 1)[:3]
        start = datetime(year, month, day, tzinfo=UTC)
        if len(parts) == 3:
            return start, start + timedelta(days=1)
        if len(parts) == 1 or month == 12:
            return start, datetime(year + 1, 1, 1, tzinfo=UTC)
        return start, datetime(year, month + 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise NotFound(f"no such day: {'-'.join(parts)[:40]}") from None


def _between(start: datetime | None, end: datetime | None) -> Any:
    """Items that are sorted by a time in there, each in one day alone, however long they last."""
    if start is None or end is None:
        return None
    ends = [(">=", start), ("<", end)]
    args = [
        {"op": op, "args": [{"property": "datetime"}, {"timestamp": one.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)}]}
        for op, one in ends
    ]
    return {"op": "and", "args": args}


def _link(rel: str, href: str, *, kind: str = JSON, title: str | None = None) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": kind} | ({"title": title} if title else {})
