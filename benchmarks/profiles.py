"""What each profile costs in bytes, processor time and time to read, beside other ways to pack the same blocks.

    kartotek sample --full products
    python benchmarks/profiles.py products/*33VXG* products/*34VCM* [--bands B04,B08,B11,SCL] [--pixels 4096]
    python benchmarks/profiles.py --delivered S2_B04.tif S2_B08.tif

Of each band, or of what else GDAL reads (`--delivered`: genuine 10 m pixels), the middle is written by each profile,
so many pixels wide and high, with all five overviews of a whole band. Bytes are those of the COG, over those of the
JPEG 2000 that JP2OpenJPEG makes of the same pixels in the agency's way (lossless, which the agency's own nearly is).
Seconds are of processor time (user and system), per million pixels: to pack all levels; for GDAL to read the whole; and
milliseconds for GDAL and for our own tiles to read a block of 512 pixels, the median of many. The other ways are
measured by their blocks alone.
"""

from __future__ import annotations

import argparse
import lzma
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from converters import cog
from converters.profiles import Profile
from converters.sensors import read
from kartotek.grids import BLOCK, NATIONAL, Grid
from kartotek.product import Kind, Layer, LayerType
from kartotek.storage import FolderStorage
from pixels.blocks import Blocks

DEPTH = 5
"""Overviews of a whole 10 m band."""

Pack = Callable[[NDArray[Any]], bytes]

BLANK = LayerType(name="B04", kind=Kind.MEASUREMENT, resolution=10, title="", data_type="uint16", nodata=0)


def _lerc(block: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.zstd_encode(imagecodecs.lerc_encode(block, level=0), level=9))


def _differences(pack: Callable[[bytes], bytes]) -> Pack:
    return lambda block: pack(imagecodecs.delta_encode(block[..., None], axis=-2).tobytes())


OTHERS: dict[str, tuple[Pack, int]] = {
    **{
        f"DEFLATE {level}": (
            _differences(lambda raw, n=level: imagecodecs.deflate_encode(raw, level=n, raw=False)),
            BLOCK,
        )
        for level in (6, 9, 12)
    },
    **{
        f"ZSTD {level}": (_differences(lambda raw, n=level: imagecodecs.zstd_encode(raw, level=n)), BLOCK)
        for level in (9, 19)
    },
    "ZSTD 19, 1024 px": (_differences(lambda raw: imagecodecs.zstd_encode(raw, level=19)), 1024),
    "LERC_ZSTD, error 0": (_lerc, BLOCK),
    "LZMA 6, as GDAL sets it": (_differences(lambda raw: lzma.compress(raw, preset=6)), BLOCK),
}
"""Ways that GDAL reads → how they pack a block, and its pixels across."""


@dataclass(frozen=True, slots=True)
class Part:
    """Pixels of a band, (rows, columns), whose sides are multiples of 1024."""

    name: str
    pixels: NDArray[Any]
    type: LayerType


def of_products(products: list[Path], bands: list[str], most: int) -> Iterator[Part]:
    """The parts of products' bands."""
    for product in products:
        for layer in read(product).layers:
            if layer.name in bands:
                yield Part(f"{product.name.split('_')[5]} {layer.name}", pixels(layer.href, most), layer.type)


