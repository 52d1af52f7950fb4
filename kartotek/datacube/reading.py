"""Images of items by odc-stac and its loader, and a word on each file that is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Literal

import odc.stac
import pystac
import xarray
from odc.geo.geobox import GeoBox, GeoboxTiles
from odc.loader import chunked_load, resolve_chunk_shape, resolve_load_cfg
from odc.stac import ParsedItem

from kartotek.datacube.driver import Driver, Parser
from kartotek.datacube.products import Measurement

THREADS = 8
"""Files read at a time without Dask: most of the time somebody waits for an answer."""
LARGEST = 4096
"""Rows and columns of what is read of a file at a time without Dask."""


def read(
    items: Sequence[pystac.Item],
    measurements: Sequence[Measurement],
    box: GeoBox,
    *,
    day: Callable[[pystac.Item], Hashable] | None,
    resampling: dict[str, str] | str,
    chunks: dict[str, int | Literal["auto"]] | None,
    native: bool,
    skip_broken: bool,
    progress: Callable[[int, int], object] | None,
) -> xarray.Dataset:
    """The measurements as an xarray.Dataset of (time, y, x), called by their assets.

    Items of one `day`, or of one instant, are one image, the first by time and id on top. With `chunks` they are Dask's
    and nothing is read yet; `progress` is told nothing then.
    """
    assets = list(dict.fromkeys(one.asset for one in measurements))
    files = {asset.href for item in items for key, asset in item.assets.items() if key in assets}
    seen: set[str] | None = set() if progress is not None and chunks is None else None
    parser = Parser(measurements, native=native)
    driver = Driver(parser, seen)
    parsed = list(odc.stac.parse_items(items, md_plugin=parser))
    kind = parsed[0].collection
    params = resolve_load_cfg(kind.resolve_bands(assets), resampling, fail_on_error=not skip_broken)
    images = _images(items, parsed, day)
    if chunks is None:
        tiles = GeoboxTiles(box, _whole(box))
    else:
        _, rows, columns = resolve_chunk_shape(len(images), box, chunks, cfg=params)
        tiles = GeoboxTiles(box, (rows, columns))
    return chunked_load(
        params,
        kind.meta_for(assets),
        [one.resolve_bands(assets) for one in parsed],
        dict(_sources(images, parsed, tiles)),
        tiles,
        [parsed[image[0]].nominal_datetime.replace(tzinfo=None) for image in images],
        driver.capture_env(),
        driver,
        chunks=chunks,
        pool=THREADS if chunks is None else None,
        progress=None if seen is None or progress is None else _Told(progress, seen, len(files)),
    )


def _images(
    items: Sequence[pystac.Item], parsed: Sequence[ParsedItem], day: Callable[[pystac.Item], Hashable] | None
) -> list[list[int]]:
    """The numbers of the items of each image, both in the order of time and id."""
    found: dict[Hashable, list[int]] = {}
    for number in sorted(range(len(items)), key=lambda n: (parsed[n].nominal_datetime, parsed[n].id)):
        key = parsed[number].nominal_datetime if day is None else day(items[number])
        found.setdefault(key, []).append(number)
    return list(found.values())


def _whole(box: GeoBox) -> tuple[int, int]:
    """The grid in one piece, or in few alike: what lies across an edge is decoded once more on its other side."""
    rows, columns = (math.ceil(size / math.ceil(size / LARGEST)) for size in box.shape.yx)
    return rows, columns


def _sources(
    images: Sequence[Sequence[int]], parsed: Sequence[ParsedItem], tiles: GeoboxTiles
) -> Iterator[tuple[tuple[int, int, int], list[int]]]:
    """(image, row, column) of each piece that something reaches into, and the numbers of the items that do."""
    for place, image in enumerate(images):
        found: dict[tuple[int, int], list[int]] = {}
        for number in image:
            outline = parsed[number].safe_geometry(tiles.base.crs)
            for row, column in () if outline is None else tiles.tiles(outline):
                found.setdefault((row, column), []).append(number)
        for (row, column), reaching in found.items():
            yield (place, row, column), reaching


class _Told:
    """Tells how many files are read, each time that odc-stac is through with a part; from the caller's own thread."""

    def __init__(self, progress: Callable[[int, int], object], seen: set[str], files: int) -> None:
        self._progress, self._seen, self._files = progress, seen, files

    def __call__(self, work: Iterable[Any]) -> Iterator[Any]:
        told = 0
        for part in work:
            yield part
            while told < len(self._seen):
                told += 1
                self._progress(told, self._files)
        while told < self._files:  # those that only seemed to reach into the area
            told += 1
            self._progress(told, self._files)
