"""A bulk run: the ledger's products worked at side by side, until none is left or somebody says stop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from catalog.ledger import Ledger, State
from catalog.search import Search
from jobs import owner, scratch
from jobs.patience import Patience
from jobs.task import LEASE, Outcome
from kartotek.errors import CatalogError, ClusterError, LostTask, MissingProduct, StorageError

log = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between looks at a ledger in which nothing waits just now."""
IN_A_ROW = 10
"""Products one after the other that are not where they were found, which then is the archive's fault and not theirs;
and that take whoever works at them down, which is the cluster's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """When a run ends before all is done."""

    after: int | None = None
    """Attempts at products."""
    at: float | None = None
    """`time.time()` from which nothing more is begun."""


class Crew(Protocol):
    """Who works at products."""

    patience: Patience
    """How long what is away is waited for."""

    def width(self) -> int:
        """How many products it can work at just now, one at least. Raises ClusterError where it is away."""
        ...

    def take(self) -> Future[Outcome | None]:
        """Begin `task.take`. The future has LostTask where whoever was at it is gone."""
        ...

    def close(self) -> None:
        """Begin nothing more."""
        ...


def run(ledger: Ledger, crew: Crew, *, stop: Stop = Stop(), only: Search | None = None) -> Iterator[Outcome]:
    """Have a crew work at all that waits, and yield each outcome as it comes; the crew is closed then.

    It ends when nothing waits and nobody has anything in hand, here or elsewhere. Products that processes of this
    machine held which are gone wait again at once, those of others when their leases run out. Raises StorageError,
    CatalogError or ClusterError where one of them is away for too long.
    """
    return _Run(ledger, crew, stop, only).outcomes()


class _Run:
    """The state of one run."""

    def __init__(self, ledger: Ledger, crew: Crew, stop: Stop, only: Search | None) -> None:
        self.ledger, self.crew, self.stop, self.only = ledger, crew, stop, only
        self.begun = self.missing = self.lost = 0
        self.looked = -math.inf
        self.found_none = False
        """Whether the crew has once found nothing that waits."""
        self.waiting: float = math.inf
        """Products that wait, perhaps for their time; looked up once the crew has found none."""
        self.left: float = math.inf
        """Those, and what is in anybody's hands."""

    def outcomes(self) -> Iterator[Outcome]:
        """Start, yield, and clear up."""
        scratch.clear()
        pending: set[Future[Outcome | None]] = set()
        try:
            while True:
                self.crew.patience(self._look)
                pending |= {self._take() for _ in range(self._room(len(pending)))}
                if pending:
                    done, pending = futures.wait(pending, POLL, futures.FIRST_COMPLETED)
                    for future in done:
                        yield from self._came(future)
                elif self._stopped() or not self.left:
                    return
                else:
                    time.sleep(POLL)
        finally:
            self.crew.close()
            with suppress(CatalogError):
                self._tidy()

    def _look(self) -> None:
        """From time to time, see to those that are gone; and to what is left, once that decides what is begun."""
        if time.monotonic() < self.looked + (POLL if self.found_none else LEASE / 8):
            return
        self._tidy()
        if self.found_none:
            counts = self.ledger.counts(self.only)
            self.waiting = counts[State.WAITING]
            self.left = self.waiting + counts[State.RUNNING]
        self.looked = time.monotonic()

    def _tidy(self) -> None:
        """Let wait again what they have in hand that are gone, here or elsewhere."""
        self.ledger.release(owner.gone(self.ledger.owners()))
        self.ledger.expire()

    def _room(self, busy: int) -> int:
        """How many products may be begun."""
        free = self.crew.patience(self.crew.width) - busy
        left = math.inf if self.stop.after is None else self.stop.after - self.begun
        return 0 if self._stopped() else int(max(0, min(free, self.waiting, left)))

    def _stopped(self) -> bool:
        """Whether nothing more is to be begun."""
        late = self.stop.at is not None and time.time() >= self.stop.at
        return late or (self.stop.after is not None and self.begun >= self.stop.after)

    def _take(self) -> Future[Outcome | None]:
        self.begun += 1
        self.waiting -= 1
        return self.crew.take()

    def _came(self, future: Future[Outcome | None]) -> Iterator[Outcome]:
        """What came of a product, if anything did; and of more, where so many are missing that they are waited for."""
        try:
            found = future.result()
        except LostTask as error:
            self.lost += 1
            if self.lost >= IN_A_ROW:
                raise ClusterError(f"{self.lost} times in a row whoever took a product was lost: {error}") from error
            log.warning("lost: %s", error)
            return
        self.lost = 0
        if found is None:
            self.begun -= 1
            self.found_none = True
            return
        yield found
        self.missing = self.missing + 1 if found.cause == MissingProduct.__name__ else 0
        if self.missing >= IN_A_ROW:
            more: list[Outcome] = []
            try:
                self.crew.patience(lambda: self._try_one(more))
            finally:
                yield from more

    def _try_one(self, told: list[Outcome]) -> None:
        """Try one more product. Raises StorageError where it is missing too."""
        with suppress(LostTask):
            found = None if self._stopped() else self._take().result()
            told += [found] if found else []
            if found and found.cause == MissingProduct.__name__:
                self.missing += 1
                raise StorageError(
                    f"{self.missing} products in a row are not where they were found; is the archive there?"
                )
        self.missing = 0
