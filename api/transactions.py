"""Items and collections entered, changed and removed over HTTP: the transaction extension.

What kartotek itself has converted or registered is not changed here: its JSON lies beside its files too, from which
the catalog is rebuilt.
"""

import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body
from starlette.requests import Request
from starlette.responses import Response

from api import caller, tags
from api.links import GEOJSON, JSON, Links
from api.merge import merged
from api.routing import Strict
from catalog import documents, entries
from catalog.schemas import Schemas
from catalog.store import Catalog
from kartotek.errors import BadRequest, Conflict, KartotekError, NotFound, Outdated
from kartotek.settings import Settings
from kartotek.storage import PRODUCTS

Document = Annotated[dict[str, Any], Body()]
Change = Callable[[bytes | None], Mapping[str, Any] | None]


def router(settings: Settings, catalog: Catalog) -> APIRouter:
    """The routes that write."""
    made = APIRouter(tags=["Transactions"], route_class=Strict)
    writer = _Writer(settings, catalog)
    items, one_item = "/collections/{collection_id}/items", "/collections/{collection_id}/items/{item_id}"

    def post_items(request: Request, collection_id: str, given: Document) -> Response:
        if given.get("type") == "FeatureCollection":
            return writer.add_all(request, collection_id, given.get("features"))
        return writer.add(request, collection_id, given)

    def put_item(request: Request, collection_id: str, item_id: str, given: Document) -> Response:
        return writer.change(request, collection_id, item_id, lambda _: {"id": item_id, **given})

    def patch_item(request: Request, collection_id: str, item_id: str, given: Document) -> Response:
        return writer.change(request, collection_id, item_id, _patching(given))

    def delete_item(request: Request, collection_id: str, item_id: str) -> Response:
        return writer.change(request, collection_id, item_id, lambda _: None)

    def post_collection(request: Request, given: Document) -> Response:
        return writer.add_collection(request, given)

    def put_collection(request: Request, collection_id: str, given: Document) -> Response:
        return writer.change_collection(
            request, collection_id, lambda _: {**given, "id": given.get("id", collection_id)}
        )

    def patch_collection(request: Request, collection_id: str, given: Document) -> Response:
        return writer.change_collection(request, collection_id, _patching(given))

    def delete_collection(request: Request, collection_id: str) -> Response:
        return writer.change_collection(request, collection_id, lambda _: None)

    def add(method: str, path: str, endpoint: Any, summary: str) -> None:
        status = HTTPStatus.CREATED if method == "POST" else HTTPStatus.NO_CONTENT
        more: dict[int | str, dict[str, Any]] = {207: {"description": "Some are refused"}} if path == items else {}
        made.add_api_route(
            path,
            endpoint,
            methods=[method],
            summary=summary,
            response_class=Response,
            status_code=status,
            responses=more,
        )

    add("POST", items, post_items, "Enter an item, or all of an ItemCollection")
    add("PUT", one_item, put_item, "Replace an item")
    add("PATCH", one_item, patch_item, "Change members of an item (RFC 7396)")
    add("DELETE", one_item, delete_item, "Remove an item; its files stay")
    add("POST", "/collections", post_collection, "Enter a collection")
    add("PUT", "/collections/{collection_id}", put_collection, "Replace a collection")
    add("PATCH", "/collections/{collection_id}", patch_collection, "Change members of a collection (RFC 7396)")
    add("DELETE", "/collections/{collection_id}", delete_collection, "Remove a collection with its items")
    return made


