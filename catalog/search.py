"""Search: what is asked for, as a frozen question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from shapely import Geometry

from catalog import filters
from catalog.filters.grammar import Tree
from catalog.order import Place, Sort
from catalog.queryables import Queryable

MAX_LIMIT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for; each field narrows the answer. None asks for nothing in particular."""

    ids: tuple[str, ...] | None = None
    collections: tuple[str, ...] | None = None
    area: Geometry | None = None
    """Longitude and latitude; items whose footprint touches it."""
    start: datetime | None = None
    end: datetime | None = None
    """Items of which some instant lies between the two, both inclusive."""
    filter: Tree | None = field(default=None, hash=False)
    """CQL2, as `catalog.filters.grammar` gives it."""
    names: Mapping[str, Queryable] | None = field(default=None, hash=False)
    """What may stand in the filter, where that is more than the typed columns."""
    order: tuple[Sort, ...] = ()
    """Newest first, where nothing else is asked for."""
    heads: bool = False
    """Whether items may come without their assets and what follows these in their JSON."""
    limit: int = 10
    at: Place | None = None
    """The last item of the page before, or the first of the page after."""

    def told(self) -> Search:
        """The same, with place and time of its filter told as those of the search, which lead to indexes."""
        if self.filter is None:
            return self
        found = filters.implied(self.filter, place=self.area is None)
        starts = [one for one in (self.start, found.start) if one is not None]
        ends = [one for one in (self.end, found.end) if one is not None]
        return replace(
            self,
            filter=found.rest,
            area=self.area or found.area,
            start=max(starts, default=None),
            end=min(ends, default=None),
        )
