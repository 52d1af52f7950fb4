"""Newline-delimited JSON: a document a line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from jobs.origins import BATCH, Batch
from kartotek.errors import OriginError


class Lines:
    """A file of lines, read from any of them on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size: int | None = path.stat().st_size

    def batches(self, place: Any | None) -> Iterator[Batch]:
        """Lines as they are; a place is a position in the file, and the number of lines before it."""
        position, number = place or (0, 0)
        try:
            with self._path.open("rb") as file:
                file.seek(position)
                while lines := list(islice(file, BATCH)):
                    position += sum(map(len, lines))
                    # RFC 8142 begins each text of a GeoJSON sequence with a record separator.
                    given = [
                        (line.strip(b"\x1e \t\r\n"), f"line {count}") for count, line in enumerate(lines, number + 1)
                    ]
                    number += len(lines)
                    there = [(line, label) for line, label in given if line]
                    yield Batch(
                        tuple(line for line, _ in there),
                        (position, number),
                        position,
                        tuple(label for _, label in there),
                    )
        except OSError as error:
            raise OriginError(f"{self._path}: {error.strerror}") from error
