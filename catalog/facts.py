"""An item's facts: its properties as a filter compares them, in a form that both databases compare alike.

Points in time are written in one way, in UTC, so that their texts have the order of the times; what is null is left
out, and so is what looks like a time and is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from catalog.queryables import TYPED, Kind
from catalog.questions import instant
from kartotek.errors import BadRequest

_DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d\S*", re.ASCII)
ASSETS = "assets"
"""The fact that is no property: the names of an item's assets."""
_COMPARED = (str, int, float)
_KINDS = {bool: Kind.BOOLEAN, int: Kind.INTEGER, float: Kind.NUMBER, list: Kind.ARRAY, tuple: Kind.ARRAY}
MAX_TEXT = 2_000
"""Letters of a text; longer ones are not compared."""


def facts(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an item's properties; those of typed columns are not repeated.

    >>> facts({"created": "2024-06-01T02:00:00+02:00", "gsd": 10, "title": None, "platform": "sentinel-2a"})
    {'created': '2024-06-01T00:00:00.000000Z', 'gsd': 10}
    """
    found = {}
    for name, value in properties.items():
        if name in TYPED or not _speakable(name):
            continue
        # By its type, since this is done forty times an item: JSON has these alone.
        kind = type(value)
        if kind is float or kind is int or kind is bool:
            found[name] = value
        elif kind is str:
            if len(value) <= MAX_TEXT and "\0" not in value and (text := canonical(value)) is not None:
                found[name] = text
        elif kind is list and all(isinstance(one, _COMPARED) for one in value):
            found[name] = value
    return found


def columns(document: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an item's row that hold its properties, and what its assets are called: its bands and masks."""
    properties, assets = document["properties"], document.get("assets") or {}
    return {
        "platform": _of(str, properties.get("platform")),
        "cloud_cover": _of((int, float), properties.get("eo:cloud_cover")),
        "snow_cover": _of((int, float), properties.get("eo:snow_cover")),
        "granule": _of(str, properties.get("grid:code")),
        "facts": {**({ASSETS: list(assets)} if assets else {}), **facts(properties)},
    }


def kind(fact: Any) -> Kind | None:
    """What a fact is; None for a JSON object, which is not compared."""
    if not isinstance(fact, str):
        return _KINDS.get(type(fact))
    if fact[4:5] != "-":
        return Kind.TEXT
    return Kind.INSTANT if _TIME.fullmatch(fact) else Kind.DATE if _DAY.fullmatch(fact) else Kind.TEXT


def time_text(moment: datetime) -> str:
    """A point in time as facts have it.

    >>> from datetime import UTC
    >>> time_text(datetime(2024, 6, 1, tzinfo=UTC))
    '2024-06-01T00:00:00.000000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def canonical(text: str) -> str | None:
    """A text as facts have it; None for one that looks like a time and is none."""
    if text[10:11] not in ("T", "t") or not _TIME.fullmatch(text):
        return text
    try:
        return time_text(instant(text))
    except BadRequest:
        return None


def _of(kinds: type | tuple[type, ...], value: Any) -> Any:
    return value if isinstance(value, kinds) and not isinstance(value, bool) else None


@lru_cache(maxsize=4096)
def _speakable(name: str) -> bool:
    """Whether both databases can be asked for a member of that name."""
    return '"' not in name and "\\" not in name and "\0" not in name and len(name) <= 200
