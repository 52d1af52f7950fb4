"""Sentinel-2 MSI: L1C and L2A in the compact SAFE format, processing baselines 02.04 to 05.11, and Amazon's tiles.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), versions 14 and 15. Elements are matched by
local name, since the namespace changes with the version.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from lxml import etree
from shapely import MultiPolygon, Polygon

from converters.safe import parse_xml
from converters.sensors import sentinel2_aws
from kartotek import footprints
from kartotek.errors import BrokenProduct, UnsupportedProduct
from kartotek.grids import Grid
from kartotek.product import Band, ClassValue, CollectionType, CubeNames, Files, Kind, Layer, LayerType, Product, Render

# Central wavelength and full width at half maximum in micrometres, for all of the satellites, as the field's catalogues
# (stactools) give them; each satellite's own differ by some nanometres. In the order of the agency's band ids 0..12.
BANDS = tuple(
    Band(name=name, common_name=common, description=text, center_wavelength=centre, full_width_half_max=width)
    for name, common, text, centre, width in (
        ("B01", "coastal", "Coastal aerosol", 0.443, 0.027),
        ("B02", "blue", "Blue", 0.490, 0.098),
        ("B03", "green", "Green", 0.560, 0.045),
        ("B04", "red", "Red", 0.665, 0.038),
        ("B05", "rededge071", "Red edge 1", 0.704, 0.019),
        ("B06", "rededge075", "Red edge 2", 0.740, 0.018),
        ("B07", "rededge078", "Red edge 3", 0.783, 0.028),
        ("B08", "nir", "Near infrared", 0.842, 0.145),
        ("B8A", "nir08", "Near infrared, narrow", 0.865, 0.033),
        ("B09", "nir09", "Water vapour", 0.945, 0.026),
        ("B10", "cirrus", "Cirrus", 1.3735, 0.075),
        ("B11", "swir16", "Short-wave infrared 1", 1.610, 0.143),
        ("B12", "swir22", "Short-wave infrared 2", 2.190, 0.242),
    )
)
RESOLUTIONS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09", "B10"),
}

# In the colours in which Sentinel Hub and the Copernicus Browser show the scene classification.
CLASSES = tuple(
    ClassValue(value=value, name=name, description=text, color=color, clear=clear)
    for value, name, text, color, clear in (
        (0, "no_data", "No data", "000000", False),
        (1, "saturated_or_defective", "Saturated or defective", "FF0000", False),
        (2, "cast_shadow", "Dark area or topographic cast shadow", "2F2F2F", False),
        (3, "cloud_shadow", "Cloud shadow", "643200", False),
        (4, "vegetation", "Vegetation", "00A000", True),
        (5, "not_vegetated", "Not vegetated", "FFE65A", True),
        (6, "water", "Water", "0000FF", True),
        (7, "unclassified", "Unclassified", "808080", False),
        (8, "cloud_medium_probability", "Cloud, medium probability", "C0C0C0", False),
        (9, "cloud_high_probability", "Cloud, high probability", "FFFFFF", False),
        (10, "thin_cirrus", "Thin cirrus", "64C8FF", False),
        (11, "snow_or_ice", "Snow or ice", "FF96FF", True),
    )
)


def _layer_types() -> dict[str, LayerType]:
    """The layers of both levels, by name."""
    found = {}
    for resolution, names in RESOLUTIONS.items():
        for band in BANDS:
            if band.name in names:
                found[band.name] = LayerType(
                    name=band.name,
                    kind=Kind.MEASUREMENT,
                    resolution=resolution,
                    title=f"{band.description} ({band.name})",
                    data_type="uint16",
                    nodata=0,
                    bands=(band,),
                    roles=("data", "reflectance"),
                )
    found = {band.name: found[band.name] for band in BANDS}
    for name, title, unit in (("AOT", "Aerosol optical thickness", None), ("WVP", "Water vapour", "cm")):
        found[name] = LayerType(
            name=name, kind=Kind.MEASUREMENT, resolution=20, title=f"{title} ({name})", data_type="uint16", nodata=0,
            unit=unit,
        )  # fmt: skip
    found["SCL"] = LayerType(
        name="SCL",
        kind=Kind.CLASSES,
        resolution=20,
        title="Scene classification (SCL)",
        data_type="uint8",
        nodata=0,
        classes=CLASSES,
    )
    for name, title, role in (("CLD", "Cloud probability", "cloud"), ("SNW", "Snow probability", "snow-ice")):
        # 0 % is a value, so that the ground outside the granule needs another mark.
        found[name] = LayerType(
            name=name, kind=Kind.MEASUREMENT, resolution=20, title=f"{title} ({name})", data_type="uint8", nodata=255,
            unit="%", roles=("data", role),
        )  # fmt: skip
    found["TCI"] = LayerType(
        name="TCI",
        kind=Kind.PICTURE,
        resolution=10,
        title="True colour image (TCI)",
        data_type="uint8",
        nodata=0,
        bands=tuple(band for name in ("B04", "B03", "B02") for band in BANDS if band.name == name),
        roles=("visual",),
    )
    return found


LAYERS: Mapping[str, LayerType] = _layer_types()


def _collection(level: str, *, title: str, description: str, start: datetime, names: tuple[str, ...]) -> CollectionType:
    """One of the two collections; they differ in their layers and in what the numbers are."""
    top = 0.3 if level == "L2A" else 0.35
    return CollectionType(
        id=f"sentinel-2-{level.lower()}",
        title=title,
        description=description,
        license="other",
        license_href="https://sentinel.esa.int/documents/247904/690755/Sentinel_Data_Legal_Notice",
        attribution="Contains modified Copernicus Sentinel data",
        provider="ESA",
        provider_href="https://sentinels.copernicus.eu",
        start=start,
        constellation="sentinel-2",
        platforms=("sentinel-2a", "sentinel-2b", "sentinel-2c"),
        instruments=("msi",),
        keywords=("sentinel-2", "msi", "copernicus", "reflectance", "SWEREF 99 TM"),
        layers=tuple(LAYERS[name] for name in names),
        mask="SCL" if level == "L2A" else None,
        renders={
            "true-colour": Render(title="True colour", assets=("B04", "B03", "B02"), rescale=(0.0, top)),
            "false-colour": Render(title="Near infrared", assets=("B08", "B04", "B03"), rescale=(0.0, top + 0.1)),
        },
        # The names of Open Data Cubes that had the agency's zips: those of the images inside.
        cube=CubeNames(
            products=(f"sentinel_s2_{level.lower()}_zips",),
            measurements={f"{name}_{LAYERS[name].resolution}m": name for name in names if name != "TCI"},
        ),
    )


L2A = _collection(
    "L2A",
    title="Sentinel-2 Level-2A",
    description="Surface reflectance of Sentinel-2 as Cloud Optimized GeoTIFFs, on the pixel grid of SWEREF 99 TM "
    "unless an item's `proj:code` says otherwise.",
    start=datetime(2015, 6, 27, 10, 25, 31, tzinfo=UTC),
    names=("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12",
           "AOT", "WVP", "SCL", "CLD", "SNW", "TCI"),
)  # fmt: skip
L1C = _collection(
    "L1C",
    title="Sentinel-2 Level-1C",
    description="Top-of-atmosphere reflectance of Sentinel-2 as Cloud Optimized GeoTIFFs, on the pixel grid of "
    "SWEREF 99 TM unless an item's `proj:code` says otherwise.",
    start=datetime(2015, 6, 27, 10, 25, 31, tzinfo=UTC),
    names=(*(band.name for band in BANDS), "TCI"),
)

_PRODUCT = re.compile(r"S2[A-D]_MSIL(1C|2A)_\d{8}T\d{6}_N\d{4}_R\d{3}_T\d\d[A-Z]{3}_\d{8}T\d{6}")
_METADATA = re.compile(r"MTD_MSIL(1C|2A)\.xml", re.IGNORECASE)
_OLD = re.compile(r"(^|/)S2[AB]_(OPER|USER)_MTD_SAFL(1C|2A)[^/]*\.xml$")
_IMAGE = re.compile(
    r"(?:^|/)IMG_DATA/(?:R\d0m/)?[^/]*_(B\d[0-9A]|AOT|WVP|SCL|TCI)(?:_(\d\d)m)?\.(?:jp2|j2k|tiff?)$", re.I
)
_PROBABILITY = re.compile(r"(?:^|/)QI_DATA/(?:MSK_|[^/]*_)(CLD|SNW)(?:PRB)?_20m\.(?:jp2|tiff?)$", re.IGNORECASE)


class Sentinel2:
    """Sentinel-2 MSI, L1C and L2A."""

    name = "sentinel-2"
    collections = (L1C, L2A)

    def recognise(self, files: Files) -> bool:
        """Whether the names are those of a Sentinel-2 product, of the compact or the older format."""
        return (
            any(_METADATA.fullmatch(name) or _OLD.search(name) for name in files.names)
            or re.match(r"S2[A-D]_(MSIL|OPER_PRD|USER_PRD)", files.path.name) is not None
            or sentinel2_aws.recognise(files)
        )

    def read(self, files: Files, *, visual: bool = False) -> Product:
        """The product's metadata; no pixel is touched."""
        if not any(_METADATA.fullmatch(name) for name in files.names) and sentinel2_aws.recognise(files):
            tile = sentinel2_aws.Tile(files)
            product = self._read(tile, visual=visual)
            return replace(product, layers=tuple(replace(one, file=tile.own(one.file)) for one in product.layers))
        return self._read(files, visual=visual)

    def _read(self, files: Files, *, visual: bool) -> Product:
        """The metadata of a SAFE."""
        named = files.path.name
        if any(_OLD.search(name) for name in files.names):
            raise UnsupportedProduct(
                f"{named}: the older format (before December 2016), which holds several granules in one product; "
                "fetch the reprocessed product of the compact format"
            )
        metadata = next((name for name in files.names if _METADATA.fullmatch(name)), None)
        if metadata is None:
            raise BrokenProduct(f"{named}: MTD_MSIL1C.xml or MTD_MSIL2A.xml is missing; fetch the product again")
        granules = sorted(name[:-10] for name in files.names if re.fullmatch(r"GRANULE/[^/]+/MTD_TL\.xml", name))
        if not granules and "MTD_TL.xml" in files.names:
            granules = [""]  # some who copy products keep the two documents alone, side by side
        if len(granules) > 1:
            raise UnsupportedProduct(f"{named}: {len(granules)} granules in one product; give products of one granule")
        if not granules:
            raise BrokenProduct(f"{named}: GRANULE/*/MTD_TL.xml is missing; fetch the product again")
        granule = granules[0]
        main = _document(files, metadata)
        tile = _document(files, f"{granule}MTD_TL.xml")
        collection = _level(main)
        layers, missing = _layers(files, granule, main, tile, collection, visual=visual)
        sensed = _time(tile.text("SENSING_TIME"))
        return Product(
            id=_product_id(files, main, tile, collection),
            path=files.path,
            collection=collection,
            sensed=sensed,
            footprint=_footprint(main),
            properties=_properties(main, tile, collection),
            layers=layers,
            missing=missing,
            extensions=(
                "https://stac-extensions.github.io/view/v1.0.0/schema.json",
                "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
                "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
                "https://stac-extensions.github.io/mgrs/v1.0.0/schema.json",
                "https://stac-extensions.github.io/product/v0.1.0/schema.json",
                "https://stac-extensions.github.io/sentinel-2/v1.0.0/schema.json",
            ),
        )


