"""What a sensor tells the rest of kartotek: a product with its layers, and the collection that it belongs to.

These values cross the border between sensors and conversion; no pixel has been touched when they are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from shapely import MultiPolygon, Polygon

from kartotek.grids import Grid


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
    """STAC's common name, such as red."""
    description: str = ""
    center_wavelength: float | None = None
    """Micrometres."""
    full_width_half_max: float | None = None
    """Micrometres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassValue:
    """One code of a class layer."""

    value: int
    name: str
    """A word of letters, digits and underscores, as STAC's classification extension wants it."""
    description: str
    color: str
    """Six hexadecimal digits, RRGGBB."""
    clear: bool = False
    """Whether the ground is seen: such pixels count in the statistics of index squares."""


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
    """NumPy's name, such as uint16."""
    nodata: float | None
    """What our file says where there is no data."""
    bands: tuple[Band, ...] = ()
    unit: str | None = None
    roles: tuple[str, ...] = ("data",)
    classes: tuple[ClassValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One raster of a product, in the file and the grid that the agency delivered."""

    type: LayerType
    file: str
    """The file's path inside the product, for messages."""
    href: str
    """Anything GDAL opens."""
    grid: Grid
    """The grid that the metadata states; the file's own georeferencing is compared with it."""
    scale: float = 1.0
    offset: float = 0.0
    """physical value = number x scale + offset."""

    @property
    def name(self) -> str:
        """The key of the asset."""
        return self.type.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """One way to show an item: layers as red, green and blue, or one layer, stretched between two physical values."""

    title: str
    assets: tuple[str, ...]
    rescale: tuple[float, float]


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
    """URLs of the STAC extensions that `properties` uses."""


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


class Sensor(Protocol):
    """What a sensor file gives; `converters.sensors` finds them by the entry point `kartotek.sensors`."""

    name: str
    collections: tuple[CollectionType, ...]

    def recognise(self, files: Files) -> bool:
        """Whether this sensor knows the product, by its files' names alone."""
        ...

    def read(self, files: Files, *, visual: bool = False) -> Product:
        """The product's metadata; no pixel is touched. `visual` asks for pictures too."""
        ...
