"""Tiles side by side: titiler with its STAC factory, kartotek, and the bare reading, unpacking and encoding of both.

    python benchmarks/tiles.py prepare FOLDER --peers ../shared/peers     once: scenes, catalogs, titiler's environments
    python benchmarks/tiles.py run FOLDER [--only rgb-png-z13,crop] [--servers kartotek,floor] [--rounds 3]
    python benchmarks/tiles.py run FOLDER --storage s3                    files over HTTP, 20 ms away
    python benchmarks/tiles.py run FOLDER --kartotek ../other/.venv/bin/kartotek

FOLDER takes some 6 GB. All servers read the same six scenes (`tiles_scenes`), written by kartotek, with one worker
each, and are asked the same seeded lists (`tiles_shapes`) by a client in a process of its own, one and eight at a time.
titiler is measured with its default threads and with RIO_TILER_MAX_THREADS=1; the faster is what ratios are to. Its
resampling is its default, nearest, kartotek's bilinear. Mosaics are titiler.pgstac's.

*First sight*: a server that has just started and has drawn one other tile of the same kind is asked each tile of the
list once. *Warm*: the same list again, for four seconds at least; its blocks fit into the servers' caches. Files lie in
memory for all (/dev/shm, where it has room), since a machine may give its cache of files back within a minute. The
floor's first sight reads, unpacks and encodes; warm, it encodes alone. Memory is private (USS): at rest before the
first request, and at most. Rounds alternate between the servers; figures are medians over the rounds. All are kept in
FOLDER/tiles.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import psutil
import servers
import tifffile
import tiles_scenes
import tiles_shapes
from tiles_shapes import SHAPES, Asked, Item, Request, Shape

from catalog.store import Catalog
from kartotek import matrices
from kartotek.storage import FolderStorage
from pixels.blocks import Blocks

HERE = Path(__file__).resolve().parent
MEMORY = Path("/dev/shm")
SERVERS = ("titiler", "titiler-1thread", "kartotek", "floor")
PACKAGES = {
    "venv": ["titiler.core==2.3.*", "uvicorn", "uvloop", "httptools"],
    "venv-mosaic": ["titiler.pgstac[psycopg-binary]==3.2.*", "pypgstac[psycopg]==0.10.*", "uvicorn", "uvloop",
                    "httptools"],
}  # fmt: skip
TITILER = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_CACHEMAX": "200",
    "VSI_CACHE": "TRUE",
    "VSI_CACHE_SIZE": "5000000",
    "CPL_VSIL_CURL_CACHE_SIZE": "200000000",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_BAND_BLOCK_CACHE": "HASHSET",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "PYTHONWARNINGS": "ignore",
}
SECONDS = 4.0
"""How long a warm list goes round, at least."""
FAR = 20
"""Milliseconds by which the store's answers are late."""
SAME = 10.0
"""Of 255: pictures of the same differ by less on average, resampled in two ways and packed with loss."""
STAGES = ("index", "read", "decode", "warp", "render", "encode")


# Preparing


def prepare(folder: Path, peers: Path) -> None:
    """Scenes, environments and titiler.pgstac's database; what is there already stays."""
    tiles_scenes.prepare(folder, peers.parent / "data" / "openeo-geotrellis")
    for name, packages in PACKAGES.items():
        servers.environment(folder / name, packages)
    sets = folder / "tms"
    sets.mkdir(exist_ok=True)
    for name, tms in matrices.served().items():
        if name != "WebMercatorQuad":  # which it has itself
            (sets / f"{name}.json").write_text(tms.model_dump_json(exclude_none=True, by_alias=True))
    with servers.postgres(folder) as port:
        servers.sql(port, "postgres", "DROP DATABASE IF EXISTS pgstac", "CREATE DATABASE pgstac", servers.PGSTAC)
        subprocess.run([folder / "venv-mosaic" / "bin" / "pypgstac", "migrate"], check=True,
                       env=os.environ | servers.pg(port, "pgstac"), stdout=subprocess.DEVNULL)  # fmt: skip


def documents(folder: Path, items: Sequence[Item], root: str) -> Path:
    """Items as peers read them, in a folder, each a file; their COGs by `root` and key."""
    found = folder / "items"
    found.mkdir(exist_ok=True)
    for item in items:
        content = {**item.content, "links": [], "assets": {
            name: {**asset, "href": f"{root}/{item.key(name)}"} for name, asset in item.content["assets"].items()
        }}  # fmt: skip
        (found / f"{item.scene.name}.json").write_text(json.dumps(content))
    return found


# Serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where all that is measured lies."""

    folder: Path
    store: Path
    """The COGs: a copy of the folder's in memory, where that has room."""
    kartotek: Path
    database: Path
    """A copy of kartotek's catalog, migrated to the code that is measured."""
    documents: Path
    """Folder of the items as titiler reads them."""
    far: int
    """Port of the store that is far away; 0: files."""
    postgres: int
    """Port of titiler.pgstac's database; 0 where no mosaic is measured."""

    @property
    def root(self) -> str:
        """What a COG's key follows."""
        return f"http://127.0.0.1:{self.far}/store" if self.far else str(self.store)


@contextlib.contextmanager
def laid_out(folder: Path, kartotek: Path, *, far: bool, mosaic: bool) -> Iterator[Place]:
    """The place, with the store and the database that it needs."""
    items = tiles_shapes.items(folder)
    with contextlib.ExitStack() as stack:
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kartotek-tiles-")))
        shutil.copy(folder / "kartotek.db", database := private / "kartotek.db")
        migrate = [kartotek, "migrate", "--database", f"sqlite:///{database}"]
        subprocess.run(migrate, check=True, stdout=subprocess.DEVNULL)
        store = in_memory(folder / "store", stack)
        remember(database, store, items)
        port = servers.free_port() if far else 0
        if far:
            command = [sys.executable, HERE / "tiles_peers" / "store.py", port, store.parent, FAR]
            stack.enter_context(servers.listening(command, port, os.environ))
        root = f"http://127.0.0.1:{port}/store" if far else str(store)
        written = documents(private, items, root)
        base = stack.enter_context(servers.postgres(folder)) if mosaic else 0
        if mosaic:
            load(folder, base, written)
        yield Place(folder=folder, store=store, kartotek=kartotek, database=database, documents=written, far=port,
                    postgres=base)  # fmt: skip


def in_memory(store: Path, stack: contextlib.ExitStack) -> Path:
    """A copy of the COGs in memory, as long as the stack lasts; the COGs themselves where there is no room for it."""
    needed = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < 2 * needed:
        return store
    held = stack.enter_context(tempfile.TemporaryDirectory(prefix="kartotek-tiles-", dir=MEMORY))
    return Path(shutil.copytree(store, Path(held) / "store"))


def remember(database: Path, store: Path, items: Sequence[Item]) -> None:
    """Keep where the blocks of the COGs lie, as is done when items are published; these are older than that."""
    with contextlib.closing(Catalog(f"sqlite:///{database}")) as catalog:
        keys = [item.key(name) for item in items for name in ("B02", "B03", "B04", "B08")]
        Blocks(FolderStorage(store), memory=0, kept=catalog.directories).directories(keys)


def load(folder: Path, port: int, written: Path) -> None:
    """Enter the items into titiler.pgstac's database."""
    lines = written.parent / "items.ndjson"
    lines.write_text("\n".join(path.read_text() for path in written.glob("*.json")))
    collection = written.parent / "collection.ndjson"
    collection.write_text(json.dumps({
        "type": "Collection", "id": tiles_shapes.COLLECTION, "stac_version": "1.1.0", "description": "-",
        "license": "other", "links": [], "extent": {
            "spatial": {"bbox": [[10, 54, 25, 70]]}, "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        },
    }))  # fmt: skip
    for what, path in (("collections", collection), ("items", lines)):
        command = [folder / "venv-mosaic" / "bin" / "pypgstac", "load", what, path, "--method", "upsert"]
        known = os.environ | servers.pg(port, "pgstac")
        subprocess.run(command, check=True, env=known, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def served(name: str, shape: Shape, place: Place) -> Iterator[tuple[int, psutil.Process]]:
    """One worker of a server: its port and its process."""
    port, environment = servers.free_port(), servers.clean()
    if name == "kartotek":
        storage = "s3://store" if place.far else place.store
        command = [place.kartotek, "--log-level", "warning", "serve", "--port", port,
                   "--database", f"sqlite:///{place.database}", "--storage", storage]  # fmt: skip
        environment |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{place.far}", "AWS_REGION": "us-east-1",
                        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}  # fmt: skip
    else:
        environment |= TITILER | {"TILEMATRIXSET_DIRECTORY": str(place.folder / "tms")}
        if name == "titiler-1thread":
            environment["RIO_TILER_MAX_THREADS"] = "1"
        if shape.kind == "mosaic":
            environment |= servers.pg(place.postgres, "pgstac")
            command = [*servers.uvicorn(place.folder / "venv-mosaic" / "bin", port), "titiler.pgstac.main:app"]
        else:
            app = ["--app-dir", HERE / "tiles_peers", "tiler:app"]
            command = [*servers.uvicorn(place.folder / "venv" / "bin", port), *app]
    with servers.listening(command, port, environment) as process:
        yield port, process


def registered(name: str, port: int) -> str:
    """The id of the search for all scenes, newest first."""
    search: dict[str, Any] = {"collections": [tiles_shapes.COLLECTION]}
    path = "/mosaics"
    if name != "kartotek":
        search["sortby"], path = [{"field": "datetime", "direction": "desc"}], "/searches/register"
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(search).encode(),
                                   {"Content-Type": "application/json"})  # fmt: skip
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return str(json.load(answer)["id"])