class _Writer:
    """Checks what is given, and has it written."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._catalog, self._links = catalog, Links(settings)
        self._schemas = threading.local()  # which are one thread's at a time
        self._folder = settings.schemas

    def add(self, request: Request, collection: str, given: Mapping[str, Any]) -> Response:
        """One new item."""
        self._catalog.collection(caller.reader(request), collection)
        one = self._entry(collection, None, given)
        name = str(one.row["id"])
        self._catalog.change_item(collection, name, _adding(one))
        content = self._links.item(self._links.addresses.outward(one.content), collection, name)
        headers = {"Location": self._links.address(collection, name), "ETag": tags.of(one.content)}
        return Response(content, HTTPStatus.CREATED, headers, GEOJSON)

    def add_all(self, request: Request, collection: str, given: Any) -> Response:
        """Several, each for itself, with a report of each."""
        self._catalog.collection(caller.reader(request), collection)
        if not isinstance(given, list):
            raise BadRequest("features: a list of items")
        report: list[dict[str, Any]] = []
        for place, document in enumerate(given):
            name = document.get("id") if isinstance(document, Mapping) else None
            try:
                one = self._entry(collection, None, document)
                self._catalog.change_item(collection, str(one.row["id"]), _adding(one))
                report.append({"id": name, "status": 201})
            except KartotekError as error:
                status = 409 if isinstance(error, Conflict) else 400
                report.append({"id": name, "place": place, "status": status, "detail": str(error)})
        done = sum(one["status"] == HTTPStatus.CREATED for one in report)
        document = {"added": done, "refused": len(report) - done, "items": report}
        status = HTTPStatus.CREATED if done == len(report) else HTTPStatus.MULTI_STATUS
        return Response(orjson.dumps(document), status, media_type=JSON)

    def change(self, request: Request, collection: str, name: str, change: Change) -> Response:
        """An item that is there."""
        self._catalog.collection(caller.reader(request), collection)

        def made(before: bytes | None) -> entries.Entry | None:
            if before is None:
                raise NotFound(f"no item {name!r} in collection {collection!r}")
            _check(request, before)
            _is_theirs(name, before)
            after = change(before)
            return None if after is None else self._entry(collection, name, after)

        _, content = self._catalog.change_item(collection, name, made)
        return _nothing(content)

    def add_collection(self, request: Request, given: Mapping[str, Any]) -> Response:
        """One new collection."""
        content = self._collection(None, given)
        name = str(given["id"])

        def made(before: bytes | None) -> bytes:
            if before is not None:
                raise Conflict(f"there is a collection {name!r} already")
            return content

        self._catalog.change_collection(name, made)
        headers = {"Location": self._links.address(name), "ETag": tags.of(content)}
        return Response(self._links.collection(content, name), HTTPStatus.CREATED, headers, JSON)

    def change_collection(self, request: Request, name: str, change: Change) -> Response:
        """A collection that is there."""
        self._catalog.collection(caller.reader(request), name)

        def made(before: bytes | None) -> bytes | None:
            if before is None:
                raise NotFound(f"no collection {name!r}")
            _check(request, before)
            after = change(before)
            if after is None and self._catalog.holds_ours(name):
                raise Conflict(f"collection {name!r} has items that kartotek converted or registered")
            return None if after is None else self._collection(name, after)

        _, content = self._catalog.change_collection(name, made)
        return _nothing(content)

    def _entry(self, collection: str, name: str | None, given: Any) -> entries.Entry:
        """A valid item of the collection, called so."""
        document = documents.checked(given)
        if document.get("type") != "Feature":
            raise BadRequest(f"{document['id']}: an item's type is Feature")
        document = {**document, "collection": document.get("collection") or collection}
        if document["collection"] != collection or (name is not None and document["id"] != name):
            raise BadRequest(f"{document['id']}: id and collection must be those of the address")
        self._valid({"links": [], **document})
        return entries.of(documents.inward(document, self._links.addresses))

    def _collection(self, name: str | None, given: Mapping[str, Any]) -> bytes:
        document = documents.checked(given)
        if name is not None and document["id"] != name:
            raise BadRequest(f"{document['id']}: the id must be that of the address")
        self._valid({"links": [], **document})
        if document.get("type") != "Collection":
            raise BadRequest(f"{document['id']}: a collection's type is Collection")
        return documents.stored({key: value for key, value in document.items() if key != "kartotek:items"})

    def _valid(self, document: Mapping[str, Any]) -> None:
        if not hasattr(self._schemas, "mine"):
            self._schemas.mine = Schemas(self._folder)
        self._schemas.mine.check(document)


def _patching(given: Mapping[str, Any]) -> Change:
    return lambda before: merged(orjson.loads(before or b"{}"), given)


def _adding(one: entries.Entry) -> Callable[[bytes | None], entries.Entry]:
    def new(before: bytes | None) -> entries.Entry:
        if before is not None:
            raise Conflict(f"there is an item {one.row['id']!r} already")
        return one

    return new


def _check(request: Request, before: bytes) -> None:
    """Whether what is there is what the caller has seen, if they say what that is (RFC 9110, 13.1.1)."""
    given = request.headers.get("if-match")
    if given is not None and given.strip() != "*" and not tags.stored(given, before):
        raise Outdated("it was changed meanwhile: it is not any more what If-Match names; get it again")


def _is_theirs(name: str, before: bytes) -> None:
    if documents.CONVERTED in before or f'"href":"{PRODUCTS}'.encode() in before:
        raise Conflict(f"item {name!r} was converted or registered by kartotek, which alone changes it")


def _nothing(content: bytes | None) -> Response:
    headers = {} if content is None else {"ETag": tags.of(content)}
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
