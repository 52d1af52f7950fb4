"""A bulk run on Dask: the same items as ever, whatever of scheduler, workers and database is killed meanwhile."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from sqlalchemy import select

from catalog.access import PUBLIC
from catalog.ledger import State
from catalog.models import products
from catalog.search import Search
from catalog.store import Catalog
from converters import samples
from converters.convert import Recipe
from jobs import cluster, owner
from jobs.cluster import Cluster
from jobs.convert import convert_all
from jobs.task import Setup
from kartotek.errors import ClusterError
from kartotek.settings import Settings
from kartotek.storage import FolderStorage, digest

COMMAND = [sys.executable, "-c", "from kartotek.cli import main; main()"]
DASK = [sys.executable, "-m", "dask"]


class Dask:
    """A scheduler and workers, each with the processes below it a group of its own, and with a log."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.folder, self.started = folder, []

    def scheduler(self):
        """Start one, and return once it listens."""
        process = self._start("scheduler", "--host", "127.0.0.1", "--port", self.port)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return process
            time.sleep(0.05)
        raise AssertionError(self.log())

    def workers(self, *words, **environment):
        """Start some, each with one thread."""
        place = ["--nthreads", 1, "--local-directory", self.folder / "scratch"]
        return self._start("worker", self.address, *place, *words, **environment)

    def kill(self, process):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log(self):
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def stop(self):
        for process in self.started:
            if process.poll() is None:
                self.kill(process)

    def _start(self, kind, *words, **environment):
        told = {"DASK_LOGGING__JOBS": "debug"}  # of each attempt at a product
        with (self.folder / f"{len(self.started)}.log").open("w") as log:
            process = subprocess.Popen(
                [*DASK, kind, *map(str, words), "--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
                env=os.environ | told | environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process


@pytest.fixture
def dask(tmp_path):
    """None of its processes runs yet."""
    (tmp_path / "dask").mkdir()
    made = Dask(tmp_path / "dask")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A scheduler, and a nanny with two workers."""
    made = Dask(tmp_path_factory.mktemp("dask"))
    made.scheduler()
    made.workers("--nworkers", 2)
    yield made
    made.stop()


@pytest.fixture
def on_sqlite(make_database):
    made = Catalog(make_database("sqlite", migrated=True))
    yield made
    made.close()


@pytest.fixture
def store(tmp_path):
    return FolderStorage(tmp_path / "store")


@contextlib.contextmanager
def running(catalog, store, dask, *words):
    """`kartotek run` on a cluster, in a process of its own."""
    place = {"KARTOTEK_DATABASE": catalog.place, "KARTOTEK_STORAGE": str(store.root)}
    process = subprocess.Popen(
        [*COMMAND, "run", "--json", "--cluster", dask.address, *map(str, words)], env=os.environ | place, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def in_hand(catalog, dask):
    """The number of a process that lives and has a product in hand."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        owners = catalog.ledger.owners()
        for found in set(owners) - set(owner.gone(owners)):
            return int(found.split("/")[1])
        time.sleep(0.01)
    raise AssertionError(dask.log())


def ended(process, dask):
    """What a run told, product by product, once it ended well."""
    told, said = process.communicate(timeout=300)
    assert process.returncode == 0, said + dask.log()
    return [orjson.loads(line) for line in told.splitlines()]


def same(catalog, store, undisturbed, undisturbed_store):
    """Whether items and files are those of an undisturbed run, byte for byte, and the files are whole."""
    items = catalog.search(PUBLIC, Search(limit=100)).items
    kept = list(undisturbed_store.keys())
    keys = [key for key in list(store.keys()) if not key.startswith(cluster.MARKS)]  # a run that is killed leaves one
    return (
        {orjson.loads(content)["id"]: content for content in items} == undisturbed
        and keys == kept
        and all(digest(store, key) == digest(undisturbed_store, key) for key in keys)
    )


def test_a_worker_that_is_killed_costs_an_attempt_and_nothing_else(
    archive, undisturbed, undisturbed_store, on_sqlite, store, standing
):
    """R2: its nanny starts another one, and its product waits again."""
    before = standing.log().count(": attempt ")
    with running(on_sqlite, store, standing, archive) as process:
        os.kill(in_hand(on_sqlite, standing), signal.SIGKILL)
        told = ended(process, standing)
    assert same(on_sqlite, store, undisturbed, undisturbed_store)
    assert sorted(one["attempt"] for one in told) == [1, 1, 1, 2]
    assert standing.log().count(": attempt ") == before + 5
    assert list(store.keys(cluster.MARKS)) == []


@pytest.mark.full
def test_postgis_may_be_restarted_in_the_middle(archive, undisturbed, undisturbed_store, own_cluster, store, standing):
    """It costs no product an attempt."""
    catalog = Catalog(own_cluster.database("restarted"))
    catalog.migrate()
    with running(catalog, store, standing, archive) as process:
        in_hand(catalog, standing)
        own_cluster.stop()
        time.sleep(1)
        own_cluster.start()
        told = ended(process, standing)
    assert same(catalog, store, undisturbed, undisturbed_store)
    assert [one["attempt"] for one in told] == [1] * 4
    catalog.close()


@pytest.mark.full
def test_a_scheduler_that_is_killed_is_waited_for(archive, undisturbed, undisturbed_store, on_sqlite, store, dask):
    """Its workers end with it; the run goes on once there are others at that address."""
    scheduler = dask.scheduler()
    dask.workers()
    with running(on_sqlite, store, dask, archive) as process:
        in_hand(on_sqlite, dask)
        dask.kill(scheduler)
        dask.scheduler()
        dask.workers()
        told = ended(process, dask)
    assert same(on_sqlite, store, undisturbed, undisturbed_store)
    assert len(told) >= 3, "what a worker did whose scheduler is gone it could tell nobody"
    assert dask.log().count(": attempt ") <= 5


def test_a_cluster_that_is_not_there_is_one_line(on_sqlite, store, dask, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    settings = Settings(database=on_sqlite.place, storage=str(store.root))
    with pytest.raises(ClusterError, match=f"{dask.address}: no Dask scheduler answers .*`dask scheduler` starts one"):
        Cluster(dask.address, on_sqlite, settings, Setup())
    scheduler = dask.scheduler()
    crew = Cluster(dask.address, on_sqlite, settings, Setup())
    with pytest.raises(ClusterError, match=f"no workers; `dask worker {dask.address}` starts one"):
        crew.width()
    dask.kill(scheduler)
    with pytest.raises(ClusterError, match=f"^{dask.address}: no ") as told:
        crew.width()
    assert "\n" not in str(told.value)
    crew.close()


def test_workers_with_other_software_say_so_and_live_on(store, dask, tmp_path):
    """One without kartotek, and one with another version of something; the database's password is in no log."""
    (tmp_path / "none" / "jobs").mkdir(parents=True)
    (tmp_path / "none" / "jobs" / "__init__.py").touch()
    other = tmp_path / "other" / "numpy-0.1.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    dask.scheduler()
    settings = Settings(database="postgresql://user:secret@127.0.0.1:1/none", storage=str(store.root))
    catalog = Catalog(settings.database)
    crew = Cluster(dask.address, catalog, settings, Setup())
    for name, said in (("none", "No module named 'jobs.*need the kartotek"), ("other", "numpy 0.1 instead of [1-9]")):
        path = f"{tmp_path / name}{os.pathsep}{os.environ['PYTHONPATH']}"
        worker = dask.workers("--no-nanny", PYTHONPATH=path)
        with pytest.raises(ClusterError, match=said):
            crew.take().result(120)
        assert worker.poll() is None
        dask.kill(worker)
    assert dask.log().count("Compute Failed") == 2 and "secret" not in dask.log()
    crew.close()
    catalog.close()


@pytest.fixture
def job(on_sqlite, store, tmp_path):
    """What workers are told, and what is there."""
    (tmp_path / "mark").touch()
    store.create("clusters/mark", tmp_path / "mark")
    return cluster.Job(
        database=on_sqlite.place, storage=str(store.root), mark="clusters/mark", setup=Setup(),
        surroundings=cluster.Surroundings.here(on_sqlite.file),
    )  # fmt: skip


def test_workers_that_see_another_storage_convert_nothing(job, tmp_path):
    assert cluster.take(job) is None
    with pytest.raises(ClusterError, match="elsewhere is another one there; workers need a bucket, or a folder that"):
        cluster.take(replace(job, storage=str(tmp_path / "elsewhere")))


def test_workers_that_see_another_sqlite_file_convert_nothing(job, on_sqlite):
    on_sqlite.close()
    on_sqlite.file.rename(on_sqlite.file.with_name("other.db"))
    with pytest.raises(ClusterError, match="not the same file; workers on other machines need PostGIS"):
        cluster.take(job)
    on_sqlite.file.touch()
    with pytest.raises(ClusterError, match="not the same file"):
        cluster.take(job)


def test_without_dask_the_extra_is_named(on_sqlite, tmp_path):
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('no distributed')")
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    done = subprocess.run(
        [*COMMAND, "run", "--cluster", "local", "--database", on_sqlite.place], env=os.environ | environment,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: --cluster needs Dask (no distributed): install kartotek[cluster]"


@pytest.fixture(scope="module")
def many(once):
    """24 small products of three places and eight days."""

    def fill(folder):
        places = [scene for scene in samples.scenes() if scene.tile in ("33VXG", "34VCM", "33VUE")][:3]
        for days in range(8):
            for scene in places:
                samples.write(replace(scene, pixels=192, sensed=scene.sensed + timedelta(days=days)), folder)

    return once("many", fill)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_killed_each_of_24_products_is_published_once(many, own_cluster, tmp_path, store, dask, seed):
    """R2: workers, schedulers and runs killed at any moment, PostGIS restarted; begun again whenever a run ends."""
    plain, plain_store = Catalog(f"sqlite:///{tmp_path / 'plain.db'}"), FolderStorage(tmp_path / "plain")
    plain.migrate()
    assert len(list(convert_all(sorted(many.iterdir()), Recipe(), plain_store, plain))) == 24
    expected = {orjson.loads(one)["id"]: one for one in plain.search(PUBLIC, Search(limit=100)).items}
    catalog = Catalog(own_cluster.database("killed"))
    catalog.migrate()
    chance, harm = random.Random(seed), {"worker": 0, "scheduler": 0, "run": 0, "database": 0}
    scheduler = dask.scheduler()
    dask.workers("--nworkers", 2)
    done = False
    while not done:
        with running(catalog, store, dask, many) as process:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(1, 6) if sum(harm.values()) < 12 else 600)
                    break
                what = chance.choice(list(harm))
                if what == "worker":
                    os.kill(in_hand(catalog, dask), signal.SIGKILL)
                elif what == "scheduler":
                    dask.stop()
                    scheduler = dask.scheduler()
                    dask.workers("--nworkers", 2)
                elif what == "database":
                    own_cluster.stop()
                    time.sleep(chance.uniform(0, 2))
                    own_cluster.start()
                else:
                    process.kill()
                harm[what] += 1
            done = process.returncode == 0
    assert scheduler.poll() is None and sum(harm.values()) >= 6, harm
    assert same(catalog, store, expected, plain_store)
    with catalog._connections.reading() as connection:
        rows = connection.execute(select(products.c.place, products.c.attempts, products.c.state)).all()
    begun = Counter(re.findall(r"DEBUG - (.*): attempt ", dask.log()))
    assert len(rows) == 24 and {row.state for row in rows} == {State.DONE}
    assert all(begun[row.place] <= row.attempts for row in rows), "none was converted more often than attempts explain"
    # Two workers: each harm takes two products down at most.
    assert sum(row.attempts for row in rows) <= 24 + 2 * (harm["worker"] + harm["scheduler"]), harm
    plain.close()
    catalog.close()
