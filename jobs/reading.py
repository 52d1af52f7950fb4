"""Metadata of products, read in processes of their own: several side by side, and what kills one is its own product's.

Each process reads one product after the other. One that dies takes those down that are read beside it: these are read
again, one at a time, until it is known which it was.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from shapely import Geometry

from catalog import documents
from catalog.ledger import Source
from converters import items, sensors
from converters.extent import stated
from converters.safe import Zip, open_product
from jobs import original, remote, worker
from jobs.coverage import ground
from jobs.fetch import SCHEME, gone
from jobs.sources import pass_and_zone
from jobs.worker import Limits
from kartotek.errors import BrokenProduct, StorageError
from kartotek.product import Files

SECONDS = 300
"""That reading one product may take."""
AHEAD = 100
"""Products that are given to each process at a time, so that it has some while those that are read are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a product's metadata gives."""

    source: Source
    item: str
    collection: str
    """The ids of the two."""
    content: bytes
    """The item as `documents.stored` gives it, with the product as it lies."""
    ground: Geometry | None
    """As `catalog.ledger.Work` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A product whose metadata can't be read."""

    source: Source
    cause: str
    """The name of a ProductError."""
    reason: str


def read(sources: Iterable[Source], limits: Limits, *, processes: int) -> Iterator[Metadata | Unread]:
    """Read products, and yield each as it comes; the limits are those of each.

    Raises StorageError where a bucket does not answer.
    """
    left = iter(sources)
    while first := next(left, None):
        suspects: list[Source] = []
        with _pool(processes, limits) as pool:
            yield from _together(pool, chain([first], left), limits, processes * AHEAD, suspects)
        while suspects:
            with _pool(1, limits) as pool:
                yield from _one_by_one(pool, suspects, limits)


def _together(
    pool: ProcessPoolExecutor, sources: Iterator[Source], limits: Limits, most: int, suspects: list[Source]
) -> Iterator[Metadata | Unread]:
    """Read until nothing is left, or a process dies; what was under way then is `suspects`."""
    hand: dict[Future[Metadata | Unread], Source] = {}
    while True:
        while not suspects and len(hand) < most and (source := next(sources, None)):
            try:
                hand[pool.submit(_read, source, limits)] = source
            except BrokenProcessPool:
                suspects.append(source)
        if not hand:
            return
        for future in wait(hand, return_when=FIRST_COMPLETED).done:
            source = hand.pop(future)
            try:
                yield future.result()
            except BrokenProcessPool:
                suspects.append(source)


def _one_by_one(pool: ProcessPoolExecutor, suspects: list[Source], limits: Limits) -> Iterator[Metadata | Unread]:
    """Read until nothing is left, or the process dies; which of them it was is known then."""
    while suspects:
        source = suspects.pop(0)
        try:
            yield pool.submit(_read, source, limits).result()
        except BrokenProcessPool:
            yield _dead(source, limits)
            return


def _dead(source: Source, limits: Limits) -> Unread:
    return Unread(
        source=source, cause=BrokenProduct.__name__,
        reason=f"{_name(source)}: the process that read its metadata died, or took over {SECONDS} s; its files are "
        f"damaged, or it needs more memory than there is (at most {limits.mb} MB, KARTOTEK_CONVERSION_MB)",
    )  # fmt: skip


def _name(source: Source) -> str:
    return source.place.rpartition("/")[2]


@contextmanager
def _pool(processes: int, limits: Limits) -> Iterator[ProcessPoolExecutor]:
    """Processes to read in; who stops listening does not wait for what has not been begun."""
    worker.warm_up()
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(limits, dict(os.environ)))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


# What follows runs in those processes.


def _begin(limits: Limits, environment: Mapping[str, str]) -> None:
    """Set the environment, the limit of memory, and end with whoever waits, by kill -9 too."""
    os.environ |= environment  # what these processes are forked from may have begun before a bucket was named
    worker.limit(resource.RLIMIT_AS, limits.mb << 20)
    worker.limit(resource.RLIMIT_CORE, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    parent: Any = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _read(source: Source, limits: Limits) -> Metadata | Unread:
    """One product's metadata; who takes too long dies of it."""
    signal.alarm(SECONDS)
    try:
        return _metadata(source)
    except StorageError:
        raise
    except (Exception, SystemExit) as error:  # an outside sensor may raise anything
        cause, reason, _ = worker.described(error, Path(_name(source)), limits)  # type: ignore[arg-type]
        if cause == OSError.__name__:
            cause, reason = BrokenProduct.__name__, f"{_name(source)}: can't be read: {reason}"
        return Unread(source=source, cause=cause, reason=reason)
    finally:
        signal.alarm(0)


def _metadata(source: Source) -> Metadata:
    files, size = _files(source.place)
    product = sensors.read(files)
    kind, outline = product.collection.id, stated(product)
    asset = original.asset(source.place, source.href, kind, product.id, zipped=size is not None, size=size)
    item = items.registered(product, outline, asset)
    take, zone = pass_and_zone(product.id)  # a file's name may be anyone's
    return Metadata(
        source=replace(source, take=take, zone=zone), item=product.id, collection=kind, ground=ground(outline),
        content=documents.stored(items.document(item)),
    )  # fmt: skip


def _files(place: str) -> tuple[Files, int | None]:
    """(a product's files, bytes of a zip and None of a folder)."""
    if place.startswith(SCHEME):
        return remote.look(place)
    if not os.path.lexists(place):
        raise gone(place)
    path = Path(place)
    files = open_product(path)
    return files, path.stat().st_size if isinstance(files, Zip) else None
