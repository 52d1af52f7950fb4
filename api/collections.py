"""A collection as it is told: with the place, the time and the values that its items have just now."""

from __future__ import annotations

from typing import Any

import orjson

from catalog.access import Reader
from catalog.facts import ASSETS
from catalog.queryables import Kind
from catalog.store import Catalog
from catalog.tally import EMPTY, Fact, Tally

_RANGES = (Kind.NUMBER, Kind.INTEGER, Kind.INSTANT, Kind.DATE)
FEW = 3
"""Values that are listed of however few items; of more items up to half as many values as items."""


def all_told(catalog: Catalog, reader: Reader) -> dict[str, bytes]:
    """Id → JSON as it is told, of the collections that the reader may see."""
    tallies = catalog.summaries(reader)
    return {name: told(content, tallies.get(name, EMPTY)) for name, content in catalog.collections(reader).items()}


def told(content: bytes, tally: Tally) -> bytes:
    """A collection's stored JSON with extent, summaries and number of its items; links stay the last member.

    As it is stored where it has no items.
    """
    document = orjson.loads(content)
    links = document.pop("links", [])
    document["kartotek:items"] = tally.count
    if tally.count and tally.bounds and tally.start and tally.end:
        interval = [_time(tally.start), _time(tally.end)]
        document["extent"] = {"spatial": {"bbox": [tally.bounds]}, "temporal": {"interval": [interval]}}
        document["summaries"] = {**document.get("summaries", {}), **_summaries(tally)}
    return orjson.dumps({**document, "links": links})


def _summaries(tally: Tally) -> dict[str, Any]:
    of_properties = sorted((name, fact) for name, fact in tally.facts.items() if name != ASSETS)
    found = {name: _summary(fact, tally.count) for name, fact in of_properties}
    return {name: summary for name, summary in found.items() if summary is not None}


def _summary(fact: Fact, count: int) -> Any:
    if fact.values and len(fact.values) <= max(FEW, count // 2):
        return sorted(fact.values, key=lambda value: (type(value).__name__, value))
    if fact.kind in _RANGES and fact.least is not None:
        return {"minimum": _time(fact.least), "maximum": _time(fact.most)}
    return None


def _time(value: Any) -> Any:
    """A point in time without a fraction that is none."""
    return value.replace(".000000Z", "Z") if isinstance(value, str) else value
