"""Pixel grids: the national one of SWEREF 99 TM, and the tile matrix sets that maps are cut in.

Pixel edges of the national grid lie on multiples of the pixel size from (0, 0) in EPSG:3006, and the corners of files
on multiples of `SNAP` metres, so that the blocks of all scenes coincide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import pyproj

NATIONAL = "EPSG:3006"
"""SWEREF 99 TM; its axes are northing, easting, and we always carry easting first (pyproj's `always_xy`)."""

METRES_PER_DEGREE = 111_319.49
"""Along the equator."""
BLOCK = 512
"""Width and height in pixels of a block of our files."""

SNAP = 20_480
"""Metres between the possible corners of files in the national grid: 4 blocks of 10 m pixels, 2 of 20 m."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A rectangle in a CRS that is named beside it: left and right are eastings (or longitudes)."""

    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """North-up square pixels in a CRS."""

    crs: str
    """Authority code, such as EPSG:3006."""
    left: float
    """Easting (or longitude) of the left edge of the first column."""
    top: float
    """Northing (or latitude) of the top edge of the first row."""
    resolution: float
    """Width and height of a pixel, in units of the CRS."""
    columns: int
    rows: int

    @property
    def bounds(self) -> Bounds:
        """The outer edges of the pixels, in the grid's CRS."""
        return Bounds(
            self.left, self.top - self.rows * self.resolution, self.left + self.columns * self.resolution, self.top
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), as NumPy and STAC's `proj:shape` say it."""
        return self.rows, self.columns

    @property
    def metres(self) -> float:
        """How wide a pixel is on the ground, about."""
        return self.resolution * unit(self.crs)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """The affine coefficients a b c d e f from (column, row) to the CRS, in rasterio's order.

        >>> Grid(crs=NATIONAL, left=20480, top=40960, resolution=10, columns=2, rows=2).transform
        (10, 0.0, 20480, 0.0, -10, 40960)
        """
        return (self.resolution, 0.0, self.left, 0.0, -self.resolution, self.top)

    def coarser(self, level: int) -> Grid:
        """This grid with pixels 2^level times as wide and high; rows and columns are rounded up."""
        factor = 2**level
        return Grid(
            crs=self.crs,
            left=self.left,
            top=self.top,
            resolution=self.resolution * factor,
            columns=-(-self.columns // factor),
            rows=-(-self.rows // factor),
        )


def levels(columns: int, rows: int) -> int:
    """How many times a raster is halved until it fits one block.

    >>> levels(10980, 10980), levels(512, 100), levels(513, 10)
    (5, 0, 1)
    """
    return max(0, math.ceil(math.log2(max(columns, rows) / BLOCK)))


def snapped(crs: str, resolution: float, bounds: Bounds) -> Grid:
    """The grid of a file that holds `bounds`: its corner on the nation's block grid, padded to 2^levels pixels.

    The corner is a multiple of as many whole blocks as reach `SNAP`. Where the resolution is no whole number of metres,
    or the CRS is geographic, it lies on a multiple of the pixel size instead.

    >>> grid = snapped(NATIONAL, 10, Bounds(300000, 6590220, 409800, 6700020))
    >>> grid.left, grid.top, grid.columns % 32, grid.rows % 32
    (286720, 6717440, 0, 0)
    """
    whole = float(resolution).is_integer() and is_metric(crs)
    # Whole blocks, so that pixel edges too lie on multiples: 20 480 m is none of 30 m.
    step: float = BLOCK * int(resolution) * math.ceil(SNAP / (BLOCK * int(resolution))) if whole else resolution
    size: float = int(resolution) if whole else resolution
    # A corner that is a multiple but for the last bit of a float must not move by a whole step.
    left, top = math.floor(bounds.left / step + 1e-9) * step, math.ceil(bounds.top / step - 1e-9) * step
    return padded(
        Grid(
            crs=crs,
            left=left,
            top=top,
            resolution=size,
            columns=max(1, math.ceil((bounds.right - left) / size - 1e-6)),
            rows=max(1, math.ceil((top - bounds.bottom) / size - 1e-6)),
        )
    )


def padded(grid: Grid) -> Grid:
    """The grid with columns and rows added at the right and the bottom, to a multiple of 2^levels.

    Readers derive an overview's pixel size from its count of pixels; without the padding it would be 20.0035 m.
    """
    unit = 2 ** levels(grid.columns, grid.rows)
    return Grid(
        crs=grid.crs,
        left=grid.left,
        top=grid.top,
        resolution=grid.resolution,
        columns=-(-grid.columns // unit) * unit,
        rows=-(-grid.rows // unit) * unit,
    )


def aligned(grid: Grid) -> bool:
    """Whether the pixel edges lie on multiples of the pixel size, so that copying needs no resampling."""
    return (
        all(abs(edge / grid.resolution - round(edge / grid.resolution)) < 1e-9 for edge in (grid.left, grid.top))
        and float(grid.resolution).is_integer()
    )


@cache
def is_metric(crs: str) -> bool:
    """Whether the CRS is projected, in metres."""
    found = pyproj.CRS.from_user_input(crs)
    return found.is_projected and all(axis.unit_conversion_factor == 1.0 for axis in found.axis_info)


@cache
def unit(crs: str) -> float:
    """Metres of a unit of a CRS: 1, or about those of a degree."""
    return 1.0 if is_metric(crs) else METRES_PER_DEGREE


@cache
def same_pixels(crs: str, other: str) -> bool:
    """Whether coordinates mean the same place in both, to less than a millimetre.

    EPSG:32633 and EPSG:3006 share all projection parameters and differ by 0.12 mm at most (WGS 84 against GRS 80);
    PROJ, as every tool, treats the datums' plate motion of 0.8 m as null.
    """
    return crs == other or {crs, other} == {"EPSG:32633", NATIONAL}


@cache
def transformer(source: str, target: str) -> pyproj.Transformer:
    """The transformation of points between two CRS; easting or longitude first on both sides, whatever the CRS says.

    pyproj sets it up anew in each thread. From the CRS that takes 6 to 10 ms under Python's lock; from the steps that
    PROJ has chosen, where it knows no others to choose from at each point, 0.2 ms.
    """
    chosen = _between(source, target)
    return pyproj.Transformer.from_pipeline(chosen.definition) if _is_one(chosen) else chosen


@cache
def _between(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def _is_one(chosen: pyproj.Transformer) -> bool:
    """Whether all points are transformed by the same steps; where not, PROJ tells none before it has seen a point."""
    return chosen.definition.startswith("proj=")


@cache
def _has_degrees(crs: str) -> bool:
    """Whether PROJ has to know for bounds that numbers are degrees; steps alone don't say it."""
    return bool(pyproj.CRS.from_user_input(crs).is_geographic)


def around(bounds: Bounds, source: str, target: str) -> Bounds:
    """The rectangle in another CRS around one in this; its left is larger than its right where it crosses 180 degrees.

    Infinite where PROJ can't reach it.
    """
    made = _between if _has_degrees(source) or _has_degrees(target) else transformer
    change = made(source, target)
    return Bounds(*change.transform_bounds(bounds.left, bounds.bottom, bounds.right, bounds.top, densify_pts=21))


@cache
def national_area() -> Bounds:
    """The area of use of EPSG:3006 in longitude and latitude, as pyproj gives it."""
    area = pyproj.CRS.from_user_input(NATIONAL).area_of_use
    if area is None:
        raise RuntimeError("PROJ's database knows no area of use of EPSG:3006")
    return Bounds(area.west, area.south, area.east, area.north)
