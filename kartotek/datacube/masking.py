"""Clouds taken out of what was loaded, by the classes of its pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray

from kartotek.errors import BadRequest


def mask(data: xarray.Dataset, *, by: str | None = None, clear: Sequence[int | str] | None = None) -> xarray.Dataset:
    """What was loaded as floats, NaN where the ground is not seen or where there is no data.

    `by` names the measurement of classes, such as SCL_20m, where there are several; it stays as it is. `clear` are the
    codes or the names of classes that are kept, by default those where the collection says that the ground is seen.
    Lazy data stays lazy.
    """
    name = by if by is not None else _only(data)
    if name not in data:
        raise BadRequest(f"{name!r}: not loaded; there are: {', '.join(map(str, data.data_vars))}")
    classes = data[name]
    kept = classes.isin(_codes(classes, clear))
    return data.assign(
        {key: _cleared(values, kept) for key, values in data.data_vars.items() if "flag_values" not in values.attrs}
    )


def _only(data: xarray.Dataset) -> str:
    """The name of the measurement that says where the ground is seen."""
    found = [str(name) for name, values in data.data_vars.items() if "clear_values" in values.attrs]
    if len(found) != 1:
        what = f"{', '.join(found)} do: name one by `by`" if found else "load it too, such as SCL_20m of Sentinel-2"
        raise BadRequest(f"one measurement has to say where the ground is seen; {what}")
    return found[0]


def _codes(classes: xarray.DataArray, clear: Sequence[int | str] | None) -> list[int]:
    """The codes of classes that are kept."""
    if clear is None:
        if "clear_values" not in classes.attrs:
            raise BadRequest(f"{classes.name}: which of its classes are clear is not known; name them by `clear`")
        return list(np.atleast_1d(classes.attrs["clear_values"]))
    names = str(classes.attrs.get("flag_meanings", "")).split()
    known = dict(zip(names, np.atleast_1d(classes.attrs.get("flag_values", [])), strict=False))
    if unknown := [one for one in clear if isinstance(one, str) and one not in known]:
        raise BadRequest(f"{', '.join(unknown)}: no class of {classes.name}; there are: {', '.join(known)}")
    return [int(known[one]) if isinstance(one, str) else int(one) for one in clear]


def _cleared(values: xarray.DataArray, kept: xarray.DataArray) -> xarray.DataArray:
    """A measurement with NaN for what is not kept, and for nodata."""
    nodata = values.attrs.get("nodata")
    made = values.where(kept if nodata is None else kept & (values != nodata))
    made.attrs = {key: value for key, value in values.attrs.items() if key != "nodata"}
    return made
