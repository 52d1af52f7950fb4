"""How fast products go, what they have taken, and how they queue: the ledger's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STAGES: Mapping[str, Sequence[str]] = {
    "reading": ("find", "read"),
    "processor": ("decode", "warp", "encode", "other", "check"),
    "storing": ("store",),
    "database": ("claim", "publish"),
}
"""What a run may be held up by → the stages that are spent on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the products went that were done last, an hour back and `ledger.RECENT` of them at most."""

    products: int
    seconds: float
    """From the first of them being begun to the last being done."""
    stages: Mapping[str, float]
    """Stage → seconds of a product, on average."""
    bytes_read: int
    bytes_written: int

    @property
    def per_hour(self) -> float:
        """Products."""
        return 3600 * self.products / self.seconds if self.seconds else 0.0

    @property
    def bottleneck(self) -> str | None:
        """What takes most of the time: reading, processor, storing or database."""
        spent = {name: sum(self.stages.get(stage, 0) for stage in stages) for name, stages in STAGES.items()}
        return max(spent, key=lambda name: spent[name]) if any(spent.values()) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What waits, and what is in hand, just now."""

    now: int
    """Products that may be begun."""
    later: int
    """Products that have failed and wait for their time."""
    oldest: float
    """Seconds for which that product has been in hand that was begun first; 0 where none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A product that is registered or waits."""

    place: str
    zone: int | None
    collection: str | None
    item: str | None
    """None where it has not been registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a product that is done has taken."""

    place: str
    zone: int | None
    collection: str
    item: str
    began: float
    """Seconds since 1970."""
    seconds: float
    bytes_read: int
    bytes_written: int
