"""Items of other catalogues into ours: read, checked and entered in batches, by some processes at a time.

A place in the source is noted once all before it is in, so that an intake that is ended anywhere goes on from there;
what comes twice is unchanged the second time.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from catalog import documents, entries, questions
from catalog.access import OPERATOR
from catalog.addresses import Addresses
from catalog.entries import Entry
from catalog.loading import Loaded
from catalog.schemas import Schemas
from catalog.store import Catalog
from jobs.origins import Batch, Origin, Wanted
from kartotek import allocator
from kartotek.errors import BadRequest, KartotekError, OriginError
from kartotek.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How items are taken in."""

    wanted: Wanted
    validate: bool = True
    """Whether each is checked by the schemas at hand."""
    keep: bool = False
    """Whether items that are there stay as they are."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A document that was not entered."""

    label: str
    """Where it stands in its source."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a batch."""

    items: Loaded = field(default_factory=Loaded)
    collections: int = 0
    passed: int = 0
    """Items that were not wanted."""
    refused: tuple[Refused, ...] = ()
    unchecked: frozenset[str] = frozenset()
    """Schemas that were not at hand."""
    done: int = 0
    """How much of the source lies before its end."""


def ingest(
    origin: Origin, name: str, settings: Settings, catalog: Catalog, manner: Manner, *, processes: int
) -> Iterator[Taken]:
    """Enter what an origin has, and go on where the last intake of that name was ended.

    Raises OriginError where it can't be read any more; what came before is in.
    """
    under_way: deque[tuple[Batch, Future[Taken]]] = deque()
    here = _Taker(settings, catalog, manner)
    with ExitStack() as stack:
        pool: ProcessPoolExecutor | None = None
        for number, batch in enumerate(origin.batches(catalog.intakes.place(name))):
            kinds, rest = _apart(batch)
            if kinds.documents:
                # Before any of their items, and once all that came before is in.
                yield from _all(catalog, name, under_way)
                yield here.collections(kinds)
            if number == 0:  # of many it is the only one, and processes take a second to start
                found = here.items(rest.documents, rest.labels)
                catalog.intakes.reached(name, rest.place)
                yield replace(found, done=rest.done)
                continue
            pool = pool or _processes(stack, processes, settings, manner)
            under_way.append((rest, pool.submit(_take, rest.documents, rest.labels)))
            while len(under_way) > 2 * processes:
                yield _next(catalog, name, under_way)
        yield from _all(catalog, name, under_way)
        catalog.intakes.through(name)


def _processes(stack: ExitStack, count: int, settings: Settings, manner: Manner) -> ProcessPoolExecutor:
    """Some that take items in side by side; of their own, not copies of this one, which has connections."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(settings, manner))
    stack.callback(pool.shutdown, cancel_futures=True)
    return pool


def _all(catalog: Catalog, name: str, under_way: deque[tuple[Batch, Future[Taken]]]) -> Iterator[Taken]:
    while under_way:
        yield _next(catalog, name, under_way)


def _next(catalog: Catalog, name: str, under_way: deque[tuple[Batch, Future[Taken]]]) -> Taken:
    batch, future = under_way.popleft()
    try:
        found = future.result()
    except BrokenProcessPool as error:
        raise OriginError("a process was killed that entered items; the same command goes on from there") from error
    catalog.intakes.reached(name, batch.place)
    return replace(found, done=batch.done)


def _apart(batch: Batch) -> tuple[Batch, Batch]:
    """The collections of a batch, and what else is in it."""
    kinds = [_is_collection(one) for one in batch.documents]
    if not any(kinds):
        return replace(batch, documents=(), labels=()), batch
    both = []
    for which in (True, False):
        some = [
            (one, label)
            for one, label, is_one in zip(batch.documents, batch.labels, kinds, strict=True)
            if is_one == which
        ]
        both.append(replace(batch, documents=tuple(one for one, _ in some), labels=tuple(label for _, label in some)))
    return both[0], both[1]


def _is_collection(document: Any) -> bool:
    if isinstance(document, bytes):
        # Most say at once that they are none.
        if document.startswith(b'{"type":"Feature"') or b'"Collection"' not in document:
            return False
        try:
            document = orjson.loads(document)
        except orjson.JSONDecodeError:
            return False
    return isinstance(document, Mapping) and document.get("type") == "Collection"


_mine: list[_Taker] = []
"""This process's own, where it is one of the pool."""


