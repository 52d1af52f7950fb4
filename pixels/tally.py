"""Statistics of numbers that come in parts: counted one by one where they are few, kept, or put into fine bins."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kartotek import fast

FITS = 1 << 22
"""Numbers of 64 bits that are kept for one answer, 32 MB; beyond, percentiles are taken from bins."""
_BITS = 20
"""Of 32 that tell a number's bin: sign, exponent, and 11 of the mantissa, so that bins are 1/2048 to 1/4096 as wide as
the numbers in them are large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is told besides the usual."""

    percentiles: tuple[float, ...] = (2.0, 98.0)
    bins: int = 10
    span: tuple[float, float] | None = None
    """From where to where the histogram goes; from the lowest to the highest unless it is given."""


class Tally(Protocol):
    """Takes numbers, part by part, and tells of all of them."""

    count: int

    @property
    def method(self) -> str:
        """How percentiles and the histogram come about: counted and kept are exact, binned is not."""

    def add(self, numbers: NDArray[Any], seen: NDArray[np.bool_]) -> None:
        """Take some more: those that are seen, of as many rows and columns."""

    def weighted(self) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
        """Values from the lowest to the highest, and how often each came; once each without counts."""

    def moments(self) -> tuple[float, float, float, float]:
        """Lowest, highest, mean and standard deviation, of all numbers as they are."""


class Counted:
    """Numbers of 8 or 16 bits: how often each came. Exact, in half a megabyte at most."""

    def __init__(self, data_type: np.dtype[Any], scale: float, offset: float) -> None:
        """`scale` and `offset` make physical values of them."""
        self._low = int(np.iinfo(data_type).min)
        self._counts = np.zeros(1 << (8 * data_type.itemsize), np.int64)
        self._scale, self._offset = scale, offset
        self._weighted: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None
        self.count = 0

    def add(self, numbers: NDArray[Any], seen: NDArray[np.bool_]) -> None:
        """Take some more."""
        if (kernels := fast.kernels(numbers.dtype)) is not None:
            kernels.counted(numbers, seen, self._counts)
        else:
            some = numbers[seen]
            found = np.bincount(some.astype(np.intp) - self._low if self._low else some)
            self._counts[: len(found)] += found
        self.count += int(np.count_nonzero(seen))
        self._weighted = None

    @property
    def method(self) -> str:
        """Counted."""
        return "counted"

    @property
    def codes(self) -> dict[int, int]:
        """Number → how often it came."""
        there = np.flatnonzero(self._counts)
        return {int(code) + self._low: int(self._counts[code]) for code in there}

    def weighted(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Physical values and counts."""
        if self._weighted is None:
            there = np.flatnonzero(self._counts)
            values = (there + self._low) * np.float64(self._scale) + self._offset
            way = -1 if self._scale < 0 else 1
            self._weighted = values[::way], self._counts[there][::way]
        return self._weighted

    def moments(self) -> tuple[float, float, float, float]:
        """Of the counts."""
        values, counts = self.weighted()
        mean = float((values * counts).sum() / self.count)
        return (
            float(values[0]),
            float(values[-1]),
            mean,
            math.sqrt(float(((values - mean) ** 2 * counts).sum()) / self.count),
        )


