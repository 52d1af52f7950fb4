"""Collections as the old cube's products: their measurements, by the names that either side knows them by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kartotek.errors import BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A layer of a product, by the name that it is asked for."""

    name: str
    asset: str
    """The key of the items' assets that hold it."""
    dtype: str | None
    nodata: float | None
    units: str
    reflectance: bool
    """Whether its numbers are loaded as reflectance x 10 000, unless they are asked for as they are."""
    classes: Mapping[int, str]
    """Code → name, of a layer of classes."""
    clear: tuple[int, ...]
    """The codes of a mask's classes where the ground is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A collection, by one of its names."""

    name: str
    collection: str
    description: str
    license: str
    measurements: tuple[Measurement, ...]
    """All, by the names that go with the product's: the old ones, or the keys of assets."""
    synonyms: Mapping[str, str]
    """Every name of a layer → the key of its asset; common names such as red are among them."""

    def chosen(self, names: str | Sequence[str] | None) -> tuple[Measurement, ...]:
        """The measurements of some names, called as they are asked for; all of them for None.

        Raises BadRequest, with what there is, for a name that none has.
        """
        if names is None:
            return self.measurements
        names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
        if unknown := [name for name in names if name not in self.synonyms]:
            known = ", ".join(one.name for one in self.measurements)
            raise BadRequest(f"{', '.join(unknown)}: no measurement of {self.name}; there are: {known}")
        if not names:
            raise BadRequest(f"no measurements of {self.name} are asked for; None means all of them")
        by_asset = {one.asset: one for one in self.measurements}
        return tuple(replace(by_asset[self.synonyms[name]], name=name) for name in names)


def products(collections: Iterable[Mapping[str, Any]]) -> dict[str, Product]:
    """All products by name: each collection by the old cube's names of it, if it has any, and by its id."""
    found: dict[str, Product] = {}
    for collection in collections:
        table = collection.get("kartotek:datacube") or {}
        layers = {key: asset for key, asset in (collection.get("item_assets") or {}).items() if _is_layer(asset)}
        old = {name: key for name, key in table.get("measurements", {}).items() if key in layers}
        for name in (*table.get("products", ()), collection["id"]):
            names = {key: key for key in layers}
            if name != collection["id"]:
                names = {key: name for name, key in reversed(old.items())} | {
                    key: key for key in layers if key not in old.values()
                }
            found[name] = Product(
                name=name,
                collection=collection["id"],
                description=collection.get("title") or collection.get("description", ""),
                license=collection.get("license", ""),
                measurements=tuple(_measurement(names[key], key, layers[key], collection) for key in layers),
                synonyms={**_common_names(layers), **{key: key for key in layers}, **old},
            )
    return found


def numbers(asset: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an asset says of its numbers: the first of `bands` of STAC 1.1, or of the older `raster:bands`.

    What bands have in common may stand in the asset itself.
    """
    for field in ("bands", "raster:bands"):
        if found := asset.get(field):
            return {**asset, **found[0]}
    return asset


def _is_layer(asset: Mapping[str, Any]) -> bool:
    """Whether it is one raster of numbers: no picture for the eye, no thumbnail, no table."""
    roles = set(asset.get("roles") or ())
    return str(asset.get("type", "")).startswith("image/tiff") and not roles & {"visual", "thumbnail", "overview"}


def _measurement(name: str, key: str, asset: Mapping[str, Any], collection: Mapping[str, Any]) -> Measurement:
    said = numbers(asset)
    nodata = said.get("nodata")
    mask = collection.get("kartotek:mask") or {}
    return Measurement(
        name=name,
        asset=key,
        dtype=said.get("data_type"),
        nodata=float(nodata) if isinstance(nodata, str) else nodata,  # JSON has no NaN
        units=str(said.get("unit") or "1"),
        reflectance="reflectance" in (asset.get("roles") or ()),
        classes={one["value"]: one.get("name", "") for one in asset.get("classification:classes") or ()},
        clear=tuple(mask.get("clear", ())) if mask.get("asset") == key else (),
    )


def _common_names(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """STAC's common name → key, such as red → B04; the first where several have one."""
    found: dict[str, str] = {}
    for key, asset in layers.items():
        for band in (*asset.get("bands", ()), *asset.get("eo:bands", ())):
            for name in (band.get("eo:common_name"), band.get("common_name")):
                if name:
                    found.setdefault(name, key)
    return found
