import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartotek import grids
from kartotek.grids import BLOCK, NATIONAL, SNAP, Bounds, Grid

UTM33_GRANULES = [(300_000 + 99_960 * i, 6_100_020 + 99_960 * j) for i in range(5) for j in range(15)]

resolutions = st.sampled_from([3, 10, 15, 20, 30, 60, 100, 1000])
eastings = st.floats(200_000, 950_000)
northings = st.floats(6_000_000, 7_800_000)
sides = st.floats(1, 120_000)


@given(resolutions, eastings, northings, sides, sides)
def test_a_snapped_grid_holds_its_bounds_and_wastes_less_than_a_block_beyond_the_padding(res, left, bottom, dx, dy):
    wanted = Bounds(left, bottom, left + dx, bottom + dy)
    grid = grids.snapped(NATIONAL, res, wanted)
    found = grid.bounds
    # A pixel is not added for a rounding error of a float: a millionth of one.
    assert found.left <= wanted.left + 1e-3 and found.bottom <= wanted.bottom + 1e-3
    assert found.right >= wanted.right - 1e-3 and found.top >= wanted.top - 1e-3
    step, unit = SNAP + BLOCK * res, 2 ** grids.levels(grid.columns, grid.rows)
    assert wanted.left - found.left < step and found.top - wanted.top < step
    assert found.right - wanted.right < unit * res + res and wanted.bottom - found.bottom < unit * res + res


@given(resolutions, eastings, northings, sides, sides)
def test_the_corner_of_a_file_lies_on_the_block_grid_of_the_nation(res, left, bottom, dx, dy):
    grid = grids.snapped(NATIONAL, res, Bounds(left, bottom, left + dx, bottom + dy))
    assert grid.left % (BLOCK * res) == 0 and grid.top % (BLOCK * res) == 0
    if res in (10, 20, 60, 100, 1000):
        assert grid.left % max(SNAP, BLOCK * res) == 0 and grid.top % max(SNAP, BLOCK * res) == 0
    assert grids.aligned(grid)


@given(resolutions, eastings, northings, sides, sides)
def test_every_overview_of_a_file_has_whole_pixels(res, left, bottom, dx, dy):
    grid = grids.snapped(NATIONAL, res, Bounds(left, bottom, left + dx, bottom + dy))
    depth = grids.levels(grid.columns, grid.rows)
    assert grid.columns % 2**depth == 0 and grid.rows % 2**depth == 0
    assert max(grid.columns, grid.rows) <= BLOCK * 2**depth
    for level in range(depth + 1):
        assert grid.coarser(level).bounds == grid.bounds


@given(st.integers(1, 40_000), st.integers(1, 40_000))
def test_levels_are_the_fewest_halvings_that_end_in_one_block(columns, rows):
    depth, longest = 0, max(columns, rows)
    while longest / 2**depth > BLOCK:
        depth += 1
    assert grids.levels(columns, rows) == depth


@pytest.mark.parametrize("resolution", [10, 20, 60])
def test_the_blocks_of_all_granules_of_a_zone_coincide(resolution):
    side = 109_800
    corners = set()
    for left, top in UTM33_GRANULES:
        grid = grids.snapped(NATIONAL, resolution, Bounds(left, top - side, left + side, top))
        corners.add((grid.left % (BLOCK * resolution), grid.top % (BLOCK * resolution)))
        # The agency's pixels are ours: their corner is a whole number of pixels from ours.
        assert (left - grid.left) % resolution == 0 and (grid.top - top) % resolution == 0
    assert corners == {(0, 0)}


def test_a_corner_on_the_grid_but_for_the_last_bit_of_a_float_stays_there():
    for nudge in (-1e-9, 0, 1e-9):
        grid = grids.snapped(NATIONAL, 10, Bounds(2 * SNAP + nudge, 6_000_000, 60_000, 300 * SNAP + nudge))
        assert (grid.left, grid.top) == (2 * SNAP, 300 * SNAP)


def test_degrees_are_snapped_to_the_pixel_size():
    size = 10 / 111_319.49
    grid = grids.snapped("EPSG:4326", size, Bounds(17.5, 59.5, 18.5, 60.5))
    assert (grid.left / size) == pytest.approx(round(grid.left / size), abs=1e-6)
    assert grid.bounds.left <= 17.5 and grid.bounds.top >= 60.5
    assert grid.bounds.right >= 18.5 and grid.bounds.bottom <= 59.5
    assert 17.5 - grid.bounds.left < size and grid.bounds.top - 60.5 < size


