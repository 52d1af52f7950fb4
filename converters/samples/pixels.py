"""The images of a sample product: which there are, and their pixels, looked up on the ground in square blocks."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from converters.samples import ground
from converters.samples.ground import BANDS, SNOW, WATER, Floats, View
from converters.samples.jp2 import encode
from converters.samples.scene import Scene
from kartotek import processors

Pixels: TypeAlias = NDArray[np.unsignedinteger[Any]]

BLOCK = 366
"""Side in 10 m pixels of the squares that are worked out at a time: they fit a processor's cache."""
STEP = 6
"""Coordinates are exact at each sixth pixel and straight between, which is 0.1 mm off at most."""
MOST = 32_767
"""The agency's images have 15 bits."""

NATIVE: Mapping[int, tuple[str, ...]] = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09", "B10"),
}
SPARSE: Mapping[int, tuple[str, ...]] = {
    10: ("B02", "B03", "B04", "B08", "TCI", "AOT", "WVP"),
    20: ("B01", "B02", "B05", "B06", "B07", "B8A", "B11", "B12", "AOT", "WVP", "SCL"),
    60: ("B01", "B02", "B09", "SCL"),
}
COMPLETE: Mapping[int, tuple[str, ...]] = {
    10: SPARSE[10],
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12", "TCI", "AOT", "WVP", "SCL"),
    60: (
        *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"),
        *("TCI", "AOT", "WVP", "SCL"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One JPEG 2000 file of a product."""

    name: str
    resolution: int
    path: str
    """Below the product's root, with its suffix."""

    @property
    def pictures(self) -> int:
        """How many bands the file has."""
        return 3 if self.name in ("TCI", "PVI", "CLASSI") else 1

    @property
    def data_type(self) -> str:
        """Reflectances, AOT and WVP have 16 bits; classes, probabilities and pictures 8."""
        return "uint16" if self.name in (*BANDS, "AOT", "WVP") else "uint8"

    @property
    def measured(self) -> bool:
        """Whether it stands among the product's images; the others tell of its quality."""
        return "/IMG_DATA/" in self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was counted while the pixels were made, at 20 m."""

    classes: tuple[int, ...]
    """Pixels of each class of the scene classification, 0 to 11."""
    land: int
    """Pixels with values that are not water."""
    cloudy_land: int
    aot: float
    """Mean aerosol optical thickness."""
    wvp: float
    """Mean water vapour, cm."""


def images(scene: Scene) -> tuple[Image, ...]:
    """The images that the product has; the preview is the last."""
    found = []
    if scene.level == "L1C":
        named = [(band, resolution) for resolution, bands in NATIVE.items() for band in bands]
        for name, resolution in (*sorted(named, key=lambda each: BANDS.index(each[0])), ("TCI", 10)):
            path = f"{scene.granule}/IMG_DATA/{scene.stem}_{name}.jp2"
            found.append(Image(name=name, resolution=resolution, path=path))
    else:
        for resolution, names in (COMPLETE if scene.complete else SPARSE).items():
            for name in names:
                if name == "B01" and resolution == 20 and scene.baseline < "04.00":
                    continue
                path = f"{scene.granule}/IMG_DATA/R{resolution}m/{scene.stem}_{name}_{resolution}m.jp2"
                found.append(Image(name=name, resolution=resolution, path=path))
        for (name, mask), resolution in product((("CLD", "MSK_CLDPRB"), ("SNW", "MSK_SNWPRB")), (20, 60)):
            path = f"{scene.granule}/QI_DATA/{mask}_{resolution}m.jp2"
            found.append(Image(name=name, resolution=resolution, path=path))
    if scene.baseline >= "04.00":
        found.append(Image(name="CLASSI", resolution=60, path=f"{scene.granule}/QI_DATA/MSK_CLASSI_B00.jp2"))
    found.append(Image(name="PVI", resolution=320, path=f"{scene.granule}/QI_DATA/{scene.stem}_PVI.jp2"))
    return tuple(found)


def write(scene: Scene, root: Path, scratch: Path) -> Tally:
    """Write the images below `root`. Their raw pixels pass through files in `scratch`, not through memory."""
    *made, preview = images(scene)
    raw: dict[Image, Pixels] = {}
    for number, image in enumerate(made):
        size = scene.size(image.resolution)
        raw[image] = np.memmap(scratch / f"{number}", image.data_type, "w+", shape=(image.pictures, size, size))
        (root / image.path).parent.mkdir(parents=True, exist_ok=True)

    def fill(corner: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return _fill(scene, raw, *corner)

    corners = range(0, scene.pixels, BLOCK)
    with ThreadPoolExecutor(processors.count()) as threads:
        counted = list(threads.map(fill, product(corners, corners)))
        colours = next(pixels for image, pixels in raw.items() if image.name == "TCI")
        raw[preview] = np.ascontiguousarray(colours[:, 16::32, 16::32])
        heaviest = sorted(raw.items(), key=lambda each: -each[1].nbytes)
        for _ in threads.map(lambda each: _encode(scene, root, *each), heaviest):
            pass
    classes = np.sum([classes for classes, _ in counted], axis=0)
    land, cloudy_land, aot, wvp = np.sum([sums for _, sums in counted], axis=0).tolist()
    valid = max(int(classes[1:].sum()), 1)
    return Tally(
        classes=tuple(classes.tolist()),
        land=land,
        cloudy_land=cloudy_land,
        aot=aot / valid / 1000,
        wvp=wvp / valid / 1000,
    )


def _fill(
    scene: Scene, raw: Mapping[Image, Pixels], row: int, column: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Work out one block of every image and count it: pixels per class; land, cloudy land, and sums of AOT and WVP."""
    rows, columns = min(BLOCK, scene.pixels - row), min(BLOCK, scene.pixels - column)
    east, north = _places(scene, row, column, rows, columns)
    seen = ground.view(east, north, day=scene.sensed, clouds=scene.clouds, line=scene.line)
    valid = np.ones(east.shape, dtype=bool) if scene.swath is None else ground.right_of(scene.swath, east, north)
    views: dict[int, tuple[View, NDArray[np.bool_]]] = {10: (seen, valid)}
    for resolution, times, finer in ((20, 2, 10), (60, 3, 20)):
        view, inside = views[finer]
        height, width = inside.shape
        squares: NDArray[np.bool_] = inside.reshape(height // times, times, width // times, times)
        covered: NDArray[np.bool_] = np.any(squares, axis=(1, 3))
        views[resolution] = view.coarser(times), covered
    for image, pixels in raw.items():
        view, inside = views[image.resolution]
        times = image.resolution // 10
        part = pixels[:, row // times : (row + rows) // times, column // times : (column + columns) // times]
        part[...] = _values(scene, image, view) * inside
    view, inside = views[20]
    classes = view.classes() * inside
    land = inside & (view.shares[WATER] <= 0.5)
    sums = [land, land & (view.cloud >= 0.05), _aot(view) * inside, _wvp(view) * inside]
    return np.bincount(classes.ravel(), minlength=12), np.array([part.sum(dtype=np.int64) for part in sums])


def _places(scene: Scene, row: int, column: int, rows: int, columns: int) -> tuple[Floats, Floats]:
    """Easting and northing in EPSG:3006 of the pixels' centres, in a window counted in 10 m pixels."""
    lefts = scene.left + 10.0 * column + 5.0 + 10.0 * STEP * np.arange(columns // STEP + 1)
    tops = scene.top - 10.0 * row - 5.0 - 10.0 * STEP * np.arange(rows // STEP + 1)
    nodes = _to_sweref(scene.crs).transform(*np.meshgrid(lefts, tops))
    right, right_part = np.divmod(np.arange(columns), STEP)
    down, down_part = np.divmod(np.arange(rows), STEP)
    east, north = (_between(_between(values.T, right, right_part / STEP).T, down, down_part / STEP) for values in nodes)
    return east, north


def _between(values: Floats, first: NDArray[np.intp], part: Floats) -> Floats:
    """Rows between given rows: as far from each towards the next as `part` says."""
    return values[first] + (values[first + 1] - values[first]) * part[:, None]


@lru_cache
def _to_sweref(crs: int) -> Transformer:
    return Transformer.from_crs(crs, 3006, always_xy=True)


def _values(scene: Scene, image: Image, view: View) -> Pixels:
    """The image's pixels, as if all were valid; 0 is nodata in most, so that a value is at least 1."""
    match image.name:
        case "TCI":
            shown = np.stack([_reflectance(scene, band, view) for band in ("B04", "B03", "B02")])
            return _rounded(shown * np.float32(254 / 0.3) + np.float32(1), 1, 255).astype(np.uint8)
        case "CLASSI":
            opaque = view.cloud >= 0.25
            return np.stack([opaque, (view.cloud >= 0.05) & ~opaque, view.shares[SNOW] > 0.5]).astype(np.uint8)
        case "AOT":
            return _aot(view)
        case "WVP":
            return _wvp(view)
        case "SCL":
            return view.classes()
        case "CLD" | "SNW":
            share = view.cloud if image.name == "CLD" else view.shares[SNOW]
            return _rounded(share * np.float32(100), 0, 100).astype(np.uint8)
        case band:
            return _rounded(_reflectance(scene, band, view) * np.float32(10_000), 1 - scene.offset, MOST, scene.offset)


def _reflectance(scene: Scene, band: str, view: View) -> NDArray[np.float32]:
    return view.reflectance(band, top=scene.level == "L1C", overcorrected=scene.overcorrected)


def _aot(view: View) -> NDArray[np.uint16]:
    return _rounded(np.float32(60) + np.float32(90) * view.moisture, 1, MOST)


def _wvp(view: View) -> NDArray[np.uint16]:
    return _rounded(np.float32(900) + np.float32(1800) * view.moisture, 1, MOST)


def _rounded(values: NDArray[np.float32], least: int, most: int, offset: int = 0) -> NDArray[np.uint16]:
    """Whole numbers within limits, and then an offset."""
    whole: NDArray[np.float32] = np.clip(np.rint(values), least, most - offset)
    return (whole + np.float32(offset)).astype(np.uint16)


def _encode(scene: Scene, root: Path, image: Image, pixels: Pixels) -> None:
    bits = 15 if image.name in BANDS else 0
    encode(pixels, root / image.path, scene.crs, left=scene.left, top=scene.top, resolution=image.resolution, bits=bits)
