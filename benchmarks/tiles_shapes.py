"""What is asked of servers of tiles: seeded lists of requests by shape, and the blocks of files that each touches."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import morecantile
import numpy as np
import pyproj
import tifffile
from numpy.typing import NDArray
from tiles_scenes import PIXELS, scenes

from converters.samples.ground import right_of
from converters.samples.scene import Scene
from kartotek import matrices
from kartotek.grids import BLOCK
from kartotek.storage import MARKER

COLLECTION = "sentinel-2-l2a"
VIEWPORTS = 6
"""Places that a map is moved to. Their blocks, 60 to 160 MB decoded, fit the servers' caches of 200 and 256 MB."""
WIDE, HIGH = 4, 3
"""Tiles that a map shows at a time."""
PLACES = 72
"""Requests of a list of another kind."""
SPREAD = 9_000.0
"""Metres of a neighbourhood that is looked at there."""
MIDDLE = (604_900.0, 6_595_100.0)
"""Where all six scenes meet."""

RED, GREEN, BLUE, INFRARED = "B04", "B03", "B02", "B08"
Places = NDArray[np.float64]
Request = tuple[str, str, Any]
"""Method, path with its query, and body as JSON or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of request."""

    name: str
    about: str
    kind: str = "tile"
    """tile, mosaic, point, crop or statistics."""
    tms: str = "WebMercatorQuad"
    zoom: int = 13
    suffix: str = "png"
    assets: tuple[str, ...] = (RED, GREEN, BLUE)
    kartotek: str = ""
    """Query of a tile."""
    titiler: str = "rescale=1000,4000"
    """Query of a tile, besides its assets; DN are reflectance x 10 000 + 1000."""

    @property
    def title(self) -> str:
        """What it is, in a line."""
        where = f", {self.tms} z{self.zoom}" if self.kind in ("tile", "mosaic") else f", {len(self.assets)} bands"
        return f"{self.about}{where}, {self.suffix.upper()}"

    @property
    def size(self) -> int:
        """Pixels across a picture."""
        return int(matrices.served()[self.tms].matrix(self.zoom).tileWidth)


