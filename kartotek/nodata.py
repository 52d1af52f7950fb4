"""Numbers that mean "no data": one of a band's numbers, or NaN; or none, where each pixel has data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read(value: object) -> float | None:
    """Nodata as STAC's JSON has it: a number, null, or one of the words for what JSON has no number for.

    >>> read(0), read(None), read("nan"), read("-inf")
    (0, None, nan, -inf)

    Raises ValueError where it is anything else.
    """
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if value in ("nan", "inf", "-inf"):
        return float(str(value))
    raise ValueError(f'nodata is {value!r}, no number and none of "nan", "inf" and "-inf"')


def written(nodata: float) -> float | str:
    """The same the other way: a number, or a word.

    >>> written(0), written(float("nan"))
    (0, 'nan')
    """
    return nodata if math.isfinite(nodata) else str(nodata)


def held(nodata: float | None, data_type: np.dtype[Any]) -> float | None:
    """Nodata as pixels of a type can have it: None where they can't, and NaN where floats have no other.

    >>> held(-9999, np.dtype("uint8")), held(None, np.dtype("float32")), held(255, np.dtype("uint8"))
    (None, nan, 255)
    """
    if data_type.kind == "f":
        return math.nan if nodata is None else nodata
    if nodata is None or not math.isfinite(nodata):
        return None
    limits = np.iinfo(data_type)
    return nodata if nodata == int(nodata) and limits.min <= nodata <= limits.max else None


def present(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Where there is data.

    >>> present(np.array([0, 1]), 0), present(np.array([np.nan, 1]), np.nan), present(np.array([0, 1]), None)
    (array([False,  True]), array([False,  True]), array([ True,  True]))
    """
    if nodata is None:
        return np.ones(values.shape, np.bool_)
    found: NDArray[np.bool_] = ~np.isnan(values) if math.isnan(nodata) else values != nodata
    return found


def is_between(nodata: float, data_type: np.dtype[Any]) -> bool:
    """Whether whole numbers of a type lie on both sides, so that a mean of them may come out as it.

    >>> is_between(0, np.dtype("uint16")), is_between(0, np.dtype("int16"))
    (False, True)
    """
    limits = np.iinfo(data_type)
    return bool(limits.min < nodata < limits.max)


def keep_apart(values: NDArray[Any], nodata: float | None, data: NDArray[np.bool_]) -> None:
    """Change computed values that came out as nodata by chance to the next number above it; `data` says where they are.

    Between -1 and 1 lies 0; a mean never comes out as the lowest or the highest number of whole ones.
    """
    if nodata is None or not math.isfinite(nodata):
        return
    whole = values.dtype.kind != "f"
    if whole and not is_between(nodata, values.dtype):
        return
    struck = data & (values == nodata)
    values[struck] = nodata + 1 if whole else np.nextafter(values.dtype.type(nodata), values.dtype.type(np.inf))
