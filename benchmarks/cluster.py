"""Threads of one process, or a Dask cluster on this machine: what each costs to start, to hold and to carry a product.

    python benchmarks/cluster.py [WORKERS]

An empty task is one that finds nothing in the ledger: what carrying it takes. Products are small samples, each
converted in a process of its own either way. CPU seconds (user and system) are those of all processes together, memory
is what they hold while they wait for work, what is shared counted once; wall times mean something on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil

from catalog.store import Catalog
from converters import samples
from jobs import bulk, sources
from jobs.bulk import Crew
from jobs.cluster import Cluster
from jobs.task import Setup
from jobs.threads import Threads
from jobs.worker import warm_up
from kartotek.settings import Settings
from kartotek.storage import open_storage

EMPTY = 500
COPIES = 3


def processes() -> list[psutil.Process]:
    """This process and all below it."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def cpu() -> float:
    """Seconds of all of them; of those that ended, where they were waited for."""
    total = 0.0
    for process in processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def memory() -> float:
    """MB."""
    return sum(process.memory_full_info().pss for process in processes()) / 1e6


def crew(kind: str, catalog: Catalog, settings: Settings, workers: int) -> Crew:
    """A crew of a kind, ready to work."""
    if kind == "threads":
        warm_up()
        made: Crew = Threads(catalog, open_storage(settings.storage), Setup(), workers)
    else:
        made = Cluster(None, catalog, settings, Setup(), most=workers)
    for told in [made.take() for _ in range(workers)]:
        told.result()
    return made


def measure(kind: str, folder: Path, products: Path, workers: int) -> None:
    """Print the figures of a kind."""
    settings = Settings(database=f"sqlite:///{folder / kind}.db", storage=str(folder / kind))
    catalog = Catalog(settings.database)
    catalog.ready()
    began, spent = time.perf_counter(), cpu()
    who = crew(kind, catalog, settings, workers)
    print(f"{kind}: ready after {time.perf_counter() - began:.1f} s, {cpu() - spent:.1f} CPU s")
    began, spent = time.perf_counter(), cpu()
    for _ in range(EMPTY // workers):
        for told in [who.take() for _ in range(workers)]:
            told.result()
    took = time.perf_counter() - began
    print(f"{kind}: {EMPTY / took:.0f} empty tasks/s, {(cpu() - spent) / EMPTY * 1e3:.1f} CPU ms each")
    count = catalog.ledger.add(sources.find([str(products)]))
    began, spent = time.perf_counter(), cpu()
    run = bulk.run(catalog.ledger, who)
    done = sum(outcome.published is not None for outcome in islice(run, count))
    took = time.perf_counter() - began
    print(f"{kind}: {done} of {count} products, {done / took:.2f}/s, {(cpu() - spent) / count:.2f} CPU s each")
    print(f"{kind}: {memory():.0f} MB in {len(processes())} processes")
    run.close()
    catalog.close()


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workers", type=int, nargs="?", default=2)
    workers = parser.parse_args().workers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        products = folder / "products"
        for number in range(COPIES):
            for scene in samples.scenes():
                samples.write(scene if scene.swath else replace(scene, pixels=192), products / str(number))
        for kind in ("threads", "dask"):
            measure(kind, folder, products, workers)


if __name__ == "__main__":
    main()
