"""A preferred zone: the same ground is not converted twice, and none is lost, whatever fails."""

import shutil
from dataclasses import replace

import orjson
import pyproj
import pytest

from catalog.access import PUBLIC
from catalog.ledger import Source, State
from catalog.search import Search
from converters import samples
from converters.convert import Recipe
from jobs import bulk, register
from jobs.sources import find, pass_and_zone
from jobs.task import Setup
from jobs.threads import Threads
from jobs.worker import Limits
from kartotek.storage import FolderStorage


@pytest.fixture(scope="session")
def overlap(once):
    """Of one pass: 3 km of zone 33, of zone 34 1 km within it and 1 km that reaches beyond, and another pass."""

    def fill(folder):
        scene = samples.scenes()[1]
        middle = pyproj.Transformer.from_crs(32633, 32634, always_xy=True).transform(
            scene.left + 1440, scene.top - 1440
        )
        left, top = (round(number / 60) * 60 for number in middle)
        samples.write(replace(scene, pixels=288), folder)
        inside = replace(scene, tile="34VCM", zone=34, left=left - 480, top=top + 480, pixels=96)
        samples.write(inside, folder)
        samples.write(replace(inside, tile="34VCL", left=left + 960), folder)
        samples.write(replace(inside, sensed=scene.sensed.replace(day=25)), folder)

    return once("overlap", fill)


def named(overlap, *tiles):
    """The places of the products of tiles, of the pass of the 15th."""
    found = {path.name.split("_")[5][1:]: str(path) for path in overlap.glob("*_20220715T101559_*.SAFE")}
    return [found[tile] for tile in tiles]


def standing(catalog):
    return {state: count for state, count in catalog.ledger.counts().items() if count}


def seen(catalog):
    return {orjson.loads(content)["id"] for content in catalog.search(PUBLIC, Search(limit=100)).items}


def run(catalog, tmp_path, **more):
    setup = Setup(**{"attempts": 1, "prefer": 33, **more})
    return list(
        bulk.run(catalog.ledger, Threads(catalog, FolderStorage(tmp_path / "store"), setup, 2), only=setup.only)
    )


@pytest.mark.parametrize("known", ["registered", pytest.param("by name", marks=pytest.mark.full)])
def test_what_the_zone_shows_of_the_same_pass_is_left_out(overlap, catalog, tmp_path, known):
    # Those of zone 34 come first, as their names and their places would have it.
    sources = [source for tile in ("34", "33") for source in find([str(overlap)]) if f"_T{tile}" in source.place]
    if known == "registered":
        list(register.register(sources, FolderStorage(tmp_path / "store"), catalog, Limits(), processes=2))
        assert catalog.ledger.choose(Search()) == 4
    catalog.ledger.add(sources)
    outcomes = run(catalog, tmp_path)
    [skipped] = [outcome for outcome in outcomes if outcome.state is State.SKIPPED]
    [inside] = named(overlap, "34VCM")
    assert skipped.place == inside
    [whole] = [name for name in seen(catalog) if "T33VXG" in name]
    assert skipped.reason == f"UTM zone 33 shows its ground of the same pass: {whole}"
    assert standing(catalog) == {State.DONE: 3, State.SKIPPED: 1}
    [told] = catalog.ledger.failures(causes=["Covered"])
    assert (told.place, told.error) == (inside, skipped.reason) and catalog.ledger.failures() == []
    assert run(catalog, tmp_path) == []
    # Whoever wants it all the same says so.
    assert catalog.ledger.retry(places=[inside]) == 1
    [again] = run(catalog, tmp_path, prefer=None)
    assert again.state is State.DONE and len(seen(catalog)) == 4


