"""What a search's items are like: the aggregation extension."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api import caller
from api.asked import asked, listed
from api.links import JSON
from api.parameters import AggregateBody, AggregateQuery
from catalog.aggregates import INTERVALS, KINDS, Aggregate
from catalog.store import Catalog
from kartotek.errors import BadRequest
from kartotek.settings import Settings


def router(settings: Settings, catalog: Catalog) -> APIRouter:
    """The aggregates there are, and those of a search."""
    made = APIRouter(tags=["Aggregation"])
    root = settings.root
    answers: dict[int | str, dict[str, Any]] = {200: {"content": {JSON: {}}, "description": "Aggregates"}}

    def known(request: Request, collection: str | None = None) -> Response:
        path = "aggregations"
        if collection is not None:
            catalog.collection(caller.reader(request), collection)
            path = f"collections/{collection}/aggregations"
        found = [{"name": name, "data_type": kind} for name, kind in KINDS.items()]
        return _answer(root, path, found)

    def answer(request: Request, given: Mapping[str, Any], collection: str | None = None) -> Response:
        reader, path = caller.reader(request), "aggregate"
        if collection is not None:
            catalog.collection(reader, collection)
            given, path = {**given, "collections": [collection]}, f"collections/{collection}/aggregate"
        names = listed(given.get("aggregations")) or ["total_count"]
        interval = given.get("datetime_frequency_interval") or "month"
        if interval not in INTERVALS:
            raise BadRequest(f"datetime_frequency_interval: {str(interval)[:40]!r}; give {', '.join(INTERVALS)}")
        found = catalog.aggregates(reader, asked(catalog, reader, given).search, names, interval=interval)
        return _answer(root, path, [_told(one) for one in found])

    def aggregations(request: Request) -> Response:
        return known(request)

    def collection_aggregations(request: Request, collection_id: str) -> Response:
        return known(request, collection_id)

    def aggregate(request: Request, given: Annotated[AggregateQuery, Query()]) -> Response:
        return answer(request, given.given())

    def aggregate_by_post(request: Request, given: AggregateBody) -> Response:
        return answer(request, given.given())

    def collection_aggregate(
        request: Request, collection_id: str, given: Annotated[AggregateQuery, Query()]
    ) -> Response:
        return answer(request, given.given(), collection_id)

    def collection_aggregate_by_post(request: Request, collection_id: str, given: AggregateBody) -> Response:
        return answer(request, given.given(), collection_id)

    def add(path: str, endpoint: Any, method: str, summary: str) -> None:
        made.add_api_route(
            path, endpoint, methods=[method], summary=summary, response_class=Response, responses=answers
        )

    add("/aggregations", aggregations, "GET", "The aggregates that there are")
    add("/aggregate", aggregate, "GET", "Aggregates of a search")
    add("/aggregate", aggregate_by_post, "POST", "Aggregates of a search")
    own = "/collections/{collection_id}"
    add(f"{own}/aggregations", collection_aggregations, "GET", "The aggregates that there are of a collection")
    add(f"{own}/aggregate", collection_aggregate, "GET", "Aggregates of a search in a collection")
    add(f"{own}/aggregate", collection_aggregate_by_post, "POST", "Aggregates of a search in a collection")
    return made


def _answer(root: str, path: str, aggregations: list[dict[str, Any]]) -> Response:
    links = [
        {"rel": "self", "href": f"{root}/{path}", "type": JSON},
        {"rel": "root", "href": f"{root}/", "type": JSON},
    ]
    document = {"type": "AggregationCollection", "aggregations": aggregations, "links": links}
    return Response(orjson.dumps(document), media_type=JSON)


def _told(one: Aggregate) -> dict[str, Any]:
    if one.buckets is None:
        value = one.value.isoformat().replace("+00:00", "Z") if isinstance(one.value, datetime) else one.value
        return {"name": one.name, "data_type": one.kind, "value": value}
    buckets = [
        {"key": bucket.key, "data_type": one.kind, "frequency": bucket.count}
        | ({} if bucket.start is None else {"from": bucket.start, "to": bucket.end})
        for bucket in one.buckets
    ]
    return {"name": one.name, "data_type": "frequency_distribution", "buckets": buckets, "overflow": one.overflow}