def _begin(settings: Settings, manner: Manner) -> None:
    # What is parsed has no cycles, and to look through a batch of it for some takes as long as to parse it.
    gc.set_threshold(1_000_000)
    allocator.keep()
    _mine.append(_Taker(settings, Catalog(settings.database), manner))


def _take(given: tuple[Any, ...], labels: tuple[str, ...]) -> Taken:
    return _mine[0].items(given, labels)


class _Taker:
    """Checks documents and enters them."""

    def __init__(self, settings: Settings, catalog: Catalog, manner: Manner) -> None:
        self._catalog, self._manner = catalog, manner
        self._addresses = Addresses.of(settings)
        self._schemas = Schemas(settings.schemas) if manner.validate else None
        self._known: set[str] = set()
        self._start, self._end = questions.interval(manner.wanted.period)

    def items(self, given: tuple[Any, ...], labels: tuple[str, ...]) -> Taken:
        """Enter items; those that can't be are refused, the others are not held up."""
        found, refused, passed = [], [], 0
        for one, label in zip(given, labels, strict=True):
            try:
                entry = self._entry(one)
            except KartotekError as error:
                refused.append(Refused(label, str(error)))
                continue
            if self._is_wanted(entry):
                found.append(entry)
            else:
                passed += 1
        loaded = self._catalog.load(found, keep=self._manner.keep) if found else Loaded()
        return Taken(items=loaded, passed=passed, refused=tuple(refused), unchecked=self._unchecked())

    def collections(self, batch: Batch) -> Taken:
        """Enter collections."""
        refused, count = [], 0
        for one, label in zip(batch.documents, batch.labels, strict=True):
            try:
                document = self._checked(one)
                wanted = self._manner.wanted.collections
                if wanted is None or document["id"] in wanted:
                    self._catalog.put_collection(documents.stored(document))
                    count += 1
            except KartotekError as error:
                refused.append(Refused(label, str(error)))
        return Taken(collections=count, refused=tuple(refused), unchecked=self._unchecked(), done=batch.done)

    def _entry(self, given: Any) -> Entry:
        document = self._checked(given)
        if document.get("type") != "Feature":
            raise BadRequest(f"{document['id']}: its type is neither Feature nor Collection")
        collection = document.get("collection")
        if collection not in self._known:
            self._known = set(self._catalog.collections(OPERATOR))
        if isinstance(collection, str) and collection not in self._known:
            raise BadRequest(f"{document['id']}: no collection {collection!r}; give its JSON as a SOURCE too")
        return entries.of(documents.inward(document, self._addresses))

    def _checked(self, given: Any) -> dict[str, Any]:
        document = documents.parsed(given) if isinstance(given, bytes) else documents.checked(given)
        if self._schemas is not None:
            self._schemas.check(document)
        return document

    def _is_wanted(self, one: Entry) -> bool:
        wanted, row = self._manner.wanted, one.row
        return (
            (wanted.collections is None or one.collection in wanted.collections)
            and (wanted.area is None or bool(row["footprint"].intersects(wanted.area)))
            and (self._start is None or row["end"] >= self._start)
            and (self._end is None or row["start"] <= self._end)
        )

    def _unchecked(self) -> frozenset[str]:
        return frozenset(self._schemas.missing) if self._schemas else frozenset()


def name_of(source: str, wanted: Wanted) -> str:
    """What an intake is known by: the same source, asked for the same."""
    place = source if source.startswith(("http://", "https://")) else str(Path(source).absolute())
    asked = orjson.dumps([place, wanted.collections, wanted.area.wkt if wanted.area else None, wanted.period])
    return f"{place[:300]} {hashlib.sha256(asked).hexdigest()[:16]}"
