"""What every kind of storage does alike."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from kartotek.errors import BadSettings, NotStored, StorageError
from kartotek.storage import FolderStorage, digest, open_storage
from kartotek.storage.s3 import S3Storage

KEY = "sentinel-2-l2a/S2B_MSIL2A/B02.0123.tif"

NO_KEYS = (
    "", "/", ".", "..", "../secret", "a/../../secret", "a/../b", "./a", "a/./b", "/etc/passwd", "a//b", "a/", "/a",
    ".hidden", "a/.hidden", ".a.tif.0123.part", "a\\b", "a b", "a\0b", "a\n", "å", "a%2fb", "a?b", "a*", "C:x", "~/x",
    "x" * 901, "x" * 256, "a/" * 500 + "a",
)  # fmt: skip


@pytest.fixture(params=["folder", "s3"])
def storage(request, tmp_path):
    """One of each kind; adding a kind is adding it here."""
    return (
        FolderStorage(tmp_path / "store") if request.param == "folder" else S3Storage(request.getfixturevalue("bucket"))
    )


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(bytes(range(256)) * 5000)
    return path


def test_what_is_created_is_read_back_in_whole_and_in_part(storage, source):
    content = source.read_bytes()
    storage.create(KEY, source)
    assert storage.read(KEY) == content
    assert storage.size(KEY) == len(content)
    for start, length in ((0, 1), (1000, 5), (len(content) - 3, 10), (len(content), 4), (len(content) + 9, 4), (7, 0)):
        assert storage.read(KEY, start, length) == content[start : start + length]
    assert storage.read(KEY, 17) == content[17:]


def test_an_empty_file_is_a_file(storage, tmp_path):
    (tmp_path / "empty").touch()
    storage.create("empty", tmp_path / "empty")
    assert storage.read("empty") == b"" and storage.size("empty") == 0
    assert digest(storage, "empty") == (hashlib.sha256().hexdigest(), 0)


def test_what_lies_under_a_key_is_never_overwritten(storage, source, tmp_path):
    storage.create(KEY, source)
    other = tmp_path / "other"
    other.write_bytes(b"other")
    before = storage.read(KEY)
    storage.create(KEY, other)
    assert storage.read(KEY) == before


def test_the_source_stays(storage, source):
    content = source.read_bytes()
    storage.create(KEY, source)
    assert source.read_bytes() == content


def test_nothing_lies_under_a_key_that_was_not_written(storage, source):
    storage.create("a/b", source)
    for key in ("missing", "a", "a/c", "a/b/c"):
        with pytest.raises(NotStored):
            storage.read(key)
        with pytest.raises(NotStored):
            storage.size(key)
        with pytest.raises(NotStored):
            digest(storage, key)


@pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
def test_what_is_no_key_reaches_no_file(storage, source, tmp_path, key):
    (tmp_path / "secret").write_text("secret")
    for use in (
        storage.read,
        storage.size,
        storage.modified,
        storage.delete,
        storage.url,
        lambda key: storage.create(key, source),
    ):
        with pytest.raises(NotStored):
            use(key)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == ["secret", "source"]
    assert list(storage.keys()) == []


def test_keys_come_in_order_and_by_prefix(storage, source):
    names = ["b/2", "b/10", "a/x.tif", "c", "b-2/1"]
    for name in names:
        storage.create(name, source)
    assert list(storage.keys()) == sorted(names)
    assert list(storage.keys("b/")) == ["b/10", "b/2"]
    assert list(storage.keys("b")) == ["b-2/1", "b/10", "b/2"]
    assert list(storage.keys("none")) == []


def test_what_was_written_says_when(storage, source):
    storage.create(KEY, source)
    assert abs(storage.modified(KEY) - datetime.now(UTC)) < timedelta(minutes=1)
    with pytest.raises(NotStored):
        storage.modified("a/b")


def test_files_that_are_no_longer_written_are_tidied_away(tmp_path, source):
    """By kill -9 in the middle, which leaves them under a temporary name."""
    storage = FolderStorage(tmp_path / "store")
    storage.create("a/b.tif", source)
    old, new = (tmp_path / f"store/a/.b.tif.{digit * 32}.part" for digit in "01")
    others = tmp_path / "store/a/.somebody.else.part"
    for path in (old, new, others):
        path.write_bytes(b"half")
    for path in (old, others):
        os.utime(path, (time.time() - 90_000,) * 2)
    assert storage.tidy(timedelta(days=1)) == 1
    assert sorted(path.name for path in (tmp_path / "store/a").iterdir()) == [new.name, others.name, "b.tif"]


def test_digest_is_the_sha_256_and_the_size_of_what_is_stored(storage, tmp_path):
    content = os.urandom((8 << 20) + 12_345)  # more than a piece
    (tmp_path / "large").write_bytes(content)
    storage.create("large", tmp_path / "large")
    assert digest(storage, "large") == (hashlib.sha256(content).hexdigest(), len(content))


def test_deleting_removes_one_object_and_deleting_again_is_no_error(storage, source):
    storage.create("a/b", source)
    storage.create("a/c", source)
    storage.delete("a/b")
    storage.delete("a/b")
    storage.delete("a/c/d")
    assert list(storage.keys()) == ["a/c"]


def test_writers_of_one_key_do_not_disturb_each_other(storage, source):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: storage.create(KEY, source), range(40)))
    assert list(storage.keys()) == [KEY]
    assert storage.read(KEY) == source.read_bytes()


def test_a_source_that_is_missing_leaves_nothing(storage, tmp_path):
    with pytest.raises(StorageError, match="B02"):
        storage.create(KEY, tmp_path / "missing")
    assert list(storage.keys()) == []


@pytest.mark.parametrize(
    "place", ["gopher://bucket/prefix", "s3://", "s3://B/x", "s3://bucket/../x", "s3://bucket/a b"]
)
def test_a_place_that_is_neither_a_folder_nor_a_bucket_is_refused(place):
    with pytest.raises(BadSettings, match="KARTOTEK_STORAGE"):
        open_storage(place)


def test_a_place_names_its_kind(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert isinstance(open_storage("some/folder"), FolderStorage)
    assert isinstance(open_storage("s3://some-bucket/and/prefix/"), S3Storage)
