"""Sentinel-2 tiles as Amazon's open data have them: `metadata.xml` and `tileInfo.json` of a granule, beside its images.

The product's own metadata lies elsewhere there, so that what it would say is put together from the product's name, the
granule's metadata and the processing baseline, and the tile is read as a SAFE of one granule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import shapely
from lxml import etree
from lxml.builder import E
from pyproj.exceptions import ProjError
from shapely.errors import ShapelyError

from converters.safe import parse_xml
from kartotek import grids
from kartotek.errors import BrokenProduct
from kartotek.product import Files

METADATA, INFO = "metadata.xml", "tileInfo.json"
_NAME = re.compile(
    r"S2(?P<satellite>[A-D])_MSIL(?P<level>1C|2A)_(?P<sensed>\d{8}T\d{6})_N(?P<baseline>\d{4})_R(?P<orbit>\d{3})"
    r"_T\d\d[A-Z]{3}_(?P<made>\d{8}T\d{6})"
)
_IMAGES = (
    (re.compile(r"(B\d[0-9A]|TCI)\.(jp2|tif)", re.IGNORECASE), r"IMG_DATA/T_\1.\2"),
    (re.compile(r"R(\d0)m/(\w+)\.(jp2|tif)", re.IGNORECASE), r"IMG_DATA/R\1m/T_\2_\1m.\3"),
    (re.compile(r"qi/(?:MSK_)?(CLD|SNW)(?:PRB)?_20m\.(jp2|tif)", re.IGNORECASE), r"QI_DATA/MSK_\1PRB_20m.\2"),
)
"""Where images lie, and where they lie in a granule of a SAFE."""
MAX_OUTLINE = 10_000_000
"""Metres around the data of a tile, which is 110 km wide; beyond it the outline would be of too many points."""


def recognise(files: Files) -> bool:
    """Whether the names are those of a tile on Amazon; `metadata.xml` alone could be anyone's."""
    return INFO in files.names


class Tile:
    """The files of a tile under the names that they have in a SAFE."""

    def __init__(self, files: Files) -> None:
        self.path: Path = files.path
        self._files = files
        if METADATA not in files.names:
            raise BrokenProduct(f"{files.path.name}: {METADATA} is missing; fetch the tile again, with its {METADATA}")

    @cached_property
    def _product_name(self) -> re.Match[str]:
        name = str(self._info.get("productName", ""))
        found = _NAME.fullmatch(name)
        if found is None:
            raise BrokenProduct(f"{self.path.name}: {INFO}: productName is {name!r}, no id of the compact format")
        return found

    @cached_property
    def _info(self) -> Mapping[str, Any]:
        try:
            found = orjson.loads(self._files.read(INFO))
        except orjson.JSONDecodeError as error:
            raise BrokenProduct(f"{self.path.name}: {INFO}: not JSON ({error}); fetch the tile again") from error
        if not isinstance(found, dict):
            raise BrokenProduct(f"{self.path.name}: {INFO}: not an object; fetch the tile again")
        return found

    @cached_property
    def _there(self) -> Mapping[str, str | None]:
        """Name in the SAFE → name in the tile; None where it is put together."""
        found: dict[str, str | None] = {
            f"MTD_MSIL{self._product_name['level']}.xml": None,
            "GRANULE/tile/MTD_TL.xml": METADATA,
        }
        for name in self._files.names:
            for pattern, place in _IMAGES:
                if match := pattern.fullmatch(name):
                    found["GRANULE/tile/" + match.expand(place)] = name
        return found

    @property
    def names(self) -> Sequence[str]:
        """The names in the SAFE."""
        return tuple(sorted(self._there))

    def own(self, name: str) -> str:
        """The name in the tile, for people."""
        return self._there[name] or INFO

    def read(self, name: str) -> bytes:
        """A small file's bytes."""
        own = self._there[name]
        return etree.tostring(self._product_metadata()) if own is None else self._files.read(own)

    def size(self, name: str) -> int:
        """A file's size in bytes."""
        return self._files.size(self.own(name))

    def href(self, name: str) -> str:
        """What GDAL opens."""
        return self._files.href(self.own(name))

    def _product_metadata(self) -> etree._Element:
        """What the product's metadata would say, in its tags."""
        name, title = self._product_name, f"{self.path.name}: {METADATA}"
        tile = parse_xml(title, self._files.read(METADATA))
        level, baseline = name["level"], f"{name['baseline'][:2]}.{name['baseline'][2:]}"
        orbit = "".join(re.findall(r"_A(\d{6})_", tile.findtext(".//{*}TILE_ID") or "")[:1])
        root: etree._Element = E.product(
            E.PRODUCT_URI(f"{name[0]}.SAFE"),
            E.PROCESSING_LEVEL(f"Level-{level}"),
            E.PRODUCT_TYPE(f"S2MSI{level}"),
            E.PROCESSING_BASELINE(baseline),
            E.GENERATION_TIME(datetime.strptime(name["made"], "%Y%m%dT%H%M%S").isoformat() + "Z"),
            E.SPACECRAFT_NAME(f"Sentinel-2{name['satellite']}"),
            E.SENSING_ORBIT_NUMBER(name["orbit"].lstrip("0")),
            E.Datatake(
                datatakeIdentifier=f"GS2{name['satellite']}_{name['sensed']}_{orbit[1] if orbit else ''}_N{baseline}"
            ),
            *_scaling(level, baseline),
        )
        for quality in tile.iterfind(".//{*}Image_Content_QI"):
            root.extend(list(quality))
        if cloud := root.findtext("{*}CLOUDY_PIXEL_PERCENTAGE"):
            root.append(E.Cloud_Coverage_Assessment(cloud))
        if positions := self._positions():
            root.append(E.EXT_POS_LIST(positions))
        return root

    def _positions(self) -> str:
        """The outline of the data as latitudes and longitudes; empty where the tile has no data."""
        try:
            geometry = self._info["tileDataGeometry"]
            crs = "EPSG:" + geometry["crs"]["properties"]["name"].rpartition(":")[2]
            rings = geometry["coordinates"]
            if not rings or not rings[0]:
                return ""
            ring = shapely.LinearRing(rings[0])
            if not ring.length <= MAX_OUTLINE:  # nor is one of NaN
                raise ValueError(f"its outline is {ring.length:g} m long; {MAX_OUTLINE:g} m at most")
            outline = shapely.segmentize(ring, 5_000)
            east, north = shapely.get_coordinates(outline).T
            longitudes, latitudes = grids.transformer(crs, "EPSG:4326").transform(east, north)
        except (KeyError, TypeError, AttributeError, ValueError, ShapelyError, ProjError) as error:
            raise BrokenProduct(f"{self.path.name}: {INFO}: tileDataGeometry is no polygon ({error})") from error
        return " ".join(f"{y} {x}" for x, y in zip(longitudes, latitudes, strict=True))


def _scaling(level: str, baseline: str) -> list[etree._Element]:
    """Quantification and offsets as the baseline has them (PSD 14.9, section 4.1): -1000 from 04.00 on."""
    kind, offset = ("BOA", "BOA_ADD_OFFSET") if level == "2A" else ("", "RADIO_ADD_OFFSET")
    found = [E(f"{kind}_QUANTIFICATION_VALUE".lstrip("_"), "10000")]
    if baseline >= "04.00":
        found += [E(offset, "-1000", band_id=str(number)) for number in range(13)]
    return found
