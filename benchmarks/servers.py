"""What benchmarks of servers share: environments of peers, a private PostgreSQL, processes that listen."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from kartotek import gdal


def environment(folder: Path, packages: Sequence[str]) -> Path:
    """The `bin` of a peer's own environment, made by uv where it isn't there."""
    found = folder / "bin"
    uv = Path(sys.executable).with_name("uv")
    if not found.exists():
        subprocess.run([uv, "venv", "-q", folder], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", found / "python", *packages], check=True)
    return found


def clean() -> dict[str, str]:
    """The environment without what we set for GDAL in our own processes, which is no peer's."""
    ours = {*gdal._OPTIONS, "GDAL_SKIP"}
    return {name: value for name, value in os.environ.items() if name not in ours}


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[int]:
    """A server on the data in a folder, and its port."""
    bin = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1].parent
    other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
    data = folder / "postgres"
    if not data.exists():
        data.mkdir()
        if other:
            shutil.chown(data, "postgres", "postgres")
        initdb = [*other, bin / "initdb", "-D", data, "-U", "kartotek", "-A", "trust", "-E", "UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    port = free_port()
    options = {"shared_buffers": "3GB", "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": port,
               "max_wal_size": "8GB"}  # fmt: skip
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    process = subprocess.Popen([*other, bin / "postgres", "-D", data, *words], cwd="/", stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def sql(port: int, database: str, *statements: str) -> None:
    """Run statements."""
    for statement in statements:
        subprocess.run(
            ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port), "-U", "kartotek",
             "-d", database, "-c", statement], check=True,
        )  # fmt: skip


def pg(port: int, database: str) -> dict[str, str]:
    """The variables by which libpq and pgstac know a database."""
    return {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "kartotek", "PGPASSWORD": "x", "PGDATABASE": database}


PGSTAC = "alter database pgstac set search_path to pgstac, public"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_for(port: int, seconds: float = 60) -> None:
    """Return once somebody listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nobody listens on port {port}")


@contextlib.contextmanager
def listening(command: Sequence[Any], port: int, environment: Mapping[str, str]) -> Iterator[psutil.Process]:
    """A process that serves on a port, until the block ends."""
    words = [str(word) for word in command]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def uvicorn(bin: Path, port: int) -> list[Any]:
    """How a peer's application is served: one worker, the fast loop and parser, no access log."""
    return [bin / "python", "-m", "uvicorn", "--port", str(port), "--no-access-log", "--loop", "uvloop",
            "--http", "httptools", "--log-level", "error"]  # fmt: skip


def private(root: psutil.Process) -> int:
    """Bytes that a process and those that it has started have for themselves (USS); 0 where they are gone."""
    try:
        return sum(one.memory_full_info().uss for one in [root, *root.children(recursive=True)])
    except psutil.Error:
        return 0


@contextlib.contextmanager
def watched(process: psutil.Process, seconds: float = 0.25) -> Iterator[list[int]]:
    """Private memory of a process while the block goes on, in bytes, looked at every so many seconds."""
    seen, over = [private(process)], threading.Event()

    def watch() -> None:
        while not over.wait(seconds):
            seen.append(private(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.append(private(process))
