"""Where items of other catalogues come from: files, folders of a static catalogue, another STAC API.

Adding a kind is adding a module with a class like `Origin`, and its line in `opened`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from shapely import Geometry

from kartotek.errors import BadRequest

BATCH = 500
"""Documents that are handed on at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which items are wanted; an origin that can be asked for these alone is."""

    collections: tuple[str, ...] | None = None
    area: Geometry | None = None
    period: str | None = None
    """As the STAC API writes it: a time, or two with a slash between."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents, in the order of their source."""

    documents: tuple[Any, ...]
    """Parsed, or bytes that are JSON."""
    place: Any
    """Where to go on after them, as JSON."""
    done: int = 0
    """How much of the source's `size` lies before there."""
    labels: tuple[str, ...] = field(default=())
    """Each document's place in the source, for messages."""


class Origin(Protocol):
    """A source of items."""

    size: int | None
    """How much there is, in whatever is counted; None where nobody knows."""

    def batches(self, place: Any | None) -> Iterator[Batch]:
        """Its documents: collections before their items; from a place on that an earlier batch gave.

        Raises OriginError where it can't be read.
        """
        ...


def opened(source: str, wanted: Wanted, *, rate: float) -> Origin:
    """What a path or a URL holds; `rate` is the most requests a second. Raises BadRequest where it is nothing known."""
    from jobs.origins.api import Api
    from jobs.origins.lines import Lines
    from jobs.origins.parquet import Parquet
    from jobs.origins.static import Static, Whole

    if source.startswith(("http://", "https://")):
        return Api.opened(source, wanted, rate=rate) or Static(source, rate=rate)
    path = Path(source)
    if not path.is_file():
        raise BadRequest(f"{source}: no such file, and no URL")
    match path.suffix.lower():
        case ".ndjson" | ".jsonl" | ".geojsonl" | ".geojsons" | ".ldjson":
            return Lines(path)
        case ".parquet" | ".geoparquet":
            return Parquet(path)
        case ".json" | ".geojson":
            return Whole.opened(path) or Static(str(path), rate=rate)
    raise BadRequest(f"{source}: give NDJSON (.ndjson), JSON (.json), stac-geoparquet (.parquet), or a URL")
