"""What one sample product shows, and what the agency would call it and everything in it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pyproj import Transformer
from shapely import Polygon, box, transform
from shapely.geometry.polygon import orient

from converters.samples.ground import Line

REFERENCE_ORBITS: Mapping[str, tuple[int, int, datetime]] = {
    "S2A": (8785, 65, datetime(2017, 2, 26, 10, 24, tzinfo=UTC)),
    "S2B": (33753, 122, datetime(2023, 8, 23, 10, 5, tzinfo=UTC)),
    "S2C": (3937, 106, datetime(2025, 6, 7, 7, 18, tzinfo=UTC)),
}
"""Of a genuine product of each satellite: its absolute orbit, its relative orbit and its time."""
ORBITS_A_CYCLE = 143
DAYS_A_CYCLE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one sample product shows, and how it is delivered."""

    tile: str
    """The granule in MGRS, such as 33VXG."""
    zone: int
    """UTM zone; the pixels lie in EPSG:32600 + zone."""
    left: int
    """West edge of the pixels, metres in the UTM zone."""
    top: int
    """North edge of the pixels, metres in the UTM zone."""
    pixels: int = 1098
    """Width and height at 10 m, a multiple of 6; a genuine granule has 10 980."""
    sensed: datetime
    """When the datatake began, UTC: the first time in the product's name."""
    platform: str
    """S2A, S2B or S2C."""
    level: Literal["L1C", "L2A"] = "L2A"
    baseline: str
    """Processing baseline, such as 05.11."""
    orbit: int
    """Relative orbit, 1 to 143."""
    direction: Literal["DESCENDING", "ASCENDING"] = "DESCENDING"
    clouds: float = 0.1
    """Roughly the share of the ground under cloud. The same day of any year has the same clouds."""
    overcorrected: float = 0.0
    """Reflectance that the processor took away too much in B01, and less in longer waves: water falls below zero."""
    swath: Line | None = None
    """The edge of the swath: what lies to the left of the line was not seen, and is nodata."""
    line: Line | None = None
    """A bright line to draw, 40 m wide, its middle exactly here."""
    complete: bool = False
    """Whether L2A also has the coarser duplicates of the bands; without, only those of B02 remain."""
    packing: Literal["SAFE", "bare", "zip", "bare zip"] = "SAFE"
    """A .SAFE folder, a folder without the suffix, a zip of a .SAFE folder, or a zip without a folder in it."""

    @property
    def crs(self) -> int:
        """EPSG code of the pixels' CRS."""
        return 32600 + self.zone

    @property
    def offset(self) -> int:
        """What the agency adds to the DN since baseline 04.00, so that a reflectance below zero can be told."""
        return 1000 if self.baseline >= "04.00" else 0

    @property
    def early(self) -> bool:
        """Whether this is Level-2Ap, the pilot of 2017, whose names and tags differ."""
        return self.level == "L2A" and self.baseline < "02.07"

    @property
    def generated(self) -> datetime:
        """When the product was made: the second time in its name."""
        return self._made(self.level)

    @property
    def strip_start(self) -> datetime:
        """When the datastrip began, some seconds after the datatake."""
        return self.sensed.replace(microsecond=0) + timedelta(seconds=2)

    @property
    def passed(self) -> datetime:
        """When the satellite passed over the granule: the tile's own time. It flies south at 6.7 km/s."""
        return self.sensed.replace(microsecond=271000) + timedelta(seconds=60 + (7_800_000 - self.top) // 6700)

    @property
    def absolute_orbit(self) -> int:
        """The orbit counted from launch: the one nearest in time that has this relative orbit."""
        orbit, relative, time = REFERENCE_ORBITS[self.platform]
        later = (self.orbit - relative) % ORBITS_A_CYCLE
        cycles = (self.sensed - time) / timedelta(days=DAYS_A_CYCLE) - later / ORBITS_A_CYCLE
        return orbit + later + ORBITS_A_CYCLE * round(cycles)

    @property
    def centre(self) -> str:
        """The archiving centre that the agency's ids name."""
        if self.baseline < "03.00":
            return "SGS_"
        return "VGS4" if self.baseline < "05.00" else f"{self.platform[1:]}PS"

    @property
    def name(self) -> str:
        """The product's id, without a suffix."""
        return (
            f"{self.platform}_MSI{self.level}_{_stamp(self.sensed)}_N{self.baseline.replace('.', '')}"
            f"_R{self.orbit:03}_T{self.tile}_{_stamp(self.generated)}"
        )

    @property
    def granule(self) -> str:
        """The granule's folder."""
        return f"GRANULE/{self.level}_T{self.tile}_A{self.absolute_orbit:06}_{_stamp(self.strip_start)}"

    @property
    def datastrip(self) -> str:
        """The datastrip's folder."""
        return f"DATASTRIP/DS_{self.centre}_{_stamp(self.generated)}_S{_stamp(self.strip_start)}"

    @property
    def stem(self) -> str:
        """How the names of the images begin."""
        return f"{'L2A_' if self.early else ''}T{self.tile}_{_stamp(self.sensed)}"

    @property
    def datatake(self) -> str:
        """The datatake's id."""
        return f"G{self.platform}_{_stamp(self.sensed)}_{self.absolute_orbit:06}_N{self.baseline}"

    def granule_id(self, level: str) -> str:
        """The granule's id, at this level of processing."""
        return f"{self._id(level, 'TL')}_A{self.absolute_orbit:06}_T{self.tile}_N{self.baseline}"

    def datastrip_id(self, level: str) -> str:
        """The datastrip's id, at this level of processing."""
        return f"{self._id(level, 'DS')}_S{_stamp(self.strip_start)}_N{self.baseline}"

    def size(self, resolution: int) -> int:
        """Width and height in pixels of that many metres."""
        return self.pixels * 10 // resolution

    def footprint(self) -> Polygon:
        """Where the product has values, in longitude and latitude, from its upper left corner clockwise."""
        side = 10 * self.pixels
        seen = box(self.left, self.top - side, self.left + side, self.top)
        if self.swath is not None:
            to_zone = Transformer.from_crs(3006, self.crs, always_xy=True)
            seen &= transform(_right_side(self.swath), to_zone.transform, interleaved=False)
        if seen.is_empty:
            raise ValueError(f"{self.name}: nothing of it lies within the swath; move its edge")
        # Two pixels within the edge, since a straight edge in longitude and latitude bows by some metres in 11 km.
        seen = orient(seen.simplify(1).buffer(-20, join_style="mitre").segmentize(11_000), -1)
        corners = seen.exterior.coords[:-1]
        first = min(range(len(corners)), key=lambda n: math.dist(corners[n], (self.left, self.top)))
        to_degrees = Transformer.from_crs(self.crs, 4326, always_xy=True)
        return transform(Polygon(corners[first:] + corners[:first]), to_degrees.transform, interleaved=False)

    def _made(self, level: str) -> datetime:
        return self.sensed.replace(microsecond=0) + timedelta(minutes=128 if level == "L1C" else 248, seconds=1)

    def _id(self, level: str, kind: str) -> str:
        use = "USER" if self.early and level == "L2A" else "OPER"
        return f"{self.platform}_{use}_MSI_{level}_{kind}_{self.centre}_{_stamp(self._made(level))}"


def _stamp(time: datetime) -> str:
    """A time as the agency's names write it."""
    return f"{time:%Y%m%dT%H%M%S}"


def _right_side(line: Line, reach: float = 400_000) -> Polygon:
    """All near ground to the right of a line, both in EPSG:3006, its edge with a corner each kilometre."""
    (from_east, from_north), (to_east, to_north) = line
    length = math.hypot(to_east - from_east, to_north - from_north)
    east, north = (to_east - from_east) * reach / length, (to_north - from_north) * reach / length
    start, end = (from_east - east, from_north - north), (from_east + east, from_north + north)
    return Polygon(
        [start, end, (end[0] + north, end[1] - east), (start[0] + north, start[1] - east)],
    ).segmentize(1000)
