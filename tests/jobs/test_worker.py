"""A product's death is its own: sensors that eat memory, sleep, crash, among products that are whole."""

import contextlib
import errno
import hashlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from catalog.store import Catalog
from converters import sensors
from converters.convert import Recipe, convert
from converters.fingerprint import fingerprint
from jobs import worker
from jobs.convert import Failed, convert_all
from jobs.publish import Published
from jobs.worker import Limits
from kartotek.errors import BrokenProduct, HostileProduct, TooCostly
from kartotek.gdal import DRIVERS
from kartotek.storage import FolderStorage

ROOT = Path(__file__).resolve().parents[2]

SENSOR = '''
import logging, os, signal, time
from converters.sensors.sentinel2 import SENTINEL2
from dataclasses import replace
from kartotek.errors import BadSettings, BrokenProduct, HostileProduct


class Odd(BrokenProduct):
    def __init__(self, file, reason):
        super().__init__(f"{file}, {reason}")


class Troublesome:
    """Does what the name of a product asks for."""

    name = "troublesome"
    collections = (replace(SENTINEL2.collections[0], id="troublesome"),)

    def recognise(self, files):
        return files.path.name.startswith("do-")

    def read(self, files, *, visual=False):
        what = files.path.name.removeprefix("do-")
        logging.getLogger("converters.troublesome").info("about to %s", what)
        if what == "memory":
            import numpy
            numpy.ones(1 << 30)  # 8 GiB
        if what == "objects":
            kept = []
            while True:
                kept.append(bytearray(1 << 26))
        if what == "disk":
            import mmap, pathlib
            had = int(pathlib.Path("/proc/self/status").read_text().split("VmPeak:")[1].split()[0]) << 10
            mmap.mmap(-1, (2048 << 20) - had - (160 << 20)).close()
            raise OSError(28, "No space left on device")
        if what == "sleep":
            time.sleep(1_000)
        if what == "spin":
            while True:
                pass
        if what == "chatter":
            while True:
                logging.getLogger("converters.troublesome").warning("x" * 1000)
        if what == "odd":
            raise Odd("a", "b")
        if what == "settings":
            raise BadSettings("not mine")
        if what == "children":
            if os.fork():
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1_000)
        if what == "abort":
            os.abort()
        if what == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == "leave":
            os._exit(0)
        if what == "fault":
            raise AttributeError("'NoneType' object\\nhas no attribute 'text'")
        if what == "drivers":
            from rasterio.env import Env
            with Env() as env:
                raise HostileProduct("do-drivers: " + " ".join(sorted(env.drivers())))
        raise SystemExit(3)


SENSOR = Troublesome()
'''


@pytest.fixture
def troublesome(tmp_path, monkeypatch):
    """Gives the product that does something, for the sensor that is installed beside ours."""
    package = tmp_path / "package"
    (package / "troublesome-1.0.dist-info").mkdir(parents=True)
    (package / "troublesome.py").write_text(SENSOR)
    (package / "troublesome-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: troublesome\nVersion: 1\n"
    )
    (package / "troublesome-1.0.dist-info/entry_points.txt").write_text(
        "[kartotek.sensors]\ntroublesome = troublesome:SENSOR\n"
    )
    monkeypatch.syspath_prepend(package)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package), os.environ["PYTHONPATH"]]))

    def product(what):
        path = tmp_path / f"do-{what}"
        path.mkdir()
        return path

    return product


@pytest.fixture
def good(small_products):
    """A whole product, the smallest."""
    return min(small_products.glob("*.zip"), key=lambda path: path.stat().st_size)


DEATHS = {
    "memory": (TooCostly, "needs more than 1024 MB of memory (KARTOTEK_CONVERSION_MB)"),
    "objects": (TooCostly, "needs more than 1024 MB of memory (KARTOTEK_CONVERSION_MB)"),
    "sleep": (TooCostly, "not converted within 2 s (KARTOTEK_CONVERSION_SECONDS)"),
    "spin": (TooCostly, "not converted within 2 s (KARTOTEK_CONVERSION_SECONDS)"),
    "chatter": (TooCostly, "not converted within 2 s (KARTOTEK_CONVERSION_SECONDS)"),
    "odd": (BrokenProduct, "a, b"),
    "settings": (BrokenProduct, "can't be converted (BadSettings: not mine)"),
    "children": (BrokenProduct, "the process that converted it died (SIGKILL)"),
    "abort": (BrokenProduct, "the process that converted it died (SIGABRT)"),
    "crash": (BrokenProduct, "the process that converted it died (SIGSEGV)"),
    "leave": (BrokenProduct, "the process that converted it died (exit status 0)"),
    "exit": (BrokenProduct, "the process that converted it died (exit status 3)"),
    "fault": (BrokenProduct, "can't be converted (AttributeError: 'NoneType' object has no attribute 'text')"),
}


