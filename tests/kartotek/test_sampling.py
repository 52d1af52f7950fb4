import math
import warnings

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kartotek import grids, sampling
from kartotek.grids import NATIONAL, Bounds, Grid
from kartotek.sampling import Lattice

# A granule's corner in each zone that Sweden touches, and one far outside its zone.
GRANULES = {
    32: (600_000, 6_600_000),
    33: (399_960, 6_700_020),
    34: (300_000, 7_500_000),
    35: (300_000, 7_400_040),
    31: (900_000, 6_600_000),
}


def grids_of(zone, resolution=10, side=12_000):
    """A grid of UTM, and a national one that covers it."""
    left, top = GRANULES[zone]
    count = side // resolution
    source = Grid(crs=f"EPSG:326{zone}", left=left, top=top, resolution=resolution, columns=count, rows=count)
    east = [source.bounds.left, source.bounds.right] * 2
    north = [source.bounds.top] * 2 + [source.bounds.bottom] * 2
    east, north = pyproj.Transformer.from_crs(source.crs, NATIONAL, always_xy=True).transform(east, north)
    # Of any size, so that the control points do not end where the grid does.
    return source, Grid(
        crs=NATIONAL,
        left=math.floor(min(east) / resolution) * resolution,
        top=math.ceil(max(north) / resolution) * resolution,
        resolution=resolution,
        columns=math.ceil((max(east) - min(east)) / resolution),
        rows=math.ceil((max(north) - min(north)) / resolution),
    )


def exact(target, source):
    """Source columns and rows of each pixel's centre in the target, all by PROJ."""
    east = target.left + (np.arange(target.columns) + 0.5) * target.resolution
    north = target.top - (np.arange(target.rows) + 0.5) * target.resolution
    x, y = pyproj.Transformer.from_crs(target.crs, source.crs, always_xy=True).transform(*np.meshgrid(east, north))
    return (x - source.left) / source.resolution, (source.top - y) / source.resolution


@pytest.mark.parametrize("zone", [32, 34, 35])
@pytest.mark.parametrize("resolution", [10, 20, 60])
def test_the_lattice_is_proj_to_a_thousandth_of_a_pixel(zone, resolution):
    source, target = grids_of(zone, resolution)
    columns, rows = Lattice.between(target, source).expand(0, target.rows)
    wanted_columns, wanted_rows = exact(target, source)
    off = max(np.abs(columns - wanted_columns).max(), np.abs(rows - wanted_rows).max())
    print(f"zone {zone} at {resolution} m: {off:.1e} pixels")
    assert off < (1e-4 if resolution == 10 else 1e-3)