# Measuring


@dataclass
class Figures:
    """What was measured of one shape on one server; an entry a round."""

    first: list[float] = field(default_factory=list)
    """Answers a second."""
    warm: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    """Of an answer, the median."""
    warm_ms: list[float] = field(default_factory=list)
    kilobytes: float = 0.0
    """Of an answer, the mean."""
    idle: list[float] = field(default_factory=list)
    """MB."""
    peak: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    """Requests to the store for an answer, on first sight; of the floor, blocks that no answer before touched."""
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    """first or warm → stage → milliseconds of an answer, the mean."""
    fault: str = ""
    """Why there is nothing."""


class NotThere(Exception):
    """A request that a server answers with 4xx."""


def ask(
    port: int, clients: int, seconds: float, requests: Sequence[Request], bodies: Path | str = "-"
) -> dict[str, Any]:
    """What the client tells. Raises NotThere, or RuntimeError with what was answered."""
    command = [sys.executable, HERE / "tiles_peers" / "client.py", str(port), str(clients), str(seconds), bodies]
    done = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    told: dict[str, Any] = json.loads(done.stdout)
    if told["wrong"]:
        number, status, body = told["wrong"][0]
        method, path, _ = requests[number % len(requests)]
        what = f"{len(told['wrong'])} of {len(told['answers'])} answers, {status} {body}: {method} {path}"
        raise NotThere(what) if 400 <= status < 500 else RuntimeError(what)
    return told


def measure(name: str, shape: Shape, place: Place, clients: int, into: Figures) -> list[bytes]:
    """One round of a shape on a server; the answers of first sight."""
    with contextlib.ExitStack() as stack:
        port, process = stack.enter_context(served(name, shape, place))
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bodies"
        memory = stack.enter_context(servers.watched(process))
        idle = memory[0]
        try:
            mosaic = registered(name, port) if shape.kind == "mosaic" else ""
        except urllib.error.HTTPError as error:
            raise NotThere(f"{error.code}: POST of a mosaic") from error
        other, *requests = [
            tiles_shapes.of_kartotek(shape, one, mosaic) if name == "kartotek"
            else tiles_shapes.of_titiler(shape, one, mosaic, place.documents)
            for one in (*listed(shape, place.folder, seed=1, most=1), *listed(shape, place.folder))
        ]  # fmt: skip
        ask(port, 1, 0, [other])
        counts(place)
        first = ask(port, clients, 0, requests, path)
        if place.far:
            into.reads.append(sum(number for number, _ in counts(place).values()) / len(requests))
        warm = ask(port, clients, SECONDS, requests)
        bodies = list(unpacked(path.read_bytes()))
        told = first["answers"][0]["type"]
    for body in bodies:
        check(shape, told, body)
    note(into, first, warm)
    into.idle.append(idle / 1e6)
    into.peak.append(max(memory) / 1e6)
    return bodies


def floor(shape: Shape, place: Place, clients: int, into: Figures) -> None:
    """One round of the floor."""
    requests = work(shape, place.folder)
    figures = []
    for seconds in (0.0, SECONDS):
        command = [sys.executable, HERE / "tiles_peers" / "floor.py", str(clients), str(seconds), place.root]
        done = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, check=True)
        figures.append(json.loads(done.stdout))
    note(into, *figures)
    if shape.suffix not in PICTURES:
        into.warm.clear()  # nothing is left to do
        into.warm_ms.clear()
    into.reads.append(len({tuple(block) for one in requests for block in one["blocks"]}) / len(requests))


LISTS: dict[Any, list[Asked]] = {}


