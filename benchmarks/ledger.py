"""The ledger at a hundred thousand products: how many an empty task takes in a second, and how long it takes to look.

    python benchmarks/ledger.py                              on SQLite
    python benchmarks/ledger.py postgresql://user@host/name  on an empty database with PostGIS

Each product is claimed and failed for good, which is two transactions and no conversion. Figures are per second over
all processes; the bare statement beside them is the floor: as many transactions of one UPDATE, by one connection.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import sqlalchemy

from catalog import dialects
from catalog.ledger import Ledger, Source
from catalog.store import Catalog

PRODUCTS = 100_000
SECONDS = 10


def entered(ledger: Ledger, count: int) -> float:
    """Products that are entered in a second."""
    began = time.perf_counter()
    ledger.add(Source(place=f"/archive/{number:06}.zip") for number in range(count))
    return count / (time.perf_counter() - began)


def worked(url: str, name: str) -> tuple[int, int]:
    """(products that one process was through with, its memory in kB)."""
    catalog = Catalog(url)
    ledger, done, end = catalog.ledger, 0, time.monotonic() + SECONDS
    while time.monotonic() < end and (lease := ledger.claim(name, seconds=60)):
        ledger.fail(lease, cause="Nothing", error="an empty task", most=1)
        done += 1
    catalog.close()
    return done, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def bare(url: str) -> float:
    """Transactions of one UPDATE in a second, without any of our code."""
    engine = dialects.engine(url)
    statement = sqlalchemy.text("UPDATE products SET fence = fence + 1 WHERE pk = :pk")
    done, end = 0, time.monotonic() + SECONDS / 2
    with engine.connect() as connection:
        while time.monotonic() < end:
            with dialects.writing(connection).begin():
                connection.execute(statement, {"pk": done + 1})
            done += 1
    engine.dispose()
    return 2 * done / SECONDS


def main() -> None:
    """Print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", nargs="?", help="URL  [default: a new file of SQLite]")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = asked.database or f"sqlite:///{Path(folder) / 'ledger.db'}"
        catalog = Catalog(url)
        catalog.migrate()
        ledger = catalog.ledger
        print(f"entered: {entered(ledger, PRODUCTS):.0f} products/s")
        print(f"bare UPDATE: {bare(url):.0f} transactions/s")
        for processes in (1, 2, 8):
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                found = pool.starmap(worked, [(url, str(number)) for number in range(processes)], chunksize=1)
            rate, memory = sum(done for done, _ in found) / SECONDS, max(kilobytes for _, kilobytes in found)
            print(f"{processes} processes: {rate:.0f} products/s, two transactions each; {memory >> 10} MB at most")
        began = time.perf_counter()
        counts, pace = ledger.counts(), ledger.pace()
        print(f"status: {time.perf_counter() - began:.3f} s ({sum(counts.values())} products, {pace.products} recent)")
        for _ in range(100):
            ledger.claim("gone", seconds=3600)
        began = time.perf_counter()
        freed = ledger.release(["gone"])
        ledger.claim("back", seconds=60)
        print(f"restart: {time.perf_counter() - began:.3f} s to free {freed} products and claim the next")
        catalog.close()


if __name__ == "__main__":
    main()
