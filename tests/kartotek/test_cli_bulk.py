"""What `run`, `status`, `failures`, `retry` and `quarantine` print, and how they end."""

import shutil
from datetime import datetime, timedelta

import click
import orjson
import pytest
from click.testing import CliRunner

from catalog.ledger import Source, State, Work
from catalog.store import Catalog
from kartotek.cli import cli
from kartotek.cli.run import _clock


@pytest.fixture
def kartotek(catalog, tmp_path):
    """Gives what a command printed, and its exit status."""

    def run(*words):
        place = {"KARTOTEK_DATABASE": catalog.place, "KARTOTEK_STORAGE": str(tmp_path / "store")}
        return CliRunner().invoke(cli, [str(word) for word in words], env=place)

    return run


@pytest.fixture
def filled(catalog, tmp_path, make_item, make_collection):
    """Two products done, one of them broken, one waiting."""
    ledger = catalog.ledger
    ledger.add(Source(place=str(tmp_path / name)) for name in ("a.zip", "b.zip", "c.zip", "d.zip"))
    for name in ("a", "b"):
        work = Work(timings={"decode": 2.0, "store": 0.5}, bytes_read=10, bytes_written=15)
        lease = ledger.claim("x", seconds=60)
        catalog.publish(make_item(name), collection=make_collection(), done=(lease, work))
    lease = ledger.claim("x", seconds=60)
    ledger.fail(lease, cause="BrokenProduct", error="c.zip: B04 is missing", log="INFO one\nINFO two", most=1)
    return catalog


def test_status_for_people_and_for_scripts(kartotek, filled):
    said = kartotek("status").output
    assert [line.split()[:2] for line in said.splitlines()[:4]] == [
        ["1", "waiting"], ["0", "running"], ["2", "done"], ["1", "quarantined"],
    ]  # fmt: skip
    assert "a product: decode 2.0 s, store 0.5 s" in said and "goes into: processor" in said
    told = orjson.loads(kartotek("status", "--json").output)
    assert (told["waiting"], told["done"], told["bottleneck"]) == (1, 2, "processor")
    assert told["hours_left"] == pytest.approx(1 / told["per_hour"], rel=0.01)


def test_status_of_an_empty_ledger(kartotek, catalog):
    found = kartotek("status")
    assert found.exit_code == 0 and "an hour" not in found.output
    assert orjson.loads(kartotek("status", "--json").output)["hours_left"] is None


def test_failures_by_cause_with_the_end_of_the_log(kartotek, filled, tmp_path):
    said = kartotek("failures").output
    assert said.splitlines() == [
        "BrokenProduct: 1", f"  {tmp_path / 'c.zip'} (quarantined, 1 attempts)", "    c.zip: B04 is missing",
        "    | INFO one", "    | INFO two",
    ]  # fmt: skip
    told = orjson.loads(kartotek("failures", "--json").output)
    assert (told["cause"], told["state"], told["log"]) == ("BrokenProduct", "quarantined", "INFO one\nINFO two")
    assert kartotek("failures", "--cause", "TooCostly").output == ""


def test_retry_and_quarantine(kartotek, filled, tmp_path):
    assert kartotek("retry", "--cause", "TooCostly").output == "0 products wait again\n"
    assert kartotek("retry", tmp_path / "c.zip").output == "1 products wait again\n"
    assert kartotek("quarantine", tmp_path / "c.zip", tmp_path / "a.zip", "--reason", "no use").output == (
        "1 products set aside\n"
    )
    [told] = filled.ledger.failures()
    assert (told.place, told.error) == (str(tmp_path / "c.zip"), "no use")


@pytest.mark.parametrize("command", ["retry", "quarantine"])
def test_what_the_ledger_does_not_know_is_named_and_nothing_changes(kartotek, filled, tmp_path, command):
    before = filled.ledger.counts()
    found = kartotek(command, tmp_path / "c.zip", tmp_path / "d.zip", tmp_path / "none.zip")
    assert found.exit_code == 2 and f"not in the ledger: {tmp_path / 'none.zip'};" in found.output
    assert filled.ledger.counts() == before


