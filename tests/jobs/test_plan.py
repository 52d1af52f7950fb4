"""A plan, held against what the products then take."""

from dataclasses import replace
from datetime import timedelta

import orjson
import pytest
from click.testing import CliRunner

from catalog.access import OPERATOR
from catalog.ledger import Source, Work
from catalog.pace import Taken
from catalog.store import Catalog
from converters import samples
from converters.convert import Recipe
from converters.profiles import Profile
from jobs import bulk
from jobs.plan import among, plan, side_by_side
from jobs.sources import find
from jobs.task import Setup
from jobs.threads import Threads
from kartotek.cli import cli
from kartotek.storage import MARKER, FolderStorage, open_storage


@pytest.fixture
def on_sqlite(make_database):
    made = Catalog(make_database("sqlite", migrated=True))
    yield made
    made.close()


def run(catalog, folder, products):
    catalog.ledger.add(find(map(str, products)))
    outcomes = list(bulk.run(catalog.ledger, Threads(catalog, FolderStorage(folder), Setup(), 2)))
    return {outcome.place: outcome.published for outcome in outcomes}


@pytest.fixture(scope="session")
def days(once):
    """A small place in zone 33 and one in zone 34, on three days each."""
    return once("days", lambda folder: make(folder, pixels=366, days=3))


@pytest.fixture(scope="session")
def full(once):
    """The same two places in full size."""
    return once("full days", lambda folder: make(folder, pixels=10_980, days=3))


def make(folder, *, pixels, days):
    for scene in [scene for scene in samples.scenes() if scene.level == "L2A" and scene.sensed.year == 2022]:
        for day in range(days):
            samples.write(replace(scene, pixels=pixels, sensed=scene.sensed + timedelta(days=5 * day)), folder)


@pytest.mark.parametrize("size", ["days", pytest.param("full", marks=pytest.mark.full)])
def test_some_products_foretell_the_bytes_of_the_others_within_10_per_cent(size, on_sqlite, tmp_path, request):
    products = sorted(request.getfixturevalue(size).iterdir(), key=lambda path: path.name.split("_")[2])
    some, others = products[:4], products[4:]  # two of each zone
    run(on_sqlite, tmp_path / "store", some)
    sources = list(find(map(str, others)))
    told = plan(on_sqlite, among(on_sqlite.ledger, sources), recipe=Recipe().text)
    each = [plan(on_sqlite, among(on_sqlite.ledger, [one]), recipe=Recipe().text) for one in sources]
    took = run(on_sqlite, tmp_path / "store", others)
    assert told.products == len(others) == len(took)
    for one, source in zip(each, sources, strict=True):
        print(f"{source.place}: {one.bytes_written.value / took[source.place].bytes:.3f} of what it took")
        assert one.bytes_written.value == pytest.approx(took[source.place].bytes, rel=0.1)
    assert told.bytes_written.value == pytest.approx(sum(one.bytes for one in took.values()), rel=0.1)


def done(catalog, make_item, make_collection, folder, names, *, written, recipe="crs=EPSG:3006"):
    """Products of 1 000 bytes of which so many came, three fifths of them of B02."""
    for name in names:
        (folder / f"{name}.zip").write_bytes(bytes(1_000))
        catalog.ledger.add(find([str(folder / f"{name}.zip")]))
        lease = catalog.ledger.claim("x", seconds=60)
        assets = {
            band: {"href": f"{MARKER}generated/{name}/{band}.{64 * '0'}.tif", "file:size": size}
            for band, size in (("B02", 60), ("B03", 40))
        }
        work = Work(bytes_read=1_000, bytes_written=written, recipe=recipe)
        catalog.publish(make_item(name, assets=assets), collection=make_collection(), done=(lease, work))


NAMES = [f"S2A_MSIL2A_2024060{day}T101559_N0510_R065_T33VXG_2024060{day}T142400" for day in range(1, 6)]


@pytest.fixture
def known(catalog, make_item, make_collection, tmp_path):
    """Two products done, one waiting of twice their size."""
    done(catalog, make_item, make_collection, tmp_path, NAMES[:2], written=1_500)
    (tmp_path / f"{NAMES[2]}.zip").write_bytes(bytes(2_000))
    catalog.ledger.add(find([str(tmp_path / f"{NAMES[2]}.zip")]))
    return catalog


@pytest.fixture
def kartotek(catalog):
    """Gives what `kartotek plan` found, or the error."""

    def run(*words):
        found = CliRunner().invoke(cli, ["plan", "--json", *map(str, words)], env={"KARTOTEK_DATABASE": catalog.place})
        return orjson.loads(found.output) if found.exit_code == 0 else f"{found.output}{found.exception}"

    return run


def test_what_waits_is_told_by_what_is_done(known, kartotek):
    told = kartotek("--workers", 2)
    assert (told["products"], told["workers"], told["bytes_read"]) == (1, 2, 2_000)
    assert told["bytes_written"] == {"value": 3_000, "deviation": 0}
    [part] = told["collections"].values()
    assert part["fitted_on"] == 2 and told["hours"]["value"] == pytest.approx(part["worker_seconds"]["value"] / 7200)
    said = CliRunner().invoke(cli, ["plan"], env={"KARTOTEK_DATABASE": known.place}).output
    assert "generated: 1 products, 2.0 kB to read, 3.0 kB ± 0 % to write; by 2 that are done" in said
    assert "in all: 1 products, 3.0 kB ± 0 %, " in said and "hours" in said


