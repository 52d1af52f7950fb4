"""STAC 1.1 items and collections, made by pystac from values alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pystac
import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry import mapping

from converters.extent import Outline
from converters.profiles import Profile
from kartotek import footprints, grids, nodata, squares
from kartotek.errors import BrokenProduct
from kartotek.grids import Grid
from kartotek.indices import COUNTED
from kartotek.product import PRODUCT, CollectionType, Kind, Layer, LayerType, Product
from kartotek.storage import MEDIA_TYPES

VERSION = "1"
"""Of the recipe of conversion; it changes when the same product would give other files or another item."""

SOFTWARE = {"kartotek": "0.1"}

_ITEM_EXTENSIONS = (
    # eo v2.0.0 forbids `eo:bands`, from which alone odc-stac reads aliases such as "red".
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
_OF_BANDS = {name: name.split("/")[3] for name in _ITEM_EXTENSIONS[2:]}
"""Extension → the prefix of its fields, of those that are about bands and files."""
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v1.1.0/schema.json"
_RENDER = "https://stac-extensions.github.io/render/v2.0.0/schema.json"

COG = MEDIA_TYPES[".tif"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLayer:
    """A layer as it was written: its COG and the grid of it."""

    layer: Layer
    grid: Grid
    path: Path
    delivered: float
    """Metres of a pixel as the agency delivered it."""
    resampled: bool


def item(
    product: Product,
    *,
    layers: Sequence[WrittenLayer],
    outline: Outline,
    others: Mapping[str, pystac.Asset],
    profile: Profile,
    missing: Sequence[str],
    left_out: Sequence[str] = (),
) -> pystac.Item:
    """The item of a converted product; hrefs are the files' names.

    `missing` says what ought to be there and could not be had, `left_out` names layers that were not wanted.

    The same product gives the same item: no date of conversion is in it. Where the footprint is cut, at 180 degrees or
    at a pole, the outline stands in the item whole too, in the CRS of its pixels (`proj:geometry`).
    """
    conversion: dict[str, object] = {
        "processing:software": SOFTWARE,
        "processing:lineage": _lineage(layers),
        "kartotek:recipe": VERSION,
        "kartotek:profile": profile.value,
    }
    if left_out:
        conversion["kartotek:left_out"] = list(left_out)
    found = _item(product, outline, conversion, crs=layers[0].grid.crs, missing=missing)
    for written in layers:
        found.add_asset(written.layer.name, _asset(written))
        if written.layer.type.kind is Kind.CLASSES and _CLASSIFICATION not in found.stac_extensions:
            found.stac_extensions.append(_CLASSIFICATION)
    for name, asset in others.items():
        found.add_asset(name, asset)
    return found


def registered(product: Product, outline: Outline | None, original: pystac.Asset) -> pystac.Item:
    """The item of a product that is not converted: what its metadata tells, and the product as it lies.

    Its id, time and properties are those of the item that conversion makes of it. Raises BrokenProduct where the
    metadata does not tell where it lies, by its `outline`.
    """
    if outline is None:
        raise BrokenProduct(f"{product.path.name}: {'; '.join(product.missing)}; fetch the product again")
    found = _item(product, outline, {}, crs=outline.crs, missing=product.missing)
    found.add_asset(PRODUCT, original)
    # Some extensions may only be named where one of their fields is used: without bands there are fewer.
    used = {name.partition(":")[0] for name in [*found.properties, *original.extra_fields]}
    unused = [name for name, prefix in _OF_BANDS.items() if prefix not in used]
    found.stac_extensions = [name for name in found.stac_extensions if name not in unused]
    return found


def original(href: str, *, size: int | None = None, checksum: str | None = None) -> pystac.Asset:
    """The asset of a product as the agency delivered it: a zip, or a folder, of which size and checksum say nothing.

    `checksum` is a SHA-256 in hexadecimal.
    """
    suffix, fields = BESIDE[PRODUCT]
    extra: dict[str, object] = {} if size is None else {"file:size": size}
    if checksum is not None:
        extra["file:checksum"] = "1220" + checksum
    kind = {} if href.endswith("/") else {"type": MEDIA_TYPES[suffix]}
    return pystac.Asset.from_dict({"href": href, **kind, **fields, **extra})


def _item(
    product: Product, outline: Outline, conversion: Mapping[str, object], *, crs: str, missing: Sequence[str]
) -> pystac.Item:
    """The item without its assets; `crs` is that of their pixels."""
    footprint = outline.footprint()
    found = pystac.Item(
        id=product.id,
        geometry=mapping(footprint),
        bbox=[round(number, footprints.DIGITS) for number in bbox(footprint)],
        datetime=product.sensed,
        properties={
            **product.properties,
            **conversion,
            "proj:code": crs,
            "attribution": f"{product.collection.attribution} {product.sensed.year}",
        },
        collection=product.collection.id,
    )
    if footprints.is_cut(footprint):
        found.properties["proj:geometry"] = mapping(shapely.set_precision(outline.ring, 0.01))
    if missing:
        found.properties["kartotek:missing"] = list(missing)
    found.stac_extensions = sorted({*_ITEM_EXTENSIONS, *product.extensions})
    found.add_link(pystac.Link(pystac.RelType.LICENSE, product.collection.license_href, title="Terms of use"))
    return found


def bbox(footprint: Polygon | MultiPolygon) -> list[float]:
    """West, south, east, north; across 180 degrees west is the larger, as RFC 7946 says."""
    parts = [part.bounds for part in footprint.geoms] if isinstance(footprint, MultiPolygon) else [footprint.bounds]
    west, south = min(part[0] for part in parts), min(part[1] for part in parts)
    east, north = max(part[2] for part in parts), max(part[3] for part in parts)
    if west <= -180 and east >= 180 and len(parts) > 1:
        west = min(part[0] for part in parts if part[2] >= 180)
        east = max(part[2] for part in parts if part[0] <= -180)
    return [west, south, east, north]


def document(made: pystac.Item | pystac.Collection) -> dict[str, Any]:
    """The JSON of an item or a collection, its links and files named as they are."""
    return made.to_dict(include_self_link=False, transform_hrefs=False)


def collection(kind: CollectionType) -> pystac.Collection:
    """The STAC collection, with what its items' assets are and how they are shown."""
    made = pystac.Collection(
        id=kind.id,
        title=kind.title,
        description=kind.description,
        license=kind.license,
        keywords=list(kind.keywords),
        extent=pystac.Extent(
            pystac.SpatialExtent([[10.03, 54.96, 24.17, 69.07]]), pystac.TemporalExtent([[kind.start, None]])
        ),
        providers=[
            pystac.Provider(
                name=kind.provider,
                roles=[pystac.ProviderRole.PRODUCER, pystac.ProviderRole.LICENSOR],
                url=kind.provider_href,
            )
        ],
        summaries=pystac.Summaries(
            {
                "constellation": [kind.constellation],
                "platform": list(kind.platforms),
                "instruments": list(kind.instruments),
            }
        ),
    )
    made.stac_extensions = [_ITEM_EXTENSIONS[0], _CLASSIFICATION, _RENDER]
    made.extra_fields["item_assets"] = {
        layer.name: {"type": COG, "title": layer.title, "roles": list(layer.roles), **_bands(layer)}
        for layer in kind.layers
    } | {name: {"type": MEDIA_TYPES[suffix], **fields} for name, (suffix, fields) in BESIDE.items()}
    made.extra_fields["renders"] = {
        name: {
            "title": render.title,
            "assets": list(render.assets),
            "rescale": [list(render.rescale)] * len(render.assets),
        }
        for name, render in kind.renders.items()
    }
    if kind.mask is not None:
        # What tells a server, which knows no sensor, where the ground is seen.
        [mask] = [layer for layer in kind.layers if layer.name == kind.mask]
        clear = [value.value for value in mask.classes if value.clear]
        made.extra_fields["kartotek:mask"] = {"asset": mask.name, "clear": clear}
    if kind.cube is not None:
        names = {"products": list(kind.cube.products), "measurements": dict(kind.cube.measurements)}
        made.extra_fields["kartotek:datacube"] = names
    made.extra_fields["attribution"] = kind.attribution
    made.add_link(pystac.Link(pystac.RelType.LICENSE, kind.license_href, title="Terms of use"))
    return made


