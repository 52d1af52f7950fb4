"""What a mosaic is: a search, the order in which its items lie on each other, and how they are shown if nothing else is
asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import ConfigDict, Field

from api.asked import asked, listed
from api.display import Shown, TileQuery
from api.wanted import LAYERS, Text, Wanted
from catalog import questions
from catalog.access import Reader
from catalog.order import NEWEST, Sort
from catalog.queryables import TYPED
from catalog.search import Search
from catalog.store import Catalog
from kartotek.errors import BadRequest, NotFound

Order = Literal["newest", "oldest", "clearest", "median"]
ORDERS: Mapping[Order, tuple[Sort, ...]] = {
    "newest": NEWEST,
    "oldest": (Sort(TYPED["datetime"]),),
    "clearest": (Sort(TYPED["eo:cloud_cover"]), *NEWEST),
    "median": (Sort(TYPED["eo:cloud_cover"]), *NEWEST),
}
"""What the catalog sorts by; ties go by collection and id."""
SORTBY: Mapping[Order, str] = {
    "newest": "-datetime", "oldest": "+datetime",
    "clearest": "+eo:cloud_cover,-datetime", "median": "+eo:cloud_cover,-datetime",
}  # fmt: skip
"""The same as a search over HTTP says it."""
_COLOURS = ("rescale", "colormap_name")
MOST_OF_MEDIAN = 32
"""Items whose median is taken: another twenty would change it little, and would be read."""
SEARCH = ("collections", "ids", "bbox", "intersects", "datetime", "filter")

_COLLECTIONS = "Ids of the collections: one, or several whose layers have the same names."
_IDS = "Ids of items."
_BBOX = "west,south,east,north in degrees: items that touch it."
_INTERSECTS = "A GeoJSON geometry in longitude and latitude: items that touch it."
_DATETIME = "A date, an RFC 3339 time, or two with a slash between them, of which one may be `..`."
NARROWED = f"{_DATETIME} Narrows that of the mosaic."
_FILTER = "CQL2, as a search has it."
_ORDER = (
    "Which item is seen where several have data: `newest`, `oldest`, `clearest` (of those that touch it, by their "
    "clear pixels in its 5 km squares), or the `median` of the clearest."
)


class MosaicBody(Shown):
    """The body of POST /mosaics."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    collections: Annotated[list[str] | str, Field(description=_COLLECTIONS)]
    ids: Annotated[list[str] | None, Field(description=_IDS)] = None
    bbox: Annotated[list[float] | None, Field(description=_BBOX)] = None
    intersects: Annotated[dict[str, Any] | None, Field(description=_INTERSECTS)] = None
    datetime: Annotated[Text, Field(description=_DATETIME)] = None
    filter: Annotated[dict[str, Any] | bool | str | None, Field(description=_FILTER)] = None
    filter_lang: Annotated[Text, Field(alias="filter-lang", description="cql2-text or cql2-json.")] = None
    filter_crs: Annotated[Text, Field(alias="filter-crs", description="CRS84, the only one.")] = None
    order: Annotated[Order, Field(description=_ORDER)] = "newest"


class MosaicTileQuery(TileQuery):
    """Of a tile of a registered mosaic."""

    datetime: Annotated[Text, Field(description=NARROWED)] = None


class InlineQuery(MosaicTileQuery):
    """Of a tile of a mosaic that is not registered."""

    collections: Annotated[str, Field(description=f"{_COLLECTIONS} With commas between them.")]
    ids: Annotated[Text, Field(description=_IDS)] = None
    bbox: Annotated[Text, Field(description=_BBOX)] = None
    intersects: Annotated[Text, Field(description=_INTERSECTS)] = None
    filter: Annotated[Text, Field(description=_FILTER)] = None
    filter_lang: Annotated[Text, Field(alias="filter-lang", description="cql2-text or cql2-json.")] = None
    filter_crs: Annotated[Text, Field(alias="filter-crs", description="CRS84, the only one.")] = None
    order: Annotated[Order, Field(description=_ORDER)] = "newest"


