"""The STAC API, and the only place that knows stac-fastapi: its requests in, the catalog's bytes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any
from urllib.parse import urlencode

import attr
import orjson
from fastapi import FastAPI
from stac_fastapi.api.app import StacApi
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response

from api import caller, collections, page
from api.asked import asked
from api.conformance import CONFORMANCE
from api.fields import Fields
from api.links import GEOJSON, QUERYABLES, SCHEMA, SORTABLES, Links
from api.parameters import ItemsParameters, SearchBody, SearchParameters
from catalog.access import Reader
from catalog.order import Place
from catalog.search import Page, Search
from catalog.store import Catalog
from catalog.tally import EMPTY
from kartotek.settings import Settings

OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
"""The type that the STAC API asks for, with the version that FastAPI writes."""


def create(settings: Settings, catalog: Catalog, *, pictures: Callable[[], Sequence[str]]) -> FastAPI:
    """The application with the STAC API's routes; `pictures` gives the addresses that thumbnails come from."""
    api = _Api(
        settings=ApiSettings(
            stac_fastapi_title=settings.title,
            stac_fastapi_description="Sentinel products as Cloud Optimized GeoTIFFs in SWEREF 99 TM",
            stac_fastapi_landing_id="kartotek",
            stac_fastapi_version=metadata.version("kartotek"),
            docs_url="",  # FastAPI's page loads its script from elsewhere; ours is in api/page.py
            _env_file=None,
        ),
        client=_Client(catalog=catalog, links=Links(settings), pictures=pictures),
        stac_version="1.1.0",
        extensions=[TokenPaginationExtension()],
        search_get_request_model=SearchParameters,
        search_post_request_model=SearchBody,
        items_get_request_model=ItemsParameters,
        middlewares=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "HEAD", "POST", "OPTIONS"],
                allow_headers=["*"],
                expose_headers=["Content-Range", "Content-Length", "Accept-Ranges", "ETag", "X-Request-ID"],
                max_age=600,
            )
        ],
    )
    app: FastAPI = api.app
    # In the place of stac-fastapi's, which says version=3.0 whatever the document is.
    [route] = (route for route in app.router.routes if isinstance(route, Route) and route.path == app.openapi_url)
    route.app = request_response(lambda _: Response(orjson.dumps(app.openapi()), media_type=OPENAPI))
    return app


class _Api(StacApi):
    """stac-fastapi's application, without its own health routes: ours are /livez and /readyz."""

    def add_health_check(self) -> None:
        """Nothing."""