def test_a_grid_of_no_metres_is_not_aligned():
    assert grids.aligned(Grid(crs=NATIONAL, left=20, top=40, resolution=20, columns=1, rows=1))
    assert not grids.aligned(Grid(crs=NATIONAL, left=10, top=40, resolution=20, columns=1, rows=1))
    assert not grids.aligned(Grid(crs=NATIONAL, left=0, top=0, resolution=250.1, columns=1, rows=1))


def test_zone_33_is_the_national_grid_to_less_than_a_millimetre():
    """All over the area of use, PROJ moves no coordinate by as much as a millimetre; other zones are elsewhere."""
    area = grids.national_area()
    longitude, latitude = np.meshgrid(np.linspace(area.left, area.right, 200), np.linspace(area.bottom, area.top, 200))
    east, north = pyproj.Transformer.from_crs(4326, 32633, always_xy=True).transform(longitude, latitude)
    moved = pyproj.Transformer.from_crs(32633, 3006, always_xy=True).transform(east, north)
    farthest = np.hypot(moved[0] - east, moved[1] - north).max()
    assert 0 < farthest < 1e-3
    assert grids.same_pixels("EPSG:32633", NATIONAL) and grids.same_pixels(NATIONAL, "EPSG:32633")
    assert not any(grids.same_pixels(f"EPSG:326{zone}", NATIONAL) for zone in (32, 34, 35))


def test_transformers_take_easting_before_northing_whatever_the_crs_says():
    east, north = grids.transformer("EPSG:4326", NATIONAL).transform(15.0, 62.0)
    assert east == pytest.approx(500_000, abs=1e-3)  # the central meridian
    assert 6_800_000 < north < 6_900_000


@pytest.mark.parametrize(
    ("source", "target"),
    [("EPSG:3857", NATIONAL), ("EPSG:4326", NATIONAL), (NATIONAL, "EPSG:4326"), ("EPSG:32634", NATIONAL),
     (NATIONAL, "EPSG:3857"), ("OGC:CRS84", NATIONAL), ("EPSG:3021", NATIONAL), ("EPSG:3035", NATIONAL),
     ("EPSG:4230", "EPSG:4326"), ("ESRI:102013", NATIONAL), (NATIONAL, NATIONAL)],
)  # fmt: skip
def test_points_and_bounds_are_transformed_as_between_the_crs(source, target):
    """To the last bit, also where PROJ can't reach; in a thread of its own too."""
    wanted, chance = pyproj.Transformer.from_crs(source, target, always_xy=True), np.random.default_rng(1)
    far = (400, 120) if pyproj.CRS(source).is_geographic else (3e7, 3e7)
    points = [chance.uniform(-edge, edge, 20_000) for edge in far]
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(grids.transformer(source, target).transform, *points).result()
    assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(found, wanted.transform(*points), strict=True))
    area = pyproj.CRS(source).area_of_use
    bounds = pyproj.Transformer.from_crs(4326, source, always_xy=True).transform_bounds(*area.bounds)
    fresh = pyproj.Transformer.from_crs(source, target, always_xy=True)  # one of several ways is kept once it was taken
    around = grids.around(grids.Bounds(*bounds), source, target)
    assert (around.left, around.bottom, around.right, around.top) == fresh.transform_bounds(*bounds, densify_pts=21)


def test_the_national_area_holds_sweden_and_not_paris():
    area = grids.national_area()
    for longitude, latitude in ((11.1, 58.9), (24.15, 65.8), (12.9, 55.4), (20.5, 69.0), (18.1, 59.3)):
        assert area.left < longitude < area.right and area.bottom < latitude < area.top
    assert not (area.left < 2.35 < area.right)


def test_bounds_and_transform_say_the_same():
    grid = Grid(crs=NATIONAL, left=20_480, top=40_960, resolution=20, columns=7, rows=3)
    a, _, c, _, e, f = grid.transform
    assert (c + 7 * a, f + 3 * e) == (grid.bounds.right, grid.bounds.bottom)
    assert grid.shape == (3, 7)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 6))
def test_a_coarser_grid_covers_the_finer_one(columns, rows, level):
    grid = Grid(crs=NATIONAL, left=0, top=0, resolution=10, columns=columns, rows=rows)
    coarser = grid.coarser(level)
    assert coarser.columns == math.ceil(columns / 2**level) and coarser.rows == math.ceil(rows / 2**level)
    assert coarser.bounds.right >= grid.bounds.right and coarser.bounds.bottom <= grid.bounds.bottom
