"""What one request costs in memory, and several at once, on scenes of full size: PROMISES' ceilings, S3.

    python benchmarks/tiles.py prepare FOLDER --peers ../shared/peers     once: the scenes
    python benchmarks/memory.py FOLDER [--only median] [--at-once 4] [--kartotek ../other/.venv/bin/kartotek]

Each request gets a server of its own, that has drawn one tile and keeps 16 MB of blocks, the least that can be set: so
what is told is the request's own. Memory is private (USS), looked at all the time, over what there was before the
request. The scenes are entered 16 times, each time with files of their own (hard links), so that a median has its 32
items. Nothing is compared: a request may take 256 MB and 10 s.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import psutil
import servers
import tiles_shapes

from catalog import documents
from catalog.access import PUBLIC
from catalog.store import Catalog
from kartotek import matrices
from kartotek.storage import MARKER

COPIES = 16
"""Of each of the two scenes that cover the place."""
PLACE = 550_000, 6_660_000
"""In the middle of one granule; EPSG:3006."""
COLOURS = "assets=B04,B03,B02&rescale=0,4000"
ALLOWED, SECONDS = 256, 10.0
"""Megabytes and seconds of one request."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the list."""

    name: str
    path: str
    body: dict[str, Any] | None = None


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A polygon in longitude and latitude."""
    ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return {"type": "Polygon", "coordinates": [ring]}


def at(level: int) -> str:
    """Where the place's tile of SWEREF99TM10 lies."""
    tile = matrices.served()["SWEREF99TM10"]._tile(*PLACE, level)
    return f"SWEREF99TM10/{level}/{tile.x}/{tile.y}"


def requests(item: str, mosaics: dict[str, str]) -> Iterator[Request]:
    """What costs most, of an item and of mosaics of 32 items."""
    one = f"/collections/{tiles_shapes.COLLECTION}/items/{item}"
    tile = f"/tiles/{tiles_shapes.COLLECTION}/{item}/{at(8)}"
    yield Request("tile: true colour", f"{tile}.png?{COLOURS}")
    yield Request("tile: all bands, GeoTIFF", f"{tile}.tif?assets=B02,B03,B04,B08,SCL")
    # 19 km: almost the 4 000 000 pixels of 10 m that are the most of a crop.
    crop = box(15.75, 59.98, 16.09, 60.15)
    yield Request("crop: four bands", f"{one}/crop.tif?assets=B02,B03,B04,B08", crop)
    yield Request("crop: NDVI", f"{one}/crop.tif?index=ndvi", crop)
    yield Request("crop: true colour, PNG", f"{one}/crop.png?{COLOURS}", crop)
    yield Request("statistics: NDVI of 10 000 km2", f"{one}/statistics?index=ndvi", box(15.0, 59.5, 17.0, 60.5))
    for kind, name in mosaics.items():
        where = f"/mosaics/{name}"
        yield Request(f"{kind}: tile", f"{where}/tiles/{at(8)}.png?{COLOURS}")
        yield Request(f"{kind}: tile of NDVI", f"{where}/tiles/{at(8)}.png?index=ndvi")
        yield Request(f"{kind}: tile, far away", f"{where}/tiles/{at(4)}.png?{COLOURS}")
        yield Request(f"{kind}: crop", f"{where}/crop.tif?assets=B04,B03,B02&resolution=40", crop)
        yield Request(f"{kind}: statistics", f"{where}/statistics?index=ndvi", crop)


def enter(folder: Path, place: Path) -> str:
    """A catalog and a folder of the scenes, many times over; the id of one item."""
    shutil.copy(folder / "kartotek.db", place / "kartotek.db")
    with closing(Catalog(f"sqlite:///{place / 'kartotek.db'}")) as catalog:
        catalog.migrate()
        scenes = [item.content for item in tiles_shapes.items(folder)]
        collection = catalog.collection(PUBLIC, tiles_shapes.COLLECTION)
        for number in range(COPIES):
            for scene in scenes:
                catalog.publish(_copied(scene, number, folder / "store", place / "store"), collection=collection)
    return f"{scenes[-1]['id']}-0"


def _copied(scene: dict[str, Any], number: int, store: Path, to: Path) -> bytes:
    """A scene that many days later, with files of its own."""
    made = json.loads(json.dumps(scene).replace(scene["id"], f"{scene['id']}-{number}"))
    for asset, was in zip(made["assets"].values(), scene["assets"].values(), strict=True):
        if was["href"].startswith(MARKER) and (file := store / was["href"].removeprefix(MARKER)).exists():
            link = to / asset["href"].removeprefix(MARKER)
            link.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, link)
    for key in ("datetime", "start_datetime", "end_datetime"):
        if made["properties"].get(key):
            then = datetime.fromisoformat(made["properties"][key]) + timedelta(days=number)
            made["properties"][key] = then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return documents.stored(made)


@contextmanager
def served(kartotek: Path, place: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server that keeps few blocks: its root and its process."""
    port = servers.free_port()
    command = [kartotek, "--log-level", "error", "serve", "--port", port,
               "--database", f"sqlite:///{place / 'kartotek.db'}", "--storage", place / "store"]  # fmt: skip
    with servers.listening(command, port, servers.clean() | {"KARTOTEK_CACHE_MB": "16"}) as process:
        yield f"http://127.0.0.1:{port}", process


def ask(root: str, request: Request) -> tuple[int, bytes, Message]:
    """Status, body and headers of an answer."""
    body = None if request.body is None else json.dumps(request.body).encode()
    asked = urllib.request.Request(root + request.path, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def main() -> None:
    """Ask, and print what each request took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "tiles")
    parser.add_argument("--only", default="", help="requests whose names begin so")
    parser.add_argument("--at-once", type=int, default=1, help="how many of the same are asked for at a time")
    parser.add_argument("--kartotek", type=Path, default=Path(sys.executable).with_name("kartotek"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        place = Path(made)
        item = enter(given.folder, place)
        with served(given.kartotek, place) as (root, _):
            mosaics = {}
            for kind in ("newest", "median"):
                definition = {"collections": [tiles_shapes.COLLECTION], "order": kind, "mask": "clear"}
                answer = ask(root, Request("", "/mosaics", definition))
                mosaics[kind] = json.loads(answer[1])["id"]
        print(f"{'':34} {'status':>6} {'MB more':>8} {'s':>6}  items")
        for request in requests(item, mosaics):
            if not request.name.startswith(given.only):
                continue
            with served(given.kartotek, place) as (root, process):
                ask(root, Request("", f"/tiles/{tiles_shapes.COLLECTION}/{item}/{at(4)}.png?{COLOURS}"))
                idle = servers.private(process)
                with servers.watched(process, 0.005) as seen, ThreadPoolExecutor(given.at_once) as pool:
                    began = time.perf_counter()
                    answers = list(pool.map(lambda _, one=request: ask(root, one), range(given.at_once)))
                    took = time.perf_counter() - began
            more = (max(seen) - idle) / 1e6
            status = "/".join(sorted({str(answer[0]) for answer in answers}))
            over = "" if more <= ALLOWED * given.at_once and took <= SECONDS else "  OVER"
            opened = answers[0][2].get("X-Kartotek-Items", "")
            print(f"{request.name:34} {status:>6} {more:8.0f} {took:6.2f}  {opened}{over}")
            if answers[0][0] >= 400:
                print(f"    {answers[0][1][:300].decode()}")


if __name__ == "__main__":
    main()
