"""One product that is leased from the ledger: converted and published, or what went wrong noted with it."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from catalog.ledger import Lease, Order, State
from catalog.pace import STAGES
from catalog.search import Search
from catalog.store import Catalog
from converters.convert import Converted, Recipe
from jobs import deletion, fetch, owner, worker, zones
from jobs.heartbeat import beating
from jobs.original import Fate
from jobs.patience import Patience
from jobs.publish import Published, publish
from jobs.scratch import scratch
from jobs.worker import Limits
from kartotek.errors import (
    BadFile,
    Busy,
    Corrupted,
    HostileProduct,
    LostLease,
    OutsideGrid,
    ProductError,
    UnknownProduct,
    UnsupportedProduct,
)
from kartotek.stopwatch import Stopwatch
from kartotek.storage import Storage

log = logging.getLogger(__name__)

LEASE = 120.0
"""Seconds for which a product is leased; who works at it renews the lease all the while."""
LINES = 50
"""Of the log, that are kept with a product that failed."""
HOPELESS = (HostileProduct, OutsideGrid, UnknownProduct, UnsupportedProduct)
"""What trying again does not change. A file that can't be read may only not be there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How products are to be worked at."""

    recipe: Recipe = field(default_factory=lambda: Recipe(threads=1))
    limits: Limits = field(default_factory=Limits)
    visual: bool = False
    order: Order = Order.ADDED
    attempts: int = 3
    """How often a product that fails is tried."""
    wait: float = 60
    """Seconds before it is tried again; twice as long each time."""
    patience: float = 900
    """Seconds for which a storage or a database may be away."""
    only: Search | None = None
    """Only registered products whose items this finds."""
    prefer: int | None = None
    """UTM zone; what its products show of a pass is converted from no other."""
    fate: Fate = Fate.KEEP
    """What becomes of a product once it is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one attempt at a product."""

    place: str
    attempt: int
    state: State | None
    """Where the product now stands; None where it is another's."""
    published: Published | None = None
    cause: str = ""
    reason: str = ""
    seconds: float


def take(catalog: Catalog, storage: Storage, setup: Setup, patience: Patience) -> Outcome | None:
    """Lease the next product and work at it; None where none waits just now.

    Raises StorageError and CatalogError where they are away for longer than that.
    """

    def once() -> Outcome | None:
        lease = catalog.ledger.claim(owner.me(), seconds=LEASE, order=setup.order, only=setup.only, prefer=setup.prefer)
        if lease is not None and patience.over.is_set():
            catalog.ledger.give_back(lease)
            return None
        return None if lease is None else work(catalog, storage, lease, setup, patience=patience)

    return patience(once)


def work(
    catalog: Catalog, storage: Storage, lease: Lease, setup: Setup, *, patience: Patience | None = None
) -> Outcome:
    """Work at a product, and keep its lease alive all the while.

    Raises StorageError and CatalogError, which would meet every product; the product waits again then, as if it had
    not been tried. `patience` says how long what is converted is kept until the two are back.
    """
    log.debug("%s: attempt %d", lease.place, lease.attempt)
    began = time.monotonic()
    try:
        renew = partial(catalog.ledger.renew, [lease], seconds=LEASE)
        with beating(renew, f"the lease of {lease.place}", every=LEASE / 8):
            outcome = _worked(catalog, storage, lease, setup, patience)
    except Exception as error:  # it would meet every product: this one waits again
        _tell(_outcome(lease, began, State.WAITING, error))
        raise
    _tell(outcome)
    return outcome


def _tell(outcome: Outcome) -> None:
    """One line of the log about an attempt; as JSON, with all that is known of it."""
    published = outcome.published
    told = {
        "product": outcome.place,
        "attempt": outcome.attempt,
        "state": outcome.state or "lost",
        "item": f"{published.collection}/{published.item}" if published else None,
        "cause": outcome.cause or None,
        "seconds": round(outcome.seconds, 3),
        "bytes_read": published.bytes_read if published else None,
        "bytes_written": published.bytes if published else None,
        "timings": {stage: round(spent, 3) for stage, spent in published.timings.items()} if published else None,
    }
    cause = f" ({outcome.cause})" if outcome.cause else ""
    log.info("%s: %s%s after %.1f s", outcome.place, told["state"], cause, outcome.seconds, extra=told)


