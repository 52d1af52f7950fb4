"""Arrays as the old cube's users know them: names, coordinates, attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from kartotek.datacube.products import Measurement

EPOCH = "seconds since 1970-01-01 00:00:00"


def dressed(pixels: xarray.Dataset, measurements: Sequence[Measurement], box: GeoBox) -> xarray.Dataset:
    """What odc-stac gives, with the names, coordinates and attributes of the old cube."""
    of_grid = {"crs": str(box.crs), "grid_mapping": "spatial_ref"}
    times = pixels.time.values.astype("datetime64[ns]")
    coords = {"time": xarray.DataArray(times, dims="time", attrs={"units": EPOCH}), **xr_coords(box, "spatial_ref")}
    return xarray.Dataset(
        {
            one.name: (pixels[one.asset].dims, pixels[one.asset].data, {**_attributes(one), **of_grid})
            for one in measurements
        },
        coords=coords,
        attrs=of_grid,
    )


def _attributes(measurement: Measurement) -> dict[str, Any]:
    """What xarray tells of a measurement; of classes by CF's conventions (3.5), and the codes that are clear ground."""
    found: dict[str, Any] = {"units": measurement.units, "nodata": measurement.nodata}
    if measurement.classes:
        found["flag_values"] = np.array(list(measurement.classes), dtype=measurement.dtype)
        found["flag_meanings"] = " ".join(measurement.classes.values())
    if measurement.clear:
        found["clear_values"] = np.array(measurement.clear, dtype=measurement.dtype)
    return found
