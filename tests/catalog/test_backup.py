"""The tools that people back databases up with know nothing of us, and need not."""

import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import shapely

from catalog.access import OPERATOR
from catalog.search import Search
from catalog.store import Catalog
from kartotek.squares import Spread, Square


def test_a_backup_by_the_databases_own_tools_is_a_whole_catalog(new_database, make_item, make_collection):
    """pg_dump and pg_restore, or SQLite's backup while the catalog is in use."""
    with closing(Catalog(new_database())) as before:
        before.migrate()
        spread = Spread(100, 0.25, 0.1, (100, *[0] * 39))
        for number in range(50):
            square = Square(number * 5_000, 6_600_000, 100, 100, {4: 100}, {"ndvi": spread})
            before.publish(
                make_item(
                    f"item-{number:02}",
                    footprint=shapely.box(17 + number / 50, 59, 18 + number / 50, 60),
                    at=datetime(2024, 6, 1, tzinfo=UTC) + timedelta(days=number),
                ),
                collection=make_collection(),
                counted=[square],
            )
        before.put_collection(make_collection(), private=True)
        asked = Search(area=shapely.box(17, 59, 17.3, 59.5), start=datetime(2024, 6, 5, tzinfo=UTC), limit=100)
        with closing(Catalog(restored(before.place, new_database))) as after:
            after.check()
            assert len(before.search(OPERATOR, asked).items) > 5
            assert after.search(OPERATOR, asked) == before.search(OPERATOR, asked)
            assert after.search(OPERATOR, Search(limit=100)) == before.search(OPERATOR, Search(limit=100))
            assert after.collections(OPERATOR) == before.collections(OPERATOR)
            names = ("generated", "item-07")
            assert after.squares(OPERATOR, *names) == before.squares(OPERATOR, *names)
            after.publish(make_item("item-50"), collection=make_collection())
            assert len(after.search(OPERATOR, Search(limit=100)).items) == 51


def restored(place, new_database):
    """The URL of a copy of a database."""
    copy = new_database()
    if place.startswith("sqlite"):
        files = [url.removeprefix("sqlite:///") for url in (place, copy)]
        with closing(sqlite3.connect(files[0])) as source, closing(sqlite3.connect(files[1])) as target:
            source.backup(target)
        return copy
    tools = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    source, target = (url.replace("postgresql+psycopg", "postgresql") for url in (place, copy))
    dump = subprocess.run([tools / "pg_dump", "-Fc", source], check=True, capture_output=True)
    done = subprocess.run(
        [tools / "pg_restore", "--clean", "--if-exists", "--exit-on-error", "-d", target],
        input=dump.stdout, capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    return copy
