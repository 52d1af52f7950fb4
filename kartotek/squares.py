"""Index squares: a scene's pixels counted per 5 km square of SWEREF 99 TM (indexruta, origin (0, 0)).

250 x 250 pixels at 20 m; pixels that are coarser count in the square that holds their centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kartotek import fast
from kartotek.grids import Grid
from kartotek.indices import Difference
from kartotek.nodata import held, present

SIZE = 5_000
"""Metres along a side."""
PIXEL = 20
"""Metres: the pixel size at which scenes are counted."""
BINS = 40
"""Bins of an index's histogram, equally wide over the index's range; the highest value counts in the last one."""
RECIPE = "squares-2"
"""Names this way of counting; it changes when the numbers would."""


@dataclass(frozen=True, slots=True)
class Spread:
    """An index over the clear pixels of a square."""

    count: int
    mean: float
    deviation: float
    """Standard deviation of the pixels themselves (divided by count)."""
    histogram: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Square:
    """What a scene shows of one square."""

    east: int
    """Easting of the lower left corner, metres in EPSG:3006."""
    north: int
    """Northing of the lower left corner."""
    valid: int
    """Pixels with data."""
    clear: int | None
    """Pixels of classes in which the ground is seen; None where the collection has no class mask."""
    classes: Mapping[int, int]
    """Pixels per class of the mask."""
    indices: Mapping[str, Spread]


@dataclass(frozen=True, slots=True, kw_only=True)
class Physical:
    """A band at the squares' pixel size, with what turns its numbers into physical values."""

    numbers: NDArray[Any]
    nodata: float | None
    scale: float
    offset: float

    def values(self, rows: slice) -> NDArray[np.float64]:
        """Physical values of some rows; NaN where there is no data."""
        numbers = self.numbers[rows]
        values: NDArray[np.float64] = numbers * np.float64(self.scale) + self.offset
        values[~present(numbers, self.nodata)] = np.nan
        return values

    def plain(self, rows: slice) -> tuple[NDArray[Any], int, float, float]:
        """Whole numbers of some rows, the one of them without data (-1: none), scale and offset, for compiled loops."""
        nothing = held(self.nodata, self.numbers.dtype)
        numbers = np.require(self.numbers[rows], requirements=["C", "W"])
        return numbers, -1 if nothing is None else int(nothing), self.scale, self.offset


