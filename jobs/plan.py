"""A plan: what products will take that are not converted yet, by what others like them have taken."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from catalog import documents
from catalog.access import OPERATOR
from catalog.ledger import BATCH, Ledger, Source
from catalog.pace import Left, Taken
from catalog.search import Search
from catalog.store import Catalog
from converters.safe import Folder
from jobs import fetch
from jobs.fetch import SCHEME
from kartotek.errors import BadRequest, ProductError
from kartotek.storage import MARKER

ENOUGH = 2
"""Products of a UTM zone by which others of it are foretold; of fewer, by all of their collection."""
LOOKS = 16
"""Products whose sizes are looked up at a time: each waits for a disk or a bucket."""
SEEN = 50
"""Items whose bands' shares are looked at, of each collection."""
_KIND = re.compile(r"(S\d)[A-Z]?_(.*?)_+\d{8}T\d{6}")
_GRANULE = re.compile(r"_T(\d\d[A-Z]{3})(?=[_.]|$)")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that is foretold."""

    value: float
    deviation: float | None
    """Standard deviation; None where a single product is all that is known."""

    def __add__(self, other: Estimate) -> Estimate:
        """Both together; what they are off by has nothing to do with each other."""
        if self.deviation is None or other.deviation is None:
            return Estimate(self.value + other.value, None)
        return Estimate(self.value + other.value, math.hypot(self.deviation, other.deviation))

    def times(self, factor: float) -> Estimate:
        """So many times as much."""
        return Estimate(self.value * factor, None if self.deviation is None else self.deviation * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Products of one collection."""

    collection: str
    products: int
    bytes_read: int
    bytes_written: Estimate
    seconds: Estimate
    """Of one worker."""
    fitted_on: int
    """Products of the collection that are done, by which this is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What products will take."""

    parts: Sequence[Part]
    strange: int
    """Products of which none like them is done: they are in no part."""
    missing: int
    """Products that are not where they were found: likewise."""
    workers: float
    """At a time."""

    @property
    def products(self) -> int:
        """All that are in a part."""
        return sum(part.products for part in self.parts)

    @property
    def bytes_written(self) -> Estimate:
        """In all."""
        return sum((part.bytes_written for part in self.parts), Estimate(0.0, 0.0))

    @property
    def hours(self) -> Estimate:
        """With that many workers, each as fast as those were."""
        seconds = sum((part.seconds for part in self.parts), Estimate(0.0, 0.0))
        return seconds.times(1 / 3600 / self.workers)


def plan(
    catalog: Catalog,
    products: Iterable[Left],
    *,
    recipe: str,
    bands: Collection[str] | None = None,
    workers: float | None = None,
) -> Plan:
    """What products will take, by those that are done by the same recipe, `ledger.RECENT` at most.

    Bytes and seconds go with the bytes that are read of a product (a ratio estimate, for each collection and UTM zone).
    Of `bands` alone, the bytes are those of their files; seconds stay those of all bands. Without `workers` as many
    work side by side as did then. Raises BadRequest where nothing is done yet, or nothing that has these bands.
    """
    taken = catalog.ledger.taken(recipe)
    if not taken:
        raise BadRequest(
            f"nothing is done yet by this recipe ({recipe}) that a plan could be learned from; convert some first: "
            "kartotek run --limit 5"
        )
    kinds = {_kind(one.place): one.collection for one in taken}
    groups: dict[tuple[str | None, int | None], list[str]] = defaultdict(list)
    for product in products:
        groups[product.collection or kinds.get(_kind(product.place)), product.zone].append(product.place)
    known = {one.collection for one in taken}
    strange = sum(len(places) for (collection, _), places in groups.items() if collection not in known)
    parts: dict[str, Part] = {}
    missing = 0
    for (collection, zone), places in groups.items():
        if collection not in known or collection is None:
            continue
        sizes = _sizes(places)
        missing += len(places) - len(sizes)
        if sizes:
            part = _part(collection, sizes, taken, zone)
            parts[collection] = _together(parts[collection], part) if collection in parts else part
    shares = {} if bands is None else {name: _share(catalog, taken, name, bands) for name in parts}
    return Plan(
        parts=[_only(parts[name], shares.get(name, 1.0)) for name in sorted(parts)],
        strange=strange,
        missing=missing,
        workers=workers or side_by_side(taken),
    )


def among(ledger: Ledger, sources: Iterable[Source], only: Search | None = None) -> list[Left]:
    """Those of the sources that are not done, nor set aside."""
    found = {source.place: source for source in sources}
    places = list(found)
    new = {place for first in range(0, len(places), BATCH) for place in ledger.unknown(places[first : first + BATCH])}
    left = {one.place: one for one in ledger.left(only)}
    return [
        left.get(place) or Left(place=place, zone=source.zone, collection=None, item=None)
        for place, source in found.items()
        if place in left or place in new
    ]


