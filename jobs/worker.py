"""Conversion in a process of its own, under limits: what a product does there it does to itself.

A product is read and converted in a process that is forked for it and ends with it. What kills that process (memory,
time, a fault in a decoder) is told as that product's error; the process that publishes opens our own files alone.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from converters import sensors
from converters.convert import Converted, Progress, Recipe, convert
from converters.fingerprint import fingerprint
from kartotek import errors, memory
from kartotek.errors import BadFile, BrokenProduct, ProductError, TooCostly
from kartotek.settings import Settings
from kartotek.stopwatch import Stopwatch

log = logging.getLogger(__name__)

_PROCESSES = multiprocessing.get_context("forkserver")
"""Each process is forked, in milliseconds, from one that has loaded our code and done nothing yet."""
_LONGEST = 70
"""Bytes of a temporary folder's path that leave room for a socket in it."""
MAX_LINE = 10_000
"""Letters of a line of the log that are passed on."""
_LOADED = ["converters.convert", "converters.sensors.sentinel2", "pandas", __name__]
"""What each process finds imported. Pandas is none of ours, but where it is installed pyarrow imports it with its first
table, which takes longer than reading a band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one product may cost."""

    mb: int = 4096
    """Memory that its process may ask for, in MB; a whole Sentinel-2 product takes some 1 000."""
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
    # Ctrl-C is for us, from its first moment on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        tempfile.tempdir = kept


def converted(
    path: Path,
    folder: Path,
    recipe: Recipe,
    limits: Limits,
    *,
    visual: bool = False,
    progress: Progress | None = None,
    logged: Callable[[str], None] | None = None,
) -> Converted:
    """Read the product at a path and convert it into files in a folder, in a process of its own.

    `logged` is given what is logged there, line by line.

    Raises TooCostly where it passes a limit, BrokenProduct where its process dies of it, and what `sensors.read` and
    `convert` raise.
    """
    warm_up()
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    level = logging.getLogger("converters").getEffectiveLevel()
    process = _PROCESSES.Process(
        target=_work,
        args=(theirs, Path.cwd(), path, folder, recipe, limits, visual, level),
        name=f"kartotek {path.name}",
    )
    process.start()
    theirs.close()
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process)

    # A timer, since the process may be in the middle of a message, or never stop to send them.
    timer = threading.Timer(limits.seconds, end)
    timer.daemon = True
    timer.start()
    try:
        while True:
            try:
                if ours not in wait([ours, process.sentinel]):
                    raise EOFError  # it died, and one that it has started holds the connection
                kind, value = ours.recv()
            except (EOFError, OSError):  # the latter where it died in the middle of a message
                process.join(5)
                if late.is_set():
                    raise TooCostly(
                        f"{path.name}: not converted within {limits.seconds:g} s (KARTOTEK_CONVERSION_SECONDS)"
                    ) from None
                raise _dead(path, process.exitcode, limits) from None
            if kind == "done":
                collection, made = value
                return _whole(collection, made, folder)
            if kind == "error":
                raise _error(*value)
            if kind == "log":
                _log(value)
                if logged:
                    logged(f"{value['levelname']} {value['name']}: {value['msg']}")
            elif progress:
                progress(*value)
    finally:
        timer.cancel()
        _kill(process)  # whether it is done, late, or nobody waits for it any more
        process.join()
        process.close()
        ours.close()


def _kill(process: BaseProcess) -> None:
    """End a product's process, and those that it has started."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # the process leads a group of its own once it is at work
    process.kill()


def _whole(collection: str, made: dict[str, Any], folder: Path) -> Converted:
    """What conversion made, with the collection that is known here too."""
    return Converted(collection=sensors.collections()[collection], folder=folder, **made)


def _error(name: str, text: str, number: int | None) -> Exception:
    """An error that was raised there: one of ours, or of the system."""
    if name == OSError.__name__:
        return OSError(number, text)
    found: Exception = getattr(errors, name)(text)
    return found


def _dead(path: Path, status: int | None, limits: Limits) -> BrokenProduct:
    """What to say of a process that ended without a word."""
    how = f"exit status {status}"
    if status is not None and status < 0:
        how = next((one.name for one in signal.Signals if one == -status), f"signal {-status}")
    return BrokenProduct(
        f"{path.name}: the process that converted it died ({how}); its files are damaged, or it needs more memory than "
        f"there is (at most {limits.mb} MB, KARTOTEK_CONVERSION_MB)"
    )


def _log(fields: dict[str, Any]) -> None:
    """Log here what was logged there."""
    logger = logging.getLogger(fields["name"])
    if logger.isEnabledFor(fields["levelno"]):
        logger.handle(logging.makeLogRecord(fields))


# What follows runs in the product's process.


class _Teller(logging.Handler):
    """Sends what happens to the process that waits for it, log records among it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._one = threading.Lock()

    def tell(self, kind: str, value: Any) -> None:
        """Send one message. Raises whatever pickle does where it can't be one."""
        content = pickle.dumps((kind, value))  # before the lock: it may log
        with self._one:
            self._connection.send_bytes(content)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a log record: its own words alone, since what else it carries may be anything."""
        with contextlib.suppress(BrokenPipeError):
            fields = {name: getattr(record, name) for name in ("name", "levelno", "levelname", "pathname", "lineno")}
            text = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
            self.tell(
                "log", fields | {"msg": record.getMessage()[:MAX_LINE], "exc_text": text, "created": record.created}
            )


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
    os.setsid()  # Ctrl-C is for the process that waits, which then ends this one and those that it has started
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    os.dup2(2, 1)  # standard output is the command's own
    os.chdir(place)
    limit(resource.RLIMIT_AS, limits.mb << 20)
    limit(resource.RLIMIT_CORE, 0)
    teller = _Teller(connection)
    logging.root.addHandler(teller)
    logging.root.setLevel(level)
    logging.captureWarnings(True)
    try:
        watch = Stopwatch()
        with watch.stage("find"):
            product = sensors.read(path, visual=visual)
        with watch.stage("read"):
            source = fingerprint(path)
        found = convert(product, folder, recipe, lambda *said: teller.tell("progress", said))
        made = {"item": found.item, "squares": found.squares, "notes": found.notes, "stated": found.stated}
        teller.tell(
            "done", (found.collection.id, made | {"source": source, "timings": {**watch.seconds, **found.timings}})
        )
    except Exception as error:  # an outside sensor may raise anything
        teller.tell("error", described(error, path, limits))


def described(error: Exception, path: Path, limits: Limits) -> tuple[str, str, int | None]:
    """An error as it crosses to the process that waits: which of ours it is, what it says, the system's number."""
    # What looks broken or is unforeseen may be so because memory ran out.
    uncertain = isinstance(error, BrokenProduct) or not isinstance(error, ProductError | BadFile)
    if uncertain and memory.ran_out(error):
        words = f"{path.name}: needs more than {limits.mb} MB of memory (KARTOTEK_CONVERSION_MB)"
        return TooCostly.__name__, words, None
    if isinstance(error, ProductError | BadFile):
        # Of an outside sensor's own kind the nearest of ours.
        name = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        return name, str(error), None
    if isinstance(error, OSError):
        return OSError.__name__, str(error.strerror or error), error.errno
    log.debug("%s", path, exc_info=error)
    words = (
        f"{path.name}: can't be converted ({errors.in_a_line(error)}); fetch the product again, and where that "
        "doesn't help, tell us what `kartotek --log-level debug convert` says"
    )
    return BrokenProduct.__name__, words, None


def limit(what: int, most: int) -> None:
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
        os.killpg(0, signal.SIGKILL)
