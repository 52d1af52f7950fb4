"""Loops over pixels, compiled by Numba where it is installed (the extra `fast`); importing this compiles them.

Each does what a function of NumPy does, named in its docstring, to the last bit: the same operations in the same order
and width, none of them fused. Which of the two ran can't be told from a file. They take whole numbers of up to 16
bits, which is what bands are; `Numba` caches what it compiles beside this file, or in the user's own cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from numba import boolean, float32, float64, int32, int64, types, uint8, uint16, uint32, void

from kartotek.sampling import EDGE, STEP

TYPES = {"uint8": uint8, "uint16": uint16}
"""Of pixels: what the kernels are compiled for."""

_ZERO, _HALF, _ONE, _LEAST = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1e-6)


def _compiled(*signatures: Any) -> Callable[[Any], Any]:
    """Compile for these types, now, without Python's lock; from the cache where there is a place for one.

    What is divided by zero is infinite or no number, as NumPy has it: to look for that keeps loops from being vectors.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(list(signatures), nogil=True, error_model="numpy", cache=True)(function)
        except RuntimeError:  # there is no folder that it may write to
            return numba.njit(list(signatures), nogil=True, error_model="numpy")(function)

    return compiled


def _for_all(signature: Callable[[Any], Any]) -> list[Any]:
    return [signature(kind) for kind in TYPES.values()]


@_compiled(
    void(float64[:, ::1], int64, int64, float64[::1], float64[::1]),
)
def _line(points, row, first, starts, slopes):  # type: ignore[no-untyped-def]
    """`sampling._refine` for a row of places: at control points from the first on, and how much a pixel adds."""
    whole, part = row // STEP, row % STEP
    weight = part / STEP
    for point in range(len(starts)):
        starts[point] = points[whole, first + point] * (1 - weight) + points[whole + 1, first + point] * weight
    for point in range(len(slopes)):
        slopes[point] = (starts[point + 1] - starts[point]) / STEP


@_compiled(float64(float64[:, ::1], int64, int64, float64, float64))
def _within(points, row, column, down, across):  # type: ignore[no-untyped-def]
    """A coordinate within a cell of a lattice, by the shares of the way down and across."""
    start = points[row, column] * (1 - down) + points[row + 1, column] * down
    end = points[row, column + 1] * (1 - down) + points[row + 1, column + 1] * down
    return start + (end - start) * across


@_compiled(void(float64[:, ::1], float64[:, ::1], int64, int64, int64, int64, float64, int64, boolean[:, ::1]))
def touched(columns, rows, width, height, across, down, reach, bits, result):  # type: ignore[no-untyped-def]
    """`pixels.warp._touched`: which blocks of a raster hold pixels within reach of the places of a lattice.

    `across` and `down` are the places of the lattice, `width` and `height` the raster's pixels, 2^`bits` a block's.
    """
    for row in range(rows.shape[0] - 1):
        for column in range(rows.shape[1] - 1):
            x0, x1 = columns[row, column], columns[row, column + 1]
            x2, x3 = columns[row + 1, column], columns[row + 1, column + 1]
            y0, y1 = rows[row, column], rows[row, column + 1]
            y2, y3 = rows[row + 1, column], rows[row + 1, column + 1]
            if not np.isfinite(x0 + x1 + x2 + x3 + y0 + y1 + y2 + y3):
                continue
            west, east = min(x0, x1, x2, x3), max(x0, x1, x2, x3)
            north, south = min(y0, y1, y2, y3), max(y0, y1, y2, y3)
            if east < -EDGE or west >= width or south < -EDGE or north >= height:
                continue
            if west >= reach and east < width - reach and north >= reach and south < height - reach:
                i, j = int64(north - reach) >> bits, int64(west - reach) >> bits
                if i == int64(south + reach) >> bits and j == int64(east + reach) >> bits:
                    result[i, j] = True
                    continue
            for i in range(min(STEP, down - row * STEP)):
                for j in range(min(STEP, across - column * STEP)):
                    x = _within(columns, row, column, i / STEP, j / STEP)
                    y = _within(rows, row, column, i / STEP, j / STEP)
                    if x >= -EDGE and x < width - EDGE and y >= -EDGE and y < height - EDGE:
                        upper, lower = int64(max(y - reach, 0.0)) >> bits, int64(min(y + reach, height - 1.0)) >> bits
                        left, right = int64(max(x - reach, 0.0)) >> bits, int64(min(x + reach, width - 1.0)) >> bits
                        result[upper, left] = True
                        result[upper, right] = True
                        result[lower, left] = True
                        result[lower, right] = True


