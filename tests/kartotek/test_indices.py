"""The registry of indices."""

from pathlib import Path

import numpy as np

from kartotek import squares
from kartotek.indices import COUNTED, INDICES
from kartotek.product import COMMON_NAMES


def test_squares_count_the_normalised_differences_that_their_recipe_names():
    assert squares.RECIPE == "squares-2"
    assert {name: (index.first, index.second) for name, index in COUNTED.items()} == {
        "ndvi": ("nir", "red"),
        "ndwi": ("green", "nir"),
        "ndmi": ("nir", "swir16"),
        "nbr": ("nir", "swir22"),
    }
    assert all((index.low, index.high) == (-1, 1) for index in COUNTED.values())


def test_the_counted_ones_stand_among_all():
    assert COUNTED.items() <= INDICES.items()
    assert all(name == index.name and index.low < index.high for name, index in INDICES.items())
    assert not INDICES.keys() & COMMON_NAMES


def test_a_normalised_difference_is_within_its_range_whatever_the_reflectance():
    values = np.array([-1.0, -0.001, 0.0, 0.001, 0.5, 1.7, np.nan])
    first, second = (pixels.ravel() for pixels in np.meshgrid(values, values))
    found = COUNTED["ndvi"].compute(first, second)
    assert np.array_equal(np.isnan(found), ~((first > 0) | (second > 0)) | np.isnan(first) | np.isnan(second))
    assert np.nanmin(found) == -1 and np.nanmax(found) == 1


def test_the_reference_tells_every_index():
    page = (Path(__file__).resolve().parents[2] / "docs/reference/formulas.md").read_text()
    for index in INDICES.values():
        limits = f"{index.low:g} to {index.high:g}"
        row = f"| `{index.name}` | {index.title} | `{index.formula}` | {limits} | `{index.colors}` | {index.source} |"
        assert row in page
