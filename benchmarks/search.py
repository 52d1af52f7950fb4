"""Searches side by side: stac-fastapi-pgstac as recommended and tuned by hand, bare SQL, kartotek on both databases.

    python benchmarks/search.py prepare FOLDER --peers ../shared/peers     once: items, databases, how fast they came in
    python benchmarks/search.py run FOLDER                                 latencies and requests/s, in turn
    python benchmarks/search.py run FOLDER --only q01,q09 --servers kartotek-sqlite,floor

FOLDER takes some 12 GB. A private PostgreSQL server with PostGIS holds a database for each; an API is one worker.
Each round asks each server all variants of a shape, one after the other by one client and then by eight, so that a
noisy machine is noisy for all. Figures are medians over the rounds; ratios are to the recommended pgstac.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from servers import PGSTAC, environment, free_port, listening, pg, postgres, sql, uvicorn

HERE = Path(__file__).resolve().parent
PEER = ["stac-fastapi.pgstac==7.2.0", "pypgstac[psycopg]==0.10.0", "uvicorn[standard]", "asyncpg", "starlette"]
SERVERS = ("pgstac", "pgstac-tuned", "floor", "kartotek-postgis", "kartotek-sqlite")
SECONDS = 4.0
"""How long eight clients ask one shape."""


# Preparing


def prepare(folder: Path, peers: Path, count: int) -> None:
    """Items, queries, databases; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    environment(folder / "venv", PEER)
    items, queries = folder / "items.ndjson", folder / "queries.json"
    if not queries.exists():
        subprocess.run([sys.executable, peers / "make_items.py", "--n", str(count), "--out", items], check=True)
        subprocess.run([sys.executable, peers / "make_queries.py", items, queries], check=True)
    with postgres(folder) as port:
        times: dict[str, float] = {}
        place = folder / "ingest.json"
        if place.exists():
            times = json.loads(place.read_text())
        for name, enter in (
            ("pgstac", enter_pgstac), ("floor", enter_floor), ("kartotek-postgis", enter_kartotek),
            ("kartotek-sqlite", enter_kartotek), ("kartotek-sqlite, checked by schemas", enter_kartotek),
        ):  # fmt: skip
            if name in times:
                continue
            times[name] = enter(folder, peers, port, name)
            place.write_text(json.dumps(times))
            print(f"{name}: {count / times[name]:.0f} items/s", flush=True)
        print("\nitems/s    x pypgstac")
        for name, seconds in times.items():
            print(f"{count / seconds:8.0f} {times['pgstac'] / seconds:8.2f}  {name}")


def timed(command: list[Any], **environment: str) -> float:
    """Seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, env=os.environ | environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def enter_pgstac(folder: Path, peers: Path, port: int, _name: str) -> float:
    """By pypgstac, as its documentation has it."""
    sql(port, "postgres", "DROP DATABASE IF EXISTS pgstac", "CREATE DATABASE pgstac", PGSTAC)
    tool, known = folder / "venv" / "bin" / "pypgstac", pg(port, "pgstac")
    timed([tool, "migrate"], **known)
    timed([tool, "load", "collections", folder / "collections.ndjson", "--method", "insert"], **known)
    taken = timed([tool, "load", "items", folder / "items.ndjson", "--method", "insert"], **known)
    timed([tool, "load_queryables", peers / "pgstac_queryables.json", "--index_fields",
           '["eo:cloud_cover","eo:snow_cover","grid:code","platform"]'], **known)  # fmt: skip
    sql(port, "pgstac", "ANALYZE")
    return taken


def enter_floor(folder: Path, _peers: Path, port: int, _name: str) -> float:
    """By COPY into a table that is indexed when all is in."""
    sys.path.insert(0, str(HERE))
    source = (HERE / "search_peers" / "floor.py").read_text()
    sql(port, "postgres", "DROP DATABASE IF EXISTS floor", "CREATE DATABASE floor")
    sql(port, "floor", "CREATE EXTENSION postgis", "CREATE EXTENSION btree_gist", source.split('"""')[3])
    began = time.perf_counter()
    import orjson
    import psycopg
    import shapely

    with psycopg.connect(f"postgresql://kartotek@127.0.0.1:{port}/floor") as connection:
        with connection.cursor().copy("COPY flat FROM STDIN") as copy, (folder / "items.ndjson").open("rb") as lines:
            for line in lines:
                one = orjson.loads(line)
                more = one["properties"]
                place = shapely.to_wkb(shapely.from_geojson(orjson.dumps(one["geometry"])), hex=True)
                copy.write_row((
                    one["collection"], one["id"], place, more["datetime"], more["eo:cloud_cover"],
                    more["eo:snow_cover"], more["grid:code"], line.decode().rstrip(),
                ))  # fmt: skip
        connection.commit()
    taken = time.perf_counter() - began
    for statement in source.split('"""')[5].split(";"):
        if statement.strip():
            sql(port, "floor", statement)
    return taken