def pixels(href: str | Path, most: int) -> NDArray[Any]:
    """The middle of a file's first band."""
    with rasterio.open(href) as file:
        height, width = (min(size, most) // 1024 * 1024 or min(size, most) // BLOCK * BLOCK for size in file.shape)
        place = Window((file.width - width) // 2, (file.height - height) // 2, width, height)
        found: NDArray[Any] = file.read(1, window=place)
        return found


def jp2(part: Part, folder: Path) -> int:
    """Bytes of a JPEG 2000 of the agency's kind."""
    rows, columns = part.pixels.shape
    tile, code = (1024, 64) if part.type.resolution == 10 else (640, 8)
    path = folder / "part.jp2"
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", width=columns, height=rows, count=1, dtype=part.pixels.dtype, tiled=True,
        blockxsize=tile, blockysize=tile, QUALITY=100, REVERSIBLE="YES", RESOLUTIONS=5, PROGRESSION="LRCP", CODEC="JP2",
        CODEBLOCK_WIDTH=code, CODEBLOCK_HEIGHT=code, **({} if part.pixels.itemsize == 1 else {"NBITS": 15}),
    ) as file:  # fmt: skip
        file.write(part.pixels, 1)
    return path.stat().st_size


def seconds(work: Callable[[], object]) -> float:
    """Processor time of all threads."""
    before = time.process_time()
    work()
    return time.process_time() - before


def profiles(part: Part, whole: int, folder: Path) -> Iterator[tuple[str, list[float]]]:
    """A line for each profile."""
    rows, columns = part.pixels.shape
    size = part.type.resolution
    grid = Grid(crs=NATIONAL, left=655_360, top=6_656_000, resolution=size, columns=columns, rows=rows)
    levels = cog.pyramid(part.pixels[None], part.type, depth=DEPTH)
    layer = Layer(type=part.type, file="", href="", grid=grid)
    for profile in Profile:
        path, million = folder / f"{profile}.tif", rows * columns / 1e6
        made = seconds(lambda: cog.write(path, levels, grid, layer, threads=1, profile=profile))  # noqa: B023
        with rasterio.open(path) as file:
            all_of_it = seconds(file.read)
            if not np.array_equal(file.read(1), part.pixels):
                raise AssertionError(f"{path}: other pixels")
        places = [(row, column) for row in range(0, rows, BLOCK) for column in range(0, columns, BLOCK)][:32]
        blocks = Blocks(FolderStorage(folder), memory=1 << 20)
        directory = blocks.directory(path.name)
        with rasterio.open(path) as file:
            gdal = [seconds(lambda: file.read(1, window=Window(column, row, BLOCK, BLOCK))) for row, column in places]  # noqa: B023
        ours = [
            seconds(lambda: blocks.window(directory, 0, slice(row, row + BLOCK), slice(column, column + BLOCK)))  # noqa: B023
            for row, column in places
        ]
        yield profile, [
            path.stat().st_size / whole, made / million, all_of_it / million,
            statistics.median(gdal) * 1e3, statistics.median(ours) * 1e3,
        ]  # fmt: skip


def others(part: Part, whole: int) -> Iterator[tuple[str, list[float]]]:
    """A line for each of the others, of its blocks alone."""
    rows, columns = part.pixels.shape
    levels = cog.pyramid(part.pixels[None], part.type, depth=DEPTH)
    for name, (pack, size) in OTHERS.items():
        # At the edge the last row and column go on, as in the file.
        padded = [
            np.pad(level[0], [(0, -length % size) for length in level.shape[1:]], mode="edge") for level in levels
        ]
        parts = [
            np.ascontiguousarray(level[row : row + size, column : column + size])
            for level in padded
            for row in range(0, level.shape[0], size)
            for column in range(0, level.shape[1], size)
        ]
        packed: list[bytes] = []
        spent = seconds(lambda: packed.extend(map(pack, parts)))  # noqa: B023
        yield name, [sum(map(len, packed)) / whole, spent / (rows * columns / 1e6)]


def main() -> None:
    """Print a table a band."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", nargs="*", type=Path)
    parser.add_argument("--delivered", nargs="*", type=Path, default=[])
    parser.add_argument("--bands", default="B04,B08,B11,SCL")
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--profiles-only", action="store_true")
    asked = parser.parse_args()
    parts = [Part(path.name, pixels(path, asked.pixels), BLANK) for path in asked.delivered]
    print(f"{'':26}{'x JP2':>8}{'s/Mpx':>8}{'read':>8}{'ms GDAL':>9}{'ms ours':>9}")
    for part in [*parts, *of_products(asked.products, asked.bands.split(","), asked.pixels)]:
        with tempfile.TemporaryDirectory() as name:
            whole = jp2(part, Path(name))
            print(f"{part.name} {part.pixels.shape}, {whole / part.pixels.size * 8:.2f} bits a pixel in JPEG 2000")
            for line, numbers in profiles(part, whole, Path(name)):
                print(f"  {line:24}" + "{:8.2f}{:8.3f}{:8.3f}{:9.2f}{:9.2f}".format(*numbers), flush=True)
            for line, numbers in [] if asked.profiles_only else others(part, whole):
                print(f"  {line:24}" + "{:8.2f}{:8.3f}".format(*numbers), flush=True)


if __name__ == "__main__":
    main()
