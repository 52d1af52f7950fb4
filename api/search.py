"""The STAC API, and the only place that knows stac-fastapi: its requests in, the catalog's bytes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Annotated, Any
from urllib.parse import urlencode

import attr
import orjson
from fastapi import FastAPI
from pydantic import BaseModel, Field
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.models import ItemCollectionUri, create_get_request_model
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.extensions.pagination.request import GETTokenPagination
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response

from api import caller, nesting, page
from catalog import questions
from catalog.search import Key, Search
from catalog.store import Catalog
from kartotek.errors import BadRequest
from kartotek.settings import Settings
from kartotek.storage import MARKER, PRODUCTS

GEOJSON = "application/geo+json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
"""The type that the STAC API asks for, with the version that FastAPI writes."""


def create(settings: Settings, catalog: Catalog, *, pictures: Callable[[], Sequence[str]]) -> FastAPI:
    """The application with the STAC API's routes; `pictures` gives the addresses that thumbnails come from."""
    pagination = TokenPaginationExtension()
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
        extensions=[pagination],
        search_get_request_model=create_get_request_model([pagination]),
        search_post_request_model=SearchBody,
        items_get_request_model=_ItemsRequest,
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
class _ItemsRequest(ItemCollectionUri, GETTokenPagination):
    """The parameters of /collections/{collection_id}/items."""


class SearchBody(BaseModel):
    """The body of POST /search; what its members mean is checked in `question`, once for GET and POST."""

    collections: list[str] | None = None
    ids: list[str] | None = None
    bbox: list[float] | None = None
    intersects: dict[str, Any] | None = None
    datetime: str | None = None
    limit: Annotated[int, Field(ge=1)] | None = 10
    token: str | None = None