def enter_kartotek(folder: Path, peers: Path, port: int, name: str) -> float:
    """By `kartotek ingest`."""
    database, more = f"sqlite:///{folder / 'kartotek.db'}", ["--no-validate"]
    if "postgis" in name:
        sql(port, "postgres", "DROP DATABASE IF EXISTS kartotek", "CREATE DATABASE kartotek")
        database = f"postgresql://kartotek@127.0.0.1:{port}/kartotek"
    elif "schemas" in name:
        database, more = f"sqlite:///{folder / 'checked.db'}", []
    command = [Path(sys.executable).with_name("kartotek"), "ingest", "--database", database]
    timed([*command, folder / "collections.ndjson"])
    taken = timed([*command, *more, folder / "items.ndjson"], KARTOTEK_SCHEMAS=str(peers.parent / "schemas"))
    if "postgis" in name:
        sql(port, "kartotek", "VACUUM ANALYZE")
    for path in folder.glob("checked.db*"):
        path.unlink()
    return taken


# Serving


@contextlib.contextmanager
def served(name: str, folder: Path, port: int) -> Iterator[tuple[int, psutil.Process]]:
    """One worker of a server: its port and its process."""
    own = free_port()
    peer = uvicorn(folder / "venv" / "bin", own)
    known = pg(port, "pgstac") | {"USE_API_HYDRATE": "TRUE", "FLOOR": f"postgresql://kartotek@127.0.0.1:{port}/floor"}
    match name:
        case "pgstac":
            command = [*peer, "--factory", "stac_fastapi.pgstac.app:create_app"]
        case "pgstac-tuned":
            command = [*peer, "--app-dir", HERE / "search_peers", "tuned:app"]
        case "floor":
            command = [*peer, "--app-dir", HERE / "search_peers", "floor:app"]
        case _:
            database = f"postgresql://kartotek@127.0.0.1:{port}/kartotek"
            if name == "kartotek-sqlite":
                database = f"sqlite:///{folder / 'kartotek.db'}"
            command = [Path(sys.executable).with_name("kartotek"), "--log-level", "warning", "serve",
                       "--port", str(own), "--database", database, "--storage", folder / "store"]  # fmt: skip
    with listening(command, own, os.environ | known) as process:
        yield own, process


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._host = f"127.0.0.1:{port}"
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def ask(self, method: str, path: str, body: bytes | None) -> bytes:
        """The body of an answer. Raises RuntimeError unless its status is 200."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: */*\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + (body or b""))
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        told = bytes(data[:end]).lower()
        size = int(told.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(data) < end + 4 + size:
            data += self._more()
        found = bytes(data[end + 4 : end + 4 + size])
        if b" 200 " not in told.split(b"\r\n")[0]:
            raise RuntimeError(f"{method} {path[:200]} {(body or b'')[:300]!r}: {found[:300]!r}")
        return found

    def _more(self) -> bytes:
        found = self._socket.recv(1 << 18)
        if not found:
            raise RuntimeError("the server hung up")
        return found


Request = tuple[str, str, bytes | None]


def requests(variants: list[dict[str, Any]], name: str) -> list[Request]:
    """A shape's requests as a server takes them."""
    found = []
    for one in variants:
        body, path = one["b"], one["p"]
        if body is not None and "conf" in body and name.startswith("kartotek"):
            body = {key: value for key, value in body.items() if key != "conf"} | {"numberMatched": True}
        found.append((one["m"], path, None if body is None else json.dumps(body).encode()))
    return found


