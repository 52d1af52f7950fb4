"""R3: many processes race for the same products, some of them dead, some back from the dead, one an hour ahead."""

import os
import random
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from catalog.access import OPERATOR
from catalog.ledger import Source, State, Work
from catalog.search import Search
from catalog.store import Catalog
from kartotek.errors import LostLease

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
PROCESSES = 8
LEASE = 1.0
DIED = 9


@pytest.mark.parametrize("count", [20, pytest.param(400, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "skewed", [pytest.param(False, marks=pytest.mark.full), True], ids=["one clock", "one an hour ahead"]
)
def test_a_product_is_published_at_most_once_whoever_races_for_it(
    catalog, make_collection, make_item, tmp_path, skewed, count
):
    if skewed and FAKETIME is None:
        pytest.skip("libfaketime is absent: no process's clock can be set ahead")
    catalog.ledger.add(Source(place=f"/archive/{number}.zip") for number in range(count))
    url = catalog._connections.engine.url.render_as_string(hide_password=False)
    ahead = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+3600", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    (tmp_path / "item.json").write_bytes(make_item("NAME"))
    (tmp_path / "collection.json").write_bytes(make_collection())
    lines, started, running = [], 0, {}
    while catalog.ledger.counts()[State.DONE] < count:
        for seat in set(range(PROCESSES)) - running.keys():
            environment = os.environ | (ahead if skewed and seat == 0 else {})
            running[seat] = subprocess.Popen(
                [sys.executable, __file__, str(tmp_path), url, str(started)],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            started += 1
        time.sleep(0.2)
        for seat, process in list(running.items()):
            if process.poll() is not None:
                assert process.returncode in (0, DIED), "no error"
                lines += running.pop(seat).communicate()[0].splitlines()
        assert started < 50 * PROCESSES
    for process in running.values():
        lines += process.communicate()[0].splitlines()
    found = Counter(tuple(line.split()) for line in lines)
    published = Counter(name for (what, name), times in found.items() for _ in range(times) if what == "published")
    assert set(published.values()) == {1}, "once each, by whoever; some died before they could say so"
    assert sum(times for (what, _), times in found.items() if what == "lost"), "some came too late"
    items = [key.id for key, _ in catalog.walk(OPERATOR, Search())]
    assert sorted(items) == sorted(str(number) for number in range(count))


# What follows runs in each of the processes.


def work(folder, url, seed):
    """Take what waits, be too slow now and then, and die now and then."""
    catalog, chance = Catalog(url), random.Random(seed)
    item, collection = (folder / "item.json").read_bytes(), (folder / "collection.json").read_bytes()
    while left(catalog):
        catalog.ledger.expire()
        lease = catalog.ledger.claim(f"worker {seed}", seconds=LEASE)
        if lease is None:
            _pause(0.05)
            continue
        fate = chance.choices(["fine", "slow", "dies", "dies untold"], [70, 15, 10, 5])[0]
        first = lease.place.endswith("/0.zip") and lease.attempt == 1
        if first:  # one at least is overtaken, whatever the dice say
            fate = "slow"
        if fate == "dies":
            os._exit(DIED)
        if fate == "slow":
            _pause(1.5 * LEASE)
        if first:
            catalog.ledger.expire()
        name = Path(lease.place).stem
        try:
            catalog.publish(item.replace(b'"NAME"', f'"{name}"'.encode()), collection=collection, done=(lease, Work()))
        except LostLease:
            print("lost", name, flush=True)
            continue
        if fate == "dies untold":
            os._exit(DIED)
        print("published", name, flush=True)


def _pause(seconds):
    select.select([], [], [], seconds)  # libfaketime fails to sleep now and then


def left(catalog):
    """Products that are not done."""
    counts = catalog.ledger.counts()
    return counts[State.WAITING] + counts[State.RUNNING]


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
