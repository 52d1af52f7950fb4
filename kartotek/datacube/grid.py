"""The pixels that are asked for: a grid of odc-geo's, as the old cube makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pystac
from odc.geo import CRS, Geometry, Resolution, resyx_, yx_
from odc.geo.geobox import GeoBox
from odc.geo.geom import bbox_union
from odc.geo.geom import box as rectangle

from kartotek.errors import BadRequest


def of(like: Any) -> GeoBox:
    """The grid of what was loaded before, or a grid itself."""
    if isinstance(like, GeoBox):
        return like
    found = getattr(getattr(like, "odc", None), "geobox", None)
    if not isinstance(found, GeoBox):
        raise BadRequest(f"like is a {type(like).__name__} without a grid; give a GeoBox, or what `load` gave")
    return found


def geobox(
    *,
    items: Sequence[pystac.Item],
    assets: Sequence[str],
    area: Geometry | None,
    output_crs: Any,
    resolution: Any,
    align: Any,
) -> GeoBox:
    """The grid that covers an area, or all footprints where there is none; pixel edges are on multiples of their size.

    `resolution` is one number, of which the rows go from north to south, or (y, x), whose signs say which way they go,
    in units of the CRS. Without `output_crs` it is the items', and without `resolution` then the finest of the assets'.
    `align` is (y, x), an offset of the edges.
    """
    found = [one for item in items for asset in assets if (one := _lies(item, asset))]
    codes = sorted({code for code, _ in found})
    if output_crs is None and len(codes) != 1:
        raise BadRequest(
            f"output_crs is not given, and the items lie in {', '.join(codes) or 'no known CRS'}: name one"
        )
    crs = known(output_crs if output_crs is not None else codes[0])
    size = _resolution(resolution)
    if size is None:
        if output_crs is not None:
            raise BadRequest(f"resolution is not given; it goes with output_crs {output_crs!r}, in its units")
        size = min(metres for _, metres in found)
    return GeoBox.from_geopolygon(
        area if area is not None else _footprints(items, crs), size, crs, yx_(align) if align is not None else None
    )


def known(crs: Any) -> CRS:
    """The CRS of a code, WKT or what else odc-geo knows one by."""
    try:
        return CRS(crs)
    except Exception as error:  # pyproj's, or a TypeError
        raise BadRequest(f"{crs!r}: no coordinate reference system ({error}); give one such as 'EPSG:3006'") from error


def _lies(item: pystac.Item, key: str) -> tuple[str, float] | None:
    """The CRS of an asset and the size of its pixels, if the item has it and says so."""
    asset = item.assets.get(key)
    if asset is None:
        return None
    code = asset.extra_fields.get("proj:code") or item.properties.get("proj:code")
    transform = asset.extra_fields.get("proj:transform") or item.properties.get("proj:transform")
    return (str(code), abs(transform[0])) if code and transform else None


def _resolution(given: Any) -> Resolution | float | None:
    """A pixel's size as odc-geo takes it."""
    if given is None or isinstance(given, Resolution):
        return given
    try:
        numbers = [float(one) for one in given] if isinstance(given, tuple | list) else [float(given)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 2) or not all(numbers):
        raise BadRequest(f"resolution is {given!r}; it is one number, or two: (y, x), such as (-10, 10)")
    return resyx_(*numbers) if len(numbers) == 2 else numbers[0]


def _footprints(items: Sequence[pystac.Item], crs: CRS) -> Geometry:
    """The box around all footprints."""
    shapes = [Geometry(item.geometry, "EPSG:4326").to_crs(crs) for item in items if item.geometry]
    if not shapes:
        raise BadRequest("no area is given, and the items have no footprints")
    around = bbox_union(shape.boundingbox for shape in shapes)
    return rectangle(*around.bbox, crs=crs)
