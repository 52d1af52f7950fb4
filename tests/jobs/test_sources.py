"""Products in archives: what is taken for one, and what is not."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.access import PUBLIC
from catalog.ledger import State
from catalog.search import Search
from converters.fingerprint import fingerprint
from jobs import bulk
from jobs.fetch import fetch
from jobs.sources import find, sensed
from jobs.task import Setup
from jobs.threads import Threads
from kartotek.errors import MissingProduct, UnknownProduct
from kartotek.storage import FolderStorage, open_storage

NAME = "S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Products in folders of folders, beside what is none."""
    for name in (
        f"2022/07/{NAME}.SAFE/manifest.safe", f"2022/07/{NAME}.SAFE/GRANULE/a/MTD_TL.xml", "2022/08/b.zip",
        "2022/08/B.ZIP", "2022/08/notes.txt", ".hidden/c.zip", "aws/33/V/XG/2022/7/15/0/metadata.xml",
        "bare/MTD_MSIL2A.xml", "empty/nothing", "old/S2A_OPER_MTD_SAFL1C_PDMC_20150818.xml",
    ):  # fmt: skip
        path = tmp_path / "archive" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "archive/2022/again").symlink_to(tmp_path / "archive/2022/07")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "archive"


def found(archive, *named):
    return [source.place.removeprefix(f"{archive}/") for source in find(named)]


def test_a_folder_is_searched_to_its_ends_and_a_product_is_not(archive):
    assert found(archive, "archive") == [
        f"2022/07/{NAME}.SAFE", "2022/08/B.ZIP", "2022/08/b.zip", "aws/33/V/XG/2022/7/15/0", "bare", "old",
    ]  # fmt: skip


def test_files_and_patterns_are_taken_at_their_word(archive):
    assert found(archive, "archive/2022/08/notes.txt") == ["2022/08/notes.txt"]
    assert found(archive, "archive/**/*.zip") == ["2022/08/b.zip"]
    assert found(archive, "archive/2022/0?") == [f"2022/07/{NAME}.SAFE", "2022/08/B.ZIP", "2022/08/b.zip"]
    assert found(archive, str(archive / "bare"), "archive/bare") == ["bare"]


def test_a_name_that_looks_like_a_pattern_is_a_name_where_it_is_there(archive):
    (archive / "a[1].zip").touch()
    assert found(archive, "archive/a[1].zip") == ["a[1].zip"]


def test_a_folder_that_nobody_may_read_and_a_name_that_is_no_text_are_passed_over(archive, monkeypatch, caplog):
    (archive / "lost+found").mkdir()
    Path(os.fsdecode(os.fsencode(archive) + b"/\xc4lv.zip")).touch()
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert len(found(archive, "archive")) == 6
    assert "lost+found: passed over: Permission denied" in caplog.text and "is not in UTF-8" in caplog.text


@pytest.mark.parametrize("name", ["archive/none", "archive/*.none", "archive/empty", "archive/.hidden/none"])
def test_where_there_is_none_it_says_so(archive, name):
    with pytest.raises(UnknownProduct, match=r"no (such file or folder|product there)") as told:
        found(archive, name)
    assert name in str(told.value)


def test_a_product_of_another_form_is_what_a_sensor_recognises(small_products, tmp_path):
    [product] = small_products.glob("*_20230421T142400")  # a folder without suffix
    assert [source.place for source in find([str(product)])] == [str(product)]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [(f"{NAME}.SAFE", (2022, 7, 15, 10, 15, 59)), ("S2A_MSIL1C_20151301T000000_x.zip", None), ("x.zip", None),
     ("S1A_IW_GRDH_1SDV_20240601T053012_20240601T053037_054123_0694F2_1A2B.zip", (2024, 6, 1, 5, 30, 12))],
)  # fmt: skip
def test_when_it_was_sensed_is_in_its_name(name, wanted):
    assert sensed(name) == (wanted and datetime(*wanted, tzinfo=UTC))


@pytest.fixture
def archived(bucket, small_products):
    """A bucket with a zip and a folder, and with what is none."""
    storage = open_storage(bucket)
    [zipped], [folder] = small_products.glob("*T34WET*.zip"), small_products.glob("*T33VUE*.SAFE")
    storage.create(f"2023/{zipped.name}", zipped)
    storage.create("2023/notes.txt", zipped)
    for path in folder.rglob("*"):
        if path.is_file():
            storage.create(f"2023/08/{folder.name}/{path.relative_to(folder)}", path)
    return bucket, [folder, zipped]


def test_products_in_a_bucket_are_found_and_come_whole(archived, tmp_path):
    bucket, [folder, zipped] = archived
    wanted = [f"{bucket}/2023/08/{folder.name}", f"{bucket}/2023/{zipped.name}"]
    assert [source.place for source in find([bucket])] == wanted
    assert [source.place for source in find([f"{bucket}/2023/08", wanted[1]])] == wanted
    for place, path in zip(wanted, (folder, zipped), strict=True):
        assert fingerprint(fetch(place, tmp_path)) == fingerprint(path)


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(archived, small_products):
    bucket, [_, zipped] = archived
    open_storage(bucket).create(f"2023-kept/{zipped.name}", zipped)
    for named in (f"{bucket}/2023", f"{bucket}/2023/"):
        assert len(list(find([named]))) == 2 and not any("kept" in source.place for source in find([named]))


def test_a_bucket_without_products_says_so(bucket, tmp_path):
    with pytest.raises(UnknownProduct, match="no product there"):
        list(find([f"{bucket}/2024"]))
    with pytest.raises(MissingProduct, match="not there any more"):
        fetch(f"{bucket}/2024/a.zip", tmp_path)


def test_what_lies_in_a_bucket_is_published_as_what_lies_here(archived, catalog, tmp_path):
    bucket, paths = archived
    contents = []
    for sources in ([bucket], map(str, paths)):
        catalog.ledger.add(find(sources))
        outcomes = list(bulk.run(catalog.ledger, Threads(catalog, FolderStorage(tmp_path / "store"), Setup(), 2)))
        assert [outcome.state for outcome in outcomes] == [State.DONE] * 2, outcomes
        contents.append(catalog.search(PUBLIC, Search(limit=10)).items)
    assert contents[0] == contents[1]