class Links:
    """Stored JSON completed on its way out: files get their public root, and links are spliced in as bytes."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.root
        self._files = f'"href":"{settings.files_root}/'.encode()
        self._products = f'"href":"{settings.root}/products/'.encode()

    def item(self, content: bytes, collection: str, name: str) -> bytes:
        """An item with its links."""
        own = f"{self.root}/collections/{collection}"
        return self._spliced(
            content,
            [
                ("self", f"{own}/items/{name}", GEOJSON),
                ("parent", own, "application/json"),
                ("collection", own, "application/json"),
                ("root", f"{self.root}/", "application/json"),
            ],
        )

    def collection(self, content: bytes, name: str) -> bytes:
        """A collection with its links."""
        own = f"{self.root}/collections/{name}"
        return self._spliced(
            content,
            [
                ("self", own, "application/json"),
                ("items", f"{own}/items", GEOJSON),
                ("parent", f"{self.root}/", "application/json"),
                ("root", f"{self.root}/", "application/json"),
            ],
        )

    def _spliced(self, content: bytes, links: list[tuple[str, str, str]]) -> bytes:
        """`links` is the last member of stored JSON, so that its end is always the same two bytes."""
        found = content.replace(f'"href":"{MARKER}'.encode(), self._files)
        found = found.replace(f'"href":"{PRODUCTS}'.encode(), self._products)
        more = b",".join(orjson.dumps({"rel": rel, "href": href, "type": kind}) for rel, href, kind in links)
        first = b"" if found.endswith(b"[]}") else b","
        return found[:-2] + first + more + b"]}"


@attr.s
class _Client(BaseCoreClient):
    """What stac-fastapi calls; each answer is a Response of bytes."""

    catalog: Catalog = attr.ib(kw_only=True)
    links: Links = attr.ib(kw_only=True)
    pictures: Callable[[], Sequence[str]] = attr.ib(kw_only=True)
    landing_page_id: str = attr.ib(default="kartotek", kw_only=True)

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
        found = [
            self.links.collection(content, orjson.loads(content)["id"])
            for content in self.catalog.collections(caller.reader(kwargs["request"]))
        ]
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
        content = self.catalog.collection(caller.reader(kwargs["request"]), collection_id)
        return _json(self.links.collection(content, collection_id))

    def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Response:
        """One item."""
        content = self.catalog.item(caller.reader(kwargs["request"]), collection_id, item_id)
        return _json(self.links.item(content, collection_id, item_id), GEOJSON)

    def item_collection(
        self,
        collection_id: str,
        bbox: Any = None,
        datetime: Any = None,
        limit: int | None = 10,
        token: str | None = None,
        **kwargs: Any,
    ) -> Response:
        """A page of a collection's items."""
        request: Request = kwargs["request"]
        self.catalog.collection(caller.reader(request), collection_id)
        asked = question(collections=[collection_id], bbox=bbox, datetime=datetime, limit=limit, token=token)
        return self._page(request, asked, f"{self.links.root}/collections/{collection_id}/items")

    def get_search(self, **kwargs: Any) -> Response:
        """A page of items across collections."""
        request: Request = kwargs.pop("request")
        kwargs["intersects"] = _geometry_text(kwargs["intersects"]) if kwargs.get("intersects") else None
        return self._page(request, question(**kwargs), f"{self.links.root}/search")

    def post_search(self, search_request: SearchBody, **kwargs: Any) -> Response:
        """The same by POST."""
        found = search_request.model_dump()
        body = {name: value for name, value in found.items() if value is not None}
        return self._page(kwargs["request"], question(**found), f"{self.links.root}/search", body)

    def _page(self, request: Request, asked: Search, address: str, body: dict[str, Any] | None = None) -> Response:
        found = self.catalog.search(caller.reader(request), asked)
        features = [
            self.links.item(content, key.collection, key.id)
            for content, key in zip(found.items, found.keys, strict=True)
        ]
        links: list[dict[str, Any]] = [
            {"rel": "root", "href": f"{self.links.root}/", "type": "application/json"},
            {"rel": "self", "href": _address(address, request), "type": GEOJSON},
        ]
        if found.next is not None:
            token = found.next.token()
            if body is None:
                links.append(
                    {"rel": "next", "href": _address(address, request, token), "type": GEOJSON, "method": "GET"}
                )
            else:
                links.append(
                    {
                        "rel": "next",
                        "href": address,
                        "type": GEOJSON,
                        "method": "POST",
                        "body": {**body, "token": token},
                    }
                )
        return _json(
            b'{"type":"FeatureCollection","features":['
            + b",".join(features)
            + b'],"numberReturned":%d,"links":' % len(features)
            + orjson.dumps(links)
            + b"}",
            GEOJSON,
        )


def question(
    *,
    collections: list[str] | None = None,
    ids: list[str] | None = None,
    bbox: Any = None,
    intersects: Any = None,
    datetime: str | None = None,
    limit: int | None = 10,
    token: str | None = None,
) -> Search:
    """A frozen search of the request's parameters. Raises BadRequest with what is wrong and what would do."""
    if bbox is not None and intersects is not None:
        raise BadRequest("bbox and intersects can't both be given; leave one out")
    area = None
    if bbox is not None:
        area = questions.box(bbox)
    elif intersects is not None:
        area = questions.area(intersects)
    start, end = questions.interval(datetime)
    return Search(
        collections=questions.names("collections", collections),
        ids=questions.names("ids", ids),
        area=area,
        start=start,
        end=end,
        limit=10 if limit is None else limit,
        after=Key.from_token(token) if token else None,
    )


def _geometry_text(text: str) -> Any:
    nesting.check("intersects", text.encode("utf-8", "surrogatepass"))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"intersects: not JSON ({error})") from None


def _address(address: str, request: Request, token: str | None = None) -> str:
    """The request's own address under our root, with another token."""
    query = request.query_params.multi_items()
    kept = [(name, value) for name, value in query if token is None or name != "token"]
    if token is not None:
        kept.append(("token", token))
    return f"{address}?{urlencode(kept)}" if kept and request.method == "GET" else address


def _json(content: bytes, kind: str = "application/json") -> Response:
    return Response(content, media_type=kind)
