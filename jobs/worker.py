"""Conversion in a process of its own, under limits: what a product does there it does to itself.

A product is read and converted in a process that is forked for it and ends with it. What kills that process (memory,
time, a fault in a decoder) is told as that product's error; the process that publishes opens our own files alone.
"""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from converters import sensors
from converters.convert import Converted, Progress, Recipe, convert
from kartotek.errors import BrokenProduct, KartotekError, TooCostly
from kartotek.settings import Settings

log = logging.getLogger(__name__)

_PROCESSES = multiprocessing.get_context("forkserver")
"""Each process is forked, in milliseconds, from one that has loaded our code and done nothing yet."""
_LONGEST = 70
"""Bytes of a temporary folder's path that leave room for a socket in it."""
_LOADED = ["converters.convert", "converters.sensors.sentinel2", __name__]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one product may cost."""

    mb: int = 4096
    """Memory that its process may ask for, in MB; a whole Sentinel-2 product takes some 1 400."""
    seconds: float = 3600

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings."""
        return cls(mb=settings.conversion_mb, seconds=settings.conversion_seconds)


def warm_up() -> None:
    """Start what processes are forked from, and go on without waiting for it."""
    _PROCESSES.set_forkserver_preload(_LOADED)
    kept = tempfile.tempdir
    # Its socket lies in the temporary folder, and the path of a socket has 107 bytes at most.
    if len(os.fsencode(tempfile.gettempdir())) > _LONGEST:
        tempfile.tempdir = "/tmp"  # noqa: S108  in a folder of its own there
    try:
        forkserver.ensure_running()
    finally:
        tempfile.tempdir = kept


def converted(
    path: Path, folder: Path, recipe: Recipe, limits: Limits, *, visual: bool = False, progress: Progress | None = None
) -> Converted:
    """Read the product at a path and convert it into files in a folder, in a process of its own.

    Raises TooCostly where it passes a limit, BrokenProduct where its process dies of it, and what `sensors.read` and
    `convert` raise.
    """
    warm_up()
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(
        target=_work,
        args=(
            theirs,
            Path.cwd(),
            path,
            folder,
            recipe,
            limits,
            visual,
            logging.getLogger("converters").getEffectiveLevel(),
        ),
        name=f"kartotek {path.name}",
    )
    process.start()
    theirs.close()
    deadline = time.monotonic() + limits.seconds
    try:
        while True:
            if not wait([ours], max(0.0, deadline - time.monotonic())):
                raise TooCostly(f"{path.name}: not converted within {limits.seconds:g} s (KARTOTEK_CONVERSION_SECONDS)")
            try:
                kind, value = ours.recv()
            except EOFError:
                process.join()
                raise _dead(path, process.exitcode, limits) from None
            if kind == "done":
                found: Converted = value
                return found
            if kind == "error":
                raise value
            if kind == "log":
                _log(value)
            elif progress:
                progress(*value)
    finally:
        process.kill()  # whether it is done, late, or nobody waits for it any more
        process.join()
        process.close()
        ours.close()


def _dead(path: Path, status: int | None, limits: Limits) -> BrokenProduct:
    """What to say of a process that ended without a word."""
    how = signal.Signals(-status).name if status is not None and status < 0 else f"exit status {status}"
    return BrokenProduct(
        f"{path.name}: the process that converted it died ({how}); its files are damaged, or it needs more memory than "
        f"there is (at most {limits.mb} MB, KARTOTEK_CONVERSION_MB)"
    )


def _log(record: logging.LogRecord) -> None:
    """Log here what was logged there."""
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


# What follows runs in the product's process.


class _Teller(logging.handlers.QueueHandler):
    """Sends what happens to the process that waits for it, log records among it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(self)  # type: ignore[arg-type]  # of a queue, put_nowait alone is asked for
        self._connection = connection
        self._one = threading.Lock()

    def tell(self, kind: str, value: Any) -> None:
        """Send one message."""
        with self._one:
            self._connection.send((kind, value))

    def put_nowait(self, record: logging.LogRecord) -> None:
        """Send a log record."""
        self.tell("log", record)


def _work(
    connection: Connection,
    place: Path,
    path: Path,
    folder: Path,
    recipe: Recipe,
    limits: Limits,
    visual: bool,
    level: int,
) -> None:
    """Convert one product, and tell what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits, which then ends this one
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    os.chdir(place)
    _limit(resource.RLIMIT_AS, limits.mb << 20)
    _limit(resource.RLIMIT_CORE, 0)
    teller = _Teller(connection)
    logging.root.addHandler(teller)
    logging.root.setLevel(level)
    try:
        found = _converted(
            path, folder, recipe, limits, visual=visual, progress=lambda *said: teller.tell("progress", said)
        )
    except (KartotekError, OSError) as error:
        teller.tell("error", error)
    else:
        teller.tell("done", found)


def _converted(
    path: Path, folder: Path, recipe: Recipe, limits: Limits, *, visual: bool, progress: Progress
) -> Converted:
    """The product read and converted; whatever a product or a sensor does that nobody foresaw is that product's own."""
    try:
        return convert(sensors.read(path, visual=visual), folder, recipe, progress)
    except (KartotekError, OSError):
        raise
    except MemoryError as error:
        raise TooCostly(f"{path.name}: needs more than {limits.mb} MB of memory (KARTOTEK_CONVERSION_MB)") from error
    except Exception as error:
        log.debug("%s", path, exc_info=error)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BrokenProduct(
            f"{path.name}: can't be converted ({reason}); fetch the product again, and where that doesn't help, tell "
            "us what `kartotek --log-level debug convert` says"
        ) from error


def _limit(what: int, most: int) -> None:
    """Set a limit of this process, where the system's own is not lower."""
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _end_with_parent(folder: Path) -> None:
    """Once the process that waits is gone, by kill -9 too, leave nothing behind and end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