_NDVI = {
    "assets": (INFRARED, RED),
    "kartotek": "index=ndvi&rescale=-0.2,0.9&colormap_name=viridis",
    "titiler": "expression=(b1-b2)/(b1%2Bb2-2000)&rescale=-0.2,0.9&colormap_name=viridis",
}
SHAPES = (
    *(Shape(name=f"rgb-png-z{zoom}", about="true colour", zoom=zoom) for zoom in range(10, 15)),
    Shape(name="rgb-webp-z13", about="true colour", suffix="webp"),
    Shape(name="rgb-jpg-z13", about="true colour", suffix="jpg"),
    Shape(name="ndvi-png-z13", about="NDVI in colours", **_NDVI),
    Shape(name="band-png-z13", about="one band", assets=(RED,), kartotek="assets=B04&rescale=0,0.3"),
    *(
        Shape(name=f"rgb-{suffix}-{name}", about="true colour", tms=tms, zoom=zoom, suffix=suffix)
        for name, tms, zoom in (("sweref", "SWEREF99TM", 9), ("native", "SWEREF99TM10", 8))
        for suffix in ("png", "jpg")
    ),
    Shape(name="point", about="a pixel", kind="point", assets=(BLUE, GREEN, RED, INFRARED), suffix="json"),
    Shape(name="crop", about="1 km²", kind="crop", assets=(BLUE, GREEN, RED, INFRARED), suffix="tif"),
    Shape(name="statistics", about="a polygon 5 km across", kind="statistics", assets=(RED, INFRARED), suffix="json"),
    Shape(name="mosaic-png-z13", about="true colour of six scenes, newest first", kind="mosaic"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """A published scene."""

    scene: Scene
    content: dict[str, Any]

    def inside(self, east: Places, north: Places) -> NDArray[np.bool_]:
        """Where it has data; EPSG:3006."""
        scene, side = self.scene, 10 * PIXELS
        found = (east >= scene.left) & (east < scene.left + side) & (north <= scene.top) & (north > scene.top - side)
        return found if scene.swath is None else found & right_of(scene.swath, east, north)

    def key(self, asset: str) -> str:
        """Where a file lies in the storage."""
        return str(self.content["assets"][asset]["href"]).removeprefix(MARKER)


def items(folder: Path) -> list[Item]:
    """The scenes that were prepared, newest first."""
    notes = json.loads((folder / "scenes.json").read_text())
    return [Item(scene, notes[scene.name]["item"]) for scene in reversed(scenes())]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a list, and what of which items it shows."""

    item: Item | None
    """None of a mosaic."""
    tile: morecantile.Tile | None = None
    polygon: dict[str, Any] = field(default_factory=dict)
    """GeoJSON in longitude and latitude; of a point its own."""
    east: Places = field(default_factory=lambda: np.empty(0))
    north: Places = field(default_factory=lambda: np.empty(0))
    """Centres of the pixels of the answer in EPSG:3006, (rows, columns)."""


def asked(shape: Shape, items: Sequence[Item], *, seed: int) -> Iterator[Asked]:
    """The list of a shape; shapes that differ in how they are shown alone have the same."""
    chance = random.Random(f"{seed} {shape.kind} {shape.tms} {shape.zoom}")
    return (_tiles if shape.kind in ("tile", "mosaic") else _parts)(shape, items, chance)


def _tiles(shape: Shape, items: Sequence[Item], chance: random.Random) -> Iterator[Asked]:
    tms, matrix = matrices.served()[shape.tms], matrices.served()[shape.tms].matrix(shape.zoom)
    crs = f"EPSG:{tms.crs.to_epsg()}"
    to_tms, to_ground = _change("EPSG:3006", crs), _change(crs, "EPSG:3006")
    span = matrix.cellSize * matrix.tileWidth
    origin = tms.xy_bounds(morecantile.Tile(0, 0, shape.zoom))
    found = 0
    while found < VIEWPORTS:
        item = chance.choice([one for one in items if not _sliver(one)])
        if shape.kind == "mosaic":
            east, north = (middle + chance.uniform(-SPREAD, SPREAD) for middle in MIDDLE)
        else:
            east = item.scene.left + chance.uniform(0.2, 0.8) * 10 * PIXELS
            north = item.scene.top - chance.uniform(0.2, 0.8) * 10 * PIXELS
        x, y = to_tms.transform(east, north)
        column, row = int((x - origin.left) // span) - WIDE // 2, int((origin.top - y) // span) - HIGH // 2
        view = [morecantile.Tile(column + i, row + j, shape.zoom) for j in range(HIGH) for i in range(WIDE)]
        places = [_centres(tms.xy_bounds(tile), matrix.tileWidth, to_ground, crs) for tile in view]
        seen = items if shape.kind == "mosaic" else [item]
        if not all(np.logical_or.reduce([one.inside(*place) for one in seen]).all() for place in places):
            continue
        found += 1
        for tile, (east_of, north_of) in zip(view, places, strict=True):
            yield Asked(None if shape.kind == "mosaic" else item, tile, east=east_of, north=north_of)


def _sliver(item: Item) -> bool:
    """Whether the swath has left little of a scene."""
    return item.scene.swath is not None and item.scene.tile == "33VXG"


def _centres(bounds: Any, size: int, change: pyproj.Transformer, crs: str) -> tuple[Places, Places]:
    """Pixel centres of a square in a CRS, in EPSG:3006."""
    step = (bounds.right - bounds.left) / size
    x, y = np.meshgrid(bounds.left + step * (np.arange(size) + 0.5), bounds.top - step * (np.arange(size) + 0.5))
    return (x, y) if crs == "EPSG:3006" else change.transform(x, y)


def _parts(shape: Shape, items: Sequence[Item], chance: random.Random) -> Iterator[Asked]:
    change, side = _change("EPSG:3006", "EPSG:4326"), {"point": 10, "crop": 1_000, "statistics": 5_000}[shape.kind]
    whole = [one for one in items if not _sliver(one)]
    for number in range(PLACES):
        if number % (PLACES // VIEWPORTS) == 0:
            item = chance.choice(whole)
            left = item.scene.left + chance.uniform(0.2, 0.7) * 10 * PIXELS
            top = item.scene.top - chance.uniform(0.2, 0.7) * 10 * PIXELS
        east, north = left + chance.uniform(0, SPREAD), top - chance.uniform(0, SPREAD)
        corners = 24 if shape.kind == "statistics" else 4
        radius = side / 2 if shape.kind == "statistics" else side / math.sqrt(2)
        turns = [2 * math.pi * (corner + 0.5) / corners for corner in range(corners)]
        ring = [change.transform(east + radius * math.cos(turn), north + radius * math.sin(turn)) for turn in turns]
        polygon = {"type": "Polygon", "coordinates": [[*map(list, ring), list(ring[0])]]}
        if shape.kind == "point":
            polygon = {"type": "Point", "coordinates": list(change.transform(east, north))}
        step = np.arange(-side / 2 + 5, side / 2, 10)
        yield Asked(item, None, polygon, *np.meshgrid(10 * (east // 10) + step, 10 * (north // 10) + step[::-1]))


@cache
def _change(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


# As servers are asked


def of_kartotek(shape: Shape, one: Asked, mosaic: str) -> Request:
    """A request as kartotek takes it; `mosaic` is the id under which the search was registered."""
    place = f"{shape.tms}/{one.tile.z}/{one.tile.x}/{one.tile.y}.{shape.suffix}" if one.tile else ""
    query = f"?{shape.kartotek}" if shape.kartotek else ""
    if one.item is None:
        return "GET", f"/mosaics/{mosaic}/tiles/{place}?order=newest{query.replace('?', '&')}", None
    name, assets = one.item.scene.name, ",".join(shape.assets)
    match shape.kind:
        case "tile":
            return "GET", f"/tiles/{COLLECTION}/{name}/{place}{query}", None
        case "point":
            lon, lat = one.polygon["coordinates"]
            return "GET", f"/collections/{COLLECTION}/items/{name}/point?lon={lon}&lat={lat}&assets={assets}", None
        case kind:
            end = "crop.tif" if kind == "crop" else kind
            return "POST", f"/collections/{COLLECTION}/items/{name}/{end}?assets={assets}", one.polygon


def of_titiler(shape: Shape, one: Asked, mosaic: str, documents: Path) -> Request:
    """A request as titiler takes it; `documents` is the folder of the items' JSON.

    Its crops and statistics stay on the files' own pixels, which is less work than its default.
    """
    place = f"{shape.tms}/{one.tile.z}/{one.tile.x}/{one.tile.y}.{shape.suffix}" if one.tile else ""
    assets = "&".join(f"assets={name}" for name in shape.assets)
    if one.item is None:
        return "GET", f"/searches/{mosaic}/tiles/{place}?pixel_selection=first&{assets}&{shape.titiler}", None
    where = f"?url={documents / one.item.scene.name}.json&{assets}"
    feature = {"type": "Feature", "properties": {}, "geometry": one.polygon}
    match shape.kind:
        case "tile":
            return "GET", f"/tiles/{place}{where}&{shape.titiler}", None
        case "point":
            lon, lat = one.polygon["coordinates"]
            return "GET", f"/point/{lon},{lat}{where}", None
        case "crop":
            return "POST", f"/feature.tif{where}&dst_crs=EPSG:3006", feature
        case _:
            return "POST", f"/statistics{where}&dst_crs=EPSG:3006", feature


# As files are read

Touched = list[tuple[str, int, int]]
"""Key, offset and size of blocks."""


def touched(shape: Shape, one: Asked, items: Sequence[Item], store: Path) -> Touched:
    """The blocks that an answer is made of, band by band.

    They are those of the bilinear neighbours of its pixels' centres, on the coarsest level whose pixels are no larger
    than its own; of a mosaic, of the newest scene that has data at each pixel.
    """
    left, found = np.ones(one.east.shape, np.bool_), []
    for item in [one.item] if one.item else items:
        shown = left & item.inside(one.east, one.north)
        left &= ~shown
        if shown.any():
            for asset in shape.assets:
                found += _of_file(store, item.key(asset), one, shown)
    return found


def _of_file(store: Path, key: str, one: Asked, shown: NDArray[np.bool_]) -> Touched:
    left, top, size, levels = _file(store / key)
    columns, rows = (one.east - left) / size, (top - one.north) / size
    moves = [np.hypot(np.diff(columns, axis=axis), np.diff(rows, axis=axis)) for axis in (0, 1)]
    step = min((np.median(move) for move in moves if move.size), default=1)
    level = min(max(0, math.floor(math.log2(step) + 1e-3)), len(levels) - 1)
    width, height, places = levels[level]
    blocks: set[int] = set()
    across = -(-width // BLOCK)
    exact = [np.round(axis[shown] / 2**level - 0.5, 6) for axis in (columns, rows)]
    for column in (np.floor(exact[0]), np.ceil(exact[0])):
        for row in (np.floor(exact[1]), np.ceil(exact[1])):
            c, r = np.clip(column, 0, width - 1).astype(int), np.clip(row, 0, height - 1).astype(int)
            blocks |= set(np.unique(r // BLOCK * across + c // BLOCK).tolist())
    return [(key, *places[block]) for block in sorted(blocks)]


@cache
def _file(path: Path) -> tuple[float, float, float, list[tuple[int, int, list[tuple[int, int]]]]]:
    """Left, top, pixel size, and of each level its width, its height and where its blocks lie."""
    with tifffile.TiffFile(path) as file:
        first = file.pages.first.tags
        _, _, _, left, top, _ = first["ModelTiepointTag"].value
        levels = [
            (page.imagewidth, page.imagelength, list(zip(page.dataoffsets, page.databytecounts, strict=True)))
            for page in file.pages
        ]
        return left, top, first["ModelPixelScaleTag"].value[0], levels
