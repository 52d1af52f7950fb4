"""stac-geoparquet, by the library of that name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow
from pyarrow import parquet

from jobs.origins import BATCH, Batch
from kartotek.errors import BadRequest, OriginError


class Parquet:
    """A file of rows, read from any of them on."""

    def __init__(self, path: Path) -> None:
        try:
            from stac_geoparquet.arrow import stac_table_to_items
        except ImportError:
            raise BadRequest(f"{path}: install kartotek[geoparquet] to read stac-geoparquet") from None
        self._items = stac_table_to_items
        self._path = path
        try:
            self._file = parquet.ParquetFile(path)
        except (pyarrow.ArrowException, OSError) as error:
            raise OriginError(f"{path}: no Parquet that can be read ({error})") from error
        self.size: int | None = self._file.metadata.num_rows

    def batches(self, place: Any | None) -> Iterator[Batch]:
        """The collections that the file describes, then its rows; a place is the number of rows before it."""
        done = place or 0
        if not done and (described := self._collections()):
            yield Batch(tuple(described), 0, 0, tuple(f"collection {one.get('id')}" for one in described))
        skipped = 0
        try:
            for rows in self._file.iter_batches(BATCH):
                if skipped + rows.num_rows <= done:
                    skipped += rows.num_rows
                    continue
                rows = rows.slice(max(0, done - skipped))
                skipped = done = done + rows.num_rows
                items = tuple(self._items(pyarrow.Table.from_batches([rows])))
                labels = tuple(f"row {number}" for number in range(done - len(items) + 1, done + 1))
                yield Batch(items, done, done, labels)
        except (pyarrow.ArrowException, KeyError, TypeError, ValueError) as error:
            raise OriginError(f"{self._path}: no stac-geoparquet that can be read ({error})") from error

    def _collections(self) -> list[dict[str, Any]]:
        """Those in the file's metadata, of which there may be several, one, or none."""
        found = orjson.loads((self._file.schema_arrow.metadata or {}).get(b"stac-geoparquet", b"{}"))
        return [*(found.get("collections") or {}).values(), *([found["collection"]] if found.get("collection") else [])]
