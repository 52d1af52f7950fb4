"""The catalog as files for others: what a reader may see of it, with public addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from catalog.access import OPERATOR, Reader
from catalog.addresses import Addresses
from catalog.order import BY_ID
from catalog.search import Search
from catalog.store import Catalog
from jobs.targets import Target
from kartotek.errors import NotFound

PAGE = 1_000
"""Items that are held in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    collections: int
    items: int
    bytes: int


def export(
    catalog: Catalog,
    reader: Reader,
    wanted: Search,
    addresses: Addresses,
    target: Target,
    *,
    seen: Callable[[], object] = lambda: None,
) -> Exported:
    """Write the collections that a reader may see, or those that are named, with the items that a search finds in them.

    `seen` is called at each item. Raises NotFound where there is no collection of a name, TargetError where the target
    can't be written; nothing is left of it then.
    """
    count = 0

    def items(name: str) -> Iterator[tuple[str, bytes]]:
        """Collection by collection, so that none of one comes that was made meanwhile."""
        nonlocal count
        of_it = replace(wanted, collections=(name,), order=BY_ID, limit=PAGE)
        for place, content in catalog.walk(reader, of_it, addresses):
            count += 1
            seen()
            yield place.id, content

    collections = {name: addresses.outward(content) for name, content in _collections(catalog, reader, wanted).items()}
    size = target.write(collections, items)
    return Exported(collections=len(collections), items=count, bytes=size)


def _collections(catalog: Catalog, reader: Reader, wanted: Search) -> Mapping[str, bytes]:
    """Id → JSON of the collections that are wanted, in the order of their ids."""
    there = catalog.collections(reader)
    if wanted.collections is None:
        return there
    for name in sorted(set(wanted.collections) - there.keys()):
        way_out = "" if reader == OPERATOR else "; private ones are exported with --private"
        raise NotFound(f"no collection {name!r}, see `kartotek info`{way_out}")
    return {name: content for name, content in there.items() if name in wanted.collections}
