"""Pixels in polygons, beside GDAL's and beside Shapely's answer for each centre."""

import numpy as np
import pytest
import rasterio
import shapely
from rasterio import features
from shapely.geometry import MultiPolygon, Point, Polygon

from kartotek.grids import NATIONAL, Grid
from pixels.filled import inside

TARGET = Grid(crs=NATIONAL, left=600_000, top=6_700_000, resolution=10, columns=150, rows=130)


def some(chance):
    """Polygons of any shape, with holes, over the edges of the target, and several at once."""
    parts = []
    for number in range(chance.integers(1, 4)):
        x, y = TARGET.left + 700 * number + chance.uniform(-300, 900), TARGET.top - chance.uniform(-300, 1600)
        turns = np.sort(chance.uniform(0, 2 * np.pi, chance.integers(3, 60)))
        far = chance.uniform(80, 330, len(turns))
        shell = Polygon(np.column_stack([x + far * np.cos(turns), y + far * np.sin(turns)])).buffer(0)
        parts.append(shell.difference(Point(x, y).buffer(chance.uniform(1, 120))))
    return shapely.union_all(parts)


@pytest.mark.parametrize("seed", range(60))
def test_they_are_those_of_gdal_and_of_shapely(seed):
    chance = np.random.default_rng(seed)
    polygon = some(chance)
    found = inside(polygon, TARGET)
    x = TARGET.left + 10 * (np.arange(TARGET.columns) + 0.5)
    y = TARGET.top - 10 * (np.arange(TARGET.rows) + 0.5)
    assert np.array_equal(found, shapely.contains_xy(polygon, *np.meshgrid(x, y)))
    if not polygon.is_empty:
        place = rasterio.Affine(*TARGET.transform)
        assert np.array_equal(found, features.geometry_mask([polygon], found.shape, place, invert=True))


def test_what_is_elsewhere_or_nothing_has_none():
    far = shapely.box(0, 0, 10, 10)
    assert not any(inside(polygon, TARGET).any() for polygon in (far, Polygon(), MultiPolygon()))
    assert inside(shapely.box(*(TARGET.left - 1, 0, 1e6, 9e6)), TARGET).all()


def test_places_that_are_none_are_left_out():
    ring = [(600_000, 6_700_000), (np.inf, np.inf), (601_000, 6_699_000), (600_000, 6_699_000), (600_000, 6_700_000)]
    found = inside(Polygon(ring), TARGET)
    # What is left of the outline is its western side, of 1 km.
    assert found[:100].all() and not found[100:].any()
