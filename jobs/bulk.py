"""A bulk run: the ledger's products worked at side by side, until none is left or somebody says stop."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import tenacity

from catalog.ledger import Lease, State
from catalog.store import Catalog
from jobs import owner, task
from jobs.task import LEASE, Outcome, Setup
from kartotek.errors import CatalogError, Corrupted, MissingProduct, StorageError
from kartotek.storage import Storage

log = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between looks at a ledger in which nothing waits just now."""
GONE = 10
"""Products in a row that are not where they were found, which then is the archive's fault and not theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """When a run ends before all is done."""

    after: int | None = None
    """Attempts at products."""
    at: float | None = None
    """`time.time()` from which nothing more is begun."""
    patience: float = 900
    """Seconds for which a storage or a database may be away."""


def run(catalog: Catalog, storage: Storage, setup: Setup, *, workers: int, stop: Stop = Stop()) -> Iterator[Outcome]:
    """Work at all that waits, and yield each outcome as it comes.

    It ends when nothing waits and nobody has anything in hand, here or elsewhere. Products that processes of this
    machine held which are gone wait again at once, those of others when their leases run out. Raises StorageError or
    CatalogError where one of the two is away for too long. Whoever ends the iteration earlier leaves nothing leased.
    """
    return _Run(catalog, storage, setup, workers, stop).outcomes()


class _Run:
    """The state of one run: threads that wait for processes of products."""

    def __init__(self, catalog: Catalog, storage: Storage, setup: Setup, workers: int, stop: Stop) -> None:
        self.catalog, self.storage, self.setup, self.workers, self.stop = catalog, storage, setup, workers, stop
        self.me = owner.me()
        self.over = threading.Event()
        self.said: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        self.one = threading.Lock()
        self.begun = 0
        self.gone = 0
        self.patient = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((StorageError, CatalogError))
            & tenacity.retry_if_not_exception_type(Corrupted),
            wait=tenacity.wait_exponential(min=1, max=60),
            stop=tenacity.stop_after_delay(stop.patience) | tenacity.stop_when_event_set(self.over),
            sleep=tenacity.sleep_using_event(self.over),
            before_sleep=lambda state: log.warning("waiting: %s", state.outcome.exception() if state.outcome else ""),
            reraise=True,
        )
        self.hand: dict[int, Lease] = {}
        """What is worked at: no other lease of ours is kept alive, should one not have been given back."""

    def outcomes(self) -> Iterator[Outcome]:
        """Start, yield, and clear up."""
        ledger = self.catalog.ledger
        ledger.release(owner.gone(ledger.owners()))
        task.clear()
        targets = [self._beat] + [self._work] * self.workers
        for target in targets:
            threading.Thread(target=target, daemon=True).start()
        left = self.workers
        try:
            while left:
                found = self.said.get()
                if isinstance(found, BaseException):
                    raise found
                if found is None:
                    left -= 1
                else:
                    yield found
        finally:
            with self.one:  # nobody claims any more
                self.over.set()
            ledger.release([self.me])

    def _beat(self) -> None:
        """Keep our leases alive, and end those of others that ran out."""
        while not self.over.wait(LEASE / 8):
            try:
                self.catalog.ledger.renew(list(self.hand.values()), seconds=LEASE)
                self.catalog.ledger.expire()
            except CatalogError as error:
                log.warning("leases can't be renewed: %s", error)

    def _work(self) -> None:
        """Work at one product after the other, and end when there is none left."""
        try:
            while found := self.patient(self._next):
                self.said.put(found)
            self.said.put(None)
        except BaseException as error:
            self.said.put(error)

    def _next(self) -> Outcome | None:
        """The next outcome; waits while others have the rest in hand, or it is not yet time to try it again."""
        while True:
            with self.one:
                if self._stopped():
                    return None
                lease = self.catalog.ledger.claim(
                    self.me, seconds=LEASE, order=self.setup.order, only=self.setup.only, prefer=self.setup.prefer
                )
                self.begun += lease is not None
            if lease is not None:
                return self._worked(lease)
            counts = self.catalog.ledger.counts(self.setup.only)
            if not counts[State.WAITING] + counts[State.RUNNING]:
                return None
            self.over.wait(POLL)

    def _worked(self, lease: Lease) -> Outcome:
        """What came of a product. Raises StorageError where so many in a row are gone that it must be the archive."""
        self.hand[lease.pk] = lease
        try:
            found = task.work(self.catalog, self.storage, lease, self.setup, patient=self.patient)
        finally:
            del self.hand[lease.pk]
        self.gone = self.gone + 1 if found.cause == MissingProduct.__name__ else 0
        if self.gone >= GONE:
            self.said.put(found)
            raise StorageError(f"{self.gone} products in a row are not where they were found; is the archive there?")
        return found

    def _stopped(self) -> bool:
        """Whether nothing more is to be begun."""
        late = self.stop.at is not None and time.time() >= self.stop.at
        return self.over.is_set() or late or (self.stop.after is not None and self.begun >= self.stop.after)
