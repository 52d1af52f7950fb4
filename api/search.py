"""The STAC API, and the only place that knows stac-fastapi: its requests in, the catalog's bytes out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib import metadata
from itertools import chain, islice
from typing import Annotated, Any
from urllib.parse import urlencode

import attr
import orjson
from fastapi import FastAPI, Query
from stac_fastapi.api.app import StacApi
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from stac_pydantic import api as models
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response

from api import caller, collections, formats, page, tags
from api.asked import Asked, asked
from api.conformance import CONFORMANCE, TRANSACTIONS
from api.fields import Fields
from api.formats import FORMATS
from api.links import AGGREGATE, AGGREGATIONS, GEOJSON, JSON, QUERYABLES, SCHEMA, SCHEMES, SORTABLES, Links
from api.parameters import CollectionsQuery, ItemsQuery, SearchBody, SearchQuery
from api.routing import Direct
from catalog.access import Reader
from catalog.matched import Matched
from catalog.order import Place
from catalog.pages import Page
from catalog.search import MAX_LIMIT, Search
from catalog.shelf import Shelf
from catalog.store import Catalog
from catalog.tally import EMPTY
from kartotek.settings import Settings

WRITING = ("PUT", "PATCH", "DELETE")
STREAMED = 500
"""Items of a stream that are held in memory at a time."""
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
"""The type that the STAC API asks for, with the version that FastAPI writes."""


def create(settings: Settings, catalog: Catalog, *, pictures: Callable[[], Sequence[str]]) -> FastAPI:
    """The application with the STAC API's routes; `pictures` gives the addresses that thumbnails come from."""
    client = _Client(
        catalog=catalog,
        links=Links(settings),
        pictures=pictures,
        most=settings.max_stream,
        base_conformance_classes=[*CONFORMANCE, *(TRANSACTIONS if settings.transactions else ())],
    )
    api = _Api(
        settings=ApiSettings(
            stac_fastapi_title=settings.title,
            stac_fastapi_description="Sentinel products as Cloud Optimized GeoTIFFs in SWEREF 99 TM",
            stac_fastapi_landing_id="kartotek",
            stac_fastapi_version=metadata.version("kartotek"),
            docs_url="",  # FastAPI's page loads its script from elsewhere; ours is in api/page.py
            _env_file=None,
        ),
        client=client,
        stac_version="1.1.0",
        extensions=[TokenPaginationExtension()],
        middlewares=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "HEAD", "POST", "OPTIONS", *(WRITING if settings.transactions else ())],
                allow_headers=["*"],
                expose_headers=[
                    "Content-Range",
                    "Content-Length",
                    "Accept-Ranges",
                    "ETag",
                    "X-Request-ID",
                    "X-Kartotek-Items",
                    "X-Kartotek-Unread",
                ],
                max_age=600,
            )
        ],
    )
    app: FastAPI = api.app
    app.state.items = client.items
    # In the place of stac-fastapi's, which says version=3.0 whatever the document is.
    [route] = (route for route in app.router.routes if isinstance(route, Route) and route.path == app.openapi_url)
    route.app = request_response(lambda _: Response(orjson.dumps(app.openapi()), media_type=OPENAPI))
    return app


def _page(name: str, **more: Any) -> dict[str, Any]:
    """A page as JSON Schema: what its members have is the caller's choice (`fields`)."""
    number = {"type": "integer", "minimum": 0}
    links = {"type": "array", "items": {"type": "object", "required": ["rel", "href"]}}
    properties = {name: {"type": "array", "items": {"type": "object"}}, "links": links, "numberReturned": number,
                  "numberMatched": number, **more}  # fmt: skip
    return {"type": "object", "required": [name, "links", "numberReturned", *more], "properties": properties}


CHOSEN = {
    models.ItemCollection: _page("features", type={"const": "FeatureCollection"}),
    models.Collections: _page("collections"),
}


