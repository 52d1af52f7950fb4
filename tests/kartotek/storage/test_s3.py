"""A bucket, behind a server that has its faults."""

import urllib.request
from datetime import timedelta

import pytest

from kartotek.errors import NotStored, StorageError
from kartotek.storage import digest, s3
from kartotek.storage.s3 import S3Storage

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("wrong", [503, 500, "cut", "lost"])
def test_a_request_that_fails_is_tried_again_and_what_it_wrote_is_whole_and_once(faulty, bucket, source, wrong):
    with faulty(lambda _, attempt, __: wrong if attempt <= 2 else None) as seen:
        storage = S3Storage(bucket)
        storage.create("a/b.tif", source)
        assert digest(storage, "a/b.tif")[1] == len(CONTENT)
        assert storage.read("a/b.tif", 1000, 50_000) == CONTENT[1000:51_000]
        assert list(storage.keys()) == ["a/b.tif"]
    assert seen["PUT"] >= 2 or wrong == "cut"  # the answer to a PUT has no body to be cut


def test_another_write_under_way_is_no_object_yet(monkeypatch, faulty, bucket, source):
    """409 is answered while another write is under way: it may fail, so ours is tried again."""
    monkeypatch.setattr(s3, "CONFLICT", (0, 0, 0))
    with faulty(lambda _, attempt, headers: 409 if "If-None-Match" in headers and attempt <= 2 else None):
        storage = S3Storage(bucket)
        storage.create("a/b.tif", source)
        assert storage.read("a/b.tif") == CONTENT
    with faulty(lambda _, __, headers: 409 if "If-None-Match" in headers else None):
        storage = S3Storage(bucket)
        storage.create("a/b.tif", source)  # it is there
        with pytest.raises(StorageError, match=r"can't write a/c\.tif: other writes"):
            storage.create("a/c.tif", source)


def test_a_key_with_the_digits_of_a_status_is_a_key_as_any(monkeypatch, s3_server, bucket, source, tmp_path):
    storage = S3Storage(bucket)
    storage.create("a/b.416.tif", source)
    assert storage.read("a/b.416.tif", len(CONTENT), 10) == b""
    (tmp_path / "empty").touch()
    storage.create("a/empty", tmp_path / "empty")
    assert storage.read("a/empty", 0, 10) == storage.read("a/empty") == b""
    monkeypatch.setattr(s3, "PATIENCE", timedelta(seconds=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="can't"):
        S3Storage(bucket).read("a/b.416.tif", 0, 10)


def test_what_others_put_into_the_bucket_is_none_of_ours(bucket, s3_server, source):
    S3Storage(bucket).create("a/b.tif", source)
    for name in (".hidden", "with%20space"):
        address = f"{s3_server}/{bucket.removeprefix('s3://')}/{name}"
        urllib.request.urlopen(urllib.request.Request(address, data=b"", method="PUT")).close()
    assert list(S3Storage(bucket).keys()) == ["a/b.tif"]


def test_a_bucket_without_conditional_put_is_looked_at_before_it_is_written_to(faulty, bucket, source, tmp_path):
    with faulty(lambda _, __, headers: 501 if "If-None-Match" in headers else None) as seen:
        storage = S3Storage(bucket)
        storage.create("a", source)
        before = seen["PUT"]
        (tmp_path / "other").write_bytes(b"other")
        storage.create("a", tmp_path / "other")
        assert storage.read("a") == CONTENT
        assert seen["PUT"] == before > 1


def test_a_server_that_does_not_answer_is_an_error_that_names_the_settings(monkeypatch, source):
    monkeypatch.setattr(s3, "PATIENCE", timedelta(seconds=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    storage = S3Storage("s3://bucket")
    for use in (storage.read, storage.size, storage.delete, lambda key: storage.create(key, source)):
        with pytest.raises(StorageError, match=r"s3://bucket.*AWS_ENDPOINT_URL") as told:
            use("a")
        assert not isinstance(told.value, NotStored) and "\n" not in str(told.value)


def test_a_bucket_that_is_not_there_is_an_error(s3_server, bucket, source):
    with pytest.raises(StorageError, match="is the bucket there"):
        S3Storage("s3://no-such-bucket").create("a", source)


def test_a_signed_address_gives_the_object_to_anyone(bucket, source):
    storage = S3Storage(bucket)
    storage.create("a/b.tif", source)
    with urllib.request.urlopen(storage.url("a/b.tif")) as answer:
        assert answer.read() == CONTENT


def test_a_prefix_is_a_storage_of_its_own(bucket, source):
    one, other = S3Storage(f"{bucket}/one"), S3Storage(f"{bucket}/other/deep/")
    one.create("a", source)
    assert list(other.keys()) == [] and list(one.keys()) == ["a"]
    with pytest.raises(NotStored):
        other.read("a")
