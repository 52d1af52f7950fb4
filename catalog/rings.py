"""The whole outline of an item whose footprint is cut, from its JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import shapely
from shapely import Geometry

from kartotek import footprints
from kartotek.errors import BadRequest


def ring(document: Mapping[str, Any]) -> Geometry | None:
    """The geometry of `proj:geometry`, whose SRID is the EPSG code of `proj:code`; None where an item has neither.

    Raises BadRequest where it is no geometry.
    """
    properties = document["properties"]
    given, code = properties.get("proj:geometry"), re.fullmatch(r"EPSG:(\d{4,6})", str(properties.get("proj:code")))
    if given is None or code is None:
        return None
    try:
        return shapely.set_srid(footprints.from_geojson(given), int(code[1]))
    except ValueError as error:
        raise BadRequest(f"{document['id']}: proj:geometry: {error}") from None