@_compiled(*_for_all(lambda kind: int64(kind[:, :, ::1], int64, float64, float64, int64, int64, boolean)))
def _weighed(sources, band, x, y, nothing, fill, apart):  # type: ignore[no-untyped-def]
    """`sampling.bilinear` at a place that the source holds, where some of its neighbours have no data."""
    _, height, width = sources.shape
    if int64(sources[band, int64(y + EDGE), int64(x + EDGE)]) == nothing:
        return fill
    x -= 0.5
    y -= 0.5
    west, north = np.floor(x), np.floor(y)
    across, down = float32(x - west), float32(y - north)
    i, j = int64(north), int64(west)
    total, weights = _ZERO, _ZERO
    for below in range(2):
        weight_y = down if below else _ONE - down
        for beside in range(2):
            weight_x = across if beside else _ONE - across
            r, c = i + below, j + beside
            if r < 0 or c < 0 or r >= height or c >= width or int64(sources[band, r, c]) == nothing:
                continue
            weight = weight_x * weight_y
            total += weight * float32(sources[band, r, c])
            weights += weight
    found = int64(np.floor(total / max(weights, _LEAST) + _HALF))
    return nothing + 1 if apart and found == nothing else found


@_compiled(
    *_for_all(
        lambda kind: void(
            kind[:, :, ::1], float64[:, ::1], float64[:, ::1], int64, int64, int64[::1], kind[::1], boolean[::1],
            kind[:, :, ::1],
        )
    )
)  # fmt: skip
def bilinear(sources, columns, rows, top, left, nothing, fill, apart, result):  # type: ignore[no-untyped-def]
    """`sampling.bilinear` of bands of one shape at the places of a window of a lattice, from a control point's on.

    `sources` and `result` are (bands, rows, columns). Each band has the number without data, -1 where each pixel has
    data, what stands where there is none, and whether a value that comes out as the former is raised by one.
    """
    # The pixels between two control points go together, in steps that compilers make vectors of: where they lie, what
    # their neighbours weigh, then for each band the neighbours and what they come to.
    bands, height, width = sources.shape
    flat = sources.reshape(bands, height * width)
    count = -(-result.shape[2] // STEP)
    x_starts, x_slopes = np.empty(count + 1), np.empty(count)
    y_starts, y_slopes = np.empty(count + 1), np.empty(count)
    x, y, first = np.empty(STEP), np.empty(STEP), np.empty(STEP, np.int64)
    weights, neighbours = np.empty((5, STEP), np.float32), np.empty((4, STEP), sources.dtype)
    found = np.empty(STEP, np.int32)
    one, below = np.uint64(1), np.uint64(width)
    for row in range(result.shape[1]):
        _line(columns, top + row, left // STEP, x_starts, x_slopes)
        _line(rows, top + row, left // STEP, y_starts, y_slopes)
        for point in range(count):
            for step in range(STEP):
                x[step] = x_starts[point] + x_slopes[point] * step
                y[step] = y_starts[point] + y_slopes[point] * step
            start, most = point * STEP, min(STEP, result.shape[2] - point * STEP)
            # They lie on a line, so that its ends tell of all.
            if not (
                min(x[0], x[STEP - 1]) >= 0.5
                and min(y[0], y[STEP - 1]) >= 0.5
                and max(x[0], x[STEP - 1]) < width - 0.5
                and max(y[0], y[STEP - 1]) < height - 0.5
            ):
                for band in range(bands):
                    for step in range(most):
                        result[band, row, start + step] = (
                            _weighed(sources, band, x[step], y[step], nothing[band], int64(fill[band]), apart[band])
                            if x[step] >= -EDGE
                            and x[step] < width - EDGE
                            and y[step] >= -EDGE
                            and y[step] < height - EDGE
                            else int64(fill[band])
                        )
                continue
            for step in range(STEP):
                # Above zero, so that to cut off is to round down, and no index counts from the end.
                j, i = int64(x[step] - 0.5), int64(y[step] - 0.5)
                across, down = float32((x[step] - 0.5) - j), float32((y[step] - 0.5) - i)
                upper_left, upper_right = (_ONE - across) * (_ONE - down), across * (_ONE - down)
                lower_left, lower_right = (_ONE - across) * down, across * down
                weights[0, step], weights[1, step] = upper_left, upper_right
                weights[2, step], weights[3, step] = lower_left, lower_right
                weights[4, step] = upper_left + upper_right + lower_left + lower_right
                first[step] = i * width + j
            for band in range(bands):
                source, without = flat[band], nothing[band]
                for step in range(STEP):
                    upper = np.uint64(first[step])
                    lower = upper + below
                    neighbours[0, step], neighbours[1, step] = source[upper], source[upper + one]
                    neighbours[2, step], neighbours[3, step] = source[lower], source[lower + one]
                lacking = False
                for step in range(STEP):
                    for neighbour in range(4):
                        lacking |= int64(neighbours[neighbour, step]) == without
                for step in range(STEP):
                    total = weights[0, step] * float32(neighbours[0, step])
                    total += weights[1, step] * float32(neighbours[1, step])
                    total += weights[2, step] * float32(neighbours[2, step])
                    total += weights[3, step] * float32(neighbours[3, step])
                    found[step] = int32(total / weights[4, step] + _HALF)
                for step in range(most):
                    value = found[step]
                    result[band, row, start + step] = value + 1 if apart[band] and value == without else value
                if lacking:
                    for step in range(most):
                        for neighbour in range(4):
                            if int64(neighbours[neighbour, step]) == without:
                                result[band, row, start + step] = _weighed(
                                    sources, band, x[step], y[step], without, int64(fill[band]), apart[band]
                                )
                                break


@_compiled(
    *_for_all(lambda kind: void(kind[:, ::1], float64[:, ::1], float64[:, ::1], int64, int64, kind, kind[:, ::1]))
)
def nearest(source, columns, rows, top, left, fill, result):  # type: ignore[no-untyped-def]
    """`sampling.nearest` at the places of a window of a lattice, whose left edge is a control point's."""
    height, width = source.shape
    count = -(-result.shape[1] // STEP)
    x_starts, x_slopes = np.empty(count + 1), np.empty(count)
    y_starts, y_slopes = np.empty(count + 1), np.empty(count)
    for row in range(result.shape[0]):
        _line(columns, top + row, left // STEP, x_starts, x_slopes)
        _line(rows, top + row, left // STEP, y_starts, y_slopes)
        for column in range(result.shape[1]):
            point, step = column // STEP, column % STEP
            x = x_starts[point] + x_slopes[point] * step
            y = y_starts[point] + y_slopes[point] * step
            if x >= -EDGE and x < width - EDGE and y >= -EDGE and y < height - EDGE:
                result[row, column] = source[int64(y + EDGE), int64(x + EDGE)]
            else:
                result[row, column] = fill


@_compiled(*_for_all(lambda kind: void(kind[:, :], int64, int64[:, ::1], uint32[:, ::1])))
def gathered(band, nothing, sums, counts):  # type: ignore[no-untyped-def]
    """The sums of the 2 x 2 pixels with data, and how many they are."""
    for row in range(sums.shape[0]):
        upper, lower = band[2 * row], band[2 * row + 1]
        for column in range(sums.shape[1]):
            total, count = 0, 0
            for value in (upper[2 * column], upper[2 * column + 1], lower[2 * column], lower[2 * column + 1]):
                if int64(value) != nothing:
                    total += value
                    count += 1
            sums[row, column] = total
            counts[row, column] = count


@_compiled(void(int64[:, ::1], uint32[:, ::1], int64[:, ::1], uint32[:, ::1]))
def quartered(sums, counts, coarser, fewer):  # type: ignore[no-untyped-def]
    """The same of 2 x 2 sums."""
    for row in range(coarser.shape[0]):
        for column in range(coarser.shape[1]):
            r, c = 2 * row, 2 * column
            coarser[row, column] = sums[r, c] + sums[r, c + 1] + sums[r + 1, c] + sums[r + 1, c + 1]
            fewer[row, column] = counts[r, c] + counts[r, c + 1] + counts[r + 1, c] + counts[r + 1, c + 1]


@_compiled(*_for_all(lambda kind: void(int64[:, ::1], uint32[:, ::1], int64, int64, kind, boolean, kind[:, ::1])))
def means(sums, counts, level, nothing, fill, apart, result):  # type: ignore[no-untyped-def]
    """`cog._means` of sums and counts: halves are rounded up."""
    all_of_them = int64(1) << (2 * level)
    for row in range(result.shape[0]):
        for column in range(result.shape[1]):
            count = int64(counts[row, column])
            if count == 0:
                result[row, column] = fill
                continue
            if count == all_of_them:
                value = (2 * sums[row, column] + count) >> (2 * level + 1)
            else:
                value = (2 * sums[row, column] + count) // (2 * count)
            if apart and value == nothing:
                value += 1
            result[row, column] = value


@_compiled(*_for_all(lambda kind: void(kind[:, :], kind[:, ::1])))
def differences(band, result):  # type: ignore[no-untyped-def]
    """TIFF's horizontal predictor: each pixel of a block as what it adds to the one on its left.

    Where the band is smaller than the block, its last row and column go on.
    """
    rows, columns = band.shape
    for row in range(result.shape[0]):
        line = band[min(row, rows - 1)]
        result[row, 0] = line[0]
        for column in range(1, columns):
            result[row, column] = line[column] - line[column - 1]
        for column in range(columns, result.shape[1]):
            result[row, column] = 0


def _of_layers(kind: Any) -> Iterator[Any]:
    """One layer, or three: whether they lie in one piece is not known."""
    for count in (1, 3):
        parts = kind[:, :], boolean[:, :], uint8[::1]
        layers = (types.UniTuple(part, count) for part in parts)  # type: ignore[no-untyped-call]
        yield void(*layers, uint8[:, :, ::1], boolean[:, ::1])


@_compiled(*(signature for kind in TYPES.values() for signature in _of_layers(kind)))
def painted(numbers, valid, tables, shades, seen):  # type: ignore[no-untyped-def]
    """`np.take(table, numbers)` of layers as the channels of a picture, or 0 where one of them has no data.

    `seen` is where the picture is looked at, and has data in all layers afterwards.
    """
    for row in range(seen.shape[0]):
        for column in range(seen.shape[1]):
            for layer in range(len(valid)):
                seen[row, column] &= valid[layer][row, column]
            for layer in range(len(numbers)):
                shades[row, column, layer] = tables[layer][numbers[layer][row, column]] if seen[row, column] else 0


@_compiled(*_for_all(lambda kind: void(kind[:, :], boolean[:, :], int64[::1])))
def counted(numbers, seen, counts):  # type: ignore[no-untyped-def]
    """`np.bincount(numbers[seen])`, added to counts of all numbers that there may be."""
    for row in range(numbers.shape[0]):
        for column in range(numbers.shape[1]):
            if seen[row, column]:
                counts[numbers[row, column]] += 1


@_compiled(*_for_all(lambda kind: void(kind[:, :], int64, boolean[:, ::1])))
def whole(band, nothing, result):  # type: ignore[no-untyped-def]
    """Which 2 x 2 pixels all have data."""
    for row in range(result.shape[0]):
        upper, lower = band[2 * row], band[2 * row + 1]
        for column in range(result.shape[1]):
            result[row, column] = (
                int64(upper[2 * column]) != nothing
                and int64(upper[2 * column + 1]) != nothing
                and int64(lower[2 * column]) != nothing
                and int64(lower[2 * column + 1]) != nothing
            )


_SUMS: Any = types.Tuple((int64[::1], float64[::1], float64[::1], int64[:, ::1]))  # type: ignore[no-untyped-call]


def _of_two(kind: Any) -> Any:
    band = kind[:, ::1], int64, float64, float64
    return _SUMS(*band, *band, int64[::1], boolean[:, ::1], float64, float64, int64, int64)


@_compiled(*_for_all(_of_two))
def spreads(  # type: ignore[no-untyped-def]
    first, nothing, scale, offset, second, nothing_too, scale_too, offset_too, across, seen, low, high, bins, width
):
    """`Difference.compute` of two bands as `squares.Physical.plain` gives them, and `squares._sums` of that."""
    values = np.empty(first.shape)
    counts, histograms = np.zeros(width, np.int64), np.zeros((width, bins), np.int64)
    means, squared = np.zeros(width), np.zeros(width)
    for row in range(first.shape[0]):
        for column in range(first.shape[1]):
            values[row, column] = np.nan
            one, other = first[row, column], second[row, column]
            if not seen[row, column] or int64(one) == nothing or int64(other) == nothing_too:
                continue
            physical, physical_too = max(one * scale + offset, 0.0), max(other * scale_too + offset_too, 0.0)
            total = physical + physical_too
            if not total > 0:
                continue
            value = (physical - physical_too) / total
            if not np.isfinite(value):
                continue
            values[row, column] = value
            counts[across[column]] += 1
            means[across[column]] += value
    for place in range(width):
        means[place] /= max(counts[place], 1)
    for row in range(first.shape[0]):
        for column in range(first.shape[1]):
            value, place = values[row, column], across[column]
            if np.isnan(value):
                continue
            apart = value - means[place]
            squared[place] += apart * apart
            at = (value - low) / (high - low) * bins
            histograms[place, int64(min(max(at, 0.0), float64(bins - 1)))] += 1
    return counts, means, squared, histograms
