"""Where products lie: the files, folders and patterns that somebody names, and the products in them."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from catalog.ledger import Source
from converters.sensors import recognised
from jobs import fetch
from jobs.fetch import SCHEME
from kartotek.errors import UnknownProduct

log = logging.getLogger(__name__)

_SENSED = re.compile(r"_(\d{8}T\d{6})(?=[_.]|$)")
_GRANULE = re.compile(r"(S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N\d{4}_R\d{3})_T(\d\d)[C-X][A-Z]{2}_\d{8}T\d{6}(?=[._]|$)")
"""A name of Sentinel-2's compact format: satellite, level, datatake, baseline and orbit; then the UTM zone."""
_METADATA = re.compile(r"manifest\.safe|metadata\.xml|MTD_\w+\.xml|S2\w+_MTD_\w+\.xml", re.IGNORECASE)
"""What lies at the top of a product that is a folder."""


def find(named: Iterable[str], *, root: str | None = None) -> Iterator[Source]:
    """The products in files, folders with all below them, shell patterns (`**`: any folders) and buckets; each once.

    `root` is the URL under which clients find what is named: a folder, or that in which a product or the first of a
    pattern's stars lies. Zips are taken for products, whatever is in them. Raises UnknownProduct for what is not there,
    and where nothing in a folder looks like a product.
    """
    seen: set[str] = set()
    for name in named:
        none = True
        for place in fetch.listed(name) if name.startswith(SCHEME) else _here(name):
            none = False
            if place not in seen and _is_text(place):
                seen.add(place)
                yield _source(place, None if root is None else f"{root.rstrip('/')}/{_below(place, name)}")
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


def pass_and_zone(name: str) -> tuple[str | None, int | None]:
    """(datatake as one level and baseline has it, UTM zone) of a product, as its name tells.

    >>> pass_and_zone("S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400.SAFE")
    ('S2B_MSIL2A_20220715T101559_N0400_R065', 33)
    """
    found = _GRANULE.match(name)
    return (found[1], int(found[2])) if found else (None, None)


def _source(place: str, href: str | None) -> Source:
    name = place.rpartition("/")[2]
    take, zone = pass_and_zone(name)
    return Source(place=place, sensed=sensed(name), take=take, zone=zone, href=href)


def _below(place: str, named: str) -> str:
    """What of a product's place lies below what was named, for a URL; that of a folder ends with a slash."""
    if not named.startswith(SCHEME):
        base = Path(os.path.abspath(named))  # noqa: PTH100  a link keeps its own name
        while glob.has_magic(str(base)) and not os.path.lexists(base):
            base = base.parent
        named = str(base)
    inside = place.removeprefix(named.rstrip("/")).lstrip("/") if place != named.rstrip("/") else ""
    is_file = place.lower().endswith(".zip") or Path(place).is_file()
    return quote(inside or place.rpartition("/")[2]) + ("" if is_file else "/")


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
    """A product, also by its metadata file, or those in a folder; one that holds none is asked of the sensors."""
    if not path.is_dir():
        yield path.parent if _METADATA.fullmatch(path.name) else path
        return
    none = True
    for found in _walk(path):
        none = False
        yield found
    if none and recognised(path):
        yield path


def _is_text(place: str) -> bool:
    """Whether a product's place is text, as databases want it; of one that isn't the log tells."""
    try:
        place.encode()
    except UnicodeEncodeError:
        log.warning("%r: passed over: its name is not in UTF-8; give it another", place)
        return False
    return True


def _walk(folder: Path) -> Iterator[Path]:
    """The products at and below a folder, by name; links to folders are not followed."""
    if folder.suffix.upper() == ".SAFE":
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:  # such as lost+found of a disk
        log.warning("%s: passed over: %s", folder, error.strerror or error)
        return
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
