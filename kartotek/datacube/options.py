"""What `load` is told, as odc-stac and its loader take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import pystac
from odc.geo.geobox import GeoBox

from kartotek.datacube.products import Measurement
from kartotek.errors import BadRequest


def grouping(group_by: str | None) -> Callable[[pystac.Item], date] | None:
    """What items are put into one image by, if not by their instant alone."""
    if group_by not in (None, "time", "solar_day"):
        raise BadRequest(f"group_by is {group_by!r}; it is 'time' or 'solar_day'")
    return _solar_day if group_by == "solar_day" else None


def _solar_day(item: pystac.Item) -> date:
    """The day at the middle of an item's footprint, by the sun: 240 seconds a degree of longitude."""
    west, _, east, _ = item.bbox or (0.0, 0.0, 0.0, 0.0)
    moment: datetime = item.datetime or datetime.fromisoformat(item.properties["start_datetime"])
    middle = (west + (east + 360 if east < west else east)) / 2
    return (moment.astimezone(UTC) + timedelta(seconds=int(240 * middle))).date()


def by_asset(given: str | Mapping[str, str] | None, measurements: Sequence[Measurement]) -> dict[str, str] | str:
    """How each asset is resampled; what is not named by itself or by '*' is by nearest neighbour."""
    if given is None or isinstance(given, str):
        return given or "nearest"
    names = {one.name: one.asset for one in measurements}
    if unknown := [name for name in given if name != "*" and name not in names]:
        raise BadRequest(f"resampling of {', '.join(unknown)}, which is not loaded; loaded are: {', '.join(names)}")
    return {"*": "nearest"} | {names.get(name, "*"): how for name, how in given.items()}


def chunks(given: Mapping[str, int | str] | None, box: GeoBox) -> dict[str, int | Literal["auto"]] | None:
    """Chunks as odc-stac has them: one time each, and whole images where nothing else is said."""
    if given is None:
        return None
    known = ("time", *box.dimensions)
    for name, size in given.items():
        if name not in known:
            raise BadRequest(f"dask_chunks of {name!r}; dimensions are: {', '.join(known)}")
        if size != "auto" and not isinstance(size, int):
            raise BadRequest(f"dask_chunks of {name!r} is {size!r}; it is a whole number, -1 for all, or 'auto'")
    return {name: int(size) for name, size in given.items() if size != "auto"}
