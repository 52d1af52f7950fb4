"""Where products lie: the files, folders and patterns that somebody names, and the products in them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from catalog.ledger import Source
from converters.sensors import recognised
from jobs import fetch
from kartotek.errors import UnknownProduct

_SENSED = re.compile(r"_(\d{8}T\d{6})(?=[_.]|$)")
_METADATA = re.compile(r"manifest\.safe|metadata\.xml|MTD_\w+\.xml|S2\w+_MTD_\w+\.xml", re.IGNORECASE)
"""What lies at the top of a product that is a folder."""


def find(named: Iterable[str]) -> Iterator[Source]:
    """The products in files, folders with all below them, shell patterns (`**`: any folders) and buckets; each once.

    Zips are taken for products, whatever is in them. Raises UnknownProduct for what is not there, and where nothing in
    a folder looks like a product.
    """
    seen: set[str] = set()
    for name in named:
        none = True
        for place in fetch.listed(name) if name.startswith(fetch.SCHEME) else _here(name):
            none = False
            if place not in seen:
                seen.add(place)
                yield Source(place=place, sensed=sensed(place.rpartition("/")[2]))
        if none:
            raise UnknownProduct(f"{name}: no product there; give products, folders that hold some, or a pattern")


def sensed(name: str) -> datetime | None:
    """When a product was sensed, UTC, as its name tells: the first time in it.

    >>> print(sensed("S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400.SAFE"))
    2022-07-15 10:15:59+00:00
    """
    found = _SENSED.search(name)
    try:
        return datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def _here(name: str) -> Iterator[str]:
    """Absolute paths of the products that a path or a pattern means."""
    for path in _paths(name):
        for found in _products(path):
            yield os.path.abspath(found)  # noqa: PTH100  a link keeps its own name


def _paths(name: str) -> Iterator[Path]:
    """What a name on the command line means: a path as it is, else a pattern."""
    if os.path.lexists(name):
        yield Path(name)
        return
    found = sorted(glob.iglob(name, recursive=True)) if glob.has_magic(name) else []  # noqa: PTH207  ours may be absolute
    if not found:
        raise UnknownProduct(f"{name}: no such file or folder")
    yield from map(Path, found)


def _products(path: Path) -> Iterator[Path]:
    """A product, or those in a folder; one that looks like none and holds none is asked of the sensors."""
    if not path.is_dir():
        yield path
        return
    none = True
    for found in _walk(path):
        none = False
        yield found
    if none and recognised(path):
        yield path


def _walk(folder: Path) -> Iterator[Path]:
    """The products at and below a folder, by name; links to folders are not followed."""
    if folder.suffix.upper() == ".SAFE":
        yield folder
        return
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    if any(_METADATA.fullmatch(entry.name) for entry in inside):
        yield folder
        return
    for entry in inside:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.name.lower().endswith(".zip") and entry.is_file():
            yield Path(entry.path)
