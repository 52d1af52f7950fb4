"""Spectral indices: name → formula in common names, range and colours.

Formulas are arithmetic of physical values (reflectance) by STAC's common names of bands, in the words of
`pixels.formula`. In every index a reflectance below zero counts as zero: atmospheric correction leaves such over water
and shadow, and a sum near zero would give values of any size, so that one such pixel ruins a mean. Sentinel Hub has it
so, too. Where a formula has no finite value, as that of a division by zero, there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A spectral index."""

    name: str
    title: str
    formula: str
    """In common names of bands, for people, for STAC and for `pixels.formula`."""
    source: str
    """Who defined it."""
    low: float = -1.0
    """The value that has the first of the colours."""
    high: float = 1.0
    """The value that has the last of the colours."""
    colors: str = "rdylgn"
    """A colour map of `pixels.colors`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Index):
    """A normalised difference of two bands, which is counted in squares; within -1 and 1.

    >>> INDICES["ndvi"].formula
    '(nir - red) / (nir + red)'
    """

    first: str
    """Common name of a in (a - b) / (a + b)."""
    second: str
    """Common name of b."""
    formula: str = field(init=False)

    def __post_init__(self) -> None:
        formula = f"({self.first} - {self.second}) / ({self.first} + {self.second})"
        object.__setattr__(self, "formula", formula)

    def compute(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """The index of two arrays of physical values, within its range; NaN where neither is above zero.

        >>> COUNTED["ndvi"].compute(np.array([0.3, -0.0012, -0.01]), np.array([0.1, 0.0012, -0.02])).round(3).tolist()
        [0.5, -1.0, nan]
        """
        first, second = np.maximum(first, 0), np.maximum(second, 0)
        total = first + second
        with np.errstate(divide="ignore", invalid="ignore"):
            value: NDArray[np.float64] = np.where(total > 0, (first - second) / total, np.nan)
        return value


COUNTED: Mapping[str, Difference] = MappingProxyType(
    {
        name: Difference(name=name, title=title, first=first, second=second, source=source, colors=colors)
        for name, title, first, second, source, colors in (
            ("ndvi", "Vegetation", "nir", "red", "Rouse et al. 1974", "rdylgn"),
            ("ndwi", "Open water", "green", "nir", "McFeeters 1996", "rdbu"),
            ("ndmi", "Moisture of vegetation", "nir", "swir16", "Gao 1996", "rdylbu"),
            ("nbr", "Burnt area", "nir", "swir22", "Key and Benson 2006", "rdylgn"),
        )
    }
)
"""Those of which squares hold the numbers; with another one, `squares.RECIPE` changes."""

_FORMULAS = (
    # Vegetation
    ("evi", "Dense vegetation", "2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1)", "Huete et al. 2002",
     -1, 1, "rdylgn"),
    ("evi2", "Dense vegetation, without blue", "2.5 * (nir - red) / (nir + 2.4 * red + 1)", "Jiang et al. 2008",
     -1, 1, "rdylgn"),
    ("savi", "Vegetation on bare soil", "1.5 * (nir - red) / (nir + red + 0.5)", "Huete 1988", -1, 1, "rdylgn"),
    ("msavi", "Vegetation on bare soil, soil's share estimated",
     "(2 * nir + 1 - sqrt((2 * nir + 1) ** 2 - 8 * (nir - red))) / 2", "Qi et al. 1994", -1, 1, "rdylgn"),
    ("gndvi", "Vegetation, by green", "(nir - green) / (nir + green)", "Gitelson et al. 1996", -1, 1, "rdylgn"),
    ("ndre", "Vegetation, by red edge", "(nir - rededge071) / (nir + rededge071)", "Barnes et al. 2000",
     -1, 1, "rdylgn"),
    ("cire", "Chlorophyll of leaves", "rededge078 / rededge071 - 1", "Gitelson et al. 2003", 0, 8, "ylgn"),
    ("normr", "Share of red", "red / (nir + green + red)", "Sripada et al. 2006", 0, 1, "reds"),
    ("normg", "Share of green", "green / (nir + green + red)", "Sripada et al. 2006", 0, 1, "greens"),
    ("normnir", "Share of near infrared", "nir / (nir + green + red)", "Sripada et al. 2006", 0, 1, "ylgn"),
    # Forest: drought and bark beetles
    ("msi", "Water stress of vegetation", "swir16 / nir", "Hunt and Rock 1989", 0, 2, "rdylbu_r"),
    ("crswir", "Dying conifers", "swir16 / (nir08 + (1610.4 - 864) * (swir22 - nir08) / (2185.7 - 864))",
     "Dutrieux et al. 2021", 0, 1.5, "rdylgn_r"),
    # Soil
    ("bsi", "Bare soil", "(swir16 + red - nir - blue) / (swir16 + red + nir + blue)", "Rikimaru et al. 2002",
     -1, 1, "brbg_r"),
    # Water and snow
    ("mndwi", "Open water, also in towns", "(green - swir16) / (green + swir16)", "Xu 2006", -1, 1, "rdbu"),
    ("ndti", "Turbidity of water", "(red - green) / (red + green)", "Lacaux et al. 2007", -1, 1, "turbid"),
    ("ndci", "Chlorophyll of water", "(rededge071 - red) / (rededge071 + red)", "Mishra and Mishra 2012",
     -1, 1, "algae"),
    ("ndsi", "Snow", "(green - swir16) / (green + swir16)", "Hall et al. 1995", -1, 1, "ice"),
)  # fmt: skip

INDICES: Mapping[str, Index] = MappingProxyType(
    {
        **COUNTED,
        **{
            name: Index(name=name, title=title, formula=formula, source=source, low=low, high=high, colors=colors)
            for name, title, formula, source, low, high, colors in _FORMULAS
        },
    }
)
