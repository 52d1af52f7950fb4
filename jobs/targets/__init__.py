"""Where a catalog is written to: lines of JSON, stac-geoparquet, a folder that is a static catalogue.

Adding a kind is adding a module with a class like `Target`, and its line in `opened`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from kartotek.errors import BadRequest, TargetError

ItemsOf = Callable[[str], Iterator[tuple[str, bytes]]]
"""Gives the items of a collection, each with its id, as JSON that goes out."""

_FORMS = "give a name that ends in .ndjson or .parquet, or a folder's"


class Target(Protocol):
    """What a catalog is written to."""

    def write(self, collections: Mapping[str, bytes], items: ItemsOf) -> int:
        """Write collections, each by its id, and their items; how many bytes.

        All of it is there afterwards, or nothing. Raises TargetError.
        """
        ...


def opened(path: Path, *, title: str, overwrite: bool) -> Target:
    """What a path's suffix says; `title` is that of a static catalogue. Raises BadRequest for what can't be written."""
    from jobs.targets.lines import Lines
    from jobs.targets.parquet import Parquet
    from jobs.targets.static import Static

    match path.suffix.lower():
        case ".ndjson":
            _check_file(path, overwrite=overwrite)
            return Lines(path)
        case ".parquet":
            _check_file(path, overwrite=overwrite)
            return Parquet(path)
        # A name with such an end would be a file's, and nobody wants a folder called items.json.
        case suffix if suffix[1:].isalpha() and not path.is_dir():
            raise BadRequest(f"{path}: {suffix} is not written; {_FORMS}")
    _check_folder(path, overwrite=overwrite)
    return Static(path, title)


def _check_file(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise BadRequest(f"{path}: is a folder, whose name ends like a file's; {_FORMS}")
    if path.exists() and not overwrite:
        raise BadRequest(f"{path}: is there already; --overwrite replaces it")


def _check_folder(path: Path, *, overwrite: bool) -> None:
    if overwrite:
        raise BadRequest(f"{path}: a folder is not overwritten; remove it, or give another")
    if path.exists() and not path.is_dir():
        raise BadRequest(f"{path}: is a file; {_FORMS}")
    try:
        if path.exists() and any(path.iterdir()):
            raise BadRequest(f"{path}: is not empty; give a folder that is, or that is not there yet")
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}") from error
