"""One 10 m band to a COG: ours and the stock pipelines, beside the bare decoding of its JPEG 2000.

    kartotek sample --full products
    python benchmarks/convert.py products/*33VXG* products/*34VCM* [--band B04] [--rounds 3] [--only NAME ...]

Of each product a line a pipeline: CPU seconds (user and system, of the whole tree of processes), the ratio to the
decoding in the same round, the peak of private memory (USS, summed over the tree), and MB written. Rounds alternate,
the median counts. rio-cogeo and odc-geo get an environment of their own in the temporary folder, made by uv; gdalwarp
is the machine's (apt install gdal-bin). What can't be had is skipped, aloud.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from converters.sensors import read
from converters.warp import target
from kartotek import gdal
from kartotek.grids import NATIONAL
from kartotek.product import Layer

ROOT = Path(__file__).resolve().parents[1]
DECODE = """
import sys, rasterio
with rasterio.Env(GDAL_NUM_THREADS=2), rasterio.open(sys.argv[1]) as file:
    file.read()
"""
OURS = """
import sys
from pathlib import Path
from converters.assembly import assemble
from converters.sensors import read
[layer] = (layer for layer in read(Path(sys.argv[1])).layers if layer.name == sys.argv[2])
assemble(layer, Path(sys.argv[3]), "EPSG:3006", keep=False)
"""
PLACE = """
import sys, rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_origin
path, out, way, left, top, size, columns, rows = *sys.argv[1:4], *map(float, sys.argv[4:])
grid = dict(transform=from_origin(left, top, size, size), width=int(columns), height=int(rows))
"""
RIO_COGEO = (
    PLACE
    + """
from rasterio.vrt import WarpedVRT
from rio_cogeo.cogeo import cog_translate
from rio_cogeo.profiles import cog_profiles
profile = cog_profiles.get("deflate") | {"predictor": 2}
with rasterio.open(path) as source, WarpedVRT(
    source, crs="EPSG:3006", resampling=Resampling[way], src_nodata=0, nodata=0, **grid
) as warped:
    cog_translate(
        warped, out, profile, in_memory=True, quiet=True, overview_resampling="average",
        config={"GDAL_NUM_THREADS": "2"},
    )
"""
)
EO_DATASETS = (
    PLACE
    + """
import numpy, rasterio.shutil
from rasterio.io import MemoryFile
from rasterio.warp import reproject
with rasterio.Env(GDAL_NUM_THREADS=2):
    result = numpy.zeros((grid["height"], grid["width"]), numpy.uint16)
    with rasterio.open(path) as source:
        reproject(
            source.read(1), result, src_transform=source.transform, src_crs=source.crs, dst_transform=grid["transform"],
            dst_crs="EPSG:3006", src_nodata=0, dst_nodata=0, resampling=Resampling[way], num_threads=2,
        )
    options = dict(compress="deflate", predictor=2, tiled=True, blockxsize=512, blockysize=512)
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", count=1, dtype="uint16", crs="EPSG:3006", nodata=0, **grid, **options) as made:
            made.write(result, 1)
            made.build_overviews([2, 4, 8, 16, 32], Resampling.average)
        rasterio.shutil.copy(memory.name, out, driver="GTiff", copy_src_overviews=True, **options)
"""
)
ODC_GEO = """
import sys, rioxarray, odc.geo.xr
found = rioxarray.open_rasterio(sys.argv[1], masked=False).squeeze("band", drop=True)
found.attrs["nodata"] = 0
warped = found.odc.reproject("EPSG:3006", resolution=int(sys.argv[4]), resampling=sys.argv[3])
warped.odc.write_cog(sys.argv[2], overwrite=True)
"""
EXPERT = """
import sys, rasterio, rasterio.shutil
path, out = sys.argv[1:3]
with rasterio.open(path) as file:
    a = file.transform
    text = f'''<VRTDataset rasterXSize="{file.width}" rasterYSize="{file.height}"><SRS>EPSG:3006</SRS>
<GeoTransform>{a.c},{a.a},0,{a.f},0,{a.e}</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"><NoDataValue>0</NoDataValue><SimpleSource>
<SourceFilename>{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>'''
with rasterio.Env(GDAL_NUM_THREADS=2), rasterio.open(text) as file:
    rasterio.shutil.copy(
        file, out, driver="COG", COMPRESS="DEFLATE", LEVEL=1, PREDICTOR="YES", OVERVIEWS="IGNORE_EXISTING",
        OVERVIEW_RESAMPLING="AVERAGE", NUM_THREADS=2,
    )
"""
GDALWARP = (
    "-t_srs EPSG:3006 -srcnodata 0 -dstnodata 0 -tap -multi -wo NUM_THREADS=ALL_CPUS -wm 256 "
    "--config GDAL_NUM_THREADS ALL_CPUS -of COG -co COMPRESS=DEFLATE -co PREDICTOR=YES -co BLOCKSIZE=512 "
    "-co NUM_THREADS=ALL_CPUS -co OVERVIEW_RESAMPLING=AVERAGE -co OVERVIEWS=IGNORE_EXISTING -overwrite -q"
)
PACKAGES = {
    "rio-cogeo": ["rio-cogeo==7.0.4", "rasterio==1.4.4"],
    "odc-geo": ["odc-geo[xr]", "rioxarray", "dask", "tifffile"],
}
"""What a peer's environment is made of."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took: CPU seconds, and bytes."""

    seconds: float
    memory: int
    """At most, of all its processes together."""
    largest: int
    """Of that one of them that took most."""
    written: int


