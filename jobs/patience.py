"""Waiting for what is away: a storage, a database, a cluster."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from kartotek.errors import CatalogError, ClusterError, Corrupted, StorageError

log = logging.getLogger(__name__)

Value = TypeVar("Value")


class Patience:
    """Calls a function again until what it needs is back: 1 s later at first, twice as long each time, 60 s at most."""

    def __init__(self, seconds: float) -> None:
        self.over = threading.Event()
        """Once it is set, nothing is waited for any more."""
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((StorageError, CatalogError, ClusterError))
            & tenacity.retry_if_not_exception_type(Corrupted),
            wait=tenacity.wait_exponential(min=1, max=60),
            stop=tenacity.stop_after_delay(seconds) | tenacity.stop_when_event_set(self.over),
            sleep=tenacity.sleep_using_event(self.over),
            before_sleep=lambda state: log.warning("waiting: %s", state.outcome.exception() if state.outcome else ""),
            reraise=True,
        )

    def __call__(self, function: Callable[[], Value]) -> Value:
        """What the function gives. Raises what it last raised once the seconds have passed."""
        return self._retrying(function)
