"""What must not run out while somebody works, renewed beside the work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kartotek.errors import CatalogError

log = logging.getLogger(__name__)


@contextmanager
def beating(renew: Callable[[], object], what: str, *, every: float) -> Iterator[None]:
    """Renew something every so many seconds for the time of a block; a database that is away is tried again."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(every):
            try:
                renew()
            except CatalogError as error:
                log.warning("%s: can't be renewed: %s", what, error)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        over.set()
