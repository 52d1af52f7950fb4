import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kartotek import squares
from kartotek.grids import NATIONAL, Bounds, Grid, snapped
from kartotek.indices import COUNTED
from kartotek.squares import BINS, SIZE, Physical

CLEAR = (4, 5, 6, 11)
NAMES = ("green", "red", "nir", "swir16", "swir22")


def scene(grid, seed, offset=-0.1, gaps=0.2):
    """A mask and bands full of noise, with pixels that have no data, reflectances below zero and sums of nought."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 12, grid.shape).astype(np.uint8)
    bands = {}
    for name in NAMES:
        numbers = rng.integers(1, 12_000, grid.shape).astype(np.uint16)
        numbers[rng.random(grid.shape) < gaps / 10] = 0
        numbers[rng.random(grid.shape) < 0.01] = round(-offset * 10_000)  # a reflectance of exactly zero
        bands[name] = Physical(numbers=numbers, nodata=0, scale=1e-4, offset=offset)
    return mask, mask != 0, bands


def by_brute_force(grid, valid, mask, bands):
    """Each square by itself: its pixels are those whose centre lies in it."""
    east = grid.left + (np.arange(grid.columns) + 0.5) * grid.resolution
    north = grid.top - (np.arange(grid.rows) + 0.5) * grid.resolution
    found = {}
    for south in range(math.floor(north.min() / SIZE) * SIZE, math.ceil(north.max() / SIZE) * SIZE, SIZE):
        for west in range(math.floor(east.min() / SIZE) * SIZE, math.ceil(east.max() / SIZE) * SIZE, SIZE):
            here = np.outer((north >= south) & (north < south + SIZE), (east >= west) & (east < west + SIZE)) & valid
            if not here.any():
                continue
            clear = here if mask is None else here & np.isin(mask, CLEAR)
            codes = {} if mask is None else dict(zip(*np.unique(mask[here], return_counts=True), strict=True))
            spreads = {}
            for name, index in COUNTED.items():
                if index.first not in bands or index.second not in bands:
                    continue
                first, second = (
                    np.where(bands[band].numbers == 0, np.nan, bands[band].numbers * 1e-4 + bands[band].offset)[clear]
                    for band in (index.first, index.second)
                )
                both = np.isfinite(first) & np.isfinite(second) & ((first > 0) | (second > 0))
                first, second = first[both].clip(min=0), second[both].clip(min=0)
                values = (first - second) / (first + second)
                edges = np.linspace(index.low, index.high, BINS + 1)
                histogram = np.histogram(values, edges)[0]
                on_edge = sum(np.count_nonzero(np.abs(values - edge) < 1e-9) for edge in edges[1:-1])
                mean, deviation = (values.mean(), values.std()) if len(values) else (0.0, 0.0)
                spreads[name] = len(values), mean, deviation, histogram, on_edge
            found[west, south] = np.count_nonzero(here), np.count_nonzero(clear), codes, spreads
    return found


def check(grid, valid, mask, bands):
    made = list(squares.count(grid, valid=valid, mask=mask, clear=CLEAR, bands=bands, indices=list(COUNTED.values())))
    wanted = by_brute_force(grid, valid, mask, bands)
    assert len(made) == len(wanted)
    assert {(square.east, square.north) for square in made} == set(wanted)
    for square in made:
        count, clear, codes, spreads = wanted[square.east, square.north]
        assert square.valid == count
        assert square.clear == (None if mask is None else clear)
        assert square.classes == codes
        assert set(square.indices) == set(spreads)
        for name, (number, mean, deviation, histogram, on_edge) in spreads.items():
            spread = square.indices[name]
            assert spread.count == number == sum(spread.histogram)
            assert spread.mean == pytest.approx(mean, rel=1e-9, abs=1e-9)
            assert spread.deviation == pytest.approx(deviation, rel=1e-9, abs=1e-9)
            # A value on the edge of two bins, but for the last bit of a float, may count in either.
            assert np.abs(np.array(spread.histogram) - histogram).sum() <= 2 * on_edge
    return made


@pytest.mark.parametrize("seed", range(3))
def test_squares_are_what_numpy_counts_in_each(seed):
    grid = snapped(NATIONAL, 20, Bounds(662_340, 6_640_000, 672_000, 6_649_560))
    mask, valid, bands = scene(grid, seed)
    made = check(grid, valid, mask, bands)
    assert len(made) > 9 and sum(square.valid for square in made) == np.count_nonzero(valid)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(-7_000, 7_000), st.integers(-7_000, 7_000), st.sampled_from([20, 60, 100, 250]), st.integers(0, 10**6)
)
def test_coarser_pixels_count_in_the_square_that_holds_their_centre(left, top, resolution, seed):
    """60 and 250 m pixels straddle the sides of squares, and pixels of any grid count once."""
    count = 12_000 // resolution
    grid = Grid(crs=NATIONAL, left=left, top=top, resolution=resolution, columns=count, rows=count - 3)
    mask, valid, bands = scene(grid, seed)
    made = check(grid, valid, mask, bands)
    assert sum(square.valid for square in made) == np.count_nonzero(valid)


def test_a_square_has_250_by_250_pixels_of_20_m_and_begins_at_a_multiple_of_5_km():
    grid = Grid(crs=NATIONAL, left=660_000, top=6_650_000, resolution=20, columns=1000, rows=750)
    mask = np.full(grid.shape, 4, np.uint8)
    made = check(grid, mask != 0, mask, {})
    assert len(made) == 12
    assert all((square.valid, square.clear, square.classes) == (62_500, 62_500, {4: 62_500}) for square in made)
    assert all(square.east % SIZE == 0 and square.north % SIZE == 0 for square in made)
    assert [(square.east, square.north) for square in made[:5]] == [
        (660_000, 6_645_000), (665_000, 6_645_000), (670_000, 6_645_000), (675_000, 6_645_000), (660_000, 6_640_000),
    ]  # fmt: skip


def test_a_collection_without_mask_counts_all_valid_pixels():
    grid = Grid(crs=NATIONAL, left=661_000, top=6_649_000, resolution=20, columns=300, rows=400)
    _, valid, bands = scene(grid, 5)
    made = check(grid, valid, None, bands)
    assert all(square.clear is None and square.classes == {} for square in made)


def test_an_index_whose_bands_are_missing_is_left_out():
    grid = Grid(crs=NATIONAL, left=0, top=5_000, resolution=20, columns=250, rows=250)
    mask, valid, bands = scene(grid, 5)
    [square] = check(grid, valid, mask, {name: bands[name] for name in ("red", "nir")})
    assert set(square.indices) == {"ndvi"}


def test_a_scene_without_data_has_no_squares():
    grid = Grid(crs=NATIONAL, left=0, top=5_000, resolution=20, columns=250, rows=250)
    mask, _, bands = scene(grid, 5)
    assert check(grid, np.zeros(grid.shape, bool), mask, bands) == []


def test_a_square_under_cloud_has_no_index():
    grid = Grid(crs=NATIONAL, left=0, top=5_000, resolution=20, columns=250, rows=250)
    _, _, bands = scene(grid, 5)
    mask = np.full(grid.shape, 9, np.uint8)
    [square] = check(grid, mask != 0, mask, bands)
    assert square.clear == 0 and square.indices["ndvi"].count == 0
    row = squares.to_table([square], item="x", indices=list(COUNTED.values())).to_pylist()[0]
    assert row["ndvi"] == {"count": 0, "mean": None, "deviation": None, "histogram": [0] * BINS}


def test_reflectances_below_zero_count_as_zero_in_an_index():
    grid = Grid(crs=NATIONAL, left=0, top=5_000, resolution=2_500, columns=2, rows=2)
    nir = Physical(numbers=np.array([[1500, 900], [900, 2000]], np.uint16), nodata=0, scale=1e-4, offset=-0.1)
    red = Physical(numbers=np.array([[900, 800], [1500, 1500]], np.uint16), nodata=0, scale=1e-4, offset=-0.1)
    mask = np.full((2, 2), 4, np.uint8)
    [square] = squares.count(
        grid, valid=mask != 0, mask=mask, clear=CLEAR, bands={"nir": nir, "red": red}, indices=[COUNTED["ndvi"]]
    )
    spread = square.indices["ndvi"]
    # 0.05 and 0 give 1, both below zero give nothing, 0 and 0.05 give -1, 0.1 and 0.05 give a third.
    assert (spread.count, spread.mean) == (3, pytest.approx((1 - 1 + 1 / 3) / 3))
    assert (spread.histogram[0], spread.histogram[-1]) == (1, 1)


def test_one_dark_pixel_does_not_ruin_the_mean_of_a_square():
    """DN 988 and 1012 are reflectances of -0.0012 and 0.0012, whose sum is all but zero."""
    grid = Grid(crs=NATIONAL, left=0, top=5_000, resolution=20, columns=250, rows=250)
    nir, red = np.full(grid.shape, 1200, np.uint16), np.full(grid.shape, 1300, np.uint16)
    nir[7, 7], red[7, 7] = 988, 1012
    nir[8, 8], red[8, 8] = 990, 1011
    bands = {
        name: Physical(numbers=numbers, nodata=0, scale=1e-4, offset=-0.1)
        for name, numbers in {"nir": nir, "red": red}.items()
    }
    mask = np.full(grid.shape, 6, np.uint8)
    [square] = check(grid, mask != 0, mask, bands)
    assert square.indices["ndvi"].mean == pytest.approx(-0.2, abs=1e-4)
    assert square.indices["ndvi"].deviation < 0.01


def test_the_table_holds_the_squares():
    grid = Grid(crs=NATIONAL, left=661_000, top=6_649_000, resolution=20, columns=300, rows=400)
    mask, valid, bands = scene(grid, 9)
    made = check(grid, valid, mask, bands)
    table = squares.to_table(made, item="S2B", indices=list(COUNTED.values()))
    assert table.schema.metadata == {
        b"kartotek:item": b"S2B", b"kartotek:recipe": squares.RECIPE.encode(), b"kartotek:crs": b"EPSG:3006",
    }  # fmt: skip
    for square, row in zip(made, table.to_pylist(), strict=True):
        assert (row["east"], row["north"], row["valid"], row["clear"]) == (
            square.east, square.north, square.valid, square.clear,
        )  # fmt: skip
        assert dict(row["classes"]) == dict(square.classes)
        for name, spread in square.indices.items():
            assert row[name]["count"] == spread.count and row[name]["histogram"] == list(spread.histogram)
            assert (row[name]["mean"], row[name]["deviation"]) == (spread.mean, spread.deviation)
