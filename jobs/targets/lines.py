"""Newline-delimited JSON: a document a line, collections first; what `kartotek ingest` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jobs.targets import ItemsOf, whole


class Lines:
    """A file of lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, collections: Mapping[str, bytes], items: ItemsOf) -> int:
        """Write a line as soon as it is there."""
        with whole.file(self._path) as part, part.open("wb") as file:
            size = sum(file.write(content + b"\n") for content in collections.values())
            for name in collections:
                for _, content in items(name):
                    size += file.write(content + b"\n")
        return size