SENTINEL2 = Sentinel2()


@dataclass(frozen=True, slots=True)
class _Document:
    """An XML document whose elements are found by local name, wherever they stand."""

    name: str
    root: etree._Element

    def all(self, tag: str) -> Iterator[etree._Element]:
        return self.root.iterfind(f".//{{*}}{tag}")

    def find(self, *tags: str) -> str | None:
        """The text of the first element with one of the names, in the order of the names."""
        for tag in tags:
            for element in self.all(tag):
                if element.text and element.text.strip():
                    return element.text.strip()
        return None

    def text(self, *tags: str) -> str:
        found = self.find(*tags)
        if found is None:
            raise BrokenProduct(f"{self.name}: no {tags[0]} in it; fetch the product again")
        return found

    def number(self, *tags: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """The number in the first element with one of the names; None where there is none, or one out of its range.

        What merely describes is left out rather than told wrong. Raises BrokenProduct where the text is no number.
        """
        found = self.find(*tags)
        if found is None:
            return None
        try:
            number = float(found)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BrokenProduct(f"{self.name}: {tags[0]} is {found!r}, not a number")
        return number if low <= number <= high else None

    def percentage(self, *tags: str) -> float | None:
        """The percentage in the first element with one of the names, as `number`."""
        return self.number(*tags, low=0.0, high=100.0)

    def positive(self, *tags: str, default: float | None = None) -> float:
        """A number above zero, which pixels are computed with. Raises BrokenProduct where there is none."""
        if default is not None and self.find(*tags) is None:
            return default
        found, number = self.text(*tags), self.number(*tags)
        if number is None or number <= 0:
            raise BrokenProduct(f"{self.name}: {tags[0]} is {found}, not above zero")
        return number


def _document(files: Files, name: str) -> _Document:
    """One of the product's XML documents."""
    title = f"{files.path.name}: {name}"
    return _Document(title, parse_xml(title, files.read(name)))


def _level(main: _Document) -> CollectionType:
    """The collection of the product's processing level."""
    level = main.text("PROCESSING_LEVEL")
    levels = {"Level-1C": L1C, "Level-2A": L2A, "Level-2Ap": L2A}
    if level not in levels:
        raise UnsupportedProduct(f"{main.name}: PROCESSING_LEVEL is {level!r}; converted are: {', '.join(levels)}")
    return levels[level]


def _product_id(files: Files, main: _Document, tile: _Document, collection: CollectionType) -> str:
    """The agency's id, as the metadata or the path states it, whichever agrees with the rest of the metadata.

    Old L1C products state another one, and folders get renamed. A path that is no id of the agency's is taken as it is.
    """
    level = "2A" if collection is L2A else "1C"
    satellite = _platform(main).removeprefix("sentinel-").upper()
    granule = re.search(r"_(T\d\d[A-Z]{3})(?:_|$)", tile.find("TILE_ID", "TILE_ID_2A") or "")
    datatake = re.search(r"_(\d{8}T\d{6})_", _datatake(main))
    stated = main.find("PRODUCT_URI", "PRODUCT_URI_2A", "PRODUCT_URI_1C") or ""
    found = [match.group() for text in (stated, files.path.name) if (match := _PRODUCT.search(text))]
    for name in found:
        begins = name.startswith(f"S{satellite}_MSIL{level}_{datatake[1] if datatake else ''}")
        if begins and (granule is None or f"_{granule[1]}_" in name):
            return name
    if found:
        raise BrokenProduct(
            f"{main.name}: is called {found[0]}, but tells of Sentinel-{satellite}, Level-{level}, "
            f"{datatake[1] if datatake else 'any time'}, {granule[1] if granule else 'any granule'}; fetch it again"
        )
    return files.path.name.removesuffix(".zip").removesuffix(".SAFE")


def _datatake(main: _Document) -> str:
    """The datatake's identifier, such as GS2B_20220715T101559_027979_N04.00; empty where there is none."""
    return next((element.get("datatakeIdentifier") for element in main.all("Datatake")), None) or ""


def _platform(main: _Document) -> str:
    """STAC's name of the satellite."""
    name = main.text("SPACECRAFT_NAME")
    if not re.fullmatch(r"Sentinel-2[A-D]", name):
        raise BrokenProduct(f"{main.name}: SPACECRAFT_NAME is {name!r}, no Sentinel-2")
    return name.lower()


def _time(text: str) -> datetime:
    """An instant of the metadata; all are UTC, those too that don't say so."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _stamp(text: str | None) -> str | None:
    """An instant as STAC writes it; None where it is none."""
    try:
        return None if text is None else _time(text).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None


MAX_RING = 100_000
"""Letters of a ring; genuine ones have up to some thousands."""


def _footprint(main: _Document) -> Polygon | MultiPolygon | None:
    positions = main.find("EXT_POS_LIST")
    if positions is None:
        return None
    if len(positions) > MAX_RING:
        raise BrokenProduct(f"{main.name}: EXT_POS_LIST has {len(positions)} letters; at most {MAX_RING} are read")
    try:
        return footprints.from_positions([float(number) for number in positions.split()])
    except ValueError as error:
        raise BrokenProduct(f"{main.name}: EXT_POS_LIST is no ring: {error}") from error


_REACH = (
    ("NROWS", 1, 10_980),
    ("NCOLS", 1, 10_980),
    ("ULX", -1_000_000, 2_000_000),
    ("ULY", -1_000_000, 11_000_000),
)
"""Pixels that a granule may have, and metres, with room to spare for experiments."""


def _grid(tile: _Document, resolution: int) -> Grid:
    """The grid of the granule at a resolution."""
    found: dict[str, float] = {}
    for tag, names in (("Size", ("NROWS", "NCOLS")), ("Geoposition", ("ULX", "ULY"))):
        for element in tile.all(tag):
            if element.get("resolution") == str(resolution):
                for name in names:
                    child = element.find(f"{{*}}{name}")
                    if child is not None and child.text:
                        found[name] = float(child.text)
    if len(found) != 4 or not all(map(math.isfinite, found.values())):
        raise BrokenProduct(f"{tile.name}: no whole Tile_Geocoding for {resolution} m in it; fetch the product again")
    for tag, low, high in _REACH:
        if not low <= found[tag] <= high:
            raise BrokenProduct(
                f"{tile.name}: {tag} is {found[tag]:g}, not within {low} and {high}; fetch the product again"
            )
    crs = tile.text("HORIZONTAL_CS_CODE")
    if not re.fullmatch(r"EPSG:32[67](0[1-9]|[1-5]\d|60)", crs):
        raise BrokenProduct(f"{tile.name}: HORIZONTAL_CS_CODE is {crs!r}, not a UTM zone; fetch the product again")
    return Grid(
        crs=crs,
        left=found["ULX"],
        top=found["ULY"],
        resolution=resolution,
        columns=int(found["NCOLS"]),
        rows=int(found["NROWS"]),
    )


def _images(files: Files, granule: str) -> dict[tuple[str, int | None], str]:
    """The images below a granule's folder: (layer name, resolution in the file's name or None) → file."""
    found: dict[tuple[str, int | None], str] = {}
    for name in files.names:
        if not name.startswith(granule):
            continue
        if image := _IMAGE.search(name):
            found[image[1].upper(), int(image[2]) if image[2] else None] = name
        elif probability := _PROBABILITY.search(name):
            found[probability[1].upper(), 20] = name
    return found


def _layers(
    files: Files, granule: str, main: _Document, tile: _Document, collection: CollectionType, *, visual: bool
) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The layers that are there, and a line for each that is not."""
    images = _images(files, granule)
    scaling = _scaling(main, collection)
    layers, missing = [], []
    for kind in collection.layers:
        if kind.kind is Kind.PICTURE and not visual:
            continue
        # Aerosol and water vapour come at several resolutions; 20 m is where they are computed.
        wanted = [kind.resolution, 10, 60] if kind.name in ("AOT", "WVP") else [kind.resolution]
        places = [(kind.name, resolution) for resolution in wanted] if collection is L2A else [(kind.name, None)]
        place = next((place for place in places if place in images), None)
        if place is None:
            missing.append(f"{kind.name} ({kind.resolution} m) is missing")
            continue
        file = images[place]
        if files.size(file) < 12:  # shorter than any signature of JPEG 2000 or TIFF
            missing.append(f"{file} has {files.size(file)} bytes")
            continue
        scale, offset = scaling.get(kind.name, (1.0, 0.0))
        layers.append(
            Layer(
                type=kind,
                file=file,
                href=files.href(file),
                grid=_grid(tile, place[1] or kind.resolution),
                scale=scale,
                offset=offset,
            )
        )
    return tuple(layers), tuple(missing)


