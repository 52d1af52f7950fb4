"""What a request asks for: its parameters, by GET or POST, as a frozen search and the members that the answer has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from api import fields as members
from api import nesting
from api.fields import Fields
from catalog import order, questions
from catalog.access import Reader
from catalog.filters import grammar, query, words
from catalog.filters.grammar import Tree
from catalog.naming import typed, used
from catalog.order import NEWEST
from catalog.pages import Page
from catalog.queryables import TYPED, Queryable
from catalog.search import Search
from kartotek.errors import BadRequest

LONGITUDE_LATITUDE = frozenset(
    {
        "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
        "https://www.opengis.net/def/crs/OGC/1.3/CRS84",
        "http://www.opengis.net/def/crs/EPSG/0/4326",
        "EPSG:4326",
    }
)


class Searched(Protocol):
    """What is searched: items of the catalog, or its collections."""

    def queryables(self, reader: Reader, names: Collection[str] | None = None) -> Mapping[str, Queryable]:
        """What may be asked for."""
        ...

    def search(self, reader: Reader, search: Search) -> Page:
        """A page of what is found."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A search, and which members of its items the answer has; None for all."""

    search: Search
    fields: Fields | None


def asked(catalog: Searched, reader: Reader, given: Mapping[str, Any]) -> Asked:
    """The search of a request's parameters by their names. Raises BadRequest with what is wrong and what would do."""
    if given.get("bbox") is not None and given.get("intersects") is not None:
        raise BadRequest("bbox and intersects can't both be given; leave one out")
    area = None
    if given.get("bbox") is not None:
        area = questions.box(given["bbox"])
    elif given.get("intersects") is not None:
        area = questions.area(_json("intersects", given["intersects"]))
    start, end = questions.interval(given.get("datetime"))
    collections = questions.names("collections", listed(given.get("collections")))
    tree, sortby, q, older = _filter(given), given.get("sortby"), given.get("q"), _json("query", given.get("query"))
    names: Mapping[str, Queryable] = TYPED
    if q or not typed({*used(tree), *query.used(older), *_sorted_by(sortby)}):
        names = catalog.queryables(reader, collections)
    if older is not None:
        tree = _both(tree, query.tree(older, names))
    if q:
        tree = _both(tree, words.tree(listed(q), names))
    sorts = order.asked(sortby, names) if sortby else NEWEST
    limit, token, wanted = given.get("limit"), given.get("token"), members.asked(given.get("fields"))
    return Asked(
        Search(
            collections=collections,
            ids=questions.names("ids", listed(given.get("ids"))),
            area=area,
            start=start,
            end=end,
            filter=None if tree is None else grammar.check(tree),
            names=names,
            order=sorts,
            heads=wanted is not None and wanted.of_heads,
            limit=10 if limit is None else limit,
            at=order.place_of(token, sorts) if token else None,
        ),
        wanted,
    )


def listed(given: Any) -> Any:
    """What may be given as a list, or as a text with commas."""
    return given.split(",") if isinstance(given, str) else given


def _filter(given: Mapping[str, Any]) -> Tree | None:
    """The filter, if any."""
    if (crs := given.get("filter-crs")) and crs not in LONGITUDE_LATITUDE:
        raise BadRequest(f"filter-crs: {crs[:80]!r} is not known; positions are longitude, latitude (CRS84)")
    found, written = None, given.get("filter")
    if written is not None:
        language = given.get("filter-lang") or ("cql2-text" if isinstance(written, str) else "cql2-json")
        if language == "cql2-text" and isinstance(written, str):
            found = grammar.text(written)
        elif language == "cql2-json":
            found = grammar.json(_json("filter", written))
        else:
            raise BadRequest(
                f"filter-lang: {str(language)[:40]!r} with such a filter; cql2-text and cql2-json are known"
            )
    return found


def _both(one: Tree | None, other: Tree) -> Tree:
    return other if one is None else {"op": "and", "args": [one, other]}


def _sorted_by(sortby: Any) -> set[str]:
    """The names in a sortby that may be none."""
    named = (part.get("field") if isinstance(part, Mapping) else part for part in listed(sortby) or ())
    return {name.strip(" +-") for name in named if isinstance(name, str) and name.strip(" +-")}


def _json(name: str, given: Any) -> Any:
    """A parameter that is JSON, which a URL has as text."""
    if not isinstance(given, str):
        return given
    content = given.encode("utf-8", "surrogatepass")
    nesting.check(name, content)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"{name}: not JSON ({error})") from None
