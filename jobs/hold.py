"""An item's files in hand: taken, kept by a thread for as long as it lasts, and given back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from catalog.holds import Hold, Holds, lost
from jobs import owner
from jobs.heartbeat import beating
from kartotek.errors import Busy, CatalogError

LEASE = 120.0
"""Seconds for which a hold is taken; it is renewed long before."""
PATIENCE = 600.0
"""Seconds to wait for somebody else."""
_POLL = 0.2
# A machine that slept must not believe that it still has what it had.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_left: set[Hold] = set()
"""What could not be given back, since the database was away; nobody works at it."""


class Held:
    """A hold that is being kept."""

    def __init__(self, hold: Hold, began: float) -> None:
        self.hold = hold
        self.renewed: float | None = began

    def check(self) -> None:
        """Raise LostLease unless the files stay ours for the next half of `LEASE`, whatever happens to the database."""
        if self.renewed is None or time.clock_gettime(_CLOCK) - self.renewed > LEASE / 2:
            raise lost(self.hold)


@contextmanager
def held(holds: Holds, *items: tuple[str, str], patience: float = PATIENCE) -> Iterator[Held]:
    """Have the files of items, each a (collection, item), in hand inside.

    Who had them and is known to be gone has them no more. Raises Busy where somebody has some for all of `patience`.
    """
    kept = _taken(holds, items, patience)

    def renew() -> None:
        began = time.clock_gettime(_CLOCK)
        kept.renewed = began if holds.renew(kept.hold, seconds=LEASE) else None

    try:
        with beating(renew, f"the hold of {kept.hold.name}", every=LEASE / 8):
            yield kept
    finally:
        try:
            holds.release(kept.hold)
        except CatalogError:
            _left.add(kept.hold)


def _taken(holds: Holds, items: Sequence[tuple[str, str]], patience: float) -> Held:
    late = time.monotonic() + patience
    for left in [left for left in list(_left) if not set(items).isdisjoint(left.items)]:
        holds.release(left)
        _left.discard(left)
    while True:
        began = time.clock_gettime(_CLOCK)
        hold = holds.take(items, owner.me(), seconds=LEASE)
        if hold is not None:
            return Held(hold, began)
        holders = holds.holders(items)
        if dead := owner.gone(holders):
            holds.release_of(dead)
        elif time.monotonic() >= late:
            who = ", ".join(sorted(holders)) or "somebody"
            raise Busy(f"{'/'.join(items[0])}: {who} publishes or sweeps its files just now; try again later")
        else:
            time.sleep(_POLL)