class Measured:
    """Numbers with decimals: kept as long as they fit, then counted in bins of at most 1/2048 of their size.

    Means and deviations are of all numbers as they are, added up part by part (Chan et al. 1983).
    """

    def __init__(self, fits: int, physical: Callable[[NDArray[Any]], NDArray[np.float64]]) -> None:
        """`fits` is how many may be kept; `physical` gives the values of numbers."""
        self._fits, self._physical = fits, physical
        self._kept: list[NDArray[np.float64]] = []
        self._waiting = 0
        self._bins: NDArray[np.uint32] | None = None
        self._low, self._high, self._mean, self._squares = math.inf, -math.inf, 0.0, 0.0
        self.count = 0

    @property
    def method(self) -> str:
        """Kept, or binned."""
        return "kept" if self._bins is None else "binned"

    @np.errstate(over="ignore", invalid="ignore")  # a mean that is too large for float64 is told as none
    def add(self, numbers: NDArray[Any], seen: NDArray[np.bool_]) -> None:
        """Take some more; what is not finite is left out."""
        values = self._physical(numbers[seen])
        values = values[np.isfinite(values)]
        if not values.size:
            return
        mean, total = float(values.mean()), self.count + values.size
        step = mean - self._mean
        self._squares += float(((values - mean) ** 2).sum()) + step**2 * self.count * values.size / total
        self._mean += step * values.size / total
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        self.count = total
        self._kept.append(values)
        self._waiting += values.size
        if self._waiting > self._fits:
            self._count()

    def _count(self) -> None:
        """Put what is kept into bins; seldom, since there are many of these."""
        if self._bins is None:
            self._bins = np.zeros(1 << _BITS, np.uint32)
        places = np.concatenate([_bin(values).astype(np.uint32) for values in self._kept] or [np.empty(0, np.uint32)])
        self._bins += np.bincount(places, minlength=1 << _BITS).astype(np.uint32)
        self._kept, self._waiting = [], 0

    def weighted(self) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
        """The numbers themselves, or the middles of bins and their counts."""
        if self._bins is not None:
            self._count()
            there = np.flatnonzero(self._bins)
            return np.clip(_middle(there), self._low, self._high), self._bins[there].astype(np.int64)
        values = np.concatenate(self._kept)
        self._kept = [values]
        values.sort()
        return values, None

    def moments(self) -> tuple[float, float, float, float]:
        """Of all numbers."""
        return self._low, self._high, self._mean, math.sqrt(self._squares / self.count)


def _bin(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers' bins; those of greater numbers are greater."""
    with np.errstate(over="ignore"):
        bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    # In order as whole numbers: all bits of what is below zero are turned, of the rest the sign alone.
    ordered = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))
    return (ordered >> (32 - _BITS)).astype(np.int64)


def _middle(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """The middles of bins."""
    ordered = ((bins << (32 - _BITS)) + (1 << (31 - _BITS))).astype(np.uint32)
    bits = np.where(ordered >> 31 == 1, ordered & np.uint32((1 << 31) - 1), ~ordered)
    return bits.view(np.float32).astype(np.float64)


def told(tally: Tally, wanted: Wanted) -> dict[str, Any]:
    """What JSON tells of numbers; null where there are none.

    Percentiles lie between the two nearest numbers, as NumPy's do.
    """
    names = [f"{percentile:g}" for percentile in wanted.percentiles]
    if not tally.count:
        nothing = dict.fromkeys(("min", "max", "mean", "std", "median"))
        return {**nothing, "percentiles": dict.fromkeys(names), "histogram": None, "method": tally.method}
    low, high, mean, deviation = tally.moments()
    values, counts = tally.weighted()
    median, *others = _percentiles(values, counts, (50.0, *wanted.percentiles))
    first, last = wanted.span or (low, high)
    return {
        **{"min": low, "max": high, "mean": mean, "std": deviation, "median": median},
        "percentiles": dict(zip(names, others, strict=True)),
        "histogram": _histogram(values, counts, wanted.bins, first, last),
        "method": tally.method,
    }


def _histogram(
    values: NDArray[np.float64], counts: NDArray[np.int64] | None, bins: int, first: float, last: float
) -> dict[str, Any] | None:
    """The histogram; None where its bins would be wider, or narrower, than float64 can tell."""
    if not math.isfinite(last - first):
        return None
    try:
        found, edges = np.histogram(values, bins, (first, last), weights=counts)
    except ValueError:
        return None
    return {"edges": edges.tolist(), "counts": [int(count) for count in found]}


def _percentiles(values: NDArray[np.float64], counts: NDArray[np.int64] | None, wanted: Sequence[float]) -> list[float]:
    """Percentiles of sorted values."""
    ends = None if counts is None else np.cumsum(counts)
    most = (len(values) if ends is None else int(ends[-1])) - 1
    found = []
    for percentile in wanted:
        place = percentile / 100 * most
        below = math.floor(place)
        nearest = [below, min(below + 1, most)]
        places = nearest if ends is None else np.searchsorted(ends, nearest, side="right")
        one, other = (float(value) for value in values[places])
        found.append(one + (other - one) * (place - below))
    return found