BESIDE: Mapping[str, tuple[str, dict[str, object]]] = {
    "thumbnail": (".png", {"title": "Thumbnail", "roles": ["thumbnail"]}),
    "squares": (
        ".parquet",
        {
            "title": "Counts per 5 km index square",
            "roles": ["metadata"],
            "kartotek:recipe": squares.RECIPE,
            "kartotek:indices": {name: index.formula for name, index in COUNTED.items()},
        },
    ),
    PRODUCT: (".zip", {"title": "The product as the agency delivered it", "roles": ["archive"]}),
}
"""The assets beside the COGs: key → suffix of the file, and what the asset says."""


def beside(name: str, path: Path) -> pystac.Asset:
    """The asset of a file beside the COGs: the thumbnail, or the index squares' counts."""
    suffix, fields = BESIDE[name]
    return pystac.Asset.from_dict({"href": path.name, "type": MEDIA_TYPES[suffix], **fields, **_file(path)})


def _asset(written: WrittenLayer) -> pystac.Asset:
    """The asset of a COG."""
    layer, grid = written.layer, written.grid
    bounds = grid.bounds
    extra: dict[str, object] = {
        "gsd": written.delivered,
        "proj:code": grid.crs,
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "proj:bbox": [bounds.left, bounds.bottom, bounds.right, bounds.top],
        "raster:spatial_resolution": grid.resolution if grids.is_metric(grid.crs) else written.delivered,
        **_bands(layer.type, layer),
        **_file(written.path),
    }
    if written.resampled:
        extra["kartotek:resampling"] = "nearest" if layer.type.kind is Kind.CLASSES else "bilinear"
    return pystac.Asset(
        written.path.name,
        title=layer.type.title,
        media_type=COG,
        roles=list(layer.type.roles),
        extra_fields=extra,
    )


