"""Items as stac-geoparquet, by the library of that name (extra `geoparquet`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from kartotek.errors import BadRequest


def available() -> bool:
    """Whether the library is installed."""
    try:
        import stac_geoparquet.arrow  # noqa: F401
    except ImportError:
        return False
    return True


def write(items: Iterable[bytes], path: Path, collections: Mapping[str, Mapping[str, Any]]) -> int:
    """Write a file of items, each given as JSON; how many there were. `collections` go into its metadata.

    Memory does not grow with the items: they are laid down as lines first, whose columns are found in pieces.
    Raises BadRequest where the library is not installed, or where there is no item: a file needs columns.
    """
    if not available():
        raise BadRequest("stac-geoparquet: install kartotek[geoparquet] for it")
    from stac_geoparquet.arrow import parse_stac_ndjson_to_parquet

    with tempfile.TemporaryDirectory(prefix="kartotek-") as name:
        lines, count = Path(name) / "items.ndjson", 0
        with lines.open("wb") as file:
            for content in items:
                file.write(_filled(content) + b"\n")
                count += 1
        if not count:
            raise BadRequest("stac-geoparquet: no item is found, and a file without columns can't be written")
        parse_stac_ndjson_to_parquet(lines, path, collections=dict(collections), compression="zstd")
    return count


def _filled(content: bytes) -> bytes:
    """Columns of objects without members can't be written; what is empty is left out."""
    document = orjson.loads(content)
    document["properties"] = {name: value for name, value in document["properties"].items() if value != {}}
    return orjson.dumps(document)