def count(
    grid: Grid,
    *,
    valid: NDArray[np.bool_],
    mask: NDArray[Any] | None,
    clear: Sequence[int],
    bands: Mapping[str, Physical],
    indices: Sequence[Difference],
) -> Iterator[Square]:
    """The squares in which the scene has valid pixels, from north to south and west to east.

    All arrays have the shape of `grid`, which is in EPSG:3006. `bands` are named by common names; an index whose bands
    are not among them is left out. A mask's pixels without class (0) are not counted as valid by the caller.
    """
    centres_east = grid.left + (np.arange(grid.columns) + 0.5) * grid.resolution
    centres_north = grid.top - (np.arange(grid.rows) + 0.5) * grid.resolution
    first_column = int(centres_east[0] // SIZE)
    column = (centres_east // SIZE).astype(np.int64) - first_column
    width = int(column[-1]) + 1
    row_of = (centres_north // SIZE).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, row_of[1:] != row_of[:-1]])
    usable = [index for index in indices if index.first in bands and index.second in bands]
    for start, stop in zip(starts, [*starts[1:], grid.rows], strict=True):
        rows = slice(int(start), int(stop))
        if not valid[rows].any():
            continue
        yield from _row(
            rows,
            north=int(row_of[start]) * SIZE,
            west=first_column * SIZE,
            across=column,
            width=width,
            valid=valid[rows],
            mask=None if mask is None else mask[rows],
            clear=clear,
            bands=bands,
            indices=usable,
        )


def _row(
    rows: slice,
    *,
    north: int,
    west: int,
    across: NDArray[np.int64],
    width: int,
    valid: NDArray[np.bool_],
    mask: NDArray[Any] | None,
    clear: Sequence[int],
    bands: Mapping[str, Physical],
    indices: Sequence[Difference],
) -> Iterator[Square]:
    """The squares of one row of squares."""
    column = np.broadcast_to(across, valid.shape)
    counts = np.bincount(column[valid], minlength=width)
    seen = valid if mask is None else valid & np.isin(mask, list(clear))
    clears = np.bincount(column[seen], minlength=width)
    codes = None
    if mask is not None:
        found = mask[valid].astype(np.int64)
        kinds = int(found.max(initial=0)) + 1
        codes = np.bincount(column[valid] * kinds + found, minlength=width * kinds).reshape(width, kinds)
    spreads = {index.name: _spreads(index, bands, rows, across, seen, width) for index in indices}
    for place in np.flatnonzero(counts):
        yield Square(
            east=west + int(place) * SIZE,
            north=north,
            valid=int(counts[place]),
            clear=None if mask is None else int(clears[place]),
            classes={}
            if codes is None
            else {int(code): int(codes[place, code]) for code in np.flatnonzero(codes[place])},
            indices={name: found[int(place)] for name, found in spreads.items()},
        )


def _spreads(
    index: Difference,
    bands: Mapping[str, Physical],
    rows: slice,
    across: NDArray[np.int64],
    seen: NDArray[np.bool_],
    width: int,
) -> list[Spread]:
    """The index's statistics for each square of a row of squares."""
    first, second = bands[index.first], bands[index.second]
    kernels = fast.kernels(first.numbers.dtype)
    if kernels is not None and first.numbers.dtype == second.numbers.dtype:
        given = *first.plain(rows), *second.plain(rows)
        found = kernels.spreads(*given, across, seen, index.low, index.high, BINS, width)
    else:
        column = np.broadcast_to(across, seen.shape)
        found = _sums(index, index.compute(first.values(rows), second.values(rows)), column, seen, width)
    counts, means, squared, histograms = found
    deviations = np.sqrt(squared / np.maximum(counts, 1))
    return [
        Spread(int(n), float(mean), float(deviation), tuple(int(b) for b in histogram))
        for n, mean, deviation, histogram in zip(counts, means, deviations, histograms, strict=True)
    ]


def _sums(
    index: Difference, values: NDArray[np.float64], column: NDArray[np.int64], seen: NDArray[np.bool_], width: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Of each square: how many values there are, their mean, the sum of their squared distances from it, how many in
    each bin."""
    here = seen & np.isfinite(values)
    places, found = column[here], values[here]
    counts = np.bincount(places, minlength=width)
    means = np.bincount(places, weights=found, minlength=width) / np.maximum(counts, 1)
    # Two passes: the sum of squares minus the square of the sum would lose digits for flat squares.
    squared = np.bincount(places, weights=(found - means[places]) ** 2, minlength=width)
    bins = np.clip((found - index.low) / (index.high - index.low) * BINS, 0, BINS - 1).astype(np.int64)
    return counts, means, squared, np.bincount(places * BINS + bins, minlength=width * BINS).reshape(width, BINS)


def to_table(squares: Sequence[Square], *, item: str, indices: Sequence[Difference]) -> pa.Table:
    """The squares as an Arrow table, one row each; its metadata names the item and the recipe."""
    spread = pa.struct(
        [
            ("count", pa.int32()),
            ("mean", pa.float64()),
            ("deviation", pa.float64()),
            ("histogram", pa.list_(pa.int32())),
        ]
    )
    schema = pa.schema(
        [
            pa.field("east", pa.int32(), nullable=False),
            pa.field("north", pa.int32(), nullable=False),
            pa.field("valid", pa.int32(), nullable=False),
            pa.field("clear", pa.int32()),
            pa.field("classes", pa.map_(pa.int32(), pa.int32())),
            *(pa.field(index.name, spread) for index in indices),
        ],
        metadata={"kartotek:item": item, "kartotek:recipe": RECIPE, "kartotek:crs": "EPSG:3006"},
    )
    rows = [
        {
            "east": square.east,
            "north": square.north,
            "valid": square.valid,
            "clear": square.clear,
            "classes": list(square.classes.items()),
            **{
                index.name: {
                    "count": found.count,
                    "mean": found.mean if found.count else None,
                    "deviation": found.deviation if found.count else None,
                    "histogram": list(found.histogram),
                }
                if (found := square.indices.get(index.name))
                else None
                for index in indices
            },
        }
        for square in squares
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def from_table(table: pa.Table) -> tuple[tuple[Square, ...], str]:
    """The squares that `to_table` wrote, and the recipe by which they were counted."""
    names = set(table.column_names) - {"east", "north", "valid", "clear", "classes"}
    found = tuple(
        Square(
            east=row["east"],
            north=row["north"],
            valid=row["valid"],
            clear=row["clear"],
            classes=dict(row["classes"]),
            indices={name: _spread(row[name]) for name in table.column_names if name in names and row[name]},
        )
        for row in table.to_pylist()
    )
    return found, (table.schema.metadata or {}).get(b"kartotek:recipe", b"").decode()


def _spread(row: Mapping[str, Any]) -> Spread:
    return Spread(row["count"], row["mean"] or 0.0, row["deviation"] or 0.0, tuple(row["histogram"]))