class _Api(StacApi):
    """stac-fastapi's application, with routes of ours in the place of its own.

    Its endpoints go to a thread twice: once to put a request's parameters together, and once to answer.
    """

    def add_health_check(self) -> None:
        """Nothing: ours are /livez and /readyz."""

    def register_get_item(self) -> None:
        """GET of an item."""

        def get_item(request: Request, collection_id: str, item_id: str) -> Any:
            return self.client.get_item(item_id, collection_id, request=request)

        self._add("GET", "/collections/{collection_id}/items/{item_id}", get_item, "Get Item", models.Item)

    def register_get_search(self) -> None:
        """GET of a search."""

        def search(request: Request, given: Annotated[SearchQuery, Query()]) -> Any:
            return self.client.get_search(request=request, **given.given())

        self._add("GET", "/search", search, "Search", models.ItemCollection)

    def register_post_search(self) -> None:
        """POST of a search."""

        def search(request: Request, given: SearchBody) -> Any:
            return self.client.post_search(given, request=request)

        self._add("POST", "/search", search, "Search", models.ItemCollection)

    def register_get_item_collection(self) -> None:
        """GET of a collection's items."""

        def items(request: Request, collection_id: str, given: Annotated[ItemsQuery, Query()]) -> Any:
            return self.client.item_collection(collection_id, request=request, **given.given())

        self._add("GET", "/collections/{collection_id}/items", items, "Get ItemCollection", models.ItemCollection)

    def register_get_collections(self) -> None:
        """GET of the collections."""

        def collections(request: Request, given: Annotated[CollectionsQuery, Query()]) -> Any:
            return self.client.all_collections(request=request, **given.given())

        self._add("GET", "/collections", collections, "Get Collections", models.Collections)

    def register_get_collection(self) -> None:
        """GET of a collection."""

        def collection(request: Request, collection_id: str) -> Any:
            return self.client.get_collection(collection_id, request=request)

        self._add("GET", "/collections/{collection_id}", collection, "Get Collection", models.Collection)

    def _add(self, method: str, path: str, endpoint: Callable[..., Any], name: str, model: Any) -> None:
        kind = JSON if model in (models.Collection, models.Collections) else GEOJSON
        answer: dict[str, Any] = {"content": {kind: {}}, "model": model}
        if (chosen := CHOSEN.get(model)) is not None:
            others = FORMATS.values() if kind == GEOJSON else ()
            content = {kind: {"schema": chosen}, **{one.kind.partition(";")[0]: {} for one in others}}
            answer = {"content": content, "description": name}
        self.app.router.add_api_route(
            path,
            endpoint,
            name=name,
            methods=[method],
            route_class_override=Direct,
            response_model=None,
            response_class=Response,
            responses={200: answer, 304: {"description": "The client has it already"}},
        )