@dataclass
class Figures:
    """What was measured of one shape on one server."""

    times: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    size: float = 0.0


def cpu(process: psutil.Process, database: psutil.Process) -> float:
    """CPU seconds of a server and of all of PostgreSQL."""
    total = 0.0
    for root in (process, database):
        for one in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                total += times.user + times.system
    # Backends that ended are in their parent's account.
    ended = database.cpu_times()
    return total + ended.children_user + ended.children_system


def measure(port: int, process: psutil.Process, database: psutil.Process, asked: list[Request], into: Figures) -> None:
    """One client through all variants, twice; then eight for some seconds."""
    client = Client(port)
    sizes = []
    for method, path, body in asked * (2 if len(asked) > 1 else 40):
        began = time.perf_counter()
        sizes.append(len(client.ask(method, path, body)))
        into.times.append(1000 * (time.perf_counter() - began))
    into.size = statistics.mean(sizes)
    clients = [Client(port) for _ in range(8)]
    end, done = time.monotonic() + SECONDS, [0] * 8

    def work(number: int) -> None:
        turn = number * 5
        while time.monotonic() < end:
            clients[number].ask(*asked[turn % len(asked)])
            done[number] += 1
            turn += 1

    before, began = cpu(process, database), time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    into.rates.append(sum(done) / (time.perf_counter() - began))
    into.work.append(1000 * (cpu(process, database) - before) / max(1, sum(done)))


def ids(content: bytes) -> list[tuple[str, Any, Any]]:
    """Items, with what they may be sorted by."""
    return [
        (one["id"], one.get("properties", {}).get("datetime"), one.get("properties", {}).get("eo:cloud_cover"))
        for one in json.loads(content).get("features", ())
    ]


def agree(ports: dict[str, int], shapes: dict[str, Any], only: list[str]) -> int:
    """Compare what all servers answer; items of which several stand at one place may be others. How many differ."""
    differ = 0
    for shape, (_, variants) in shapes.items():
        if (only and shape.split("_")[0] not in only) or "collections" in shape or shape.startswith("q09"):
            continue
        for number in range(len(variants)):
            found = {}
            for name, port in ports.items():
                [asked] = requests([variants[number]], name)
                found[name] = ids(Client(port).ask(*asked))
            sets = {name: {one[0] for one in items} for name, items in found.items()}
            orders = {name: [one[2] if "sort_cloud" in shape else str(one[1])[:19] for one in items]
                      for name, items in found.items()}  # fmt: skip
            first = next(iter(sets))
            for name in sets:
                if sets[name] != sets[first] and orders[name] != orders[first]:
                    differ += 1
                    print(f"{shape} {number}: {name} has {len(sets[name])}, {first} {len(sets[first])}; "
                          f"{len(sets[name] ^ sets[first])} are not in both")  # fmt: skip
    return differ


def walk(port: int, name: str, first: dict[str, Any], pages: int) -> list[float]:
    """Milliseconds of each page, followed by its link to the next."""
    client, times = Client(port), []
    [(method, path, body)] = requests([first], name)
    for _ in range(pages):
        began = time.perf_counter()
        content = client.ask(method, path, body)
        times.append(1000 * (time.perf_counter() - began))
        link = next((one for one in json.loads(content)["links"] if one["rel"] == "next"), None)
        if link is None:
            break
        parts = urlsplit(link["href"])
        method, path = link.get("method", "GET"), parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {**json.loads(body or b"{}"), **(link.get("body") or {})} if link.get("merge") else link.get("body")
        body = json.dumps(sent).encode() if method == "POST" else None
    return times


