"""Which blocks of a grid an area touches, against Shapely on each of them; and what is refused."""

import time

import numpy as np
import pytest
import shapely

from kartotek import footprints
from kartotek.errors import BadRequest
from kartotek.grids import BLOCK, NATIONAL, Grid
from pixels.areas import Outline, check_length, part

GRID = Grid(crs=NATIONAL, left=300_000, top=6_700_000, resolution=10, columns=5_000, rows=7_777)


def somewhere(chance, size):
    """A polygon of a few corners in or beside the grid."""
    x, y = chance.uniform(280_000, 360_000), chance.uniform(6_610_000, 6_710_000)
    corners = np.stack([x + chance.uniform(-size, size, 5), y + chance.uniform(-size, size, 5)], axis=1)
    return footprints.from_projected(shapely.convex_hull(shapely.MultiPoint(corners)), NATIONAL, spacing=500)


@pytest.mark.parametrize("seed", range(20))
def test_the_blocks_that_an_area_touches_are_all_found_once(seed):
    chance = np.random.default_rng(seed)
    outline = Outline(somewhere(chance, chance.choice([50, 3_000, 40_000])), [GRID])
    found = list(outline.touched(GRID))
    wanted = set()
    for row in range(0, GRID.rows, BLOCK):
        for column in range(0, GRID.columns, BLOCK):
            place = slice(row, min(row + BLOCK, GRID.rows)), slice(column, min(column + BLOCK, GRID.columns))
            if outline.projected(NATIONAL).intersects(footprints.box(part(GRID, place).bounds)):
                wanted.add((row // BLOCK, column // BLOCK))
    assert {(rows.start // BLOCK, columns.start // BLOCK) for rows, columns in found} == wanted
    assert len(found) == len(wanted)


def test_two_corners_of_a_huge_grid_are_found_without_looking_at_what_lies_between():
    huge = Grid(crs=NATIONAL, left=-1_000_000, top=8_000_000, resolution=1, columns=3_000_000, rows=3_000_000)
    far = [footprints.from_projected(shapely.box(x, y, x + 9, y + 9), NATIONAL) for x, y in ((3e5, 62e5), (9e5, 75e5))]
    outline, began = Outline(shapely.MultiPolygon(far), [huge]), time.perf_counter()
    assert 2 <= len(list(outline.touched(huge))) <= 8
    assert time.perf_counter() - began < 1


def test_outlines_that_are_too_long_together_are_refused():
    west, south, east, north = footprints.from_projected(footprints.box(GRID.bounds), NATIONAL).bounds
    teeth = [(west + n * (east - west) / 1_000, south if n % 2 else north) for n in range(1_000)]
    one = Outline(shapely.Polygon([*teeth, (east, south - 0.01), (west, south - 0.01)]), [GRID])
    check_length([one])
    with pytest.raises(BadRequest, match="1000 will do, together"):
        check_length([one] * 2)