@dataclass(frozen=True, slots=True)
class Definition:
    """A mosaic, for one reader: what it says, and the search that this is."""

    said: Mapping[str, Any]
    search: Search | None
    """None where no time can be in it."""
    kind: bytes
    """The first of its collections, which says how items are shown."""

    @property
    def order(self) -> Order:
        """Which item is seen where several have data."""
        found: Order = self.said.get("order", "newest")
        return found

    @property
    def median(self) -> bool:
        """Whether it is the median of several items, and not one of them that is seen."""
        return self.order == "median"

    def most(self, items: int) -> int:
        """Items that are opened for a tile, where there may be so many: fewer of a median."""
        return min(items, MOST_OF_MEDIAN) if self.median else items

    @property
    def canonical(self) -> bytes:
        """The same text however it was written."""
        return orjson.dumps(self.said, option=orjson.OPT_SORT_KEYS)

    def shown(self, given: Wanted) -> Shown:
        """What is shown, where some of it is asked for otherwise: other layers come without its colours and limits."""
        own = {name: self.said[name] for name in Shown.model_fields if name in self.said}
        asked_for = {name: getattr(given, name) for name in Shown.model_fields if name in given.model_fields_set}
        if any(name in asked_for for name in LAYERS):
            own = {name: value for name, value in own.items() if name not in (*LAYERS, *_COLOURS)}
        return Shown(**{**own, **asked_for})


def made(catalog: Catalog, reader: Reader, given: Mapping[str, Any]) -> Definition:
    """The mosaic that is asked for by names of parameters.

    Raises BadRequest with what is wrong, and NotFound where the reader may not see one of its collections.
    """
    names = questions.names("collections", listed(given.get("collections"))) or ()
    if not all(names) or not names:
        raise BadRequest("collections: name the collection that the mosaic is made of, such as sentinel-2-l2a")
    kinds = {name: catalog.collection(reader, name) for name in sorted(set(names))}
    start, end = questions.interval(given.get("datetime"), days=True)
    time = time_of(Search(start=start, end=end))
    wanted = {
        **{name: value for name, value in given.items() if name in (*SEARCH, "filter-lang", "filter-crs")},
        "collections": list(kinds),
        "datetime": time,
        "sortby": SORTBY[given.get("order") or "newest"],
    }
    search = replace(asked(catalog, reader, wanted).search, order=ORDERS[given.get("order") or "newest"])
    said = {
        "collections": wanted["collections"],
        "ids": None if search.ids is None else sorted(set(search.ids)),
        "bbox": given.get("bbox") if search.area is not None else None,
        "intersects": given.get("intersects"),
        "datetime": time,
        "filter": _plain(search.filter),
        "order": given.get("order") or "newest",
        **{name: given.get(name) for name in Shown.model_fields},
    }
    if said["gamma"] == 1.0:
        said["gamma"] = None
    first, *_ = kinds.values()
    return Definition({name: value for name, value in said.items() if value is not None}, search, first)


def read(catalog: Catalog, reader: Reader, name: str, datetime: str | None = None) -> Definition:
    """A registered mosaic, narrowed to a time.

    Raises NotFound, with the same words whether there is none or the reader may not see what it is made of.
    """
    said = orjson.loads(catalog.mosaics.get(name))
    try:
        found = made(catalog, reader, said)
    except NotFound:
        raise NotFound(f"no mosaic {name[:40]!r}") from None
    if not datetime:
        return found
    start, end = questions.interval(datetime, days=True)
    assert found.search is not None  # noqa: S101  of no registered one the time is empty
    start = max((one for one in (start, found.search.start) if one is not None), default=None)
    end = min((one for one in (end, found.search.end) if one is not None), default=None)
    if start is not None and end is not None and start > end:
        return replace(found, search=None)
    return replace(found, search=replace(found.search, start=start, end=end))


def time_of(search: Search) -> str | None:
    """The time of a search, as it is written; None for any."""
    return None if search.start is None and search.end is None else f"{_written(search.start)}/{_written(search.end)}"


def _plain(tree: Any) -> Any:
    """A filter whose whole numbers are such, however they were written: the parser of CQL2 text gives 50.0 for 50."""
    if isinstance(tree, Mapping):
        return {name: _plain(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(value) for value in tree]
    return int(tree) if isinstance(tree, float) and tree.is_integer() and abs(tree) < 2**53 else tree


def _written(time: datetime | None) -> str:
    return ".." if time is None else time.isoformat().replace("+00:00", "Z")
