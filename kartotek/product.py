"""What a sensor tells the rest of kartotek: a product with its layers, and the collection that it belongs to.

These values cross the border between sensors and conversion; no pixel has been touched when they are made. Each is
checked when it is made: a ValueError tells all that can't work.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from pyproj.exceptions import CRSError
from shapely import MultiPolygon, Polygon

from kartotek import grids, nodata
from kartotek.grids import Grid

ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
"""What ids of sensors, collections and products may be, and names of layers: parts of addresses and of keys."""
PRODUCT = "product"
"""The asset that is the product itself, as the agency delivered it."""
BESIDE = ("thumbnail", "squares", PRODUCT)
"""Assets beside the layers: none of these can be called so."""
DATA_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
"""Of pixels, by NumPy's names."""
COMMON_NAMES = (
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075", "rededge078",
    "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12",
)  # fmt: skip
"""Those of STAC's extension eo v2.0.0; indices and clients know bands by them."""


USUAL = "true-colour"
"""The render that tiles and thumbnails show where a collection has it."""


def usual_render(names: Iterable[str]) -> str | None:
    """Of a collection's renders the one that shows its items: `USUAL`, else the first; None of none.

    >>> usual_render(["heat", "true-colour"]), usual_render(["heat", "ice"]), usual_render([])
    ('true-colour', 'heat', None)
    """
    names = list(names)
    return USUAL if USUAL in names else next(iter(names), None)


def _check(what: str, faults: Iterable[str]) -> None:
    """Raise ValueError where there is a fault; it tells all of them."""
    if found := "; ".join(faults):
        raise ValueError(f"{what}: {found}")


def _repeated(names: Iterable[str | None]) -> list[str]:
    """The names that occur more than once."""
    return [name for name, count in Counter(names).items() if name is not None and count > 1]


