"""Registering at a thousand zips: how many in a second, and how much of it is the processor's.

    python benchmarks/register.py                              on SQLite
    python benchmarks/register.py postgresql://user@host/name  on an empty database with PostGIS

The zips are copies of one small product under other names, without their pixels: a file of 16 bytes stands for each
band, as a directory and the metadata are all that is read. What is begun again finds all of them there.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from catalog.store import Catalog
from converters import samples
from jobs.register import register
from jobs.sources import find
from jobs.worker import Limits
from kartotek.storage import FolderStorage

PRODUCTS = 1_000


def copies(folder: Path, count: int = PRODUCTS) -> None:
    """Zips of a product that was sensed again and again."""
    scene, one = replace(samples.scenes()[1], pixels=192), folder / ".one"
    entries = [
        (path, path.read_bytes() if path.suffix == ".xml" else path.read_bytes()[:16])
        for path in sorted(samples.write(scene, one).rglob("*"))
        if path.is_file()
    ]
    for number in range(count):
        later = replace(scene, sensed=scene.sensed + timedelta(seconds=number))
        renamed = [(scene.datatake.split("_")[1], later.datatake.split("_")[1]), (scene.name, later.name)]
        root = one / f"{scene.name}.SAFE"
        with zipfile.ZipFile(folder / f"{later.name}.zip", "w") as archive:
            for path, content in entries:
                if path.name.startswith("MTD_"):
                    for old, new in reversed(renamed):
                        content = content.replace(old.encode(), new.encode())
                archive.writestr(f"{later.name}.SAFE/{path.relative_to(root)}", content)


def spent() -> float:
    """Seconds of processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", nargs="?", help="URL  [default: a new file of SQLite]")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "archive")
        archive.mkdir()
        copies(archive)
        catalog = Catalog(asked.database or f"sqlite:///{Path(folder) / 'catalog.db'}")
        catalog.migrate()
        storage = FolderStorage(Path(folder, "store"))
        sources = list(find([str(archive / "*.zip")]))
        for what in ("new", "again"):
            began, before = time.perf_counter(), spent()
            count = len(list(register(sources, storage, catalog, Limits(), processes=os.cpu_count() or 1)))
            seconds, used = time.perf_counter() - began, spent() - before
            print(f"{what}: {count} of {len(sources)} registered, {len(sources) / seconds:.0f} a second; "
                  f"{1000 * used / len(sources):.1f} ms of processor each")  # fmt: skip
        catalog.close()


if __name__ == "__main__":
    main()
