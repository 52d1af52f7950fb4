"""The country that the samples show: one function of a place in EPSG:3006 and a day, the same from every UTM zone.

Nothing here is random and nothing depends on the window that is asked for: the noise is a hash of whole cell numbers,
so that two products see the same lake at the same place whatever their zone, their size and the order of their pixels.
"""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Line: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
"""A straight line from one point to another, each easting and northing in EPSG:3006."""

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""What the instrument measures, in the order of the agency's band ids 0 to 12."""

COVERS = ("water", "conifer", "leaf", "soil", "built", "snow", "bright")
WATER, CONIFER, LEAF, SOIL, BUILT, SNOW, BRIGHT = range(len(COVERS))

SPECTRA = np.array(
    [
        #  B01   B02   B03   B04   B05   B06   B07   B08   B8A   B09   B10   B11   B12
        [0.040, 0.045, 0.040, 0.022, 0.018, 0.012, 0.010, 0.009, 0.008, 0.007, 0.001, 0.005, 0.004],
        [0.023, 0.020, 0.032, 0.022, 0.050, 0.130, 0.165, 0.180, 0.190, 0.180, 0.002, 0.085, 0.040],
        [0.025, 0.030, 0.070, 0.030, 0.110, 0.330, 0.420, 0.440, 0.460, 0.440, 0.002, 0.220, 0.110],
        [0.080, 0.100, 0.130, 0.170, 0.190, 0.205, 0.220, 0.235, 0.250, 0.250, 0.003, 0.320, 0.280],
        [0.110, 0.130, 0.145, 0.160, 0.170, 0.180, 0.190, 0.205, 0.215, 0.215, 0.003, 0.240, 0.220],
        [0.900, 0.920, 0.900, 0.880, 0.870, 0.860, 0.850, 0.840, 0.830, 0.700, 0.010, 0.120, 0.100],
        [0.800, 0.800, 0.800, 0.800, 0.800, 0.800, 0.800, 0.800, 0.800, 0.800, 0.010, 0.800, 0.800],
    ],
    dtype=np.float32,
)
"""Surface reflectance of each cover (row) in each band (column)."""

CLOUD = (0.550, 0.560, 0.560, 0.570, 0.575, 0.585, 0.590, 0.600, 0.605, 0.550, 0.050, 0.450, 0.380)
PATH = (0.100, 0.075, 0.045, 0.025, 0.020, 0.015, 0.012, 0.010, 0.009, 0.005, 0.001, 0.003, 0.002)
TRANSMITTANCE = (0.80, 0.85, 0.90, 0.93, 0.94, 0.95, 0.95, 0.95, 0.95, 0.60, 0.02, 0.95, 0.95)
OVERCORRECTION = (1.0, 0.9, 0.7, 0.5, 0.4, 0.3, 0.3, 0.3, 0.3, 0.2, 0.0, 0.1, 0.1)
"""How far a haze that is overrated takes each band below the truth, as a share of what it does to B01."""

CROPS = ((160, 45), (190, 38), (185, 95), (150, 55), (175, 5))
"""Day of the year when each crop is greenest, and how long it stays so; the last is fallow nearly all year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What lies at each pixel of a window, seen on one day."""

    shares: NDArray[np.float32]
    """Of each of `COVERS`, how much of the pixel it fills, brighter and darker with its texture."""
    cloud: NDArray[np.float32]
    """How opaque the cloud over the pixel is, 0 to 1."""
    shade: NDArray[np.float32]
    """How deep in a cloud's shadow the pixel lies, 0 to 1."""
    moisture: NDArray[np.float32]
    """What haze and water vapour follow, 0 to 1 over many kilometres."""

    def coarser(self, times: int) -> "View":
        """The same window in pixels that many times as wide, each the mean of those it covers."""
        return View(
            shares=_mean(self.shares, times),
            cloud=_mean(self.cloud, times),
            shade=_mean(self.shade, times),
            moisture=_mean(self.moisture, times),
        )

    def reflectance(self, band: str, *, top: bool = False, overcorrected: float = 0.0) -> NDArray[np.float32]:
        """Reflectance in a band: of the surface, or at the top of the atmosphere."""
        number = BANDS.index(band)
        ground: NDArray[np.float32] = self.shares[0] * SPECTRA[0, number]
        step = np.empty_like(ground)
        for share, spectrum in zip(self.shares[1:], SPECTRA[1:], strict=True):
            ground += np.multiply(share, spectrum[number], out=step)
        np.multiply(self.shade, np.float32(-0.6), out=step)
        step += np.float32(1)
        ground *= step
        np.subtract(np.float32(CLOUD[number]), ground, out=step)
        step *= self.cloud
        ground += step
        if top:
            ground *= np.float32(TRANSMITTANCE[number])
            ground += np.float32(PATH[number])
        else:
            ground -= np.float32(overcorrected * OVERCORRECTION[number])
        return ground

    def classes(self) -> NDArray[np.uint8]:
        """The scene classification, 2 to 11, that the agency's processor would find."""
        green = self.shares[CONIFER] + self.shares[LEAF]
        return np.select(
            [
                self.cloud >= 0.6,
                self.cloud >= 0.25,
                self.cloud >= 0.05,
                self.shade >= 0.3,
                self.shares[SNOW] > 0.5,
                self.shares[WATER] > 0.5,
                self.shares[WATER] > 0.35,
                green > 0.45,
                green > 0.38,
            ],
            [np.uint8(number) for number in (9, 8, 10, 3, 11, 6, 2, 4, 7)],
            np.uint8(5),
        )