def _bands(kind: LayerType, layer: Layer | None = None) -> dict[str, object]:
    """`bands` of STAC 1.1 and, for measured bands, the older `eo:bands`; scale and offset where a layer is given."""
    numbers: dict[str, object] = {"data_type": kind.data_type, "nodata": nodata.written(kind.nodata)}
    if kind.unit:
        numbers["unit"] = kind.unit
    if layer is not None and (layer.scale, layer.offset) != (1.0, 0.0):
        numbers["raster:scale"], numbers["raster:offset"] = layer.scale, layer.offset
    bands, legacy = [], []
    for band in kind.bands:
        spectrum = {
            "common_name": band.common_name,
            "center_wavelength": band.center_wavelength,
            "full_width_half_max": band.full_width_half_max,
        }
        spectrum = {name: value for name, value in spectrum.items() if value is not None}
        bands.append(
            {
                "name": band.name,
                **({"description": band.description} if band.description else {}),
                **{f"eo:{name}": value for name, value in spectrum.items()},
                **numbers,
            }
        )
        legacy.append({"name": band.name, **spectrum})
        for several in ("rededge", "green"):  # eo v1.1.0 has one name for all that v2.0.0 tells apart
            if str(band.common_name).startswith(several):
                legacy[-1]["common_name"] = several
    if not bands:
        bands = [{"name": kind.name, **numbers}]
    found: dict[str, object] = {"bands": bands}
    if legacy:
        found["eo:bands"] = legacy
    if kind.kind is Kind.CLASSES:
        found["classification:classes"] = [
            {
                "value": value.value,
                "name": value.name,
                "description": value.description,
                "color_hint": value.color,
                **({"nodata": True} if value.value == kind.nodata else {}),
            }
            for value in kind.classes
        ]
    return found


def _file(path: Path) -> dict[str, object]:
    """The file's size and its SHA-256 as a multihash."""
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file:size": path.stat().st_size, "file:checksum": "1220" + checksum}


def _lineage(layers: Sequence[WrittenLayer]) -> str:
    """How the pixels came to their grid, in a sentence."""
    sources = sorted({written.layer.grid.crs for written in layers})
    grid = layers[0].grid.crs
    null = (
        "WGS 84 and SWEREF 99 are taken as equal, as PROJ does (0.8 m apart in 2024, growing by 2 cm a year)."
        if grid == "EPSG:3006"
        else ""
    )
    if any(written.resampled for written in layers):
        how = f"Resampled once from {', '.join(sources)} to {grid}: classes by nearest neighbour, all else bilinearly."
    else:
        how = f"Pixels of {', '.join(sources)} copied unchanged to {grid}."
    return f"{how} {null}".strip()
