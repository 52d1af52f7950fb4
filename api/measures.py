"""Parameters of numbers: where, of what, and what is told of them."""

import math
import re
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field
from pyproj.exceptions import ProjError
from shapely.geometry.base import BaseGeometry

from api.definitions import NARROWED
from api.display import Shown
from api.wanted import Text, Wanted
from catalog import questions
from kartotek import grids
from kartotek.errors import BadRequest
from pixels import tally
from pixels.cut import Frame

_COORD = "x,y in `crs`, easting or longitude first; instead of lon and lat."
_CRS = "EPSG:3006, or another CRS by its code."
_RESOLUTION = "Width and height of a pixel in units of the CRS; that of the files unless it is given."
_BBOX = "west,south,east,north in degrees: the area."
_PERCENTILES = "Percentiles, from 0 to 100, with commas between."
_RANGE = "LOW,HIGH of the histogram, in physical values; the lowest and the highest unless it is given."
_EPSG = re.compile(r"EPSG:[0-9]{4,6}", re.ASCII)


class PointQuery(Wanted):
    """Of the numbers at a place."""

    lon: Annotated[float | None, Field(ge=-180, le=180, allow_inf_nan=False)] = None
    lat: Annotated[float | None, Field(ge=-90, le=90, allow_inf_nan=False)] = None
    coord: Annotated[str | None, Field(description=_COORD, max_length=100)] = None
    crs: Annotated[str | None, Field(description=_CRS, max_length=20)] = None

    def place(self) -> tuple[float, float, str]:
        """x, y and their CRS. Raises BadRequest."""
        if self.coord is None:
            if self.lon is None or self.lat is None or self.crs is not None:
                raise BadRequest("give lon and lat in degrees, or coord=x,y with crs=EPSG:3006")
            return self.lon, self.lat, "EPSG:4326"
        if self.lon is not None or self.lat is not None or self.crs is None:
            raise BadRequest("coord: give it with crs=EPSG:3006, and without lon and lat")
        try:
            x, y = (float(part) for part in self.coord.split(","))
        except ValueError:
            raise BadRequest(f"coord: {self.coord[:40]!r} is not x,y: two numbers") from None
        if not (abs(x) < 1e9 and abs(y) < 1e9):  # NaN too
            raise BadRequest(f"coord: {self.coord[:40]!r} is no place on earth")
        return x, y, _crs(self.crs)


class StatisticsQuery(Wanted):
    """Of the statistics of areas."""

    percentiles: Annotated[str, Field(description=_PERCENTILES, max_length=200)] = "2,98"
    bins: Annotated[int, Field(description="Of the histogram.", ge=1, le=1000)] = 10
    range: Annotated[str | None, Field(description=_RANGE, max_length=100)] = None

    @property
    def told(self) -> tally.Wanted:
        """What is told of each value. Raises BadRequest."""
        percentiles = _floats("percentiles", self.percentiles, "2,98: up to 20 numbers from 0 to 100")
        if len(percentiles) > 20 or not all(0 <= one <= 100 for one in percentiles):
            raise BadRequest(f"percentiles: {self.percentiles[:60]!r}; up to 20 numbers from 0 to 100 will do")
        span = None
        if self.range is not None:
            numbers = _floats("range", self.range, "LOW,HIGH")
            if len(numbers) != 2 or not (numbers[0] < numbers[1] and math.isfinite(numbers[1] - numbers[0])):
                raise BadRequest(f"range: {self.range[:60]!r} is not LOW,HIGH: two numbers, the lower one first")
            span = numbers[0], numbers[1]
            if not (np.diff(np.linspace(*span, self.bins + 1)) > 0).all():
                raise BadRequest(f"range: {self.range[:60]!r} is too narrow for {self.bins} bins")
        return tally.Wanted(percentiles=percentiles, bins=self.bins, span=span)


class AreaQuery(Shown):
    """Of a cut-out of an area in the body."""

    resolution: Annotated[float | None, Field(description=_RESOLUTION, ge=1e-6, le=1e6, allow_inf_nan=False)] = None
    crs: Annotated[str | None, Field(description=_CRS, max_length=20)] = None

    @property
    def frame(self) -> Frame:
        """The grid. Raises BadRequest."""
        return Frame(resolution=self.resolution, crs=None if self.crs is None else _crs(self.crs))


class BoxQuery(AreaQuery):
    """Of a cut-out of a box."""

    bbox: Annotated[str, Field(description=_BBOX, max_length=200)]

    @property
    def area(self) -> BaseGeometry:
        """The box. Raises BadRequest."""
        found = questions.box(self.bbox)
        if not found.area:
            raise BadRequest(f"bbox: {self.bbox[:80]!r} has no area")
        return found


class Narrowed(BaseModel):
    """Of a mosaic, what more is asked."""

    datetime: Annotated[Text, Field(description=NARROWED)] = None


class MosaicPointQuery(PointQuery, Narrowed):
    """Of the numbers of a mosaic at a place."""


class MosaicStatisticsQuery(StatisticsQuery, Narrowed):
    """Of the statistics of areas of a mosaic."""


class MosaicAreaQuery(AreaQuery, Narrowed):
    """Of a cut-out of a mosaic, of an area in the body."""


class MosaicBoxQuery(BoxQuery, Narrowed):
    """Of a cut-out of a mosaic, of a box."""


def _floats(parameter: str, text: str, instead: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadRequest(f"{parameter}: {text[:60]!r} are no numbers; such as {instead}") from None


def _crs(code: str) -> str:
    """A CRS for maps by its EPSG code; whatever else PROJ would read is not looked at. Raises BadRequest."""
    known = code.strip().upper()
    try:
        if _EPSG.fullmatch(known) and (grids.is_metric(known) or known == "EPSG:4326"):
            return known
    except ProjError:
        pass
    raise BadRequest(f"crs: {code[:20]!r} is no EPSG code of a CRS in metres, such as EPSG:3006, nor EPSG:4326")
