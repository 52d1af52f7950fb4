"""A crew of threads of this process, each of which waits for the process of one product."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future

from catalog.store import Catalog
from jobs import owner, task
from jobs.patience import Patience
from jobs.task import Outcome, Setup
from kartotek.errors import CatalogError
from kartotek.storage import Storage


class Threads:
    """So many products at a time, on this machine."""

    def __init__(self, catalog: Catalog, storage: Storage, setup: Setup, count: int) -> None:
        self.patience = Patience(setup.patience)
        self._catalog, self._storage, self._setup, self._count = catalog, storage, setup, count

    def width(self) -> int:
        """As many as it was made for."""
        return self._count

    def take(self) -> Future[Outcome | None]:
        """Work at the next product, in a thread for which nobody waits once the process ends."""
        told: Future[Outcome | None] = Future()
        threading.Thread(target=self._tell, args=(told,), daemon=True).start()
        return told

    def close(self) -> None:
        """Give back what is in hand."""
        self.patience.over.set()
        with contextlib.suppress(CatalogError):  # who comes next sees that this process is gone
            self._catalog.ledger.release([owner.me()])

    def _tell(self, told: Future[Outcome | None]) -> None:
        try:
            told.set_result(task.take(self._catalog, self._storage, self._setup, self.patience))
        except BaseException as error:
            told.set_exception(error)
