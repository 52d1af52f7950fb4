"""kill -9 of whole bulk runs, at random moments, and begun again without a word until all is done."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from sqlalchemy import create_engine, text

from catalog.access import OPERATOR
from catalog.ledger import State
from catalog.search import Search
from catalog.store import Catalog
from converters import samples
from converters.convert import Recipe
from jobs import layout
from jobs.convert import convert_all
from jobs.sweep import sweep
from jobs.verify import verify
from kartotek.storage import FolderStorage

COMMAND = [sys.executable, "-c", "from kartotek.cli import main; main()"]
WORKERS = 2


@pytest.fixture(scope="module")
def archive(request, once):
    """So many small products: of two zones, both levels, as folders and as zips."""
    count = request.param

    def fill(folder):
        kinds = samples.scenes()
        for number in range(count):
            kind = kinds[(0, -1, 2, 4, 7)[number % 5]]
            samples.write(replace(kind, pixels=192, sensed=kind.sensed + timedelta(days=10 * (number // 5))), folder)

    return once(f"archive-{count}", fill)


@pytest.fixture(scope="module")
def undisturbed(archive, tmp_path_factory, make_database):
    """What they become where nothing goes wrong."""
    catalog = Catalog(make_database("sqlite", migrated=True))
    storage = FolderStorage(tmp_path_factory.mktemp("undisturbed"))
    list(convert_all(sorted(archive.iterdir()), Recipe(), storage, catalog))
    found = published(catalog)
    assert len(found) == len(list(archive.iterdir()))
    return found


def published(catalog):
    """Item → its JSON."""
    return {(key.collection, key.id): content for key, content in catalog.walk(OPERATOR, Search(limit=100))}


def killed(process, seconds):
    """Whether a run had to be killed, with all that it has started, after so long."""
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0
    return False


@pytest.mark.parametrize(
    ("archive", "kills", "kind"),
    [(2, 3, "sqlite"), *(pytest.param(24, 200, kind, marks=pytest.mark.full) for kind in ("sqlite", "postgis"))],
    indirect=["archive"],
)
def test_kill_9_at_any_moment_loses_and_doubles_nothing(archive, undisturbed, make_database, tmp_path, kills, kind):
    """R2. As many rounds, each from the beginning, as the kills need."""
    chance, done, rounds = random.Random(1), 0, 0
    while done < kills:
        rounds += 1
        done += one_round(
            archive, undisturbed, make_database(kind, migrated=True), tmp_path / str(rounds), chance, kills - done
        )
    print(f"{done} kills in {rounds} rounds")


def one_round(archive, undisturbed, url, folder, chance, most):
    """Run and kill until all is done; how often it was killed."""
    storage, catalog = FolderStorage(folder / "store"), Catalog(url)
    (folder / "tmp").mkdir(parents=True)
    settings = {"KARTOTEK_DATABASE": url, "KARTOTEK_STORAGE": str(storage.root), "TMPDIR": str(folder / "tmp")}
    source, kills, going = [str(archive)], 0, True
    while going:
        process = subprocess.Popen(
            [*COMMAND, "run", "--workers", str(WORKERS), "--json", *source], env=os.environ | settings,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        going = killed(process, chance.uniform(0.5, 7) if kills < most else 600)
        kills += going
        source = [] if sum(catalog.ledger.counts().values()) == len(undisturbed) else source
        assert set(published(catalog).items()) <= set(undisturbed.items())
    assert catalog.ledger.counts()[State.DONE] == len(undisturbed)
    assert published(catalog) == undisturbed, "every item once, byte for byte"
    assert not any(found.damaged for found in verify(storage, catalog, Search(), workers=2))
    list(sweep(storage, catalog))
    named = {key for (of, item), content in undisturbed.items() for key in layout.named(of, item, content)}
    assert {key for key in storage.keys() if layout.of_key(key)} == named  # noqa: SIM118  no dict
    assert attempts(url) <= len(undisturbed) + WORKERS * kills, "no more is done again than was in hand"
    forgotten = [path for path in (folder / "tmp").iterdir() if path.name.startswith("kartotek-")]
    deadline = time.monotonic() + 10
    while any(path.exists() for path in forgotten) and time.monotonic() < deadline:
        time.sleep(0.2)  # a process removes its folder when it finds its parent dead
    assert not any(path.exists() for path in forgotten)
    catalog.close()
    return kills


def attempts(url):
    """How often products were begun."""
    with create_engine(url).connect() as connection:
        return connection.scalar(text("SELECT sum(attempts) FROM products"))


@pytest.mark.parametrize(
    ("archive", "broken", "kind"),
    [(2, 5, "sqlite"), *(pytest.param(40, 40, kind, marks=pytest.mark.full) for kind in ("sqlite", "postgis"))],
    indirect=["archive"],
)
def test_every_good_product_is_published_and_every_broken_one_is_set_aside_by_name(
    archive, undisturbed, make_database, tmp_path, broken, kind
):
    """R6."""
    made = {}
    for number in range(broken):
        kind, how = samples.scenes()[number % 2], HARMS[number % len(HARMS)]
        scene = replace(kind, pixels=192, sensed=kind.sensed + timedelta(days=1 + number))
        path = samples.write(scene, tmp_path / "broken")
        made[path.name] = how(path)
    url = make_database(kind, migrated=True)
    settings = {"KARTOTEK_DATABASE": url, "KARTOTEK_STORAGE": str(tmp_path / "store")}
    command = [*COMMAND, "run", "--attempts", "1", "--workers", "2", "--json", str(archive), str(tmp_path / "broken")]
    told = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=1200, check=False)
    catalog = Catalog(url)
    assert told.returncode == 1 and published(catalog) == undisturbed
    failures = {one.place.rpartition("/")[2]: one for one in catalog.ledger.failures()}
    assert failures.keys() == made.keys() and catalog.ledger.counts()[State.QUARANTINED] == broken
    for name, file in made.items():
        assert file in failures[name].error, (file, failures[name].error)
    lines = [orjson.loads(line) for line in told.stdout.splitlines()]
    assert sum(line["state"] == "done" for line in lines) == len(undisturbed)
    catalog.close()


def _empty(path):
    [band] = path.rglob("*_B04_10m.jp2")
    band.write_bytes(b"")
    return band.name


def _cut(path):
    [band] = path.rglob("*_SCL_20m.jp2")
    band.write_bytes(band.read_bytes()[: band.stat().st_size // 2])
    return band.name


def _gone(path):
    [band] = path.rglob("*_B8A_20m.jp2")
    band.unlink()
    return "B8A"


def _other(path):
    """A band of another granule under this one's name."""
    [band] = path.rglob("*_B03_10m.jp2")
    elsewhere = samples.write(replace(samples.scenes()[5], pixels=192), path.parent.parent / f"beside-{path.name}")
    [other] = elsewhere.rglob("*_B03_10m.jp2")
    band.write_bytes(other.read_bytes())
    return band.name


def _no_xml(path):
    [metadata] = path.rglob("MTD_TL.xml")
    metadata.write_bytes(metadata.read_bytes()[:200])
    return metadata.name


HARMS = (_empty, _cut, _gone, _other, _no_xml)
"""What is done to a product, and the name that its failure has to tell."""
