"""A crew of Dask workers: Dask carries the word to take a product, and the ledger says which.

A worker claims, converts in a process of its own and publishes by itself; a task that Dask loses, or runs again, is
only another word to take a product. This module is all that knows of Dask.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import socket
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from catalog.store import Catalog
from jobs import scratch, task
from jobs.patience import Patience
from jobs.surroundings import Surroundings
from jobs.task import Outcome, Setup
from kartotek import logs
from kartotek.errors import (
    BadSettings,
    CatalogError,
    ClusterError,
    KartotekError,
    LostTask,
    NotStored,
    StorageError,
    in_a_line,
)
from kartotek.settings import Settings, for_logs
from kartotek.storage import Storage, open_storage

try:
    import distributed
    from distributed.scheduler import KilledWorker
except ImportError as error:
    raise BadSettings(f"--cluster needs Dask ({error}): install kartotek[cluster]") from None

CONNECT = 10
"""Seconds for which a scheduler is waited for when it is first asked."""
MARKS = "clusters/"
"""What keys of marks begin with: objects by which workers know the storage; a run removes its own when it ends."""


class Cluster:
    """The workers of a cluster, and `most` products at a time.

    `address` is that of its scheduler; None starts a cluster on this machine, with `most` workers, which ends when the
    crew is closed. Raises ClusterError where it does not answer, StorageError where the storage does not.
    """

    def __init__(
        self, address: str | None, catalog: Catalog, settings: Settings, setup: Setup, *, most: int | None = None
    ) -> None:
        self.patience = Patience(setup.patience)
        self._given, self._name, self._most = address, address or "the cluster on this machine", most
        self._client = self._connected()
        self._storage = open_storage(settings.storage)
        place = settings.storage if "://" in settings.storage else str(Path(settings.storage).resolve())
        mark = f"{MARKS}{uuid.uuid4().hex}"
        with tempfile.NamedTemporaryFile() as empty:
            self._storage.create(mark, Path(empty.name))
        database = f"sqlite:///{catalog.file}" if catalog.file else settings.database
        surroundings = Surroundings.here(catalog.file)
        self._job = Job(database=database, storage=place, mark=mark, setup=setup, surroundings=surroundings)
        self._take = _packed(self._job)

    def width(self) -> int:
        """As many as the workers have threads now. Raises ClusterError where there is no scheduler or no worker."""
        try:
            if self._client.status == "closed":
                self._client = self._connected()
            count: int = sum(self._client.nthreads().values())
        except ClusterError:
            raise
        except Exception as error:  # of what is below Dask
            raise ClusterError(f"{self._name}: no answer ({in_a_line(error)})") from error
        if not count:
            raise ClusterError(f"{self._name}: no workers; `dask worker {self._name}` starts one")
        return min(count, self._most or count)

    def take(self) -> Future[Outcome | None]:
        """Tell one of the workers to."""
        told: Future[Outcome | None] = Future()
        try:
            theirs = self._client.get_executor(pure=False, retries=0).submit(self._take)
            theirs.add_done_callback(partial(self._tell, told))
        except Exception as error:  # its connection was lost just now
            told.set_exception(LostTask(f"{self._name}: {in_a_line(error)}"))
        return told

    def close(self) -> None:
        """Leave; workers of a cluster that was there before go on with what they have in hand."""
        self.patience.over.set()
        self._client.close()
        with contextlib.suppress(StorageError):
            self._storage.delete(self._job.mark)

    def _connected(self) -> distributed.Client:
        # For a cluster of its own; nobody measures the memory of workers, since products have theirs by themselves.
        here = {"n_workers": self._most, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
        more = {} if self._given else here
        try:
            return distributed.Client(self._given, timeout=CONNECT, set_as_default=False, **more)
        except Exception as error:
            raise ClusterError(
                f"{self._name}: no Dask scheduler answers ({in_a_line(error)}); `dask scheduler` starts one"
            ) from error

    def _tell(self, told: Future[Outcome | None], theirs: Future[Outcome | None]) -> None:
        """What came of a task, in words of ours."""
        try:
            told.set_result(theirs.result())
        except CancelledError:
            told.set_exception(LostTask(f"{self._name}: the scheduler is gone, or has forgotten a task"))
        except KilledWorker as error:
            told.set_exception(LostTask(f"{self._name}: {in_a_line(error)}"))
        except KartotekError as error:
            told.set_exception(error)
        except (ImportError, AttributeError) as error:
            told.set_exception(
                ClusterError(f"{self._name}: {in_a_line(error)}; workers need the kartotek that is installed here")
            )
        except BaseException as error:
            told.set_exception(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What workers are told."""

    database: str
    storage: str
    mark: str
    """Key of an object in the storage, by which it is known."""
    setup: Setup
    surroundings: Surroundings


def _packed(job: Job) -> Callable[[], Outcome | None]:
    """The task. It is unpacked when it is run: a worker without kartotek fails at it then, and not in Dask's own hands,
    which would be its end. Nor does Dask know what is in it, which it may log: the database's password."""
    content = pickle.dumps(job)

    def take_a_product() -> Outcome | None:
        from jobs.cluster import take

        return take(pickle.loads(content))  # noqa: S301  ours

    return take_a_product


def take(job: Job) -> Outcome | None:
    """On a worker: take one product, as `task.take` does.

    Raises ClusterError where the worker can't give the same results.
    """
    wanted = for_logs()
    logs.set_up(wanted.log_level, wanted.log_format)
    host, storage = socket.gethostname(), open_storage(job.storage)
    if different := job.surroundings.differences() or _different(storage, job):
        raise ClusterError(f"{host}: {different}")
    _undo_nanny()
    scratch.clear()
    try:
        with closing(Catalog(job.database)) as catalog:
            return task.take(catalog, storage, job.setup, Patience(job.setup.patience))
    except (StorageError, CatalogError) as error:
        raise type(error)(f"{host}: {error}") from None


def _undo_nanny() -> None:
    """Let products have processes, and memory as any other process has it.

    What a nanny starts may have no processes of its own; ours end with the one that waits for them. And it has the
    allocator give memory back at once, to be asked for again with each array: warping takes three times as long.
    """
    multiprocessing.current_process().daemon = False
    os.environ.pop("MALLOC_TRIM_THRESHOLD_", None)


def _different(storage: Storage, job: Job) -> str:
    """What to say where this storage is not the one that is meant; empty where it is, or is away just now."""
    try:
        storage.size(job.mark)
    except NotStored:
        return f"{job.storage} is another one there; workers need a bucket, or a folder that all of them see"
    except StorageError:
        pass
    return ""
