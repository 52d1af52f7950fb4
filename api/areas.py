"""Areas in the bodies of requests: GeoJSON's polygons."""

from collections.abc import Mapping, Sequence
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from catalog import questions
from kartotek.errors import BadRequest

MAX_AREAS = 100
"""Polygons of which statistics are asked at a time."""
AREA = "A GeoJSON Polygon or MultiPolygon in longitude and latitude, or a Feature of one."
AREAS = f"A GeoJSON Polygon or MultiPolygon, a Feature of one, or a FeatureCollection of up to {MAX_AREAS}."


def polygon_of(given: Mapping[str, Any], parameter: str = "body") -> BaseGeometry:
    """The polygon of a GeoJSON geometry or Feature. Raises BadRequest."""
    geometry = given.get("geometry") if given.get("type") == "Feature" else given
    if not isinstance(geometry, Mapping) or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        raise BadRequest(f"{parameter}: no GeoJSON Polygon or MultiPolygon, nor a Feature of one")
    return questions.area(geometry, parameter)


def polygons_of(given: Mapping[str, Any]) -> list[BaseGeometry]:
    """The polygons of a GeoJSON geometry, Feature or FeatureCollection. Raises BadRequest."""
    if given.get("type") != "FeatureCollection":
        return [polygon_of(given)]
    features = given.get("features")
    if not isinstance(features, list) or not 1 <= len(features) <= MAX_AREAS:
        count = len(features) if isinstance(features, list) else "no list of"
        raise BadRequest(f"body: {count} features; 1 to {MAX_AREAS} will do")
    if not all(isinstance(feature, Mapping) for feature in features):
        raise BadRequest("body: features that are no objects")
    found = [polygon_of(feature, f"features[{number}]") for number, feature in enumerate(features)]
    if (count := int(shapely.get_num_coordinates(found).sum())) > questions.MAX_VERTICES:
        raise BadRequest(f"body: {count} positions; at most {questions.MAX_VERTICES} are accepted, of all features")
    return found


def together(polygons: Sequence[BaseGeometry]) -> BaseGeometry:
    """A polygon that has all of several in it: of more than one, their convex hulls together.

    Polygons of many positions may cross each other more often than could be told.
    """
    return polygons[0] if len(polygons) == 1 else shapely.union_all(shapely.convex_hull(polygons))


def names_of(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Features' own ids, where they have any, in the order of `polygons_of`."""
    features = given["features"] if given.get("type") == "FeatureCollection" else [given]
    return [{"id": one["id"]} if isinstance(one.get("id"), str | int) else {} for one in features]
