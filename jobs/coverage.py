"""Ground that the same pass shows in a preferred UTM zone: products that add nothing to it are left out.

Granules of neighbouring zones overlap. A datatake's granules were all sensed at once and processed alike, so that one
whose ground is covered by those of another zone shows nothing that these don't.
"""

from __future__ import annotations

from collections.abc import Mapping

import shapely
from shapely import Geometry

from converters.extent import Outline
from kartotek import grids

TOLERANCE = 10.0
"""Metres, a pixel of the finest bands: what is not covered counts where it is wider than this."""
SPACING = 1000.0
"""Metres between points of an edge that is moved to another zone, where it bends by some centimetres."""


def ground(outline: Outline | None) -> Geometry | None:
    """Where a product has data, as the ledger keeps it: with the EPSG code of its CRS as SRID."""
    return None if outline is None else shapely.set_srid(outline.ring, int(outline.crs.removeprefix("EPSG:")))


def covering(wanted: Geometry, others: Mapping[str, Geometry]) -> list[str] | None:
    """Names of those of the others by which ground is covered; None where it is not.

    All are in metres, in the CRS that their SRID names. Ground is covered where no circle of `TOLERANCE` across fits
    into what is left of it.
    """
    near = {name: area for name, other in others.items() if (area := _moved(other, wanted)).intersects(wanted)}
    rest = shapely.make_valid(wanted).difference(shapely.union_all(list(near.values())))
    return sorted(near) if rest.buffer(-TOLERANCE / 2).is_empty else None


def _moved(area: Geometry, like: Geometry) -> Geometry:
    """An area in the CRS of another one."""
    source, target = shapely.get_srid(area), shapely.get_srid(like)
    if source == target:
        return shapely.make_valid(area)
    transformer = grids.transformer(f"EPSG:{source}", f"EPSG:{target}")
    dense = shapely.segmentize(area, SPACING)
    return shapely.make_valid(shapely.transform(dense, lambda x, y: transformer.transform(x, y), interleaved=False))