@attr.s
class _Client(BaseCoreClient):
    """What stac-fastapi calls; each answer is a Response of bytes."""

    catalog: Catalog = attr.ib(kw_only=True)
    links: Links = attr.ib(kw_only=True)
    pictures: Callable[[], Sequence[str]] = attr.ib(kw_only=True)
    landing_page_id: str = attr.ib(default="kartotek", kw_only=True)
    base_conformance_classes: list[str] = attr.ib(factory=lambda: list(CONFORMANCE), kw_only=True)

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
            {"rel": SORTABLES, "type": SCHEMA, "title": "What items can be sorted by", "href": f"{root}/sortables"},
            {"rel": "service-doc", "type": "text/html", "title": "OpenAPI, to read", "href": f"{root}/api.html"},
        ]
        for content in self.catalog.collections(caller.reader(request)):
            found = orjson.loads(content)
            landing["links"].append(
                {
                    "rel": "child",
                    "type": "application/json",
                    "title": found.get("title", found["id"]),
                    "href": f"{root}/collections/{found['id']}",
                }
            )
        return Response(orjson.dumps(landing), media_type="application/json", headers={"Vary": "Accept"})

    def conformance(self, **kwargs: Any) -> Response:
        """The conformance classes."""
        return _json(orjson.dumps({"conformsTo": self.conformance_classes()}))

    def all_collections(self, **kwargs: Any) -> Response:
        """The collections that the caller may see."""
        reader = caller.reader(kwargs["request"])
        tallies = self.catalog.summaries(reader)
        found = []
        for content in self.catalog.collections(reader):
            name = orjson.loads(content)["id"]
            found.append(self.links.collection(collections.told(content, tallies.get(name, EMPTY)), name))
        root = self.links.root
        links = [
            {"rel": "self", "href": f"{root}/collections", "type": "application/json"},
            {"rel": "root", "href": f"{root}/", "type": "application/json"},
            {"rel": "parent", "href": f"{root}/", "type": "application/json"},
        ]
        return _json(
            b'{"collections":[' + b",".join(found) + b'],"numberMatched":%d,"numberReturned":%d,"links":'
            % (len(found), len(found)) + orjson.dumps(links) + b"}"
        )  # fmt: skip

    def get_collection(self, collection_id: str, **kwargs: Any) -> Response:
        """One collection."""
        reader = caller.reader(kwargs["request"])
        content = self.catalog.collection(reader, collection_id)
        tally = self.catalog.summaries(reader, [collection_id]).get(collection_id, EMPTY)
        return _json(self.links.collection(collections.told(content, tally), collection_id))

    def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Response:
        """One item."""
        content = self.catalog.item(caller.reader(kwargs["request"]), collection_id, item_id)
        return _json(self.links.item(content, collection_id, item_id), GEOJSON)

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
        given = search_request.model_dump(by_alias=True, exclude_unset=True)
        return self._page(kwargs["request"], given, f"{self.links.root}/search", given)

    def _page(
        self, request: Request, given: Mapping[str, Any], address: str, body: Mapping[str, Any] | None = None
    ) -> Response:
        reader = caller.reader(request)
        wanted = asked(self.catalog, reader, given)
        found = self.catalog.search(reader, wanted.search)
        features = [
            self._member(content, place, wanted.fields)
            for content, place in zip(found.items, found.places, strict=True)
        ]
        links: list[dict[str, Any]] = [
            {"rel": "root", "href": f"{self.links.root}/", "type": "application/json"},
            {"rel": "self", "href": _address(address, request), "type": GEOJSON},
        ]
        for rel, place in (("next", found.next), ("prev", found.previous)):
            if place is None:
                continue
            if body is None:
                href = _address(address, request, place.token())
                links.append({"rel": rel, "href": href, "type": GEOJSON, "method": "GET"})
            else:
                onwards = {**body, "token": place.token()}
                links.append({"rel": rel, "href": address, "type": GEOJSON, "method": "POST", "body": onwards})
        return _json(
            b'{"type":"FeatureCollection","features":['
            + b",".join(features)
            + b'],"numberReturned":%d,' % len(features)
            + self._matched(reader, given, wanted.search, found)
            + b'"links":'
            + orjson.dumps(links)
            + b"}",
            GEOJSON,
        )

    def _matched(self, reader: Reader, given: Mapping[str, Any], search: Search, found: Page) -> bytes:
        """How many items there are, where that is known already, asked for, or all that is asked for (limit 1)."""
        if search.at is None and found.next is None:
            return b'"numberMatched":%d,' % len(found.items)
        if not (given.get("numberMatched") or search.limit == 1):
            return b""
        counted = self.catalog.matched(reader, search)
        return b'"numberMatched":%d,%s' % (counted.number, b"" if counted.exact else b'"numberMatchedEstimated":true,')

    def _member(self, content: bytes, place: Place, fields: Fields | None) -> bytes:
        """An item as an answer has it."""
        if fields is None:
            return self.links.item(content, place.collection, place.id)
        whole = self.links.item(content, place.collection, place.id) if fields.links else self.links.files(content)
        return orjson.dumps(fields.of(orjson.loads(whole)))


def _address(address: str, request: Request, token: str | None = None) -> str:
    """The request's own address under our root, with another token."""
    query = request.query_params.multi_items()
    kept = [(name, value) for name, value in query if token is None or name != "token"]
    if token is not None:
        kept.append(("token", token))
    return f"{address}?{urlencode(kept)}" if kept and request.method == "GET" else address


def _json(content: bytes, kind: str = "application/json") -> Response:
    return Response(content, media_type=kind)