def test_a_product_that_kills_its_process_is_its_own_death_and_the_run_goes_on(
    troublesome, good, make_database, tmp_path, monkeypatch
):
    """S8."""
    catalog = Catalog(make_database("sqlite"))
    catalog.migrate()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    bad, outcomes = [troublesome(what) for what in DEATHS], []
    for path in bad:
        limits = (
            Limits(mb=2048, seconds=2)
            if path.name in ("do-sleep", "do-spin", "do-chatter")
            else Limits(mb=1024, seconds=60)
        )
        outcomes += convert_all([path], Recipe(), FolderStorage(tmp_path / "store"), catalog, limits=limits)
    for path, outcome, (kind, words) in zip(bad, outcomes, DEATHS.values(), strict=True):
        assert isinstance(outcome, Failed) and outcome.path == path
        assert type(outcome.error) is kind, outcome.error
        text = str(outcome.error)
        assert (
            text.startswith("a, b" if path.name == "do-odd" else f"{path.name}: ")
            and words in text
            and "\n" not in text
        )
    mixed = [bad[-1], good, bad[-3]]
    outcomes = list(convert_all(mixed, Recipe(), FolderStorage(tmp_path / "store"), catalog))
    assert [type(outcome) for outcome in outcomes] == [Failed, Published, Failed]
    catalog.close()
    assert list((tmp_path / "scratch").glob("kartotek-*")) == []
    assert multiprocessing.active_children() == []


def test_memory_that_runs_out_is_not_taken_for_a_broken_band(good, tmp_path):
    """Libraries tell it as a tile that can't be decoded, and then --allow-partial would leave the band out."""
    told = []
    for mb in range(400, 1200, 30):  # until there is enough of it
        try:
            whole = worker.converted(good, tmp_path, Recipe(allow_partial=True), Limits(mb=mb))
            break
        except BrokenProduct as error:
            assert "it needs more memory than there is" in str(error)
        except TooCostly as error:
            told.append(mb)
            assert f"needs more than {mb} MB" in str(error)
    assert whole.notes == () and told


def test_a_file_that_can_not_be_read_is_the_product_s_own_fault(good, monkeypatch):
    """And not that of the disk where files are made, which would stop the run."""

    def fail(file, _):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(hashlib, "file_digest", fail)
    with pytest.raises(BrokenProduct, match=r": can't be read: Input/output error$"):
        fingerprint(good)


def test_a_full_disk_is_no_lack_of_memory(troublesome, tmp_path):
    """Though the process has been near its limit before."""
    with pytest.raises(BrokenProduct, match="do-disk: can't be read: No space left on device"):
        worker.converted(troublesome("disk"), tmp_path, Recipe(), Limits(mb=2048))


def test_what_the_process_makes_is_what_conversion_makes(good, tmp_path):
    """Byte for byte, item and squares too."""
    made = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "here":
            found = convert(sensors.read(good), folder, Recipe())
        else:
            found = worker.converted(good, folder, Recipe(), Limits())
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        made.append((found.item.to_dict(), found.collection, found.squares, found.notes, files))
    assert made[0] == made[1] and len(made[0][-1]) > 10


def test_it_tells_how_far_it_is_and_logs_as_if_it_were_here(troublesome, good, tmp_path, caplog):
    told = []
    worker.converted(good, tmp_path, Recipe(), Limits(), progress=lambda what, share: told.append((what, share)))
    assert told[-1] == ("item", 1.0) and [share for _, share in told] == sorted(share for _, share in told)
    with caplog.at_level(logging.INFO, "converters"), pytest.raises(BrokenProduct):
        worker.converted(troublesome("leave"), tmp_path, Recipe(), Limits())
    assert ("converters.troublesome", logging.INFO, "about to leave") in caplog.record_tuples
    caplog.clear()
    with caplog.at_level(logging.WARNING, "converters"), pytest.raises(BrokenProduct):
        worker.converted(troublesome("fault"), tmp_path, Recipe(), Limits())
    assert caplog.record_tuples == []


def test_it_has_the_drivers_of_gdal_that_are_named_and_no_others(troublesome, tmp_path):
    """S2."""
    with pytest.raises(HostileProduct) as told:
        worker.converted(troublesome("drivers"), tmp_path, Recipe(), Limits())
    assert set(str(told.value).split()[1:]) <= DRIVERS


def test_paths_are_those_of_whoever_asks(good, tmp_path, monkeypatch):
    monkeypatch.chdir(good.parent)
    assert worker.converted(Path(good.name), tmp_path, Recipe(), Limits()).item.id


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_the_command_and_leaves_nothing(troublesome, tmp_path, blow):
    """However the command is killed, and however long the temporary folder's path is."""
    scratch = tmp_path / ("scratch" * 15)
    scratch.mkdir()
    place = ["--database", f"sqlite:///{tmp_path / 'k.db'}", "--storage", tmp_path / "store"]
    command = [sys.executable, "-c", "from kartotek.cli import main; main()", "convert", *place, troublesome("sleep")]
    # A shell that runs the tests in the background has Ctrl-C ignored, by all that they start too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [str(word) for word in command], cwd=tmp_path, env=os.environ | {"TMPDIR": str(scratch)}, text=True,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    with process:
        try:
            assert any("about to sleep" in line for line in process.stderr)
            [folder] = scratch.glob("kartotek-*")
            assert len(at_work(scratch)) >= 3
            (os.killpg if blow is signal.SIGINT else os.kill)(process.pid, blow)
            assert process.wait(20) != 0
        finally:
            process.kill()
    wait_for(lambda: not at_work(scratch) and not folder.exists())


def at_work(scratch):
    """The processes that a command with this temporary folder has started, and itself."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if os.fsencode(scratch) in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def wait_for(what, patience=30):
    """What is found, once something is."""
    deadline = time.monotonic() + patience
    while not (found := what()):
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.1)
    return found
