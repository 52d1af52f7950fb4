"""Spectral indices: name → formula in common names, range and colours.

Formulas are of the form (a - b) / (a + b) over physical values (reflectance), by STAC's common names of bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A normalised difference of two bands."""

    name: str
    title: str
    first: str
    """Common name of a in (a - b) / (a + b)."""
    second: str
    """Common name of b."""
    source: str
    """Who defined it."""
    low: float = -1.0
    high: float = 1.0
    colors: str = "rdylgn"

    @property
    def formula(self) -> str:
        """The formula, for people and for STAC.

        >>> INDICES["ndvi"].formula
        '(nir - red) / (nir + red)'
        """
        return f"({self.first} - {self.second}) / ({self.first} + {self.second})"

    def compute(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        """The index of two arrays of physical values, within its range; NaN where neither is above zero.

        Reflectances below zero, which atmospheric correction leaves over water and shadow, count as zero, as Sentinel
        Hub has it: a sum near zero would else give values of any size, and one such pixel ruin a mean.

        >>> INDICES["ndvi"].compute(np.array([0.3, -0.0012, -0.01]), np.array([0.1, 0.0012, -0.02])).round(3).tolist()
        [0.5, -1.0, nan]
        """
        first, second = np.maximum(first, 0), np.maximum(second, 0)
        total = first + second
        with np.errstate(divide="ignore", invalid="ignore"):
            value: NDArray[np.float64] = np.where(total > 0, (first - second) / total, np.nan)
        return value


INDICES: Mapping[str, Index] = MappingProxyType(
    {
        index.name: index
        for index in (
            Index(name="ndvi", title="Vegetation", first="nir", second="red", source="Rouse et al. 1974"),
            Index(name="ndwi", title="Open water", first="green", second="nir", source="McFeeters 1996"),
            Index(name="ndmi", title="Moisture of vegetation", first="nir", second="swir16", source="Gao 1996"),
            Index(name="nbr", title="Burnt area", first="nir", second="swir22", source="Key and Benson 2006"),
        )
    }
)