def test_of_some_bands_the_bytes_are_theirs(known, kartotek):
    assert kartotek("--bands", "B02")["bytes_written"]["value"] == 1_800
    assert "generated has no B99; it has B02, B03" in kartotek("--bands", "B02,B99")


def test_of_a_source_that_is_planned_what_is_not_done_yet(known, kartotek, tmp_path):
    (tmp_path / f"{NAMES[3]}.zip").write_bytes(bytes(4_000))
    (tmp_path / "strange.zip").write_bytes(bytes(1_000))
    counts = known.ledger.counts()
    told = kartotek(tmp_path)
    assert (told["products"], told["strange"], told["bytes_written"]["value"]) == (2, 1, 9_000)
    assert known.ledger.counts() == counts, "nothing is entered"
    assert "give no SOURCE" in kartotek(tmp_path, "--bbox", "1,2,3,4")


def test_granules_choose(known, kartotek):
    assert kartotek("--granules", "34VCM,33vxg")["products"] == 1
    assert kartotek("--granules", "34VCM")["products"] == 0
    assert "'33' is no granule such as 33VXG" in kartotek("--granules", "33")


def test_what_is_gone_is_told_and_not_counted(known, kartotek, tmp_path):
    (tmp_path / f"{NAMES[2]}.zip").unlink()
    told = kartotek()
    assert (told["products"], told["missing"], told["bytes_written"]["value"]) == (0, 1, 0)


def test_in_a_bucket_sizes_are_looked_at_too(known, kartotek, bucket, tmp_path):
    open_storage(bucket).create(f"{NAMES[3]}.SAFE/manifest.safe", tmp_path / f"{NAMES[0]}.zip")
    open_storage(bucket).create(f"{NAMES[3]}.SAFE/GRANULE/B02.jp2", tmp_path / f"{NAMES[2]}.zip")
    assert kartotek(bucket)["bytes_written"]["value"] == 4_500


def test_where_nothing_is_done_it_says_what_to_do(catalog, kartotek, make_item, make_collection, tmp_path):
    wanted = "nothing is done yet by this recipe (crs=EPSG:3006) that a plan could be learned from; convert some first"
    assert wanted in kartotek()
    done(catalog, make_item, make_collection, tmp_path, NAMES[:1], written=9, recipe="crs=native")
    assert wanted in kartotek(), "what another recipe gave says nothing"


def test_it_learns_from_what_was_done_as_it_will_be(catalog, kartotek, make_item, make_collection, tmp_path):
    recipe = Recipe(profile=Profile.COMPACT, allow_partial=True).text
    done(catalog, make_item, make_collection, tmp_path, NAMES[:2], written=1_500, recipe=recipe)
    assert "nothing is done yet" in kartotek() and "nothing is done yet" in kartotek("--profile", "compact")
    assert kartotek("--profile", "compact", "--allow-partial")["products"] == 0


def test_how_far_off_it_may_be_goes_with_how_much_the_done_ones_differ(
    catalog, kartotek, make_item, make_collection, tmp_path
):
    """Two of 1 000 bytes that gave 1 400 and 1 600: sqrt(20 000) each, sqrt(1 + 1/2) of it with the ratio's own."""
    done(catalog, make_item, make_collection, tmp_path, NAMES[:1], written=1_400)
    (tmp_path / f"{NAMES[2]}.zip").write_bytes(bytes(1_000))
    source = tmp_path / f"{NAMES[2]}.zip"
    assert kartotek(source)["bytes_written"] == {"value": 1_400, "deviation": None}
    done(catalog, make_item, make_collection, tmp_path, NAMES[1:2], written=1_600)
    assert kartotek(source)["bytes_written"] == {"value": 1_500, "deviation": pytest.approx(30_000**0.5)}


def test_what_is_registered_is_chosen_as_by_a_search(catalog, kartotek, small_products, make_collection, tmp_path):
    [path] = small_products.glob("*T34WET*")
    place = ["--database", catalog.place, "--storage", str(tmp_path / "store")]
    CliRunner().invoke(cli, ["register", str(path), *place], catch_exceptions=False)
    [left] = catalog.ledger.left()
    assert (left.collection, left.zone) == ("sentinel-2-l2a", 34)
    catalog.ledger.add([Source(place="/archive/other.zip")])
    lease = catalog.ledger.claim("x", seconds=60)
    item = orjson.loads(catalog.item(OPERATOR, left.collection, left.item))
    content = orjson.dumps(item | {"id": "other", "assets": {}})
    work = Work(bytes_read=1_000, bytes_written=1_500, recipe=Recipe().text)
    catalog.publish(content, collection=catalog.collection(OPERATOR, left.collection), done=(lease, work))
    told = kartotek("--collections", "sentinel-2-l2a", "--datetime", "2023-08-23")
    assert told["products"] == 1 and told["bytes_written"]["value"] == 1.5 * path.stat().st_size
    assert kartotek("--bbox", "1,2,3,4")["products"] == 0


def test_as_many_work_side_by_side_as_did():
    def one(began, seconds):
        return Taken(
            place="", zone=33, collection="c", item="i", began=began, seconds=seconds, bytes_read=1, bytes_written=1
        )

    assert side_by_side([one(0, 10), one(0, 10)]) == 2
    assert side_by_side([one(0, 10), one(100, 10)]) == 1
    assert side_by_side([one(0, 10), one(5, 10)]) == pytest.approx(20 / 15)