def granule(product: Left) -> str | None:
    """The Sentinel-2 square that a product's item or its own name tells.

    >>> granule(Left(place="S2A_MSIL1C_20230825T095031_N0509_R079_T34WFU_20230825T135832.zip", zone=34, collection=None,
    ...              item=None))
    '34WFU'
    """
    found = _GRANULE.search(product.item or product.place.rpartition("/")[2])
    return found[1] if found else None


def side_by_side(taken: Sequence[Taken]) -> float:
    """How many products were worked at at a time, on average, while any was."""
    busy, until = 0.0, -math.inf
    for one in sorted(taken, key=lambda one: one.began):
        busy += max(0.0, one.began + one.seconds - max(until, one.began))
        until = max(until, one.began + one.seconds)
    return max(1.0, sum(one.seconds for one in taken) / busy) if busy else 1.0


def _kind(place: str) -> str:
    """What a name tells of the kind of its product, whichever of the satellites it is from.

    >>> _kind("/archive/S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400.SAFE")
    'S2_MSIL2A'
    """
    found = _KIND.match(place.rpartition("/")[2])
    return f"{found[1]}_{found[2]}" if found else ""


def _part(collection: str, sizes: Sequence[int], taken: Sequence[Taken], zone: int | None) -> Part:
    """Products of one zone, by those of their collection, and if these are enough of their zone."""
    same = [one for one in taken if one.collection == collection]
    near = [one for one in same if one.zone == zone]
    like = near if len(near) >= ENOUGH else same
    read = [one.bytes_read for one in like]
    return Part(
        collection=collection,
        products=len(sizes),
        bytes_read=sum(sizes),
        bytes_written=_estimate(sizes, read, [one.bytes_written for one in like]),
        seconds=_estimate(sizes, read, [one.seconds for one in like]),
        fitted_on=len(same),
    )


def _estimate(sizes: Sequence[int], read: Sequence[int], gave: Sequence[float]) -> Estimate:
    """What products of these sizes give in all, where others gave so much of what was read of them.

    The ratio estimator (Cochran, Sampling Techniques, 3rd ed., 6.3): one product is off by the residuals' standard
    deviation, n of them together by its sqrt(n), and the ratio itself, from m products, by 1 / sqrt(m) of it each.
    """
    many, ratio = len(read), sum(gave) / sum(read)
    value = ratio * sum(sizes)
    if many < 2:
        return Estimate(value, None)
    off = math.sqrt(sum((b - ratio * a) ** 2 for a, b in zip(read, gave, strict=True)) / (many - 1))
    scale = off * (sum(sizes) / len(sizes)) / (sum(read) / many)
    return Estimate(value, scale * math.sqrt(len(sizes) + len(sizes) ** 2 / many))


def _together(one: Part, other: Part) -> Part:
    return Part(
        collection=one.collection,
        products=one.products + other.products,
        bytes_read=one.bytes_read + other.bytes_read,
        bytes_written=one.bytes_written + other.bytes_written,
        seconds=one.seconds + other.seconds,
        fitted_on=one.fitted_on,
    )


def _only(part: Part, share: float) -> Part:
    """The part, with a share of its bytes."""
    return replace(part, bytes_written=part.bytes_written.times(share))


def _share(catalog: Catalog, taken: Sequence[Taken], collection: str, bands: Collection[str]) -> float:
    """The share that bands have of the bytes of a collection's items. Raises BadRequest for bands that it has not."""
    of_bands, total, names = 0, 0, set[str]()
    for one in [one for one in taken if one.collection == collection][:SEEN]:
        sizes = _files(catalog, collection, one.item)
        names |= set(sizes)
        of_bands += sum(size for name, size in sizes.items() if name in bands)
        total += sum(sizes.values())
    if unknown := sorted(set(bands) - names):
        raise BadRequest(f"bands: {collection} has no {', '.join(unknown)}; it has {', '.join(sorted(names))}")
    return of_bands / total


def _files(catalog: Catalog, collection: str, item: str) -> Mapping[str, int]:
    """Asset → bytes, of those that conversion has made."""
    content = catalog.find(OPERATOR, collection, item)
    assets = documents.parsed(content)["assets"] if content else {}  # it may have been removed
    return {name: asset["file:size"] for name, asset in assets.items() if asset["href"].startswith(MARKER)}


def _sizes(places: Sequence[str]) -> list[int]:
    """Bytes of those of the products that are there."""
    with ThreadPoolExecutor(LOOKS) as threads:
        return [size for size in threads.map(_size, places) if size]


def _size(place: str) -> int:
    """Bytes of a product as it lies; 0 where it is not there. Raises StorageError."""
    if place.startswith(SCHEME):
        storage, _, key = fetch.opened(place)
        return sum(storage.size(one) for one in fetch.keys(storage, key))
    path = Path(place)
    try:
        if not path.is_dir():
            return path.stat().st_size
        files = Folder(path)
        return sum(files.size(name) for name in files.names)
    except (ProductError, OSError):
        return 0