def listed(shape: Shape, folder: Path, *, seed: int = 7, most: int = 1000) -> list[Asked]:
    """A list, made once for all shapes of which it is; so many of its requests at most."""
    key = (shape.kind, shape.tms, shape.zoom, seed)
    if key not in LISTS:
        LISTS[key] = list(islice(tiles_shapes.asked(shape, tiles_shapes.items(folder), seed=seed), most))
    return LISTS[key]


@cache
def work(shape: Shape, folder: Path) -> list[dict[str, Any]]:
    """What the floor does for each request of a list."""
    items = tiles_shapes.items(folder)
    return [
        {"blocks": tiles_shapes.touched(shape, one, items, folder / "store"),
         "bands": len(shape.assets), "size": shape.size, "suffix": shape.suffix}
        for one in listed(shape, folder)
    ]  # fmt: skip


def counts(place: Place) -> dict[str, list[int]]:
    """Requests and bytes of each file since the last time, where the store is far away."""
    if not place.far:
        return {}
    with urllib.request.urlopen(f"http://127.0.0.1:{place.far}/:counts", timeout=10) as answer:
        found: dict[str, list[int]] = json.load(answer)
        return found


def note(into: Figures, first: dict[str, Any], warm: dict[str, Any]) -> None:
    """Add a round."""
    into.first.append(len(first["answers"]) / first["seconds"])
    into.warm.append(len(warm["answers"]) / warm["seconds"])
    into.first_ms.append(statistics.median(answer["ms"] for answer in first["answers"]))
    into.warm_ms.append(statistics.median(answer["ms"] for answer in warm["answers"]))
    into.kilobytes = statistics.mean(answer["bytes"] for answer in first["answers"]) / 1000
    for when, told in (("first", first), ("warm", warm)):
        sums: dict[str, float] = defaultdict(float)
        for answer in told["answers"]:
            for part in filter(None, answer["timing"].split(",")):
                stage, _, rest = part.strip().partition(";")
                sums[stage] += float(rest.partition("dur=")[2].partition(";")[0] or 0)
        if sums:
            into.stages[when] = {stage: total / len(told["answers"]) for stage, total in sums.items()}


# What was answered


def unpacked(content: bytes) -> Iterator[bytes]:
    """Bodies, each behind its length."""
    while content:
        size = int.from_bytes(content[:4], "little")
        yield content[4 : 4 + size]
        content = content[4 + size :]


PICTURES = {"png": imagecodecs.png_decode, "webp": imagecodecs.webp_decode, "jpg": imagecodecs.jpeg8_decode}


def check(shape: Shape, told: str, body: bytes) -> None:
    """Raise AssertionError where an answer is no picture of the shape's size that shows something, or no numbers."""
    if shape.kind in ("point", "statistics"):
        assert "json" in told and json.loads(body), (told, body[:200])
    elif shape.kind == "crop":
        found = tifffile.imread(io.BytesIO(body))
        assert "tiff" in told and found.max() > 0 and sorted(found.shape)[-2] >= 98, (told, found.shape)
    else:
        picture = PICTURES[shape.suffix](body)
        expected = {"jpg": "image/jpeg"}.get(shape.suffix, f"image/{shape.suffix}")
        assert told.startswith((expected, "image/jpg")), told
        assert picture.shape[:2] == (shape.size, shape.size), picture.shape
        assert picture.std(axis=(0, 1)).max() > 2, "nothing to be seen"


def difference(shape: Shape, one: list[bytes], other: list[bytes]) -> float:
    """How far the colours of two servers' pictures lie from each other, of 255, on average."""
    decode = PICTURES[shape.suffix]
    return statistics.mean(
        float(np.abs(rgb(decode(a)) - rgb(decode(b))).mean()) for a, b in zip(one[:12], other[:12], strict=True)
    )


def rgb(picture: Any) -> Any:
    """Red, green and blue, also of what is grey; with or without transparency."""
    shades = picture if picture.ndim == 3 else picture[..., None]
    return (shades[..., :3] if shades.shape[2] > 2 else np.repeat(shades[..., :1], 3, axis=2)).astype(int)


# Running