def view(east: Floats, north: Floats, *, day: datetime, clouds: float, line: Line | None = None) -> View:
    """What lies at these places in EPSG:3006 on that day; the year changes nothing."""
    shares = _land(east, north, day)
    if line is not None:
        _draw(shares, east, north, line)
    cloud = _clouds(east, north, day, clouds)
    # The sun stands in the south-south-east when the satellite passes: a cloud's shadow falls the other way.
    shade = _clouds(east + 180.0, north - 680.0, day, clouds) * (np.float32(1) - cloud)
    return View(shares=shares, cloud=cloud, shade=shade, moisture=_noise(east, north, 9000, seed=50))


def right_of(line: Line, east: Floats, north: Floats) -> NDArray[np.bool_]:
    """Whether each place lies on the line or to its right, walking from its first point to its second."""
    (from_east, from_north), (to_east, to_north) = line
    return (to_east - from_east) * (north - from_north) <= (to_north - from_north) * (east - from_east)


def _land(east: Floats, north: Floats, day: datetime) -> NDArray[np.float32]:
    """How much each cover fills of each pixel: lakes and coast, river and road, fields, forest, town, and snow."""
    one = np.float32(1)
    relief = _octaves(east, north, {5200: 0.55, 1900: 0.3, 700: 0.15}, seed=10)
    texture = _noise(east, north, 30, seed=20)
    stand = _patches(east, north, along=620, across=410, seed=30)
    water = np.clip((np.float32(0.36) - relief) / np.float32(0.004), 0, 1)
    river = (_noise(np.zeros_like(north), north, 1700, seed=40) * 2600.0 + east) % 7000.0 - 3500.0
    water = np.maximum(water, np.clip((30.0 - np.abs(river)) / 10.0, 0, 1).astype(np.float32))
    road = (_noise(east, np.zeros_like(east), 1900, seed=41) * 2400.0 + north) % 6000.0 - 3000.0
    paved = np.clip((17.0 - np.abs(road)) / 10.0, 0, 1).astype(np.float32) * (one - water)

    summer = np.float32(_bump(day, 197, 75))
    leafy = np.where(stand < 0.18, one, np.float32(0.12)) * summer
    felled = stand > 0.93
    shares = np.zeros((len(COVERS), *relief.shape), dtype=np.float32)
    shares[CONIFER] = np.where(
        felled, 0, (one - leafy) * (np.float32(0.75) + np.float32(0.1) * texture + np.float32(0.3) * stand)
    )
    shares[LEAF] = np.where(felled, np.float32(0.25) * summer, leafy * (np.float32(0.85) + np.float32(0.1) * texture))
    shares[SOIL] = np.where(felled, np.float32(0.75), np.float32(0.06))

    arable = _noise(east, north, 2300, seed=11) + (relief - np.float32(0.5)) * np.float32(0.4) > np.float32(0.54)
    crop = (_patches(east, north, along=330, across=190, seed=31) * len(CROPS)).astype(np.intp)
    vigour = np.float32(0.72) + np.float32(0.2) * _patches(east, north, along=330, across=190, seed=32)
    growth = np.array([_bump(day, peak, width) for peak, width in CROPS], dtype=np.float32)[crop] * vigour
    growth *= np.float32(0.96) + np.float32(0.06) * texture
    town = _noise(east, north, 3100, seed=12) > np.float32(0.81)
    roofs = np.float32(0.25) + np.float32(0.7) * _patches(east, north, along=60, across=40, seed=33)
    for cover, field, street in (
        (CONIFER, np.float32(0), np.float32(0.1) * (one - roofs)),
        (LEAF, growth, np.float32(0.6) * (one - roofs) * summer),
        (SOIL, one - growth, np.float32(0.3) * (one - roofs)),
        (BUILT, np.float32(0), roofs),
    ):
        shares[cover] = np.where(town, street, np.where(arable, field, shares[cover]))
    shares *= one - water - paved
    shares[WATER] += water
    shares[BUILT] += paved
    _snow(shares, north, day)
    return shares


