"""Layers of an item as STAC describes them: found by name, with where their pixels lie and what their numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kartotek import grids, nodata
from kartotek.grids import Grid
from kartotek.storage import MARKER
from pixels.warp import Source

SMALLEST, LARGEST, FARTHEST = 1e-9, 1e9, 1e9
"""Pixels' width and places in degrees or metres beyond which no ground lies; their ratios are numbers."""


def find(assets: Mapping[str, Any], names: Iterable[str]) -> dict[str, Source]:
    """Name → the layer of that name: an asset's own, a band's, or a band's common name; in this order.

    Raises ValueError where there is none of a name, or where what says of it makes no sense.
    """
    known: dict[str, tuple[str, int]] = {}
    for name, asset, band in _named(assets):
        known.setdefault(name, (asset, band))
    names = list(names)
    if missing := [name for name in names if name not in known]:
        there = dict.fromkeys(name for name, asset, _ in _named(assets) if name == asset)
        raise ValueError(f"it has no {', '.join(missing)}; there are: {', '.join(there) or 'none'}")
    return {name: source(assets[known[name][0]], known[name][1]) for name in names}


def _named(assets: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """(name, asset, band) of all names of layers; those that come first are meant."""
    rasters = {name: asset for name, asset in assets.items() if "proj:transform" in asset or "bands" in asset}
    yield from ((name, name, 0) for name in rasters)
    for key in ("name", "eo:common_name"):
        for name, asset in rasters.items():
            # What a picture that the agency made of three bands calls its own is no measurement.
            if len(asset.get("bands") or ()) == 1 and isinstance(found := asset["bands"][0].get(key), str):
                yield found, name, 0


def count(asset: Mapping[str, Any]) -> int:
    """Layers in the file of an asset."""
    return max(1, len(asset.get("bands") or ()))


def source(asset: Mapping[str, Any], band: int = 0) -> Source:
    """A layer as its asset describes it: where its file lies, its grid, and what its numbers mean.

    Raises KeyError, ValueError or TypeError where the asset doesn't say that, or in a way that we don't know.
    """
    # What bands have in common may stand in the asset itself (STAC 1.1).
    facts = {**asset, **(asset["bands"][band] if asset.get("bands") else {})}
    if not str(asset["href"]).startswith(MARKER):
        raise ValueError(f"{asset['href']} is not one of our files")
    return Source(
        key=str(asset["href"]).removeprefix(MARKER),
        grid=_grid(asset),
        nodata=nodata.read(facts.get("nodata")),
        scale=float(facts.get("raster:scale", 1.0)),
        offset=float(facts.get("raster:offset", 0.0)),
        classes="classification:classes" in facts,
        band=band,
    )


def _grid(asset: Mapping[str, Any]) -> Grid:
    a, b, left, d, e, top = (float(number) for number in asset["proj:transform"][:6])
    rows, columns = (int(number) for number in asset["proj:shape"])
    if b or d or a != -e or min(rows, columns) < 1:
        raise ValueError(f"its pixels are not north-up squares: {asset['proj:transform']}")
    if not (SMALLEST <= a <= LARGEST and abs(left) <= FARTHEST and abs(top) <= FARTHEST):
        raise ValueError(f"its pixels are of no size, or in no place, on the ground: {asset['proj:transform']}")
    grids.is_metric(asset["proj:code"])  # raises where PROJ knows no such CRS
    return Grid(crs=asset["proj:code"], left=left, top=top, resolution=a, columns=columns, rows=rows)