def test_run_says_what_it_did_and_ends_with_1_where_something_is_set_aside(kartotek, catalog, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no zip")
    found = kartotek("run", tmp_path, "--attempts", 1, "--workers", 1)
    assert found.exit_code == 1 and "x.zip: not a whole zip" in found.stderr and "(set aside)" in found.stderr
    assert "1 products added; 1 wait" in found.stderr and found.stdout == ""
    again = kartotek("run", "--json")
    assert (again.exit_code, again.output) == (0, "")


def test_run_for_scripts(kartotek, catalog, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no zip")
    found = kartotek("run", tmp_path, "--attempts", 1, "--workers", 1, "--json")
    [line] = found.stdout.splitlines()
    told = orjson.loads(line)
    assert (told["product"], told["state"], told["error"]) == (str(tmp_path / "x.zip"), "quarantined", "BrokenProduct")
    assert found.stderr == ""


def test_run_on_what_is_not_there(kartotek, tmp_path):
    found = kartotek("run", tmp_path / "none")
    assert found.exit_code == 1 and "no such file or folder" in str(found.exception)


def test_a_cluster_is_named_by_its_address(kartotek):
    found = kartotek("run", "--cluster", "dask")
    assert found.exit_code == 2 and "'dask' is neither local nor an address such as tcp://HOST:8786" in found.output


def test_until_is_the_next_time_that_it_is_so():
    now = datetime.now().astimezone()
    for minutes in (2, -2):
        wanted = now + timedelta(minutes=minutes)
        found = _clock(None, None, wanted.strftime("%H:%M"))
        assert 0 <= found - now.timestamp() <= 86_400
        assert datetime.fromtimestamp(found).astimezone().strftime("%H:%M") == wanted.strftime("%H:%M")
    assert _clock(None, None, None) is None
    for bad in ("25:00", "6", "06:60", "soon"):
        with pytest.raises(click.BadParameter, match="time of day"):
            _clock(None, None, bad)


def test_another_process_sees_the_same_ledger(filled):
    other = Catalog(filled.place)
    counts = {State.WAITING: 1, State.DONE: 2, State.QUARANTINED: 1}
    assert other.ledger.counts() == filled.ledger.counts() == {state: counts.get(state, 0) for state in State}
    other.close()


@pytest.fixture
def archive(tmp_path, small_products):
    """A product in a zip, and a zip that is none."""
    [path] = small_products.glob("*T34WET*.zip")
    (tmp_path / "archive").mkdir()
    shutil.copy(path, tmp_path / "archive")
    (tmp_path / "archive" / "x.zip").write_bytes(b"no zip")
    return tmp_path / "archive"


def test_register_says_what_it_did_and_ends_with_1_where_something_is_set_aside(kartotek, catalog, archive):
    name = next(archive.glob("S2*.zip")).stem
    found = kartotek("register", archive)
    assert found.exit_code == 1 and found.stdout == f"sentinel-2-l2a/{name}\n"
    assert "x.zip: not a whole zip" in found.stderr and "1 registered, 0 there already, 1 set aside" in found.stderr
    again = kartotek("register", archive / "S2*.zip")
    assert (again.exit_code, again.stdout) == (0, "") and "0 registered, 1 there already" in again.stderr
    assert "x.zip (quarantined, 0 attempts)" in kartotek("failures").output


def test_register_for_scripts(kartotek, catalog, archive):
    found = kartotek("register", archive, "--json", "--href-root", "https://files.example.se/s2")
    told = {one["status"]: one for one in map(orjson.loads, found.stdout.splitlines())}
    assert told["failed"]["error"] == "BrokenProduct" and told["failed"]["product"] == str(archive / "x.zip")
    assert told["registered"]["collection"] == "sentinel-2-l2a" and found.stderr == ""


@pytest.mark.parametrize("url", ["files.example.se", "ftp://x/y", "https://", "https://me:secret@x/", "https://x/?a"])
def test_register_refuses_what_is_no_root_of_links(kartotek, catalog, archive, url):
    found = kartotek("register", archive, "--href-root", url)
    assert found.exit_code == 2 and "--href-root" in found.output and catalog.ledger.counts()[State.REGISTERED] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--bbox", "1,2,3,4"], "choose among what is registered"), (["--registered", "x.zip"], "give no SOURCE"),
     (["--registered", "--bbox", "1,2"], "give west,south,east,north"),
     (["--prefer-zone", 61], "61 is not in the range"), (["--source", "burn"], "'burn' is not one of")],
)  # fmt: skip
def test_run_refuses_what_makes_no_sense(kartotek, catalog, words, told):
    found = kartotek("run", *words)
    assert found.exit_code != 0 and told in found.output + str(found.exception)


def test_run_converts_what_is_registered_and_deletes_it(kartotek, catalog, archive):
    kartotek("register", archive)
    name = next(archive.glob("S2*.zip")).stem
    nothing = kartotek("run", "--registered", "--bbox", "1,2,3,4", "--workers", 1)
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    found = kartotek("run", "--registered", "--datetime", "2023-08-23", "--workers", 1, "--source", "delete")
    assert found.stdout == f"sentinel-2-l2a/{name}\n" and found.exit_code == 0
    assert [path.name for path in archive.iterdir()] == ["x.zip"]