def median(numbers: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(numbers) if numbers else float("nan")


def run(place: Place, shapes: Sequence[Shape], names: Sequence[str], rates: Sequence[int], rounds: int) -> None:
    """Measure, print the tables, and keep the figures."""
    kept = place.folder / "tiles.json"
    storage = "s3" if place.far else "files"
    for shape in shapes:
        for clients in rates:
            figures = {name: Figures() for name in names}
            pictures: dict[str, list[bytes]] = {}
            for _ in range(rounds):
                for name, into in figures.items():
                    try:
                        if into.fault:
                            continue
                        if name == "floor":
                            floor(shape, place, clients, into)
                        else:
                            pictures[name] = measure(name, shape, place, clients, into)
                    except (NotThere, RuntimeError, AssertionError) as error:
                        into.fault = f"not there yet: {error}" if isinstance(error, NotThere) else f"wrong: {error}"
            report(shape, storage, clients, figures)
            peer = next((name for name in pictures if name.startswith("titiler")), "")
            if shape.suffix in PICTURES and peer and "kartotek" in pictures:
                apart = difference(shape, pictures["kartotek"], pictures[peer])
                same = "" if apart < SAME else ", so that they show different things"
                print(f"  kartotek's pictures and titiler's differ by {apart:.1f} of 255 on average{same}", flush=True)
            found = json.loads(kept.read_text()) if kept.exists() else {}
            for name, into in figures.items():
                found[f"{storage} {shape.name} {clients} {name}"] = {**asdict(into), "at": time.strftime("%F %H:%M")}
            kept.write_text(json.dumps(found, indent=1))


def report(shape: Shape, storage: str, clients: int, figures: dict[str, Figures]) -> None:
    """A shape's table."""
    print(f"\n{shape.name}: {shape.title}; {storage}, {clients} at a time; {time.strftime('%H:%M')}, "
          f"load {os.getloadavg()[0]:.1f}; x: as titiler's better")  # fmt: skip
    print(f"{'':17}{'first/s':>9}{'x':>7}{'warm/s':>9}{'x':>7}{'p50 ms':>9}{'warm':>8}{'kB':>8}"
          f"{'idle MB':>9}{'peak':>7}{'reads':>7}")  # fmt: skip
    peers = [one for name, one in figures.items() if name.startswith("titiler") and one.first]
    for name, one in figures.items():
        if one.fault or not one.first:
            print(f"{name:17} {one.fault}")
            continue
        best = {when: max((median(getattr(peer, when)) for peer in peers), default=0) for when in ("first", "warm")}
        ratios = {when: median(getattr(one, when)) / rate if rate else float("nan") for when, rate in best.items()}
        memory = f"{median(one.idle):9.0f}{max(one.peak):7.0f}" if one.idle else " " * 16
        reads = f"{median(one.reads):7.1f}" if one.reads else ""
        print(f"{name:17}{median(one.first):9.1f}{ratios['first']:7.1f}{median(one.warm):9.1f}{ratios['warm']:7.1f}"
              f"{median(one.first_ms):9.1f}{median(one.warm_ms):8.1f}{one.kilobytes:8.1f}{memory}{reads}")  # fmt: skip
    bare, ours = figures.get("floor"), figures.get("kartotek")
    if bare and ours and bare.first and ours.first:
        print(f"  distance to the floor: {median(bare.first) / median(ours.first):.2f} on first sight, "
              f"{median(bare.warm) / median(ours.warm):.2f} warm")  # fmt: skip
    for when, stages in (ours.stages if ours else {}).items():
        order = [*(name for name in STAGES if name in stages), *(name for name in stages if name not in STAGES)]
        print(f"  kartotek's ms, {when}: " + ", ".join(f"{name} {stages[name]:.2f}" for name in order))
    sys.stdout.flush()


def main() -> None:
    """Prepare, or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "run"])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "tiles")
    parser.add_argument("--peers", type=Path, default=HERE.parent.parent / "shared" / "peers")
    parser.add_argument("--only", default="", help="shapes, or how their names begin")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rates", default="1,8", help="how many ask at a time")
    parser.add_argument("--storage", choices=["files", "s3"], default="files")
    parser.add_argument("--kartotek", type=Path, default=Path(sys.executable).with_name("kartotek"))
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    if asked.what == "prepare":
        prepare(folder, asked.peers.resolve())
        return
    only = tuple(filter(None, asked.only.split(",")))
    shapes = [shape for shape in SHAPES if not only or shape.name.startswith(only)]
    mosaic = any(shape.kind == "mosaic" for shape in shapes) and "titiler" in asked.servers
    with laid_out(folder, asked.kartotek, far=asked.storage == "s3", mosaic=mosaic) as place:
        run(place, shapes, asked.servers.split(","), [int(rate) for rate in asked.rates.split(",")], asked.rounds)


if __name__ == "__main__":
    main()