def test_what_covers_and_fails_covers_nothing(overlap, catalog, tmp_path):
    shutil.copytree(overlap, tmp_path / "archive")
    [whole] = (tmp_path / "archive").glob("*T33VXG*")
    [band] = whole.rglob("*_B04_10m.jp2")
    band.write_bytes(b"")
    inside, whole = named(tmp_path / "archive", "34VCM", "33VXG")
    catalog.ledger.add(find([inside, whole]))
    outcomes = run(catalog, tmp_path, attempts=2, wait=0)
    assert [(outcome.place, outcome.state) for outcome in outcomes] == [
        (whole, State.WAITING), (whole, State.QUARANTINED), (inside, State.DONE),
    ]  # fmt: skip


def test_what_lacks_bands_covers_nothing(overlap, catalog, tmp_path):
    shutil.copytree(overlap, tmp_path / "archive")
    inside, whole = named(tmp_path / "archive", "34VCM", "33VXG")
    [band] = (tmp_path / "archive").glob("*T33VXG*/GRANULE/*/IMG_DATA/R10m/*_B04_10m.jp2")
    band.unlink()
    catalog.ledger.add(find([inside, whole]))
    outcomes = run(catalog, tmp_path, recipe=Recipe(allow_partial=True, threads=1))
    assert [outcome.state for outcome in outcomes] == [State.DONE] * 2


def test_what_is_taken_out_of_the_catalog_covers_nothing(overlap, catalog, tmp_path):
    inside, whole = named(overlap, "34VCM", "33VXG")
    catalog.ledger.add(find([whole]))
    [outcome] = run(catalog, tmp_path)
    catalog.delete_item("sentinel-2-l2a", outcome.published.item)
    catalog.ledger.add(find([inside]))
    assert [outcome.state for outcome in run(catalog, tmp_path)] == [State.DONE]


TAKE = "S2A_MSIL2A_20230825T095031_N0509_R079"


def source(zone, take=TAKE, name="x"):
    return Source(place=f"/{zone}/{name}/{take}", take=take, zone=zone)


def claim(ledger, **more):
    return ledger.claim("me", seconds=60, prefer=33, **more)


def test_a_product_waits_for_all_of_its_take_in_the_zone_and_for_no_other(catalog):
    ledger = catalog.ledger
    other = TAKE.replace("25T", "26T")
    ledger.add([source(34), source(35), source(34, other), source(None, None), source(33), source(33, name="y")])
    first = [claim(ledger) for _ in range(4)]
    assert [lease.zone for lease in first] == [34, None, 33, 33] and first[0].take == other
    assert claim(ledger) is None
    ledger.fail(first[2], cause="BrokenProduct", error="", most=2, wait=3600)
    assert claim(ledger) is None, "one that is tried again later is not over"
    ledger.quarantine([first[2].place], "")
    assert claim(ledger) is None
    ledger.fail(first[3], cause="BrokenProduct", error="", most=1)
    assert [claim(ledger).zone for _ in range(2)] == [34, 35]
    assert ledger.claim("me", seconds=60) is None


def test_what_is_not_asked_for_is_not_waited_for(catalog):
    """Else a run of what is registered here would wait for ever for what is entered elsewhere."""
    ledger = catalog.ledger
    ledger.add([source(33), source(34)])
    assert claim(ledger, only=Search()) is None
    ledger.add([source(34, name="y")])
    assert claim(ledger).zone == 33 and claim(ledger) is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("S2A_MSIL2A_20230825T095031_N0509_R079_T34WFU_20230825T135832.zip", (TAKE, 34)),
     ("S2A_MSIL2A_20230825T095031_N0509_R079_T34WFU_20230825T135832", (TAKE, 34)),
     ("S2A_MSIL2A_20230825T095031_N0509_R079_T34WFU.zip", (None, None)), ("x.zip", (None, None)),
     ("S1A_IW_GRDH_1SDV_20240601T053012_20240601T053037_054123_0694F2_1A2B.zip", (None, None))],
)  # fmt: skip
def test_take_and_zone_are_in_the_name(name, wanted):
    assert pass_and_zone(name) == wanted
