"""The parameters of a search as the OpenAPI document tells them; what they mean is looked at in `api.asked`."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_COLLECTIONS = "Ids of collections, with commas between them."
_IDS = "Ids of items, with commas between them."
_BBOX = "west,south,east,north in degrees: items that touch it."
_INTERSECTS = "A GeoJSON geometry in longitude and latitude: items that touch it."
_DATETIME = "An RFC 3339 time, or two with a slash between them, of which one may be `..`."
_LIMIT = "Items of a page, 10 unless it is given; more than 10 000 are served as 10 000."
_TOKEN = "Where another page begins, from a link of this one."  # noqa: S105  no password
_FILTER = "CQL2; the names that may stand in it are told by /queryables."
_CRS = "The CRS of positions in the filter: CRS84, longitude and latitude, the only one."
_SORTBY = "What items are sorted by, with commas between: `-eo:cloud_cover,+datetime`. What an item lacks comes last."
_FIELDS = "The members of items that the answer has, with commas between; `-links` leaves one out."
_QUERY = 'Conditions on properties as JSON, such as {"eo:cloud_cover": {"lt": 10}}; `filter` can do more.'
_Q = "Words, with commas between them, of which one at least stands in title, description or keywords."

_F = "geojson for a page; ndjson, geojsonseq, csv or geoparquet for all that is found, or `limit` of it."
_AGGREGATIONS = "Names of aggregates, with commas between them; /aggregations lists them."
_INTERVAL = "How long the periods of datetime_frequency are: day, month or year."
_MATCHED = "Whether the answer says how many items there are on all pages; about, if counting takes long."

Text = str | None


class _Query(BaseModel):
    """What all searches by GET have; each value as it stands in the address."""

    bbox: Annotated[Text, Field(description=_BBOX)] = None
    datetime: Annotated[Text, Field(description=_DATETIME)] = None
    limit: Annotated[int | None, Field(ge=1, description=_LIMIT)] = None
    token: Annotated[Text, Field(description=_TOKEN)] = None
    filter: Annotated[Text, Field(description=_FILTER)] = None
    filter_lang: Annotated[Text, Field(alias="filter-lang", description="cql2-text or cql2-json.")] = None
    filter_crs: Annotated[Text, Field(alias="filter-crs", description=_CRS)] = None
    sortby: Annotated[Text, Field(description=_SORTBY)] = None
    fields: Annotated[Text, Field(description=_FIELDS)] = None
    query: Annotated[Text, Field(description=_QUERY)] = None
    q: Annotated[Text, Field(description=_Q)] = None
    f: Annotated[Text, Field(description=_F)] = None
    number_matched: Annotated[bool, Field(alias="numberMatched", description=_MATCHED)] = False

    def given(self) -> dict[str, Any]:
        """What is given, by the names that it has in an address."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class ItemsQuery(_Query):
    """Of GET /collections/{collection_id}/items."""


class CollectionsQuery(_Query):
    """Of GET /collections: all of them, unless something is asked for."""


class SearchQuery(_Query):
    """Of GET /search."""

    collections: Annotated[Text, Field(description=_COLLECTIONS)] = None
    ids: Annotated[Text, Field(description=_IDS)] = None
    intersects: Annotated[Text, Field(description=_INTERSECTS)] = None


class AggregateQuery(SearchQuery):
    """Of GET /aggregate."""

    aggregations: Annotated[Text, Field(description=_AGGREGATIONS)] = None
    interval: Annotated[Text, Field(alias="datetime_frequency_interval", description=_INTERVAL)] = None


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
    limit: Annotated[int | None, Field(ge=1, description=_LIMIT)] = None
    token: Annotated[str | None, Field(description=_TOKEN)] = None
    filter: Annotated[dict[str, Any] | bool | str | None, Field(description=_FILTER)] = None
    filter_lang: Annotated[str | None, Field(alias="filter-lang")] = None
    filter_crs: Annotated[str | None, Field(alias="filter-crs", description=_CRS)] = None
    sortby: Annotated[list[_Order] | None, Field(description=_SORTBY)] = None
    fields: Annotated[_Members, Field(description=_FIELDS)] = _Members()
    query: Annotated[dict[str, Any] | None, Field(description=_QUERY)] = None
    q: Annotated[list[str] | str | None, Field(description=_Q)] = None
    f: Annotated[str | None, Field(description=_F)] = None
    number_matched: Annotated[bool, Field(alias="numberMatched", description=_MATCHED)] = False

    def given(self) -> dict[str, Any]:
        """What is given, by the names that it has in JSON."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class AggregateBody(SearchBody):
    """The body of POST /aggregate."""

    aggregations: Annotated[list[str] | str | None, Field(description=_AGGREGATIONS)] = None
    interval: Annotated[str | None, Field(alias="datetime_frequency_interval", description=_INTERVAL)] = None