def _snow(shares: NDArray[np.float32], north: Floats, day: datetime) -> None:
    """Lay snow and ice where the day is wintry enough for the latitude; most conifers stay dark."""
    winter = math.cos(2 * math.pi * (_day_of_year(day) - 20) / 365.25)
    depth = np.clip((winter - 0.9 + (north - 6_100_000.0) * 8e-7) * 4, 0, 1).astype(np.float32)
    for cover in (WATER, CONIFER, LEAF, SOIL, BUILT):
        hidden = shares[cover] * depth * np.float32(0.25 if cover == CONIFER else 0.95)
        shares[cover] -= hidden
        shares[SNOW] += hidden


def _draw(shares: NDArray[np.float32], east: Floats, north: Floats, line: Line) -> None:
    """Draw a bright line 40 m wide through open water, so that nothing beside it pulls its centre."""
    (from_east, from_north), (to_east, to_north) = line
    length = math.hypot(to_east - from_east, to_north - from_north)
    along_east, along_north = (to_east - from_east) / length, (to_north - from_north) / length
    along = (east - from_east) * along_east + (north - from_north) * along_north
    beyond = along - np.clip(along, 0.0, length)
    across = (east - from_east) * along_north - (north - from_north) * along_east
    squared = across * across + beyond * beyond
    bright = np.clip(1.0 - squared / 37.0**2, 0, 1).astype(np.float32) ** 2  # half as high 20 m from its middle
    lane = np.clip((250.0**2 - squared) / 100.0**2, 0, 1).astype(np.float32)
    shares *= np.float32(1) - lane
    shares[WATER] += lane * (np.float32(1) - bright)
    shares[BRIGHT] += lane * bright


def _clouds(east: Floats, north: Floats, day: datetime, clouds: float) -> NDArray[np.float32]:
    """How opaque the clouds of that day of the year are over each place; roughly the share asked for is cloudy."""
    if clouds <= 0:
        return np.zeros(east.shape, dtype=np.float32)
    # The three octaves together spread nearly like a normal distribution about 0.5, with this deviation.
    least = NormalDist(0.5, 0.132).inv_cdf(1 - clouds) if clouds < 1 else -1.0
    field = _octaves(east, north, {2600: 0.5, 900: 0.3, 320: 0.2}, seed=1000 + 40 * (31 * day.month + day.day))
    opaque: NDArray[np.float32] = np.clip((field - np.float32(least)) / np.float32(0.12), 0, 1)
    return opaque


def _day_of_year(day: datetime) -> int:
    """The day in a year of 365, so that one date is one number in every year."""
    return datetime(2001, day.month, min(day.day, 28 if day.month == 2 else 31)).timetuple().tm_yday


def _bump(day: datetime, peak: float, width: float) -> float:
    """How near a day of the year is to its peak, 0 to 1."""
    return math.exp(-(((_day_of_year(day) - peak) / width) ** 2))


def _octaves(east: Floats, north: Floats, weights: Mapping[int, float], *, seed: int) -> NDArray[np.float32]:
    """Noise of several cell sizes (metres), weighted and summed."""
    total = np.zeros(east.shape, dtype=np.float32)
    for number, (cell, weight) in enumerate(weights.items()):
        total += np.float32(weight) * _noise(east, north, cell, seed=seed + number)
    return total


