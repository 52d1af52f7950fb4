"""The parameters of a search as the OpenAPI document tells them; what they mean is looked at in `api.asked`."""

from typing import Annotated, Any

import attr
from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from stac_fastapi.types.search import APIRequest

_COLLECTIONS = "Ids of collections, with commas between them."
_IDS = "Ids of items, with commas between them."
_BBOX = "west,south,east,north in degrees: items that touch it."
_INTERSECTS = "A GeoJSON geometry in longitude and latitude: items that touch it."
_DATETIME = "An RFC 3339 time, or two with a slash between them, of which one may be `..`."
_LIMIT = "Items of a page; more than 10 000 are served as 10 000."
_TOKEN = "Where another page begins, from a link of this one."  # noqa: S105  no password
_FILTER = "CQL2; the names that may stand in it are told by /queryables."
_CRS = "The CRS of positions in the filter: CRS84, longitude and latitude, the only one."
_SORTBY = "What items are sorted by, with commas between: `-eo:cloud_cover,+datetime`. What an item lacks comes last."
_FIELDS = "The members of items that the answer has, with commas between; `-links` leaves one out."
_QUERY = 'Conditions on properties as JSON, such as {"eo:cloud_cover": {"lt": 10}}; `filter` can do more.'
_Q = "Words, with commas between them, of which one at least stands in title, description or keywords."

_MATCHED = "Whether the answer says how many items there are on all pages; about, if counting takes long."

Text = str | None


@attr.s(kw_only=True)
class _Parameters(APIRequest):
    """What all searches by GET have."""

    bbox: Annotated[Text, Query(description=_BBOX)] = attr.ib(default=None)
    datetime: Annotated[Text, Query(description=_DATETIME)] = attr.ib(default=None)
    limit: Annotated[int | None, Query(ge=1, description=_LIMIT)] = attr.ib(default=10)
    token: Annotated[Text, Query(description=_TOKEN)] = attr.ib(default=None)
    filter: Annotated[Text, Query(description=_FILTER)] = attr.ib(default=None)
    filter_lang: Annotated[Text, Query(alias="filter-lang", description="cql2-text or cql2-json.")] = attr.ib(
        default=None
    )
    filter_crs: Annotated[Text, Query(alias="filter-crs", description=_CRS)] = attr.ib(default=None)
    sortby: Annotated[Text, Query(description=_SORTBY)] = attr.ib(default=None)
    fields: Annotated[Text, Query(description=_FIELDS)] = attr.ib(default=None)
    query: Annotated[Text, Query(description=_QUERY)] = attr.ib(default=None)
    q: Annotated[Text, Query(description=_Q)] = attr.ib(default=None)
    number_matched: Annotated[bool, Query(alias="numberMatched", description=_MATCHED)] = attr.ib(default=False)

    def kwargs(self) -> dict[str, Any]:
        """By the names that they have in a URL."""
        found = {name.replace("filter_", "filter-"): value for name, value in self.__dict__.items()}
        return found | {"numberMatched": found.pop("number_matched")}


@attr.s(kw_only=True)
class SearchParameters(_Parameters):
    """Of GET /search."""

    collections: Annotated[Text, Query(description=_COLLECTIONS)] = attr.ib(default=None)
    ids: Annotated[Text, Query(description=_IDS)] = attr.ib(default=None)
    intersects: Annotated[Text, Query(description=_INTERSECTS)] = attr.ib(default=None)

    def kwargs(self) -> dict[str, Any]:
        """Names as lists."""
        found = super().kwargs()
        for name in ("collections", "ids"):
            found[name] = found[name].split(",") if found[name] else None
        return found


@attr.s(kw_only=True)
class ItemsParameters(_Parameters):
    """Of GET /collections/{collection_id}/items."""

    collection_id: Annotated[str, Path(description="A collection's id.")] = attr.ib()


class _Members(BaseModel):
    """Members of items by their paths."""

    include: list[str] | None = None
    exclude: list[str] | None = None


class _Order(BaseModel):
    """One thing that items are sorted by."""

    field: str
    direction: Annotated[str, Field(pattern="^(asc|desc)$")] = "asc"


class SearchBody(BaseModel):
    """The body of POST /search."""

    model_config = ConfigDict(populate_by_name=True)

    collections: Annotated[list[str] | str | None, Field(description=_COLLECTIONS)] = None
    ids: Annotated[list[str] | None, Field(description=_IDS)] = None
    bbox: Annotated[list[float] | None, Field(description=_BBOX)] = None
    intersects: Annotated[dict[str, Any] | None, Field(description=_INTERSECTS)] = None
    datetime: Annotated[str | None, Field(description=_DATETIME)] = None
    limit: Annotated[int | None, Field(ge=1, description=_LIMIT)] = 10
    token: Annotated[str | None, Field(description=_TOKEN)] = None
    filter: Annotated[dict[str, Any] | bool | str | None, Field(description=_FILTER)] = None
    filter_lang: Annotated[str | None, Field(alias="filter-lang")] = None
    filter_crs: Annotated[str | None, Field(alias="filter-crs", description=_CRS)] = None
    sortby: Annotated[list[_Order] | None, Field(description=_SORTBY)] = None
    fields: Annotated[_Members, Field(description=_FIELDS)] = _Members()
    query: Annotated[dict[str, Any] | None, Field(description=_QUERY)] = None
    q: Annotated[list[str] | str | None, Field(description=_Q)] = None
    number_matched: Annotated[bool, Field(alias="numberMatched", description=_MATCHED)] = False
