"""Items and collections as they are stored: JSON that goes out again unparsed, with the server's links put in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kartotek.errors import BadRequest

CONVERTED = b'"kartotek:recipe":'
"""Stands in the JSON of an item that is converted, and not of one that is registered."""
_SERVER = frozenset({"self", "root", "parent", "collection", "items"})
"""The links that depend on where the server stands; it adds them to each answer."""


def stored(document: Mapping[str, Any]) -> bytes:
    """The JSON that is stored: without spaces, without the server's own links, and with the others last.

    >>> stored({"links": [{"rel": "self"}, {"rel": "license"}], "id": "x"})
    b'{"id":"x","links":[{"rel":"license"}]}'
    """
    links = [link for link in document.get("links", ()) if link.get("rel") not in _SERVER]
    return orjson.dumps({**{name: value for name, value in document.items() if name != "links"}, "links": links})


def parsed(content: bytes) -> dict[str, Any]:
    """An item or a collection from its JSON. Raises BadRequest where it can't be one."""
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"no JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise BadRequest("no item and no collection: give a JSON object with an id")
    if "\0" in found["id"]:
        raise BadRequest(f"{found['id']!r}: an id can't have a zero in it")
    links = found.get("links", [])
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        raise BadRequest(f"{found['id']}: links must be a list of JSON objects")
    return found