def _noise(east: Floats, north: Floats, cell: float, *, seed: int) -> NDArray[np.float32]:
    """Smooth noise, 0 to 1: a number at each corner of the cells (metres), eased from corner to corner."""
    own = _scratch(threading.get_ident(), east.shape)
    right, up, high, step, places = own.right, own.up, own.high, own.step, own.places
    for axis, whole, part in ((east, own.column, right), (north, own.row, up)):
        np.multiply(axis, 1 / cell, out=own.exact)
        np.floor(own.exact, out=whole)
        np.subtract(own.exact, whole, out=part, casting="same_kind")
        np.multiply(part, part, out=step)
        part *= np.float32(-2)
        part += np.float32(3)
        part *= step
    corners, width = _table(own.column, own.row, places, seed)
    low: NDArray[np.float32] = corners.take(places, mode="clip")
    corners[1:].take(places, mode="clip", out=step)
    _ease(low, step, right)
    corners[width:].take(places, mode="clip", out=high)
    corners[width + 1 :].take(places, mode="clip", out=step)
    _ease(high, step, right)
    _ease(low, high, up)
    return low


def _ease(values: NDArray[np.float32], towards: NDArray[np.float32], part: NDArray[np.float32]) -> None:
    """Move values a part of the way towards others, which are lost."""
    towards -= values
    towards *= part
    values += towards


def _patches(east: Floats, north: Floats, *, along: float, across: float, seed: int) -> NDArray[np.float32]:
    """A number, 0 to 1, for each oblong patch of a land parcelled out aslant, in rows that are shifted like bricks."""
    own = _scratch(threading.get_ident(), east.shape)
    column, row, exact, step, places = own.column, own.row, own.exact, own.step, own.places
    np.multiply(north, 0.92 / across, out=row)
    row -= np.multiply(east, 0.39 / across, out=exact)
    np.floor(row, out=row)
    exact[...] = row
    column.fill(0)
    shifts, _ = _table(column, exact, places, int(along))
    column += shifts.take(places, mode="clip", out=step)
    column += np.multiply(east, 0.92 / along, out=exact)
    column += np.multiply(north, 0.39 / along, out=exact)
    np.floor(column, out=column)
    numbers, _ = _table(column, row, places, seed)
    found: NDArray[np.float32] = numbers.take(places, mode="clip")
    return found


def _table(column: Floats, row: Floats, places: NDArray[np.intp], seed: int) -> tuple[NDArray[np.float32], int]:
    """A number, 0 to 1, for each cell from the first to the last, row by row, and how many a row has.

    Where each cell's number stands is put into `places`; the cells that are named are lost.
    """
    left, bottom = int(column.min()), int(row.min())
    width, height = int(column.max()) - left + 2, int(row.max()) - bottom + 2
    columns = np.arange(left, left + width).astype(np.uint64)[None, :]
    rows = np.arange(bottom, bottom + height).astype(np.uint64)[:, None]
    mixed = columns * np.uint64(0x9E3779B97F4A7C15) ^ rows * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= np.uint64(seed * 0x165667B19E3779F9 & (1 << 64) - 1)
    for shift, factor in ((32, 0xD6E8FEB86659FD93), (29, 0xFF51AFD7ED558CCD), (32, 0xC4CEB9FE1A85EC53)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    row -= bottom
    row *= width
    row += column
    np.subtract(row, left, out=places, casting="unsafe")
    return ((mixed >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).ravel(), width


class _Scratch:
    """Arrays to work noise out in: fresh memory would cost more than the arithmetic."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.column, self.row, self.exact = (np.empty(shape, np.float64) for _ in range(3))
        self.right, self.up, self.high, self.step = (np.empty(shape, np.float32) for _ in range(4))
        self.places = np.empty(shape, np.intp)


@lru_cache(maxsize=16)
def _scratch(thread: int, shape: tuple[int, ...]) -> _Scratch:
    """The thread's own arrays of this shape."""
    return _Scratch(shape)


def _mean(planes: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """Squares of that many pixels averaged to one, in the last two dimensions."""
    total = planes[..., ::times, ::times].copy()
    for row in range(times):
        for column in range(times):
            if row or column:
                total += planes[..., row::times, column::times]
    total *= np.float32(1 / times**2)
    return total
