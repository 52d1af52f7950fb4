"""What else a search answers with: lines of JSON, CSV, stac-geoparquet; all that is found, as it is found."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from catalog import geoparquet
from catalog.facts import ASSETS
from catalog.queryables import Queryable
from kartotek.errors import BadRequest

_SEPARATOR = b"\x1e"


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write items."""

    kind: str
    """Its media type."""
    suffix: str


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "geojsonseq": Format("application/geo+json-seq", ".geojsons"),
        "ndjson": Format("application/x-ndjson", ".ndjson"),
        "csv": Format("text/csv; charset=utf-8", ".csv"),
        "geoparquet": Format("application/vnd.apache.parquet", ".parquet"),
    }
)
"""By the value of `f`."""
_JSON = ("json", "geojson")
_PLACE = ("west", "south", "east", "north")


def wanted(request: Request, given: Any) -> str | None:
    """The format that is asked for, by `f` or else by Accept; None for the usual page. Raises BadRequest."""
    asked = given or request.query_params.get("f")
    if asked:
        if asked not in FORMATS and asked not in _JSON:
            raise BadRequest(f"f: {str(asked)[:40]!r} is not known; give {', '.join((*_JSON, *FORMATS))}")
        return None if asked in _JSON else str(asked)
    # The first of ours that is named; whoever takes anything gets a page.
    for part in request.headers.get("accept", "").split(","):
        kind = part.partition(";")[0].strip().lower()
        if "json" in kind and "seq" not in kind and "nd" not in kind:
            return None
        for name, one in FORMATS.items():
            if kind == one.kind.partition(";")[0]:
                return name
    return None


def answer(
    name: str,
    items: Iterator[bytes],
    names: Callable[[], Mapping[str, Queryable]],
    collections: Callable[[], Mapping[str, Mapping[str, Any]]],
) -> Response:
    """All items, each given as JSON. `names` are the columns of CSV; `collections` go into stac-geoparquet."""
    one = FORMATS[name]
    headers = {"Content-Disposition": f'attachment; filename="items{one.suffix}"'}
    match name:
        case "geoparquet":
            return _parquet(items, collections(), one.kind, headers)
        case "csv":
            lines: Iterable[bytes] = _csv(items, names())
        case "geojsonseq":
            lines = (_SEPARATOR + item + b"\n" for item in items)
        case _:
            lines = (item + b"\n" for item in items)
    return StreamingResponse(lines, headers=headers, media_type=one.kind)


def _parquet(
    items: Iterator[bytes], collections: Mapping[str, Mapping[str, Any]], kind: str, headers: dict[str, str]
) -> Response:
    """A file, which has its columns at its end; so it is written before the first byte goes out."""
    with tempfile.NamedTemporaryFile(prefix="kartotek-", suffix=".parquet", delete=False) as file:
        path = Path(file.name)
    try:
        geoparquet.write(items, path, collections)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    gone = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, headers=headers, media_type=kind, background=gone)


def _csv(items: Iterator[bytes], names: Mapping[str, Queryable]) -> Iterator[bytes]:
    """A line an item: its id, its collection, its place as a rectangle, and its properties that are no lists."""
    columns = [name for name in sorted(names) if name not in ("id", "collection", "geometry", ASSETS)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["id", "collection", *_PLACE, *columns])
    for content in items:
        item = orjson.loads(content)
        properties = item.get("properties", {})
        box = item.get("bbox") or [None] * 4
        place = box if len(box) == 4 else [box[0], box[1], box[3], box[4]]
        row = [item.get("id"), item.get("collection"), *place, *(_cell(properties.get(name)) for name in columns)]
        writer.writerow(row)
        if text.tell() > 1 << 16:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def _cell(value: Any) -> Any:
    """A value as a spreadsheet may have it: a text that would be a formula there gets a quote before it."""
    if isinstance(value, list | dict):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