def _scaling(main: _Document, collection: CollectionType) -> dict[str, tuple[float, float]]:
    """(scale, offset) of each layer that has them: physical = DN x scale + offset (PSD 14.9, sections 4.1 and 4.9)."""
    if collection is L2A:
        quantification = main.positive("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
        tag = "BOA_ADD_OFFSET"
    else:
        quantification = main.positive("QUANTIFICATION_VALUE")
        tag = "RADIO_ADD_OFFSET"
    offsets = {element.get("band_id"): float(element.text or "") for element in main.all(tag)}
    if not all(map(math.isfinite, offsets.values())):
        raise BrokenProduct(f"{main.name}: a {tag} is no number; fetch the product again")
    found = {
        band.name: (1 / quantification, offsets.get(str(number), 0.0) / quantification)
        for number, band in enumerate(BANDS)
    }
    for name in ("AOT", "WVP"):
        own = main.positive(f"{name}_QUANTIFICATION_VALUE", f"L2A_{name}_QUANTIFICATION_VALUE", default=1_000.0)
        found[name] = (1 / own, 0.0)
    return found


def _properties(main: _Document, tile: _Document, collection: CollectionType) -> dict[str, object]:
    """The STAC properties that the metadata gives."""
    datatake = _datatake(main)
    orbit_state = (main.find("SENSING_ORBIT_DIRECTION") or "descending").lower()
    own = next(main.all("L2A_Quality_Indicators_Info"), None)
    # Level-2Ap (02.04 to 02.06) states two cloud figures: the one outside this element is the L1C's.
    quality = main if own is None else _Document(main.name, own)
    cloud = quality.percentage("CLOUD_COVERAGE_PERCENTAGE") if own is not None else None
    properties: dict[str, object] = {
        "platform": _platform(main),
        "constellation": collection.constellation,
        "instruments": list(collection.instruments),
        "gsd": 10,
        "eo:cloud_cover": cloud if cloud is not None else main.percentage("Cloud_Coverage_Assessment"),
        "eo:snow_cover": quality.percentage("SNOW_ICE_PERCENTAGE", "SNOW_COVERAGE_ASSESSMENT"),
        "sat:orbit_state": orbit_state if orbit_state in ("ascending", "descending") else None,
        "sat:relative_orbit": _whole(main.number("SENSING_ORBIT_NUMBER", low=1, high=143)),
        "processing:level": "L2A" if collection is L2A else "L1C",
        "processing:version": main.find("PROCESSING_BASELINE"),
        "processing:datetime": _stamp(main.find("GENERATION_TIME")),
        "product:type": main.find("PRODUCT_TYPE"),
        "s2:product_uri": main.find("PRODUCT_URI", "PRODUCT_URI_2A", "PRODUCT_URI_1C"),
        "s2:datatake_id": datatake or None,
        "s2:datatake_type": main.find("DATATAKE_TYPE"),
        "s2:tile_id": tile.find("TILE_ID", "TILE_ID_2A"),
        "s2:reflectance_conversion_factor": main.number("U", low=0),
        "s2:processing_baseline": main.find("PROCESSING_BASELINE"),
        "s2:nodata_pixel_percentage": quality.percentage("NODATA_PIXEL_PERCENTAGE"),
        "s2:high_proba_clouds_percentage": quality.percentage("HIGH_PROBA_CLOUDS_PERCENTAGE"),
        "s2:medium_proba_clouds_percentage": quality.percentage("MEDIUM_PROBA_CLOUDS_PERCENTAGE"),
        "s2:thin_cirrus_percentage": quality.percentage("THIN_CIRRUS_PERCENTAGE"),
        "s2:cloud_shadow_percentage": quality.percentage("CLOUD_SHADOW_PERCENTAGE"),
        "s2:dark_features_percentage": quality.percentage("DARK_FEATURES_PERCENTAGE", "CAST_SHADOW_PERCENTAGE"),
        "s2:vegetation_percentage": quality.percentage("VEGETATION_PERCENTAGE"),
        "s2:not_vegetated_percentage": quality.percentage("NOT_VEGETATED_PERCENTAGE", "BARE_SOILS_PERCENTAGE"),
        "s2:water_percentage": quality.percentage("WATER_PERCENTAGE"),
        "s2:unclassified_percentage": quality.percentage("UNCLASSIFIED_PERCENTAGE"),
    }
    if orbit := re.search(r"_(\d{6})_N", datatake):
        properties["sat:absolute_orbit"] = int(orbit[1])
    if granule := re.search(r"_T(\d\d)([C-X])([A-Z]{2})(?:_|$)", str(properties["s2:tile_id"])):
        properties["grid:code"] = f"MGRS-{granule[1]}{granule[2]}{granule[3]}"
        properties["mgrs:utm_zone"] = int(granule[1])
        properties["mgrs:latitude_band"] = granule[2]
        properties["mgrs:grid_square"] = granule[3]
    properties.update(_angles(tile))
    return {name: value for name, value in properties.items() if value is not None}


def _angles(tile: _Document) -> dict[str, float]:
    """Sun and view angles in degrees; the view's are means over the bands."""
    found = {}
    for zenith, azimuth in _directions(tile, "Mean_Sun_Angle"):
        found["view:sun_elevation"] = round(90.0 - zenith, 6)  # below the horizon in winter
        found["view:sun_azimuth"] = round(azimuth % 360.0, 6)
    views = list(_directions(tile, "Mean_Viewing_Incidence_Angle"))
    if views:
        found["view:incidence_angle"] = round(sum(zenith for zenith, _ in views) / len(views), 6)
        first = views[0][1]  # from which the others differ by less than half a turn, on both sides of north
        turns = [(azimuth - first + 180.0) % 360.0 - 180.0 for _, azimuth in views]
        found["view:azimuth"] = round((first + sum(turns) / len(turns)) % 360.0, 6)
    return found


def _directions(tile: _Document, tag: str) -> Iterator[tuple[float, float]]:
    """(zenith, azimuth) of each such element, in degrees; those that are none are left out."""
    for element in tile.all(tag):
        direction = _Document(tile.name, element)
        if "nan" in (direction.text("ZENITH_ANGLE").lower(), direction.text("AZIMUTH_ANGLE").lower()):
            continue  # of a band whose detectors don't see the granule
        zenith = direction.number("ZENITH_ANGLE", low=0.0, high=180.0)
        azimuth = direction.number("AZIMUTH_ANGLE", low=-360.0, high=360.0)
        if zenith is not None and azimuth is not None:
            yield zenith, azimuth


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
