"""Numbers over a plane: what is told of a place, a cut-out and statistics, whether of one item or of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kartotek.grids import Grid
from kartotek.stopwatch import Stopwatch
from pixels.blocks import Blocks
from pixels.coverage import Coverage
from pixels.formula import Formula
from pixels.warp import Pixels

STEPS = 25
"""Of a formula, that take as long for a pixel as all else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One of the things that are asked for."""

    name: str
    """As it was asked for; a formula's is its text, unless it has a better one."""
    of: str | Formula
    """A layer by its name among the sources, or a formula of such."""
    unit: str | None = None
    description: str | None = None
    classes: tuple[tuple[int, str], ...] = ()
    """(code, label) of a layer of classes."""

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that are needed."""
        return (self.of,) if isinstance(self.of, str) else self.of.names


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Values that are looked at on one grid."""

    values: tuple[Value, ...]
    coverage: Coverage
    """Of the layers that are read for them, that of the mask too."""
    grid: Grid
    """Of full resolution."""


def effort(values: Iterable[str | Formula], coverage: Coverage, *, median: bool = False) -> float:
    """How many times as long as to read layers it takes to compute what is wanted of them, where that takes longer."""
    steps = sum(1 if isinstance(value, str) else 1 + len(value.program) // STEPS for value in values)
    return max(1.0, steps / len(coverage.items[0])) * (2 if median else 1)


class Field(Protocol):
    """Gives values anywhere."""

    @property
    def values(self) -> tuple[Value, ...]:
        """What is asked for."""

    @property
    def computed(self) -> bool:
        """Whether there are physical values among them, and not only such as are stored."""

    @property
    def coverage(self) -> Coverage:
        """Where all layers lie."""

    @property
    def grid(self) -> Grid:
        """That of the finest layer."""

    @property
    def effort(self) -> float:
        """How many times as long as to read the layers it takes to compute the values."""

    def groups(self) -> list[Group]:
        """The values, by the grids on which they are looked at."""

    def read(
        self, blocks: Blocks, values: Sequence[Value], target: Grid, watch: Stopwatch, *, smooth: bool = False
    ) -> list[Pixels]:
        """Each value's numbers on a target grid, and where they are data.

        Each pixel is the one of the files that holds its centre, from the coarsest level whose pixels are no larger:
        nothing is mixed, so that a number is the same for a place, a crop and statistics. `smooth` takes measurements
        between pixels, as tiles do.
        """

    def packing(self, value: Value) -> tuple[float, float]:
        """Scale and offset that make physical values of a value's numbers."""

    def nodata(self, value: Value, data_type: np.dtype[Any]) -> float | None:
        """What means no data among a value's numbers of a type; None where nothing does."""

    def physical(self, value: Value, numbers: NDArray[Any]) -> NDArray[np.float64]:
        """A value's numbers as what they measure."""