@attr.s
class _Client(BaseCoreClient):
    """What stac-fastapi calls; each answer is a Response of bytes."""

    catalog: Catalog = attr.ib(kw_only=True)
    links: Links = attr.ib(kw_only=True)
    pictures: Callable[[], Sequence[str]] = attr.ib(kw_only=True)
    most: int = attr.ib(kw_only=True)
    landing_page_id: str = attr.ib(default="kartotek", kw_only=True)
    base_conformance_classes: list[str] = attr.ib(kw_only=True)

    def landing_page(self, **kwargs: Any) -> Response:
        """The landing page, as JSON unless HTML is named in Accept."""
        request: Request = kwargs["request"]
        if "text/html" in request.headers.get("accept", ""):
            return page.page(pictures=self.pictures())
        root = self.links.root
        landing = self._landing_page(
            base_url=f"{root}/", conformance_classes=self.conformance_classes(), extension_schemas=[]
        )
        landing["links"] += [
            {
                "rel": "service-desc",
                "type": OPENAPI,
                "title": "OpenAPI document",
                "href": f"{root}/api",
            },
            {"rel": QUERYABLES, "type": SCHEMA, "title": "What items can be searched by", "href": f"{root}/queryables"},
            {"rel": SCHEMES, "type": JSON, "title": "The tile matrix sets", "href": f"{root}/tileMatrixSets"},
            {"rel": SORTABLES, "type": SCHEMA, "title": "What items can be sorted by", "href": f"{root}/sortables"},
            {"rel": "children", "type": JSON, "title": "The collections, whole", "href": f"{root}/children"},
            {"rel": AGGREGATE, "type": JSON, "title": "What items are like", "href": f"{root}/aggregate"},
            {"rel": AGGREGATIONS, "type": JSON, "title": "What can be told of them", "href": f"{root}/aggregations"},
            {"rel": "service-doc", "type": "text/html", "title": "OpenAPI, to read", "href": f"{root}/api.html"},
        ]
        for name, content in self.catalog.collections(caller.reader(request)).items():
            title = orjson.loads(content).get("title", name)
            landing["links"].append({"rel": "child", "type": JSON, "title": title, "href": self.links.address(name)})
        return tags.answer(request, orjson.dumps(landing), JSON, headers={"Vary": "Accept"})

    def conformance(self, **kwargs: Any) -> Response:
        """The conformance classes."""
        return tags.answer(kwargs["request"], orjson.dumps({"conformsTo": self.conformance_classes()}), JSON)

    def all_collections(self, **kwargs: Any) -> Response:
        """The collections that the caller may see, or those of them that are searched for."""
        request: Request = kwargs.pop("request")
        reader, address = caller.reader(request), f"{self.links.root}/collections"
        told = collections.all_told(self.catalog, reader)
        if not any(kwargs.values()):
            features = [self.links.collection(content, name) for name, content in told.items()]
            return self._answer(request, "collections", features, len(told), self._links(request, address, None, None))
        given = {**kwargs, "sortby": kwargs.get("sortby") or "+id", "limit": kwargs.get("limit") or MAX_LIMIT}
        with closing(Shelf(list(told.values()))) as shelf:
            wanted = asked(shelf, reader, given)
            found = shelf.search(reader, wanted.search)
            matched = len(shelf.search(reader, replace(wanted.search, at=None, limit=MAX_LIMIT)).items)
        features = []
        for content, place in zip(found.items, found.places, strict=True):
            whole = self.links.collection(content, place.id)
            features.append(whole if wanted.fields is None else orjson.dumps(wanted.fields.of(orjson.loads(whole))))
        return self._answer(request, "collections", features, matched, self._links(request, address, found, None))

    def get_collection(self, collection_id: str, **kwargs: Any) -> Response:
        """One collection."""
        reader = caller.reader(kwargs["request"])
        content = self.catalog.collection(reader, collection_id)
        tally = self.catalog.summaries(reader, [collection_id]).get(collection_id, EMPTY)
        told = self.links.collection(collections.told(content, tally), collection_id)
        return tags.answer(kwargs["request"], told, JSON, tag=tags.both(content, told))

    def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Response:
        """One item."""
        content = self.catalog.item(caller.reader(kwargs["request"]), collection_id, item_id)
        return tags.answer(
            kwargs["request"],
            self.links.item(self.links.addresses.outward(content), collection_id, item_id),
            GEOJSON,
            tag=tags.of(content),
        )

    def item_collection(self, collection_id: str, **kwargs: Any) -> Response:
        """A page of a collection's items."""
        request: Request = kwargs.pop("request")
        self.catalog.collection(caller.reader(request), collection_id)
        given = {**kwargs, "collections": [collection_id]}
        return self._page(request, given, f"{self.links.root}/collections/{collection_id}/items")

    def get_search(self, **kwargs: Any) -> Response:
        """A page of items across collections."""
        request: Request = kwargs.pop("request")
        return self._page(request, kwargs, f"{self.links.root}/search")

    def post_search(self, search_request: SearchBody, **kwargs: Any) -> Response:
        """The same by POST."""
        given = search_request.given()
        return self._page(kwargs["request"], given, f"{self.links.root}/search", given)

    def items(self, request: Request, given: Mapping[str, Any], address: str) -> Response:
        """A page of what the parameters of another address than those of searches ask for."""
        return self._page(request, given, address)

    def _page(
        self, request: Request, given: Mapping[str, Any], address: str, body: Mapping[str, Any] | None = None
    ) -> Response:
        reader = caller.reader(request)
        wanted = asked(self.catalog, reader, given)
        if (form := formats.wanted(request, given.get("f"))) is not None:
            return self._stream(form, reader, wanted, given.get("limit"))
        found = self.catalog.search(reader, wanted.search, self.links.addresses)
        features = [
            self._member(content, place, wanted.fields)
            for content, place in zip(found.items, found.places, strict=True)
        ]
        matched = self._matched(reader, given, wanted.search, found)
        links = self._links(request, address, found, body)
        return self._answer(request, "features", features, matched, links, state=found.state)

    def _stream(self, form: str, reader: Reader, wanted: Asked, limit: int | None) -> Response:
        """All that is found, or as many as are asked for, in another format."""
        most = min(limit or self.most, self.most)
        walked = self.catalog.walk(reader, replace(wanted.search, limit=min(most, STREAMED)), self.links.addresses)
        # The first page now: what is wrong with the search can't be told any more once the answer has begun.
        first = next(walked, None)
        found = islice(walked if first is None else chain([first], walked), most)
        members = (self._member(content, place, wanted.fields) for place, content in found)
        named = wanted.search.collections

        def kinds() -> dict[str, Any]:
            found = self.catalog.collections(reader)
            return {name: orjson.loads(one) for name, one in found.items() if named is None or name in named}

        return formats.answer(form, members, lambda: self.catalog.queryables(reader, named), kinds)

    def _links(
        self, request: Request, address: str, found: Page | None, body: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        """The links of a page, with those to the pages beside it."""
        kind = JSON if address.endswith("/collections") else GEOJSON
        links: list[dict[str, Any]] = [
            {"rel": "root", "href": f"{self.links.root}/", "type": JSON},
            {"rel": "self", "href": _address(address, request), "type": kind},
        ]
        if kind == JSON:
            links.append({"rel": "parent", "href": f"{self.links.root}/", "type": JSON})
        for rel, place in (("next", found.next), ("prev", found.previous)) if found else ():
            if place is None:
                continue
            if body is None:
                href = _address(address, request, place.token())
                links.append({"rel": rel, "href": href, "type": kind, "method": "GET"})
            else:
                onwards = {**body, "token": place.token()}
                links.append({"rel": rel, "href": address, "type": kind, "method": "POST", "body": onwards})
        return links

    def _answer(
        self,
        request: Request,
        name: str,
        members: Sequence[bytes],
        matched: Matched | int | None,
        links: list[dict[str, Any]],
        *,
        state: bytes = b"",
    ) -> Response:
        """A page: items as a GeoJSON FeatureCollection, or collections; `state` stands for the items of a long one."""
        start = b'{"type":"FeatureCollection",' if name == "features" else b"{"
        counted = Matched(matched, exact=True) if isinstance(matched, int) else matched
        told = b"" if counted is None else b'"numberMatched":%d,' % counted.number
        if counted is not None and not counted.exact:
            told += b'"numberMatchedEstimated":true,'
        end = b'],"numberReturned":%d,%s"links":%s}' % (len(members), told, orjson.dumps(links))
        content = b"".join((start, b'"%s":[' % name.encode(), b",".join(members), end))
        kind = GEOJSON if name == "features" else JSON
        return tags.answer(request, content, kind, tag=tags.of(state, end) if state else None)

    def _matched(self, reader: Reader, given: Mapping[str, Any], search: Search, found: Page) -> Matched | int | None:
        """How many items there are, where that is known already, asked for, or all that is asked for (limit 1)."""
        if search.at is None and found.next is None:
            return len(found.items)
        if not (given.get("numberMatched") or search.limit == 1):
            return None
        return self.catalog.matched(reader, search)

    def _member(self, content: bytes, place: Place, fields: Fields | None) -> bytes:
        """An item, with public addresses of its files, as an answer has it."""
        if fields is None:
            return self.links.item(content, place.collection, place.id)
        whole = self.links.item(content, place.collection, place.id) if fields.links else content
        # Without its assets and what follows them, it may be without its collection's name too.
        return orjson.dumps(fields.of({**orjson.loads(whole), "collection": place.collection}))


def _address(address: str, request: Request, token: str | None = None) -> str:
    """The request's own address under our root, with another token."""
    query = request.query_params.multi_items()
    kept = [(name, value) for name, value in query if token is None or name != "token"]
    if token is not None:
        kept.append(("token", token))
    return f"{address}?{urlencode(kept)}" if kept and request.method == "GET" else address