class Kind(StrEnum):
    """What the numbers of a layer are; it decides how they are resampled."""

    MEASUREMENT = "measurement"
    """A quantity: bilinear when warped, mean of the valid pixels in overviews."""
    CLASSES = "classes"
    """Codes from 0 to 65 535: nearest when warped, mode in overviews."""
    PICTURE = "picture"
    """Red, green and blue for the eye: as a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What the instrument measures."""

    name: str
    """The agency's id, such as B04."""
    common_name: str | None = None
    """One of `COMMON_NAMES`, such as red: what indices are computed by. Of what has none of them, none."""
    description: str = ""
    center_wavelength: float | None = None
    """Micrometres."""
    full_width_half_max: float | None = None
    """Micrometres."""

    def __post_init__(self) -> None:
        _check(f"band {self.name!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if not self.name:
            yield "it has no name"
        if self.common_name is not None and self.common_name not in COMMON_NAMES:
            yield f"{self.common_name!r} is no common name of STAC's; there are: {', '.join(COMMON_NAMES)}"
        for length in (self.center_wavelength, self.full_width_half_max):
            if length is not None and not 0 < length < math.inf:
                yield f"{length} is no wavelength in micrometres"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassValue:
    """One code of a class layer."""

    value: int
    name: str
    """A word of letters, digits, hyphens and underscores, as STAC's classification extension wants it."""
    description: str
    color: str
    """Six hexadecimal digits, RRGGBB."""
    clear: bool = False
    """Whether the ground is seen: such pixels count in the statistics of index squares."""

    def __post_init__(self) -> None:
        _check(f"class {self.value!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if not isinstance(self.value, int) or not 0 <= self.value <= 65_535:
            yield "codes are whole numbers from 0 to 65535"
        if not re.fullmatch(r"[0-9A-Za-z_-]+", self.name):
            yield f"{self.name!r} is no word of letters, digits, '-' and '_'"
        if not re.fullmatch(r"[0-9A-Fa-f]{6}", self.color):
            yield f"{self.color!r} is no colour of six hexadecimal digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerType:
    """The facts of a layer that are the same in every product of a collection."""

    name: str
    """The agency's id, and the key of the asset: B02, SCL."""
    kind: Kind
    resolution: int
    """Metres, as the agency says."""
    title: str
    data_type: str
    """One of `DATA_TYPES`: the file's, and ours."""
    nodata: float
    """The number that means no data, NaN among floats: the agency's, or one that its pixels never are. Each layer has
    one, since our files reach beyond the ground that was delivered."""
    bands: tuple[Band, ...] = ()
    """The band that a measurement is of, if it is one of the instrument's; the three of a picture."""
    unit: str | None = None
    roles: tuple[str, ...] = ("data",)
    classes: tuple[ClassValue, ...] = ()
    """All codes of a class layer; nothing else has any."""

    def __post_init__(self) -> None:
        _check(f"layer {self.name!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if not ID.fullmatch(self.name):
            yield "its name is not of letters, digits, '.', '-' and '_' alone"
        if self.name in BESIDE:
            yield f"its name is that of an asset beside the layers ({', '.join(BESIDE)})"
        if not self.resolution >= 1:
            yield f"its resolution is {self.resolution} m"
        if not self.roles:
            yield "it has no role; most have 'data'"
        if self.data_type not in DATA_TYPES:
            yield f"its pixels can't be {self.data_type!r}; they are one of {', '.join(DATA_TYPES)}"
            return
        yield from self._faults_of_nodata()
        if self.kind is Kind.CLASSES:
            yield from self._faults_of_classes()
        elif self.classes:
            yield f"it is a {self.kind}, and has classes"
        if self.kind is Kind.PICTURE and (len(self.bands) != 3 or self.data_type not in ("uint8", "uint16")):
            yield f"a picture has three bands of uint8 or uint16, not {len(self.bands)} of {self.data_type}"
        if self.kind is not Kind.PICTURE and len(self.bands) > 1:
            yield f"it has {len(self.bands)} bands; each is a layer of its own"

    def _faults_of_nodata(self) -> Iterator[str]:
        pixel = np.dtype(self.data_type)
        if self.nodata is None:
            yield f"it has no nodata; give {'NaN' if pixel.kind == 'f' else 'a number that its pixels never are'}"
        elif (held := nodata.held(self.nodata, pixel)) is None or not _holds(pixel, held):
            yield f"its nodata is {self.nodata}, which {self.data_type} doesn't hold"

    def _faults_of_classes(self) -> Iterator[str]:
        if self.data_type not in ("uint8", "uint16"):
            yield f"its classes are {self.data_type}; codes are uint8 or uint16"
            return
        if not self.classes:
            yield "it is of classes, and has no list of them"
        codes = [value.value for value in self.classes]
        if twice := _repeated(map(str, codes)) + _repeated(value.name for value in self.classes):
            yield f"classes occur twice: {', '.join(twice)}"
        if beyond := [str(code) for code in codes if code > np.iinfo(self.data_type).max]:
            yield f"{self.data_type} doesn't hold its classes {', '.join(beyond)}"
        if clear := [value.name for value in self.classes if value.clear and value.value == self.nodata]:
            yield f"{clear[0]} is clear, and its code is nodata"


@np.errstate(over="ignore")
def _holds(pixel: np.dtype[Any], number: float) -> bool:
    """Whether a number is the same as a pixel."""
    value = float(pixel.type(number))
    return value == number or (math.isnan(value) and math.isnan(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One raster of a product, in the file and the grid that the agency delivered."""

    type: LayerType
    file: str
    """The file's path inside the product, for messages."""
    href: str
    """The JPEG 2000 or GeoTIFF, by a name that GDAL opens: `Files.href`."""
    grid: Grid
    """How the pixels lie: the map grid in metres that the metadata states. The file's own georeferencing is compared
    with it."""
    scale: float = 1.0
    offset: float = 0.0
    """physical value = number x scale + offset."""

    def __post_init__(self) -> None:
        _check(f"{self.type.name} ({self.file})", self._faults())

    def _faults(self) -> Iterator[str]:
        if not math.isfinite(self.scale) or not math.isfinite(self.offset) or self.scale == 0:
            yield f"numbers x {self.scale} + {self.offset} are no physical values"
        if self.type.kind is Kind.CLASSES and (self.scale, self.offset) != (1.0, 0.0):
            yield "codes of classes have neither scale nor offset"
        grid = self.grid
        size = f"{grid.columns} x {grid.rows} pixels of {grid.resolution} m at ({grid.left}, {grid.top})"
        if not all(map(math.isfinite, (grid.left, grid.top, grid.resolution))) or grid.resolution <= 0:
            yield f"{size} lie nowhere"
        if min(grid.columns, grid.rows) < 1:
            yield f"{size} are none"
        if not _is_map(grid.crs):
            yield f"{grid.crs!r} is no EPSG code of a map grid in metres"

    @property
    def name(self) -> str:
        """The key of the asset."""
        return self.type.name


def _is_map(crs: str) -> bool:
    """Whether it is the code of a projected CRS in metres."""
    try:
        return re.fullmatch(r"EPSG:\d+", crs) is not None and grids.is_metric(crs)
    except CRSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """One way to show an item: layers as red, green and blue, or one layer, stretched between two physical values."""

    title: str
    assets: tuple[str, ...]
    """Names of three layers, or of one: in grey, or a picture."""
    rescale: tuple[float, float]
    """Physical values that are black and white."""

    def __post_init__(self) -> None:
        _check(f"render {self.title!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if len(self.assets) not in (1, 3):
            yield f"it shows {len(self.assets)} layers, not one or three"
        low, high = self.rescale
        if not -math.inf < low < high < math.inf:
            yield f"it shows {low} as black and {high} as white; the latter is the higher number"


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeNames:
    """What an Open Data Cube called a collection and its layers: queries written for it go on by these names."""

    products: tuple[str, ...]
    measurements: Mapping[str, str] = field(default_factory=dict)
    """Old name → layer, such as B02_10m → B02."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionType:
    """The facts that all products of a collection share; the STAC collection is made of them."""

    id: str
    title: str
    description: str
    license: str
    license_href: str
    attribution: str
    provider: str
    """Who makes the products and licenses them."""
    provider_href: str
    start: datetime
    """When the first product was sensed."""
    constellation: str
    platforms: tuple[str, ...]
    instruments: tuple[str, ...]
    keywords: tuple[str, ...]
    layers: tuple[LayerType, ...]
    mask: str | None = None
    """The class layer whose `clear` classes say where the ground is seen."""
    renders: Mapping[str, Render] = field(default_factory=dict)
    """By name; tiles and thumbnails show `true-colour`, or the first one."""
    cube: CubeNames | None = None
    """Older names, for `kartotek.Datacube`."""

    def __post_init__(self) -> None:
        _check(f"collection {self.id!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if not ID.fullmatch(self.id):
            yield "its id is not of letters, digits, '.', '-' and '_' alone"
        if self.start.tzinfo is None:
            yield f"its start, {self.start}, is in no time zone"
        if not self.license or not self.license_href:
            yield "it has no licence, or no address of it"
        names = [layer.name for layer in self.layers]
        if not names:
            yield "it has no layers"
        if twice := _repeated(names):
            yield f"layers occur twice: {', '.join(twice)}"
        measured = [layer for layer in self.layers if layer.kind is Kind.MEASUREMENT]
        if twice := _repeated(band.common_name for layer in measured for band in layer.bands):
            yield f"several layers are of {', '.join(twice)}, so that no index could tell which to take"
        yield from self._faults_of_mask()
        if self.cube is not None and (unknown := sorted(set(self.cube.measurements.values()) - set(names))):
            yield f"old names are of {', '.join(unknown)}; layers are: {', '.join(names)}"
        for name, render in self.renders.items():
            if unknown := [asset for asset in render.assets if asset not in names]:
                yield f"render {name!r} shows {', '.join(unknown)}; layers are: {', '.join(names)}"
            pictures = [layer.name for layer in self.layers if layer.kind is Kind.PICTURE]
            if len(render.assets) > 1 and (found := [asset for asset in render.assets if asset in pictures]):
                yield f"render {name!r} shows the picture {found[0]} among others"

    def _faults_of_mask(self) -> Iterator[str]:
        if self.mask is None:
            return
        mask = next((layer for layer in self.layers if layer.name == self.mask), None)
        if mask is None:
            yield f"its mask {self.mask!r} is none of its layers"
        elif mask.kind is not Kind.CLASSES:
            yield f"its mask {self.mask!r} is a {mask.kind}, not of classes"
        elif not any(value.clear for value in mask.classes):
            yield f"no class of its mask {self.mask!r} is clear, so that nothing could be counted"

    @property
    def outlined(self) -> frozenset[str]:
        """The layers in all of which a scene has data where its footprint is: those of the instrument's bands.

        Where there are none, all measurements; where there are none of these either, all layers.
        """
        measured = [layer for layer in self.layers if layer.kind is Kind.MEASUREMENT]
        chosen = [layer for layer in measured if layer.bands] or measured or self.layers
        return frozenset(layer.name for layer in chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What the agency delivered, as its metadata tells it."""

    id: str
    """The agency's id without suffix; the STAC item's id."""
    path: Path
    collection: CollectionType
    sensed: datetime
    """UTC."""
    footprint: Polygon | MultiPolygon | None
    """Longitude and latitude, as the metadata states; the item's own is made from the data."""
    properties: Mapping[str, object]
    """STAC properties, named by their extensions."""
    layers: tuple[Layer, ...]
    missing: tuple[str, ...] = ()
    """What ought to be there and is not, one line each, ready for a message."""
    extensions: tuple[str, ...] = ()
    """URLs of the STAC extensions that `properties` uses, beside eo, projection, raster, processing and file."""

    def __post_init__(self) -> None:
        _check(f"product {self.id!r}", self._faults())

    def _faults(self) -> Iterator[str]:
        if not ID.fullmatch(self.id):
            yield "not usable as an id: letters, digits, '.', '-' and '_' only, 200 at most"
        if self.sensed.utcoffset() != timedelta(0):
            yield f"sensed {self.sensed}, which is not in UTC"
        if self.footprint is not None and not self.footprint.is_empty:
            west, south, east, north = self.footprint.bounds
            if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
                yield f"its footprint, {west:g} to {east:g} E, {south:g} to {north:g} N, is on no earth"
        if twice := _repeated(layer.name for layer in self.layers):
            yield f"layers occur twice: {', '.join(twice)}"
        if strange := [layer.name for layer in self.layers if layer.type not in self.collection.layers]:
            yield f"layers are not those of {self.collection.id}: {', '.join(strange)}"


class Files(Protocol):
    """A product's files, whether they lie in a folder or in a zip."""

    path: Path
    """Where the product lies."""

    @property
    def names(self) -> Sequence[str]:
        """Paths of all files, with forward slashes, below the product's root folder."""
        ...

    def read(self, name: str) -> bytes:
        """A small file's bytes; BrokenProduct where it can't be read."""
        ...

    def size(self, name: str) -> int:
        """A file's size in bytes, unpacked."""
        ...

    def href(self, name: str) -> str:
        """What GDAL opens to read the file."""
        ...


@runtime_checkable
class Sensor(Protocol):
    """What a sensor file gives; `converters.sensors` finds them by the entry point `kartotek.sensors`.

    `kartotek.testing.SensorContract` is the same in tests.
    """

    name: str
    collections: tuple[CollectionType, ...]
    """Those of its products; no other sensor has one of them."""

    def recognise(self, files: Files) -> bool:
        """Whether this sensor knows the product, by its path's name and its files' names alone."""
        ...

    def read(self, files: Files, *, visual: bool = False) -> Product:
        """The product's metadata; no pixel is touched. `visual` asks for pictures too.

        Raises BrokenProduct or UnsupportedProduct, with the file and the reason. ValueError, KeyError, IndexError and
        TypeError count as metadata that makes no sense.
        """
        ...
