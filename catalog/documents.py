"""Items and collections as they are stored: JSON that goes out again unparsed, with the server's links put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

import orjson

from catalog.addresses import Addresses
from kartotek.errors import BadRequest

RECIPE = "kartotek:recipe"
"""The property of an item that is converted, and not of one that is registered."""
CONVERTED = f'"{RECIPE}":'.encode()
"""How it stands in JSON."""
_ID = frozenset("/\0")
"""What can't stand in an id: a path would end there, and PostgreSQL takes no zero."""
_SERVER = frozenset(
    {
        *("self", "root", "parent", "collection", "items", "item", "child", "aggregate", "aggregations"),
        *(f"http://www.opengis.net/def/rel/ogc/1.0/{name}" for name in ("queryables", "sortables", "tilesets-map")),
    }
)
"""The links that depend on where the server stands, or on what else is in the catalog; it adds them to each answer."""


def stored(document: Mapping[str, Any]) -> bytes:
    """The JSON that is stored: without spaces, without the server's own links, and with the others last.

    >>> stored({"links": [{"rel": "self"}, {"rel": "license"}], "id": "x"})
    b'{"id":"x","links":[{"rel":"license"}]}'
    """
    links = [link for link in document.get("links", ()) if link.get("rel") not in _SERVER]
    return orjson.dumps({**{name: value for name, value in document.items() if name != "links"}, "links": links})


def written(links: Iterable[Mapping[str, Any]]) -> bytes:
    """Links as they stand in JSON, without the brackets around them."""
    return b",".join(orjson.dumps(link) for link in links)


def linked(content: bytes, links: bytes) -> bytes:
    """Stored JSON with more links, which nobody parses for it: `links` is its last member, so that its end is known.

    >>> linked(b'{"id":"x","links":[]}', written([{"rel": "root"}, {"rel": "parent"}]))
    b'{"id":"x","links":[{"rel":"root"},{"rel":"parent"}]}'
    """
    first = b"" if content.endswith(b"[]}") else b","
    return b"".join((memoryview(content)[:-2], first, links, b"]}"))  # a view, which copies nothing


def head(document: Mapping[str, Any], content: bytes) -> int:
    """How many bytes of an item's stored JSON stand before its assets; all of them where these are not apart.

    >>> head({"id": "x", "links": [], "assets": {}}, b'{"id":"x","assets":{},"links":[]}')
    10
    """
    before = dict(takewhile(lambda member: member[0] != "assets", document.items()))
    before.pop("links", None)  # which are stored last, wherever they came
    first = orjson.dumps(before)[:-1] + b","
    return len(first) if content.startswith(first) else len(content)


def inward(document: dict[str, Any], addresses: Addresses) -> dict[str, Any]:
    """An item that comes from elsewhere, or that we gave out ourselves and that comes back.

    Files of its own that lie under our public addresses are ours again; where it came from is a link `via`, since our
    links take the place of its own.
    """
    assets = document.get("assets")
    if isinstance(assets, Mapping) and any(map(addresses.are_public, map(_href, assets.values()))):
        document = {**document, "assets": {name: _inward(one, document, addresses) for name, one in assets.items()}}
    links = document.get("links", [])
    came = next((link.get("href") for link in links if link.get("rel") == "self"), None)
    ours = isinstance(came, str) and addresses.products == came.partition("/collections/")[0] + "/products/"
    if isinstance(came, str) and came.startswith("http") and not ours and not any(_is_via(link) for link in links):
        document = {**document, "links": [*links, {"rel": "via", "href": came, "type": "application/geo+json"}]}
    return document


def _href(asset: Any) -> str:
    href = asset.get("href") if isinstance(asset, dict) else None
    return href if isinstance(href, str) else ""


def _inward(asset: Any, document: Mapping[str, Any], addresses: Addresses) -> Any:
    if not (href := _href(asset)):
        return asset
    return {**asset, "href": addresses.inward(href, str(document.get("collection")), document["id"])}


def _is_via(link: Mapping[str, Any]) -> bool:
    return link.get("rel") == "via"


def parsed(content: bytes) -> dict[str, Any]:
    """An item or a collection from its JSON. Raises BadRequest where it can't be one."""
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"no JSON: {error}") from None
    return checked(found)


def checked(found: Any) -> dict[str, Any]:
    """A document as far as it must be an item or a collection for anything to be said of it. Raises BadRequest."""
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise BadRequest("no item and no collection: give a JSON object with an id")
    if not found["id"] or not _ID.isdisjoint(found["id"]):
        raise BadRequest(f"{found['id'][:100]!r}: an id can't be empty, nor have a slash or a zero in it")
    links = found.get("links", [])
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        raise BadRequest(f"{found['id']}: links must be a list of JSON objects")
    return found
