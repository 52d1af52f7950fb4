"""The six scenes that tiles are measured on: genuine 10 m texture on the ground of three granules, on two dates.

They are written as SAFE products, whose metadata is that of our samples and whose bands are GeoTIFFs without
compression, and then converted and published as any product. On the newer date the swath ends in the east.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import tifffile
from numpy.typing import NDArray
from rasterio.transform import from_origin

from catalog.access import OPERATOR
from catalog.store import Catalog
from converters.convert import Recipe
from converters.samples.ground import Line, right_of
from converters.samples.metadata import documents
from converters.samples.pixels import Image, Tally, images
from converters.samples.scene import Scene
from jobs.convert import Failed, convert_all
from kartotek.storage import MARKER, FolderStorage

BANDS = ("B02", "B03", "B04", "B08", "SCL")
GRANULES = (("33VWG", 499_980, 6_700_020), ("33VXG", 600_000, 6_700_020), ("33VWF", 499_980, 6_600_000))
"""Name, and west and north edge in UTM 33, which is SWEREF 99 TM; a square of 9.8 km is in all three."""
PIXELS = 10_980
SWATH: Line = ((614_000, 6_710_000), (598_000, 6_480_000))
"""On the newer date what lies east of it was not seen."""
DATES: tuple[tuple[str, str, int, Line | None], ...] = (
    ("2024-05-15T10:15:59.024", "S2B", 65, None),
    ("2024-06-14T10:05:59.024", "S2B", 22, SWATH),
)
ROWS = 1098
"""Rows that are made at a time."""

TALLY = Tally(classes=(0, 0, 0, 0, 80, 12, 6, 0, 0, 2, 0, 0), land=94, cloudy_land=2, aot=0.1, wvp=1.5)
"""Roughly what the pixels show, for the metadata."""


def scenes() -> tuple[Scene, ...]:
    """The scenes, older ones first."""
    return tuple(
        Scene(
            tile=tile, zone=33, left=left, top=top, pixels=PIXELS, baseline="05.10", platform=platform, orbit=orbit,
            sensed=datetime.fromisoformat(sensed).replace(tzinfo=UTC), swath=swath,
        )
        for sensed, platform, orbit, swath in DATES
        for tile, left, top in GRANULES
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Texture:
    """Genuine pixels, laid over all ground by mirroring, brighter here and darker there."""

    bands: Mapping[str, NDArray[np.uint16]]
    shift: int
    """Pixels by which it lies elsewhere on another date."""

    def band(self, name: str, east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float32]:
        """DN at the crossings of columns and rows of ground."""
        pixels = self.bands[name]
        rows, columns = (
            _mirrored(np.floor(places / 10).astype(int) + self.shift, size)
            for places, size in zip((-north, east), pixels.shape, strict=True)
        )
        found: NDArray[np.float32] = pixels[np.ix_(rows, columns)] * self._light(east, north)
        return found

    def _light(self, east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float32]:
        turn = self.shift / 1000
        wide = np.sin(east / 9_100 + turn) * np.sin(north / 7_300 + turn)[:, None]
        far = np.sin(east / 37_000 + turn) * np.cos(north / 29_000 - turn)[:, None]
        light: NDArray[np.float32] = (1 + 0.12 * wide + 0.12 * far).astype(np.float32)
        return light


def _mirrored(places: NDArray[np.int_], size: int) -> NDArray[np.int_]:
    places = places % (2 * size)
    found: NDArray[np.int_] = np.where(places < size, places, 2 * size - 1 - places)
    return found


def textures(data: Path) -> dict[str, NDArray[np.uint16]]:
    """The genuine pixels, band by band."""
    found = {}
    for name in BANDS[:4]:
        with rasterio.open(data / f"ref_input_S2_{name}.tif") as file:
            found[name] = file.read(1)
    return found


def write(scene: Scene, folder: Path, texture: Texture) -> Path:
    """The product of a scene; of its images those of `BANDS` are there at their finest, the others in name."""
    root = folder / f"{scene.name}.SAFE"
    for name, content in documents(scene, images(scene), TALLY).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    made: set[str] = set()
    for image in images(scene):
        path = root / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left out".ljust(4096))
        if image.measured and image.name in BANDS and image.name not in made:  # the finest comes first
            made.add(image.name)
            _write(scene, image, path, texture)
    return root


def _write(scene: Scene, image: Image, path: Path, texture: Texture) -> None:
    size, step = scene.size(image.resolution), image.resolution
    rows = ROWS * 10 // step
    east = scene.left + step * (np.arange(size) + 0.5)
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype=image.data_type, crs="EPSG:32633",
        transform=from_origin(scene.left, scene.top, step, step),
    ) as file:  # fmt: skip
        for row in range(0, size, rows):
            north = scene.top - step * (np.arange(row, row + rows) + 0.5)
            pixels = _pixels(scene, image, texture, east, north)
            if scene.swath:
                pixels = pixels * right_of(scene.swath, east[None, :], north[:, None])
            file.write(pixels.astype(image.data_type), 1, window=((row, row + rows), (0, size)))


def _pixels(
    scene: Scene, image: Image, texture: Texture, east: NDArray[np.float64], north: NDArray[np.float64]
) -> NDArray[Any]:
    if image.name == "SCL":
        return _classes(texture, east, north)
    return np.clip(np.rint(texture.band(image.name, east, north)), 1, 30_000) + scene.offset


def _classes(texture: Texture, east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Vegetation, bare ground, water, and some clouds."""
    red, infrared = texture.band("B04", east, north), texture.band("B08", east, north)
    green = (infrared - red) / (infrared + red)
    turn = texture.shift / 500
    cloud = np.sin(east / 4_300 + turn) + np.sin(north / 5_900 - turn)[:, None] > 1.6
    found: NDArray[np.uint8] = np.select([cloud, green > 0.3, green > 0], [9, 4, 5], 6).astype(np.uint8)
    return found


def prepare(folder: Path, data: Path) -> None:
    """Convert and publish all scenes; those that are there already stay. Notes what they are in scenes.json."""
    folder.mkdir(parents=True, exist_ok=True)
    storage, catalog = FolderStorage(folder / "store"), Catalog(f"sqlite:///{folder / 'kartotek.db'}")
    catalog.ready()
    pixels, products = textures(data), folder / "products"
    notes: dict[str, Any] = {}
    for number, scene in enumerate(scenes()):
        if catalog.find(OPERATOR, "sentinel-2-l2a", scene.name) is None:
            path = write(scene, products, Texture(pixels, 377 * (number // len(GRANULES))))
            for outcome in convert_all([path], Recipe(bands={"sentinel-2-l2a": BANDS}), storage, catalog):
                if isinstance(outcome, Failed):
                    raise outcome.error
            shutil.rmtree(path)
        content = catalog.find(OPERATOR, "sentinel-2-l2a", scene.name)
        item = json.loads(content or b"")
        files = {name: asset["href"].removeprefix(MARKER) for name, asset in item["assets"].items()}
        ratios = dict(_ratios(folder / "store", files))
        notes[scene.name] = {"ratios": ratios, "item": item}
        told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"{scene.name}: {told}{' (the swath ends in it)' if scene.swath else ''}", flush=True)
    catalog.close()
    (folder / "scenes.json").write_text(json.dumps(notes))


def _ratios(store: Path, files: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """How many times smaller the blocks of full resolution are than the granule's pixels."""
    for name in BANDS:
        with tifffile.TiffFile(store / files[name]) as file:
            page = file.pages.first
            side = PIXELS // 2 if name == "SCL" else PIXELS
            yield name, side * side * page.dtype.itemsize / sum(page.databytecounts)