def _outcome(
    lease: Lease,
    began: float,
    state: State | None,
    error: Exception | None = None,
    published: Published | None = None,
    reason: str = "",
) -> Outcome:
    """What came of an attempt that began then, by `time.monotonic`."""
    cause, reason = (type(error).__name__, str(error)) if error else ("", reason)
    return Outcome(
        place=lease.place, attempt=lease.attempt, state=state, published=published, cause=cause, reason=reason,
        seconds=time.monotonic() - began,
    )  # fmt: skip


def _worked(catalog: Catalog, storage: Storage, lease: Lease, setup: Setup, patience: Patience | None) -> Outcome:
    ledger, began = catalog.ledger, time.monotonic()
    outcome = partial(_outcome, lease, began)
    lines: deque[str] = deque(maxlen=LINES)
    try:
        if reason := zones.covered(lease, ledger, prefer=setup.prefer, limits=setup.limits):
            ledger.skip(lease, cause=zones.CAUSE, reason=reason)
            return outcome(State.SKIPPED, reason=reason)
        published = _converted(lease, lines, catalog, storage, setup, patience)
        if setup.fate is Fate.DELETE:
            published = replace(published, notes=(*published.notes, *deletion.finish(catalog, storage, lease.place)))
        return outcome(State.DONE, published=published)
    except (ProductError, BadFile, Corrupted) as error:
        try:
            state = ledger.fail(
                lease, cause=type(error).__name__, error=str(error), log="\n".join(lines),
                most=1 if isinstance(error, HOPELESS) else setup.attempts, wait=setup.wait,
            )  # fmt: skip
        except LostLease as lost:
            return outcome(None, lost)
        return outcome(state, error)
    except LostLease as error:
        return outcome(None, error)
    except Busy as error:
        ledger.give_back(lease)
        return outcome(State.WAITING, error)
    except BaseException:
        ledger.give_back(lease)
        raise


def _converted(
    lease: Lease,
    lines: deque[str],
    catalog: Catalog,
    storage: Storage,
    setup: Setup,
    patience: Patience | None,
) -> Published:
    with scratch(Path(lease.place).name) as folder:
        made = _made(lease.place, folder, lines, setup)
        publishing = partial(publish, made, storage, catalog, lease=lease, recipe=setup.recipe.text, fate=setup.fate)
        return patience(publishing) if patience else publishing()


def _made(place: str, folder: Path, lines: deque[str], setup: Setup) -> Converted:
    """What a product becomes, brought here first where it lies in a bucket."""
    watch, path, out = Stopwatch(), Path(place), folder / "out"
    out.mkdir()
    if place.startswith(fetch.SCHEME):
        (folder / "in").mkdir()
        with watch.stage("read"):
            path = fetch.fetch(place, folder / "in")
    elif not os.path.lexists(path):
        raise fetch.gone(place)
    with watch.stage("convert"):
        made = worker.converted(path, out, setup.recipe, setup.limits, visual=setup.visual, logged=lines.append)
    timings = _fitted(made.timings, watch.seconds["convert"])
    timings["read"] += watch.seconds.get("read", 0.0)
    shutil.rmtree(folder / "in", ignore_errors=True)  # room for what others make
    return replace(made, timings=timings)


def _fitted(timings: Mapping[str, float], whole: float) -> dict[str, float]:
    """Stages of a conversion as shares of the seconds that it took.

    What threads do side by side adds up to more: it is scaled down. What no stage has is `other`: starting the process,
    squares, thumbnail, item.

    >>> _fitted({"find": 1.0, "read": 2.0, "decode": 3.0, "encode": 3.0}, 6.0)
    {'find': 1.0, 'read': 2.0, 'decode': 1.5, 'encode': 1.5, 'other': 0.0}
    """
    before = {stage: seconds for stage, seconds in timings.items() if stage in STAGES["reading"]}
    threads = {stage: seconds for stage, seconds in timings.items() if stage not in before}
    left, total = max(0.0, whole - sum(before.values())), sum(threads.values())
    share = min(1.0, left / total) if total else 1.0
    scaled = {stage: seconds * share for stage, seconds in threads.items()}
    return {**before, **scaled, "other": left - sum(scaled.values())}
