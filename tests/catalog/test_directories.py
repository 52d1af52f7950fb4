"""Where blocks lie, kept beside the items: by the way, and never in the way of whoever needs it now."""

import time

from catalog.connections import Connections
from catalog.directories import Directories


def test_what_is_kept_is_found_again_and_stays(catalog):
    catalog.directories.put({"a.tif": b"one", "b.tif": b"two"})
    catalog.directories.put({"b.tif": b"three", "c.tif": b"four"})
    kept = {"a.tif": b"one", "b.tif": b"two", "c.tif": b"four"}
    assert dict(catalog.directories.get(["a.tif", "b.tif", "c.tif", "d.tif"])) == kept
    catalog.directories.forget(["a.tif", "d.tif"])
    assert dict(catalog.directories.get(["a.tif", "b.tif"])) == {"b.tif": b"two"}


def test_nobody_waits_to_keep_them_where_somebody_writes(make_database, caplog):
    connections = Connections(make_database("sqlite", migrated=True))
    kept = Directories(connections)
    with connections.writing():
        began = time.monotonic()
        with caplog.at_level("INFO"):
            kept.put({"a.tif": b"one"})
        assert time.monotonic() - began < 5
    assert "1 files are not kept" in caplog.text and not kept.get(["a.tif"])
    kept.put({"a.tif": b"one"})
    assert dict(kept.get(["a.tif"])) == {"a.tif": b"one"}
    # Whoever has to write is as patient as before.
    with connections.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    connections.close()
