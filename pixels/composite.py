"""The numbers of several items at once: of each pixel those of the first item that has all of them, or their medians.

They are physical values, since the scale and the offset of stored numbers differ between items; classes are codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kartotek.grids import Grid
from kartotek.nodata import held
from kartotek.stopwatch import Stopwatch
from pixels import stack
from pixels.blocks import Blocks
from pixels.coverage import Coverage
from pixels.field import Group, Value, effort
from pixels.numbers import Numbers
from pixels.stack import Candidate, Channels, Layers, Medians, Origins, Stacked
from pixels.warp import Pixels

CODES = np.dtype(np.uint16)
"""What codes of classes are, whatever files they come from."""


class Composite:
    """The numbers of a mosaic, for one request."""

    def __init__(self, candidates: Iterable[Candidate[Numbers]], *, most: int, median: bool) -> None:
        """`candidates` in the order that is wanted, of which `most` are opened for a window.

        Raises NotFound where none of them has what is wanted, and BadRequest where they have it in different ways.
        """
        self._most, self.median = most, median
        self._candidates = stack.opened(candidates)
        self._all = [candidate.open() for candidate in self._candidates]
        self._one = self._all[0]
        """By which it is told what values are."""
        names = [value.name for value in self.values]
        for numbers in self._all:
            if [value.name for value in numbers.values] != names:
                raise stack.uneven(len(names), len(numbers.values))
        self.opened: dict[int, None] = {}
        """Numbers of the items that were opened, in that order."""
        self.unread: dict[int, None] = {}
        """Numbers of those among them whose files can't be read."""

    @property
    def values(self) -> tuple[Value, ...]:
        """What is asked for."""
        return self._one.values

    @property
    def computed(self) -> bool:
        """Whether there are physical values among them, and not only codes of classes."""
        return not all(value.classes for value in self.values)

    @cached_property
    def coverage(self) -> Coverage:
        """Where the layers of all items lie."""
        return stack.coverage(self._candidates, self._most)

    @property
    def effort(self) -> float:
        """More than 1 where formulas are long, and of medians."""
        return effort((value.of for value in self.values), self.coverage, median=self.median)

    @cached_property
    def grid(self) -> Grid:
        """One over all items."""
        return self.coverage.grid

    def groups(self) -> list[Group]:
        """All values at once, so that those of a pixel are of one item."""
        return [Group(values=self.values, coverage=self.coverage, grid=self.grid)]

    def read(
        self, blocks: Blocks, values: Sequence[Value], target: Grid, watch: Stopwatch, *, smooth: bool = False
    ) -> list[Pixels]:
        """Physical values in float64, codes in 16 bits."""
        return self.sourced(blocks, values, target, watch, smooth=smooth)[0]

    def sourced(
        self, blocks: Blocks, values: Sequence[Value], target: Grid, watch: Stopwatch, *, smooth: bool = False
    ) -> tuple[list[Pixels], Origins]:
        """The same, and of which item each pixel is, by its number, -1 where there is none; of medians, of how many."""
        if self.median:
            return self._medians(blocks, values, target, watch, smooth=smooth)

        def read(numbers: Numbers, holes: NDArray[np.bool_]) -> tuple[Channels, NDArray[np.bool_]] | None:
            found = _layers(numbers, values, smooth=smooth).read(blocks, target, holes, watch)
            if found is None:
                return None
            with watch.stage("render"):
                pixels = numbers.measured(values, found)
                channels = tuple(
                    codes.astype(CODES) if value.classes else numbers.physical(value, codes)
                    for value, (codes, _) in zip(values, pixels, strict=True)
                )
                return channels, np.logical_and.reduce([valid for _, valid in pixels])

        found = stack.first(blocks, self._candidates, target, self._most, read, watch)
        self._note(found)
        valid = found.source >= 0
        if found.channels is None:
            return _nothing(values, valid), found.source
        return [(channel, valid) for channel in found.channels], found.source

    def _medians(
        self, blocks: Blocks, values: Sequence[Value], target: Grid, watch: Stopwatch, *, smooth: bool
    ) -> tuple[list[Pixels], Origins]:
        def layers(numbers: Numbers) -> Layers:
            return _layers(numbers, values, smooth=smooth)

        found = stack.medians(blocks, self._candidates, target, self._most, layers, watch)
        self._note(found)
        if found.base is None:
            return _nothing(values, np.zeros(target.shape, np.bool_)), found.counts
        with watch.stage("render"):
            pixels = replace(self._one, sources=found.sources, mask=None).measured(values, found.read)
            return [(np.asarray(numbers, np.float64), valid) for numbers, valid in pixels], found.counts

    def _note(self, found: Stacked[Numbers] | Medians[Numbers]) -> None:
        self.opened |= dict.fromkeys(found.opened)
        self.unread |= dict.fromkeys(found.unread)

    def packing(self, value: Value) -> tuple[float, float]:
        """None: what is read are physical values, and codes."""
        return 1.0, 0.0

    def nodata(self, value: Value, data_type: np.dtype[Any]) -> float | None:
        """That of classes; NaN of physical values."""
        return self._one.nodata(value, data_type) if value.classes else held(None, data_type)

    def physical(self, value: Value, numbers: NDArray[Any]) -> NDArray[np.float64]:
        """They are."""
        return np.asarray(numbers, np.float64)


def _nothing(values: Sequence[Value], valid: NDArray[np.bool_]) -> list[Pixels]:
    return [(np.zeros(valid.shape, CODES if value.classes else np.float64), valid) for value in values]


def _layers(numbers: Numbers, values: Sequence[Value], *, smooth: bool) -> Layers:
    own = replace(numbers, mask=None).names(values)
    return Layers(numbers.looked_at(values, smooth=smooth), own, numbers.mask, numbers.keep)