def run(folder: Path, rounds: int, only: list[str], names: list[str]) -> None:
    """Measure, and print the tables."""
    document = json.loads((folder / "queries.json").read_text())
    shapes = {name: (one["about"], one["variants"]) for name, one in document["shapes"].items()}
    figures: dict[tuple[str, str], Figures] = defaultdict(Figures)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(postgres(folder))
        database = next(
            process for process in psutil.process_iter(["cmdline"])
            if f"port={port}" in (process.info["cmdline"] or ()) and "postgres" in process.info["cmdline"][0]
        )  # fmt: skip
        servers = {name: stack.enter_context(served(name, folder, port)) for name in names}
        ports = {name: own for name, (own, _) in servers.items()}
        for name in names:  # each has seen each shape
            for shape, (_, variants) in shapes.items():
                if name != "floor" or "collections" not in shape:
                    for asked in requests(variants[:5], name):
                        Client(ports[name]).ask(*asked)
        print(f"answers that differ: {agree(ports, shapes, only)}", flush=True)
        for number in range(1, rounds + 1):
            for shape, (_, variants) in shapes.items():
                if only and shape.split("_")[0] not in only:
                    continue
                for name, (own, process) in servers.items():
                    if name == "floor" and "collections" in shape:
                        continue
                    measure(own, process, database, requests(variants, name), figures[shape, name])
                print(f"  {shape}", file=sys.stderr, flush=True)
                if number == rounds:
                    report(shape, shapes[shape][0], figures, names)
        if not only:
            for about in document["walks"].values():
                print(f"\n{about['about']}: p50 ms of pages 1-10, the last ten, and seconds in all")
                for name in names:
                    if name == "floor":
                        continue
                    times = walk(ports[name], name, about["first"], about["pages"])
                    ends = statistics.median(times[:10]), statistics.median(times[-10:])
                    print(f"{name:20}{ends[0]:8.1f}{ends[1]:8.1f}{sum(times) / 1000:8.2f}  {len(times)} pages")
    if (place := folder / "ingest.json").exists():
        print("\ningest, seconds:", json.loads(place.read_text()))


def report(shape: str, about: str, figures: dict[tuple[str, str], Figures], names: list[str]) -> None:
    """A shape's table."""
    first = figures[shape, names[0]]
    print(f"\n{shape}: {about}; {time.strftime('%H:%M')}, load {os.getloadavg()[0]:.1f}; x: as {names[0]}")
    print(f"{'':20}{'p50 ms':>8}{'x':>7}{'p95 ms':>8}{'req/s':>8}{'x':>7}{'CPU ms':>8}{'kB':>8}")
    for name in names:
        if (found := figures.get((shape, name))) is None:
            continue
        p50, rate = statistics.median(found.times), statistics.median(found.rates)
        p95, work = statistics.quantiles(found.times, n=20)[-1], statistics.median(found.work)
        print(
            f"{name:20}{p50:8.2f}{statistics.median(first.times) / p50:7.1f}{p95:8.2f}{rate:8.0f}"
            f"{rate / statistics.median(first.rates):7.1f}{work:8.2f}{found.size / 1000:8.1f}",
            flush=True,
        )


def main() -> None:
    """Prepare, or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "run"])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "kartotek-search")
    parser.add_argument("--peers", type=Path, default=HERE.parent.parent / "shared" / "peers")
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--servers", default=",".join(SERVERS))
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    if asked.what == "prepare":
        prepare(folder, asked.peers.resolve(), asked.items)
    else:
        run(folder, asked.rounds, list(filter(None, asked.only.split(","))), asked.servers.split(","))


if __name__ == "__main__":
    main()
