"""How long each stage of some work takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by stage, summed up over as many turns as each has, and over threads.

    >>> watch = Stopwatch()
    >>> with watch.stage("read"):
    ...     pass
    >>> [stage for stage, seconds in watch.seconds.items() if seconds >= 0]
    ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._one = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts for a stage what passes inside, also where it fails."""
        began = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - began
            with self._one:
                self.seconds[name] = self.seconds.get(name, 0.0) + passed