@pytest.mark.parametrize("zone", [33, 34])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_strip_is_cut_from_the_whole(zone, data):
    source, target = grids_of(zone, side=3_000)
    lattice = Lattice.between(target, source)
    start = data.draw(st.integers(0, target.rows - 1))
    stop = data.draw(st.integers(start + 1, target.rows))
    columns, rows = lattice.expand(0, target.rows)
    some_columns, some_rows = lattice.expand(start, stop)
    np.testing.assert_allclose(some_columns, columns[start:stop], rtol=0, atol=1e-9)
    np.testing.assert_allclose(some_rows, rows[start:stop], rtol=0, atol=1e-9)
    left = data.draw(st.integers(0, (target.columns - 1) // 16)) * 16
    right = data.draw(st.integers(left + 1, target.columns))
    assert np.array_equal(lattice.expand(start, stop, left, right)[0], some_columns[:, left:right])
    assert np.array_equal(lattice.expand(start, stop, left, right)[1], some_rows[:, left:right])


def test_zone_33_falls_on_its_own_pixel_centres():
    """The whole of a zone 33 granule lies on the national grid: each centre falls on a centre, exactly."""
    source, _ = grids_of(33)
    target = grids.snapped(NATIONAL, 10, source.bounds)
    columns, rows = Lattice.between(target, source).expand(0, target.rows)
    shift = (source.left - target.left) / 10, (target.top - source.top) / 10
    np.testing.assert_allclose(columns[0], np.arange(target.columns) + 0.5 - shift[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(rows[:, 0], np.arange(target.rows) + 0.5 - shift[1], rtol=0, atol=1e-9)


def test_pixels_are_themselves_where_the_centres_meet():
    source = np.random.default_rng(1).integers(0, 65_536, (70, 50), dtype=np.uint16)
    columns, rows = np.meshgrid(np.arange(50) + 0.5, np.arange(70) + 0.5)
    assert np.array_equal(sampling.bilinear(source, columns, rows, nodata=0, fill=0), source)
    assert np.array_equal(sampling.nearest(source, columns, rows, fill=0), source)


def by_hand(source, column, row, nodata, fill):
    """A bilinear value as the docstring tells it: the holder decides, valid neighbours are weighed."""
    height, width = source.shape
    if not (0 <= column < width and 0 <= row < height):
        return fill
    missing = (lambda value: False) if nodata is None else (lambda value: value == nodata)
    if missing(source[int(row), int(column)]):
        return fill
    x, y = column - 0.5, row - 0.5
    total = weights = 0.0
    for r in (math.floor(y), math.floor(y) + 1):
        for c in (math.floor(x), math.floor(x) + 1):
            if 0 <= r < height and 0 <= c < width and not missing(source[r, c]):
                weight = (1 - abs(x - c)) * (1 - abs(y - r))
                total += weight * float(source[r, c])
                weights += weight
    return total / weights


@pytest.mark.parametrize("nodata", [None, 0, 255])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_bilinear_weighs_the_valid_ones_of_the_four_nearest_centres(dtype, nodata):
    rng = np.random.default_rng(7)
    low = -3 if dtype in ("int16", "float32") else 0
    source = rng.integers(low, 256, (20, 30)).astype(dtype)
    source[rng.random(source.shape) < 0.3] = 0 if nodata is None else nodata
    columns, rows = rng.uniform(-2, 32, (40, 60)), rng.uniform(-2, 22, (40, 60))
    found = sampling.bilinear(source, columns, rows, nodata=nodata, fill=99)
    assert found.dtype == source.dtype
    wanted = np.vectorize(lambda column, row: float(by_hand(source, column, row, nodata, 99)))(columns, rows)
    if dtype == "float32":
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)
    else:
        rounded = np.floor(wanted + 0.5)
        if nodata is not None:
            rounded[rounded == nodata] += 1  # by chance: what has no data is 99
        # Values a hair from a half may fall either way in 32 bits.
        near_half = np.abs(wanted + 0.5 - np.round(wanted + 0.5)) < 1e-3
        assert np.array_equal(found[~near_half], rounded[~near_half])
        assert np.abs(found.astype(float) - rounded).max() <= 1


def test_numbers_that_are_not_numbers_weigh_nothing():
    source = np.arange(12, dtype=np.float32).reshape(3, 4)
    source[1, 1] = np.nan
    columns, rows = np.array([[1.9, 1.5, 2.4]]), np.array([[0.9, 1.5, 1.3]])
    found = sampling.bilinear(source, columns, rows, nodata=np.nan, fill=np.nan)
    holes = np.where(np.isnan(source), 9999, source)
    wanted = [by_hand(holes, c, r, 9999, np.nan) for c, r in zip(columns[0], rows[0], strict=True)]
    np.testing.assert_allclose(found[0], wanted, rtol=1e-6)


def test_nearest_takes_the_pixel_that_holds_the_place():
    rng = np.random.default_rng(3)
    source = rng.integers(1, 12, (20, 30), dtype=np.uint8)
    columns, rows = rng.uniform(-2, 32, (50, 50)), rng.uniform(-2, 22, (50, 50))
    found = sampling.nearest(source, columns, rows, fill=0)
    inside = (columns >= 0) & (columns < 30) & (rows >= 0) & (rows < 20)
    assert np.array_equal(found[~inside], np.zeros(np.count_nonzero(~inside), np.uint8))
    assert np.array_equal(found[inside], source[rows[inside].astype(int), columns[inside].astype(int)])


def test_a_place_on_an_edge_belongs_to_the_pixel_behind_it_whatever_the_last_digit():
    source = np.arange(1, 13, dtype=np.uint8).reshape(3, 4)
    places = np.array([[0.0, 1.0, 2.0, 3.0, 4.0]])
    for hair in (0, 1e-10, -1e-10):
        for rows, first in ((0.5, 1), (1 + hair, 5)):
            rows = np.full_like(places, rows)
            wanted = [[first, first + 1, first + 2, first + 3, 0]]
            assert sampling.nearest(source, places + hair, rows, fill=0).tolist() == wanted
            assert sampling.inside(source.shape, places + hair, rows).tolist() == [[True] * 4 + [False]]
            found = sampling.bilinear(source, places + hair, rows, nodata=99, fill=0)
            assert (found > 0).tolist() == [[True] * 4 + [False]]


def test_no_new_value_comes_of_classes():
    source = np.random.default_rng(3).choice(np.array([0, 4, 9], np.uint8), (50, 50))
    target_columns, target_rows = np.meshgrid(np.linspace(0, 50, 333), np.linspace(0, 50, 222))
    assert set(np.unique(sampling.nearest(source, target_columns, target_rows, fill=0))) == {0, 4, 9}


def test_the_largest_number_neither_wraps_nor_overflows():
    source = np.full((4, 4), 65_535, np.uint16)
    columns, rows = np.meshgrid(np.linspace(0, 3.99, 50), np.linspace(0, 3.99, 50))
    assert (sampling.bilinear(source, columns, rows, nodata=0, fill=0) == 65_535).all()


def test_places_that_proj_cannot_reach_get_no_data_and_no_warning():
    source = np.full((4, 4), 7, np.uint16)
    columns = np.array([[np.inf, np.nan, 1.5, -np.inf, 1e300]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in (
            sampling.bilinear(source, columns, np.full_like(columns, 1.5), nodata=0, fill=0),
            sampling.nearest(source, columns, np.full_like(columns, 1.5), fill=0),
        ):
            assert found.tolist() == [[0, 0, 7, 0, 0]]


def test_a_grid_that_does_not_meet_the_source_gets_no_data():
    source, _ = grids_of(34, side=1_000)
    target = grids.snapped(NATIONAL, 10, Bounds(300_000, 6_200_000, 301_000, 6_201_000))
    columns, rows = Lattice.between(target, source).expand(0, target.rows)
    assert not sampling.bilinear(np.ones((100, 100), np.uint16), columns, rows, nodata=0, fill=0).any()


def test_a_grid_on_the_other_side_of_the_earth_gets_no_data_and_no_warning():
    source, _ = grids_of(33, side=1_000)
    target = Grid(crs="EPSG:4326", left=-166, top=-58, resolution=0.1, columns=20, rows=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns, rows = Lattice.between(target, source).expand(0, target.rows)
        assert not sampling.bilinear(np.ones((100, 100), np.uint16), columns, rows, nodata=0, fill=0).any()


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int32", -(2**31) + 1, 2**31 - 1),
        ("uint32", 1, 2**32 - 1),
        ("float64", -1e9, 1e9),
        ("int32", 2**31 - 9, 2**31 - 1),
        ("float32", 1e30, 1e38),
    ],
)
def test_wide_numbers_keep_their_digits(dtype, low, high):
    """32 bits of a float hold no more than seven digits."""
    rng = np.random.default_rng(7)
    source = rng.uniform(low, high, (20, 30)).astype(dtype)
    columns, rows = rng.uniform(0, 30, (40, 60)), rng.uniform(0, 20, (40, 60))
    found = sampling.bilinear(source, columns, rows, nodata=0, fill=0)
    wanted = np.vectorize(lambda column, row: float(by_hand(source, column, row, 0, 0)))(columns, rows)
    np.testing.assert_allclose(found.astype(float), wanted, rtol=1e-6 if dtype == "float32" else 1e-13, atol=0.6)
    centres = np.meshgrid(np.arange(30) + 0.5, np.arange(20) + 0.5)
    assert np.array_equal(sampling.bilinear(source, *centres, nodata=0, fill=0), source)


@pytest.mark.parametrize(
    ("dtype", "nodata", "values"),
    [("int16", 0, (-1, 1)), ("float32", 0.0, (-1, 1)), ("uint8", 100, (99, 101)), ("int32", -9999, (-10_000, -9998)),
     ("float64", 0.5, (0, 1))],
)  # fmt: skip
def test_data_never_becomes_nodata_by_weighing(dtype, nodata, values):
    """Between -1 and 1 lies 0, which may mean no data."""
    source = np.array([values, values], dtype)
    found = sampling.bilinear(source, np.array([[1.0]]), np.array([[1.0]]), nodata=nodata, fill=nodata)
    assert found[0, 0] != nodata and abs(found[0, 0] - nodata) <= 1
