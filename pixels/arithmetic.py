"""Arithmetic of bands: what each operation of a formula makes of arrays, and how a row of operations is run.

A pixel without a value is NaN. Whatever is computed of it is NaN, and so is what has no finite result: a division by
zero, a root or logarithm of a number that has none, a number too large for float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 16_384
"""Pixels computed at a time: few enough for all that is halfway to stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Call:
    """A step of a program: an operation, by its name in `OPERATIONS`, on the last so many values."""

    name: str
    count: int


Step = str | float | Call
"""Take a band, take a number, or compute with what was taken last."""


def evaluate(program: Sequence[Step], bands: Mapping[str, Array], floor: float | None = None) -> Array:
    """What a program in postfix order makes of bands of one shape; values of theirs below `floor` count as it.

    >>> evaluate(["a", "b", Call("/", 2)], {"a": np.array([1.0, 2.0]), "b": np.array([4.0, 0.0])}).tolist()
    [0.25, nan]
    """
    names = list(dict.fromkeys(step for step in program if isinstance(step, str)))
    shape = bands[names[0]].shape
    if others := [f"{name} {bands[name].shape}" for name in names if bands[name].shape != shape]:
        raise ValueError(f"bands of unlike shapes: {names[0]} {shape}, {', '.join(others)}")
    flat = {name: np.ascontiguousarray(bands[name], dtype=np.float64).reshape(-1) for name in names}
    result = np.empty(flat[names[0]].size)
    length = min(BLOCK, result.size)
    spare = np.empty((_height(program) - 1, length))
    raised = np.empty((len(names), length))
    # Only what `where` leaves out can be missing without making the result NaN by itself.
    chooses = any(isinstance(step, Call) and step.name == "where" for step in program)
    with np.errstate(all="ignore"):
        for start in range(0, result.size, BLOCK):
            out = result[start : start + BLOCK]
            block = {name: band[start : start + BLOCK] for name, band in flat.items()}
            if floor is not None:
                for name, higher in zip(names, raised, strict=True):
                    block[name] = np.maximum(block[name], floor, out=higher[: out.size])
            _run(program, block, [out, *spare[:, : out.size]])
            without = [np.isinf(out), *(~np.isfinite(band) for band in block.values() if chooses)]
            for missing in without:
                if missing.any():
                    np.copyto(out, np.nan, where=missing)
    return result.reshape(shape)


def fold(call: Call, numbers: Sequence[float]) -> float:
    """The operation on numbers alone; NaN or infinite where it has no finite result."""
    out = np.empty(1)
    with np.errstate(all="ignore"):
        OPERATIONS[call.name](out, *numbers)
    return float(out[0])


def _height(program: Sequence[Step]) -> int:
    """The most values that wait to be computed with at once."""
    height = highest = 0
    for step in program:
        height += 1 - step.count if isinstance(step, Call) else 1
        highest = max(highest, height)
    return highest


def _run(program: Sequence[Step], bands: Mapping[str, Array], places: Sequence[Array]) -> None:
    """Run a program on one block; its result comes to stand in the first of `places`, which has one for each value
    that waits."""
    waiting: list[Array | float] = []
    for step in program:
        if isinstance(step, Call):
            given = waiting[-step.count :]
            del waiting[-step.count :]
            out = places[len(waiting)]
            OPERATIONS[step.name](out, *given)
            waiting.append(out)
        else:
            waiting.append(bands[step] if isinstance(step, str) else step)
    if waiting[0] is not places[0]:
        np.copyto(places[0], waiting[0])


def _finite(value: Any) -> Any:
    """NaN for what is infinite, before an operation that would make it finite again, as 1 / infinity does."""
    if isinstance(value, float):
        return value
    infinite = np.isinf(value)
    return np.where(infinite, np.nan, value) if infinite.any() else value


# Each writes its result to `out`, which may be the very array of its first value, but never of another.


def _divided(out: Array, a: Any, b: Any) -> None:
    np.divide(a, _finite(b), out=out)


def _power(out: Array, base: Any, exponent: float) -> None:
    if exponent == 0:
        np.add(np.multiply(base, 0.0, out=out), 1.0, out=out)  # not 1 where there is no value
    elif exponent == 2:
        np.square(base, out=out)
    else:
        np.power(_finite(base), exponent, out=out)


def _compared(compare: np.ufunc) -> Callable[..., None]:
    def run(out: Array, a: Any, b: Any) -> None:
        a, b = _finite(a), _finite(b)
        holds, missing = compare(a, b), np.isnan(a) | np.isnan(b)
        np.copyto(out, holds)
        np.copyto(out, np.nan, where=missing)

    return run


def _extreme(pick: np.ufunc) -> Callable[..., None]:
    def run(out: Array, first: Any, *others: Any) -> None:
        first = _finite(first)
        for other in others:
            first = pick(first, _finite(other), out=out)

    return run


def _where(out: Array, condition: Any, a: Any, b: Any) -> None:
    condition = _finite(condition)
    holds, missing = np.not_equal(condition, 0), np.isnan(condition)
    np.copyto(out, b)
    np.copyto(out, a, where=holds)
    np.copyto(out, np.nan, where=missing)


def _exp(out: Array, a: Any) -> None:
    np.exp(_finite(a), out=out)


def _plain(ufunc: np.ufunc) -> Callable[..., None]:
    """An operation that leaves what is infinite infinite, or makes it NaN."""
    return lambda out, *values: ufunc(*values, out=out)


OPERATIONS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "+": _plain(np.add),
        "-": _plain(np.subtract),
        "*": _plain(np.multiply),
        "/": _divided,
        "**": _power,
        "negative": _plain(np.negative),
        "<": _compared(np.less),
        "<=": _compared(np.less_equal),
        ">": _compared(np.greater),
        ">=": _compared(np.greater_equal),
        "==": _compared(np.equal),
        "!=": _compared(np.not_equal),
        "abs": _plain(np.abs),
        "sqrt": _plain(np.sqrt),
        "log": _plain(np.log),
        "log10": _plain(np.log10),
        "exp": _exp,
        "min": _extreme(np.minimum),
        "max": _extreme(np.maximum),
        "where": _where,
    }
)