def cost(command: list[str], out: Path) -> Cost:
    """Run a command that writes a file, and watch what it takes. Raises CalledProcessError."""
    # What we set for GDAL in our own processes, when converters is imported, is no peer's.
    ours = {*gdal._OPTIONS, "GDAL_SKIP"}
    clean = {name: value for name, value in os.environ.items() if name not in ours} | {"PYTHONPATH": str(ROOT)}
    before, over = resource.getrusage(resource.RUSAGE_CHILDREN), threading.Event()
    peaks: list[int] = [0]
    seen: dict[psutil.Process, tuple[float, int]] = {}
    with subprocess.Popen(
        command, cwd=ROOT, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:

        def watch() -> None:
            while not over.wait(0.1):
                peaks.append(private(process.pid, seen))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, said = process.communicate()
        over.set()
        watcher.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[0], stderr=said)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Nobody waits for the processes that convert, whose time the system adds to nothing: they are looked at meanwhile.
    looked_at = sum(worked for worked, _ in seen.values())
    largest = max((taken for _, taken in seen.values()), default=0)
    return Cost(max(spent, looked_at), max(peaks), largest, out.stat().st_size if out.exists() else 0)


def private(number: int, seen: dict[psutil.Process, tuple[float, int]]) -> int:
    """Bytes that a process and those that it has started have for themselves.

    `seen` is what each has worked by now, and the most that it has had.
    """
    total = 0
    try:
        root = psutil.Process(number)
        for process in [root, *root.children(recursive=True)]:
            taken = process.memory_full_info().uss
            total += taken
            seen[process] = sum(process.cpu_times()[:2]), max(taken, seen.get(process, (0, 0))[1])
    except psutil.Error:
        pass
    return total


def environment(name: str, folder: Path) -> Path | None:
    """The Python of a peer's own environment; None, and said aloud, where it can't be made."""
    uv, python = Path(sys.executable).with_name("uv"), folder / name / "bin" / "python"
    commands = [[uv, "venv", "-q", folder / name], [uv, "pip", "install", "-q", "--python", python, *PACKAGES[name]]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: skipped, since its environment can't be made: {done.stderr.strip()[:200]}")
            return None
    return python


def pipelines(product: Path, layer: Layer, out: Path, folder: Path, only: list[str]) -> dict[str, list[str]]:
    """Name → command, of all that can be had."""
    grid = target(layer.grid, NATIONAL)
    # In zone 33 pixels fall on pixels, and what is nearest is also exact.
    way = "nearest" if layer.grid.crs == "EPSG:32633" else "bilinear"
    place = [way, *(str(number) for number in (grid.left, grid.top, grid.resolution, grid.columns, grid.rows))]
    here, band, made, pixel = sys.executable, str(layer.href), str(out), f"{grid.resolution:g}"
    found: dict[str, Callable[[], list[str] | None]] = {
        "decode": lambda: [here, "-c", DECODE, band],
        "ours": lambda: [here, "-c", OURS, str(product.resolve()), layer.name, made],
        "gdalwarp": lambda: (
            [tool, *GDALWARP.split(), "-tr", pixel, pixel, "-r", way, band, made]
            if (tool := shutil.which("gdalwarp"))
            else None
        ),
        "eo-datasets": lambda: [here, "-c", EO_DATASETS, band, made, *place],
        "rio-cogeo": lambda: in_environment("rio-cogeo", RIO_COGEO, band, made, *place),
        "odc-geo": lambda: in_environment("odc-geo", ODC_GEO, band, made, way, pixel),
    }
    if layer.grid.crs == "EPSG:32633":
        found["expert"] = lambda: [here, "-c", EXPERT, band, made]

    def in_environment(name: str, script: str, *arguments: str) -> list[str] | None:
        python = folder / name / "bin" / "python"
        ready = python if python.exists() else environment(name, folder)
        return None if ready is None else [str(ready), "-c", script, *arguments]

    commands: dict[str, list[str]] = {}
    for name, make in found.items():
        if only and name not in ("decode", *only):
            continue
        command = make()
        if command is None:
            print(f"{name}: skipped, since it is not installed")
        else:
            commands[name] = command
    return commands


def main() -> None:
    """Print a table a product."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", nargs="+", type=Path)
    parser.add_argument("--band", default="B04")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kartotek-peers-") as name:
        folder = Path(name)
        for product in asked.products:
            [layer] = (layer for layer in read(product).layers if layer.name == asked.band)
            out = folder / "out.tif"
            commands = pipelines(product, layer, out, folder, asked.only)
            costs: dict[str, list[Cost]] = {name: [] for name in commands}
            for _ in range(asked.rounds):
                for pipeline, command in commands.items():
                    out.unlink(missing_ok=True)
                    try:
                        costs[pipeline].append(found := cost(command, out))
                        print(f"  {pipeline}: {found.seconds:.1f} CPU s", file=sys.stderr)
                    except subprocess.CalledProcessError as error:
                        print(f"{pipeline}: failed: {error.stderr.strip()[-300:]}")
            report(product, layer, costs)


def report(product: Path, layer: Layer, costs: dict[str, list[Cost]]) -> None:
    """The table."""
    print(f"\n{product.name} {layer.name}, {time.strftime('%H:%M')}, load {os.getloadavg()[0]:.1f}")
    print(f"{'':12}{'CPU s':>8}{'x decode':>10}{'MB':>7}{'MB out':>8}")
    for name, found in costs.items():
        if not found:
            continue
        ratios = [one.seconds / floor.seconds for one, floor in zip(found, costs["decode"], strict=False)]
        print(
            f"{name:12}{statistics.median(one.seconds for one in found):8.1f}{statistics.median(ratios):10.2f}"
            f"{max(one.memory for one in found) / 1e6:7.0f}{found[-1].written / 1e6:8.1f}"
        )


if __name__ == "__main__":
    main()
