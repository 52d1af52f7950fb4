"""Footprints: polygons in longitude and latitude (WGS 84), as GeoJSON wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import antimeridian
import shapely
from shapely import MultiPolygon, Polygon
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from kartotek import grids
from kartotek.grids import Bounds

DIGITS = 7
"""Decimals of a degree that are kept: a centimetre."""
MENDABLE = 100
"""Positions of a ring that may cross itself, as genuine ones do, if they are few."""


def from_geojson(geometry: Mapping[str, Any]) -> BaseGeometry:
    """A GeoJSON geometry, as it stands. Raises ValueError where it is none.

    >>> from_geojson({"type": "Point", "coordinates": [17.6, 59.9]}).wkt
    'POINT (17.6 59.9)'
    """
    try:
        return shape(geometry)
    except (ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"no GeoJSON geometry ({error})") from error


def from_positions(positions: Sequence[float]) -> Polygon | MultiPolygon:
    """The polygon of a ring given as latitude, longitude, latitude, longitude ... (as EXT_POS_LIST has it).

    Rings of 3D positions (a third number that is 0; the last position may lack it) occur in old products and are read
    too. Raises ValueError where there is no ring, or a position is none.

    >>> from_positions([55, 12, 55, 13, 56, 13, 56, 12]).bounds
    (12.0, 55.0, 13.0, 56.0)
    """
    step = 3 if len(positions) % 3 != 1 and not any(positions[2::3]) else 2
    points = list(zip(positions[1::step], positions[0::step], strict=True))
    if len(points) < 3:
        raise ValueError(f"a ring needs three positions, found {len(points)}")
    for longitude, latitude in points:
        if not (-360 <= longitude <= 360 and -90 <= latitude <= 90):  # NaN is outside too
            raise ValueError(f"no place on earth: latitude {latitude}, longitude {longitude}")
    ring = Polygon(points)
    # Mending costs the square of the crossings and more: minutes for a few hundred positions at random. Across 180
    # degrees a ring is whole where longitudes run on.
    if len(points) > MENDABLE and not (
        ring.is_valid or Polygon([(longitude % 360, latitude) for longitude, latitude in points]).is_valid
    ):
        raise ValueError(f"a ring of {len(points)} positions that crosses itself")
    return valid(ring)


def valid(footprint: BaseGeometry) -> Polygon | MultiPolygon:
    """The footprint mended, cut at 180 degrees where it crosses, rounded to a centimetre and wound as GeoJSON says."""
    west, _, east, _ = footprint.bounds
    if west < -180 or east > 180 or east - west > 180:
        footprint = shapely.geometry.shape(antimeridian.fix_shape(footprint.__geo_interface__, fix_winding=True))
    mended = shapely.set_precision(shapely.make_valid(footprint), 10.0**-DIGITS)
    areas = [part for part in shapely.get_parts(mended) if isinstance(part, Polygon) and not part.is_empty]
    if isinstance(mended, MultiPolygon | Polygon):
        kept: BaseGeometry = mended
    else:
        kept = shapely.union_all(areas)
    oriented = shapely.orient_polygons(kept)
    return oriented if isinstance(oriented, Polygon | MultiPolygon) else Polygon()


def is_cut(footprint: BaseGeometry) -> bool:
    """Whether a footprint is one that had to be cut: it reaches to 180 degrees, or to a pole.

    >>> is_cut(shapely.box(170, 60, 180, 70)), is_cut(shapely.box(17, 59, 18, 60))
    (True, False)
    """
    west, south, east, north = footprint.bounds
    return bool(west <= -180 or east >= 180 or south <= -90 or north >= 90)


def from_projected(area: BaseGeometry, crs: str, *, spacing: float = 5000.0) -> Polygon | MultiPolygon:
    """An area in a projected CRS as a footprint.

    Edges are broken every `spacing` units first: a straight line of 100 km in UTM bends by 400 m in degrees, one of
    5 km by less than a metre.
    """
    broken = dense(area, spacing) if grids.is_metric(crs) else area
    to_lonlat = grids.transformer(crs, "EPSG:4326")
    moved = shapely.transform(broken, lambda x, y: to_lonlat.transform(x, y), interleaved=False)
    return valid(moved)


def to_projected(footprint: BaseGeometry, crs: str, *, spacing: float = 0.02) -> BaseGeometry:
    """A footprint's outline in another CRS; edges are broken every `spacing` degrees first, unless it is infinite."""
    from_lonlat = grids.transformer("EPSG:4326", crs)
    broken = footprint if math.isinf(spacing) else dense(footprint, spacing)
    return shapely.transform(broken, lambda x, y: from_lonlat.transform(x, y), interleaved=False)


def dense(area: BaseGeometry, spacing: float) -> BaseGeometry:
    """An area whose edges are broken every `spacing` units.

    Ring by ring: whole polygons are looked at by GEOS for crossing edges too, and mended, which takes it seconds where
    there are many positions.
    """
    if isinstance(area, MultiPolygon):
        return MultiPolygon([dense(part, spacing) for part in area.geoms])
    if not isinstance(area, Polygon) or area.is_empty:
        return shapely.segmentize(area, spacing)
    holes = [shapely.segmentize(ring, spacing) for ring in area.interiors]
    return Polygon(shapely.segmentize(area.exterior, spacing), holes)


def box(bounds: Bounds) -> Polygon:
    """The rectangle as a polygon."""
    return shapely.box(bounds.left, bounds.bottom, bounds.right, bounds.top)
