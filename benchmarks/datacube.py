"""Loading side by side: the Open Data Cube 1.9 on PostgreSQL, odc.stac.load, and kartotek.Datacube, of the same COGs.

    make datacube                                                 once: an environment that has all of them
    python benchmarks/datacube.py prepare FOLDER [--pixels 2400]  once: 6 dates of 24 km, converted
    python benchmarks/datacube.py run FOLDER [--rounds 5] [--area 20] [--only http,dask]

What is loaded is 20 km x 6 dates x 4 bands of 10 m over HTTP from one `kartotek serve`, by a new process each time,
whose imports and connections are not counted; memory is the process's peak, imports included. Each round asks all of
them in turn, so that a noisy machine is noisy for all; ratios are to the faster of the other two of the same round, and
what is printed is their median. Before that datacube and kartotek are shown to load the same, by
`xarray.testing.assert_identical`, and each round by checksums.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from servers import free_port, postgres, sql, wait_for

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".venv" / "datacube" / "bin" / "python"
SESSION = ROOT / "tests" / "clients" / "datacube_session.py"
PRODUCT = "sentinel_s2_l2a_zips"
CENTRE = (22.109543, 65.614815)
"""Longitude and latitude, near Lulea: zone 34, so that pixels were resampled once and lie on the national grid."""
DAYS = ((6, 14), (6, 24), (7, 4), (7, 14), (7, 24), (8, 3))
SHAPES = {
    "http": "without Dask",
    "dask": "with Dask, in chunks of 1024, computed at once",
    "files": "without Dask, datacube and odc.stac from the files themselves",
}
WHO = ("datacube", "odc.stac", "kartotek", "kartotek native")


def prepare(folder: Path, pixels: int) -> None:
    """Six sample products, of which the four bands are converted."""
    from pyproj import Transformer

    from catalog.store import Catalog
    from converters import samples
    from converters.convert import Recipe
    from converters.samples import Scene
    from jobs.convert import Failed, convert_all
    from jobs.worker import Limits
    from kartotek.settings import Settings
    from kartotek.storage import open_storage

    east, north = Transformer.from_crs(4326, 32634, always_xy=True).transform(*CENTRE)
    scene = Scene(
        tile="34WET", zone=34, left=round(east / 60) * 60 - 5 * pixels, top=round(north / 60) * 60 + 5 * pixels,
        pixels=pixels, sensed=datetime(2019, 7, 4, 10, 0, 29, tzinfo=UTC), platform="S2B", baseline="02.12", orbit=22,
    )  # fmt: skip
    settings = Settings(database=f"sqlite:///{folder / 'kartotek.db'}", storage=str(folder / "store"))
    catalog = Catalog(settings.database)
    catalog.migrate()
    products = []
    for month, day in DAYS:
        products.append(samples.write(replace(scene, sensed=scene.sensed.replace(month=month, day=day)), folder))
        print("made", products[-1].name, flush=True)
    recipe = Recipe(bands={"sentinel-2-l2a": ("B02", "B03", "B04", "B08")})
    for outcome in convert_all(products, recipe, open_storage(settings.storage), catalog, limits=Limits.of(settings)):
        if isinstance(outcome, Failed):
            raise outcome.error
        print("converted", outcome.item, flush=True)
    catalog.close()


def run(folder: Path, rounds: int, area: float, shapes: list[str]) -> None:
    """All of them in turn."""
    with postgres(folder) as port, serving(folder) as server:
        known = {"database": url(port), "server": server}
        # Made anew each time, since the server's address stands in it.
        sql(port, "postgres", "DROP DATABASE IF EXISTS cube", "CREATE DATABASE cube")
        print(ask("index", name=PRODUCT, **known), flush=True)
        same = ask("compare", query=query(area), **known)
        print(f"identical to datacube: {same['sizes']}, {same['types']}, {same['valid']:.0%} valid", flush=True)
        for shape in shapes:
            print(f"\n{SHAPES[shape]}: seconds and MB", flush=True)
            files = (folder / "store").as_uri() if shape == "files" else None
            one(known, query(area), rounds, dask=shape == "dask", files=files)


def one(known: dict[str, str], asked: dict[str, Any], rounds: int, *, dask: bool, files: str | None) -> None:
    """The rounds of one shape, printed."""
    seconds, peaks = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    sums = set()
    for number in range(-1, rounds):  # the first is to warm up
        for who in WHO if number % 2 else reversed(WHO):
            found = ask("load", by=who, query=asked, dask=dask, files=files, **known)
            sums.add(tuple(found["checksum"]))
            if number >= 0:
                seconds[who].append(found["seconds"])
                peaks[who].append(found["peak"])
    assert len(sums) == 1, "they loaded other numbers"
    best = [min(pair) for pair in zip(seconds["datacube"], seconds["odc.stac"], strict=True)]
    for who in WHO:
        ratio = statistics.median(mine / other for mine, other in zip(seconds[who], best, strict=True))
        taken = " ".join(f"{one:.2f}" for one in seconds[who])
        print(
            f"{who:16} {statistics.median(seconds[who]):6.2f} s {ratio:5.2f} x the faster of the other two   "
            f"{statistics.median(peaks[who]):6.0f} MB   ({taken})",
            flush=True,
        )


def query(kilometres: float) -> dict[str, Any]:
    """So many kilometres around the centre."""
    from pyproj import Transformer

    east, north = Transformer.from_crs(4326, 3006, always_xy=True).transform(*CENTRE)
    back = Transformer.from_crs(3006, 4326, always_xy=True)
    west, south, end, top = back.transform_bounds(
        east - 500 * kilometres, north - 500 * kilometres, east + 500 * kilometres, north + 500 * kilometres
    )
    shrink = 0.06  # the box in longitude and latitude around a square that stands askew is larger than it
    width, height = (end - west) * shrink, (top - south) * shrink
    return {
        "product": PRODUCT, "output_crs": "epsg:3006", "resolution": (-10, 10), "time": ["2019-06-01", "2019-08-31"],
        "lat": (south + height, top - height), "lon": (west + width, end - width),
        "measurements": ["B02_10m", "B03_10m", "B04_10m", "B08_10m"],
    }  # fmt: skip


def url(port: int) -> str:
    """The cube's database."""
    return f"postgresql+psycopg://kartotek@127.0.0.1:{port}/cube"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`kartotek serve`, one process, and its root."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", "from kartotek.cli import main; main()", "--log-level", "warning", "serve",
         "--port", str(port), "--database", f"sqlite:///{folder / 'kartotek.db'}", "--storage", str(folder / "store")],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def ask(do: str, **question: Any) -> Any:
    """What the session answers; see there."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("GDAL_", "KARTOTEK_"))}
    done = subprocess.run(
        [PEER, SESSION], input=json.dumps({"do": do, **question}), text=True, stdout=subprocess.PIPE, check=True,
        env=plain | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    return json.loads(done.stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("prepare", "run"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        if name == "prepare":
            command.add_argument("--pixels", type=int, default=2400, help="width of the samples, 10 m each")
        else:
            command.add_argument("--rounds", type=int, default=5)
            command.add_argument("--only", default=",".join(SHAPES), help="some of: %(default)s")
            command.add_argument("--area", type=float, default=20, help="kilometres")
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.command == "prepare":
        prepare(given.folder, given.pixels)
    else:
        run(given.folder, given.rounds, given.area, given.only.split(","))
