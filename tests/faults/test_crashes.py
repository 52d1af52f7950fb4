"""Crashes at every step of publishing and of sweeping. Run as a script, this file dies at each step in turn.

A step is a call of the storage, a line of it that writes a file, a file opened, renamed, made or removed in our
folders, a statement, a begin or a commit of the database. What stands after it is what a reader, `verify`, `sweep` and
`rebuild` make of it.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import converters  # noqa: F401  before rasterio, as ever
from catalog.access import OPERATOR
from catalog.ledger import Source, State
from catalog.search import Search
from catalog.store import Catalog
from converters import sensors
from converters.convert import Recipe, convert
from jobs import layout, owner
from jobs.publish import publish
from jobs.rebuild import rebuild
from jobs.sweep import sweep
from jobs.verify import verify
from kartotek.storage import MARKER, FolderStorage

DIED = 77
PLACE = "/archive/product.zip"


@pytest.fixture
def tries(small_products, tmp_path):
    """A folder with what the script publishes: a product, and a later version of it, two files each."""
    product = sensors.read(next(small_products.glob("*T34WET*.zip")))
    whole = convert(product, _made(tmp_path / "whole"), Recipe(threads=1))
    first, later = (_copied(whole, _made(tmp_path / name), "SCL", "squares") for name in ("first", "later"))
    later.item.properties["eo:cloud_cover"] = 1.0
    (tmp_path / "converted.pickle").write_bytes(pickle.dumps([first, later]))
    catalog = Catalog(f"sqlite:///{tmp_path / 'empty.db'}")
    catalog.migrate()
    catalog.close()
    return tmp_path


def _made(folder):
    folder.mkdir()
    return folder


def _copied(whole, folder, *names):
    item = whole.item.clone()
    for name in list(item.assets):
        if name in names:
            shutil.copy(whole.folder / item.assets[name].href, folder)
        else:
            del item.assets[name]
    return dataclasses.replace(whole, item=item, folder=folder)


def crash(folder, scenario, *, every=1, pairs=0):
    """What this file says when it is run as a script, below."""
    command = [sys.executable, __file__, str(folder), scenario, str(every), str(pairs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return {name: int(count) for name, count in (word.split("=") for word in done.stdout.split())}


@pytest.mark.parametrize(
    ("scenario", "every"),
    [
        ("new", 5),
        pytest.param("new", 1, marks=pytest.mark.full),
        pytest.param("replace", 1, marks=pytest.mark.full),
    ],
)
def test_a_crash_at_any_step_leaves_nothing_or_a_whole_item_and_the_next_try_succeeds(tries, scenario, every):
    """R1, R2, R3."""
    found = crash(tries, scenario, every=every)
    assert found["steps"] > 60 and found["before"] + found["after"] == -(-found["steps"] // every)
    assert 0 < found["after"] * every < 45, "few steps come after the commit"


def test_a_crash_at_any_step_of_a_sweep_leaves_every_item_whole_and_the_next_sweep_ends_it(tries):
    """R10."""
    found = crash(tries, "sweep")
    assert found["steps"] > 20 and found["after"] == found["steps"]


@pytest.mark.full
def test_two_crashes_at_any_two_steps_leave_nothing_or_a_whole_item(tries):
    assert crash(tries, "new", pairs=400)["steps"] > 60


# What follows runs in a process of its own, which forks a child for each crash.


class Doomed(FolderStorage):
    """A storage whose every call is a step, before and after."""

    step = staticmethod(lambda: None)

    def create(self, key, source):
        self.step()
        with each_line(FolderStorage.create, self.step):
            super().create(key, source)
        self.step()

    def read(self, key, start=0, length=None):
        self.step()
        return super().read(key, start, length)

    def delete(self, key):
        self.step()
        super().delete(key)
        self.step()


@contextlib.contextmanager
def each_line(function, step):
    """Step before each line of a function, as whoever dies has written of a file what it had come to."""

    def within(_frame, event, _given):
        if event == "line":
            step()
        return within

    sys.settrace(lambda frame, _event, _given: within if frame.f_code is function.__code__ else None)
    try:
        yield
    finally:
        sys.settrace(None)


def opened(folder):
    return Doomed(folder / "store"), Catalog(f"sqlite:///{folder / 'catalog.db'}")


def doomed(folder, last, what, *given):
    """Do something, and die without a word at the step of that number; the count of steps if it is not reached."""
    from sqlalchemy import event

    count = 0

    def step(*_):
        nonlocal count
        count += 1
        if count == last:
            os._exit(DIED)

    def audit(name, given):
        opens = name == "open" and str(folder) in str(given[0]) and not str(given[0]).endswith((".db", "-wal", "-shm"))
        if opens or name in {"os.rename", "os.mkdir", "os.remove"}:
            step()

    storage, catalog = opened(folder)
    storage.step = step
    for name in ("before_cursor_execute", "after_cursor_execute", "begin", "commit"):
        event.listen(catalog._connections.engine, name, step)
    sys.addaudithook(audit)
    what(storage, catalog, *given)
    step()  # everything is done, but nobody was told
    return count


def work(storage, catalog, converted):
    """What a worker does with one product, if it is still to be done."""
    catalog.ledger.release(owner.gone(catalog.ledger.owners()))
    lease = catalog.ledger.claim(owner.me(), seconds=600)
    if lease is not None:
        publish(converted, storage, catalog, lease=lease)


def clear(storage, catalog):
    for found in sweep(storage, catalog):
        assert not found.busy


def seen(folder):
    """What a reader sees, every byte of it right; the ledger says done of that alone. As text, for the pipe."""
    storage, catalog = opened(folder)
    found = [content for _, content in catalog.walk(OPERATOR, Search())]
    for content in found:
        for asset in orjson.loads(content)["assets"].values():
            stored = storage.read(asset["href"].removeprefix(MARKER))
            assert asset["file:checksum"] == "1220" + hashlib.sha256(stored).hexdigest()
            assert asset["file:size"] == len(stored)
    assert not any(one.damaged for one in verify(storage, catalog, Search(), workers=1))
    if catalog.ledger.counts()[State.DONE]:
        assert found
    catalog.close()
    return hashlib.sha256(b"".join(found)).hexdigest() if found else "nothing"


def healed(folder, what, *given):
    """What a reader sees after the crash; and after the next try, when nothing is left over and all can be rebuilt."""
    crashed = seen(folder)
    storage, catalog = opened(folder)
    what(storage, catalog, *given)
    assert catalog.ledger.counts()[State.DONE] == 1
    clear(storage, catalog)
    [(key, content)] = catalog.walk(OPERATOR, Search())
    there = {one for one in storage.keys() if layout.of_key(one)}  # noqa: SIM118  no dict
    assert there == set(layout.named(key.collection, key.id, content))
    shutil.copy(folder.parent / "empty.db", folder / "again.db")
    again = Catalog(f"sqlite:///{folder / 'again.db'}")
    assert [one.entered for one in rebuild(storage, again)] == [True]
    assert [content] == [found for _, found in again.walk(OPERATOR, Search())]
    assert again.squares(OPERATOR, key.collection, key.id) == catalog.squares(OPERATOR, key.collection, key.id)
    assert again.private() == set()
    return f"{crashed} {seen(folder)}"


def in_a_child(function, *given):
    """(exit status, what the function gave) of a function run in a forked process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, str(function(*given)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def checked(function, *given):
    status, said = in_a_child(function, *given)
    assert status == 0, (function.__name__, status)
    return said


def main(folder, scenario, every, pairs):
    """Die at each step, or at every so many of them, or at two; look; try again; look."""
    first, later = pickle.loads((folder / "converted.pickle").read_bytes())
    number = itertools.count()
    what, given = (clear, ()) if scenario == "sweep" else (work, (later if scenario == "replace" else first,))

    def fresh():
        return shutil.copytree(folder / "prepared", folder / f"try-{next(number)}")

    def prepare(made):
        made.mkdir()
        shutil.copy(folder / "empty.db", made / "catalog.db")
        storage, catalog = opened(made)
        catalog.ledger.add([Source(place=PLACE)])
        if scenario == "new":
            return
        work(storage, catalog, first)
        [(key, _)] = catalog.walk(OPERATOR, Search())
        if scenario == "replace":
            catalog.ledger.again(key.collection, key.id)
        else:
            for content in (b"left", b"over"):
                (made / "left").write_bytes(content)
                name = f"B02.{hashlib.sha256(content).hexdigest()}.tif"
                storage.create(f"{key.collection}/{key.id}/{name}", made / "left")

    checked(prepare, folder / "prepared")
    # Once in this process, so that not every child has to import what is imported late.
    healed(fresh(), work, first)
    undisturbed = fresh()
    before = checked(seen, undisturbed)
    steps = int(checked(doomed, undisturbed, 0, what, *given))
    after = checked(seen, undisturbed)
    assert (before == after) is (scenario == "sweep")
    chance, outcomes = random.Random(1), []
    plans = [[chance.randint(1, steps) for _ in range(2)] for _ in range(pairs)] or [
        [last] for last in range(1, steps + 1, every)
    ]
    for plan in plans:
        here = fresh()
        for last in plan:
            status, _ = in_a_child(doomed, here, last, what, *given)
            assert status == DIED or len(plan) > 1, (plan, status)
            if last is not plan[-1]:
                assert checked(seen, here) in {before, after}, plan
        crashed, finally_ = checked(healed, here, what, *given).split()
        assert crashed in {before, after} and finally_ == after, plan
        outcomes.append(crashed)
        shutil.rmtree(here)
    if not pairs:
        assert outcomes == sorted(outcomes, key=lambda one: one == after)  # once there, it stays
    there = outcomes.count(after)
    print(f"steps={steps} before={len(outcomes) - there} after={there}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
