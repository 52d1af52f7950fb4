import re
import shutil
import tempfile
import zipfile

import orjson
import pytest

from catalog.access import OPERATOR, PUBLIC
from catalog.search import Search
from converters.convert import Recipe
from jobs.convert import Failed, convert_all
from jobs.publish import Published
from jobs.worker import warm_up
from kartotek.errors import (
    BrokenProduct,
    HostileProduct,
    OutsideGrid,
    StorageError,
    UnknownProduct,
    UnsupportedProduct,
)
from kartotek.storage import FolderStorage


@pytest.fixture(scope="module")
def good(small_products):
    """Two products that are whole, the smallest."""
    return sorted(small_products.glob("*.zip"))


@pytest.fixture(scope="module")
def broken(products, good, tmp_path_factory):
    """What is wrong → (path, error, words of its message: the file that is at fault, and what to do)."""
    folder = tmp_path_factory.mktemp("broken")
    sample = next(products.glob("*_T33VUC_*.SAFE"))

    def copy(name):
        made = folder / name / sample.name
        shutil.copytree(sample, made)
        return made

    def band(product, name):
        return next(product.rglob(f"*_{name}_10m.jp2"))

    made = {}
    for what, size in (("a band of 0 bytes", 0), ("a band of 1 byte", 1)):
        path = copy(what)
        band(path, "B04").write_bytes(b"x" * size)
        made[what] = path, BrokenProduct, (f"B04.* has {size} bytes", "--allow-partial")
    path = copy("a band cut in the middle")
    content = band(path, "B03").read_bytes()
    band(path, "B03").write_bytes(content[: len(content) // 2])
    made["a band cut in the middle"] = path, BrokenProduct, ("B03_10m.jp2", "fetch the product again")
    path = copy("a band that is text")
    band(path, "B02").write_text("This file was moved.\n" * 100)
    made["a band that is text"] = path, BrokenProduct, ("B02_10m.jp2", "fetch the product again")
    path = copy("a band that is missing")
    band(path, "B08").unlink()
    made["a band that is missing"] = path, BrokenProduct, (r"B08 \(10 m\) is missing", "--allow-partial")
    path = copy("no metadata")
    (path / "MTD_MSIL2A.xml").unlink()
    made["no metadata"] = path, BrokenProduct, ("MTD_MSIL2A.xml", "fetch the product again")
    path = copy("metadata cut in the middle")
    content = (path / "MTD_MSIL2A.xml").read_bytes()
    (path / "MTD_MSIL2A.xml").write_bytes(content[: len(content) // 2])
    made["metadata cut in the middle"] = path, BrokenProduct, ("MTD_MSIL2A.xml", "fetch the product again")
    path = copy("a footprint of no numbers")
    text = (path / "MTD_MSIL2A.xml").read_text()
    (path / "MTD_MSIL2A.xml").write_text(re.sub("(?<=<EXT_POS_LIST>)[^ ]+ [^ ]+", "nan inf", text))
    made["a footprint of no numbers"] = path, BrokenProduct, ("MTD_MSIL2A.xml", "EXT_POS_LIST", "no place on earth")
    path = copy("a DOCTYPE")
    content = (path / "MTD_MSIL2A.xml").read_bytes()
    start = content.index(b"?>") + 2
    doctype = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    (path / "MTD_MSIL2A.xml").write_bytes(content[:start] + doctype + content[start:])
    made["a DOCTYPE"] = path, HostileProduct, ("MTD_MSIL2A.xml", "fetch the product again")
    path = folder / "cut" / good[0].name
    path.parent.mkdir()
    path.write_bytes(good[0].read_bytes()[: good[0].stat().st_size // 2])
    made["a zip cut in the middle"] = path, BrokenProduct, ("not a whole zip", "fetch the product again")
    path = folder / "out" / good[0].name
    path.parent.mkdir()
    shutil.copy(good[0], path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil.txt", "out")
    made["a path that leaves the zip"] = path, HostileProduct, ("evil.txt", "leads out")
    path = folder / "holiday pictures"
    path.mkdir()
    (path / "readme.txt").write_text("nothing of ours")
    made["a folder of something else"] = path, UnknownProduct, ("no sensor", "sentinel-2")
    path = folder / "notes.txt"
    path.write_text("nothing of ours")
    made["a file of something else"] = path, UnknownProduct, ("neither a folder nor a zip", "give the .SAFE folder")
    made["no file at all"] = folder / "no such.SAFE", UnknownProduct, ("no such.SAFE", "no such file or folder")
    return made


def kept(catalog):
    """Ids of what is visible."""
    return {orjson.loads(content)["id"] for content in catalog.search(PUBLIC, Search(limit=100)).items}


def test_broken_products_are_set_aside_by_name_and_the_others_published(broken, good, catalog, tmp_path, monkeypatch):
    warm_up()  # its socket lies in the temporary folder as long as we run
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    storage = FolderStorage(tmp_path / "store")
    paths = [path for path, *_ in broken.values()]
    paths[3:3] = good[:1]
    paths.append(good[1])
    outcomes = list(convert_all(paths, Recipe(threads=2), storage, catalog))
    assert len(outcomes) == len(paths)
    for path, outcome in zip(paths, outcomes, strict=True):
        if path in good:
            assert isinstance(outcome, Published) and not outcome.replaced and outcome.notes == ()
            continue
        [(kind, words)] = [given[1:] for given in broken.values() if given[0] == path]
        assert isinstance(outcome, Failed) and outcome.path == path, (path.parent.name, outcome)
        assert type(outcome.error) is kind, outcome.error
        text = str(outcome.error)
        # One line, which names the product and the file, and says what to do.
        assert "\n" not in text and path.name in text
        assert all(re.search(word, text) for word in words), text
    published = {outcome.item for outcome in outcomes if isinstance(outcome, Published)}
    assert kept(catalog) == published and len(published) == 2
    # Of the others nothing is left, neither in the storage nor where they were worked on.
    left = list(storage.keys())
    assert {key.split("/")[1] for key in left if key.count("/") == 2} == published
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_is_there_of_a_broken_product_is_published_where_it_is_asked_for(broken, catalog, tmp_path):
    """And the item says what is missing."""
    path = broken["a band of 0 bytes"][0]
    [outcome] = convert_all([path], Recipe(allow_partial=True), FolderStorage(tmp_path / "store"), catalog)
    assert isinstance(outcome, Published), outcome
    [note] = outcome.notes
    assert "B04" in note and "0 bytes" in note
    item = orjson.loads(catalog.item(OPERATOR, outcome.collection, outcome.item))
    assert item["properties"]["kartotek:missing"] == [note]
    assert "B04" not in item["assets"] and "B03" in item["assets"]


def test_a_damaged_file_in_the_storage_ends_the_product_that_it_belongs_to(good, catalog, tmp_path):
    storage = FolderStorage(tmp_path / "store")
    [before] = convert_all(good[:1], Recipe(), storage, catalog)
    key = next(key for key in storage.keys() if "/B02." in key)  # noqa: SIM118
    with (storage.root / key).open("r+b") as file:
        file.seek(5_000)
        file.write(b"!")
    outcomes = list(convert_all(good, Recipe(), storage, catalog))
    assert [type(outcome) for outcome in outcomes] == [Failed, Published]
    assert key in str(outcomes[0].error) and before.item in kept(catalog)


class Broken(FolderStorage):
    """A storage that can't be written."""

    def create(self, key, source):
        raise StorageError(f"can't write {key}")


def test_an_error_of_the_storage_stops_the_run(broken, good, catalog, tmp_path):
    """Since it would meet every product; what came before was told."""
    told = []
    with pytest.raises(StorageError, match="can't write"):
        for outcome in convert_all([broken["no metadata"][0], good[1], good[0]], Recipe(), Broken(tmp_path), catalog):
            told.append(outcome)
    assert [type(outcome) for outcome in told] == [Failed]
    assert kept(catalog) == set()


def test_an_error_of_the_system_while_files_are_made_is_told_with_the_folder(good, catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    with pytest.raises(StorageError, match=r"no such folder.*TMPDIR"):
        list(convert_all(good[:1], Recipe(), FolderStorage(tmp_path / "store"), catalog))


def test_a_run_of_nothing_yields_nothing(catalog, tmp_path):
    assert list(convert_all([], Recipe(), FolderStorage(tmp_path), catalog)) == []


def test_products_are_taken_up_one_by_one(broken, catalog, tmp_path):
    """An outcome comes before the next product is touched, so that a run can be followed, and stopped."""
    taken = []

    def paths():
        for path in (broken["no metadata"][0], broken["no file at all"][0]):
            taken.append(path)
            yield path

    outcomes = convert_all(paths(), Recipe(), FolderStorage(tmp_path), catalog)
    next(outcomes)
    assert len(taken) == 1
    outcomes.close()


@pytest.mark.parametrize("kind", [OutsideGrid, UnsupportedProduct])
def test_products_that_are_whole_but_not_for_us_are_set_aside_too(products, catalog, tmp_path, kind):
    from dataclasses import replace

    from converters import samples

    if kind is OutsideGrid:
        scene = replace(samples.scenes()[0], pixels=96, tile="31UFT", zone=31, left=600_000, top=5_800_020)
        path = samples.write(scene, tmp_path)
    else:
        path = tmp_path / next(products.glob("*_T33VUC_*.SAFE")).name
        shutil.copytree(next(products.glob("*_T33VUC_*.SAFE")), path)
        (path / "MTD_MSIL2A.xml").rename(path / "S2A_OPER_MTD_SAFL1C_PDMC_20151201T000000_R065.xml")
    [outcome] = convert_all([path], Recipe(), FolderStorage(tmp_path / "store"), catalog)
    assert isinstance(outcome, Failed) and type(outcome.error) is kind, outcome
    assert path.name in str(outcome.error)
    assert ("--crs native" if kind is OutsideGrid else "older format") in str(outcome.error)
