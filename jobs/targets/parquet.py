"""stac-geoparquet: a row an item, and the collections in the file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson
import pyarrow

from catalog import geoparquet
from jobs.targets import ItemsOf, whole
from kartotek.errors import TargetError, in_a_line


class Parquet:
    """A file of rows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, collections: Mapping[str, bytes], items: ItemsOf) -> int:
        """Write all rows once their columns are known. Raises BadRequest where there is no item."""
        described = {name: orjson.loads(content) for name, content in collections.items()}
        with whole.file(self._path) as part:
            try:
                geoparquet.write((content for name in collections for _, content in items(name)), part, described)
            except pyarrow.ArrowException as error:
                raise TargetError(
                    f"{self._path}: the items don't fit into one table; .ndjson takes any ({in_a_line(error)})"
                ) from error
        return self._path.stat().st_size
